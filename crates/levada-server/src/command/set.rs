//! SET key value \[NX|XX|IFEQ v|IFNE v] \[GET] \[EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]
//! SETNX key value, SETEX key s value, PSETEX key ms value, GETSET key value, GETEX key \[...]
//! MSET key value \[key value ...], MSETNX key value \[key value ...]
//! APPEND key value

use levada_core::command::{Command, Key, Set, SetExpiry, SetWhen};

use super::rename::number;
use super::{KEY, STRING};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Keys, Request, Run, flag};
use crate::stream_arguments::integer;
use crate::wire_error::WireError;

pub(super) const SET: CommandSpec = CommandSpec {
    name: "set",
    syntax: "key value [NX|XX|IFEQ value|IFNE value] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]",
    summary: "Writes a string.",
    since: "1.0.0",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    keys: KEY,
    run: Run::Engine(set, plain),
    ..STRING
};

pub(super) const SETNX: CommandSpec = CommandSpec {
    name: "setnx",
    syntax: "key value",
    summary: "Writes a string unless the key exists.",
    since: "1.0.0",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: KEY,
    run: Run::Engine(setnx, number),
    ..STRING
};

pub(super) const SETEX: CommandSpec = CommandSpec {
    name: "setex",
    syntax: "key seconds value",
    summary: "Writes a string that expires after some seconds.",
    since: "2.0.0",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM,
    keys: KEY,
    run: Run::Engine(setex, plain),
    ..STRING
};

pub(super) const PSETEX: CommandSpec = CommandSpec {
    name: "psetex",
    syntax: "key milliseconds value",
    summary: "Writes a string that expires after some milliseconds.",
    since: "2.6.0",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM,
    keys: KEY,
    run: Run::Engine(psetex, plain),
    ..STRING
};

pub(super) const GETSET: CommandSpec = CommandSpec {
    name: "getset",
    syntax: "key value",
    summary: "Writes a string and answers the old one.",
    since: "1.0.0",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: KEY,
    run: Run::Engine(getset, plain),
    ..STRING
};

pub(super) const GETEX: CommandSpec = CommandSpec {
    name: "getex",
    syntax: "key [EX s|PX ms|EXAT s|PXAT ms|PERSIST]",
    summary: "Reads a string and sets its expiry.",
    since: "6.2.0",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(getex, plain),
    ..STRING
};

fn set<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let mut set = plain_set(request, request.arg(2));
    let mut expiry = None;
    let mut when = None;
    let mut options = request.rest(3);
    while let [word, rest @ ..] = options {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        options = rest;
        if is(b"GET") {
            set.get = true;
        } else if is(b"NX") || is(b"XX") {
            let new = if is(b"NX") { SetWhen::Missing } else { SetWhen::Exists };
            put_once(&mut when, new)?;
        } else if is(b"IFEQ") || is(b"IFNE") {
            let [value, rest @ ..] = rest else {
                return Err(WireError::SYNTAX);
            };
            options = rest;
            let new = if is(b"IFEQ") { SetWhen::Equals(value) } else { SetWhen::Differs(value) };
            put_once(&mut when, new)?;
        } else if is(b"KEEPTTL") {
            put_once(&mut expiry, Expiry::Keep)?;
        } else {
            let (unit, rest) = Expiry::parse(word, rest)?;
            put_once(&mut expiry, unit)?;
            options = rest;
        }
    }
    set.when = when.unwrap_or(SetWhen::Always);
    set.expiry = expiry.map_or(Ok(SetExpiry::Clear), |expiry| expiry.resolve(request))?;
    Ok(Command::Set(set).into())
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn setnx<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let mut set = plain_set(request, request.arg(2));
    set.when = SetWhen::Missing;
    Ok(Command::Set(set).into())
}

fn setex<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let mut set = plain_set(request, request.arg(3));
    set.expiry = Expiry::In(request.arg(2), 1000).resolve(request)?;
    Ok(Command::Set(set).into())
}

fn psetex<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let mut set = plain_set(request, request.arg(3));
    set.expiry = Expiry::In(request.arg(2), 1).resolve(request)?;
    Ok(Command::Set(set).into())
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn getset<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let mut set = plain_set(request, request.arg(2));
    set.get = true;
    Ok(Command::Set(set).into())
}

fn getex<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let key = request.key(1);
    let expiry = match request.rest(2) {
        [] => SetExpiry::Keep,
        [word] if word.eq_ignore_ascii_case(b"PERSIST") => SetExpiry::Clear,
        [word, rest @ ..] => {
            let (expiry, rest) = Expiry::parse(word, rest)?;
            if !rest.is_empty() {
                return Err(WireError::SYNTAX);
            }
            match expiry.resolve(request) {
                Ok(expiry) => expiry,
                // The key is looked for first.
                Err(error) => return Ok(Asked::check_first(Command::Get(key), error, None)),
            }
        }
    };
    Ok(Command::Getex(key, expiry).into())
}

fn plain_set<'a>(request: &Request<'a>, value: &'a [u8]) -> Set<'a> {
    Set { key: request.key(1), value, when: SetWhen::Always, expiry: SetExpiry::Clear, get: false }
}

fn put_once<T>(slot: &mut Option<T>, value: T) -> Result<(), WireError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(WireError::SYNTAX),
    }
}

/// An expiry as it was asked for: its number is looked at last.
#[derive(Debug)]
enum Expiry<'a> {
    Keep,
    /// From now, in units of so many milliseconds.
    In(&'a [u8], i64),
    /// Since the epoch, in units of so many milliseconds.
    At(&'a [u8], i64),
}

impl<'a> Expiry<'a> {
    /// EX, PX, EXAT, PXAT with its number, and what follows.
    fn parse(word: &[u8], rest: &'a [&'a [u8]]) -> Result<(Self, &'a [&'a [u8]]), WireError> {
        let [number, rest @ ..] = rest else {
            return Err(WireError::SYNTAX);
        };
        let expiry = match word.to_ascii_uppercase().as_slice() {
            b"EX" => Self::In(number, 1000),
            b"PX" => Self::In(number, 1),
            b"EXAT" => Self::At(number, 1000),
            b"PXAT" => Self::At(number, 1),
            _ => return Err(WireError::SYNTAX),
        };
        Ok((expiry, rest))
    }

    fn resolve(self, request: &Request<'_>) -> Result<SetExpiry, WireError> {
        let (number, unit_ms, base) = match self {
            Self::Keep => return Ok(SetExpiry::Keep),
            Self::In(number, unit_ms) => (number, unit_ms, request.now.wall_ms),
            Self::At(number, unit_ms) => (number, unit_ms, 0),
        };
        let number = integer(number)?;
        let at_ms = number.checked_mul(unit_ms).and_then(|time| time.checked_add_unsigned(base));
        match at_ms.and_then(|at_ms| u64::try_from(at_ms).ok()) {
            Some(at_ms) if number > 0 => Ok(SetExpiry::At(at_ms)),
            _ => Err(WireError::invalid_expire(request.spec.name)),
        }
    }
}

/// Every second argument.
const PAIRS: Keys = Keys::Range { first: 1, last: -1, step: 2 };

pub(super) const MSET: CommandSpec = CommandSpec {
    name: "mset",
    syntax: "key value [key value ...]",
    summary: "Writes several strings.",
    since: "1.0.1",
    complexity: "O(N), N keys",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    keys: PAIRS,
    run: Run::Engine(mset, plain),
    ..STRING
};

pub(super) const MSETNX: CommandSpec = CommandSpec {
    name: "msetnx",
    syntax: "key value [key value ...]",
    summary: "Writes several strings unless one of the keys exists.",
    since: "1.0.1",
    complexity: "O(N), N keys",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    keys: PAIRS,
    run: Run::Engine(msetnx, number),
    ..STRING
};

fn mset<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Mset(pairs(request)?, false).into())
}

fn msetnx<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Mset(pairs(request)?, true).into())
}

fn pairs<'a>(request: &Request<'a>) -> Result<Vec<(Key<'a>, &'a [u8])>, WireError> {
    let args = request.rest(1);
    if !args.len().is_multiple_of(2) {
        return Err(WireError::Arity(request.spec.name));
    }
    Ok(args.chunks_exact(2).map(|pair| (request.key_named(pair[0]), pair[1])).collect())
}

pub(super) const APPEND: CommandSpec = CommandSpec {
    name: "append",
    syntax: "key value",
    summary: "Lengthens a string.",
    since: "2.0.0",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: KEY,
    run: Run::Engine(append, plain),
    ..STRING
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn append<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Append(request.key(1), request.arg(2)).into())
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("SET k v", "when: Always, expiry: Clear, get: false");
        check("SET k v NX GET", "when: Missing, expiry: Clear, get: true");
        check("SET k v KEEPTTL XX", "when: Exists, expiry: Keep");
        check("SET k v EXAT 5", "expiry: At(5000)");
        check("SET k v PXAT 5 ifeq v", "when: Equals");
        check("GETEX k", "Keep)");
        check("GETEX k PERSIST", "Clear)");
        check("GETSET k v", "get: true");
        check("SET k v NX XX", "ERR syntax error");
        check("SET k v EX", "ERR syntax error");
        check("SET k v EX 1 PX 1", "ERR syntax error");
        check("SET k v FOO", "ERR syntax error");
        check("SET k v EX x", "ERR value is not an integer or out of range");
        check("SET k v EX 0", "ERR invalid expire time in 'set' command");
        check("SET k v EX 9223372036854775807", "ERR invalid expire time in 'set' command");
        check("SETEX k 0 v", "ERR invalid expire time in 'setex' command");
        check("GETEX k EX 1 PERSIST", "ERR syntax error");
    }
}
