//! What keys hold, by their numbers.
//!
//! A command asks for its key several times, and the next one most often for the same: the place
//! of the last is kept, and every use of it checks whose it is. So most questions are answered with
//! one comparison, without a hash.

use alloc::vec::Vec;
use core::{
    cell::Cell,
    hash::{BuildHasherDefault, Hasher},
};

use hashbrown::HashMap;

use crate::keyspace::{KeyNumber, Object};

/// See the module.
#[derive(Default, Debug)]
pub(crate) struct Objects {
    /// In no order; it reaches no output.
    held: Vec<(KeyNumber, Object)>,
    /// The place of each number.
    places: HashMap<KeyNumber, usize, BuildHasherDefault<NumberHasher>>,
    /// The place that was asked for last, of whomever it is now.
    last: Cell<usize>,
}

/// Spreads numbers of keys. They are given out one after the other, nobody chooses them, and no
/// order of the table reaches an output: a multiplication is enough.
#[derive(Clone, Copy, Default, Debug)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

impl Objects {
    /// What was asked for last, unless it is gone: a guess at what is asked for next.
    #[inline]
    pub(crate) fn last(&self) -> Option<(KeyNumber, &Object)> {
        self.held.get(self.last.get()).map(|(number, object)| (*number, object))
    }

    /// The object of a number.
    #[inline]
    pub(crate) fn get(&self, number: KeyNumber) -> Option<&Object> {
        self.held.get(self.place(number)?).map(|(_, object)| object)
    }

    /// The object of a number, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, number: KeyNumber) -> Option<&mut Object> {
        let place = self.place(number)?;
        self.held.get_mut(place).map(|(_, object)| object)
    }

    /// The place of a number, for [`Objects::at`]; what was asked for last stays what it is.
    pub(crate) fn peek(&self, number: KeyNumber) -> Option<usize> {
        self.places.get(&number).copied()
    }

    /// The object at a place.
    pub(crate) fn at(&self, place: usize) -> Option<&Object> {
        self.held.get(place).map(|(_, object)| object)
    }

    /// All numbers, in no order.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = KeyNumber> + '_ {
        self.held.iter().map(|(number, _)| *number)
    }

    /// Puts an object in under a number that has none.
    pub(crate) fn insert(&mut self, number: KeyNumber, object: Object) {
        let before = self.places.insert(number, self.held.len());
        assert!(before.is_none(), "a number is given out once");
        self.held.push((number, object));
    }

    /// Takes an object out.
    pub(crate) fn remove(&mut self, number: KeyNumber) -> Option<Object> {
        let place = self.places.remove(&number)?;
        let (_, object) = self.held.swap_remove(place);
        if let Some((moved, _)) = self.held.get(place) {
            self.places.insert(*moved, place);
        }
        if self.held.len() <= self.held.capacity() / 4 {
            self.held.shrink_to(self.held.capacity() / 2);
        }
        Some(object)
    }

    #[inline]
    fn place(&self, number: KeyNumber) -> Option<usize> {
        match self.last() {
            Some((held, _)) if held == number => Some(self.last.get()),
            _ => self.look_up(number),
        }
    }

    fn look_up(&self, number: KeyNumber) -> Option<usize> {
        let place = *self.places.get(&number)?;
        self.last.set(place);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, sync::Arc};

    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::{Name, Value};

    fn object(changed: u64) -> Object {
        let value = Value::Text(Arc::from(&b"value"[..]));
        let name = Name::from_slice(b"name");
        Object { database: 0, name, expires_at_ms: None, changed, entries_changed: 0, value }
    }

    proptest! {
        #[test]
        fn every_number_has_its_own(ops in prop::collection::vec((0..4_u8, 0..20_u64), 1..300)) {
            let (mut objects, mut model) = (Objects::default(), BTreeMap::new());
            for (at, (op, number)) in (0..).zip(ops) {
                let key = KeyNumber(number);
                match op {
                    0 if !model.contains_key(&key) => {
                        objects.insert(key, object(at));
                        model.insert(key, at);
                    }
                    1 => {
                        let removed = objects.remove(key).map(|object| object.changed);
                        prop_assert_eq!(removed, model.remove(&key));
                    }
                    2 => if let Some(object) = objects.get_mut(key) {
                        object.changed = at;
                        prop_assert!(model.insert(key, at).is_some());
                    },
                    _ => {}
                }
                // One may have taken the place that was asked for last.
                for number in [number, number / 2, number] {
                    let found = objects.get(KeyNumber(number)).map(|object| object.changed);
                    prop_assert_eq!(found, model.get(&KeyNumber(number)).copied());
                }
                let mut numbers: Vec<_> = objects.numbers().collect();
                numbers.sort_unstable();
                prop_assert!(numbers.iter().eq(model.keys()));
            }
        }
    }
}
