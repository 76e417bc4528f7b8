//! What a stream is on its way in or out: plain data, free of how it is written.

use crate::Node;

/// The id of an entry: milliseconds and sequence, ordered as one number of 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Id {
    /// Milliseconds, usually since the Unix epoch.
    pub ms: u64,
    /// Sequence within the millisecond.
    pub seq: u64,
}

impl Id {
    /// An id from its parts.
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }
}

/// A value of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A string.
    Text(Vec<u8>),
    /// A stream.
    Stream(StreamDump),
    /// A whole value of a type that we do not have: its name as TYPE gives it, `module` for those.
    Unsupported(&'static str),
}

/// A whole stream.
///
/// Holds of every decoded one: ids of entries increase and none is above `ids.last_id`,
/// `ids.entries_added` is no less than the number of entries, and groups are as [`Group`] says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StreamDump {
    /// The entries, about a hundred per node.
    pub nodes: Vec<Node>,
    /// Ids and counters.
    pub ids: StreamIds,
    /// Consumer groups, each name once.
    pub groups: Vec<Group>,
    /// What idempotent producers left; `None` in types before 26.
    pub idmp: Option<Idmp>,
}

/// Ids and counters of a stream. In type 15, which has neither, nothing was ever deleted and as
/// many entries were added as are there.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StreamIds {
    /// last-generated-id.
    pub last_id: Id,
    /// max-deleted-entry-id, `0-0` for none.
    pub max_deleted_id: Id,
    /// entries-added.
    pub entries_added: u64,
}

/// A consumer group.
///
/// Holds of every decoded one: pending ids increase, each belongs to one of the consumers, and no
/// two consumers have the same name.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// last-delivered-id.
    pub last_id: Id,
    /// entries-read, where known.
    pub entries_read: Option<u64>,
    /// What was delivered and not acknowledged, by id.
    pub pending: Vec<Pending>,
    /// Who reads.
    pub consumers: Vec<Consumer>,
}

/// An entry that was delivered and not acknowledged. The entry itself may be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    /// Of which entry.
    pub id: Id,
    /// When it was last delivered, in unix milliseconds.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub count: u64,
    /// To whom: the place in [`Group::consumers`].
    pub consumer: usize,
}

/// A consumer of a group.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Consumer {
    /// Its name.
    pub name: Vec<u8>,
    /// Unix milliseconds of its last attempt to read or claim.
    pub seen_ms: u64,
    /// Unix milliseconds of its last success; types before 21 do not tell and give `seen_ms`.
    pub active_ms: Option<u64>,
}

/// What idempotent producers left with a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Idmp {
    /// How long an id is remembered, in seconds: 1 to 86,400.
    pub duration_s: u64,
    /// How many are remembered for each producer: 1 to 10,000.
    pub entries_max: u64,
    /// Producers, each name once.
    pub producers: Vec<Producer>,
    /// Ids ever tracked.
    pub added: u64,
    /// Duplicates ever found.
    pub duplicates: u64,
}

impl Default for Idmp {
    /// As of a stream on which nobody used it: Redis' settings as they come.
    fn default() -> Self {
        Self { duration_s: 100, entries_max: 100, producers: Vec::new(), added: 0, duplicates: 0 }
    }
}

/// A producer and what it appended, oldest first.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Producer {
    /// Its name (pid).
    pub name: Vec<u8>,
    /// Idempotency ids (iid), each once, and the entry that each appended.
    pub entries: Vec<(Vec<u8>, Id)>,
}
