//! FUNCTION FLUSH \[ASYNC|SYNC]
//!
//! There are no functions; tools that tidy up before they begin may still say so.
//! SCRIPT FLUSH \[ASYNC|SYNC]
//!
//! There are no scripts; tools that tidy up before they begin may still say so.

use super::{BASE, CONTAINER};
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, category, flag};
use crate::wire_error::WireError;

pub(super) const FUNCTION: CommandSpec = CommandSpec {
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
        run: Run::Server(flush_functions),
        ..BASE
    }],
    ..CONTAINER
};

fn flush_functions(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    match request.rest(2) {
        [] => {}
        [word] if word.eq_ignore_ascii_case(b"ASYNC") || word.eq_ignore_ascii_case(b"SYNC") => {}
        [_] => return Err(WireError::Fixed(FUNCTION_ERROR)),
        _ => return Err(WireError::subcommand_syntax("FUNCTION", request.arg(1))),
    }
    context.output.write().ok();
    Ok(Then::Done)
}

const FUNCTION_ERROR: &str = "ERR FUNCTION FLUSH only supports SYNC|ASYNC option";

pub(super) const SCRIPT: CommandSpec = CommandSpec {
    name: "script",
    syntax: "FLUSH [ASYNC|SYNC]",
    summary: "Forgets all scripts, of which there are none.",
    since: "2.6.0",
    group: "scripting",
    subcommands: &[CommandSpec {
        name: "script|flush",
        syntax: "[ASYNC|SYNC]",
        summary: "Forgets all scripts, of which there are none.",
        since: "2.6.0",
        group: "scripting",
        arity: -2,
        flags: flag::NOSCRIPT,
        categories: category::SCRIPTING,
        run: Run::Server(flush_scripts),
        ..BASE
    }],
    ..CONTAINER
};

fn flush_scripts(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    match request.rest(2) {
        [] => {}
        [word] if word.eq_ignore_ascii_case(b"ASYNC") || word.eq_ignore_ascii_case(b"SYNC") => {}
        _ => return Err(WireError::Fixed(SCRIPT_ERROR)),
    }
    context.output.write().ok();
    Ok(Then::Done)
}

const SCRIPT_ERROR: &str = "ERR SCRIPT FLUSH only support SYNC|ASYNC option";
