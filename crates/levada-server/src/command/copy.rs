//! COPY source destination \[DB n] \[REPLACE]

use levada_core::command::{Command, Copied, Key};

use super::GENERIC;
use super::select::database;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Keys, Request, Run, access, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "copy",
    access: &[access::RO | access::ACCESS, access::OW | access::UPDATE],
    syntax: "source destination [DB database] [REPLACE]",
    summary: "Copies a key; a stream with its groups, up to 16 MiB of sealed entries.",
    since: "6.2.0",
    complexity: "O(N), N bytes",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    keys: Keys::Range { first: 1, last: 2, step: 1 },
    run: Run::Engine(parse, plain),
    ..GENERIC
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let (mut to, mut replace) = (request.key(2), false);
    let mut options = request.rest(3);
    while let [word, rest @ ..] = options {
        options = match rest {
            [number, rest @ ..] if word.eq_ignore_ascii_case(b"DB") => {
                to = Key { database: database(number)?, ..to };
                rest
            }
            rest if word.eq_ignore_ascii_case(b"REPLACE") => {
                replace = true;
                rest
            }
            _ => return Err(WireError::SYNTAX),
        };
    }
    let from = request.key(1);
    if from == to {
        return Err(WireError::SAME_OBJECT);
    }
    Ok(Command::Copy(Copied { from, to, replace }).into())
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("COPY a b", "replace: false");
        check("COPY a a DB 3 REPLACE", "to: Key { database: 3, name: [97] }, replace: true");
        check("COPY a a DB 0", "ERR source and destination objects are the same");
        check("COPY a b DB", "ERR syntax error");
        check("COPY a b DB -1", "ERR DB index is out of range");
        check("COPY a b DB x", "ERR value is not an integer or out of range");
        check("COPY a b FOO", "ERR syntax error");
    }
}
