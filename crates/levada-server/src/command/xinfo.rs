//! XINFO STREAM key \[FULL \[COUNT n]]
//! XINFO GROUPS key
//! XINFO CONSUMERS key group
//! XINFO HELP

use levada_core::command::Command;

use super::{CONTAINER, SECOND_KEY, STREAM, help_flags};
use crate::context::Context;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Groups, Request, Run, Then, category, flag};
use crate::stream_arguments::integer;
use crate::wire_error::WireError;

/// COUNT of FULL where none is given.
const FULL_COUNT: u64 = 10;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xinfo",
    syntax: "subcommand ...",
    summary: "Tells facts about a stream, its groups and their consumers.",
    since: "5.0.0",
    group: "stream",
    subcommands: &[
        CommandSpec {
            name: "xinfo|consumers",
            syntax: "key group",
            summary: "Lists the consumers of a group.",
            since: "5.0.0",
            arity: 4,
            flags: flag::READONLY,
            keys: SECOND_KEY,
            groups: Groups::BehindKey,
            run: Run::Engine(consumers, plain),
            ..STREAM
        },
        CommandSpec {
            name: "xinfo|groups",
            syntax: "key",
            summary: "Lists the groups of a stream.",
            since: "5.0.0",
            arity: 3,
            flags: flag::READONLY,
            keys: SECOND_KEY,
            run: Run::Engine(groups, plain),
            ..STREAM
        },
        CommandSpec {
            name: "xinfo|stream",
            syntax: "key [FULL [COUNT n]]",
            summary: "Describes a stream.",
            since: "5.0.0",
            arity: -3,
            flags: flag::READONLY,
            keys: SECOND_KEY,
            run: Run::Engine(stream, plain),
            ..STREAM
        },
        CommandSpec {
            name: "xinfo|help",
            summary: "Lists the subcommands.",
            since: "5.0.0",
            arity: 2,
            flags: help_flags(),
            categories: category::STREAM,
            run: Run::Server(help),
            ..STREAM
        },
    ],
    ..CONTAINER
};

fn stream<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let key = request.key(2);
    Ok(match full(request) {
        Ok(count) => Command::XinfoStream(key, count).into(),
        // The key is looked for first.
        Err(error) => Asked::check_first(Command::XinfoStream(key, None), error, None),
    })
}

/// COUNT with FULL, `None` without FULL.
fn full(request: &Request<'_>) -> Result<Option<u64>, WireError> {
    let is = |at: usize, word: &[u8]| request.arg(at).eq_ignore_ascii_case(word);
    match request.args.len() {
        3 => Ok(None),
        4 if is(3, b"FULL") => Ok(Some(FULL_COUNT)),
        6 if is(3, b"FULL") && is(4, b"COUNT") => {
            let count = integer(request.arg(5))?;
            Ok(Some(u64::try_from(count).unwrap_or(FULL_COUNT)))
        }
        _ => Err(WireError::subcommand_syntax("XINFO", request.arg(1))),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn groups<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::XinfoGroups(request.key(2)).into())
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn consumers<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::XinfoConsumers(request.key(2), request.arg(3)).into())
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CONSUMERS <key> <groupname>",
        "    Show consumers of <groupname>.",
        "GROUPS <key>",
        "    Show the stream consumer groups.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    Show information about the stream.",
        "HELP",
        "    Print this help.",
    ]);
    Ok(Then::Done)
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("XINFO STREAM s", "None)");
        check("XINFO STREAM s FULL", "Some(10))");
        check("XINFO STREAM s FULL COUNT 0", "Some(0))");
        check("XINFO STREAM s FULL COUNT -1", "Some(10))");
        check(
            "XINFO STREAM s FOO",
            "ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.",
        );
        check("XINFO GROUPS", "ERR wrong number of arguments for 'xinfo|groups' command");
    }
}
