//! MGET key \[key ...]

use levada_core::command::Command;

use super::{KEYS, STRING};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "mget",
    syntax: "key [key ...]",
    summary: "Reads several strings.",
    since: "1.0.0",
    complexity: "O(N), N keys",
    arity: -2,
    flags: flag::READONLY | flag::FAST,
    keys: KEYS,
    run: Run::Engine(parse, plain),
    ..STRING
};

#[allow(clippy::unnecessary_wraps)] // The type of every parser.
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Mget(request.keys(1)).into())
}
