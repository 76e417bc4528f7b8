//! TTL key, PTTL key, EXPIRETIME key, PEXPIRETIME key

use levada_core::command::Command;
use levada_core::reply::Reply;

use super::{GENERIC, KEY};
use crate::output::Output;
use crate::spec::{Asked, CommandSpec, Names, Request, Run, flag};
use crate::wire_error::WireError;

pub(super) const TTL: CommandSpec = CommandSpec {
    name: "ttl",
    syntax: "key",
    summary: "Tells in how many seconds a key expires.",
    since: "1.0.0",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, seconds_left),
    ..GENERIC
};

pub(super) const PTTL: CommandSpec = CommandSpec {
    name: "pttl",
    syntax: "key",
    summary: "Tells in how many milliseconds a key expires.",
    since: "2.6.0",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, millis_left),
    ..GENERIC
};

pub(super) const EXPIRETIME: CommandSpec = CommandSpec {
    name: "expiretime",
    syntax: "key",
    summary: "Tells at which unix second a key expires.",
    since: "7.0.0",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, seconds),
    ..GENERIC
};

pub(super) const PEXPIRETIME: CommandSpec = CommandSpec {
    name: "pexpiretime",
    syntax: "key",
    summary: "Tells at which unix millisecond a key expires.",
    since: "7.0.0",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, millis),
    ..GENERIC
};

#[allow(clippy::unnecessary_wraps)] // The type of every parser.
fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Expiretime(request.key(1)).into())
}

fn millis(output: &mut Output<'_>, reply: Reply, _: &Names<'_>) {
    write(output, &reply, |at_ms| at_ms);
}

fn seconds(output: &mut Output<'_>, reply: Reply, _: &Names<'_>) {
    write(output, &reply, rounded);
}

fn millis_left(output: &mut Output<'_>, reply: Reply, names: &Names<'_>) {
    write(output, &reply, |at_ms| left(at_ms, names));
}

fn seconds_left(output: &mut Output<'_>, reply: Reply, names: &Names<'_>) {
    write(output, &reply, |at_ms| rounded(left(at_ms, names)));
}

fn left(at_ms: i64, names: &Names<'_>) -> i64 {
    at_ms.saturating_sub_unsigned(names.now.wall_ms).max(0)
}

fn rounded(millis: i64) -> i64 {
    millis.saturating_add(500) / 1000
}

/// Negative answers (no key, no expiry) stay as they are.
fn write(output: &mut Output<'_>, reply: &Reply, form: impl Fn(i64) -> i64) {
    if let Reply::Integer(at_ms) = *reply {
        output.write().integer(if at_ms < 0 { at_ms } else { form(at_ms) });
    }
}
