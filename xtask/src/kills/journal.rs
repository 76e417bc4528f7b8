//! What each connection of the kill loop records: requests, whether their replies came, and what
//! the replies showed. The rig is not killed, so memory is enough.
//!
//! A request whose reply never came is *unknown*: it may be in effect or not. Every request and
//! reply carries the reading of one counter, which orders them in real time over all connections.

use std::sync::atomic::{AtomicU64, Ordering};

use super::value::Key;

/// The streams of the loop. The last one, and only that, is trimmed under load.
pub(crate) const STREAMS: [&str; 3] = ["a", "b", "c"];
/// The index of the stream that is trimmed under load.
pub(crate) const TRIMMED: usize = 2;
/// The group, of the same name on each stream.
pub(crate) const GROUP: &str = "g";
/// The consumers; each is one connection.
pub(crate) const CONSUMERS: [&str; 3] = ["c0", "c1", "c2"];

/// The id of an entry.
pub(crate) type Id = (u64, u64);

/// When a request was made and when its reply was read. A missing reply is at the end of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The counter just before the request was sent.
    pub(crate) invoked: u64,
    /// The counter just after the reply was read.
    pub(crate) completed: u64,
}

/// The counter that orders requests and replies.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// A reading higher than all earlier ones, and than 0.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// An XADD.
#[derive(Debug, Clone)]
pub(crate) struct Add {
    pub(crate) stream: usize,
    pub(crate) key: Key,
    /// Whether it is one of two in a MULTI, with the same key, to the first two streams.
    pub(crate) paired: bool,
    pub(crate) span: Span,
    /// The acknowledged id; `None` if unknown.
    pub(crate) id: Option<Id>,
}

/// An XDEL or an XACK of one id.
#[derive(Debug, Clone)]
pub(crate) struct Removal {
    pub(crate) stream: usize,
    pub(crate) id: Id,
    pub(crate) span: Span,
    /// Whether it was acknowledged.
    pub(crate) known: bool,
}

/// How an entry came to a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// By XREADGROUP with `>`.
    Read,
    /// By XCLAIM or XAUTOCLAIM.
    Claim,
    /// By one of these with JUSTID, which does not count as a delivery.
    JustId,
}

/// An entry that a reply showed to a consumer.
#[derive(Debug, Clone)]
pub(crate) struct Take {
    pub(crate) stream: usize,
    pub(crate) id: Id,
    pub(crate) consumer: usize,
    pub(crate) how: How,
    pub(crate) span: Span,
    /// What was in it; `None` with JUSTID.
    pub(crate) key: Option<Key>,
}

/// An XREADGROUP, XCLAIM or XAUTOCLAIM without reply: it may have given this consumer entries.
#[derive(Debug, Clone)]
pub(crate) struct Unseen {
    pub(crate) stream: usize,
    pub(crate) consumer: usize,
    /// Whether it reads what is new; otherwise it claims.
    pub(crate) reads: bool,
    /// What XCLAIM named; empty for the others, which may take any entry.
    pub(crate) ids: Vec<Id>,
}

/// All that one connection recorded in one round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal {
    pub(crate) adds: Vec<Add>,
    pub(crate) deletes: Vec<Removal>,
    pub(crate) acks: Vec<Removal>,
    pub(crate) takes: Vec<Take>,
    pub(crate) unseen: Vec<Unseen>,
    /// The lengths that XTRIM MAXLEN asked for, acknowledged or not.
    pub(crate) trims: Vec<u64>,
    /// First ids that were seen behind a trim: no lower id may come back.
    pub(crate) floors: Vec<Id>,
    /// Ids that XAUTOCLAIM listed as deleted, and dropped from the pending list.
    pub(crate) dropped: Vec<(usize, Id)>,
    /// Replies that came, and requests that stay without.
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    /// What is wrong whatever the server's state turns out to be.
    pub(crate) problems: Vec<String>,
}

impl Journal {
    /// Notes that the power went: a write that was sent afterwards must never be acknowledged (36).
    pub(crate) fn note_cut(&mut self, at: u64) {
        let late = |span: &Span| span.invoked > at && span.completed != u64::MAX;
        let adds = self.adds.iter().filter(|add| late(&add.span)).count();
        let removals = self.deletes.iter().chain(&self.acks);
        let removals = removals.filter(|removal| removal.known && late(&removal.span)).count();
        if adds + removals > 0 {
            let text =
                format!("{adds} XADD and {removals} XDEL or XACK acknowledged after the cut");
            self.problems.push(text);
        }
    }

    /// Adds what another connection recorded in the same round.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.adds.extend(other.adds);
        self.deletes.extend(other.deletes);
        self.acks.extend(other.acks);
        self.takes.extend(other.takes);
        self.unseen.extend(other.unseen);
        self.trims.extend(other.trims);
        self.floors.extend(other.floors);
        self.dropped.extend(other.dropped);
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.problems.extend(other.problems);
    }
}

/// Reads `ms-seq`.
pub(crate) fn parse_id(text: &[u8]) -> Result<Id, String> {
    let parse = || {
        let (time, sequence) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some((time.parse().ok()?, sequence.parse().ok()?))
    };
    parse().ok_or_else(|| format!("{:?} is no id", String::from_utf8_lossy(text)))
}

/// Writes `ms-seq`.
pub(crate) fn show_id(id: Id) -> String {
    format!("{}-{}", id.0, id.1)
}
