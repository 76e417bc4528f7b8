//! XPENDING key group \[\[IDLE ms] start end count \[consumer]]

use levada_core::command::{Command, Xpending};

use super::{KEY, STREAM};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Groups, Request, Run, flag};
use crate::stream_arguments::{integer, range_first, range_last};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xpending",
    syntax: "key group [[IDLE ms] start end count [consumer]]",
    summary: "Tells which entries a group was given and has not acknowledged.",
    since: "5.0.0",
    complexity: "O(log P + N), P pending entries and N rows in the answer",
    arity: -3,
    flags: flag::READONLY,
    keys: KEY,
    groups: Groups::BehindKey,
    run: Run::Engine(parse, plain),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let (key, group) = (request.key(1), request.arg(2));
    let args = request.args.len();
    if args == 3 {
        return Ok(Command::XpendingSummary(key, group).into());
    }
    // As in Redis, what stands behind the consumer is not looked at, up to a length.
    if !(6..=9).contains(&args) {
        return Err(WireError::SYNTAX);
    }
    let mut at = 3;
    let mut idle_ms_min = 0;
    if request.arg(3).eq_ignore_ascii_case(b"IDLE") {
        idle_ms_min = u64::try_from(integer(request.arg(4))?).unwrap_or(0);
        if args < 8 {
            return Err(WireError::SYNTAX);
        }
        at = 5;
    }
    let count = u64::try_from(integer(request.arg(at + 2))?).unwrap_or(0);
    let first = range_first(request.arg(at))?;
    let last = range_last(request.arg(at + 1))?;
    let consumer = request.args.get(at + 3).copied();
    Ok(Command::Xpending(Xpending { key, group, idle_ms_min, first, last, count, consumer }).into())
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("XPENDING s g", "XpendingSummary");
        check("XPENDING s g - + 10", "idle_ms_min: 0");
        check("XPENDING s g IDLE 5 - + 10 c", "idle_ms_min: 5");
        check("XPENDING s g IDLE -5 - + 10", "idle_ms_min: 0");
        check("XPENDING s g - + -1", "count: 0");
        check("XPENDING s g x", "ERR syntax error");
        check("XPENDING s g - +", "ERR syntax error");
        check("XPENDING s g IDLE 1 - +", "ERR syntax error");
        check("XPENDING s g IDLE x - + 10 c d", "ERR syntax error");
        check("XPENDING s g - + 10 c d e", "consumer: Some");
        check("XPENDING s g - + 10 c d e f", "ERR syntax error");
        check("XPENDING s g IDLE x - + 10", "ERR value is not an integer or out of range");
        check("XPENDING s g - (0-0 1", "ERR invalid end ID for the interval");
    }
}
