//! INCR key, DECR key, INCRBY key n, DECRBY key n, INCRBYFLOAT key n

use levada_core::command::Command;
use levada_core::extended::Extended;

use super::{KEY, STRING};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, access, flag};
use crate::stream_arguments::integer;
use crate::wire_error::WireError;

pub(super) const INCR: CommandSpec = CommandSpec {
    name: "incr",
    access: &[access::RW | access::ACCESS | access::UPDATE],
    syntax: "key",
    summary: "Adds 1 to a number.",
    since: "1.0.0",
    arity: 2,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: KEY,
    run: Run::Engine(incr, plain),
    ..STRING
};

pub(super) const DECR: CommandSpec = CommandSpec {
    name: "decr",
    access: &[access::RW | access::ACCESS | access::UPDATE],
    syntax: "key",
    summary: "Takes 1 from a number.",
    since: "1.0.0",
    arity: 2,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: KEY,
    run: Run::Engine(decr, plain),
    ..STRING
};

pub(super) const INCRBY: CommandSpec = CommandSpec {
    name: "incrby",
    access: &[access::RW | access::ACCESS | access::UPDATE],
    syntax: "key n",
    summary: "Adds to a number.",
    since: "1.0.0",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: KEY,
    run: Run::Engine(incrby, plain),
    ..STRING
};

pub(super) const INCRBYFLOAT: CommandSpec = CommandSpec {
    name: "incrbyfloat",
    access: &[access::RW | access::ACCESS | access::UPDATE],
    syntax: "key n",
    summary: "Adds to a number that may have decimals.",
    since: "2.6.0",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: KEY,
    run: Run::Engine(incrbyfloat, plain),
    ..STRING
};

pub(super) const DECRBY: CommandSpec = CommandSpec {
    name: "decrby",
    access: &[access::RW | access::ACCESS | access::UPDATE],
    syntax: "key n",
    summary: "Takes from a number.",
    since: "1.0.0",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: KEY,
    run: Run::Engine(decrby, plain),
    ..STRING
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn incr<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Incrby(request.key(1), 1).into())
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn decr<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Incrby(request.key(1), -1).into())
}

fn incrby<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Incrby(request.key(1), integer(request.arg(2))?).into())
}

fn decrby<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let by = integer(request.arg(2))?;
    let by = by.checked_neg().ok_or(WireError::DECREMENT_OVERFLOW)?;
    Ok(Command::Incrby(request.key(1), by).into())
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn incrbyfloat<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let key = request.key(1);
    Ok(match Extended::parse(request.arg(2)) {
        Some(by) => Command::Incrbyfloat(key, by).into(),
        // The type of the key is looked at first.
        None => Asked::check_first(Command::Strlen(key), WireError::NOT_FLOAT, None),
    })
}
