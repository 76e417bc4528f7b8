//! Up to [`CHUNK_ROWS`] hashes with id and time, oldest first: one piece of a checkpoint.
//!
//! Invariants: times do not decrease; each is less than 2^32 ms behind that of the first row.
//!
//! ```text
//! chunk := varint first unix ms, row * n, to the end of the piece
//! row   := 16 bytes hash, varint ms since the row before, varint zigzag(id.ms - its unix ms),
//!          varint id.seq
//! ```

use alloc::vec::Vec;

use super::{CHUNK_ROWS, secret::Digest};
use crate::{
    id::StreamId,
    varint::{self, Reader, unzigzag, zigzag},
};

/// What is kept of an append: 36 bytes, as three lists so that none is padded.
#[derive(Clone, Default, Debug)]
pub(super) struct Chunk {
    base_ms: u64,
    hashes: Vec<Digest>,
    ids: Vec<StreamId>,
    since: Vec<u32>,
}

/// A row of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Keyed hash of producer and iid.
    pub hash: Digest,
    /// The entry that it became.
    pub id: StreamId,
    /// Unix milliseconds from which its window counts.
    pub since_ms: u64,
}

impl Chunk {
    /// A chunk that will be full, its memory taken at once.
    pub(super) fn of_capacity(rows: usize, base_ms: u64) -> Self {
        let (hashes, ids) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        Self { base_ms, hashes, ids, since: Vec::with_capacity(rows) }
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether a row of this time goes into another chunk.
    pub(super) fn is_full(&self, since_ms: u64) -> bool {
        self.len() >= CHUNK_ROWS || u32::try_from(since_ms - self.base_ms).is_err()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.hashes.capacity() * size_of::<Digest>()
            + self.ids.capacity() * size_of::<StreamId>()
            + self.since.capacity() * size_of::<u32>()
    }

    pub(super) fn hash(&self, row: usize) -> Option<&Digest> {
        self.hashes.get(row)
    }

    /// All of them, oldest first.
    pub(super) fn hashes(&self) -> &[Digest] {
        &self.hashes
    }

    pub(super) fn get(&self, row: usize) -> Option<Kept> {
        let (hash, id) = (*self.hashes.get(row)?, *self.ids.get(row)?);
        let since_ms = self.base_ms + u64::from(*self.since.get(row)?);
        Some(Kept { hash, id, since_ms })
    }

    pub(super) fn last_ms(&self) -> u64 {
        self.base_ms + self.since.last().map_or(0, |since| u64::from(*since))
    }

    /// How many rows are of a time up to this one.
    pub(super) fn count_until(&self, until_ms: u64) -> usize {
        let since = until_ms.checked_sub(self.base_ms);
        since.map_or(0, |until| self.since.partition_point(|ms| u64::from(*ms) <= until))
    }

    /// Adds a row that fits: see [`Chunk::is_full`].
    pub(super) fn push(&mut self, kept: Kept) {
        let since = u32::try_from(kept.since_ms - self.base_ms).expect("the chunk is not full");
        self.hashes.push(kept.hash);
        self.ids.push(kept.id);
        self.since.push(since);
    }

    /// Gives back what was reserved for more rows.
    pub(super) fn shrink(&mut self) {
        self.hashes.shrink_to_fit();
        self.ids.shrink_to_fit();
        self.since.shrink_to_fit();
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        varint::put_u64(out, self.base_ms);
        let mut previous_ms = self.base_ms;
        for Kept { hash, id, since_ms } in (0..self.len()).filter_map(|row| self.get(row)) {
            out.extend_from_slice(&hash);
            varint::put_u64(out, since_ms - previous_ms);
            varint::put_u64(out, zigzag(id.ms.wrapping_sub(since_ms).cast_signed()));
            varint::put_u64(out, id.seq);
            previous_ms = since_ms;
        }
    }

    /// The inverse; `None` for what no version has written, an empty chunk too.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let base_ms = reader.u64()?;
        let mut since_ms = base_ms;
        let mut chunk = Self::of_capacity(CHUNK_ROWS.min(bytes.len() / 19), base_ms);
        while !reader.is_empty() {
            let hash = reader.take(16)?.try_into().ok()?;
            since_ms = since_ms.checked_add(reader.u64()?)?;
            let distance = unzigzag(reader.u64()?).cast_unsigned();
            let id = StreamId::new(since_ms.wrapping_add(distance), reader.u64()?);
            if chunk.is_full(since_ms) {
                return None;
            }
            chunk.push(Kept { hash, id, since_ms });
        }
        chunk.shrink();
        (chunk.len() > 0).then_some(chunk)
    }
}
