//! DEBUG LOG message, DEBUG RELOAD, DEBUG LOADAOF
//!
//! What other people's test suites need of DEBUG, in builds made for them and in no other: a server
//! for users must not have a command that throws its connections out.

#[cfg(not(debug_assertions))]
compile_error!("the feature debug-shim is for tests: no release build may have it");

use crate::context::Context;
use crate::log_event::{LogEvent, LogName};
use crate::server::Reload;
use crate::spec::{Channels, CommandSpec, Groups, Keys, Request, Run, Then, category, flag};
use crate::wire_error::WireError;

pub(crate) const SPEC: CommandSpec = CommandSpec {
    arity: -2,
    subcommands: &[
        CommandSpec {
            name: "debug|loadaof",
            summary: "Closes the store and recovers it from the log.",
            run: Run::Server(|context, _| reload(context, Reload::Log)),
            ..BASE
        },
        CommandSpec {
            name: "debug|log",
            syntax: "message",
            summary: "Writes a message into the server's own log.",
            arity: 3,
            run: Run::Server(log),
            ..BASE
        },
        CommandSpec {
            name: "debug|reload",
            summary: "Writes a checkpoint, closes the store and recovers it.",
            run: Run::Server(|context, _| reload(context, Reload::Checkpoint)),
            ..BASE
        },
    ],
    ..BASE
};

const BASE: CommandSpec = CommandSpec {
    name: "debug",
    syntax: "",
    summary: "For test suites.",
    since: "1.0.0",
    complexity: "Depends on the subcommand.",
    group: "server",
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::NO_MULTI,
    categories: category::ADMIN | category::DANGEROUS,
    keys: Keys::None,
    access: &[],
    groups: Groups::None,
    channels: Channels::None,
    subcommands: &[],
    run: Run::Container,
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn log(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let message = String::from_utf8_lossy(request.args[2]);
    context.state.log(&LogEvent::new(LogName::DebugMessage, message));
    context.output.write().ok();
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn reload(context: &mut Context<'_>, reload: Reload) -> Result<Then, WireError> {
    context.state.reload = Some((reload, context.session.id));
    context.output.write().ok();
    Ok(Then::Done)
}
