//! What is answered: typed facts; the server writes them in RESP, an embedded user reads them.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use crate::{
    bitmap::Bitmap, block::Block, id::StreamId, idempotence::IdmpLimits, keyspace::KeyNumber,
    stream::Stream,
};

/// An answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// Done.
    Ok,
    /// Nothing (a null bulk string).
    Nil,
    /// Nothing where a list would be (a null array): XREAD without entries.
    NilList,
    /// A number.
    Integer(i64),
    /// Numbers, in order.
    Integers(Vec<i64>),
    /// The id of a new entry.
    Id(StreamId),
    /// Ids, of claimed entries.
    Ids(Vec<StreamId>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// Bytes or nothing, in order.
    Values(Vec<Option<Arc<[u8]>>>),
    /// A status word: the name of a type.
    Status(&'static str),
    /// Names of keys.
    Names(Vec<Arc<[u8]>>),
    /// SCAN: next cursor and names.
    Scanned(u64, Vec<Arc<[u8]>>),
    /// Entries of one stream.
    Entries(Entries),
    /// XREAD, XREADGROUP: which of the streams asked for, and its entries.
    Streams(Vec<(usize, Entries)>),
    /// XAUTOCLAIM.
    Autoclaimed(Box<Autoclaimed>),
    /// XPENDING without a range; `None` where nothing is pending.
    PendingSummary(Option<Box<PendingSummary>>),
    /// XPENDING with a range.
    PendingRows(Vec<PendingRow>),
    /// XINFO STREAM.
    StreamInfo(Box<StreamInfo>),
    /// XINFO STREAM FULL.
    StreamFull(Box<StreamFull>),
    /// XINFO GROUPS.
    Groups(Vec<GroupInfo>),
    /// XINFO CONSUMERS.
    Consumers(Vec<ConsumerInfo>),
    /// DUMP.
    Dumped(Dumped),
    /// Names and what they stand for: XCFGGET, XGROUP CFGGET, XLAG.
    Facts(Vec<(&'static str, Fact)>),
}

/// What a name stands for.
#[derive(Clone, PartialEq, Debug)]
pub enum Fact {
    /// Nothing.
    Nil,
    /// A number.
    Number(u64),
    /// Numbers, in order.
    Numbers(Vec<u64>),
    /// An id.
    Id(StreamId),
    /// A word of ours.
    Word(&'static str),
    /// Bytes of a client.
    Bytes(Arc<[u8]>),
}

/// All that a key holds.
#[derive(Clone, Debug)]
pub enum Dumped {
    /// A string.
    Text(Arc<[u8]>),
    /// A stream as it is now, with all its sealed blocks, ascending by number.
    Stream(Arc<Stream>, Vec<(u64, Arc<Block>)>),
}

impl PartialEq for Dumped {
    /// Whether it is the same value; streams are not compared by their contents.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Stream(one, _), Self::Stream(other, _)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// Entries by place; their bytes are read, block by block, when the answer is written, so that an
/// answer may be larger than memory. Deletions behind it do not change it.
#[derive(Clone, PartialEq, Debug)]
pub struct Entries {
    /// The stream.
    pub key: KeyNumber,
    /// Number of entries.
    pub count: u64,
    /// Highest id first; the rows of a [`Part::Rows`] too.
    pub reverse: bool,
    /// Where they are, in order.
    pub parts: Vec<Part>,
}

impl Entries {
    /// No entries, of no stream.
    pub fn none() -> Self {
        Self { key: KeyNumber(0), count: 0, reverse: false, parts: Vec::new() }
    }
}

/// Some of the entries of an answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Part {
    /// Rows of a block.
    Rows {
        /// Number of the block.
        block: u64,
        /// First row.
        first: u32,
        /// Row after the last.
        end: u32,
        /// Rows in between that are deleted.
        dead: Option<Arc<Bitmap>>,
    },
    /// One row, shown with how its delivery stood (XREADGROUP CLAIM).
    Delivery {
        /// Number of the block.
        block: u64,
        /// The row.
        row: u32,
        /// Milliseconds since the delivery before this one, 0 where there was none.
        idle_ms: u64,
        /// Deliveries before this one.
        count: u64,
    },
    /// A pending entry that is deleted from the stream.
    Deleted(StreamId),
}

impl Part {
    /// The block that it stands in, unless it is deleted.
    pub fn block(&self) -> Option<u64> {
        match self {
            Self::Rows { block, .. } | Self::Delivery { block, .. } => Some(*block),
            Self::Deleted(_) => None,
        }
    }
}

/// XAUTOCLAIM.
#[derive(Clone, PartialEq, Debug)]
pub struct Autoclaimed {
    /// Where the next scan begins; `0-0` at the end.
    pub cursor: StreamId,
    /// Claimed: entries, or ids with JUSTID.
    pub claimed: Claimed,
    /// Found deleted from the stream and removed from the pending list.
    pub deleted: Vec<StreamId>,
}

/// What was claimed, in the form asked for.
#[derive(Clone, PartialEq, Debug)]
pub enum Claimed {
    /// With their fields.
    Entries(Entries),
    /// JUSTID.
    Ids(Vec<StreamId>),
}

/// XPENDING without a range.
#[derive(Clone, PartialEq, Debug)]
pub struct PendingSummary {
    /// Pending entries.
    pub count: u64,
    /// Lowest id.
    pub first: StreamId,
    /// Highest id.
    pub last: StreamId,
    /// Consumers with pending entries, by name, and how many.
    pub consumers: Vec<(Arc<[u8]>, u64)>,
}

/// One pending entry of XPENDING with a range.
#[derive(Clone, PartialEq, Debug)]
pub struct PendingRow {
    /// The entry.
    pub id: StreamId,
    /// Who holds it; empty where nobody does.
    pub consumer: Arc<[u8]>,
    /// Unix milliseconds of its last delivery.
    pub delivered_ms: u64,
    /// Milliseconds since then; `None` where nobody holds it.
    pub idle_ms: Option<u64>,
    /// Deliveries.
    pub count: u64,
}

/// What XINFO STREAM says in both forms.
#[derive(Clone, PartialEq, Debug)]
pub struct StreamFacts {
    /// Live entries.
    pub length: u64,
    /// Logical nodes.
    pub nodes: u64,
    /// last-generated-id.
    pub last_id: StreamId,
    /// max-deleted-entry-id.
    pub max_deleted_id: StreamId,
    /// entries-added.
    pub entries_added: u64,
    /// recorded-first-entry-id; `0-0` in an empty stream.
    pub first_id: StreamId,
    /// Idempotent producers.
    pub idmp: IdmpFacts,
}

/// What XINFO STREAM says of idempotent producers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdmpFacts {
    /// idmp-duration, idmp-maxsize.
    pub limits: IdmpLimits,
    /// pids-tracked: producers with an iid that counts.
    pub pids: u64,
    /// iids-tracked: iids that count.
    pub iids: u64,
    /// iids-added, ever.
    pub added: u64,
    /// iids-duplicates, ever.
    pub duplicates: u64,
}

/// XINFO STREAM.
#[derive(Clone, PartialEq, Debug)]
pub struct StreamInfo {
    /// Facts of both forms.
    pub facts: StreamFacts,
    /// Number of groups.
    pub groups: u64,
    /// First and last entry, none or one each.
    pub first: Entries,
    /// See `first`.
    pub last: Entries,
}

/// XINFO STREAM FULL.
#[derive(Clone, PartialEq, Debug)]
pub struct StreamFull {
    /// Facts of both forms.
    pub facts: StreamFacts,
    /// The first entries.
    pub entries: Entries,
    /// Groups by name.
    pub groups: Vec<GroupFull>,
}

/// A group in XINFO STREAM FULL.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupFull {
    /// Facts of XINFO GROUPS.
    pub info: GroupInfo,
    /// The first pending entries.
    pub pending: Vec<PendingRow>,
    /// Consumers by name, and the first pending entries of each.
    pub consumers: Vec<(ConsumerInfo, Vec<PendingRow>)>,
}

/// A group in XINFO GROUPS.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupInfo {
    /// The name.
    pub name: Arc<[u8]>,
    /// Number of consumers.
    pub consumers: u64,
    /// Number of pending entries.
    pub pending: u64,
    /// last-delivered-id.
    pub last_id: StreamId,
    /// entries-read, where known.
    pub entries_read: Option<u64>,
    /// Lag as Redis computes it, where it can.
    pub lag: Option<i64>,
}

/// A consumer in XINFO CONSUMERS.
#[derive(Clone, PartialEq, Debug)]
pub struct ConsumerInfo {
    /// The name.
    pub name: Arc<[u8]>,
    /// Number of pending entries.
    pub pending: u64,
    /// Unix milliseconds of its last attempt.
    pub seen_ms: u64,
    /// Unix milliseconds of its last success.
    pub active_ms: Option<u64>,
    /// Milliseconds since its last attempt.
    pub idle_ms: u64,
    /// Milliseconds since its last success.
    pub inactive_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_of_strings_are_compared_by_their_bytes() {
        let text = |bytes: &[u8]| Dumped::Text(bytes.into());
        assert_eq!(text(b"a"), text(b"a"));
        assert_ne!(text(b"a"), text(b"b"));
    }
}
