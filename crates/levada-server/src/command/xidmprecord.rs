//! XIDMPRECORD key pid iid id

use levada_core::command::{Command, Xidmprecord};

use super::{KEY, STREAM};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, flag};
use crate::stream_arguments::id;
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xidmprecord",
    syntax: "key pid iid id",
    summary: "Tracks an idempotent id as that of an entry which is there.",
    since: "8.6.2",
    arity: 5,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: KEY,
    run: Run::Engine(parse, plain),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let id = id(request.arg(4))?;
    let (key, pid, iid) = (request.key(1), request.arg(2), request.arg(3));
    if pid.is_empty() {
        return Err(WireError::PID_EMPTY);
    }
    if iid.is_empty() {
        return Err(WireError::IID_EMPTY);
    }
    Ok(Command::Xidmprecord(Xidmprecord { key, pid, iid, id }).into())
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("XIDMPRECORD s p i 1-2", "id: StreamId { ms: 1, seq: 2 }");
        check("XIDMPRECORD s   x", "ERR Invalid stream ID specified as stream command argument");
        check("XIDMPRECORD s  i 1-1", "ERR producer ID must be non-empty");
        check("XIDMPRECORD s p  1-1", "ERR idempotent ID must be non-empty");
        check("XIDMPRECORD s p i", "ERR wrong number of arguments for 'xidmprecord' command");
    }
}
