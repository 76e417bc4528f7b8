//! XREADGROUP GROUP group consumer \[COUNT n] \[MAXCOUNT n] \[MAXSIZE bytes] \[BLOCK ms]
//! \[CLAIM min-idle] \[NOACK] STREAMS key ... id ...

use levada_core::command::{Command, Xreadgroup};
use levada_core::id::StreamId;

use super::STREAM;
use crate::output::plain;
use crate::read_arguments::{Read, Reader};
use crate::spec::{Asked, CommandSpec, Groups, Keys, Request, Run, access, flag};
use crate::stream_arguments::{c_string, id};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xreadgroup",
    access: &[access::RO | access::ACCESS],
    syntax: "GROUP group consumer [COUNT n] [MAXCOUNT n] [MAXSIZE bytes] [BLOCK ms] \
             [CLAIM min-idle] [NOACK] STREAMS key [key ...] id [id ...]",
    summary: "Delivers new entries to a consumer of a group, or reads again what it holds.",
    since: "5.0.0",
    complexity: "O(log B + N) for each stream, B blocks and N entries in the answer",
    arity: -7,
    flags: flag::WRITE | flag::BLOCKING | flag::MOVABLE_KEYS,
    keys: Keys::Streams,
    groups: Groups::Option,
    run: Run::Engine(parse, plain),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let read = Read::parse(request, Reader::Xreadgroup)?;
    let (group, consumer) = read.group.ok_or(WireError::GROUP_MISSING)?;
    let mut streams = Vec::with_capacity(read.keys.len());
    for (name, after) in read.keys.iter().zip(read.ids) {
        let key = request.key_named(name);
        let after = match c_string(after) {
            b">" => Ok(None),
            b"$" => Err(WireError::meaningless_id('$')),
            b"+" => Err(WireError::meaningless_id('+')),
            // Nothing can stand behind the largest id; Redis uses it for `>` inside.
            text => id(text).map(|id| (id != StreamId::MAX).then_some(id)),
        };
        match after {
            Ok(after) => streams.push((key, after)),
            // The keys up to this one, and the group in each, are looked for first.
            Err(error) => {
                let before = read.keys.iter().take(streams.len() + 1);
                let keys = before.map(|name| request.key_named(name)).collect();
                let check = Command::CheckStreams(keys, Some(group));
                return Ok(Asked::check_first(check, error, None));
            }
        }
    }
    let command = Command::Xreadgroup(Xreadgroup {
        group,
        consumer,
        count: read.count,
        most: read.most,
        claim_idle_ms: read.claim_idle_ms,
        no_ack: read.no_ack,
        streams,
    });
    Ok(Asked { names: read.keys, block_ms: read.block_ms, ..Asked::from(command) })
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("XREADGROUP GROUP g c STREAMS s >", "no_ack: false, streams: [(Key");
        check("XREADGROUP GROUP g c NOACK COUNT 2 BLOCK 0 STREAMS s >", "block_ms: Some(0)");
        check(
            "XREADGROUP GROUP g c STREAMS s x",
            "ERR Invalid stream ID specified as stream command argument",
        );
        check("XREADGROUP COUNT 1 BLOCK 1 STREAMS s >", "ERR Missing GROUP option for XREADGROUP");
        check("XREADGROUP COUNT 5 NOACK GROUP g c", "ERR syntax error");
        check("XREADGROUP GROUP g c FOO STREAMS s >", "ERR syntax error");
        check("XREADGROUP GROUP g c CLAIM 5 STREAMS s >", "claim_idle_ms: Some(5)");
        check(
            "XREADGROUP GROUP g c CLAIM -1 STREAMS s >",
            "ERR min-idle-time must be a positive integer",
        );
        check(
            "XREADGROUP GROUP g c COUNT 1 STREAMS s t >",
            "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must \
             be specified.",
        );
    }
}
