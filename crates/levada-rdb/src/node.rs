//! A node of a stream: some entries in one listpack, written as differences to the first.
//!
//! ```text
//! count      live entries
//! deleted    entries that are marked as deleted
//! names n    of the master entry
//! name * n
//! 0
//! entry * (count + deleted):
//!   flags      1: deleted, 2: the names are those of the master entry
//!   ms, seq    what is to be added to the id that the node is kept under
//!   without flag 2: number of fields, then (name, value) *
//!   with flag 2: value * n
//!   elements of this entry, this one not counted
//! ```
//!
//! Source: `t_stream.c` of Redis 8.6.3. Checked is what Redis checks of a payload that it does not
//! trust, and that the counts are right and the ids of live entries increase.

use crate::{
    error::{Error, Result},
    listpack::{self, Element, Elements},
    model::Id,
    number::Text,
};

/// The entry was deleted.
const DELETED: i64 = 1;
/// The names of the entry's fields are those of the master entry.
const SAME_NAMES: i64 = 2;

/// Some entries of a stream in order, checked, still packed: [`Node::entries`] unpacks one at a
/// time and copies nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    listpack: Vec<u8>,
    base: Id,
    count: u64,
    first: Id,
    last: Id,
}

/// An entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: Id,
    /// Names and values in order, at least one pair.
    pub fields: Vec<(Text<'a>, Text<'a>)>,
}

impl Node {
    /// Checks a node whose entries have to stand above `previous`.
    pub(crate) fn check(base: Id, listpack: Vec<u8>, previous: Id) -> Result<Self> {
        let mut rows = Rows::open(&listpack, base)?;
        let (count, all) = (rows.count, rows.left);
        let (mut live, mut first, mut last, mut elements) = (0, None, previous, rows.elements_read);
        for _ in 0..all {
            let row = rows.next()?;
            elements += row.elements;
            if let Some(entry) = row.entry {
                if entry.id <= last {
                    return Err(Error::Corrupt("the ids of entries do not increase"));
                }
                last = entry.id;
                first = first.or(Some(entry.id));
                live += 1;
            }
        }
        if rows.elements.left() > 0 {
            return Err(Error::Corrupt("a node has something behind its last entry"));
        }
        if live != count || listpack::announced(&listpack).is_some_and(|count| count != elements) {
            return Err(Error::Corrupt("a node has another number of entries than it says"));
        }
        Ok(Self { base, count, first: first.unwrap_or_default(), last, listpack })
    }

    /// The entries, by id.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rows = Rows::open(&self.listpack, self.base).ok();
        std::iter::from_fn(move || {
            let rows = rows.as_mut()?;
            while rows.left > 0 {
                rows.left -= 1;
                if let Some(entry) = rows.next().ok()?.entry {
                    return Some(entry);
                }
            }
            None
        })
    }

    /// How many entries it has; a node may have none.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that it takes packed.
    pub fn bytes(&self) -> usize {
        self.listpack.len()
    }

    /// The id of the first entry, if there is one.
    pub(crate) fn first(&self) -> Option<Id> {
        (self.count > 0).then_some(self.first)
    }

    /// The id of the last entry; where there is none, of the last one before.
    pub(crate) fn last(&self) -> Id {
        self.last
    }
}

/// Reads entries, deleted ones included.
struct Rows<'a> {
    elements: Elements<'a>,
    base: Id,
    names: Vec<Text<'a>>,
    /// Live entries that the node announces.
    count: u64,
    /// Entries, deleted ones included, that it announces and that were not read.
    left: u64,
    /// Elements before the first entry.
    elements_read: usize,
}

/// One entry as it stands there.
struct Row<'a> {
    /// `None` for a deleted one.
    entry: Option<Entry<'a>>,
    /// Elements that it took.
    elements: usize,
}

impl<'a> Rows<'a> {
    fn open(listpack: &'a [u8], base: Id) -> Result<Self> {
        let mut elements = listpack::elements(listpack)?;
        let count = elements.count()?;
        let deleted = elements.count()?;
        let names = elements.count()?;
        let names = texts(&mut elements, names)?;
        if elements.integer()? != 0 {
            return Err(Error::Corrupt("the master entry does not end"));
        }
        let left = count.checked_add(deleted).ok_or(Error::Corrupt("a node has no end"))?;
        let elements_read = names.len() + 4;
        Ok(Self { elements, base, names, count, left, elements_read })
    }

    fn next(&mut self) -> Result<Row<'a>> {
        let elements = &mut self.elements;
        let flags = elements.integer()?;
        let (ms, seq) = (elements.integer()?, elements.integer()?);
        let same = flags & SAME_NAMES != 0;
        let len = if same { self.names.len() as u64 } else { elements.count()? };
        // An element takes two bytes at least, so that this bounds what is set aside.
        let len = usize::try_from(len).ok().filter(|len| *len <= elements.left() / 2);
        let len = len.ok_or(Error::Corrupt("an entry has more fields than bytes"))?;
        let mut fields = Vec::with_capacity(len);
        for at in 0..len {
            let name = if same { self.names[at] } else { text(elements)? };
            fields.push((name, text(elements)?));
        }
        let own = if same { len + 3 } else { 2 * len + 4 };
        if elements.count()? != own as u64 {
            return Err(Error::Corrupt("an entry has another number of elements than it says"));
        }
        let deleted = flags & DELETED != 0;
        if fields.is_empty() && !deleted {
            return Err(Error::Corrupt("an entry has no fields"));
        }
        let id =
            Id::new(self.base.ms.wrapping_add_signed(ms), self.base.seq.wrapping_add_signed(seq));
        Ok(Row { entry: (!deleted).then_some(Entry { id, fields }), elements: own + 1 })
    }
}

fn text<'a>(elements: &mut Elements<'a>) -> Result<Text<'a>> {
    Ok(match elements.next()? {
        Element::Bytes(bytes) => bytes.into(),
        Element::Integer(number) => Text::of(number),
    })
}

fn texts<'a>(elements: &mut Elements<'a>, count: u64) -> Result<Vec<Text<'a>>> {
    (0..count).map(|_| text(elements)).collect()
}
