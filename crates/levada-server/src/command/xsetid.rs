//! XSETID key last-id \[ENTRIESADDED n] \[MAXDELETEDID id]

use levada_core::command::{Command, Xsetid};

use super::{KEY, STREAM};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, flag};
use crate::stream_arguments::{id, unsigned};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xsetid",
    syntax: "key last-id [ENTRIESADDED n] [MAXDELETEDID id]",
    summary: "Sets the last id of a stream.",
    since: "5.0.0",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let mut asked = Xsetid {
        key: request.key(1),
        last_id: id(request.arg(2))?,
        entries_added: None,
        max_deleted_id: None,
    };
    let mut options = request.rest(3);
    while let [word, rest @ ..] = options {
        let [value, rest @ ..] = rest else {
            return Err(WireError::SYNTAX);
        };
        if word.eq_ignore_ascii_case(b"ENTRIESADDED") {
            asked.entries_added = Some(unsigned(value, &WireError::ENTRIES_ADDED_NEGATIVE)?);
        } else if word.eq_ignore_ascii_case(b"MAXDELETEDID") {
            let deleted = id(value)?;
            if asked.last_id < deleted {
                return Err(WireError::SETID_BELOW_DELETED);
            }
            asked.max_deleted_id = Some(deleted);
        } else {
            return Err(WireError::SYNTAX);
        }
        options = rest;
    }
    Ok(Command::Xsetid(asked).into())
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("XSETID s 5-5", "entries_added: None, max_deleted_id: None");
        check("XSETID s 5 ENTRIESADDED 9", "entries_added: Some(9)");
        check("XSETID s 5 MAXDELETEDID 4", "max_deleted_id: Some(StreamId { ms: 4, seq: 0 })");
        check("XSETID s 5 ENTRIESADDED", "ERR syntax error");
        check("XSETID s 5 ENTRIESADDED -1", "ERR entries_added must be positive");
        check(
            "XSETID s 1-1 MAXDELETEDID 5-5",
            "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        );
    }
}
