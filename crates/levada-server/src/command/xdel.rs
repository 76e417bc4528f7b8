//! XDEL key id \[id ...]

use levada_core::command::Command;
use levada_core::reply::Reply;

use super::{KEY, STREAM};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, access, flag};
use crate::stream_arguments::ids;
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xdel",
    access: &[access::RW | access::DELETE],
    syntax: "key id [id ...]",
    summary: "Removes entries by their ids.",
    since: "5.0.0",
    complexity: "O(log B) for each id, B blocks in the stream",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let key = request.key(1);
    Ok(match ids(request.rest(2)) {
        Ok(ids) => Command::Xdel(key, ids).into(),
        // A missing key has no such entry, whatever the id.
        Err(error) => Asked::check_first(Command::Type(key), error, Some(Reply::Integer(0))),
    })
}
