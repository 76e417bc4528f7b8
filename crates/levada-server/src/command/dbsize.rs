//! DBSIZE

use levada_core::command::Command;

use super::GENERIC;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Keys, Request, Run, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "dbsize",
    syntax: "",
    summary: "Counts the keys of the database.",
    since: "1.0.0",
    group: "server",
    arity: 1,
    flags: flag::READONLY | flag::FAST,
    keys: Keys::None,
    run: Run::Engine(parse, plain),
    ..GENERIC
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Dbsize(request.database).into())
}
