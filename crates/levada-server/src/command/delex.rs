//! DELEX key \[IFEQ value|IFNE value|IFDEQ digest|IFDNE digest]
//! DIGEST key

use levada_core::command::Command;

use super::set::compare;
use super::{KEY, STRING};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, access, flag};
use crate::wire_error::WireError;

pub(super) const DELEX: CommandSpec = CommandSpec {
    name: "delex",
    access: &[access::RW | access::DELETE | access::VARIABLE],
    syntax: "key [IFEQ value|IFNE value|IFDEQ digest|IFDNE digest]",
    summary: "Removes a key, or a string of this value or digest.",
    since: "8.4.0",
    complexity: "O(N), N bytes of the string",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(delex, plain),
    ..STRING
};

pub(super) const DIGEST: CommandSpec = CommandSpec {
    name: "digest",
    syntax: "key",
    summary: "Answers the XXH3 digest of a string.",
    since: "8.4.0",
    complexity: "O(N), N bytes of the string",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    keys: KEY,
    run: Run::Engine(digest, plain),
    ..STRING
};

fn delex<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let key = request.key(1);
    match request.rest(2) {
        [] => Ok(Command::Del(vec![key]).into()),
        [word, value] => Ok(Command::Delex(key, compare(word, value)).into()),
        _ => Err(WireError::Arity(request.spec.name)),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn digest<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Digest(request.key(1)).into())
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("DELEX k", "Del([");
        check("DELEX k ifdeq d", "DigestEquals([100])");
        check("DELEX k FOO v", "Delex(Key { database: 0, name: [107] }, None)");
        check("DELEX k IFEQ", "ERR wrong number of arguments for 'delex' command");
        check("DELEX k IFEQ a b", "ERR wrong number of arguments for 'delex' command");
    }
}
