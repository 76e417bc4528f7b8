//! XAUTOCLAIM key group consumer min-idle start \[COUNT n] \[JUSTID]

use levada_core::command::{Command, Xautoclaim};

use super::{KEY, STREAM};
use crate::number::parse_i64;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Groups, Request, Run, access, flag};
use crate::stream_arguments::range_first;
use crate::wire_error::WireError;

/// Ten entries are looked at for each that is asked for: their number, at 16 bytes, must fit.
const COUNT_MAX: i64 = i64::MAX / 16;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xautoclaim",
    access: &[access::RW | access::DELETE],
    syntax: "key group consumer min-idle start [COUNT n] [JUSTID]",
    summary: "Makes a consumer the owner of entries that others hold for too long.",
    since: "6.2.0",
    complexity: "O(log P + N), P pending entries and N looked at",
    arity: -6,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    groups: Groups::BehindKey,
    run: Run::Engine(parse, plain),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let idle = parse_i64(request.arg(4))
        .ok_or(WireError::Fixed("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?;
    let mut claim = Xautoclaim {
        key: request.key(1),
        group: request.arg(2),
        consumer: request.arg(3),
        idle_ms_min: u64::try_from(idle).unwrap_or(0),
        start: range_first(request.arg(5))?,
        count: 100,
        just_id: false,
    };
    let mut options = request.rest(6);
    while let [word, rest @ ..] = options {
        options = rest;
        if word.eq_ignore_ascii_case(b"JUSTID") {
            claim.just_id = true;
        } else if let (true, [count, rest @ ..]) = (word.eq_ignore_ascii_case(b"COUNT"), rest) {
            let count = parse_i64(count).filter(|count| (1..=COUNT_MAX).contains(count));
            claim.count = count.ok_or(WireError::COUNT_NOT_POSITIVE)?.unsigned_abs();
            options = rest;
        } else {
            return Err(WireError::SYNTAX);
        }
    }
    Ok(Command::Xautoclaim(claim).into())
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check("XAUTOCLAIM s g c 5 0", "idle_ms_min: 5");
        check("XAUTOCLAIM s g c 0 - COUNT 3 JUSTID", "count: 3, just_id: true");
        check("XAUTOCLAIM s g c 0 (1", "start: StreamId { ms: 1, seq: 1 }, count: 100");
        check("XAUTOCLAIM s g c x 0", "ERR Invalid min-idle-time argument for XAUTOCLAIM");
        check("XAUTOCLAIM s g c 0 0 COUNT", "ERR syntax error");
        check("XAUTOCLAIM s g c 0 0 FOO", "ERR syntax error");
        for count in ["x", "0", "-1", "9223372036854775807"] {
            check(&format!("XAUTOCLAIM s g c 0 0 COUNT {count}"), "ERR COUNT must be > 0");
        }
    }
}
