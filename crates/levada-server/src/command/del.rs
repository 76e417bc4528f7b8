//! DEL key \[key ...], UNLINK key \[key ...]

use levada_core::command::Command;

use super::{GENERIC, KEYS};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, access, flag};
use crate::wire_error::WireError;

pub(super) const DEL: CommandSpec = CommandSpec {
    name: "del",
    access: &[access::RM | access::DELETE],
    syntax: "key [key ...]",
    summary: "Removes keys.",
    since: "1.0.0",
    complexity: "O(N), N keys",
    arity: -2,
    flags: flag::WRITE,
    keys: KEYS,
    run: Run::Engine(parse, plain),
    ..GENERIC
};

pub(super) const UNLINK: CommandSpec = CommandSpec {
    name: "unlink",
    access: &[access::RM | access::DELETE],
    syntax: "key [key ...]",
    summary: "Removes keys; here the same as DEL.",
    since: "4.0.0",
    complexity: "O(N), N keys",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    keys: KEYS,
    run: Run::Engine(parse, plain),
    ..GENERIC
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Del(request.keys(1)).into())
}
