//! FLUSHALL \[ASYNC|SYNC], FLUSHDB \[ASYNC|SYNC]

use levada_core::command::Command;

use super::GENERIC;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Keys, Request, Run, category, flag};
use crate::wire_error::WireError;

pub(super) const FLUSHALL: CommandSpec = CommandSpec {
    name: "flushall",
    syntax: "[ASYNC|SYNC]",
    summary: "Removes every key of every database.",
    since: "1.0.0",
    complexity: "O(N), N keys",
    group: "server",
    categories: category::KEYSPACE | category::DANGEROUS,
    arity: -1,
    flags: flag::WRITE,
    keys: Keys::None,
    run: Run::Engine(all, plain),
    ..GENERIC
};

pub(super) const FLUSHDB: CommandSpec = CommandSpec {
    name: "flushdb",
    syntax: "[ASYNC|SYNC]",
    summary: "Removes every key of the database.",
    since: "1.0.0",
    complexity: "O(N), N keys of the database",
    group: "server",
    categories: category::KEYSPACE | category::DANGEROUS,
    arity: -1,
    flags: flag::WRITE,
    keys: Keys::None,
    run: Run::Engine(database, plain),
    ..GENERIC
};

fn all<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    check_mode(request)?;
    Ok(Command::Flush(None).into())
}

fn database<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    check_mode(request)?;
    Ok(Command::Flush(Some(request.database)).into())
}

/// The word for how memory is given back, which means nothing here.
fn check_mode(request: &Request<'_>) -> Result<(), WireError> {
    match request.rest(1) {
        [] => Ok(()),
        [word] if word.eq_ignore_ascii_case(b"ASYNC") || word.eq_ignore_ascii_case(b"SYNC") => {
            Ok(())
        }
        _ => Err(WireError::SYNTAX),
    }
}
