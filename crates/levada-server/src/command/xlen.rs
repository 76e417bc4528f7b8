//! XLEN key

use levada_core::command::Command;

use super::{KEY, STREAM};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, access, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xlen",
    access: &[access::RO],
    syntax: "key",
    summary: "Counts the entries of a stream.",
    since: "5.0.0",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..STREAM
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Xlen(request.key(1)).into())
}
