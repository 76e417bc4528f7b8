//! PING \[message]

use levada_resp::Protocol;

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
    flags: flag::FAST | flag::WHILE_LISTENING,
    run: Run::Server(run),
    ..CONNECTION
};

fn run(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let listens = context.session.subscriptions.any();
    match request.rest(1) {
        // In RESP2 a listener is answered like a message, so that it can be told apart from one.
        [] | [_] if listens && context.session.protocol == Protocol::Resp2 => {
            let mut writer = context.output.write();
            writer.array(2);
            writer.bulk(b"pong");
            writer.bulk(request.arg(1));
        }
        [] => context.output.write().simple("PONG"),
        [message] => context.output.write().bulk(message),
        _ => return Err(WireError::Arity(SPEC.name)),
    }
    Ok(Then::Done)
}
