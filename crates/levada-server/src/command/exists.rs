//! EXISTS key \[key ...], TOUCH key \[key ...]

use levada_core::command::Command;

use super::{GENERIC, KEYS};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, access, flag};
use crate::wire_error::WireError;

pub(super) const EXISTS: CommandSpec = CommandSpec {
    name: "exists",
    access: &[access::RO],
    syntax: "key [key ...]",
    summary: "Counts which of the keys exist.",
    since: "1.0.0",
    complexity: "O(N), N keys",
    arity: -2,
    flags: flag::READONLY | flag::FAST,
    keys: KEYS,
    run: Run::Engine(parse, plain),
    ..GENERIC
};

pub(super) const TOUCH: CommandSpec = CommandSpec {
    name: "touch",
    access: &[access::RO],
    syntax: "key [key ...]",
    summary: "Counts which of the keys exist: nothing here depends on when they were used.",
    since: "3.2.1",
    complexity: "O(N), N keys",
    arity: -2,
    flags: flag::READONLY | flag::FAST,
    keys: KEYS,
    run: Run::Engine(parse, plain),
    ..GENERIC
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Exists(request.keys(1)).into())
}
