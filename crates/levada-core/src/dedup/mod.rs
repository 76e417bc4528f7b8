//! DEDUP-WINDOW and DEDUP-MAX: which appends of the last hours would be repetitions.
//!
//! Where a stream has one of the two, they take the place of Redis' IDMP limits: of each idempotent
//! append a keyed hash of producer and iid is kept, with the entry that it became and the time, and
//! a repetition is answered with that entry. Hours and millions: what counts is the stream as a
//! whole, not a producer.
//!
//! - [`Dedup`]: the hashes of a stream, oldest first, and the way to find one.
//! - [`DedupLimits`]: for how long, and how many.
//! - [`Secret`]: the key of the hash.
//!
//! # Age
//! A hash counts for the window, to the millisecond, whatever was or was not swept. Times do not
//! decrease, for a new hash takes the time of the last one if that is later: what is over is always
//! a prefix. `apply` has no clock: effects say how many of the oldest go, at most
//! [`GOING_MAX`] with an append and [`SWEEP_MAX`] with a sweep, so that no turn is long.
//!
//! # Memory and checkpoints
//! 36 bytes in chunks of [`CHUNK_ROWS`] and 6 to 11.5 in a table that finds them: less than
//! [`ID_BYTES`]. Chunks and parts of the table are persistent: a clone shares them, and a change
//! behind a checkpoint copies the one it touches. A checkpoint writes the chunks that are new
//! (about 20 bytes an id), and one small piece for the stream; the table is made anew at a start.
//!
//! ```text
//! ordinal  := chunk number * CHUNK_ROWS + row; the table keeps its low 32 bits
//! head     := 16 bytes key, varint number of the first chunk, varint count of chunks,
//!             varint rows of the first that are gone
//! ```

mod chunk;
mod secret;
mod table;
#[cfg(test)]
mod tests;

use alloc::{collections::VecDeque, sync::Arc, vec::Vec};

use self::{chunk::Chunk, table::Table};
pub use self::{
    chunk::Kept,
    secret::{Digest, Secret},
};
use crate::{
    policy::StreamPolicy,
    varint::{self, Reader},
};

/// Most rows in a chunk.
pub const CHUNK_ROWS: usize = 1024;
/// Most bytes that an id takes in memory: what `dedup-bytes-max` counts.
pub const ID_BYTES: u64 = 48;
/// DEDUP-MAX where only DEDUP-WINDOW was given.
pub const MAX_DEFAULT: u64 = 1_000_000;
/// DEDUP-MAX at most: ordinals are told apart by 32 bits.
pub const MAX_MAX: u64 = 1 << 31;
/// Most that go with an append.
const GOING_MAX: u64 = 64;
/// Most that go with a sweep: about 2 ms.
const SWEEP_MAX: u64 = 16_384;

/// How long and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DedupLimits {
    /// Milliseconds; `None` for as long as there is room.
    pub window_ms: Option<u64>,
    /// Ids; at the bound the oldest goes.
    pub ids_max: u64,
}

impl DedupLimits {
    /// What a policy says; `None` where Redis' limits hold.
    pub fn of(policy: &StreamPolicy) -> Option<Self> {
        let window_ms = (policy.dedup_window_ms > 0).then_some(policy.dedup_window_ms);
        match (window_ms, policy.dedup_max) {
            (None, 0) => None,
            (_, 0) => Some(Self { window_ms, ids_max: MAX_DEFAULT }),
            (_, ids_max) => Some(Self { window_ms, ids_max }),
        }
    }

    /// Most bytes of memory that it may come to.
    pub fn bytes(&self) -> u64 {
        self.ids_max.saturating_mul(ID_BYTES)
    }

    fn over_until(&self, now_ms: u64) -> Option<u64> {
        now_ms.checked_sub(self.window_ms?)
    }
}

/// The hashes of a stream; see the module.
#[derive(Clone, Debug)]
pub struct Dedup {
    limits: DedupLimits,
    secret: Secret,
    chunks: VecDeque<Slot>,
    /// Number of the first chunk; the others count on from it.
    first_chunk: u64,
    /// Rows of the first chunk that are gone.
    skipped: usize,
    len: u64,
    table: Table,
    /// Log position of its last change.
    changed: u64,
}

#[derive(Clone, Debug)]
struct Slot {
    /// Log position of its last change.
    changed: u64,
    chunk: Arc<Chunk>,
}

impl Dedup {
    /// Nothing kept yet.
    pub(crate) fn new(limits: DedupLimits, secret: Secret, position: u64) -> Self {
        Self {
            limits,
            secret,
            chunks: VecDeque::new(),
            first_chunk: 0,
            skipped: 0,
            len: 0,
            table: Table::of(limits.ids_max),
            changed: position,
        }
    }

    /// How long and how many.
    pub fn limits(&self) -> DedupLimits {
        self.limits
    }

    /// The key of its hashes.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// How many are kept, those that are over and not yet swept too.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many count at a time.
    pub fn count(&self, now_ms: u64) -> u64 {
        let over_until = self.limits.over_until(now_ms);
        self.len - over_until.map_or(0, |until_ms| self.count_until(until_ms))
    }

    /// What was kept under a hash, if it counts at `now_ms`.
    pub fn find(&self, hash: &Digest, now_ms: u64) -> Option<Kept> {
        let found = self.table.find(hash, |ordinal| self.hash_of(ordinal) == Some(hash))?;
        let (slot, row) = self.place(found)?;
        let kept = slot.chunk.get(row)?;
        let over = self.limits.over_until(now_ms).is_some_and(|until| kept.since_ms <= until);
        (!over).then_some(kept)
    }

    /// How many of the oldest go when another one comes.
    pub fn going(&self, now_ms: u64) -> u64 {
        self.surplus(now_ms, 1, GOING_MAX)
    }

    /// How many of the oldest a sweep takes away.
    pub fn sweeping(&self, now_ms: u64) -> u64 {
        self.surplus(now_ms, 0, SWEEP_MAX)
    }

    /// When the oldest is over, in unix milliseconds; 0 where there are too many.
    pub fn next_over_ms(&self) -> Option<u64> {
        if self.len > self.limits.ids_max {
            return Some(0);
        }
        let oldest = self.chunks.front()?.chunk.get(self.skipped)?;
        Some(oldest.since_ms.saturating_add(self.limits.window_ms?))
    }

    /// Memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|slot| slot.chunk.memory_bytes()).sum();
        let slots = self.chunks.capacity() * size_of::<Slot>();
        size_of::<Self>() + chunks + slots + self.table.memory_bytes()
    }

    /// How many of the oldest are over, or too many once so many more have come; at most so many.
    fn surplus(&self, now_ms: u64, coming: u64, most: u64) -> u64 {
        let many = (self.len + coming).saturating_sub(self.limits.ids_max);
        let is_over = |kept: &Kept| {
            let until_ms = self.limits.over_until(now_ms);
            until_ms.is_some_and(|until_ms| kept.since_ms <= until_ms)
        };
        let take = usize::try_from(most).unwrap_or(usize::MAX);
        let over = self.oldest().take(take).take_while(is_over).count() as u64;
        over.max(many).min(most).min(self.len)
    }

    /// How many are of a time up to this one, which is a prefix.
    fn count_until(&self, until_ms: u64) -> u64 {
        let whole = self.chunks.partition_point(|slot| slot.chunk.last_ms() <= until_ms);
        let full: u64 = self.chunks.iter().take(whole).map(|slot| slot.chunk.len() as u64).sum();
        let part = self.chunks.get(whole).map_or(0, |slot| slot.chunk.count_until(until_ms) as u64);
        (full + part).saturating_sub(self.skipped as u64)
    }

    fn oldest(&self) -> impl Iterator<Item = Kept> {
        let first = self.skipped;
        let slots = self.chunks.iter().enumerate();
        slots.flat_map(move |(at, slot)| {
            let from = if at == 0 { first } else { 0 };
            (from..slot.chunk.len()).filter_map(|row| slot.chunk.get(row))
        })
    }
}

/// Changes, by effects alone.
impl Dedup {
    pub(crate) fn set_limits(&mut self, position: u64, limits: DedupLimits) {
        self.limits = limits;
        self.changed = position;
        if self.table.is_small_for(limits.ids_max) {
            self.table = Table::of(limits.ids_max);
            self.fill_table();
        }
    }

    /// Keeps a hash; so many of the oldest go before.
    pub(crate) fn keep(&mut self, position: u64, kept: Kept, going: u64) {
        self.drop_oldest(position, going);
        let last_ms = self.chunks.back().map_or(0, |slot| slot.chunk.last_ms());
        let since_ms = kept.since_ms.max(last_ms);
        if self.chunks.back().is_none_or(|slot| slot.chunk.is_full(since_ms)) {
            if let Some(full) = self.chunks.back_mut() {
                Arc::make_mut(&mut full.chunk).shrink();
            }
            let chunk = Arc::new(Chunk::of_capacity(0, since_ms));
            self.chunks.push_back(Slot { changed: position, chunk });
        }
        let slot = self.chunks.back_mut().expect("one was made where there was none");
        let row = slot.chunk.len();
        Arc::make_mut(&mut slot.chunk).push(Kept { since_ms, ..kept });
        slot.changed = position;
        self.changed = position;
        self.len += 1;
        let ordinal = cut(self.first_chunk + self.chunks.len() as u64 - 1, row);
        self.note(&kept.hash, ordinal);
    }

    /// The oldest go, at most all.
    pub(crate) fn drop_oldest(&mut self, position: u64, count: u64) {
        let count = count.min(self.len);
        let Self { chunks, first_chunk, table, skipped, .. } = &mut *self;
        for _ in 0..count {
            let Some(front) = chunks.front() else { break };
            if let Some(hash) = front.chunk.hash(*skipped) {
                let ordinal = cut(*first_chunk, *skipped);
                table.remove(hash, ordinal, |other| hash_at(chunks, *first_chunk, other));
            }
            *skipped += 1;
            if *skipped >= front.chunk.len() {
                chunks.pop_front();
                *first_chunk += 1;
                *skipped = 0;
            }
        }
        self.len -= count;
        if count > 0 {
            self.changed = position;
        }
    }

    pub(crate) fn mark_changed(&mut self, position: u64) {
        self.changed = position;
        self.chunks.iter_mut().for_each(|slot| slot.changed = position);
    }

    fn note(&mut self, hash: &Digest, ordinal: u32) {
        let Self { chunks, first_chunk, table, .. } = self;
        table.insert(hash, ordinal, |other| hash_at(chunks, *first_chunk, other));
    }

    /// Puts everything into an empty table.
    fn fill_table(&mut self) {
        let Self { chunks, first_chunk, skipped, table, .. } = self;
        let hashes = || {
            let numbered = (*first_chunk..).zip(chunks.iter()).enumerate();
            numbered.flat_map(|(at, (number, slot))| {
                let from = if at == 0 { *skipped } else { 0 };
                let rows = slot.chunk.hashes().iter().enumerate().skip(from);
                rows.map(move |(row, hash)| (hash, cut(number, row)))
            })
        };
        table.fill(hashes);
    }

    fn hash_of(&self, ordinal: u32) -> Option<&Digest> {
        let (slot, row) = self.place(ordinal)?;
        slot.chunk.hash(row)
    }

    fn place(&self, ordinal: u32) -> Option<(&Slot, usize)> {
        place(&self.chunks, self.first_chunk, ordinal)
    }
}

/// Pieces of a checkpoint.
impl Dedup {
    /// Log position of its last change.
    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }

    /// Numbers of its chunks, and the log position of the last change of each.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (u64, u64)> {
        (self.first_chunk..).zip(self.chunks.iter().map(|slot| slot.changed))
    }

    /// Appends the head; see the module.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.secret.0);
        varint::put_u64(out, self.first_chunk);
        varint::put_u64(out, self.chunks.len() as u64);
        varint::put_u64(out, self.skipped as u64);
    }

    /// Appends the chunk of a number, if it is there.
    pub(crate) fn encode_chunk(&self, number: u64, out: &mut Vec<u8>) {
        let at = usize::try_from(number.wrapping_sub(self.first_chunk)).ok();
        if let Some(slot) = at.and_then(|at| self.chunks.get(at)) {
            slot.chunk.encode(out);
        }
    }

    /// The inverse of [`Dedup::encode`]; `chunk` finds a chunk by its number.
    pub(crate) fn decode<'a>(
        bytes: &[u8],
        limits: DedupLimits,
        chunk: impl Fn(u64) -> Option<&'a [u8]>,
    ) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let mut dedup = Self::new(limits, Secret(reader.take(16)?.try_into().ok()?), 0);
        dedup.first_chunk = reader.u64()?;
        let count = reader.u32()?;
        dedup.skipped = usize::try_from(reader.u64()?).ok()?;
        let mut last_ms = 0;
        for place in 0..u64::from(count) {
            let chunk = Chunk::decode(chunk(dedup.first_chunk.checked_add(place)?)?)?;
            if chunk.get(0)?.since_ms < last_ms {
                return None;
            }
            last_ms = chunk.last_ms();
            dedup.len += chunk.len() as u64;
            dedup.chunks.push_back(Slot { changed: 0, chunk: Arc::new(chunk) });
        }
        if dedup.chunks.front().map_or(0, |slot| slot.chunk.len()) <= dedup.skipped {
            // All of the first chunk gone: it would not be there. Without chunks nothing is.
            return (dedup.chunks.is_empty() && dedup.skipped == 0).then_some(dedup);
        }
        dedup.len -= dedup.skipped as u64;
        dedup.fill_table();
        Some(dedup)
    }
}

/// The slot and the row of an ordinal, where it is there.
fn place(chunks: &VecDeque<Slot>, first_chunk: u64, ordinal: u32) -> Option<(&Slot, usize)> {
    let rows = u32::try_from(CHUNK_ROWS).expect("small");
    let chunk = (ordinal / rows).wrapping_sub(low(first_chunk)) & (u32::MAX / rows);
    Some((chunks.get(chunk as usize)?, (ordinal % rows) as usize))
}

/// The hash of an ordinal that the table holds.
fn hash_at(chunks: &VecDeque<Slot>, first_chunk: u64, ordinal: u32) -> Digest {
    let found = place(chunks, first_chunk, ordinal).and_then(|(slot, row)| slot.chunk.hash(row));
    *found.expect("the table holds what is there")
}

/// An ordinal as the table keeps it.
fn cut(chunk: u64, row: usize) -> u32 {
    low(chunk.wrapping_mul(CHUNK_ROWS as u64).wrapping_add(row as u64))
}

#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
const fn low(number: u64) -> u32 {
    number as u32
}
