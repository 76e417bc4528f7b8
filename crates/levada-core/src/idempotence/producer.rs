//! The iids of one producer: a queue of chunks, and a table that finds an iid in it.
//!
//! Invariants: there is at least one iid, but between [`Producer::new`] or
//! [`Producer::drop_oldest`] and [`Producer::push`]; no chunk is empty, and of the first at least
//! one row is left; times do not decrease; the table holds the ordinals of exactly the iids that
//! are there, which differ from each other.

use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use core::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::{Tracked, chunk::Chunk};
use crate::varint::{self, Reader};

/// See the module. Cloning copies the table and a pointer per chunk.
#[derive(Clone, Debug)]
pub struct Producer {
    pid: Arc<[u8]>,
    chunks: VecDeque<Slot>,
    /// Number of the first chunk; the others count on from it, wrapping.
    first_chunk: u32,
    /// Ordinals of the oldest iid, and after the newest: counted since the producer was loaded.
    first: u64,
    end: u64,
    /// Ordinals, cut to 32 bits: fewer than that are there at once.
    table: HashTable<u32>,
    /// Log position of its last change.
    changed: u64,
}

#[derive(Clone, Debug)]
struct Slot {
    /// Ordinal of its first row.
    first: u64,
    /// Log position of its last change.
    changed: u64,
    chunk: Arc<Chunk>,
}

impl Producer {
    /// Its pid, any bytes.
    pub fn pid(&self) -> &[u8] {
        &self.pid
    }

    /// Its iids, oldest first, with those that are over and not yet swept.
    pub fn iter(&self) -> impl Iterator<Item = Tracked<'_>> {
        self.iter_at(0)
    }

    /// Number of iids.
    pub fn len(&self) -> u64 {
        self.end - self.first
    }

    /// Whether there is none; never so between two effects.
    pub fn is_empty(&self) -> bool {
        self.first == self.end
    }

    pub(super) fn new(pid: Arc<[u8]>) -> Self {
        let (chunks, table) = (VecDeque::new(), HashTable::new());
        Self { pid, chunks, first_chunk: 0, first: 0, end: 0, table, changed: 0 }
    }

    pub(super) fn pid_shared(&self) -> &Arc<[u8]> {
        &self.pid
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|slot| slot.chunk.memory_bytes()).sum();
        // A byte of control beside each ordinal.
        let table = self.table.capacity() * (size_of::<u32>() + 1);
        self.pid.len() + chunks + self.chunks.capacity() * size_of::<Slot>() + table
    }

    pub(super) fn find(&self, hasher: &FixedState, iid: &[u8]) -> Option<Tracked<'_>> {
        let kept = |ordinal: &u32| self.at(whole(self.first, *ordinal));
        let ordinal = self.table.find(hasher.hash_one(iid), |ordinal| kept(ordinal).iid == iid)?;
        Some(kept(ordinal))
    }

    /// The iids without the oldest `skipped`.
    pub(super) fn iter_at(&self, skipped: u64) -> impl Iterator<Item = Tracked<'_>> {
        let from = self.first + skipped.min(self.len());
        let slots = self.chunks.range(slot_of(&self.chunks, from)..);
        slots.flat_map(move |slot| {
            let skipped = usize::try_from(from.saturating_sub(slot.first)).unwrap_or(usize::MAX);
            (skipped..slot.chunk.len()).map(|row| slot.chunk.get(row))
        })
    }

    /// How many of the oldest iids are of a time up to this one.
    pub(super) fn count_until(&self, until_ms: u64) -> u64 {
        let whole = self.chunks.partition_point(|slot| slot.chunk.last_ms() <= until_ms);
        let end = self
            .chunks
            .get(whole)
            .map_or(self.end, |slot| slot.first + slot.chunk.count_until(until_ms) as u64);
        end.saturating_sub(self.first)
    }

    /// Time of the oldest iid; 0 where there is none.
    pub(super) fn oldest_ms(&self) -> u64 {
        if self.is_empty() { 0 } else { self.at(self.first).since_ms }
    }

    pub(super) fn push(&mut self, hasher: &FixedState, position: u64, tracked: Tracked<'_>) {
        let last_ms = self.chunks.back().map_or(0, |slot| slot.chunk.last_ms());
        if self.chunks.back().is_none_or(|slot| slot.chunk.is_full()) {
            if let Some(full) = self.chunks.back_mut() {
                Arc::make_mut(&mut full.chunk).shrink();
            }
            let chunk = Arc::default();
            self.chunks.push_back(Slot { first: self.end, changed: position, chunk });
        }
        let slot = self.chunks.back_mut().expect("one was made where there was none");
        let since_ms = tracked.since_ms.max(last_ms);
        Arc::make_mut(&mut slot.chunk).push(Tracked { since_ms, ..tracked });
        slot.changed = position;
        self.changed = position;
        self.end += 1;
        self.note(hasher, self.end - 1);
    }

    /// Takes out the oldest iids, at most all.
    pub(super) fn drop_oldest(&mut self, hasher: &FixedState, position: u64, count: u64) {
        let first = self.first + count.min(self.len());
        for ordinal in self.first..first {
            let hash = hasher.hash_one(at(&self.chunks, ordinal).iid);
            if let Ok(entry) = self.table.find_entry(hash, |other| *other == cut(ordinal)) {
                entry.remove();
            }
        }
        self.first = first;
        self.changed = position;
        let is_gone = |slot: &Slot| slot.first + slot.chunk.len() as u64 <= first;
        while self.chunks.front().is_some_and(is_gone) {
            self.chunks.pop_front();
            self.first_chunk = self.first_chunk.wrapping_add(1);
        }
        let len = self.table.len().max(16);
        if self.table.capacity() > 4 * len {
            let Self { table, chunks, first, .. } = self;
            table.shrink_to(2 * len, |ordinal| hash_of(hasher, chunks, *first, *ordinal));
        }
    }

    pub(super) fn mark_changed(&mut self, position: u64) {
        self.changed = position;
        self.chunks.iter_mut().for_each(|slot| slot.changed = position);
    }

    /// Log position of its last change.
    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }

    /// Places of its chunks, and the log position of the last change of each.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (usize, u64)> {
        self.chunks.iter().map(|slot| slot.changed).enumerate()
    }

    /// Appends everything but the chunks, whose numbers it tells.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        varint::put_bytes(out, &self.pid);
        varint::put_u64(out, u64::from(self.first_chunk));
        varint::put_u64(out, self.chunks.len() as u64);
        let skipped = self.chunks.front().map_or(0, |slot| self.first - slot.first);
        varint::put_u64(out, skipped);
    }

    /// Appends the chunk at a place; its number, if it is there.
    pub(crate) fn encode_chunk(&self, place: usize, out: &mut Vec<u8>) -> Option<u32> {
        self.chunks.get(place)?.chunk.encode(out);
        Some(self.first_chunk.wrapping_add(u32::try_from(place).ok()?))
    }

    /// The inverse of [`Producer::encode`]; `chunk` finds a chunk by its number.
    pub(crate) fn decode<'a>(
        bytes: &[u8],
        hasher: &FixedState,
        chunk: impl Fn(u32) -> Option<&'a [u8]>,
    ) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let mut producer = Self::new(reader.bytes()?.into());
        producer.first_chunk = reader.u32()?;
        let (count, skipped) = (reader.u32()?, reader.u64()?);
        let mut last_ms = 0;
        for place in 0..count {
            let chunk = Chunk::decode(chunk(producer.first_chunk.wrapping_add(place))?)?;
            if chunk.get(0).since_ms < last_ms {
                return None;
            }
            last_ms = chunk.last_ms();
            let first = producer.end;
            producer.end += chunk.len() as u64;
            producer.chunks.push_back(Slot { first, changed: 0, chunk: Arc::new(chunk) });
        }
        producer.first = skipped;
        if producer.chunks.front().is_none_or(|slot| slot.chunk.len() as u64 <= skipped) {
            return None;
        }
        for ordinal in producer.first..producer.end {
            if producer.find(hasher, producer.at(ordinal).iid).is_some() {
                return None;
            }
            producer.note(hasher, ordinal);
        }
        Some(producer)
    }

    /// Puts an ordinal into the table.
    fn note(&mut self, hasher: &FixedState, ordinal: u64) {
        let Self { table, chunks, first, .. } = self;
        let hash = hasher.hash_one(at(chunks, ordinal).iid);
        table.insert_unique(hash, cut(ordinal), |other| hash_of(hasher, chunks, *first, *other));
    }

    fn at(&self, ordinal: u64) -> Tracked<'_> {
        at(&self.chunks, ordinal)
    }
}

/// The iid of an ordinal, which is there.
fn at(chunks: &VecDeque<Slot>, ordinal: u64) -> Tracked<'_> {
    let slot = &chunks[slot_of(chunks, ordinal)];
    slot.chunk.get(usize::try_from(ordinal - slot.first).expect("a chunk has few rows"))
}

/// The place of the chunk in which an ordinal stands, or would stand.
fn slot_of(chunks: &VecDeque<Slot>, ordinal: u64) -> usize {
    chunks.partition_point(|slot| slot.first <= ordinal).saturating_sub(1)
}

/// An ordinal as the table keeps it.
#[expect(clippy::cast_possible_truncation, reason = "fewer than 2^32 are there at once")]
const fn cut(ordinal: u64) -> u32 {
    ordinal as u32
}

/// The ordinal at or above `first` of which the table keeps this much.
fn whole(first: u64, kept: u32) -> u64 {
    first + u64::from(kept.wrapping_sub(cut(first)))
}

fn hash_of(hasher: &FixedState, chunks: &VecDeque<Slot>, first: u64, kept: u32) -> u64 {
    hasher.hash_one(at(chunks, whole(first, kept)).iid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StreamId;

    #[test]
    fn memory_counts_the_queue_of_chunks() {
        let (hasher, mut producer) = (FixedState::with_seed(7), Producer::new(b"pid"[..].into()));
        for n in 0_u32..5000 {
            let tracked = Tracked { iid: &n.to_le_bytes(), id: StreamId::MIN, since_ms: 5 };
            producer.push(&hasher, 1, tracked);
        }
        let chunks: usize = producer.chunks.iter().map(|slot| slot.chunk.memory_bytes()).sum();
        let table = producer.table.capacity() * (size_of::<u32>() + 1);
        let queue = producer.memory_bytes() - chunks - table - producer.pid.len();
        assert!(queue >= producer.chunks.len() * size_of::<Slot>(), "{queue}");
    }
}
