//! MODULE LIST, MODULE HELP
//!
//! There are no modules, and none can be loaded.

use super::{BASE, CONTAINER, help_flags};
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "module",
    syntax: "LIST",
    summary: "Lists modules, of which there are none.",
    since: "4.0.0",
    group: "server",
    subcommands: &[
        CommandSpec {
            name: "module|help",
            summary: "Lists the subcommands.",
            since: "5.0.0",
            flags: help_flags(),
            run: Run::Server(help),
            ..MODULE
        },
        CommandSpec {
            name: "module|list",
            summary: "Lists modules, of which there are none.",
            flags: flag::ADMIN | flag::NOSCRIPT,
            run: Run::Server(list),
            ..MODULE
        },
    ],
    ..CONTAINER
};

const MODULE: CommandSpec = CommandSpec { since: "4.0.0", group: "server", arity: 2, ..BASE };

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn list(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().array(0);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "LIST",
        "    List modules, of which there are none.",
        "HELP",
        "    Print this help.",
    ]);
    Ok(Then::Done)
}
