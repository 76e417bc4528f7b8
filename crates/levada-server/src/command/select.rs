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
    let number = parse_i64(request.arg(1)).filter(|number| i32::try_from(*number).is_ok());
    let number = number.ok_or(WireError::NOT_INTEGER)?;
    let known = u8::try_from(number).ok().filter(|number| *number < DATABASES);
    context.session.database = known.ok_or(WireError::DATABASE_OUT_OF_RANGE)?;
    context.output.write().ok();
    Ok(Then::Done)
}
