//! XDELEX key \[KEEPREF|DELREF|ACKED] IDS n id \[id ...]

use levada_core::command::Command;
use levada_core::reply::Reply;

use super::{KEY, STREAM};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, access, flag};
use crate::stream_arguments::{Deletions, ids};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xdelex",
    access: &[access::RW | access::DELETE],
    syntax: "key [KEEPREF|DELREF|ACKED] IDS n id [id ...]",
    summary: "Removes entries by their ids, and minds the groups that still need them.",
    since: "8.2.0",
    complexity: "O(log B + G) for each id, B blocks in the stream, G groups",
    arity: -5,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let key = request.key(1);
    let deletions = match Deletions::parse(request.rest(2)) {
        Ok(deletions) => deletions,
        // The type is looked at first.
        Err(error) => return Ok(Asked::check_first(Command::Type(key), error, None)),
    };
    Ok(match ids(deletions.ids) {
        Ok(ids) => Command::Xdelex(key, deletions.references, ids).into(),
        // A missing key has no such entries, whatever the ids.
        Err(error) => {
            let missing = Reply::Integers(vec![-1; deletions.ids.len()]);
            Asked::check_first(Command::Type(key), error, Some(missing))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("XDELEX s IDS 2 1 2-3", "Keep, [StreamId { ms: 1, seq: 0 }, StreamId { ms: 2");
        check("XDELEX s IDS 1 1 acked", "Acked, [StreamId { ms: 1, seq: 0 }]");
        check("XDELEX s DELREF IDS 1 1 IDS 1 2", "Remove, [StreamId { ms: 2, seq: 0 }]");
        check("XDELEX s IDS 1", "ERR wrong number of arguments for 'xdelex' command");
    }
}
