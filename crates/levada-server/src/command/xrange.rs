//! XRANGE key start end \[COUNT n]

use levada_core::command::{Command, Xrange};
use levada_core::reply::Reply;

use super::{KEY, STREAM};
use crate::output::{Output, plain};
use crate::spec::{Asked, CommandSpec, Names, Request, Run, flag};
use crate::stream_arguments::{integer, range_first, range_last};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xrange",
    syntax: "key start end [COUNT n]",
    summary: "Reads the entries of a range of ids, lowest first.",
    since: "5.0.0",
    complexity: "O(log B + N), B blocks in the stream and N entries in the answer",
    arity: -4,
    flags: flag::READONLY,
    keys: KEY,
    run: Run::Engine(parse, reply),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let first = range_first(request.arg(2))?;
    let last = range_last(request.arg(3))?;
    let count = count(request)?;
    let key = request.key(1);
    Ok(match count {
        // Only the type of the key decides the answer: see `reply`.
        Some(0) => Command::Type(key),
        count => Command::Xrange(Xrange { key, first, last, reverse: false, count }),
    }
    .into())
}

/// COUNT, as often as it is given; the last one holds, and below 0 is 0.
pub(super) fn count(request: &Request<'_>) -> Result<Option<u64>, WireError> {
    let mut count = None;
    let mut options = request.rest(4);
    while let [word, rest @ ..] = options {
        let [number, rest @ ..] = rest else {
            return Err(WireError::SYNTAX);
        };
        if !word.eq_ignore_ascii_case(b"COUNT") {
            return Err(WireError::SYNTAX);
        }
        count = Some(u64::try_from(integer(number)?).unwrap_or(0));
        options = rest;
    }
    Ok(count)
}

/// With COUNT 0 Redis answers a null array for a stream, an empty one where there is none.
pub(super) fn reply(output: &mut Output<'_>, reply: Reply, names: &Names<'_>) {
    match reply {
        Reply::Status("none") => output.write().array(0),
        Reply::Status("stream") => output.write().null_array(),
        Reply::Status(_) => output.error(&WireError::WRONG_TYPE),
        reply => plain(output, reply, names),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check(
            "XRANGE s - +",
            "last: StreamId { ms: 18446744073709551615, seq: 18446744073709551615 }",
        );
        check("XRANGE s 5 5", "last: StreamId { ms: 5, seq: 18446744073709551615 }");
        check(
            "XRANGE s (5 (7-3",
            "first: StreamId { ms: 5, seq: 1 }, last: StreamId { ms: 7, seq: 2 }",
        );
        check("XRANGE s - + COUNT 3", "count: Some(3)");
        check("XRANGE s - + COUNT 0 COUNT 1", "count: Some(1)");
        check("XRANGE s - + COUNT 0", "Type(");
        check("XREVRANGE s + -", "reverse: true, count: None");
        check("XRANGE s - + COUNT", "ERR syntax error");
        check("XRANGE s - + FOO 5", "ERR syntax error");
        check("XRANGE s - + COUNT x", "ERR value is not an integer or out of range");
        check("XRANGE s (- +", "ERR Invalid stream ID specified as stream command argument");
        check(
            "XRANGE s (18446744073709551615-18446744073709551615 +",
            "ERR invalid start ID for the interval",
        );
        check("XRANGE s - (0-0", "ERR invalid end ID for the interval");
    }
}
