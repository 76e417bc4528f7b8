//! MONITOR

use super::{OPERATOR, SERVER};
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "monitor",
    summary: "Shows the commands of all other connections from now on, until RESET or QUIT.",
    since: "1.0.0",
    arity: 1,
    flags: OPERATOR,
    run: Run::Server(run),
    ..SERVER
};

fn run(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    if context.in_transaction {
        return Err(WireError::Fixed("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    if !context.session.monitors {
        context.session.monitors = true;
        context.state.monitors.push(context.session.id);
    }
    context.output.write().ok();
    Ok(Then::Done)
}
