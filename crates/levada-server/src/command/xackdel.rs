//! XACKDEL key group \[KEEPREF|DELREF|ACKED] IDS n id \[id ...]

use levada_core::command::Command;
use levada_core::reply::Reply;

use super::{KEY, STREAM};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Groups, Request, Run, access, flag};
use crate::stream_arguments::{Deletions, ids};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xackdel",
    access: &[access::RW | access::UPDATE | access::DELETE],
    syntax: "key group [KEEPREF|DELREF|ACKED] IDS n id [id ...]",
    summary: "Removes entries from a group's pending list and, if nothing speaks against it, from \
              the stream.",
    since: "8.2.0",
    complexity: "O(log P + G) for each id, P pending entries, G groups",
    arity: -6,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    groups: Groups::BehindKey,
    run: Run::Engine(parse, plain),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let (key, group) = (request.key(1), request.arg(2));
    let deletions = match Deletions::parse(request.rest(3)) {
        Ok(deletions) => deletions,
        // The type is looked at first.
        Err(error) => return Ok(Asked::check_first(Command::Type(key), error, None)),
    };
    Ok(match ids(deletions.ids) {
        Ok(ids) => Command::Xackdel(key, group, deletions.references, ids).into(),
        // A missing group has nothing pending, whatever the ids.
        Err(error) => {
            let missing = Reply::Integers(vec![-1; deletions.ids.len()]);
            Asked::check_first(Command::XpendingSummary(key, group), error, Some(missing))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("XACKDEL s g ACKED IDS 1 1-1", "Acked, [StreamId { ms: 1, seq: 1 }]");
        check("XACKDEL s g IDS 1", "ERR wrong number of arguments for 'xackdel' command");
    }
}
