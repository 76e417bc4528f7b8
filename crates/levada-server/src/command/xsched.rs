//! XSCHED ADD key \[HANDLE id] AT unix-ms|IN ms \[IDMP pid iid] field value \[field value ...]
//! XSCHED CANCEL key handle
//! XSCHED LIST key \[COUNT n]
//! XSCHED LEN key
//! XSCHED HELP
//!
//! Entries that the server appends when they are due. Ours. The one key that is declared is the
//! target; the stream that holds what is scheduled has a name of the same slot.

use levada_core::command::{Command, SchedVerb, Xsched};
use levada_core::fields::Fields;

use super::{CONTAINER, SECOND_KEY, STREAM, help_flags};
use crate::context::Context;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, Then, access, category, flag};
use crate::stream_arguments::{id, unsigned};
use crate::wire_error::WireError;

/// What LIST gives without COUNT, and the most that COUNT may ask for: each may stand in a block of
/// its own, and all of these are in memory at once.
const LISTED: u64 = 100;
const LISTED_MAX: u64 = 1000;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xsched",
    syntax: "subcommand ...",
    summary: "Appends entries later.",
    since: "levada 0.1",
    group: "stream",
    subcommands: &[
        CommandSpec {
            name: "xsched|add",
            access: &[access::RW | access::INSERT],
            syntax: "key [HANDLE id] AT unix-ms|IN ms [IDMP pid iid] field value [field value ...]",
            summary: "Schedules an entry, which the server appends when it is due.",
            since: "levada 0.1",
            complexity: "O(log N), N entries scheduled",
            arity: -7,
            flags: flag::WRITE | flag::DENYOOM | flag::FAST,
            keys: SECOND_KEY,
            run: Run::Engine(add, plain),
            ..STREAM
        },
        CommandSpec {
            name: "xsched|cancel",
            access: &[access::RW | access::DELETE],
            syntax: "key handle",
            summary: "Takes an entry out of the schedule.",
            since: "levada 0.1",
            complexity: "O(log N), N entries scheduled",
            arity: 4,
            flags: flag::WRITE | flag::FAST,
            keys: SECOND_KEY,
            run: Run::Engine(cancel, plain),
            ..STREAM
        },
        CommandSpec {
            name: "xsched|len",
            syntax: "key",
            summary: "Counts the entries that are scheduled.",
            since: "levada 0.1",
            arity: 3,
            flags: flag::READONLY | flag::FAST,
            keys: SECOND_KEY,
            run: Run::Engine(len, plain),
            ..STREAM
        },
        CommandSpec {
            name: "xsched|list",
            syntax: "key [COUNT n]",
            summary: "Shows the entries that are due next, with their handles.",
            since: "levada 0.1",
            complexity: "O(M log N), M entries shown of N scheduled",
            arity: -3,
            flags: flag::READONLY,
            keys: SECOND_KEY,
            run: Run::Engine(list, plain),
            ..STREAM
        },
        CommandSpec {
            name: "xsched|help",
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

fn add<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let (handle, at) = match request.arg(3).eq_ignore_ascii_case(b"HANDLE") {
        true => (Some(id(request.arg(4))?), 5),
        false => (None, 3),
    };
    let (word, time) = (request.arg(at), unsigned(request.arg(at + 1), &WireError::NOT_INTEGER)?);
    let at_ms = if word.eq_ignore_ascii_case(b"AT") {
        time
    } else if word.eq_ignore_ascii_case(b"IN") {
        request.now.wall_ms.saturating_add(time)
    } else {
        return Err(WireError::SYNTAX);
    };
    let (mut once, mut fields) = (None, request.rest(at + 2));
    if let [word, pid, iid, rest @ ..] = fields
        && word.eq_ignore_ascii_case(b"IDMP")
    {
        if pid.is_empty() {
            return Err(WireError::IDMP_PID_EMPTY);
        }
        if iid.is_empty() {
            return Err(WireError::IDMP_IID_EMPTY);
        }
        (once, fields) = (Some((*pid, *iid)), rest);
    }
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(WireError::Arity(request.spec.name));
    }
    let verb = SchedVerb::Add { at_ms, once, fields: Fields::Arguments(fields) };
    let mut asked = Xsched::new(request.key(2), verb);
    asked.handle = handle;
    Ok(Command::Xsched(asked).into())
}

fn cancel<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(asked(request, SchedVerb::Cancel(id(request.arg(3))?)))
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn len<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(asked(request, SchedVerb::Len))
}

fn list<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let count = match request.rest(3) {
        [] => LISTED,
        [word, count] if word.eq_ignore_ascii_case(b"COUNT") => {
            unsigned(count, &WireError::NOT_INTEGER)?
        }
        _ => return Err(WireError::SYNTAX),
    };
    if count > LISTED_MAX {
        return Err(WireError::Fixed(
            "ERR COUNT is at most 1000: read the schedule with XRANGE for more",
        ));
    }
    Ok(asked(request, SchedVerb::List(count)))
}

fn asked<'a>(request: &Request<'a>, verb: SchedVerb<'a>) -> Asked<'a> {
    Command::Xsched(Xsched::new(request.key(2), verb)).into()
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "XSCHED <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ADD <key> [HANDLE <id>] AT <unix-ms>|IN <ms> [IDMP <pid> <iid>] <field> <value> [...]",
        "    Schedule an entry; answers its handle.",
        "CANCEL <key> <handle>",
        "    Take an entry out of the schedule.",
        "LEN <key>",
        "    Count the entries that are scheduled.",
        "LIST <key> [COUNT <n>]",
        "    Show the entries that are due next.",
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
        check("XSCHED ADD s AT 7 a b", "at_ms: 7, once: None");
        check("XSCHED ADD s in 7 a b", "at_ms: 8, once: None");
        check("XSCHED ADD s AT 7 idmp p i a b", "once: Some(([112], [105]))");
        check("XSCHED ADD s AT 7 IDMP v", "once: None");
        check("XSCHED ADD s AT 7 HANDLE 5-1", "handle: None");
        check("XSCHED ADD s handle 5-1 AT 7 a b", "handle: Some(StreamId { ms: 5, seq: 1 })");
        check("XSCHED CANCEL s 1-2", "Cancel(StreamId { ms: 1, seq: 2 })");
        check("XSCHED LIST s", "List(100)");
        check("XSCHED LIST s count 3", "List(3)");
        check("XSCHED LEN s", "Len");
    }

    #[test]
    fn mistakes_have_their_words() {
        let arity = "ERR wrong number of arguments for 'xsched|add' command";
        check("XSCHED ADD s AT 7 a", arity);
        check("XSCHED ADD s AT 7 a b c", arity);
        check("XSCHED ADD s AT 7 IDMP p i", arity);
        check("XSCHED ADD s AT 7 IDMP p i a", arity);
        check("XSCHED ADD s AT -1 a b", "ERR value is not an integer or out of range");
        check("XSCHED ADD s AT now a b", "ERR value is not an integer or out of range");
        check("XSCHED ADD s SOON 1 a b", "ERR syntax error");
        check("XSCHED ADD s HANDLE 5-1 AT 7 a", arity);
        check(
            "XSCHED ADD s HANDLE x AT 7 a b",
            "ERR Invalid stream ID specified as stream command argument",
        );
        check("XSCHED LIST s COUNT", "ERR syntax error");
        check("XSCHED LIST s COUNT x", "ERR value is not an integer or out of range");
        check(
            "XSCHED LIST s COUNT 1001",
            "ERR COUNT is at most 1000: read the schedule with XRANGE for more",
        );
        check("XSCHED CANCEL s x", "ERR Invalid stream ID specified as stream command argument");
    }
}
