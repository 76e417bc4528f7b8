//! XREAD \[COUNT n] \[MAXCOUNT n] \[MAXSIZE bytes] \[BLOCK ms] STREAMS key \[key ...] id \[id ...]

use levada_core::command::{Command, ReadFrom, Xread};

use super::STREAM;
use crate::output::plain;
use crate::read_arguments::{Read, Reader};
use crate::spec::{Asked, CommandSpec, Keys, Request, Run, flag};
use crate::stream_arguments::{c_string, id};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xread",
    syntax: "[COUNT n] [MAXCOUNT n] [MAXSIZE bytes] [BLOCK ms] STREAMS key [key ...] id \
             [id ...]",
    summary: "Reads what follows an id in each of several streams, or waits for it.",
    since: "5.0.0",
    complexity: "O(log B + N) for each stream, B blocks and N entries in the answer",
    arity: -4,
    flags: flag::READONLY | flag::BLOCKING | flag::MOVABLE_KEYS,
    keys: Keys::Streams,
    run: Run::Engine(parse, plain),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let read = Read::parse(request, Reader::Xread)?;
    let mut streams = Vec::with_capacity(read.keys.len());
    for (name, from) in read.keys.iter().zip(read.ids) {
        let from = match c_string(from) {
            b"$" => Ok(ReadFrom::New),
            b"+" => Ok(ReadFrom::Last),
            b">" => Err(WireError::NEW_ONLY_IN_GROUP),
            text => id(text).map(ReadFrom::After),
        };
        match from {
            Ok(from) => streams.push((request.key_named(name), from)),
            // The keys up to this one are looked at first.
            Err(error) => {
                let before = read.keys.iter().take(streams.len() + 1);
                let keys = before.map(|name| request.key_named(name)).collect();
                return Ok(Asked::check_first(Command::CheckStreams(keys, None), error, None));
            }
        }
    }
    let command = Command::Xread(Xread { streams, count: read.count, most: read.most });
    Ok(Asked { names: read.keys, block_ms: read.block_ms, ..Asked::from(command) })
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("XREAD STREAMS s 0", "After(StreamId { ms: 0, seq: 0 }))], count: None");
        check("XREAD COUNT 5 BLOCK 7 STREAMS s t $ +", "block_ms: Some(7)");
        check("XREAD COUNT -1 STREAMS s $", "New)], count: None");
        check("XREAD MAXCOUNT 7 STREAMS s 0", "most: ReadMost { entries: Some(7), bytes: None }");
        check("XREAD MAXSIZE 9 STREAMS s 0", "most: ReadMost { entries: None, bytes: Some(9) }");
        check("XREAD MAXCOUNT 0 STREAMS s 0", "ERR MAXCOUNT must be a positive integer");
        check("XREAD MAXSIZE -1 STREAMS s 0", "ERR MAXSIZE must be a positive integer");
        check(
            "XREAD MAXCOUNT 1 COUNT 2 STREAMS s 0",
            "ERR MAXCOUNT must be greater than or equal to COUNT",
        );
        check(
            "XREAD CLAIM 1 STREAMS s 0",
            "ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.",
        );
        check("XREAD COUNT x STREAMS s 0", "ERR value is not an integer or out of range");
        check("XREAD BLOCK -1 STREAMS s 0", "ERR timeout is negative");
        check("XREAD BLOCK x STREAMS s 0", "ERR timeout is not an integer or out of range");
        check("XREAD BLOCK 9223372036854775807 STREAMS s 0", "ERR timeout is out of range");
        check("XREAD FOO 1 STREAMS s 0", "ERR syntax error");
        check("XREAD COUNT 1 BLOCK 1", "ERR syntax error");
        check("XREAD STREAMS s x", "ERR Invalid stream ID specified as stream command argument");
        check(
            "XREAD STREAMS s t 0",
            "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must \
             be specified.",
        );
        check(
            "XREAD NOACK STREAMS s 0",
            "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
        );
    }
}
