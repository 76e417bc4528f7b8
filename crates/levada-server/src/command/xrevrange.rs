//! XREVRANGE key end start \[COUNT n]

use levada_core::command::{Command, Xrange};

use super::xrange::{count, reply};
use super::{KEY, STREAM};
use crate::spec::{Asked, CommandSpec, Request, Run, flag};
use crate::stream_arguments::{range_first, range_last};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xrevrange",
    syntax: "key end start [COUNT n]",
    summary: "Reads the entries of a range of ids, highest first.",
    since: "5.0.0",
    complexity: "O(log B + N), B blocks in the stream and N entries in the answer",
    arity: -4,
    flags: flag::READONLY,
    keys: KEY,
    run: Run::Engine(parse, reply),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let first = range_first(request.arg(3))?;
    let last = range_last(request.arg(2))?;
    let count = count(request)?;
    let key = request.key(1);
    Ok(match count {
        Some(0) => Command::Type(key),
        count => Command::Xrange(Xrange { key, first, last, reverse: true, count }),
    }
    .into())
}
