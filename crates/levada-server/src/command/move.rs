//! MOVE key database

use levada_core::command::Command;

use super::select::database;
use super::{GENERIC, KEY};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, access, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "move",
    access: &[access::RW | access::ACCESS | access::UPDATE],
    syntax: "key database",
    summary: "Moves a key to another database, unless its name is taken there.",
    since: "1.0.0",
    arity: 3,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..GENERIC
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let to = database(request.arg(2))?;
    if to == request.database {
        return Err(WireError::SAME_OBJECT);
    }
    Ok(Command::Move(request.key(1), to).into())
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("MOVE a 3", "Move(Key { database: 0, name: [97] }, 3)");
        check("MOVE a 0", "ERR source and destination objects are the same");
        check("MOVE a 16", "ERR DB index is out of range");
        check("MOVE a x", "ERR value is not an integer or out of range");
    }
}
