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
    context.session.database = database(request.arg(1), &WireError::NOT_INTEGER)?;
    context.output.write().ok();
    Ok(Then::Done)
}

/// The number of a database; `malformed` where it is no number.
pub(super) fn database(text: &[u8], malformed: &WireError) -> Result<u8, WireError> {
    let number = number(text).ok_or_else(|| malformed.clone())?;
    let known = u8::try_from(number).ok().filter(|number| *number < DATABASES);
    known.ok_or(WireError::DATABASE_OUT_OF_RANGE)
}

/// A number as Redis takes it for a database: 32 bits.
pub(super) fn number(text: &[u8]) -> Option<i32> {
    i32::try_from(parse_i64(text)?).ok()
}
