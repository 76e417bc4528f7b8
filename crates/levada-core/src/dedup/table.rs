//! Finds the place of a hash: 4 bytes of its ordinal and one of the hash, in parts that are shared
//! like chunks, so that behind a checkpoint nobody copies more than one part at a time.
//!
//! How many parts there are follows from how many ids may come, so that a part stays below some
//! 200 KB and grows by copying no more than that at once.

use alloc::{sync::Arc, vec, vec::Vec};

use hashbrown::HashTable;

use super::secret::{Digest, halves};

/// Ids that a part is made for.
const PART_IDS: u64 = 8192;
/// Ids in the parts that are filled at a time: about 10 MB of table.
const FILLED_IDS: usize = 1_500_000;
/// Most parts: beyond it they grow.
const PARTS_MAX: u64 = 4096;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// A power of two of them; `None` where nothing came yet.
    parts: Vec<Option<Arc<HashTable<u32>>>>,
}

impl Table {
    /// For so many ids.
    pub(super) fn of(ids_max: u64) -> Self {
        Self { parts: vec![None; Self::parts_for(ids_max)] }
    }

    /// Whether it is too small for so many ids to grow in small steps.
    pub(super) fn is_small_for(&self, ids_max: u64) -> bool {
        self.parts.len() < Self::parts_for(ids_max)
    }

    fn parts_for(ids_max: u64) -> usize {
        let parts = ids_max.div_ceil(PART_IDS).clamp(1, PARTS_MAX).next_power_of_two();
        usize::try_from(parts).expect("at most PARTS_MAX")
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let part = |part: &Arc<HashTable<u32>>| size_of_val(&**part) + part.allocation_size();
        let parts: usize = self.parts.iter().flatten().map(part).sum();
        parts + self.parts.len() * size_of::<Option<Arc<HashTable<u32>>>>()
    }

    /// The ordinal that has this hash and of which `is_it` holds.
    pub(super) fn find(&self, hash: &Digest, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let (at, short) = self.place(hash);
        let part = self.parts.get(at)?.as_ref()?;
        part.find(short, |ordinal| is_it(*ordinal)).copied()
    }

    /// Puts an ordinal in; `hash_of` tells those of the others.
    pub(super) fn insert(&mut self, hash: &Digest, ordinal: u32, hash_of: impl Fn(u32) -> Digest) {
        let (at, short) = self.place(hash);
        let part = Arc::make_mut(self.parts[at].get_or_insert_default());
        part.insert_unique(short, ordinal, |other| halves(&hash_of(*other)).0);
    }

    /// Puts all of these in, where nothing was before: as many parts at a time as a processor keeps
    /// at hand, and each part at its final size, so that nothing is moved.
    pub(super) fn fill<'h, I>(&mut self, hashes: impl Fn() -> I)
    where
        I: Iterator<Item = (&'h Digest, u32)>,
    {
        let mut counts = vec![0_usize; self.parts.len()];
        hashes().for_each(|(hash, _)| counts[self.place(hash).0] += 1);
        let mut first = 0;
        while first < counts.len() {
            let (mut end, mut ids) = (first, 0);
            while end < counts.len() && (end == first || ids + counts[end] <= FILLED_IDS) {
                ids += counts[end];
                end += 1;
            }
            let mut filled: Vec<HashTable<u32>> =
                counts[first..end].iter().map(|count| HashTable::with_capacity(*count)).collect();
            for (hash, ordinal) in hashes() {
                let (at, short) = self.place(hash);
                if let Some(part) = at.checked_sub(first).and_then(|at| filled.get_mut(at)) {
                    part.insert_unique(short, ordinal, |_| unreachable!("it has room for all"));
                }
            }
            for (at, part) in (first..end).zip(filled) {
                self.parts[at] = (!part.is_empty()).then(|| Arc::new(part));
            }
            first = end;
        }
    }

    /// Takes an ordinal out.
    pub(super) fn remove(&mut self, hash: &Digest, ordinal: u32, hash_of: impl Fn(u32) -> Digest) {
        let (at, short) = self.place(hash);
        let Some(Some(part)) = self.parts.get_mut(at) else { return };
        let part = Arc::make_mut(part);
        if let Ok(entry) = part.find_entry(short, |other| *other == ordinal) {
            entry.remove();
        }
        let len = part.len().max(16);
        if part.capacity() > 4 * len {
            part.shrink_to(2 * len, |other| halves(&hash_of(*other)).0);
        }
    }

    /// The part of a hash, and what finds it there: two independent halves.
    fn place(&self, hash: &Digest) -> (usize, u64) {
        let (low, high) = halves(hash);
        let mask = self.parts.len() as u64 - 1;
        (usize::try_from(high & mask).expect("below the number of parts"), low)
    }
}
