//! SCAN cursor \[MATCH pattern] \[COUNT n] \[TYPE type]

use levada_core::command::{Command, Scan};

use super::GENERIC;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Keys, Request, Run, flag};
use crate::stream_arguments::{cursor, integer};
use crate::wire_error::WireError;

/// COUNT where none is given.
const COUNT: u64 = 10;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "scan",
    syntax: "cursor [MATCH pattern] [COUNT n] [TYPE type]",
    summary: "Lists keys in steps.",
    since: "2.8.0",
    complexity: "O(1) for each key of a step",
    arity: -2,
    flags: flag::READONLY,
    keys: Keys::None,
    run: Run::Engine(parse, plain),
    ..GENERIC
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let mut scan = Scan {
        database: request.database,
        cursor: cursor(request.arg(1))?,
        pattern: None,
        count: COUNT,
        kind: None,
    };
    let mut options = request.rest(2);
    while let [word, rest @ ..] = options {
        let [value, rest @ ..] = rest else {
            return Err(WireError::SYNTAX);
        };
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"MATCH") {
            scan.pattern = Some(value);
        } else if is(b"TYPE") {
            scan.kind = Some(value);
        } else if is(b"COUNT") {
            let count = u64::try_from(integer(value)?).ok().filter(|count| *count > 0);
            scan.count = count.ok_or(WireError::SYNTAX)?;
        } else {
            return Err(WireError::SYNTAX);
        }
        options = rest;
    }
    Ok(Command::Scan(scan).into())
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("SCAN 0", "cursor: 0, pattern: None, count: 10, kind: None");
        check("SCAN 5 count 7 TYPE stream", "cursor: 5, pattern: None, count: 7");
        check("SCAN x", "ERR invalid cursor");
        check("SCAN -1", "ERR invalid cursor");
        check("SCAN 18446744073709551616", "ERR invalid cursor");
        check("SCAN 0 COUNT 0", "ERR syntax error");
        check("SCAN 0 COUNT x", "ERR value is not an integer or out of range");
        check("SCAN 0 MATCH", "ERR syntax error");
        check("SCAN 0 FOO 1", "ERR syntax error");
    }
}
