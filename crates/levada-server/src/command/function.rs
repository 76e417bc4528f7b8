//! FUNCTION FLUSH \[ASYNC|SYNC]
//!
//! There are no functions; tools that tidy up before they begin may still say so.

use super::{BASE, CONTAINER};
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, category, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "function",
    syntax: "FLUSH [ASYNC|SYNC]",
    summary: "Forgets all functions, of which there are none.",
    since: "7.0.0",
    group: "scripting",
    subcommands: &[CommandSpec {
        name: "function|flush",
        syntax: "[ASYNC|SYNC]",
        summary: "Forgets all functions, of which there are none.",
        since: "7.0.0",
        group: "scripting",
        arity: -2,
        flags: flag::WRITE | flag::NOSCRIPT,
        categories: category::SCRIPTING,
        run: Run::Server(flush),
        ..BASE
    }],
    ..CONTAINER
};

fn flush(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    match request.rest(2) {
        [] => {}
        [word] if word.eq_ignore_ascii_case(b"ASYNC") || word.eq_ignore_ascii_case(b"SYNC") => {}
        _ => return Err(WireError::Fixed(FLUSH_ERROR)),
    }
    context.output.write().ok();
    Ok(Then::Done)
}

const FLUSH_ERROR: &str = "ERR FUNCTION FLUSH only supports SYNC|ASYNC option";
