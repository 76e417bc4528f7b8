//! SWAPDB database database

use levada_core::command::Command;

use super::GENERIC;
use super::select::known;
use crate::number::parse_i64;
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
    let number = |at, malformed| {
        let number = parse_i64(request.arg(at)).and_then(|number| i32::try_from(number).ok());
        number.ok_or(WireError::Fixed(malformed))
    };
    let first = number(1, "ERR invalid first DB index")?;
    let second = number(2, "ERR invalid second DB index")?;
    Ok(Command::Swapdb(known(first)?, known(second)?).into())
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
