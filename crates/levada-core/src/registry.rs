//! Names and numbers: groups of a stream, consumers of a group.
//!
//! A record in the log and a slot in a pending list hold a small number; people use names. A number
//! that fell free is given out again, the lowest first, so numbers stay small however many names
//! come and go. Iteration is in the order of names, as Redis lists groups and consumers.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

/// Values by name and by number. An empty one takes a pointer: most streams have no group.
#[derive(Clone, Debug)]
pub struct Registry<T> {
    held: Option<Box<Held<T>>>,
}

/// A name and its value; `None` where the number is free.
type Slot<T> = Option<(Arc<[u8]>, T)>;

#[derive(Clone, Debug)]
struct Held<T> {
    numbers: BTreeMap<Arc<[u8]>, u32>,
    slots: Vec<Slot<T>>,
    /// Empty slots below the last that is not.
    free: BTreeSet<u32>,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self { held: None }
    }
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { numbers: BTreeMap::new(), slots: Vec::new(), free: BTreeSet::new() }
    }
}

impl<T> Registry<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.numbers.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of a name.
    pub fn number(&self, name: &[u8]) -> Option<u32> {
        self.held.as_ref()?.numbers.get(name).copied()
    }

    /// The lowest number that is free.
    pub fn free_number(&self) -> u32 {
        let free = self.held.as_ref().and_then(|held| held.free.first().copied());
        free.unwrap_or_else(|| number_of(self.slots().len()))
    }

    /// The value of a number.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.slots().get(number as usize)?.as_ref().map(|(_, value)| value)
    }

    /// The value of a number, to be changed.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let slot = self.held.as_mut()?.slots.get_mut(number as usize)?;
        slot.as_mut().map(|(_, value)| value)
    }

    /// The name of a number.
    pub fn name(&self, number: u32) -> Option<&Arc<[u8]>> {
        self.slots().get(number as usize)?.as_ref().map(|(name, _)| name)
    }

    /// The value of a name, with its number.
    pub fn find(&self, name: &[u8]) -> Option<(u32, &T)> {
        let number = self.number(name)?;
        Some((number, self.get(number)?))
    }

    /// Puts a value under a number and a name, both free.
    pub fn insert(&mut self, number: u32, name: Arc<[u8]>, value: T) {
        let held = self.held.get_or_insert_default();
        let at = number as usize;
        if held.slots.len() <= at {
            held.free.extend(number_of(held.slots.len())..number);
            held.slots.resize_with(at + 1, || None);
        }
        assert!(held.slots[at].is_none(), "a number is given out once");
        held.free.remove(&number);
        held.numbers.insert(Arc::clone(&name), number);
        held.slots[at] = Some((name, value));
    }

    /// Takes a value out.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        let held = self.held.as_mut()?;
        let (name, value) = held.slots.get_mut(number as usize)?.take()?;
        held.numbers.remove(&name);
        held.free.insert(number);
        while held.slots.last().is_some_and(Option::is_none) {
            held.slots.pop();
            held.free.remove(&number_of(held.slots.len()));
        }
        if held.slots.is_empty() {
            self.held = None;
        }
        Some(value)
    }

    /// Names, numbers and values in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<[u8]>, u32, &T)> {
        let numbers = self.held.iter().flat_map(|held| &held.numbers);
        numbers.filter_map(|(name, number)| Some((name, *number, self.get(*number)?)))
    }

    fn slots(&self) -> &[Slot<T>] {
        self.held.as_ref().map_or(&[], |held| &held.slots)
    }
}

fn number_of(slot: usize) -> u32 {
    u32::try_from(slot).expect("names are bounded by memory far below 2^32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_out_again() {
        let mut registry = Registry::default();
        for name in ["b", "a", "c"] {
            let number = registry.free_number();
            registry.insert(number, name.as_bytes().into(), name);
        }
        assert_eq!(registry.number(b"a"), Some(1));
        assert_eq!(registry.remove(1), Some("a"));
        assert_eq!(registry.free_number(), 1);
        assert_eq!(registry.find(b"a"), None);
        let order: Vec<_> = registry.iter().map(|(_, number, value)| (number, *value)).collect();
        assert_eq!(order, [(0, "b"), (2, "c")]);
    }

    #[test]
    fn of_many_names_that_came_and_went_nothing_stays() {
        let mut registry = Registry::default();
        for number in 0..1000_u32 {
            assert_eq!(registry.free_number(), number);
            registry.insert(number, alloc::format!("{number}").into_bytes().into(), number);
        }
        // Every third stays to the last, so that slots fall free in the middle and at the end.
        let (last, first): (Vec<u32>, Vec<u32>) = (0..1000).partition(|number| number % 3 == 0);
        for number in first {
            assert_eq!(registry.remove(number), Some(number));
        }
        assert_eq!(registry.free_number(), 1);
        for number in last {
            assert_eq!(registry.remove(number), Some(number));
        }
        assert!(registry.held.is_none());
        assert_eq!(registry.free_number(), 0);
    }
}
