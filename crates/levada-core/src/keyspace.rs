//! Databases, names and numbers of keys.
//!
//! A key has a name, which people use and RENAME changes, and a number, which the log and the store
//! use and which is never given out again. SCAN goes by numbers: a key that is there all the while
//! is visited exactly once, whatever comes and goes beside it.

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};
use core::{hash::BuildHasher, hint::black_box};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::{command::Key, limits, objects::Objects, stream::Stream};

/// The number of a key: given at its creation, kept through RENAME, never used again. 0 is no key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct KeyNumber(pub u64);

/// The name of a key. A short one stands in the object itself: whoever looks a key up compares its
/// name, and among many keys every other place in memory is waited for.
pub type Name = SmallVec<[u8; 24]>;

/// A key and what it holds.
#[derive(Clone, Debug)]
pub struct Object {
    /// Where.
    pub database: u8,
    /// Its name.
    pub name: Name,
    /// When it expires, in unix milliseconds.
    pub expires_at_ms: Option<u64>,
    /// Log position of its last change.
    pub changed: u64,
    /// Log position of its last change that was not a delivery.
    pub entries_changed: u64,
    /// What it holds.
    pub value: Value,
}

impl Object {
    /// Whether its time is over: it is removed soon, and counts as missing until then.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|at_ms| at_ms < now_ms)
    }
}

/// What a key holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string.
    Text(Arc<[u8]>),
    /// A stream. Behind an [`Arc`] so that a checkpoint takes it by cloning a pointer.
    Stream(Arc<Stream>),
}

/// All keys.
#[derive(Debug)]
pub struct Keyspace {
    databases: Vec<Database>,
    objects: Objects,
    /// For names; see [`Keyspace::new`].
    hasher: FixedState,
    /// Keys by the time at which they expire.
    expiring: BTreeSet<(u64, KeyNumber)>,
    /// The next key's number.
    next: u64,
    /// Bytes of strings and their names.
    text_bytes: u64,
}

/// The names of one database.
#[derive(Debug)]
struct Database {
    /// By the hashes of their names, which stand with the objects. Lookup only: its order reaches
    /// no output. The hash is seeded, as clients choose the names.
    numbers: HashTable<KeyNumber>,
    order: BTreeSet<KeyNumber>,
    /// Log position of the last removal: an answer that a key is missing waits for it.
    removed: u64,
}

impl Keyspace {
    /// No keys. The seed protects against names chosen to collide; it is entropy handed down.
    pub fn new(seed: u64) -> Self {
        let database =
            |_| Database { numbers: HashTable::new(), order: BTreeSet::new(), removed: 0 };
        Self {
            databases: (0..limits::DATABASES).map(database).collect(),
            objects: Objects::default(),
            hasher: FixedState::with_seed(seed),
            expiring: BTreeSet::new(),
            next: 1,
            text_bytes: 0,
        }
    }

    /// Hashes names that clients choose; where they end up in tables reaches no output.
    pub(crate) fn hasher(&self) -> &FixedState {
        &self.hasher
    }

    /// The number that the next new key gets.
    pub fn next_number(&self) -> KeyNumber {
        KeyNumber(self.next)
    }

    /// Says that numbers below this one were given out.
    pub(crate) fn advance_to(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// The number of a key.
    pub fn number(&self, key: Key<'_>) -> Option<KeyNumber> {
        Some(self.find(key)?.0)
    }

    /// The key of a name.
    pub fn find(&self, key: Key<'_>) -> Option<(KeyNumber, &Object)> {
        let is_named =
            |object: &Object| object.database == key.database && *object.name == *key.name;
        let guess = self.objects.last().filter(|(_, object)| is_named(object));
        guess.or_else(|| self.look_up(key))
    }

    fn look_up(&self, key: Key<'_>) -> Option<(KeyNumber, &Object)> {
        let numbers = &self.databases.get(usize::from(key.database))?.numbers;
        let mut found = None;
        let number = numbers.find(self.hash(key.name), |number| {
            found = self.get(*number).filter(|object| *object.name == *key.name);
            found.is_some()
        });
        Some((*number?, found?))
    }

    /// Looks at what commands for these names will look at, and at nothing twice in a row that has
    /// to be waited for: among many keys that is most of what a short command takes, and of many
    /// names at once the processor fetches it together. Changes nothing, and is right for none but
    /// for most: a name whose hash begins like another's may be missed.
    pub fn warm<'a>(&self, database: u8, names: impl Iterator<Item = &'a [u8]>) {
        let Some(database) = self.databases.get(usize::from(database)) else {
            return;
        };
        let numbers = names.filter_map(|name| database.numbers.iter_hash(self.hash(name)).next());
        let numbers: SmallVec<[KeyNumber; 16]> = numbers.copied().collect();
        let places: SmallVec<[usize; 16]> =
            numbers.iter().filter_map(|number| self.objects.peek(*number)).collect();
        let stream = |place: &usize| match &self.objects.at(*place)?.value {
            Value::Stream(stream) => Some(&**stream),
            Value::Text(_) => None,
        };
        let streams: SmallVec<[&Stream; 16]> = places.iter().filter_map(stream).collect();
        let heads = streams.iter().map(|stream| stream.look_at_head()).fold(0, u64::wrapping_add);
        let tails = streams.iter().map(|stream| u64::from(stream.tail().look_at_ends()));
        black_box(tails.fold(heads, u64::wrapping_add));
    }

    fn hash(&self, name: &[u8]) -> u64 {
        self.hasher().hash_one(name)
    }

    /// The key of a number.
    pub fn get(&self, number: KeyNumber) -> Option<&Object> {
        self.objects.get(number)
    }

    /// The key of a number, to be changed. Name and expiry change by their own methods.
    pub(crate) fn get_mut(&mut self, number: KeyNumber) -> Option<&mut Object> {
        self.objects.get_mut(number)
    }

    /// How many keys a database has.
    pub fn len(&self, database: u8) -> usize {
        self.databases.get(usize::from(database)).map_or(0, |database| database.order.len())
    }

    /// How many keys of a database expire.
    pub fn expiring(&self, database: u8) -> usize {
        let here = |(_, number): &&(u64, KeyNumber)| {
            self.get(*number).is_some_and(|object| object.database == database)
        };
        self.expiring.iter().filter(here).count()
    }

    /// Bytes of strings and their names.
    pub fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// Keys of a database by number, from one on.
    pub fn iter_from(
        &self,
        database: u8,
        from: KeyNumber,
    ) -> impl Iterator<Item = (KeyNumber, &Name)> {
        let database = self.databases.get(usize::from(database));
        database
            .into_iter()
            .flat_map(move |database| database.order.range(from..))
            .filter_map(|number| Some((*number, &self.get(*number)?.name)))
    }

    /// Keys by the time at which they expire, nearest first.
    pub fn iter_expiring(&self) -> impl Iterator<Item = (u64, KeyNumber)> + '_ {
        self.expiring.iter().copied()
    }

    /// Keys whose time is over, nearest first, which are still there.
    pub fn iter_expired(&self, now_ms: u64) -> impl Iterator<Item = KeyNumber> + '_ {
        let expired = self.expiring.iter().take_while(move |(at_ms, _)| *at_ms < now_ms);
        expired.map(|(_, key)| *key)
    }

    /// All keys by number.
    pub(crate) fn numbers(&self) -> Vec<KeyNumber> {
        let mut numbers: Vec<_> = self.objects.numbers().collect();
        numbers.sort_unstable();
        numbers
    }

    /// Log position that an answer about a missing key of this database waits for.
    pub fn removed_position(&self, database: u8) -> u64 {
        self.databases.get(usize::from(database)).map_or(0, |database| database.removed)
    }

    /// Puts a new key in.
    pub(crate) fn insert(&mut self, number: KeyNumber, object: Object) {
        self.advance_to(number.0 + 1);
        if let Value::Text(value) = &object.value {
            self.text_bytes += (value.len() + object.name.len()) as u64;
        }
        if let Some(at_ms) = object.expires_at_ms {
            self.expiring.insert((at_ms, number));
        }
        let named = Key { database: object.database, name: &object.name };
        assert!(self.number(named).is_none(), "a name is free before a key takes it");
        let (hash, database) = (self.hash(&object.name), usize::from(object.database));
        self.objects.insert(number, object);
        let Self { databases, objects, hasher, .. } = self;
        let rehash = |held: &KeyNumber| {
            let name = objects.get(*held).map_or(&[][..], |object| &*object.name);
            hasher.hash_one(name)
        };
        databases[database].numbers.insert_unique(hash, number, rehash);
        databases[database].order.insert(number);
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, number: KeyNumber, position: u64) -> Option<Object> {
        let object = self.objects.remove(number)?;
        if let Value::Text(value) = &object.value {
            self.text_bytes -= (value.len() + object.name.len()) as u64;
        }
        if let Some(at_ms) = object.expires_at_ms {
            self.expiring.remove(&(at_ms, number));
        }
        let hash = self.hash(&object.name);
        let database = &mut self.databases[usize::from(object.database)];
        if let Ok(held) = database.numbers.find_entry(hash, |held| *held == number) {
            held.remove();
        }
        database.order.remove(&number);
        database.removed = position;
        Some(object)
    }

    /// Gives a string its value.
    pub(crate) fn set_text(&mut self, number: KeyNumber, value: &[u8]) {
        if let Some(Object { value: Value::Text(held), .. }) = self.objects.get_mut(number) {
            self.text_bytes = self.text_bytes - held.len() as u64 + value.len() as u64;
            *held = value.into();
        }
    }

    /// Makes a string longer.
    pub(crate) fn append_text(&mut self, number: KeyNumber, more: &[u8]) {
        if let Some(Object { value: Value::Text(held), .. }) = self.objects.get_mut(number) {
            self.text_bytes += more.len() as u64;
            *held = [held, more].concat().into();
        }
    }

    /// Gives a key its expiry, or none.
    pub(crate) fn set_expiry(&mut self, number: KeyNumber, at_ms: Option<u64>) {
        let Some(object) = self.objects.get_mut(number) else {
            return;
        };
        if let Some(before) = core::mem::replace(&mut object.expires_at_ms, at_ms) {
            self.expiring.remove(&(before, number));
        }
        if let Some(at_ms) = at_ms {
            self.expiring.insert((at_ms, number));
        }
    }

    /// Lets two databases change places: every key of theirs has changed.
    pub(crate) fn swap(&mut self, first: u8, second: u8, position: u64) -> Vec<KeyNumber> {
        if first == second {
            return Vec::new();
        }
        self.databases.swap(usize::from(first), usize::from(second));
        let mut changed = Vec::new();
        for number in [first, second] {
            let database = &mut self.databases[usize::from(number)];
            database.removed = position;
            for key in &database.order {
                let object = self.objects.get_mut(*key).expect("what has a name is there");
                object.database = number;
                object.changed = position;
                object.entries_changed = position;
                changed.push(*key);
            }
        }
        changed
    }

    /// Gives a key another name, which is free.
    pub(crate) fn rename(&mut self, number: KeyNumber, key: Key<'_>, position: u64) {
        if let Some(mut object) = self.remove(number, position) {
            object.database = key.database;
            object.name = key.name.into();
            self.insert(number, object);
        }
    }
}
