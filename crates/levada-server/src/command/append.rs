//! APPEND key value

use levada_core::command::Command;

use super::{KEY, STRING};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "append",
    syntax: "key value",
    summary: "Lengthens a string.",
    since: "2.0.0",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..STRING
};

#[allow(clippy::unnecessary_wraps)] // The type of every parser.
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Append(request.key(1), request.arg(2)).into())
}
