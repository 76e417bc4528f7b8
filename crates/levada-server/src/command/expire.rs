//! EXPIRE key seconds \[NX|XX|GT|LT], PEXPIRE, EXPIREAT, PEXPIREAT
//! PERSIST key
//! TTL key, PTTL key, EXPIRETIME key, PEXPIRETIME key

use levada_core::command::{Command, ExpireWhen};
use levada_core::reply::Reply;

use super::{GENERIC, KEY};
use crate::output::{Output, plain};
use crate::spec::{Asked, CommandSpec, Names, Request, Run, flag};
use crate::stream_arguments::integer;
use crate::wire_error::WireError;

pub(super) const EXPIRE: CommandSpec = CommandSpec {
    name: "expire",
    syntax: "key seconds [NX|XX|GT|LT]",
    summary: "Lets a key expire some seconds from now.",
    since: "1.0.0",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(expire, plain),
    ..GENERIC
};

pub(super) const PEXPIRE: CommandSpec = CommandSpec {
    name: "pexpire",
    syntax: "key milliseconds [NX|XX|GT|LT]",
    summary: "Lets a key expire some milliseconds from now.",
    since: "2.6.0",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(pexpire, plain),
    ..GENERIC
};

pub(super) const EXPIREAT: CommandSpec = CommandSpec {
    name: "expireat",
    syntax: "key unix-seconds [NX|XX|GT|LT]",
    summary: "Lets a key expire at a unix second.",
    since: "1.2.0",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(expireat, plain),
    ..GENERIC
};

pub(super) const PEXPIREAT: CommandSpec = CommandSpec {
    name: "pexpireat",
    syntax: "key unix-milliseconds [NX|XX|GT|LT]",
    summary: "Lets a key expire at a unix millisecond.",
    since: "2.6.0",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(pexpireat, plain),
    ..GENERIC
};

fn expire<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    parse(request, 1000, true)
}

fn pexpire<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    parse(request, 1, true)
}

fn expireat<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    parse(request, 1000, false)
}

fn pexpireat<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    parse(request, 1, false)
}

/// `unit_ms` is what the time is counted in, `relative` whether from now.
fn parse<'a>(request: &Request<'a>, unit_ms: i64, relative: bool) -> Result<Asked<'a>, WireError> {
    let when = conditions(request.rest(3))?;
    let time = integer(request.arg(2))?;
    let base = if relative { i64::try_from(request.now.wall_ms).unwrap_or(i64::MAX) } else { 0 };
    let at_ms = time.checked_mul(unit_ms).and_then(|time| time.checked_add(base));
    let at_ms = at_ms.ok_or_else(|| WireError::invalid_expire(request.spec.name))?;
    Ok(Command::Expire(request.key(1), at_ms, when).into())
}

fn conditions(words: &[&[u8]]) -> Result<ExpireWhen, WireError> {
    let mut when = ExpireWhen::default();
    for word in words {
        match word.to_ascii_uppercase().as_slice() {
            b"NX" => when.none = true,
            b"XX" => when.some = true,
            b"GT" => when.later = true,
            b"LT" => when.earlier = true,
            _ => return Err(WireError::quoting("ERR Unsupported option ", word, "")),
        }
    }
    if when.none && (when.some || when.later || when.earlier) {
        return Err(WireError::EXPIRE_NX_AND_OTHERS);
    }
    if when.later && when.earlier {
        return Err(WireError::EXPIRE_GT_AND_LT);
    }
    Ok(when)
}

pub(super) const PERSIST: CommandSpec = CommandSpec {
    name: "persist",
    syntax: "key",
    summary: "Removes the expiry of a key.",
    since: "2.2.0",
    arity: 2,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(persist, plain),
    ..GENERIC
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn persist<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Persist(request.key(1)).into())
}

pub(super) const TTL: CommandSpec = CommandSpec {
    name: "ttl",
    syntax: "key",
    summary: "Tells in how many seconds a key expires.",
    since: "1.0.0",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    keys: KEY,
    run: Run::Engine(expiry, seconds_left),
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
    run: Run::Engine(expiry, millis_left),
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
    run: Run::Engine(expiry, seconds),
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
    run: Run::Engine(expiry, millis),
    ..GENERIC
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn expiry<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Expiretime(request.key(1)).into())
}

#[expect(clippy::needless_pass_by_value, reason = "the type of every reply")]
fn millis(output: &mut Output<'_>, reply: Reply, _: &Names<'_>) {
    write(output, &reply, |at_ms| at_ms);
}

#[expect(clippy::needless_pass_by_value, reason = "the type of every reply")]
fn seconds(output: &mut Output<'_>, reply: Reply, _: &Names<'_>) {
    write(output, &reply, rounded);
}

#[expect(clippy::needless_pass_by_value, reason = "the type of every reply")]
fn millis_left(output: &mut Output<'_>, reply: Reply, names: &Names<'_>) {
    write(output, &reply, |at_ms| left(at_ms, names));
}

#[expect(clippy::needless_pass_by_value, reason = "the type of every reply")]
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

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("EXPIREAT k 5", "5000, ExpireWhen");
        check("PEXPIREAT k -5 XX GT", "-5, ExpireWhen { none: false, some: true, later: true");
        check("EXPIRE k x", "ERR value is not an integer or out of range");
        check("EXPIRE k 5 FOO", "ERR Unsupported option FOO");
        check("EXPIRE k 9223372036854775807", "ERR invalid expire time in 'expire' command");
        check("PEXPIRE k 9223372036854775807", "ERR invalid expire time in 'pexpire' command");
        check(
            "EXPIRE k 5 NX GT",
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        );
        check("EXPIRE k 5 GT LT", "ERR GT and LT options at the same time are not compatible");
    }
}
