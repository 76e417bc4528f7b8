//! GET key
//! MGET key \[key ...]
//! GETDEL key
//! STRLEN key

use levada_core::command::Command;

use super::{KEY, KEYS, STRING};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, access, flag};
use crate::wire_error::WireError;

pub(super) const GET: CommandSpec = CommandSpec {
    name: "get",
    syntax: "key",
    summary: "Reads a string.",
    since: "1.0.0",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    keys: KEY,
    run: Run::Engine(get, plain),
    ..STRING
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn get<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Get(request.key(1)).into())
}

pub(super) const MGET: CommandSpec = CommandSpec {
    name: "mget",
    syntax: "key [key ...]",
    summary: "Reads several strings.",
    since: "1.0.0",
    complexity: "O(N), N keys",
    arity: -2,
    flags: flag::READONLY | flag::FAST,
    keys: KEYS,
    run: Run::Engine(mget, plain),
    ..STRING
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn mget<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Mget(request.keys(1)).into())
}

pub(super) const GETDEL: CommandSpec = CommandSpec {
    name: "getdel",
    access: &[access::RW | access::ACCESS | access::DELETE],
    syntax: "key",
    summary: "Reads a string and removes it.",
    since: "6.2.0",
    arity: 2,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(getdel, plain),
    ..STRING
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn getdel<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Getdel(request.key(1)).into())
}

pub(super) const STRLEN: CommandSpec = CommandSpec {
    name: "strlen",
    access: &[access::RO],
    syntax: "key",
    summary: "Tells how long a string is.",
    since: "2.2.0",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    keys: KEY,
    run: Run::Engine(strlen, plain),
    ..STRING
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn strlen<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Strlen(request.key(1)).into())
}
