//! RENAME key newkey, RENAMENX key newkey

use levada_core::command::Command;
use levada_core::reply::Reply;

use super::GENERIC;
use crate::output::{Output, plain};
use crate::spec::{Asked, CommandSpec, Keys, Names, Request, Run, access, flag};
use crate::wire_error::WireError;

/// Both names.
const BOTH: Keys = Keys::Range { first: 1, last: 2, step: 1 };

pub(super) const RENAME: CommandSpec = CommandSpec {
    name: "rename",
    access: &[access::RW | access::ACCESS | access::DELETE, access::OW | access::UPDATE],
    syntax: "key newkey",
    summary: "Renames a key, replacing another.",
    since: "1.0.0",
    arity: 3,
    flags: flag::WRITE,
    keys: BOTH,
    run: Run::Engine(rename, plain),
    ..GENERIC
};

pub(super) const RENAMENX: CommandSpec = CommandSpec {
    name: "renamenx",
    access: &[access::RW | access::ACCESS | access::DELETE, access::OW | access::INSERT],
    syntax: "key newkey",
    summary: "Renames a key unless the new name is taken.",
    since: "1.0.0",
    arity: 3,
    flags: flag::WRITE | flag::FAST,
    keys: BOTH,
    run: Run::Engine(rename_new, number),
    ..GENERIC
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn rename<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Rename(request.key(1), request.key(2), false).into())
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn rename_new<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Rename(request.key(1), request.key(2), true).into())
}

/// 1 where it was done.
pub(super) fn number(output: &mut Output<'_>, reply: Reply, names: &Names<'_>) {
    match reply {
        Reply::Ok => output.write().integer(1),
        Reply::Nil => output.write().integer(0),
        reply => plain(output, reply, names),
    }
}
