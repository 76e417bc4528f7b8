//! SWAPDB database database

use levada_core::command::Command;

use super::GENERIC;
use super::select::{database, number};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, category, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "swapdb",
    syntax: "database database",
    summary: "Lets two databases change places.",
    since: "4.0.0",
    complexity: "O(N), N keys in both",
    arity: 3,
    flags: flag::WRITE | flag::FAST,
    categories: category::KEYSPACE | category::DANGEROUS,
    run: Run::Engine(parse, plain),
    ..GENERIC
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    // Both must be numbers before either has to be a database.
    number(request.arg(1)).ok_or(WireError::Fixed("ERR invalid first DB index"))?;
    let second = database(request.arg(2), &WireError::Fixed("ERR invalid second DB index"))?;
    let first = database(request.arg(1), &WireError::NOT_INTEGER)?;
    Ok(Command::Swapdb(first, second).into())
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("SWAPDB 0 15", "Swapdb(0, 15)");
        check("SWAPDB x y", "ERR invalid first DB index");
        check("SWAPDB 99 y", "ERR invalid second DB index");
        check("SWAPDB 99 0", "ERR DB index is out of range");
        check("SWAPDB 0 -1", "ERR DB index is out of range");
    }
}
