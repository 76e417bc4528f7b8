//! What producers, consumers, claimers and trimmers record: requests, whether their replies came,
//! and what the replies showed.
//!
//! A request whose reply never came is *unknown*: it may be in effect or not. Every request and
//! reply carries the reading of one counter, which orders them in real time over all clients.

use super::{Key, Kind, Violation};
use std::sync::atomic::{AtomicU64, Ordering};

/// The id of an entry.
pub type Id = (u64, u64);

/// When a request was made and when its reply was read. A missing reply is at the end of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The counter just before the request was sent.
    pub invoked: u64,
    /// The counter just after the reply was read.
    pub completed: u64,
}

/// The counter that orders requests and replies.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A reading higher than all earlier ones, and than 0.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// An XADD.
#[derive(Debug, Clone)]
pub struct Add {
    /// To which stream.
    pub stream: usize,
    /// What is written.
    pub key: Key,
    /// Whether it is one of two in a MULTI, with the same key, to the first two streams.
    pub paired: bool,
    /// When.
    pub span: Span,
    /// The acknowledged id; `None` if unknown.
    pub id: Option<Id>,
}

/// An XDEL or an XACK of one id.
#[derive(Debug, Clone)]
pub struct Removal {
    /// Of which stream.
    pub stream: usize,
    /// Which entry.
    pub id: Id,
    /// When.
    pub span: Span,
    /// Whether it was acknowledged.
    pub known: bool,
}

/// How an entry came to a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By XREADGROUP with `>`.
    Read,
    /// By XCLAIM or XAUTOCLAIM.
    Claim,
    /// By one of these with JUSTID, which does not count as a delivery.
    JustId,
}

/// An entry that a reply showed to a consumer.
#[derive(Debug, Clone)]
pub struct Take {
    /// Of which stream.
    pub stream: usize,
    /// Which entry.
    pub id: Id,
    /// By whom.
    pub consumer: usize,
    /// By which request.
    pub how: How,
    /// When.
    pub span: Span,
    /// What was in it; `None` with JUSTID.
    pub key: Option<Key>,
}

/// An XREADGROUP, XCLAIM or XAUTOCLAIM without reply: it may have given this consumer entries.
#[derive(Debug, Clone)]
pub struct Unseen {
    /// Of which stream.
    pub stream: usize,
    /// By whom.
    pub consumer: usize,
    /// Whether it reads what is new; otherwise it claims.
    pub reads: bool,
    /// What XCLAIM named; empty for the others, which may take any entry.
    pub ids: Vec<Id>,
}

/// All that one connection recorded in one round.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    /// Every XADD.
    pub adds: Vec<Add>,
    /// Streams of appends that must have happened though nobody saw an id: a limit took the entry
    /// before.
    pub gone: Vec<usize>,
    /// Every XDEL of one id.
    pub deletes: Vec<Removal>,
    /// Every XACK of one id.
    pub acks: Vec<Removal>,
    /// All that was delivered or claimed.
    pub takes: Vec<Take>,
    /// Requests that may have delivered or claimed.
    pub unseen: Vec<Unseen>,
    /// The lengths that XTRIM MAXLEN asked for, acknowledged or not, with the stream.
    pub trims: Vec<(usize, u64)>,
    /// First ids that were seen behind a trim: no lower id may come back.
    pub floors: Vec<(usize, Id)>,
    /// Ids that XAUTOCLAIM listed as deleted, and dropped from the pending list.
    pub dropped: Vec<(usize, Id)>,
    /// Replies that came, and requests that stay without.
    pub acknowledged: u64,
    /// See above.
    pub unknown: u64,
    /// What is wrong whatever the server's state turns out to be.
    pub violations: Vec<Violation>,
}

impl Journal {
    /// Notes what is wrong already.
    pub fn note(&mut self, kind: Kind, text: String) {
        self.violations.push(Violation { kind, text });
    }

    /// Notes that the power went: a write that was sent afterwards must never be acknowledged (36).
    pub fn note_cut(&mut self, at: u64) {
        let late = |span: &Span| span.invoked > at && span.completed != u64::MAX;
        let adds = self.adds.iter().filter(|add| late(&add.span)).count();
        let removals = self.deletes.iter().chain(&self.acks);
        let removals = removals.filter(|removal| removal.known && late(&removal.span)).count();
        if adds + removals > 0 {
            let text =
                format!("{adds} XADD and {removals} XDEL or XACK acknowledged after the cut");
            self.note(Kind::WronglyAcked, text);
        }
    }

    /// Adds what another connection recorded in the same round.
    pub fn absorb(&mut self, other: Self) {
        self.adds.extend(other.adds);
        self.gone.extend(other.gone);
        self.deletes.extend(other.deletes);
        self.acks.extend(other.acks);
        self.takes.extend(other.takes);
        self.unseen.extend(other.unseen);
        self.trims.extend(other.trims);
        self.floors.extend(other.floors);
        self.dropped.extend(other.dropped);
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.violations.extend(other.violations);
    }
}

/// Writes `ms-seq`.
pub fn show_id(id: Id) -> String {
    format!("{}-{}", id.0, id.1)
}
