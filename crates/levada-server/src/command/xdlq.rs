//! XDLQ LEN key group \[AFTER id]
//! XDLQ RANGE key group \[AFTER id] \[COUNT n|IDS n id \[id ...]]
//! XDLQ REDRIVE key group \[AFTER id] \[COUNT n|IDS n id \[id ...]]
//! XDLQ PURGE key group \[AFTER id] \[COUNT n|IDS n id \[id ...]]
//! XDLQ HELP
//!
//! The dead letters of a group of a stream. Ours.

use levada_core::command::{Command, Letters, Xdlq, XdlqVerb};
use levada_core::decide::LETTERS_MAX;
use levada_core::id::StreamId;

use super::{CONTAINER, SECOND_KEY, STREAM, help_flags};
use crate::context::Context;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Groups, Request, Run, Then, access, category, flag};
use crate::stream_arguments::{counted_ids, id, ids, unsigned};
use crate::wire_error::WireError;

const WHICH: &str = "key group [AFTER id] [COUNT count | IDS numids id [id ...]]";

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xdlq",
    syntax: "subcommand ...",
    summary: "Counts, shows, gives back and removes the dead letters of a group.",
    since: "levada 0.1",
    group: "stream",
    subcommands: &[
        CommandSpec {
            name: "xdlq|len",
            syntax: "key group [AFTER id]",
            summary: "How many dead letters a group has.",
            since: "levada 0.1",
            complexity: "O(N), N entries of the dead-letter stream",
            arity: -4,
            flags: flag::READONLY,
            keys: SECOND_KEY,
            groups: Groups::BehindKey,
            run: Run::Engine(len, plain),
            ..STREAM
        },
        CommandSpec {
            name: "xdlq|purge",
            access: &[access::RW | access::DELETE],
            syntax: WHICH,
            summary: "Removes dead letters of a group.",
            arity: -4,
            flags: flag::WRITE,
            run: Run::Engine(purge, plain),
            ..LETTERS
        },
        CommandSpec {
            name: "xdlq|range",
            syntax: WHICH,
            summary: "Shows dead letters of a group, oldest first.",
            arity: -4,
            flags: flag::READONLY,
            run: Run::Engine(range, plain),
            ..LETTERS
        },
        CommandSpec {
            name: "xdlq|redrive",
            syntax: WHICH,
            summary: "Gives dead letters back to the group that failed, and to no other.",
            arity: -4,
            flags: flag::WRITE | flag::DENYOOM,
            run: Run::Engine(redrive, plain),
            ..LETTERS
        },
        CommandSpec {
            name: "xdlq|help",
            summary: "Lists the subcommands.",
            since: "levada 0.1",
            arity: 2,
            flags: help_flags(),
            categories: category::STREAM,
            run: Run::Server(help),
            ..STREAM
        },
    ],
    ..CONTAINER
};

const LETTERS: CommandSpec = CommandSpec {
    since: "levada 0.1",
    complexity: "O(N), N entries that are looked at until enough are found",
    keys: SECOND_KEY,
    groups: Groups::BehindKey,
    ..STREAM
};

fn len<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    match after(request)? {
        (after, []) => Ok(asked(request, XdlqVerb::Len, Letters::First(0), after)),
        _ => Err(WireError::SYNTAX),
    }
}

fn range<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    some(request, XdlqVerb::Range)
}

fn redrive<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    some(request, XdlqVerb::Redrive)
}

fn purge<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    some(request, XdlqVerb::Purge)
}

fn some<'a>(request: &Request<'a>, verb: XdlqVerb) -> Result<Asked<'a>, WireError> {
    let (after, rest) = after(request)?;
    let letters = letters(rest)?;
    if matches!(letters, Letters::Ids(_)) && after > StreamId::MIN {
        return Err(WireError::SYNTAX);
    }
    Ok(asked(request, verb, letters, after))
}

fn asked<'a>(
    request: &Request<'a>,
    verb: XdlqVerb,
    letters: Letters,
    after: StreamId,
) -> Asked<'a> {
    let (key, group) = (request.key(2), request.arg(3));
    Command::Xdlq(Xdlq { verb, key, group, letters, after }).into()
}

/// The id behind AFTER, [`StreamId::MIN`] without it, and the words behind that.
fn after<'a>(request: &Request<'a>) -> Result<(StreamId, &'a [&'a [u8]]), WireError> {
    match request.rest(4) {
        [word, given, rest @ ..] if word.eq_ignore_ascii_case(b"AFTER") => Ok((id(given)?, rest)),
        rest => Ok((StreamId::MIN, rest)),
    }
}

/// Which letters, all of them as far as one call goes where nothing is said.
fn letters(words: &[&[u8]]) -> Result<Letters, WireError> {
    match words {
        [] => Ok(Letters::First(LETTERS_MAX as u64)),
        [word, count] if word.eq_ignore_ascii_case(b"COUNT") => {
            unsigned(count, &WireError::NOT_INTEGER).map(Letters::First)
        }
        [word, rest @ ..] => match counted_ids(word, rest)? {
            Some((given, [])) if given.len() > LETTERS_MAX => {
                Err(WireError::Fixed("ERR IDS takes at most 1000 ids"))
            }
            Some((given, [])) => ids(given).map(Letters::Ids),
            _ => Err(WireError::SYNTAX),
        },
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "XDLQ <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "LEN <key> <groupname> [AFTER <id>]",
        "    How many dead letters the group of the stream has.",
        "PURGE <key> <groupname> [AFTER <id>] [COUNT <count> | IDS <numids> <id> [<id> ...]]",
        "    Remove dead letters, at most 1000 a call. Answers how many.",
        "RANGE <key> <groupname> [AFTER <id>] [COUNT <count> | IDS <numids> <id> [<id> ...]]",
        "    Show dead letters, oldest first, at most 1000 a call.",
        "REDRIVE <key> <groupname> [AFTER <id>] [COUNT <count> | IDS <numids> <id> [<id> ...]]",
        "    Give dead letters back to the group, at most 1000 a call. Answers how many.",
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
        check("XDLQ LEN s g", "verb: Len");
        check("XDLQ RANGE s g", "letters: First(1000)");
        check("XDLQ redrive s g count 5", "verb: Redrive");
        check("XDLQ PURGE s g IDS 1 1-1", "letters: Ids([StreamId { ms: 1, seq: 1 }])");
        check("XDLQ PURGE s g COUNT", "ERR syntax error");
        check("XDLQ PURGE s g COUNT -1", "ERR value is not an integer or out of range");
        check("XDLQ PURGE s g IDS 0", "ERR Number of IDs must be a positive integer");
        check("XDLQ PURGE s g IDS 1 1-1 COUNT 4", "ERR syntax error");
        check("XDLQ RANGE s g", "after: StreamId { ms: 0, seq: 0 }");
        check("XDLQ RANGE s g after 5-1 COUNT 2", "after: StreamId { ms: 5, seq: 1 }");
        check("XDLQ LEN s g AFTER 5", "after: StreamId { ms: 5, seq: 0 }");
        check("XDLQ PURGE s g AFTER 5", "letters: First(1000)");
        check("XDLQ PURGE s g AFTER 5 IDS 1 1-1", "ERR syntax error");
        check("XDLQ PURGE s g AFTER", "ERR syntax error");
        check("XDLQ LEN s g COUNT 4", "ERR syntax error");
        check("XDLQ FOO s g", "ERR unknown subcommand 'FOO'. Try XDLQ HELP.");
    }
}
