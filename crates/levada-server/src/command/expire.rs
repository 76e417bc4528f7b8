//! EXPIRE key seconds \[NX|XX|GT|LT], PEXPIRE, EXPIREAT, PEXPIREAT

use levada_core::command::{Command, ExpireWhen};

use super::{GENERIC, KEY};
use super::stream::integer;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, flag};
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
fn parse<'a>(
    request: &Request<'a>,
    unit_ms: i64,
    relative: bool,
) -> Result<Asked<'a>, WireError> {
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
