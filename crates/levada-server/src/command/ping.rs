//! PING \[message]

use super::CONNECTION;
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "ping",
    syntax: "[message]",
    summary: "Answers PONG, or its argument.",
    since: "1.0.0",
    arity: -1,
    flags: flag::FAST,
    run: Run::Server(run),
    ..CONNECTION
};

fn run(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    match request.rest(1) {
        [] => context.output.write().simple("PONG"),
        [message] => context.output.write().bulk(message),
        _ => return Err(WireError::Arity(SPEC.name)),
    }
    Ok(Then::Done)
}
