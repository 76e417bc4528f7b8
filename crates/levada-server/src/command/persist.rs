//! PERSIST key

use levada_core::command::Command;

use super::{GENERIC, KEY};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "persist",
    syntax: "key",
    summary: "Removes the expiry of a key.",
    since: "2.2.0",
    arity: 2,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..GENERIC
};

#[allow(clippy::unnecessary_wraps)] // The type of every parser.
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Persist(request.key(1)).into())
}
