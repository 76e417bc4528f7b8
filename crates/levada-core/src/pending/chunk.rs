//! A chunk of a pending list: up to 256 entries in id order, 20 bytes each wherever that fits.
//!
//! A narrow chunk counts ids and delivery times from bases of its own, and cuts the rest to 16 bits
//! or less. One entry that does not fit makes the whole chunk wide, 40 bytes per entry, so that
//! every slot of a chunk has the same size and entry `i` is found without a walk. [`Chunk::pack`]
//! is the only place that chooses bases; it runs again whenever a chunk is split, merged or loaded,
//! so that a wide chunk does not stay wide for ever.
//!
//! Encoded, a chunk is self-contained and independent of how it stands in memory:
//!
//! ```text
//! chunk    := varint n (1..=256), entry * n
//! entry    := id time varint consumer, varint count, byte leases, byte flags
//! id       := first entry:   varint ms, varint seq
//!             same ms:       varint 0, varint(seq - previous.seq - 1)
//!             otherwise:     varint(ms - previous.ms), varint seq
//! time     := varint zigzag(delivered_ms - previous.delivered_ms), modulo 2^64, from 0
//! ```
//!
//! Ids thus ascend in whatever decodes.

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::{
    id::StreamId,
    varint::{self, Reader},
};

/// Entries that a chunk holds at most.
pub(super) const CHUNK_ENTRIES: usize = 256;
/// Slots of the smallest allocation; from there it doubles.
const SLOTS_MIN: usize = 4;
/// How far the base of delivery times stands below the oldest, so that an older one that comes
/// later (XCLAIM sets any time) rarely needs a new base. Half of what a slot can tell: 24 days.
const TIME_SLACK_MS: u64 = 1 << 31;

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Pending {
    /// The id of the entry in the stream.
    pub id: StreamId,
    /// Number of the consumer that it was delivered to last.
    pub consumer: u32,
    /// When it was delivered last, in milliseconds since the Unix epoch; clients can set it.
    pub delivered_ms: u64,
    /// How often it was delivered, as shown; clients can set it.
    pub count: u64,
    /// How often a lease on it was given out, stopping at 255.
    pub leases: u8,
    /// Bits whose meaning the group defines.
    pub flags: u8,
}

/// Up to [`CHUNK_ENTRIES`] entries in id order; see the module. Indexes are positions in it.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    base: Base,
    slots: Slots,
}

/// What the slots of a narrow chunk count from; without meaning in a wide one.
#[derive(Clone, Copy, Debug)]
struct Base {
    id: StreamId,
    delivered_ms: u64,
}

#[derive(Clone, Debug)]
enum Slots {
    Narrow(Vec<Slot>),
    Wide(Vec<Pending>),
}

/// An entry relative to a [`Base`].
#[derive(Clone, Copy, Debug)]
struct Slot {
    ms: u32,
    seq: u32,
    delivered_ms: u32,
    consumer: u16,
    count: u16,
    leases: u8,
    flags: u8,
}

const _: () = assert!(size_of::<Slot>() == 20, "the memory targets count on 20 bytes");

impl Chunk {
    /// A chunk of these entries, which must ascend: narrow if all of them fit.
    pub(super) fn pack(entries: &[Pending]) -> Self {
        debug_assert!(entries.len() <= CHUNK_ENTRIES && entries.is_sorted_by(|a, b| a.id < b.id));
        let base = Base::of(entries);
        let mut narrow = Vec::with_capacity(capacity_for(entries.len()));
        for entry in entries {
            match base.slot(entry) {
                Some(slot) => narrow.push(slot),
                None => {
                    return Self { base, slots: Slots::Wide(wide(entries)) };
                }
            }
        }
        let slots = Slots::Narrow(narrow);
        Self { base, slots }
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        match &self.slots {
            Slots::Narrow(slots) => slots.len(),
            Slots::Wide(slots) => slots.len(),
        }
    }

    /// Memory behind the chunk, itself included.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.slots {
                Slots::Narrow(slots) => slots.capacity() * size_of::<Slot>(),
                Slots::Wide(slots) => slots.capacity() * size_of::<Pending>(),
            }
    }

    /// The entry at `index`, which must be there.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Pending {
        match &self.slots {
            Slots::Narrow(slots) => self.base.entry(slots[index]),
            Slots::Wide(slots) => slots[index],
        }
    }

    /// All entries from `index` on.
    pub(super) fn iter_at(&self, index: usize) -> impl Iterator<Item = Pending> + '_ {
        (index..self.len()).map(|index| self.get(index))
    }

    /// The index of `id`, or as the error the index where it would be inserted.
    pub(super) fn search(&self, id: StreamId) -> Result<usize, usize> {
        let len = self.len();
        if len == 0 || self.get(len - 1).id < id {
            return Err(len);
        }
        match &self.slots {
            Slots::Narrow(slots) => slots.binary_search_by_key(&id, |slot| self.base.id(*slot)),
            Slots::Wide(slots) => slots.binary_search_by_key(&id, |slot| slot.id),
        }
    }

    /// The oldest delivery time, `u64::MAX` without entries. `floor` is a time that none is older
    /// than: an entry of that time ends the search.
    pub(super) fn oldest_ms(&self, floor: u64) -> u64 {
        self.oldest_of(floor, |_| true)
    }

    /// The same of the entries without flags.
    pub(super) fn leased_ms(&self, floor: u64) -> u64 {
        self.oldest_of(floor, |entry| entry.flags == 0)
    }

    fn oldest_of(&self, floor: u64, counts: impl Fn(&Pending) -> bool) -> u64 {
        let mut oldest = u64::MAX;
        for entry in self.iter_at(0).filter(counts) {
            oldest = oldest.min(entry.delivered_ms);
            if oldest <= floor {
                break;
            }
        }
        oldest
    }

    /// Replaces the entry at `index` by one of the same id.
    pub(super) fn set(&mut self, index: usize, entry: Pending) {
        match &mut self.slots {
            Slots::Narrow(slots) => match self.base.slot(&entry) {
                Some(slot) => slots[index] = slot,
                None => self.repack(|entries| entries[index] = entry),
            },
            Slots::Wide(slots) => slots[index] = entry,
        }
    }

    /// Inserts an entry at the index that [`Chunk::search`] named; the chunk must not be full.
    pub(super) fn insert(&mut self, index: usize, entry: Pending) {
        match &mut self.slots {
            Slots::Narrow(slots) => match self.base.slot(&entry) {
                Some(slot) => insert_growing(slots, index, slot),
                None => self.repack(|entries| entries.insert(index, entry)),
            },
            Slots::Wide(slots) => insert_growing(slots, index, entry),
        }
    }

    /// Adds entries of these ids behind the last, in all else like `like`. They must ascend, be
    /// above the last one, and not be more than there is room for.
    pub(super) fn extend(&mut self, ids: &[StreamId], like: Pending) {
        let entry = |id: &StreamId| Pending { id: *id, ..like };
        let base = self.base;
        match &mut self.slots {
            Slots::Narrow(slots) => {
                reserve(slots, ids.len());
                for (at, id) in ids.iter().enumerate() {
                    let Some(slot) = base.slot(&entry(id)) else {
                        return self.repack(|held| held.extend(ids[at..].iter().map(entry)));
                    };
                    slots.push(slot);
                }
            }
            Slots::Wide(slots) => {
                reserve(slots, ids.len());
                slots.extend(ids.iter().map(entry));
            }
        }
    }

    /// Takes out the entries of these ids, which ascend, from `index` on, telling `gone` of each.
    pub(super) fn remove_all(
        &mut self,
        index: usize,
        ids: &[StreamId],
        mut gone: impl FnMut(Pending),
    ) {
        let base = self.base;
        match &mut self.slots {
            Slots::Narrow(slots) => remove_ids(
                slots,
                index,
                ids,
                |slot| base.id(*slot),
                |slot| {
                    gone(base.entry(slot));
                },
            ),
            Slots::Wide(slots) => remove_ids(slots, index, ids, |held| held.id, gone),
        }
    }

    /// The index of the first entry at or above `id`, which is not below `hint`.
    pub(super) fn seek(&self, hint: usize, id: StreamId) -> usize {
        match &self.slots {
            Slots::Narrow(slots) => seek(slots, hint, id, |slot| self.base.id(*slot)),
            Slots::Wide(slots) => seek(slots, hint, id, |held| held.id),
        }
    }

    /// Takes out the entry at `index`.
    pub(super) fn remove(&mut self, index: usize) -> Pending {
        let removed = self.get(index);
        match &mut self.slots {
            Slots::Narrow(slots) => remove_shrinking(slots, index),
            Slots::Wide(slots) => remove_shrinking(slots, index),
        }
        removed
    }

    /// Appends the encoding; see the module.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        varint::put_u64(out, self.len() as u64);
        let mut previous: Option<Pending> = None;
        for entry in self.iter_at(0) {
            put_id_after(out, previous.map(|previous| previous.id), entry.id);
            let time = previous.map_or(0, |previous| previous.delivered_ms);
            let later = entry.delivered_ms.wrapping_sub(time).cast_signed();
            varint::put_u64(out, varint::zigzag(later));
            varint::put_u64(out, u64::from(entry.consumer));
            varint::put_u64(out, entry.count);
            out.extend_from_slice(&[entry.leases, entry.flags]);
            previous = Some(entry);
        }
    }

    /// The entries of [`Chunk::encode`]; `None` where the bytes are anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Pending>> {
        let mut reader = Reader::new(bytes);
        let count = reader.count()?;
        if count == 0 || count > CHUNK_ENTRIES {
            return None;
        }
        let mut entries: Vec<Pending> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = read_entry(&mut reader, entries.last())?;
            entries.push(entry);
        }
        reader.is_empty().then_some(entries)
    }

    /// Changes the entries one by one where a slot cannot hold the change.
    fn repack(&mut self, change: impl FnOnce(&mut Vec<Pending>)) {
        let mut entries = Vec::with_capacity(self.len() + 1);
        entries.extend(self.iter_at(0));
        change(&mut entries);
        *self = Self::pack(&entries);
    }
}

impl Base {
    /// Bases from which most entries fit into a slot, if any do.
    fn of(entries: &[Pending]) -> Self {
        let seqs = || entries.iter().map(|entry| entry.id.seq);
        // From 0 where possible, as the next id is likely to begin a millisecond with 0.
        let seq = match seqs().max() {
            Some(max) if max > u64::from(u32::MAX) => seqs().min().unwrap_or(0),
            _ => 0,
        };
        let ms = entries.first().map_or(0, |entry| entry.id.ms);
        let times = || entries.iter().map(|entry| entry.delivered_ms);
        let oldest = times().min().unwrap_or(0);
        let reach_newest = times().max().unwrap_or(0).saturating_sub(u64::from(u32::MAX));
        let with_slack = oldest.saturating_sub(TIME_SLACK_MS);
        Self { id: StreamId::new(ms, seq), delivered_ms: with_slack.max(reach_newest).min(oldest) }
    }

    fn slot(&self, entry: &Pending) -> Option<Slot> {
        Some(Slot {
            ms: offset(self.id.ms, entry.id.ms)?,
            seq: offset(self.id.seq, entry.id.seq)?,
            delivered_ms: offset(self.delivered_ms, entry.delivered_ms)?,
            consumer: u16::try_from(entry.consumer).ok()?,
            count: u16::try_from(entry.count).ok()?,
            leases: entry.leases,
            flags: entry.flags,
        })
    }

    #[inline]
    fn id(&self, slot: Slot) -> StreamId {
        StreamId::new(self.id.ms + u64::from(slot.ms), self.id.seq + u64::from(slot.seq))
    }

    #[inline]
    fn entry(&self, slot: Slot) -> Pending {
        Pending {
            id: self.id(slot),
            consumer: u32::from(slot.consumer),
            delivered_ms: self.delivered_ms + u64::from(slot.delivered_ms),
            count: u64::from(slot.count),
            leases: slot.leases,
            flags: slot.flags,
        }
    }
}

fn offset(base: u64, value: u64) -> Option<u32> {
    u32::try_from(value.checked_sub(base)?).ok()
}

fn wide(entries: &[Pending]) -> Vec<Pending> {
    let mut slots = Vec::with_capacity(capacity_for(entries.len()));
    slots.extend_from_slice(entries);
    slots
}

/// Slots to allocate for `len` of them: a small list stays small, a full chunk has none to spare.
fn capacity_for(len: usize) -> usize {
    len.next_power_of_two().clamp(SLOTS_MIN, CHUNK_ENTRIES)
}

fn insert_growing<T>(slots: &mut Vec<T>, index: usize, slot: T) {
    if slots.len() == slots.capacity() {
        // A copy of a chunk has no spare slots, so that doubling by itself would miss 256.
        slots.reserve_exact(capacity_for(slots.len() + 1) - slots.len());
    }
    slots.insert(index, slot);
}

fn reserve<T>(slots: &mut Vec<T>, more: usize) {
    let wanted = capacity_for(slots.len() + more);
    if wanted > slots.capacity() {
        slots.reserve_exact(wanted - slots.len());
    }
}

fn remove_shrinking<T>(slots: &mut Vec<T>, index: usize) {
    slots.remove(index);
    shrink(slots);
}

fn shrink<T>(slots: &mut Vec<T>) {
    let mut capacity = slots.capacity();
    while slots.len() <= capacity / 4 && capacity > SLOTS_MIN {
        capacity /= 2;
    }
    if capacity < slots.capacity() {
        slots.shrink_to(capacity.max(SLOTS_MIN));
    }
}

/// Takes out what has one of these ids, from `start` on: one walk up to the last of them, and one
/// move of what stands behind it.
fn remove_ids<T: Copy>(
    slots: &mut Vec<T>,
    start: usize,
    ids: &[StreamId],
    id_of: impl Fn(&T) -> StreamId,
    mut gone: impl FnMut(T),
) {
    let (mut from, mut to) = (start, start);
    let mut ids = ids.iter().copied().peekable();
    while let (Some(id), Some(slot)) = (ids.peek().copied(), slots.get(from).copied()) {
        match id.cmp(&id_of(&slot)) {
            Ordering::Less => {
                ids.next();
                continue;
            }
            Ordering::Equal => {
                ids.next();
                gone(slot);
            }
            Ordering::Greater => {
                slots[to] = slot;
                to += 1;
            }
        }
        from += 1;
    }
    slots.drain(to..from);
    shrink(slots);
}

/// See [`Chunk::seek`]: the next one or two are tried first, as ids are often asked for in order.
fn seek<T>(slots: &[T], hint: usize, id: StreamId, id_of: impl Fn(&T) -> StreamId) -> usize {
    let rest = slots.get(hint..).unwrap_or_default();
    match rest.iter().take(2).position(|slot| id_of(slot) >= id) {
        Some(near) => hint + near,
        None => hint + rest.partition_point(|slot| id_of(slot) < id),
    }
}

fn put_id_after(out: &mut Vec<u8>, previous: Option<StreamId>, id: StreamId) {
    match previous {
        None => varint::put_id(out, id),
        Some(previous) if previous.ms == id.ms => {
            varint::put_u64(out, 0);
            varint::put_u64(out, id.seq - previous.seq - 1);
        }
        Some(previous) => {
            varint::put_u64(out, id.ms - previous.ms);
            varint::put_u64(out, id.seq);
        }
    }
}

fn read_entry(reader: &mut Reader<'_>, previous: Option<&Pending>) -> Option<Pending> {
    let id = read_id_after(reader, previous.map(|previous| previous.id))?;
    let later = varint::unzigzag(reader.u64()?);
    let time = previous.map_or(0, |previous| previous.delivered_ms);
    Some(Pending {
        id,
        delivered_ms: time.wrapping_add_signed(later),
        consumer: reader.u32()?,
        count: reader.u64()?,
        leases: reader.u8()?,
        flags: reader.u8()?,
    })
}

fn read_id_after(reader: &mut Reader<'_>, previous: Option<StreamId>) -> Option<StreamId> {
    let read = reader.id()?;
    match previous {
        None => Some(read),
        Some(previous) if read.ms == 0 => {
            let seq = previous.seq.checked_add(read.seq)?.checked_add(1)?;
            Some(StreamId::new(previous.ms, seq))
        }
        Some(previous) => Some(StreamId::new(previous.ms.checked_add(read.ms)?, read.seq)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn entry(ms: u64, seq: u64) -> Pending {
        Pending {
            id: StreamId::new(ms, seq),
            consumer: 1,
            delivered_ms: 1_700_000_000_000,
            count: 1,
            leases: 1,
            flags: 0,
        }
    }

    fn is_narrow(chunk: &Chunk) -> bool {
        matches!(chunk.slots, Slots::Narrow(_))
    }

    #[test]
    fn holds_what_fits_in_a_slot_and_what_does_not() {
        let limit = u64::from(u32::MAX);
        let check = |change: &dyn Fn(&mut Pending), narrow: bool| {
            let mut changed = entry(20, 5);
            change(&mut changed);
            let mut chunk = Chunk::pack(&[entry(10, 5)]);
            chunk.insert(1, changed);
            assert_eq!(is_narrow(&chunk), narrow, "{changed:?}");
            assert_eq!([chunk.get(0), chunk.get(1)], [entry(10, 5), changed]);
            let mut chunk = Chunk::pack(&[entry(10, 5), entry(changed.id.ms, changed.id.seq)]);
            chunk.set(1, changed);
            assert_eq!(is_narrow(&chunk), narrow, "{changed:?}");
            assert_eq!([chunk.get(0), chunk.get(1)], [entry(10, 5), changed]);
        };
        check(&|e| e.id.ms = 10 + limit, true);
        check(&|e| e.id.ms = 11 + limit, false);
        check(&|e| e.id.seq = limit, true);
        check(&|e| e.id.seq = 5 + limit, true);
        check(&|e| e.id.seq = 6 + limit, false);
        check(&|e| e.count = 65_535, true);
        check(&|e| e.count = 65_536, false);
        check(&|e| e.count = i64::MAX as u64, false);
        check(&|e| e.consumer = 65_535, true);
        check(&|e| e.consumer = 65_536, false);
        check(&|e| e.delivered_ms -= TIME_SLACK_MS, true);
        check(&|e| e.delivered_ms -= TIME_SLACK_MS + 1, true);
        check(&|e| e.delivered_ms += limit, true);
        check(&|e| e.delivered_ms += limit + 1, false);
        check(&|e| e.delivered_ms -= limit, true);
        check(&|e| e.delivered_ms -= limit + 1, false);
        check(&|e| e.delivered_ms = 0, false);
        check(&|e| e.delivered_ms = u64::MAX, false);
        check(&|e| (e.leases, e.flags) = (255, 255), true);
    }

    #[test]
    fn large_sequences_count_from_the_smallest() {
        let seq = u64::MAX - 10;
        let chunk = Chunk::pack(&[entry(1, seq + 3), entry(2, seq), entry(2, seq + 10)]);
        assert!(is_narrow(&chunk));
        assert_eq!(chunk.search(StreamId::new(2, seq)), Ok(1));
        assert_eq!(chunk.search(StreamId::new(2, seq + 1)), Err(2));
        assert_eq!(chunk.get(2), entry(2, seq + 10));
    }

    #[test]
    fn memory_follows_the_number_of_entries() {
        let slots = |chunk: &Chunk| (chunk.memory_bytes() - size_of::<Chunk>()) / 20;
        let mut chunk = Chunk::pack(&[entry(0, 0)]);
        assert_eq!(slots(&chunk), 4);
        for seq in 1..256 {
            // A copy has no spare slots and must not grow past the end.
            chunk = if seq == 200 { chunk.clone() } else { chunk };
            chunk.insert(chunk.len(), entry(0, seq));
        }
        assert_eq!(slots(&chunk), 256);
        while chunk.len() > 64 {
            chunk.remove(0);
        }
        assert_eq!(slots(&chunk), 128);
        while chunk.len() > 1 {
            chunk.remove(chunk.len() - 1);
        }
        assert_eq!(slots(&chunk), 4);
    }

    #[test]
    fn refuses_malformed_bytes() {
        let mut bytes = Vec::new();
        Chunk::pack(&[entry(10, 5), entry(10, 9), entry(300, 0)]).encode(&mut bytes);
        assert_eq!(Chunk::decode(&bytes), Some(vec![entry(10, 5), entry(10, 9), entry(300, 0)]));
        for len in 0..bytes.len() {
            assert_eq!(Chunk::decode(&bytes[..len]), None, "cut to {len}");
        }
        bytes.push(0);
        assert_eq!(Chunk::decode(&bytes), None, "more than announced");
        assert_eq!(Chunk::decode(&[0]), None, "no entry");

        let mut past_the_end = Vec::new();
        Chunk::pack(&[entry(1, u64::MAX)]).encode(&mut past_the_end);
        past_the_end[0] = 2;
        past_the_end.extend_from_slice(&[0, 0, 0, 1, 1, 1, 0]);
        assert_eq!(Chunk::decode(&past_the_end), None, "sequence overflows");

        let mut too_many = vec![0x81, 0x02, 1, 0, 0, 1, 1, 1, 0];
        too_many.extend([0, 0, 0, 1, 1, 1, 0].repeat(256));
        assert_eq!(Chunk::decode(&too_many), None, "257 entries");
        (too_many[0], too_many[1]) = (0x80, 0x02);
        too_many.truncate(too_many.len() - 7);
        assert_eq!(Chunk::decode(&too_many).map(|e| e.len()), Some(256));
    }
}
