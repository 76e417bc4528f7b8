//! RANDOMKEY

use levada_core::command::Command;

use super::GENERIC;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Keys, Request, Run, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "randomkey",
    syntax: "",
    summary: "Names some key of the database.",
    since: "1.0.0",
    complexity: "O(N), N keys of the database",
    arity: 1,
    flags: flag::READONLY,
    keys: Keys::None,
    run: Run::Engine(parse, plain),
    ..GENERIC
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Randomkey(request.database, request.random).into())
}
