//! XACK key group id \[id ...]

use levada_core::command::Command;
use levada_core::reply::Reply;

use super::{KEY, STREAM};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Groups, Request, Run, flag};
use crate::stream_arguments::ids;
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xack",
    syntax: "key group id [id ...]",
    summary: "Removes entries from a group's pending list: they are done.",
    since: "5.0.0",
    complexity: "O(log P) for each id, P pending entries",
    arity: -4,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    groups: Groups::BehindKey,
    run: Run::Engine(parse, plain),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let (key, group) = (request.key(1), request.arg(2));
    Ok(match ids(request.rest(3)) {
        Ok(ids) => Command::Xack(key, group, ids).into(),
        // A missing group has nothing pending, whatever the id.
        Err(error) => {
            Asked::check_first(Command::XpendingSummary(key, group), error, Some(Reply::Integer(0)))
        }
    })
}
