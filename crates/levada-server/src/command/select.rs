//! SELECT database

use levada_core::limits::DATABASES;

use super::CONNECTION;
use crate::context::Context;
use crate::number::parse_i64;
use crate::spec::{CommandSpec, Request, Run, Then, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "select",
    syntax: "database",
    summary: "Chooses the database of the connection.",
    since: "1.0.0",
    arity: 2,
    flags: flag::LOADING | flag::STALE | flag::FAST,
    run: Run::Server(run),
    ..CONNECTION
};

fn run(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    context.session.database = database(request.arg(1))?;
    context.output.write().ok();
    Ok(Then::Done)
}

/// The number of a database.
pub(super) fn database(text: &[u8]) -> Result<u8, WireError> {
    let number = parse_i64(text).ok_or(WireError::NOT_INTEGER)?;
    known(i32::try_from(number).map_err(|_| WireError::NOT_32_BITS)?)
}

/// The number of a database, if there is one of this number.
pub(super) fn known(number: i32) -> Result<u8, WireError> {
    let known = u8::try_from(number).ok().filter(|number| *number < DATABASES);
    known.ok_or(WireError::DATABASE_OUT_OF_RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_numbers_of_32_bits() {
        let check = |text: &str, expect: Result<u8, WireError>| {
            assert_eq!(database(text.as_bytes()), expect, "{text}");
        };
        check("15", Ok(15));
        check("16", Err(WireError::DATABASE_OUT_OF_RANGE));
        check("-2147483648", Err(WireError::DATABASE_OUT_OF_RANGE));
        check("2147483648", Err(WireError::NOT_32_BITS));
        check("9223372036854775808", Err(WireError::NOT_INTEGER));
    }
}
