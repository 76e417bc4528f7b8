//! Up to [`CHUNK_IIDS`](super::CHUNK_IIDS) iids of a producer, oldest first, their bytes packed.
//!
//! Invariant: times do not decrease.

use alloc::vec::Vec;

use super::{CHUNK_IIDS, Tracked};
use crate::{
    id::StreamId,
    varint::{self, Reader},
};

/// Bytes of iids at which a chunk is full, so that long ones make no large pieces; the one that
/// reaches it may be longer.
const CHUNK_BYTES: usize = 64 << 10;

/// See the module.
#[derive(Clone, Default, Debug)]
pub(super) struct Chunk {
    rows: Vec<Row>,
    iids: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    since_ms: u64,
    id: StreamId,
    /// Where its iid ends; it begins where that of the row before ends.
    end: u32,
}

impl Chunk {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= CHUNK_IIDS || self.iids.len() >= CHUNK_BYTES
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.rows.capacity() * size_of::<Row>() + self.iids.capacity()
    }

    /// A row that is there.
    pub(super) fn get(&self, row: usize) -> Tracked<'_> {
        let start = row.checked_sub(1).map_or(0, |before| self.rows[before].end as usize);
        let Row { since_ms, id, end } = self.rows[row];
        Tracked { iid: &self.iids[start..end as usize], id, since_ms }
    }

    /// Time of the last row, which is there.
    pub(super) fn last_ms(&self) -> u64 {
        self.rows.last().map_or(0, |row| row.since_ms)
    }

    /// How many rows are of a time up to this one.
    pub(super) fn count_until(&self, until_ms: u64) -> usize {
        self.rows.partition_point(|row| row.since_ms <= until_ms)
    }

    pub(super) fn push(&mut self, tracked: Tracked<'_>) {
        let Tracked { iid, id, since_ms } = tracked;
        self.iids.extend_from_slice(iid);
        let end = u32::try_from(self.iids.len()).expect("arguments are far below 4 GiB");
        self.rows.push(Row { since_ms, id, end });
    }

    /// Gives back what was reserved for more rows.
    pub(super) fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.iids.shrink_to_fit();
    }

    /// Appends the rows: distance in time to the one before, id, iid.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        varint::put_u64(out, self.rows.len() as u64);
        let mut previous = 0;
        for row in 0..self.rows.len() {
            let Tracked { iid, id, since_ms } = self.get(row);
            varint::put_u64(out, since_ms - previous);
            varint::put_id(out, id);
            varint::put_bytes(out, iid);
            previous = since_ms;
        }
    }

    /// The inverse of [`Chunk::encode`]; `None` of an empty chunk too.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let mut chunk = Self::default();
        let mut since_ms = 0_u64;
        for _ in 0..reader.count()? {
            since_ms = since_ms.checked_add(reader.u64()?)?;
            let (id, iid) = (reader.id()?, reader.bytes()?);
            chunk.push(Tracked { iid, id, since_ms });
        }
        (reader.is_empty() && chunk.len() > 0 && chunk.len() <= CHUNK_IIDS).then_some(chunk)
    }
}
