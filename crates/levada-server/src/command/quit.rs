//! QUIT

use super::{ANYTIME, CONNECTION};
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "quit",
    summary: "Ends the connection.",
    since: "1.0.0",
    arity: -1,
    flags: ANYTIME | flag::NOT_QUEUED | flag::WHILE_LISTENING,
    run: Run::Server(run),
    ..CONNECTION
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn run(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().ok();
    Ok(Then::Close)
}
