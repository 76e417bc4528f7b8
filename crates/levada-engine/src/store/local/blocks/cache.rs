//! Blocks used lately, bounded by the memory that they take.
//!
//! CLOCK: a hand goes round; who was used since it last passed gets another round. A block enters
//! unused, so that one long scan does not push out what is read again and again.

use std::{cell::Cell, collections::BTreeMap, sync::Arc};

use levada_core::block::Block;

use super::BlockKey;

/// See the module.
pub(super) struct Cache {
    bytes_max: usize,
    bytes: usize,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    index: BTreeMap<BlockKey, usize>,
    hand: usize,
}

struct Slot {
    key: BlockKey,
    block: Arc<Block>,
    used: Cell<bool>,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            slots: Vec::new(),
            free: Vec::new(),
            index: BTreeMap::new(),
            hand: 0,
        }
    }

    /// Memory of the blocks in it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, key: BlockKey) -> Option<Arc<Block>> {
        let slot = self.slots.get(*self.index.get(&key)?)?.as_ref()?;
        slot.used.set(true);
        Some(Arc::clone(&slot.block))
    }

    /// Puts a block in, and others out until everything fits; a block that alone does not fit is
    /// not kept.
    pub(super) fn insert(&mut self, key: BlockKey, block: Arc<Block>) {
        self.remove(key);
        let bytes = block.memory_bytes();
        if bytes > self.bytes_max {
            return;
        }
        while self.bytes + bytes > self.bytes_max {
            self.turn();
        }
        let slot = Some(Slot { key, block, used: Cell::new(false) });
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[place] = slot;
        self.index.insert(key, place);
        self.bytes += bytes;
    }

    pub(super) fn remove(&mut self, key: BlockKey) {
        if let Some(place) = self.index.get(&key).copied() {
            self.clear(place);
        }
    }

    /// Moves the hand over one slot.
    fn turn(&mut self) {
        self.hand = (self.hand + 1) % self.slots.len().max(1);
        let slot = self.slots.get(self.hand).and_then(Option::as_ref);
        if slot.is_some_and(|slot| !slot.used.replace(false)) {
            self.clear(self.hand);
        }
    }

    fn clear(&mut self, place: usize) {
        if let Some(slot) = self.slots.get_mut(place).and_then(Option::take) {
            self.index.remove(&slot.key);
            self.bytes -= slot.block.memory_bytes();
            self.free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> BlockKey {
        BlockKey { object: 1, number }
    }

    #[test]
    fn stays_within_its_bound_and_keeps_what_is_used() {
        let block = Arc::new(Block::new());
        let mut cache = Cache::new(10 * block.memory_bytes());
        for number in 0..100 {
            cache.insert(key(number), Arc::clone(&block));
            assert!(cache.get(key(0)).is_some(), "used all the time");
            assert!(cache.bytes <= cache.bytes_max);
        }
        assert_eq!(cache.index.len(), 10);
        assert!(cache.get(key(1)).is_none());
        cache.remove(key(0));
        assert!(cache.get(key(0)).is_none());
        assert_eq!(cache.bytes, 9 * block.memory_bytes());
    }

    #[test]
    fn what_alone_is_too_large_is_not_kept() {
        let mut cache = Cache::new(1);
        cache.insert(key(1), Arc::new(Block::new()));
        assert!(cache.get(key(1)).is_none());
        assert_eq!(cache.bytes, 0);
    }
}
