//! KEYS pattern

use levada_core::command::Command;

use super::GENERIC;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Keys, Request, Run, category, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "keys",
    syntax: "pattern",
    summary: "Lists the keys that match a pattern.",
    since: "1.0.0",
    complexity: "O(N), N keys of the database",
    arity: 2,
    flags: flag::READONLY,
    keys: Keys::None,
    run: Run::Engine(parse, plain),
    categories: category::KEYSPACE | category::DANGEROUS,
    ..GENERIC
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Keys(request.database, request.arg(1)).into())
}
