//! What the model answers, and the ids in which it answers.

use std::ops::Bound;
use std::sync::Arc;

/// Field and value pairs of one entry, in the order in which they were given. Shared, because a
/// schedule keeps the state behind every batch.
pub type Fields = Arc<[(Vec<u8>, Vec<u8>)]>;

/// Entries of a reply; no fields means that the entry is gone but still pending.
pub type Entries = Vec<(Id, Option<Fields>)>;

/// What every command returns.
pub type Answer = Result<Reply, ErrorKind>;

/// A stream id: milliseconds, then sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub u64, pub u64);

impl Id {
    /// `0-0`, below every entry.
    pub const MIN: Self = Self(0, 0);
    /// The last id there is.
    pub const MAX: Self = Self(u64::MAX, u64::MAX);

    /// The id after this one; none after [`Id::MAX`].
    pub fn next(self) -> Option<Self> {
        match self {
            Self::MAX => None,
            Self(ms, u64::MAX) => Some(Self(ms + 1, 0)),
            Self(ms, seq) => Some(Self(ms, seq + 1)),
        }
    }

    /// The id before this one; none before [`Id::MIN`].
    pub fn previous(self) -> Option<Self> {
        match self {
            Self::MIN => None,
            Self(ms, 0) => Some(Self(ms - 1, u64::MAX)),
            Self(ms, seq) => Some(Self(ms, seq - 1)),
        }
    }
}

/// A reply that is not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`.
    Ok,
    /// A null, bulk or array as the command has it.
    Nil,
    /// A number.
    Integer(i64),
    /// Numbers, one for each id (XDELEX, XACKDEL).
    Integers(Vec<i64>),
    /// A string value.
    Text(Vec<u8>),
    /// The id of an added entry.
    Id(Id),
    /// Ids alone (XCLAIM with JUSTID).
    Ids(Vec<Id>),
    /// Entries of one stream.
    Entries(Entries),
    /// Entries per key, in the order of the request (XREAD, XREADGROUP).
    Streams(Vec<(Vec<u8>, Entries)>),
    /// XPENDING without a range.
    PendingSummary {
        /// Size of the pending list.
        total: usize,
        /// First and last pending id; none if nothing is pending.
        range: Option<(Id, Id)>,
        /// Consumers with something pending, by name, and how much.
        consumers: Vec<(Vec<u8>, usize)>,
    },
    /// XPENDING with a range.
    PendingRows(Vec<PendingRow>),
    /// XAUTOCLAIM.
    AutoClaimed {
        /// Where the next scan starts; 0-0 at the end.
        cursor: Id,
        /// How far on it may be, for nothing before is to be claimed or reported; 0-0 at the end.
        cursor_max: Id,
        /// What was claimed; with JUSTID without fields.
        claimed: Entries,
        /// Pending ids whose entry is gone; they were removed from the pending list.
        deleted: Vec<Id>,
    },
}

/// One row of XPENDING with a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRow {
    /// The pending entry.
    pub id: Id,
    /// Its owner.
    pub consumer: Vec<u8>,
    /// Milliseconds since the last delivery; 0 if the clock went back.
    pub idle_ms: u64,
    /// Deliveries so far.
    pub count: u64,
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The key holds a value of another type.
    WrongType,
    /// No such key or consumer group.
    NoGroup,
    /// The group exists already.
    BusyGroup,
    /// XGROUP on a missing key.
    KeyRequired,
    /// XSETID on a missing key.
    NoSuchKey,
    /// RESTORE without REPLACE of a key that is there.
    BusyKey,
    /// XADD 0-0.
    IdZero,
    /// XADD of an id that is not above the last one.
    IdTooSmall,
    /// The stream's last id is the last id there is.
    Exhausted,
    /// LIMIT without `~`.
    LimitWithoutApprox,
    /// An exclusive start above which there is no id.
    InvalidStart,
    /// An exclusive end below which there is no id.
    InvalidEnd,
    /// XSETID: MAXDELETEDID above the new last id.
    SetIdBelowGivenDeleted,
    /// XSETID below the highest deleted id.
    SetIdBelowDeleted,
    /// XSETID below the last live entry.
    SetIdBelowTop,
    /// XSETID: ENTRIESADDED below the number of live entries.
    EntriesAddedTooSmall,
    /// XIDMPRECORD of an entry that is not there.
    NoSuchEntry,
    /// XIDMPRECORD of an iid that counts with another entry.
    IidTaken,
    /// INCR of something that is not a 64-bit number.
    NotInteger,
    /// INCR beyond 64 bits.
    Overflow,
}

/// The first id that a range start admits.
pub(super) fn first_of(start: Bound<Id>) -> Result<Id, ErrorKind> {
    match start {
        Bound::Unbounded => Ok(Id::MIN),
        Bound::Included(id) => Ok(id),
        Bound::Excluded(id) => id.next().ok_or(ErrorKind::InvalidStart),
    }
}

/// The last id that a range end admits.
pub(super) fn last_of(end: Bound<Id>) -> Result<Id, ErrorKind> {
    match end {
        Bound::Unbounded => Ok(Id::MAX),
        Bound::Included(id) => Ok(id),
        Bound::Excluded(id) => id.previous().ok_or(ErrorKind::InvalidEnd),
    }
}

/// A count as Redis answers it.
pub(super) fn integer(n: usize) -> Reply {
    Reply::Integer(i64::try_from(n).expect("nothing in memory has 2^63 elements"))
}
