//! Whether two replies to one command say the same.
//!
//! Everything is compared to the byte, with these exceptions:
//! * an id that a server generated equals what the other generated in the same step;
//! * a time (idle, seen, TTL ...) may differ by [`DRIFT_MS`], a time in seconds by [`DRIFT_S`];
//!   negative ones, which are marks, may not;
//! * `radix-tree-keys` and `-nodes` of XINFO may be any integers: Levada has no radix tree;
//! * `expired` events are left out: they come when a server happens to look;
//! * KEYS, and SCAN that came round in one call, are compared as sets; what no two servers agree on
//!   by its type alone: other SCANs, RANDOMKEY, CLIENT ID, REFCOUNT, MEMORY USAGE, DUMP, TIME and
//!   HELLO's map.

use std::collections::HashMap;

use super::episode::{Payload, Step};
use crate::transcript::reply::Reply;

/// How far two times in milliseconds may be apart: the servers do not run in lockstep.
const DRIFT_MS: i64 = 20_000;
/// The same in seconds.
const DRIFT_S: i64 = 20;

/// What a server generated: id -> numbers of the steps, more than one if streams share an id.
type Generated = HashMap<Vec<u8>, Vec<u32>>;

/// Which integers of a reply are times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    None,
    /// The whole reply, in seconds.
    Seconds,
    /// The whole reply, in milliseconds.
    Milliseconds,
    /// The third value of each row of four.
    Rows,
    /// Values behind a name of XINFO, and rows of its pending lists.
    Info,
    /// Not a time, but of no meaning either.
    Any,
}

/// Compares replies with the ids that each side generated so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Comparer {
    /// Of the two servers: in which steps an id was generated.
    generated: [Generated; 2],
    /// Of the two servers: what was generated in a step.
    made: [HashMap<u32, Vec<u8>>; 2],
    /// Of the two servers: what DUMP answered in a step.
    dumped: [HashMap<u32, Vec<u8>>; 2],
}

impl Comparer {
    /// The id that one side generated in a step; one that nobody has if it did not.
    pub(crate) fn id(&self, side: usize, number: u32) -> &[u8] {
        self.made[side].get(&number).map_or(b"1-1", Vec::as_slice)
    }

    /// The payload of a DUMP, for one side; nothing if there is none.
    pub(crate) fn payload(&self, side: usize, number: u32, payload: Payload) -> Vec<u8> {
        let of = |side: usize| self.dumped[side].get(&number).cloned().unwrap_or_default();
        let mut bytes = if payload == Payload::Other { of(1 - side) } else { of(0) };
        match payload {
            Payload::Cut(count) => bytes.truncate(bytes.len().saturating_sub(count as usize)),
            Payload::Flipped(bit) if !bytes.is_empty() => {
                let at = bit as usize / 8 % bytes.len();
                bytes[at] ^= 1 << (bit % 8);
            }
            _ => {}
        }
        bytes
    }

    /// Whether the replies to `step` say the same.
    pub(crate) fn same(&self, step: &Step, one: &Reply, other: &Reply) -> bool {
        if one == other {
            return true;
        }
        let name = step.lower(0);
        match name.as_slice() {
            b"keys" => same_set(one, other),
            b"scan" if step.lower(1) == b"0" => same_scan(one, other),
            b"scan" | b"randomkey" | b"dump" | b"time" | b"hello" | b"lastsave" => {
                same_kind(one, other)
            }
            b"memory" if step.lower(1) == b"usage" => same_kind(one, other),
            b"client" if step.lower(1) == b"id" => same_kind(one, other),
            b"object" if step.lower(1) == b"refcount" => same_kind(one, other),
            _ => self.same_value(times(&name, step), one, other),
        }
    }

    /// Remembers what both sides generated or dumped in `step`, if they did.
    pub(crate) fn learn(&mut self, step: &Step, replies: [&Reply; 2]) {
        if step.lower(0) == b"dump" {
            for (side, reply) in replies.into_iter().enumerate() {
                let payload = reply.text().map(<[u8]>::to_vec);
                self.dumped[side].extend(payload.map(|payload| (step.number, payload)));
            }
        }
        if step.lower(0) != b"xadd" || step.find("*").is_none() {
            return;
        }
        for (side, reply) in replies.into_iter().enumerate() {
            if let Reply::Bulk(id) = reply {
                self.generated[side].entry(id.clone()).or_default().push(step.number);
                self.made[side].insert(step.number, id.clone());
            }
        }
    }

    fn same_text(&self, one: &[u8], other: &[u8]) -> bool {
        let of = |side: usize, id| self.generated[side].get(id).map_or(&[][..], Vec::as_slice);
        let meet = |one: &[u32], other: &[u32]| one.iter().any(|number| other.contains(number));
        // A payload may have brought the ids of the other side.
        one == other || meet(of(0, one), of(1, other)) || meet(of(1, one), of(0, other))
    }

    /// A text with the step in the place of each id that this side generated.
    fn without_ids(&self, side: usize, text: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(text).into_owned();
        for (number, id) in &self.made[side] {
            text = text.replace(&*String::from_utf8_lossy(id), &format!("@{number}"));
        }
        text
    }

    fn same_value(&self, times: Times, one: &Reply, other: &Reply) -> bool {
        match (one, other) {
            (Reply::Bulk(a), Reply::Bulk(b)) => self.same_text(a, b),
            (Reply::Error(a), Reply::Error(b)) => {
                a == b || self.without_ids(0, a) == self.without_ids(1, b)
            }
            (Reply::Integer(a), Reply::Integer(b)) => match times {
                Times::Seconds => is_near(*a, *b, DRIFT_S),
                Times::Milliseconds => is_near(*a, *b, DRIFT_MS),
                Times::Any => true,
                _ => a == b,
            },
            (Reply::Array(a), Reply::Array(b))
            | (Reply::Push(a), Reply::Push(b))
            | (Reply::Set(a), Reply::Set(b)) => self.same_list(times, a, b),
            (Reply::Map(a), Reply::Map(b)) => {
                a.len() == b.len()
                    && a.iter().zip(b).all(|((key, one), (key_b, other))| {
                        self.same_value(times, key, key_b)
                            && self.same_value(behind(times, key), one, other)
                    })
            }
            _ => one == other,
        }
    }

    fn same_list(&self, times: Times, one: &[Reply], other: &[Reply]) -> bool {
        one.len() == other.len()
            && one.iter().zip(other).enumerate().all(|(at, (a, b))| {
                let times = match at.checked_sub(1) {
                    Some(before) => behind(times, &one[before]),
                    None => times,
                };
                let times = if is_time(times, one, at) { Times::Milliseconds } else { times };
                self.same_value(times, a, b)
            })
    }
}

fn same_set(one: &Reply, other: &Reply) -> bool {
    match (one, other) {
        (Reply::Array(a), Reply::Array(b)) => {
            let sorted = |list: &[Reply]| {
                let mut texts: Vec<_> = list.iter().map(|key| format!("{key:?}")).collect();
                texts.sort();
                texts
            };
            sorted(a) == sorted(b)
        }
        _ => one == other,
    }
}

fn same_scan(one: &Reply, other: &Reply) -> bool {
    let is_whole = |list: &[Reply]| list.first() == Some(&Reply::Bulk(b"0".to_vec()));
    match (one, other) {
        (Reply::Array(a), Reply::Array(b)) if is_whole(a) && is_whole(b) => {
            a.len() == 2 && b.len() == 2 && same_set(&a[1], &b[1])
        }
        _ => same_kind(one, other),
    }
}

/// Where the times are in the reply to a command.
fn times(name: &[u8], step: &Step) -> Times {
    match name {
        b"ttl" | b"expiretime" => Times::Seconds,
        b"object" if step.lower(1) == b"idletime" => Times::Seconds,
        b"pttl" | b"pexpiretime" => Times::Milliseconds,
        b"xpending" | b"xreadgroup" => Times::Rows,
        b"xinfo" => Times::Info,
        _ => Times::None,
    }
}

/// What `name` says of the value behind it.
fn behind(times: Times, name: &Reply) -> Times {
    let names: &[&[u8]] = &[b"idle", b"inactive", b"seen-time", b"active-time"];
    match name {
        Reply::Bulk(name) if times == Times::Info && name.starts_with(b"radix-tree-") => Times::Any,
        Reply::Bulk(name) if times == Times::Info && names.contains(&name.as_slice()) => {
            Times::Milliseconds
        }
        _ => times,
    }
}

/// Whether the value at `at` of a row is a time: `[id consumer time count]` of pending lists,
/// `[id time count]` of those of one consumer, `[id fields idle count]` of claimed entries.
fn is_time(times: Times, row: &[Reply], at: usize) -> bool {
    let integer = |at: usize| matches!(row.get(at), Some(Reply::Integer(_)));
    match row.len() {
        4 => times != Times::None && at == 2 && integer(2) && integer(3),
        3 => times == Times::Info && at == 1 && integer(1) && integer(2),
        _ => false,
    }
}

fn is_near(one: i64, other: i64, drift: i64) -> bool {
    one == other || (one >= 0 && other >= 0 && one.abs_diff(other) <= drift.unsigned_abs())
}

fn same_kind(one: &Reply, other: &Reply) -> bool {
    let is_error = |reply: &Reply| matches!(reply, Reply::Error(_));
    std::mem::discriminant(one) == std::mem::discriminant(other) && (!is_error(one) || one == other)
}

#[cfg(test)]
mod tests {
    use super::super::episode::Word;
    use super::*;

    fn step(line: &str) -> Step {
        let word = |word: &str| Word::Bytes(word.as_bytes().to_vec());
        Step { client: 0, number: 7, words: line.split(' ').map(word).collect() }
    }

    fn reply(mut wire: &[u8]) -> Reply {
        Reply::read(&mut wire).expect("the reply is whole")
    }

    fn check(line: &str, one: &[u8], other: &[u8], expect: bool) {
        let same = Comparer::default().same(&step(line), &reply(one), &reply(other));
        assert_eq!(same, expect, "{line}");
    }

    #[test]
    fn times_may_drift_and_nothing_else() {
        check("TTL k", b":100\r\n", b":99\r\n", true);
        check("TTL k", b":-1\r\n", b":-2\r\n", false);
        check("TTL k", b":0\r\n", b":-1\r\n", false);
        check("XLEN k", b":100\r\n", b":99\r\n", false);
        check("GET k", b"$-1\r\n", b"*-1\r\n", false);
        let row = |idle: u32, count: u32| {
            format!("*1\r\n*4\r\n$1\r\ni\r\n$1\r\nc\r\n:{idle}\r\n:{count}\r\n").into_bytes()
        };
        check("XPENDING k g - + 1", &row(3, 1), &row(4, 1), true);
        check("XPENDING k g - + 1", &row(3, 1), &row(3, 2), false);
        check("XRANGE k - +", &row(3, 1), &row(4, 1), false);
        let info = |idle: u32, pending: u32| {
            format!("*4\r\n$4\r\nidle\r\n:{idle}\r\n$7\r\npending\r\n:{pending}\r\n").into_bytes()
        };
        check("XINFO CONSUMERS k g", &info(3, 1), &info(4, 1), true);
        check("XINFO CONSUMERS k g", &info(3, 1), &info(3, 2), false);
    }

    #[test]
    fn generated_ids_are_equal_if_one_step_made_them() {
        let mut comparer = Comparer::default();
        let made = [reply(b"$3\r\n5-0\r\n"), reply(b"$3\r\n6-0\r\n")];
        let read = step("XRANGE k - +");
        assert!(!comparer.same(&read, &made[0], &made[1]));
        comparer.learn(&step("XADD k * f v"), [&made[0], &made[1]]);
        assert!(comparer.same(&read, &made[0], &made[1]));
        assert!(!comparer.same(&read, &made[1], &reply(b"$3\r\n7-0\r\n")));
    }
}
