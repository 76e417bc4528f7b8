//! XGROUP CREATE key group id|$ \[MKSTREAM] \[ENTRIESREAD n]
//! XGROUP SETID key group id|$ \[ENTRIESREAD n]
//! XGROUP DESTROY key group
//! XGROUP CREATECONSUMER key group consumer
//! XGROUP DELCONSUMER key group consumer
//! XGROUP CFGSET key group \[ACK-WAIT ms] \[MAX-DELIVER n] \[BACKOFF n ms ...] \[DLQ key]
//! \[MAX-PENDING n] \[ORDER-BY field] \[CONSUMER-TTL ms] \[RETAIN YES|NO]
//! XGROUP CFGGET key group \[option ...]
//! XGROUP PARKED key group \[AFTER id] \[COUNT n]
//! XGROUP HANDOVER key group consumer \[TO consumer]
//! XGROUP HELP
//!
//! CFGSET, CFGGET, PARKED and HANDOVER are ours.

pub(crate) mod policy;

use levada_core::command::{Command, XgroupCreate, XgroupSetid};
use levada_core::id::StreamId;

use super::{CONTAINER, SECOND_KEY, STREAM, help_flags};
use crate::context::Context;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Groups, Request, Run, Then, access, category, flag};
use crate::stream_arguments::{id, integer};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xgroup",
    syntax: "subcommand ...",
    summary: "Creates, moves and removes groups and their consumers.",
    since: "5.0.0",
    group: "stream",
    subcommands: &[
        policy::CFGGET,
        policy::CFGSET,
        CommandSpec {
            name: "xgroup|create",
            access: &[access::RW | access::INSERT],
            syntax: "key group id|$ [MKSTREAM] [ENTRIESREAD n]",
            summary: "Creates a group.",
            since: "5.0.0",
            arity: -5,
            flags: flag::WRITE | flag::DENYOOM,
            keys: SECOND_KEY,
            groups: Groups::BehindKey,
            run: Run::Engine(create, plain),
            ..STREAM
        },
        CommandSpec {
            name: "xgroup|createconsumer",
            access: &[access::RW | access::INSERT],
            syntax: "key group consumer",
            summary: "Creates a consumer of a group.",
            since: "6.2.0",
            arity: 5,
            flags: flag::WRITE | flag::DENYOOM,
            keys: SECOND_KEY,
            groups: Groups::BehindKey,
            run: Run::Engine(create_consumer, plain),
            ..STREAM
        },
        CommandSpec {
            name: "xgroup|delconsumer",
            access: &[access::RW | access::DELETE],
            syntax: "key group consumer",
            summary: "Removes a consumer and what it holds.",
            since: "5.0.0",
            complexity: "O(N), N entries that it holds",
            arity: 5,
            flags: flag::WRITE,
            keys: SECOND_KEY,
            groups: Groups::BehindKey,
            run: Run::Engine(delete_consumer, plain),
            ..STREAM
        },
        CommandSpec {
            name: "xgroup|destroy",
            access: &[access::RW | access::DELETE],
            syntax: "key group",
            summary: "Removes a group.",
            since: "5.0.0",
            complexity: "O(N), N entries pending",
            arity: 4,
            flags: flag::WRITE,
            keys: SECOND_KEY,
            groups: Groups::BehindKey,
            run: Run::Engine(destroy, plain),
            ..STREAM
        },
        policy::HANDOVER,
        policy::PARKED,
        CommandSpec {
            name: "xgroup|setid",
            syntax: "key group id|$ [ENTRIESREAD n]",
            summary: "Sets the last delivered id of a group.",
            since: "5.0.0",
            arity: -5,
            flags: flag::WRITE,
            keys: SECOND_KEY,
            groups: Groups::BehindKey,
            run: Run::Engine(setid, plain),
            ..STREAM
        },
        CommandSpec {
            name: "xgroup|help",
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

/// Options of CREATE and SETID: MKSTREAM and ENTRIESREAD.
fn options(request: &Request<'_>, create: bool) -> Result<(bool, Option<u64>), WireError> {
    let (mut create_stream, mut entries_read) = (false, None);
    let mut options = request.rest(5);
    while let [word, rest @ ..] = options {
        options = rest;
        if create && word.eq_ignore_ascii_case(b"MKSTREAM") {
            create_stream = true;
        } else if let (true, [value, rest @ ..]) = (word.eq_ignore_ascii_case(b"ENTRIESREAD"), rest)
        {
            entries_read = match integer(value)? {
                -1 => None,
                read => Some(u64::try_from(read).map_err(|_| WireError::ENTRIES_READ_NEGATIVE)?),
            };
            options = rest;
        } else {
            return Err(WireError::subcommand_syntax("XGROUP", request.arg(1)));
        }
    }
    Ok((create_stream, entries_read))
}

/// An id, or `None` for `$`.
fn start(text: &[u8]) -> Result<Option<StreamId>, WireError> {
    match text {
        b"$" => Ok(None),
        text => id(text).map(Some),
    }
}

/// Words of XGROUP CREATE with each option once; Redis counts them, but looks for no doubles.
const CREATE_WORDS_MAX: usize = 8;

fn create<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let (create_stream, entries_read) = options(request, true)?;
    let (key, group) = (request.key(2), request.arg(3));
    let id = match start(request.arg(4)) {
        Ok(_) if request.args.len() > CREATE_WORDS_MAX => {
            Err(WireError::subcommand_syntax("XGROUP", request.arg(1)))
        }
        id => id,
    };
    let id = match id {
        Ok(id) => id,
        // The key is looked for first.
        Err(error) if create_stream => {
            return Ok(Asked::check_first(Command::Type(key), error, None));
        }
        Err(error) => {
            return Ok(Asked::check_first(Command::XinfoStream(key, None), error, None));
        }
    };
    let create = XgroupCreate { key, group, id, create_stream, entries_read };
    Ok(Command::XgroupCreate(create).into())
}

fn setid<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let (_, entries_read) = options(request, false)?;
    let (key, group) = (request.key(2), request.arg(3));
    // Unlike CREATE it takes the ends of a range too.
    let id = match request.arg(4) {
        b"-" => Ok(Some(StreamId::MIN)),
        b"+" => Ok(Some(StreamId::MAX)),
        text => start(text),
    };
    match id {
        Ok(id) => Ok(Command::XgroupSetid(XgroupSetid { key, group, id, entries_read }).into()),
        Err(error) => {
            let check = Command::XinfoConsumers(key, group);
            Ok(Asked::check_first(check, error, None))
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn create_consumer<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let (key, group, consumer) = (request.key(2), request.arg(3), request.arg(4));
    Ok(Command::XgroupCreateconsumer(key, group, consumer).into())
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn delete_consumer<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let (key, group, consumer) = (request.key(2), request.arg(3), request.arg(4));
    Ok(Command::XgroupDelconsumer(key, group, consumer).into())
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn destroy<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::XgroupDestroy(request.key(2), request.arg(3)).into())
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CFGGET <key> <groupname> [<option> ...]",
        "    Show the policy of the group, or these options of it.",
        "CFGSET <key> <groupname> <option> <value> [...]",
        "    Change the policy of the group. Options are:",
        "    * ACK-WAIT ms",
        "    * MAX-DELIVER count",
        "    * BACKOFF count ms [ms ...]",
        "    * DLQ key",
        "    * MAX-PENDING count",
        "    * ORDER-BY field",
        "    * CONSUMER-TTL ms",
        "    * RETAIN YES|NO",
        "CREATE <key> <groupname> <id|$> [option]",
        "    Create a new consumer group. Options are:",
        "    * MKSTREAM",
        "      Create the empty stream if it does not exist.",
        "    * ENTRIESREAD entries_read",
        "      Set the group's entries_read counter (internal use).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Create a new consumer in the specified group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove the specified consumer.",
        "DESTROY <key> <groupname>",
        "    Remove the specified group.",
        "HANDOVER <key> <groupname> <consumer> [TO <consumer>]",
        "    Remove the consumer; what it holds is offered again, or is that of the other.",
        "PARKED <key> <groupname> [AFTER <id>] [COUNT <count>]",
        "    Show the ids that the group has passed over for ORDER-BY and still owes.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set the current group ID and entries_read counter.",
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
        check("XGROUP CREATE s g $", "id: None, create_stream: false, entries_read: None");
        check(
            "XGROUP CREATE s g 5 MKSTREAM ENTRIESREAD 3",
            "create_stream: true, entries_read: Some(3)",
        );
        check("XGROUP CREATE s g 5 ENTRIESREAD -1", "entries_read: None");
        check("XGROUP SETID s g 5 ENTRIESREAD 3", "XgroupSetid");
        check("XGROUP SETID s g -", "id: Some(StreamId { ms: 0, seq: 0 })");
        check("xgroup destroy s g", "XgroupDestroy");
        check("XGROUP", "ERR wrong number of arguments for 'xgroup' command");
        check("XGROUP CREATE", "ERR wrong number of arguments for 'xgroup|create' command");
        check("XGROUP FOO", "ERR unknown subcommand 'FOO'. Try XGROUP HELP.");
        check(
            "XGROUP CREATE s g $ FOO",
            "ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
        );
        check(
            "XGROUP SETID s g $ MKSTREAM",
            "ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.",
        );
        check(
            "XGROUP CREATE s g $ ENTRIESREAD -2",
            "ERR value for ENTRIESREAD must be positive or -1",
        );
    }
}
