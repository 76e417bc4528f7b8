//! SLOWLOG GET \[count], SLOWLOG LEN, SLOWLOG RESET, SLOWLOG HELP

use super::{BASE, CONTAINER, help_flags};
use crate::context::Context;
use crate::number::parse_i64;
use crate::spec::{CommandSpec, Request, Run, Then, flag};
use crate::wire_error::WireError;

const COUNT_INVALID: WireError =
    WireError::Fixed("ERR count should be greater than or equal to -1");

const SLOW: CommandSpec = CommandSpec {
    since: "2.2.12",
    group: "server",
    arity: 2,
    flags: flag::ADMIN | flag::LOADING | flag::STALE,
    ..BASE
};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "slowlog",
    syntax: "subcommand ...",
    summary: "Shows commands that took long.",
    since: "2.2.12",
    group: "server",
    subcommands: &[
        CommandSpec {
            name: "slowlog|get",
            syntax: "[count]",
            summary: "Lists slow commands, newest first.",
            complexity: "O(N), N commands",
            arity: -2,
            run: Run::Server(get),
            ..SLOW
        },
        CommandSpec {
            name: "slowlog|help",
            summary: "Lists the subcommands.",
            flags: help_flags(),
            run: Run::Server(help),
            ..SLOW
        },
        CommandSpec {
            name: "slowlog|len",
            summary: "Counts slow commands.",
            run: Run::Server(len),
            ..SLOW
        },
        CommandSpec {
            name: "slowlog|reset",
            summary: "Forgets slow commands.",
            run: Run::Server(reset),
            ..SLOW
        },
    ],
    ..CONTAINER
};

fn get(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let count = match request.rest(2) {
        [] => 10,
        [count] => parse_i64(count).filter(|count| *count >= -1).ok_or(COUNT_INVALID)?,
        _ => return Err(WireError::subcommand_syntax("SLOWLOG", request.arg(1))),
    };
    let entries = context.state.slow_log.entries();
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(entries.len());
    let mut writer = context.output.write();
    writer.array(count);
    for slow in entries.iter().take(count) {
        writer.array(6);
        for number in [slow.id, slow.unix_s, slow.took_us] {
            writer.integer(i64::try_from(number).unwrap_or(i64::MAX));
        }
        writer.array(slow.args.len());
        slow.args.iter().for_each(|arg| writer.bulk(arg));
        writer.bulk(slow.address.to_string().as_bytes());
        writer.bulk(&slow.name);
    }
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn len(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.unsigned(context.state.slow_log.entries().len() as u64);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn reset(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.state.slow_log.clear();
    context.output.write().ok();
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET [<count>]",
        "    List slow commands, newest first (10, or -1 for all): id, time, microseconds,",
        "    arguments, address and name of the client.",
        "LEN",
        "    Count them.",
        "RESET",
        "    Forget them.",
        "HELP",
        "    Print this help.",
    ]);
    Ok(Then::Done)
}
