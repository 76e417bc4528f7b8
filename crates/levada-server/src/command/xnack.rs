//! XNACK key group SILENT|FAIL|FATAL \[DELAY ms] \[REASON text] IDS n id \[id ...]
//! \[RETRYCOUNT c] \[FORCE]
//!
//! DELAY and REASON are ours: when the entries are offered again, and what a dead letter says.
//! From the documentation of Redis 8.8; texts for wrong arguments are ours where it has none.

use levada_core::command::{Command, NackMode, Xnack};

use super::{KEY, STREAM};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Groups, Request, Run, flag};
use crate::stream_arguments::{counted_ids, ids, unsigned};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xnack",
    syntax: "key group SILENT|FAIL|FATAL [DELAY ms] [REASON text] IDS n id [id ...] [RETRYCOUNT c] \
             [FORCE]",
    summary: "Gives pending entries back to their group: nobody's, and first in line.",
    since: "8.8.0",
    complexity: "O(log P) for each id, P pending entries",
    arity: -7,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    groups: Groups::BehindKey,
    run: Run::Engine(parse, plain),
    ..STREAM
};

/// Longest REASON: it stands in memory until the dead letter has moved.
const REASON_BYTES_MAX: usize = 256;

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let modes = [
        (&b"SILENT"[..], NackMode::Silent),
        (b"FAIL", NackMode::Fail),
        (b"FATAL", NackMode::Fatal),
    ];
    let mode = modes.iter().find(|(name, _)| request.arg(3).eq_ignore_ascii_case(name));
    let mode = mode.ok_or(WireError::SYNTAX)?.1;
    let (mut delay_ms, mut reason, mut args) = (None, None, request.rest(4));
    while let [word, value, rest @ ..] = args {
        if word.eq_ignore_ascii_case(b"DELAY") {
            delay_ms = Some(unsigned(value, &WireError::NOT_INTEGER)?);
        } else if word.eq_ignore_ascii_case(b"REASON") {
            if value.len() > REASON_BYTES_MAX {
                return Err(WireError::Fixed("ERR REASON is longer than 256 bytes"));
            }
            reason = Some(*value);
        } else {
            break;
        }
        args = rest;
    }
    let [word, args @ ..] = args else {
        return Err(WireError::IDS_MISSING);
    };
    let named = counted_ids(word, args)?;
    let (given, mut options) = named.ok_or(WireError::IDS_MISSING)?;
    let (mut retry_count, mut force) = (None, false);
    while let [word, rest @ ..] = options {
        options = rest;
        if word.eq_ignore_ascii_case(b"FORCE") {
            force = true;
            continue;
        }
        let [count, rest @ ..] = rest else {
            return Err(WireError::SYNTAX);
        };
        if !word.eq_ignore_ascii_case(b"RETRYCOUNT") {
            return Err(WireError::SYNTAX);
        }
        retry_count = Some(unsigned(count, &WireError::NOT_INTEGER)?);
        options = rest;
    }
    let (key, group, ids) = (request.key(1), request.arg(2), ids(given)?);
    let nack = Xnack { key, group, mode, ids, retry_count, force, delay_ms, reason };
    Ok(Command::Xnack(nack).into())
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("XNACK s g silent IDS 1 1-1", "mode: Silent, ids: [StreamId { ms: 1, seq: 1 }]");
        check("XNACK s g FAIL IDS 1 1-1 RETRYCOUNT 4 FORCE", "retry_count: Some(4), force: true");
        check(
            "XNACK s g FAIL DELAY 500 REASON why IDS 1 1-1",
            "delay_ms: Some(500), reason: Some([119, 104, 121])",
        );
        check("XNACK s g FAIL DELAY -1 IDS 1 1-1", "ERR value is not an integer or out of range");
        check("XNACK s g LATER IDS 1 1-1", "ERR syntax error");
        check("XNACK s g FAIL IDS 0 1-1", "ERR Number of IDs must be a positive integer");
        check("XNACK s g FAIL ALL 1 1-1", "ERR IDS option is required");
        check(
            "XNACK s g FAIL IDS 2 1-1",
            "ERR The `numids` parameter must match the number of arguments",
        );
        check("XNACK s g FAIL IDS 1 1-1 2-1", "ERR syntax error");
        check(
            "XNACK s g FAIL IDS 1 1-1 RETRYCOUNT -1",
            "ERR value is not an integer or out of range",
        );
        check(
            "XNACK s g FAIL IDS 1 a",
            "ERR Invalid stream ID specified as stream command argument",
        );
    }
}
