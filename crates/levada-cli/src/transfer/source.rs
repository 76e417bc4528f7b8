//! What can be read, page by page: a live server or a dump file. Copying and comparing know only
//! this, so that what is imported from a file is checked like all else.

use anyhow::Result;

use super::id::Id;
use super::policy::Policies;

/// Streams that can be read in pages.
pub(crate) trait Source: Send {
    /// The stream's own numbers; an error where there is no such stream.
    fn summary(&mut self, key: &[u8]) -> Result<Summary>;
    /// At most `count` entries with ids in `from..=to`, in order; fewer only at the end.
    fn entries(&mut self, key: &[u8], from: Id, to: Id, count: usize) -> Result<Vec<Entry>>;
    /// All groups, with the names of their consumers, in the order of their names.
    fn groups(&mut self, key: &[u8]) -> Result<Vec<Group>>;
    /// Policies of the stream and of these groups; `None` where there are no such things.
    fn policies(&mut self, _key: &[u8], _groups: &[Group]) -> Result<Option<Policies>> {
        Ok(None)
    }
    /// How many of its entries the server appends elsewhere when they are due.
    fn scheduled(&mut self, _key: &[u8]) -> Result<u64> {
        Ok(0)
    }
    /// At most `count` pending entries from this id on, in the order of ids, those among them that
    /// a group with ORDER-BY has passed over; none only at the end.
    fn pending(&mut self, key: &[u8], group: &[u8], from: Id, count: usize)
    -> Result<Vec<Pending>>;
}

/// What a stream says of itself, beside what is in it; `None` is what the server is too old for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Summary {
    /// Entries that it holds.
    pub(crate) length: u64,
    /// No later entry may have a lower id.
    pub(crate) last_id: Id,
    /// Entries that were ever added.
    pub(crate) entries_added: Option<u64>,
    /// The largest id that XDEL took; `0-0` is none.
    pub(crate) deleted_id_max: Option<Id>,
    /// Ids of idempotent producers that it remembers.
    pub(crate) idempotent: u64,
}

/// An entry. One without fields stands for an id that is pending and whose entry is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    /// Names and values in turn.
    pub(crate) fields: Vec<Vec<u8>>,
}

/// A group, without what is pending in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    pub(crate) name: Vec<u8>,
    pub(crate) last_id: Id,
    /// `None` where the server does not know it.
    pub(crate) entries_read: Option<u64>,
    /// In the order of their names.
    pub(crate) consumers: Vec<Vec<u8>>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pending {
    pub(crate) id: Id,
    /// `None` where it was given back by XNACK and nobody owns it.
    pub(crate) owner: Option<Owner>,
    /// How often it was delivered.
    pub(crate) count: u64,
}

/// Who has a pending entry, and since when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Owner {
    pub(crate) consumer: Vec<u8>,
    /// Last delivery, in milliseconds since the Unix epoch.
    pub(crate) delivered_ms: i64,
}
