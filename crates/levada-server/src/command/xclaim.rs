//! XCLAIM key group consumer min-idle id \[id ...] \[IDLE ms] \[TIME unix-ms] \[RETRYCOUNT n]
//! \[FORCE] \[JUSTID] \[LASTID id]

use levada_core::command::{Command, DeliveredAt, Xclaim};

use super::{KEY, STREAM};
use crate::number::parse_i64;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Groups, Request, Run, flag};
use crate::stream_arguments::{id, parse_id};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "xclaim",
    syntax: "key group consumer min-idle id [id ...] [IDLE ms] [TIME unix-ms] [RETRYCOUNT n] \
             [FORCE] [JUSTID] [LASTID id]",
    summary: "Makes a consumer the owner of pending entries.",
    since: "5.0.0",
    complexity: "O(log P) for each id, P pending entries",
    arity: -6,
    flags: flag::WRITE | flag::FAST,
    keys: KEY,
    groups: Groups::BehindKey,
    run: Run::Engine(parse, plain),
    ..STREAM
};

fn parse<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let (key, group) = (request.key(1), request.arg(2));
    Ok(match claim(request) {
        Ok(claim) => Command::Xclaim(claim).into(),
        // The group is looked for first.
        Err(error) => Asked::check_first(Command::XpendingSummary(key, group), error, None),
    })
}

fn claim<'a>(request: &Request<'a>) -> Result<Xclaim<'a>, WireError> {
    let idle = parse_i64(request.arg(4)).ok_or_else(|| invalid("min-idle-time", false))?;
    let given = request.rest(5);
    let ids: Vec<_> = given.iter().map_while(|text| parse_id(text, 0)).collect();
    let mut claim = Xclaim {
        key: request.key(1),
        group: request.arg(2),
        consumer: request.arg(3),
        idle_ms_min: u64::try_from(idle).unwrap_or(0),
        delivered: None,
        retry_count: None,
        force: false,
        just_id: false,
        last_id: None,
        ids: Vec::new(),
    };
    let mut options = given.get(ids.len()..).unwrap_or_default();
    claim.ids = ids;
    while let [word, rest @ ..] = options {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        options = rest;
        if is(b"FORCE") {
            claim.force = true;
            continue;
        }
        if is(b"JUSTID") {
            claim.just_id = true;
            continue;
        }
        let [value, rest @ ..] = rest else {
            return Err(unknown_option(word));
        };
        options = rest;
        let number = |name| parse_i64(value).ok_or_else(|| invalid(name, true));
        if is(b"IDLE") {
            claim.delivered = Some(DeliveredAt::IdleMs(number("IDLE")?));
        } else if is(b"TIME") {
            claim.delivered = Some(DeliveredAt::UnixMs(number("TIME")?));
        } else if is(b"RETRYCOUNT") {
            // A negative count is none given, as in Redis.
            claim.retry_count = u64::try_from(number("RETRYCOUNT")?).ok();
        } else if is(b"LASTID") {
            claim.last_id = Some(id(value)?);
        } else {
            return Err(unknown_option(word));
        }
    }
    Ok(claim)
}

fn invalid(name: &str, option: bool) -> WireError {
    let option = if option { "option " } else { "" };
    WireError::Text(format!("ERR Invalid {name} {option}argument for XCLAIM").into_bytes())
}

fn unknown_option(word: &[u8]) -> WireError {
    WireError::quoting("ERR Unrecognized XCLAIM option '", word, "'")
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn parses() {
        check(
            "XCLAIM s g c 0 1 2-3",
            "ids: [StreamId { ms: 1, seq: 0 }, StreamId { ms: 2, seq: 3 }]",
        );
        check("XCLAIM s g c -5 1", "idle_ms_min: 0");
        check("XCLAIM s g c 0 1 IDLE 5 FORCE JUSTID", "delivered: Some(IdleMs(5))");
        check("XCLAIM s g c 0 1 TIME 5 RETRYCOUNT 3 LASTID 9", "retry_count: Some(3)");
        check("XCLAIM s g c 0 1 RETRYCOUNT -1", "retry_count: None");
        check("XCLAIM s g c x 1", "ERR Invalid min-idle-time argument for XCLAIM");
        check("XCLAIM s g c 0 1 IDLE x", "ERR Invalid IDLE option argument for XCLAIM");
        check("XCLAIM s g c 0 1 IDLE", "ERR Unrecognized XCLAIM option 'IDLE'");
        check("XCLAIM s g c 0 x", "ERR Unrecognized XCLAIM option 'x'");
        check("XCLAIM s g c 0 1 IDLE 1 4", "ERR Unrecognized XCLAIM option '4'");
    }
}
