//! A stream as RDB types 15, 19, 21 and 26 have it, part by part.
//!
//! ```text
//! nodes n, then n * (string of 16 bytes: the base id, string: a listpack; see `node`)
//! length   last id
//!   from 19: first id, max deleted id, entries added
//! groups n, then n *:
//!   name (string)   last id
//!   from 19: entries read, u64::MAX where unknown
//!   pending n, then n * (id of 16 bytes, i64 le delivered at in ms, count)
//!   consumers n, then n *:
//!     name (string)   i64 le seen at in ms
//!     from 21: i64 le active at in ms, negative for never
//!     pending n, then n * id of 16 bytes: of those above
//! from 26:
//!   duration in s, entries at most, producers n, then n *:
//!     name (string)   entries n, then n * (iid (string), id)
//!   ids added   duplicates
//! ```
//!
//! Numbers and ids are lengths (see `source`), but for ids of 16 bytes: two u64 be.
//!
//! Source: `rdb.c` of Redis 5.0 to 8.6.3. Beyond what Redis checks, ids have to increase through
//! all of the stream and the counters have to fit the entries, as they do in every stream that a
//! server has written.

use std::collections::HashSet;

use crate::{
    error::{Error, Result},
    model::{Consumer, Group, Id, Idmp, Pending, Producer, StreamIds},
    node::Node,
    source::Source,
};

/// A part of a stream, in the order in which they come: entries, ids, groups, the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Node(Node),
    Ids(StreamIds),
    Group(Group),
    End(Option<Idmp>),
}

/// Types of streams.
pub(crate) mod kind {
    pub(crate) const LISTPACKS: u8 = 15;
    pub(crate) const LISTPACKS_2: u8 = 19;
    pub(crate) const LISTPACKS_3: u8 = 21;
    pub(crate) const LISTPACKS_4: u8 = 26;

    /// Whether a type is a stream.
    pub(crate) fn is_stream(kind: u8) -> bool {
        matches!(kind, LISTPACKS | LISTPACKS_2 | LISTPACKS_3 | LISTPACKS_4)
    }
}

/// Reads a stream.
#[derive(Debug)]
pub(crate) struct Parts {
    kind: u8,
    state: State,
    /// Live entries so far.
    length: u64,
    first_id: Id,
    /// The id of the last entry so far.
    top: Id,
    ids: StreamIds,
    groups: HashSet<Vec<u8>>,
}

#[derive(Debug)]
enum State {
    /// Before the first node.
    Start,
    /// Nodes left.
    Nodes(u64),
    /// Groups left.
    Groups(u64),
}

impl Parts {
    /// Begins a stream of a type that is one.
    pub(crate) fn new(kind: u8) -> Self {
        Self {
            kind,
            state: State::Start,
            length: 0,
            first_id: Id::default(),
            top: Id::default(),
            ids: StreamIds::default(),
            groups: HashSet::new(),
        }
    }

    /// The next part; not to be called behind [`Part::End`].
    pub(crate) fn next(&mut self, source: &mut impl Source) -> Result<Part> {
        if let State::Start = self.state {
            self.state = State::Nodes(source.plain()?);
        }
        match self.state {
            State::Nodes(0) | State::Start => {
                let ids = self.ids(source)?;
                self.state = State::Groups(source.plain()?);
                Ok(Part::Ids(ids))
            }
            State::Nodes(left) => {
                self.state = State::Nodes(left - 1);
                self.node(source).map(Part::Node)
            }
            State::Groups(0) => {
                let idmp = (self.kind >= kind::LISTPACKS_4).then(|| idmp(source)).transpose()?;
                Ok(Part::End(idmp))
            }
            State::Groups(left) => {
                self.state = State::Groups(left - 1);
                self.group(source).map(Part::Group)
            }
        }
    }

    fn node(&mut self, source: &mut impl Source) -> Result<Node> {
        let base = source.string()?;
        let base: [u8; 16] =
            base.try_into().map_err(|_| Error::Corrupt("the key of a node is no id"))?;
        let node = Node::check(id_of(base), source.string()?, self.top)?;
        if self.length == 0 {
            self.first_id = node.first().unwrap_or_default();
        }
        self.top = node.last();
        self.length += node.len();
        Ok(node)
    }

    fn ids(&mut self, source: &mut impl Source) -> Result<StreamIds> {
        let length = source.plain()?;
        let last_id = id(source)?;
        let (max_deleted_id, entries_added) = if self.kind >= kind::LISTPACKS_2 {
            // The first id, which the entries tell better.
            id(source)?;
            (id(source)?, source.plain()?)
        } else {
            (Id::default(), length)
        };
        if length != self.length {
            return Err(Error::Corrupt("a stream has another number of entries than it says"));
        }
        if last_id < self.top || max_deleted_id > last_id || entries_added < length {
            return Err(Error::Corrupt("the counters of a stream do not fit its entries"));
        }
        self.ids = StreamIds { last_id, max_deleted_id, entries_added };
        Ok(self.ids)
    }

    fn group(&mut self, source: &mut impl Source) -> Result<Group> {
        let name = source.string()?;
        if !self.groups.insert(name.clone()) {
            return Err(Error::Corrupt("two groups have the same name"));
        }
        let last_id = id(source)?;
        let entries_read = if self.kind >= kind::LISTPACKS_2 {
            Some(source.plain()?).filter(|read| *read != u64::MAX)
        } else {
            self.estimate_read(last_id)
        };
        let mut pending = pending(source)?;
        let mut owned = vec![false; pending.len()];
        let mut consumers = Vec::new();
        let mut names = HashSet::new();
        for number in 0..source.plain()? {
            let consumer = self.consumer(source)?;
            if !names.insert(consumer.name.clone()) {
                return Err(Error::Corrupt("two consumers have the same name"));
            }
            consumers.push(consumer);
            let number = usize::try_from(number).expect("as many are in memory");
            own(source, &mut pending, &mut owned, number)?;
        }
        if owned.contains(&false) {
            return Err(Error::Corrupt("a pending entry belongs to no consumer"));
        }
        Ok(Group { name, last_id, entries_read, pending, consumers })
    }

    fn consumer(&self, source: &mut impl Source) -> Result<Consumer> {
        let name = source.string()?;
        let seen_ms = source.time_ms()?;
        let active_ms = if self.kind >= kind::LISTPACKS_3 {
            u64::try_from(i64::from_le_bytes(source.array()?)).ok()
        } else {
            Some(seen_ms)
        };
        Ok(Consumer { name, seen_ms, active_ms })
    }

    /// How many entries stand at or before an id, where a stream in which nothing was deleted, of
    /// type 15, tells.
    fn estimate_read(&self, id: Id) -> Option<u64> {
        let StreamIds { last_id, entries_added, .. } = self.ids;
        if entries_added == 0 {
            return Some(0);
        }
        match () {
            () if id == last_id => Some(entries_added),
            () if id > last_id => None,
            () if id == self.first_id => Some(1),
            () if id < self.first_id => Some(0),
            () => None,
        }
    }
}

/// The pending list of a group, whose consumers are not known yet.
fn pending(source: &mut impl Source) -> Result<Vec<Pending>> {
    let mut pending: Vec<Pending> = Vec::new();
    for _ in 0..source.plain()? {
        let id = id_of(source.array()?);
        if pending.last().is_some_and(|last| last.id >= id) {
            return Err(Error::Corrupt("the pending entries of a group do not increase"));
        }
        let (delivered_ms, count) = (source.time_ms()?, source.plain()?);
        pending.push(Pending { id, delivered_ms, count, consumer: usize::MAX });
    }
    Ok(pending)
}

/// Gives a consumer its pending entries.
fn own(
    source: &mut impl Source,
    pending: &mut [Pending],
    owned: &mut [bool],
    consumer: usize,
) -> Result<()> {
    for _ in 0..source.plain()? {
        let id = id_of(source.array()?);
        let at = pending.binary_search_by_key(&id, |entry| entry.id);
        let at = at.map_err(|_| Error::Corrupt("a consumer has an entry that its group lacks"))?;
        if std::mem::replace(&mut owned[at], true) {
            return Err(Error::Corrupt("a pending entry belongs to two consumers"));
        }
        pending[at].consumer = consumer;
    }
    Ok(())
}

fn idmp(source: &mut impl Source) -> Result<Idmp> {
    let (duration_s, entries_max) = (source.plain()?, source.plain()?);
    if !(1..=86_400).contains(&duration_s) || !(1..=10_000).contains(&entries_max) {
        return Err(Error::Corrupt("the settings of idempotent producers are out of range"));
    }
    let mut producers = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..source.plain()? {
        let name = source.string()?;
        if !names.insert(name.clone()) {
            return Err(Error::Corrupt("two producers have the same name"));
        }
        let mut entries: Vec<(Vec<u8>, Id)> = Vec::new();
        let mut iids = HashSet::new();
        for _ in 0..source.plain()? {
            let (iid, id) = (source.string()?, id(source)?);
            // Redis passes over one that comes twice.
            if iids.insert(iid.clone()) {
                entries.push((iid, id));
            }
        }
        producers.push(Producer { name, entries });
    }
    let (added, duplicates) = (source.plain()?, source.plain()?);
    Ok(Idmp { duration_s, entries_max, producers, added, duplicates })
}

/// An id written as two lengths.
fn id(source: &mut impl Source) -> Result<Id> {
    Ok(Id::new(source.plain()?, source.plain()?))
}

/// An id written as 16 bytes.
fn id_of(bytes: [u8; 16]) -> Id {
    let (mut ms, mut seq) = ([0; 8], [0; 8]);
    ms.copy_from_slice(&bytes[..8]);
    seq.copy_from_slice(&bytes[8..]);
    Id::new(u64::from_be_bytes(ms), u64::from_be_bytes(seq))
}
