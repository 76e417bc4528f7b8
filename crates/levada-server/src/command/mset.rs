//! MSET key value \[key value ...], MSETNX key value \[key value ...]

use levada_core::command::{Command, Key};

use super::STRING;
use super::rename::number;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Keys, Request, Run, flag};
use crate::wire_error::WireError;

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
    run: Run::Engine(all, plain),
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
    run: Run::Engine(all_new, number),
    ..STRING
};

fn all<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Mset(pairs(request)?, false).into())
}

fn all_new<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Mset(pairs(request)?, true).into())
}

fn pairs<'a>(request: &Request<'a>) -> Result<Vec<(Key<'a>, &'a [u8])>, WireError> {
    let args = request.rest(1);
    if !args.len().is_multiple_of(2) {
        return Err(WireError::Arity(request.spec.name));
    }
    Ok(args.chunks_exact(2).map(|pair| (request.key_named(pair[0]), pair[1])).collect())
}
