//! XLAG key group: how far a group is behind, exactly. Ours.

use levada_core::command::Command;

use super::{KEY, STREAM};
use crate::output::facts;
use crate::spec::{Asked, CommandSpec, Groups, Request, Run, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xlag",
    syntax: "key group",
    summary: "How far a group is behind, in entries and in milliseconds.",
    since: "levada 0.1",
    complexity: "O(B), B blocks of the stream",
    arity: 3,
    flags: flag::READONLY,
    keys: KEY,
    groups: Groups::BehindKey,
    run: Run::Engine(parse, facts),
    ..STREAM
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Xlag(request.key(1), request.arg(2)).into())
}
