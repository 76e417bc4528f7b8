//! GETRANGE key first last, SUBSTR key first last
//! SETRANGE key offset value

use levada_core::command::Command;

use super::{KEY, STRING};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, flag};
use crate::stream_arguments::integer;
use crate::wire_error::WireError;

pub(super) const GETRANGE: CommandSpec = CommandSpec {
    name: "getrange",
    syntax: "key first last",
    summary: "Reads a part of a string.",
    since: "2.4.0",
    complexity: "O(N), N bytes of the answer",
    arity: 4,
    flags: flag::READONLY,
    keys: KEY,
    run: Run::Engine(getrange, plain),
    ..STRING
};

pub(super) const SUBSTR: CommandSpec = CommandSpec {
    name: "substr",
    summary: "Reads a part of a string; the old name of GETRANGE.",
    since: "1.0.0",
    ..GETRANGE
};

pub(super) const SETRANGE: CommandSpec = CommandSpec {
    name: "setrange",
    syntax: "key offset value",
    summary: "Writes a part of a string.",
    since: "2.2.0",
    complexity: "O(N), N bytes of the string",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM,
    keys: KEY,
    run: Run::Engine(setrange, plain),
    ..STRING
};

fn getrange<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let (first, last) = (integer(request.arg(2))?, integer(request.arg(3))?);
    Ok(Command::Getrange(request.key(1), first, last).into())
}

fn setrange<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let offset = integer(request.arg(2))?;
    let offset = u64::try_from(offset).map_err(|_| WireError::OFFSET_OUT_OF_RANGE)?;
    Ok(Command::Setrange(request.key(1), offset, request.arg(3)).into())
}
