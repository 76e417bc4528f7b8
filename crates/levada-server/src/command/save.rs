//! SAVE, BGSAVE \[SCHEDULE], BGREWRITEAOF, LASTSAVE
//!
//! Everything acknowledged is on disk already: SAVE answers when all that was written before it is.

use super::SERVER;
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, category, flag};
use crate::wire_error::WireError;

pub(super) const SAVE: CommandSpec = CommandSpec {
    name: "save",
    summary: "Asks for a checkpoint, and answers when everything written so far is on disk.",
    since: "1.0.0",
    arity: 1,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::NO_MULTI,
    run: Run::Server(save),
    ..SERVER
};

pub(super) const BGSAVE: CommandSpec = CommandSpec {
    name: "bgsave",
    syntax: "[SCHEDULE]",
    summary: "Asks for a checkpoint; everything acknowledged is on disk without it.",
    since: "1.0.0",
    arity: -1,
    flags: flag::ADMIN | flag::NOSCRIPT,
    run: Run::Server(bgsave),
    ..SERVER
};

pub(super) const BGREWRITEAOF: CommandSpec = CommandSpec {
    name: "bgrewriteaof",
    summary: "Asks for a checkpoint, behind which the log may be cut off.",
    since: "1.0.0",
    arity: 1,
    flags: flag::ADMIN | flag::NOSCRIPT,
    run: Run::Server(bgrewriteaof),
    ..SERVER
};

pub(super) const LASTSAVE: CommandSpec = CommandSpec {
    name: "lastsave",
    summary: "Tells the unix second at which the last checkpoint ended.",
    since: "1.0.0",
    arity: 1,
    flags: flag::LOADING | flag::STALE | flag::FAST,
    categories: category::ADMIN | category::DANGEROUS,
    run: Run::Server(lastsave),
    ..SERVER
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn save(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.shard.want_checkpoint();
    context.output.write().ok();
    Ok(Then::Wait(context.shard.wait_for_everything()))
}

fn bgsave(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    match request.rest(1) {
        [] => {}
        [word] if word.eq_ignore_ascii_case(b"SCHEDULE") => {}
        _ => return Err(WireError::SYNTAX),
    }
    context.shard.want_checkpoint();
    context.output.write().simple("Background saving started");
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn lastsave(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.unsigned(context.state.saves.last_s);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn bgrewriteaof(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.shard.want_checkpoint();
    context.output.write().simple("Background append only file rewriting started");
    Ok(Then::Done)
}
