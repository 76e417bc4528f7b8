//! What is dropped while a reply that names it is being written: it stays readable until the last
//! of its readers lets go. Nothing of it survives a restart, as no reader does.

use std::collections::BTreeMap;

use super::ObjectNumber;

/// Objects that are read, and their blocks that are dropped: whatever a store needs to read them.
#[derive(Debug)]
pub(super) struct Held<T> {
    readers: BTreeMap<ObjectNumber, usize>,
    dropped: BTreeMap<(ObjectNumber, u64), T>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { readers: BTreeMap::new(), dropped: BTreeMap::new() }
    }
}

impl<T> Held<T> {
    /// One reader more.
    pub(super) fn hold(&mut self, object: ObjectNumber) {
        *self.readers.entry(object).or_default() += 1;
    }

    /// One reader fewer; what nobody reads any more.
    pub(super) fn let_go(&mut self, object: ObjectNumber) -> BTreeMap<(ObjectNumber, u64), T> {
        if let Some(readers) = self.readers.get_mut(&object) {
            *readers -= 1;
            if *readers > 0 {
                return BTreeMap::new();
            }
            self.readers.remove(&object);
        }
        self.dropped.extract_if((object, 0)..=(object, u64::MAX), |_, _| true).collect()
    }

    /// Takes a block over that is dropped, if somebody reads its object.
    pub(super) fn keep(&mut self, object: ObjectNumber, number: u64, block: T) -> Result<(), T> {
        if !self.readers.contains_key(&object) {
            return Err(block);
        }
        self.dropped.insert((object, number), block);
        Ok(())
    }

    /// A block that is dropped and kept.
    pub(super) fn get(&self, object: ObjectNumber, number: u64) -> Option<&T> {
        self.dropped.get(&(object, number))
    }

    /// Gives all of them up, whoever reads them.
    pub(super) fn give_up(&mut self) -> BTreeMap<(ObjectNumber, u64), T> {
        std::mem::take(&mut self.dropped)
    }
}
