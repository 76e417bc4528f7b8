//! One checker of histories: what clients asked for and were told, against what is there after a
//! crash. It finds entries that are lost, duplicated, reordered, changed or resurrected,
//! acknowledgements that are not in effect, and what was never delivered.
//!
//! It knows nothing of whom it judges: the simulation's schedules with policies and the kill loop
//! with its power cuts feed it alike. A round is
//!
//! 1. a [`Journal`]: every request with its reply, or without ([`Add`], [`Take`], [`Removal`],
//!    [`Unseen`]);
//! 2. [`Ledger::absorb`], which judges the order of what was told;
//! 3. [`check()`]: the [`State`] of each stream and its group, as read back, against the ledger;
//! 4. [`Ledger::settle`]: what was unknown takes the outcome that was found, for good.
//!
//! Values are unique ([`Key`]) and every byte of them is known, so that foreign bytes are noticed.

mod check;
mod event;
mod ledger;
#[cfg(test)]
mod tests;
mod value;

pub use check::{check, check_drained};
pub use event::{Add, Counter, How, Id, Journal, Removal, Span, Take, Unseen, show_id};
pub use ledger::{Entry, Fate, Ledger, Stream};
pub use value::Key;

use std::fmt;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Of which kind.
    pub kind: Kind,
    /// In words, for a reader who has the seed.
    pub text: String,
}

/// The ways in which a history can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Acknowledged or seen, and gone.
    Lost,
    /// Twice there, or twice delivered, or in two places.
    Duplicated,
    /// Not in the order in which it was added, or an id that is not above those before it.
    Reordered,
    /// Deleted, trimmed, acknowledged or dead, and there again.
    Resurrected,
    /// Other bytes than were written.
    Changed,
    /// An acknowledgement out of nothing: of an entry, or of a write that cannot be in effect.
    WronglyAcked,
    /// Pending for somebody who has not got it.
    WronglyOwned,
    /// There, and delivered to nobody who asked.
    NeverDelivered,
    /// A counter that does not count what it should.
    Miscounted,
    /// Half of a transaction.
    Torn,
    /// Answers that contradict one another or are none.
    Contradiction,
}

/// What happens to a stream beside what is recorded of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Entries may be delivered again by `>` and become dead letters (ACK-WAIT, MAX-DELIVER).
    pub leases: bool,
    /// What its group has acknowledged goes by itself (RETENTION ACKED).
    pub retained: bool,
    /// What came back from the dead letters goes once its group has acknowledged it, though another
    /// group holds back everything else: it needs nothing of that.
    pub redriven_go: bool,
    /// Above this length the oldest go (MAX-LEN with ON-LIMIT TRIM).
    pub max_len: Option<u64>,
}

/// An entry of a pending list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// The entry.
    pub id: Id,
    /// Who owns it; [`usize::MAX`] for nobody.
    pub consumer: usize,
    /// Deliveries.
    pub count: u64,
}

/// One stream and its group, as they are found.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// In the order of XRANGE.
    pub entries: Vec<(Id, Key)>,
    /// In the order of XPENDING.
    pub pending: Vec<Pending>,
    /// The group's dead letters, by the ids that they had.
    pub dead: Vec<(Id, Key)>,
    /// What the group passed over because an entry of the same key is under way (ORDER-BY).
    pub parked: Vec<Id>,
    /// Entries that came back from the dead letters: pending at once, wherever the group stands.
    /// Ids that a crash took back may be among them.
    pub redriven: Vec<Id>,
    /// last-generated-id.
    pub last_id: Id,
    /// entries-added.
    pub added: u64,
    /// last-delivered-id of the group.
    pub last_delivered: Id,
    /// Answers that contradict one another, and entries that nobody wrote.
    pub contradictions: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}
