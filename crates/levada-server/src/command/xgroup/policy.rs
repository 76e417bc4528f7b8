//! XGROUP CFGSET, CFGGET, PARKED and HANDOVER: what the server does for a group.

use levada_core::command::{Command, GroupOption, XgroupCfgset, XgroupHandover, XgroupParked};
use levada_core::decide::DELAYS_MAX;
use levada_core::id::StreamId;

use super::super::xcfgset::choice;
use super::super::{SECOND_KEY, STREAM};
use crate::output::{facts, plain};
use crate::spec::{Asked, CommandSpec, Groups, Keys, Request, Run, flag};
use crate::stream_arguments::{id, unsigned};
use crate::wire_error::WireError;

/// Ids that PARKED shows if it is not told how many.
const PARKED_SHOWN: u64 = 100;

pub(super) const CFGSET: CommandSpec = CommandSpec {
    name: "xgroup|cfgset",
    syntax: "key group [ACK-WAIT ms] [MAX-DELIVER count] [BACKOFF count ms [ms ...]] [DLQ key] \
             [MAX-PENDING count] [ORDER-BY field] [CONSUMER-TTL ms] [RETAIN YES|NO]",
    summary: "Sets the policy of a group: lease, delivery limit, dead letters, retention.",
    since: "levada 0.1",
    arity: -6,
    flags: flag::WRITE,
    keys: Keys::GroupPolicy,
    groups: Groups::BehindKey,
    run: Run::Engine(cfgset, plain),
    ..STREAM
};

pub(super) const CFGGET: CommandSpec = CommandSpec {
    name: "xgroup|cfgget",
    syntax: "key group [option ...]",
    summary: "Shows the policy of a group.",
    since: "levada 0.1",
    arity: -4,
    flags: flag::READONLY,
    keys: SECOND_KEY,
    groups: Groups::BehindKey,
    run: Run::Engine(cfgget, facts),
    ..STREAM
};

pub(super) const PARKED: CommandSpec = CommandSpec {
    name: "xgroup|parked",
    syntax: "key group [AFTER id] [COUNT count]",
    summary: "Shows the ids that a group with ORDER-BY has passed over and owes.",
    since: "levada 0.1",
    complexity: "O(N), N ids shown",
    arity: -4,
    flags: flag::READONLY,
    keys: SECOND_KEY,
    groups: Groups::BehindKey,
    run: Run::Engine(parked, plain),
    ..STREAM
};

pub(super) const HANDOVER: CommandSpec = CommandSpec {
    name: "xgroup|handover",
    syntax: "key group consumer [TO consumer]",
    summary: "Removes a consumer; what it holds is offered again, or another one's.",
    since: "levada 0.1",
    complexity: "O(N), N entries that it holds",
    arity: -5,
    flags: flag::WRITE,
    keys: SECOND_KEY,
    groups: Groups::BehindKey,
    run: Run::Engine(handover, plain),
    ..STREAM
};

fn cfgset<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let (key, group) = (request.key(2), request.arg(3));
    let options = options(request.rest(4))?;
    Ok(Command::XgroupCfgset(XgroupCfgset { key, group, options }).into())
}

/// Reads the options.
pub(crate) fn options<'a>(mut args: &[&'a [u8]]) -> Result<Vec<GroupOption<'a>>, WireError> {
    let mut options = Vec::new();
    while let [word, value, rest @ ..] = args {
        let number = || unsigned(value, &WireError::NOT_INTEGER);
        args = rest;
        options.push(match word.to_ascii_uppercase().as_slice() {
            b"ACK-WAIT" => GroupOption::AckWait(number()?),
            b"MAX-DELIVER" => GroupOption::MaxDeliver(deliveries(number()?)?),
            b"BACKOFF" => {
                let count = usize::try_from(number()?).unwrap_or(usize::MAX);
                if count > DELAYS_MAX {
                    return Err(WireError::Fixed("ERR BACKOFF takes at most 64 delays"));
                }
                let (delays, rest) = args.split_at_checked(count).ok_or(WireError::SYNTAX)?;
                args = rest;
                let delays = delays.iter().map(|ms| unsigned(ms, &WireError::NOT_INTEGER));
                GroupOption::Backoff(delays.collect::<Result<_, _>>()?)
            }
            b"DLQ" => GroupOption::Dlq(value),
            b"MAX-PENDING" => GroupOption::MaxPending(number()?),
            b"ORDER-BY" => GroupOption::OrderBy(value),
            b"CONSUMER-TTL" => GroupOption::ConsumerTtl(number()?),
            b"RETAIN" => GroupOption::Retain(choice(value, &[("YES", true), ("NO", false)])?),
            _ => return Err(WireError::SYNTAX),
        });
    }
    if args.is_empty() { Ok(options) } else { Err(WireError::SYNTAX) }
}

/// Deliveries are counted up to 255.
fn deliveries(count: u64) -> Result<u64, WireError> {
    match count {
        0..=255 => Ok(count),
        _ => Err(WireError::Fixed("ERR MAX-DELIVER must be between 0 and 255")),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn cfgget<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let names = request.rest(4);
    Ok(Asked { names, ..Command::XgroupCfgget(request.key(2), request.arg(3)).into() })
}

fn parked<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let (key, group) = (request.key(2), request.arg(3));
    let (mut after, mut count) = (StreamId::MIN, PARKED_SHOWN);
    let mut words = request.rest(4);
    while let [word, value, rest @ ..] = words {
        words = rest;
        match word.to_ascii_uppercase().as_slice() {
            b"AFTER" => after = id(value)?,
            b"COUNT" => count = unsigned(value, &WireError::NOT_INTEGER)?,
            _ => return Err(WireError::SYNTAX),
        }
    }
    if !words.is_empty() {
        return Err(WireError::SYNTAX);
    }
    Ok(Command::XgroupParked(XgroupParked { key, group, after, count }).into())
}

fn handover<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    let to = match request.rest(5) {
        [] => None,
        [word, to] if word.eq_ignore_ascii_case(b"TO") => Some(*to),
        _ => return Err(WireError::SYNTAX),
    };
    let (key, group, consumer) = (request.key(2), request.arg(3), request.arg(4));
    Ok(Command::XgroupHandover(XgroupHandover { key, group, consumer, to }).into())
}
