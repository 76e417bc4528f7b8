//! TYPE key

use levada_core::command::Command;

use super::{GENERIC, KEY};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, access, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "type",
    access: &[access::RO],
    syntax: "key",
    summary: "Names the type of a value.",
    since: "1.0.0",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..GENERIC
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Type(request.key(1)).into())
}
