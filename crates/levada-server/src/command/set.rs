//! SET key value \[NX|XX] \[IFEQ v|IFNE v|IFDEQ d|IFDNE d] \[GET]
//!     \[EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]
//! SETNX key value, SETEX key s value, PSETEX key ms value, GETSET key value, GETEX key \[...]
//! APPEND key value

use std::mem::discriminant;

use levada_core::command::{Command, Compare, Set, SetExpiry, SetWhen};

use super::rename::number;
use super::{KEY, STRING};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, access, flag};
use crate::stream_arguments::integer;
use crate::wire_error::WireError;

pub(super) const SET: CommandSpec = CommandSpec {
    name: "set",
    access: &[access::RW | access::ACCESS | access::UPDATE | access::VARIABLE],
    syntax: "key value [NX|XX|IFEQ value|IFNE value|IFDEQ digest|IFDNE digest] [GET] \
             [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]",
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
    access: &[access::OW | access::INSERT],
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
    access: &[access::OW | access::UPDATE],
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
    access: &[access::OW | access::UPDATE],
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
    access: &[access::RW | access::ACCESS | access::UPDATE],
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
    access: &[access::RW | access::ACCESS | access::UPDATE],
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
    let options = Options::parse(request.rest(3), Taker::Set)?;
    let set = Set {
        when: SetWhen { exists: options.exists, compare: options.compare },
        expiry: options.expiry.map_or(Ok(SetExpiry::Clear), |expiry| expiry.resolve(request))?,
        get: options.get,
        ..plain_set(request, request.arg(2))
    };
    Ok(Command::Set(set).into())
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn setnx<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let mut set = plain_set(request, request.arg(2));
    set.when.exists = Some(false);
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
    let options = Options::parse(request.rest(2), Taker::Getex)?;
    match options.expiry.map_or(Ok(SetExpiry::Keep), |expiry| expiry.resolve(request)) {
        Ok(expiry) => Ok(Command::Getex(key, expiry).into()),
        // The key is looked for first.
        Err(error) => Ok(Asked::check_first(Command::Get(key), error, None)),
    }
}

fn plain_set<'a>(request: &Request<'a>, value: &'a [u8]) -> Set<'a> {
    let (when, expiry) = (SetWhen::default(), SetExpiry::Clear);
    Set { key: request.key(1), value, when, expiry, get: false }
}

/// Whose options are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taker {
    Set,
    Getex,
    Msetex,
}

/// What may stand behind the values, in any order. An option may be repeated, the last one counts.
#[derive(Default, Debug)]
pub(super) struct Options<'a> {
    /// NX (`false`), XX (`true`).
    pub(super) exists: Option<bool>,
    pub(super) compare: Option<Compare<'a>>,
    pub(super) get: bool,
    pub(super) expiry: Option<Expiry<'a>>,
}

impl<'a> Options<'a> {
    pub(super) fn parse(words: &'a [&'a [u8]], taker: Taker) -> Result<Self, WireError> {
        let mut options = Self::default();
        let mut rest = words;
        while let [word, more @ ..] = rest {
            let upper = word.to_ascii_uppercase();
            rest = match (taker, upper.as_slice()) {
                (Taker::Set, b"GET") => {
                    options.get = true;
                    more
                }
                (Taker::Set | Taker::Msetex, b"NX" | b"XX") => {
                    options.put_exists(upper == b"XX")?;
                    more
                }
                (Taker::Set, b"IFEQ" | b"IFNE" | b"IFDEQ" | b"IFDNE") => {
                    options.put_compare(&upper, more)?
                }
                (Taker::Set | Taker::Msetex, b"KEEPTTL") => {
                    options.put_expiry(Expiry::Keep)?;
                    more
                }
                (Taker::Getex, b"PERSIST") => {
                    options.put_expiry(Expiry::Clear)?;
                    more
                }
                (_, unit) => {
                    let (expiry, more) = Expiry::parse(unit, more)?;
                    options.put_expiry(expiry)?;
                    more
                }
            };
        }
        Ok(options)
    }

    fn put_exists(&mut self, exists: bool) -> Result<(), WireError> {
        match self.exists.replace(exists) {
            Some(before) if before != exists => Err(WireError::SYNTAX),
            _ => Ok(()),
        }
    }

    /// NX and XX may follow a comparison, but not stand before it.
    fn put_compare(
        &mut self,
        word: &[u8],
        more: &'a [&'a [u8]],
    ) -> Result<&'a [&'a [u8]], WireError> {
        let [value, more @ ..] = more else {
            return Err(WireError::SYNTAX);
        };
        let compare = compare(word, value).ok_or(WireError::SYNTAX)?;
        let before = self.compare.replace(compare);
        let same = before.is_none_or(|before| discriminant(&before) == discriminant(&compare));
        if same && self.exists.is_none() { Ok(more) } else { Err(WireError::SYNTAX) }
    }

    fn put_expiry(&mut self, expiry: Expiry<'a>) -> Result<(), WireError> {
        let kind = expiry.kind();
        match self.expiry.replace(expiry) {
            Some(before) if before.kind() != kind => Err(WireError::SYNTAX),
            _ => Ok(()),
        }
    }
}

/// IFEQ and kin.
pub(super) fn compare<'a>(word: &[u8], value: &'a [u8]) -> Option<Compare<'a>> {
    Some(match word.to_ascii_uppercase().as_slice() {
        b"IFEQ" => Compare::Equals(value),
        b"IFNE" => Compare::Differs(value),
        b"IFDEQ" => Compare::DigestEquals(value),
        b"IFDNE" => Compare::DigestDiffers(value),
        _ => return None,
    })
}

/// An expiry as it was asked for: its number is looked at last.
#[derive(Debug)]
pub(super) enum Expiry<'a> {
    Keep,
    Clear,
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
        let expiry = match word {
            b"EX" => Self::In(number, 1000),
            b"PX" => Self::In(number, 1),
            b"EXAT" => Self::At(number, 1000),
            b"PXAT" => Self::At(number, 1),
            _ => return Err(WireError::SYNTAX),
        };
        Ok((expiry, rest))
    }

    /// What only excludes options of another kind.
    fn kind(&self) -> (u8, i64) {
        match self {
            Self::Keep => (0, 0),
            Self::Clear => (1, 0),
            Self::In(_, unit_ms) => (2, *unit_ms),
            Self::At(_, unit_ms) => (3, *unit_ms),
        }
    }

    pub(super) fn resolve(self, request: &Request<'_>) -> Result<SetExpiry, WireError> {
        let (number, unit_ms, base) = match self {
            Self::Keep => return Ok(SetExpiry::Keep),
            Self::Clear => return Ok(SetExpiry::Clear),
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

pub(super) const APPEND: CommandSpec = CommandSpec {
    name: "append",
    access: &[access::RW | access::INSERT],
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
        check("SET k v", "exists: None, compare: None }, expiry: Clear, get: false");
        check(
            "SET k v NX GET NX",
            "exists: Some(false), compare: None }, expiry: Clear, get: true",
        );
        check("SET k v KEEPTTL XX", "exists: Some(true), compare: None }, expiry: Keep");
        check("SET k v EXAT 4 EXAT 5", "expiry: At(5000)");
        check("SET k v PXAT 5 ifeq v", "compare: Some(Equals");
        check(
            "SET k v IFDNE a IFDNE b NX",
            "exists: Some(false), compare: Some(DigestDiffers([98])",
        );
        check("SET k v NX IFEQ a", "ERR syntax error");
        check("SET k v IFEQ a IFNE a", "ERR syntax error");
        check("SET k v IFEQ", "ERR syntax error");
        check("SET k v PERSIST", "ERR syntax error");
        check("GETEX k KEEPTTL", "ERR syntax error");
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
