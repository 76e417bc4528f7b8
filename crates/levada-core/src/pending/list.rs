//! The pending entries of a group: a directory of chunks in id order.
//!
//! Acknowledging, claiming and listing by age or consumer are all served from the one list: the
//! directory sums up each chunk (first id, oldest delivery, which consumers), so that a scan skips
//! the chunks without a match. At 256 entries per chunk a million entries have four thousand heads.
//!
//! The list is persistent: a clone shares every chunk, and a chunk that is shared is copied before
//! it changes. A checkpoint thus holds the list as it was while the list goes on. Each chunk has a
//! number and the log position of its last change, so that the next checkpoint writes only what
//! changed; a chunk whose number [`PendingList::chunks`] no longer lists is gone.
//!
//! Invariants: no chunk is empty; ids ascend within a chunk and from chunk to chunk; two neighbours
//! hold more than [`MERGE_ENTRIES`] together (loaded chunks excepted until they change); what a
//! [`Head`] says about its chunk is true, `consumers` being allowed bits too many.

use alloc::{
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
    vec::Vec,
};
use core::{cmp::Reverse, mem};

use super::chunk::{CHUNK_ENTRIES, Chunk, Pending};
use crate::id::StreamId;

mod bulk;
#[cfg(test)]
mod tests;
mod walk;

pub use walk::Walk;

/// Neighbours that hold no more than this together become one.
const MERGE_ENTRIES: usize = CHUNK_ENTRIES / 2;
/// Numbers of chunks are below this.
const NUMBERS: u64 = 1 << 32;
/// The two counters before what an `Arc` points to.
const ARC_BYTES: usize = 2 * size_of::<usize>();

/// The pending entries of a group, by id; cloning is O(chunks) and copies no entry.
///
/// A `position` is the log position of the change being applied; positions do not decrease.
#[derive(Clone, Debug, Default)]
pub struct PendingList {
    /// First out is the rule, hence a deque: removing the first chunk moves no other head.
    heads: VecDeque<Head>,
    len: u64,
    chunk_bytes: usize,
    /// Above every number used; [`NUMBERS`] when they are used up.
    next_number: u64,
}

/// A chunk of a list, as a checkpoint writes it.
#[derive(Clone, Copy, Debug)]
pub struct ChunkRef<'a> {
    head: &'a Head,
}

/// What the directory knows about a chunk.
#[derive(Clone, Debug)]
struct Head {
    first: StreamId,
    oldest_ms: u64,
    /// The oldest delivery of an entry without flags: one whose lease may end.
    leased_ms: u64,
    /// Bit `consumer % 64` is set if an entry may be of that consumer.
    consumers: u64,
    changed: u64,
    chunk: Arc<Chunk>,
    number: u32,
    /// Entries of the chunk, here to spare neighbours the way to it.
    len: u16,
}

impl ChunkRef<'_> {
    /// The number of the chunk, unique in its list. A number whose chunk is gone is not given to
    /// another one, except that after 2^32 of them all chunks are numbered anew, as changed.
    pub fn number(&self) -> u32 {
        self.head.number
    }

    /// The position of the last change.
    pub fn changed(&self) -> u64 {
        self.head.changed
    }

    /// Appends the entries, for [`PendingList::from_chunks`]: 7 to 48 bytes each, typically 8.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.head.chunk.encode(out);
    }
}

impl PendingList {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// The list of these chunks (number, position of the last change, encoded entries), in the
    /// order of [`PendingList::chunks`]. `None` where the bytes are not those of a chunk, ids do
    /// not ascend or a number comes twice.
    pub fn from_chunks<'a>(chunks: impl Iterator<Item = (u32, u64, &'a [u8])>) -> Option<Self> {
        let mut list = Self::new();
        let mut last = None;
        for (number, changed, bytes) in chunks {
            let entries = Chunk::decode(bytes)?;
            if last >= entries.first().map(|entry| entry.id) {
                return None;
            }
            last = entries.last().map(|entry| entry.id);
            list.len += entries.len() as u64;
            list.insert_head(list.heads.len(), Head::new(number, changed, &entries));
        }
        let mut numbers: Vec<u32> = list.heads.iter().map(|head| head.number).collect();
        numbers.sort_unstable();
        list.next_number = numbers.last().map_or(0, |&largest| u64::from(largest) + 1);
        numbers.is_sorted_by(|a, b| a < b).then_some(list)
    }

    /// Number of entries.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory that the list takes, itself included, as if it shared no chunk with a clone. O(1).
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.heads.capacity() * size_of::<Head>() + self.chunk_bytes
    }

    /// The smallest id.
    pub fn first(&self) -> Option<StreamId> {
        self.heads.front().map(|head| head.first)
    }

    /// The largest id.
    pub fn last(&self) -> Option<StreamId> {
        let head = self.heads.back()?;
        Some(head.chunk.get(head.len() - 1).id)
    }

    /// The entry of this id.
    pub fn get(&self, id: StreamId) -> Option<Pending> {
        let chunk = &self.heads[self.locate(id)?].chunk;
        Some(chunk.get(chunk.search(id).ok()?))
    }

    /// All entries from `from` on, by id.
    pub fn iter_from(&self, from: StreamId) -> impl Iterator<Item = Pending> + '_ {
        self.scan(from, |_| true)
    }

    /// The entries of a consumer from `from` on, by id. Chunks without any are skipped, unless a
    /// consumer whose number is the same modulo 64 has, or once had, entries there.
    pub fn iter_consumer(
        &self,
        consumer: u32,
        from: StreamId,
    ) -> impl Iterator<Item = Pending> + '_ {
        self.scan(from, move |head| head.may_hold(consumer))
            .filter(move |entry| entry.consumer == consumer)
    }

    /// The entries delivered at `delivered_at_most_ms` or before, from `from` on, by id. Chunks
    /// without any are skipped.
    pub fn iter_idle(
        &self,
        from: StreamId,
        delivered_at_most_ms: u64,
    ) -> impl Iterator<Item = Pending> + '_ {
        self.scan(from, move |head| head.oldest_ms <= delivered_at_most_ms)
            .filter(move |entry| entry.delivered_ms <= delivered_at_most_ms)
    }

    /// The first `limit` of the entries delivered at `delivered_at_most_ms` or before, by delivery
    /// time, then id. Chunks are visited oldest first, and none whose oldest comes too late.
    pub fn oldest_first(&self, delivered_at_most_ms: u64, limit: usize) -> Vec<Pending> {
        let by_age = |entry: &Pending| (entry.delivered_ms, entry.id);
        let mut bound = delivered_at_most_ms;
        let mut found: Vec<Pending> = Vec::new();
        if limit == 0 {
            return found;
        }
        let candidates = self.heads.iter().enumerate();
        let mut chunks: BinaryHeap<_> = candidates
            .filter(|(_, head)| head.oldest_ms <= bound)
            .map(|(at, head)| Reverse((head.oldest_ms, at)))
            .collect();
        while let Some(Reverse((oldest_ms, at))) = chunks.pop() {
            if oldest_ms > bound {
                break;
            }
            let entries = self.heads[at].chunk.iter_at(0);
            found.extend(entries.filter(|entry| entry.delivered_ms <= bound));
            // Cut back only when doubled, so that a large limit costs no more per entry.
            if found.len() / 2 >= limit {
                let (_, last, _) = found.select_nth_unstable_by_key(limit - 1, by_age);
                bound = last.delivered_ms;
                found.truncate(limit);
            }
        }
        found.sort_unstable_by_key(by_age);
        found.truncate(limit);
        found
    }

    /// The oldest delivery time.
    pub fn oldest(&self) -> Option<u64> {
        self.heads.iter().map(|head| head.oldest_ms).min()
    }

    /// The oldest delivery time of an entry without flags.
    pub fn oldest_leased(&self) -> Option<u64> {
        self.heads.iter().map(|head| head.leased_ms).min().filter(|ms| *ms < u64::MAX)
    }

    /// Entries without flags that were delivered at this time or before, chunk by chunk in id
    /// order, at most `limit`. Looks into no chunk without one.
    pub fn leased_until(&self, delivered_at_most_ms: u64, limit: usize) -> Vec<Pending> {
        let heads = self.heads.iter().filter(|head| head.leased_ms <= delivered_at_most_ms);
        let entries = heads.flat_map(|head| head.chunk.iter_at(0));
        let over = |entry: &Pending| entry.flags == 0 && entry.delivered_ms <= delivered_at_most_ms;
        entries.filter(over).take(limit).collect()
    }

    /// The oldest delivery time above `delivered_ms`. Looks into the chunks that hold an older one.
    pub fn oldest_above(&self, delivered_ms: u64) -> Option<u64> {
        let oldest = |head: &Head| {
            if head.oldest_ms > delivered_ms {
                return Some(head.oldest_ms);
            }
            let times = head.chunk.iter_at(0).map(|entry| entry.delivered_ms);
            times.filter(|time| *time > delivered_ms).min()
        };
        self.heads.iter().filter_map(oldest).min()
    }

    /// Inserts an entry, or replaces and returns the one of the same id. Above the last id O(1),
    /// else O(log entries).
    pub fn set(&mut self, position: u64, entry: Pending) -> Option<Pending> {
        let Some(at) = self.locate(entry.id) else {
            self.append_chunk(position, entry);
            return None;
        };
        match self.heads[at].chunk.search(entry.id) {
            Ok(index) => Some(self.replace(position, (at, index), entry)),
            Err(index) => {
                self.insert(position, (at, index), entry);
                None
            }
        }
    }

    /// Takes out and returns the entry of this id.
    pub fn remove(&mut self, position: u64, id: StreamId) -> Option<Pending> {
        let at = self.locate(id)?;
        let index = self.heads[at].chunk.search(id).ok()?;
        self.len -= 1;
        if self.heads[at].len == 1 {
            return Some(self.remove_head(at).chunk.get(0));
        }
        let removed = self.edit(position, at, |chunk| chunk.remove(index));
        let head = &mut self.heads[at];
        head.len -= 1;
        if index == 0 {
            head.first = head.chunk.get(0).id;
        }
        head.forget_time(removed.delivered_ms);
        self.merge_next(position, at);
        if let Some(before) = at.checked_sub(1) {
            self.merge_next(position, before);
        }
        Some(removed)
    }

    /// Takes out all entries of a consumer and returns how many there were.
    pub fn remove_consumer(&mut self, position: u64, consumer: u32) -> u64 {
        let before = self.len;
        let heads = mem::take(&mut self.heads);
        self.chunk_bytes = 0;
        for head in heads {
            let rest =
                if head.may_hold(consumer) { head.without(position, consumer) } else { Some(head) };
            let Some(rest) = rest else { continue };
            self.insert_head(self.heads.len(), rest);
            if let Some(before_last) = self.heads.len().checked_sub(2) {
                self.merge_next(position, before_last);
            }
        }
        self.len = self.heads.iter().map(|head| u64::from(head.len)).sum();
        before - self.len
    }

    /// Marks every chunk as changed: the list is that of a new group.
    pub(crate) fn mark_changed(&mut self, position: u64) {
        self.heads.iter_mut().for_each(|head| head.changed = position);
    }

    /// The chunks in id order.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkRef<'_>> {
        self.heads.iter().map(|head| ChunkRef { head })
    }

    /// The chunk at a place in that order.
    pub fn chunk(&self, index: usize) -> Option<ChunkRef<'_>> {
        self.heads.get(index).map(|head| ChunkRef { head })
    }

    /// The chunk that holds `id` if any does, and where it belongs; `None` in an empty list.
    fn locate(&self, id: StreamId) -> Option<usize> {
        let last = self.heads.len().checked_sub(1)?;
        if self.heads[last].first <= id {
            return Some(last);
        }
        let above = self.heads.partition_point(|head| head.first <= id);
        Some(above.saturating_sub(1))
    }

    /// The entries from `from` on of the chunks that `wanted` wants.
    fn scan<'a>(
        &'a self,
        from: StreamId,
        wanted: impl Fn(&Head) -> bool + 'a,
    ) -> impl Iterator<Item = Pending> + 'a {
        let start = self.locate(from).unwrap_or(0);
        let heads = self.heads.range(start..).filter(move |head| wanted(head));
        heads.flat_map(move |head| {
            let index = if head.first >= from {
                0
            } else {
                head.chunk.search(from).unwrap_or_else(|index| index)
            };
            head.chunk.iter_at(index)
        })
    }

    fn replace(&mut self, position: u64, (at, index): (usize, usize), entry: Pending) -> Pending {
        let old = self.heads[at].chunk.get(index);
        self.edit(position, at, |chunk| chunk.set(index, entry));
        let head = &mut self.heads[at];
        head.note(&entry);
        if (entry.delivered_ms, entry.flags) != (old.delivered_ms, old.flags) {
            head.forget_time(old.delivered_ms);
        }
        old
    }

    fn insert(&mut self, position: u64, (at, index): (usize, usize), entry: Pending) {
        let full = self.heads[at].len() == CHUNK_ENTRIES;
        if full && index == CHUNK_ENTRIES && at + 1 == self.heads.len() {
            return self.append_chunk(position, entry);
        }
        let (at, index) = if full { self.split(position, at, index) } else { (at, index) };
        self.edit(position, at, |chunk| chunk.insert(index, entry));
        let head = &mut self.heads[at];
        head.len += 1;
        head.first = head.first.min(entry.id);
        head.note(&entry);
        self.len += 1;
    }

    fn append_chunk(&mut self, position: u64, entry: Pending) {
        let number = self.take_number(position);
        self.insert_head(self.heads.len(), Head::new(number, position, &[entry]));
        self.len += 1;
    }

    /// Splits a chunk in halves; answers where the given place of the chunk is now.
    fn split(&mut self, position: u64, at: usize, index: usize) -> (usize, usize) {
        let number = self.take_number(position);
        let whole = self.remove_head(at);
        let entries: Vec<Pending> = whole.chunk.iter_at(0).collect();
        let (left, right) = entries.split_at(entries.len() / 2);
        self.insert_head(at, Head::new(number, position, right));
        self.insert_head(at, Head::new(whole.number, position, left));
        match index.checked_sub(left.len()) {
            Some(index) if index > 0 => (at + 1, index),
            _ => (at, index),
        }
    }

    /// Merges a chunk with the next one, if there is one and the two hold little enough.
    fn merge_next(&mut self, position: u64, at: usize) {
        let (Some(left), Some(right)) = (self.heads.get(at), self.heads.get(at + 1)) else {
            return;
        };
        if left.len() + right.len() > MERGE_ENTRIES {
            return;
        }
        let both = left.chunk.iter_at(0).chain(right.chunk.iter_at(0));
        let merged = Head::new(left.number, position, &both.collect::<Vec<_>>());
        self.remove_head(at + 1);
        self.remove_head(at);
        self.insert_head(at, merged);
    }

    /// Changes a chunk, copying it first if a clone shares it.
    fn edit<R>(&mut self, position: u64, at: usize, change: impl FnOnce(&mut Chunk) -> R) -> R {
        let head = &mut self.heads[at];
        self.chunk_bytes -= head.chunk.memory_bytes();
        let chunk = Arc::make_mut(&mut head.chunk);
        let result = change(chunk);
        self.chunk_bytes += chunk.memory_bytes();
        head.changed = position;
        result
    }

    fn insert_head(&mut self, at: usize, head: Head) {
        if self.heads.len() == self.heads.capacity() {
            // From one on, as most groups have few entries pending.
            self.heads.reserve_exact(self.heads.len().max(1));
        }
        self.chunk_bytes += ARC_BYTES + head.chunk.memory_bytes();
        self.heads.insert(at, head);
    }

    fn remove_head(&mut self, at: usize) -> Head {
        let head = self.heads.remove(at).expect("callers name a chunk that is there");
        self.chunk_bytes -= ARC_BYTES + head.chunk.memory_bytes();
        if self.heads.len() <= self.heads.capacity() / 4 {
            self.heads.shrink_to(self.heads.capacity() / 2);
        }
        head
    }

    /// A number for a new chunk. A list that empties after every entry uses one per entry, so that
    /// 2^32 can be used up: then all chunks get new numbers, and the next checkpoint writes all.
    fn take_number(&mut self, position: u64) -> u32 {
        if self.next_number == NUMBERS {
            for (number, head) in (0_u32..).zip(&mut self.heads) {
                head.number = number;
                head.changed = position;
            }
            self.next_number = self.heads.len() as u64;
        }
        let number = u32::try_from(self.next_number).expect("a list has less than 2^32 chunks");
        self.next_number += 1;
        number
    }
}

impl Head {
    /// A chunk of these entries, at least one, and what there is to know about it.
    fn new(number: u32, changed: u64, entries: &[Pending]) -> Self {
        let mut head = Self {
            first: entries[0].id,
            oldest_ms: u64::MAX,
            leased_ms: u64::MAX,
            consumers: 0,
            changed,
            chunk: Arc::new(Chunk::pack(entries)),
            number,
            len: chunk_len(entries.len()),
        };
        for entry in entries {
            head.note(entry);
        }
        head
    }

    fn len(&self) -> usize {
        usize::from(self.len)
    }

    fn may_hold(&self, consumer: u32) -> bool {
        self.consumers & consumer_bit(consumer) != 0
    }

    /// Counts in an entry that is now in the chunk.
    fn note(&mut self, entry: &Pending) {
        self.consumers |= consumer_bit(entry.consumer);
        self.oldest_ms = self.oldest_ms.min(entry.delivered_ms);
        if entry.flags == 0 {
            self.leased_ms = self.leased_ms.min(entry.delivered_ms);
        }
    }

    /// Counts out a delivery time that an entry of the chunk had until now.
    fn forget_time(&mut self, delivered_ms: u64) {
        self.forget_times(delivered_ms, delivered_ms);
    }

    /// Counts out the times of several: the oldest of all, and of those without flags.
    fn forget_times(&mut self, oldest_ms: u64, leased_ms: u64) {
        if oldest_ms == self.oldest_ms {
            self.oldest_ms = self.chunk.oldest_ms(oldest_ms);
        }
        if leased_ms == self.leased_ms {
            self.leased_ms = self.chunk.leased_ms(leased_ms);
        }
    }

    /// The chunk without the entries of a consumer, the same if it has none, `None` if all are.
    fn without(self, position: u64, consumer: u32) -> Option<Self> {
        let entries = self.chunk.iter_at(0);
        let rest: Vec<Pending> = entries.filter(|entry| entry.consumer != consumer).collect();
        match rest.len() {
            0 => None,
            len if len == self.len() => Some(self),
            _ => Some(Self::new(self.number, position, &rest)),
        }
    }
}

fn chunk_len(len: usize) -> u16 {
    u16::try_from(len).expect("a chunk holds at most 256 entries")
}

const fn consumer_bit(consumer: u32) -> u64 {
    1 << (consumer % 64)
}
