//! ECHO message

use super::CONNECTION;
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "echo",
    syntax: "message",
    summary: "Answers its argument.",
    since: "1.0.0",
    arity: 2,
    flags: flag::LOADING | flag::STALE | flag::FAST,
    run: Run::Server(run),
    ..CONNECTION
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn run(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().bulk(request.arg(1));
    Ok(Then::Done)
}
