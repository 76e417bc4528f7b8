//! MODULE LIST
//!
//! There are no modules, and none can be loaded.

use super::{BASE, CONTAINER};
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "module",
    syntax: "LIST",
    summary: "Lists modules, of which there are none.",
    since: "4.0.0",
    group: "server",
    subcommands: &[CommandSpec {
        name: "module|list",
        summary: "Lists modules, of which there are none.",
        since: "4.0.0",
        group: "server",
        arity: 2,
        flags: flag::ADMIN | flag::NOSCRIPT,
        run: Run::Server(list),
        ..BASE
    }],
    ..CONTAINER
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn list(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().array(0);
    Ok(Then::Done)
}
