//! What is scheduled in a stream: which of its entries are due when, and how such an entry and its
//! stream are called.
//!
//! The payloads are entries of an ordinary stream beside the target ([`name_of`]); here is what
//! makes them a schedule: an ordered set of times and ids, 24 bytes each. Like a pending list it is
//! persistent: a clone shares every chunk, a shared chunk is copied before it changes, and each
//! chunk has a number and the log position of its last change, so that a checkpoint writes what
//! changed and nothing else.
//!
//! Invariants: no chunk is empty; rows ascend within a chunk and from chunk to chunk; two
//! neighbours hold more than [`MERGE_ROWS`] together (loaded chunks excepted until they change).
//!
//! ```text
//! head  := varint n, varint number * n      the chunks in order
//! chunk := varint n (1..=256), row * n
//! row   := varint(due - previous due), varint zigzag(due - id.ms) modulo 2^64, varint id.seq
//! ```

use alloc::{collections::VecDeque, sync::Arc, vec::Vec};

use crate::{
    fields::Fields,
    id::StreamId,
    varint::{self, Reader, put_bytes, put_u64},
};

#[cfg(test)]
mod tests;

/// What the name of a schedule ends with.
const SUFFIX: &[u8] = b":sched";
/// What the names of fields begin with that the server adds to a scheduled entry.
pub const FIELD_PREFIX: &[u8] = b"x-sched-";
/// The last field of a scheduled entry: when it is due, in unix milliseconds.
const AT: &[u8] = b"x-sched-at";
/// The producer, where the entry is appended idempotently; stands before the next one.
const PID: &[u8] = b"x-sched-pid";
/// The idempotent id; stands before the last field.
const IID: &[u8] = b"x-sched-iid";
/// Rows that a chunk holds at most.
const CHUNK_ROWS: usize = 256;
/// Neighbours that hold no more than this together become one.
const MERGE_ROWS: usize = CHUNK_ROWS / 2;
/// Numbers of chunks are below this.
const NUMBERS: u64 = 1 << 32;

/// The stream in which entries for a key are scheduled: `key:sched` where the key has a hash tag,
/// else `{key}:sched`, so that both share a slot. [`target_of`] is not its inverse for a key that
/// is nothing but a hash tag: that name is the one of the key within the braces.
pub fn name_of(key: &[u8]) -> Vec<u8> {
    match is_tagged(key) {
        true => [key, SUFFIX].concat(),
        false => [b"{", key, b"}", SUFFIX].concat(),
    }
}

/// The key for which entries are scheduled in the stream of this name; `None` where it is no name
/// of a schedule.
pub fn target_of(name: &[u8]) -> Option<&[u8]> {
    let stem = name.strip_suffix(SUFFIX)?;
    let within = stem.strip_prefix(b"{").and_then(|stem| stem.strip_suffix(b"}"));
    match within.filter(|within| !is_tagged(within)) {
        Some(within) => Some(within),
        None => is_tagged(stem).then_some(stem),
    }
}

/// Whether a part of the name alone decides its slot in a cluster.
pub(crate) fn is_tagged(name: &[u8]) -> bool {
    name.iter().position(|byte| *byte == b'{').is_some_and(|open| {
        let close = name[open..].iter().position(|byte| *byte == b'}');
        close.is_some_and(|close| close > 1)
    })
}

/// An entry of a schedule, as it stands in its stream.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// What the client gave.
    pub fields: Fields<'a>,
    /// When it is due, in unix milliseconds.
    pub at_ms: u64,
    /// Producer and idempotent id, where it is appended idempotently.
    pub once: Option<(&'a [u8], &'a [u8])>,
}

impl Payload<'_> {
    /// The fields of its entry in the schedule, encoded: the client's, then the server's.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.fields.bytes() + 64);
        let added = if self.once.is_some() { 3 } else { 1 };
        put_u64(&mut out, (self.fields.len() + added) as u64);
        for (name, value) in self.fields.iter() {
            put_bytes(&mut out, name);
            put_bytes(&mut out, value);
        }
        if let Some((pid, iid)) = self.once {
            put_bytes(&mut out, PID);
            put_bytes(&mut out, pid);
            put_bytes(&mut out, IID);
            put_bytes(&mut out, iid);
        }
        put_bytes(&mut out, AT);
        put_bytes(&mut out, alloc::format!("{}", self.at_ms).as_bytes());
        out
    }
}

/// What [`Payload::encode`] made, taken apart again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unpacked {
    /// The client's fields, encoded.
    pub fields: Vec<u8>,
    /// When it is due, in unix milliseconds.
    pub at_ms: u64,
    /// Producer and idempotent id.
    pub once: Option<(Vec<u8>, Vec<u8>)>,
}

impl Unpacked {
    /// Takes an entry's pairs apart; `None` where they are not those of a scheduled entry.
    pub fn of(mut pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Option<Self> {
        let (_, at) = pairs.pop_if(|(name, _)| name == AT)?;
        let at_ms = crate::id::parse_u64(&at)?;
        let once = pairs.pop_if(|(name, _)| name == IID);
        let once = match once {
            Some((_, iid)) => Some((pairs.pop_if(|(name, _)| name == PID)?.1, iid)),
            None => None,
        };
        let mut fields = Vec::new();
        put_u64(&mut fields, pairs.len() as u64);
        for (name, value) in &pairs {
            put_bytes(&mut fields, name);
            put_bytes(&mut fields, value);
        }
        Some(Self { fields, at_ms, once })
    }
}

/// An entry and when it is due, in unix milliseconds. Ordered by time, then id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Due {
    /// When.
    pub at_ms: u64,
    /// Its id in the schedule's stream: the handle.
    pub id: StreamId,
}

const _: () = assert!(size_of::<Due>() == 24, "the memory targets count on 24 bytes");

/// What is scheduled; see the module. A `position` is the log position of the change being applied;
/// positions do not decrease.
#[derive(Clone, Default, Debug)]
pub struct Schedule {
    /// What is due first goes first, hence a deque.
    chunks: VecDeque<Chunk>,
    len: u64,
    /// Above every number used.
    next_number: u64,
    changed: u64,
}

#[derive(Clone, Debug)]
struct Chunk {
    rows: Arc<Vec<Due>>,
    first: Due,
    changed: u64,
    number: u32,
}

impl Schedule {
    /// How many entries are scheduled.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What is due first.
    pub fn first(&self) -> Option<Due> {
        self.chunks.front().map(|chunk| chunk.first)
    }

    /// All of it, in order.
    pub fn iter(&self) -> impl Iterator<Item = Due> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.rows.iter().copied())
    }

    /// Whether this entry is scheduled at this time.
    pub fn contains(&self, due: Due) -> bool {
        let chunk = self.chunks.get(self.locate(due));
        chunk.is_some_and(|chunk| chunk.rows.binary_search(&due).is_ok())
    }

    /// Memory that it takes, as if it shared no chunk with a clone.
    pub fn memory_bytes(&self) -> usize {
        let rows: usize = self.chunks.iter().map(|chunk| chunk.rows.capacity()).sum();
        size_of::<Self>() + self.chunks.capacity() * size_of::<Chunk>() + rows * size_of::<Due>()
    }

    /// Adds an entry; nothing where it is there.
    pub fn insert(&mut self, position: u64, due: Due) {
        let (at, chunks) = (self.locate(due), self.chunks.len());
        let Some(chunk) = self.chunks.get_mut(at) else {
            let number = self.number(position);
            self.chunks.push_back(Chunk::new(number, position, Vec::from([due])));
            return self.grown(position);
        };
        let Err(index) = chunk.rows.binary_search(&due) else {
            return;
        };
        if chunk.rows.len() < CHUNK_ROWS {
            chunk.edit(position, |rows| rows.insert(index, due));
            return self.grown(position);
        }
        // Ascending times fill chunks; others split them.
        let mut above = match at + 1 == chunks && index == CHUNK_ROWS {
            true => Vec::new(),
            false => chunk.edit(position, |rows| rows.split_off(CHUNK_ROWS / 2)),
        };
        match index.checked_sub(chunk.rows.len()) {
            Some(index) if index > 0 || above.is_empty() => above.insert(index, due),
            _ => chunk.edit(position, |rows| rows.insert(index, due)),
        }
        let number = self.number(position);
        self.chunks.insert(at + 1, Chunk::new(number, position, above));
        self.grown(position);
    }

    /// Takes an entry out; whether it was there.
    pub fn remove(&mut self, position: u64, due: Due) -> bool {
        let at = self.locate(due);
        let Some(chunk) = self.chunks.get_mut(at) else {
            return false;
        };
        let Ok(index) = chunk.rows.binary_search(&due) else {
            return false;
        };
        self.len -= 1;
        self.changed = position;
        if chunk.rows.len() == 1 {
            self.chunks.remove(at);
            return true;
        }
        chunk.edit(position, |rows| rows.remove(index));
        self.merge_next(position, at);
        if let Some(before) = at.checked_sub(1) {
            self.merge_next(position, before);
        }
        true
    }

    /// The position of the last change.
    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }

    /// Places and last changes of the chunks, in order.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.chunks.iter().enumerate().map(|(at, chunk)| (at, chunk.changed))
    }

    /// Appends the numbers of the chunks.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.chunks.len() as u64);
        self.chunks.iter().for_each(|chunk| put_u64(out, u64::from(chunk.number)));
    }

    /// Appends the chunk at a place; its number.
    pub(crate) fn encode_chunk(&self, at: usize, out: &mut Vec<u8>) -> Option<u32> {
        let chunk = self.chunks.get(at)?;
        put_u64(out, chunk.rows.len() as u64);
        let mut previous_ms = 0;
        for Due { at_ms, id } in chunk.rows.iter() {
            put_u64(out, at_ms - previous_ms);
            put_u64(out, varint::zigzag(at_ms.wrapping_sub(id.ms).cast_signed()));
            put_u64(out, id.seq);
            previous_ms = *at_ms;
        }
        Some(chunk.number)
    }

    /// The inverse: `bytes` finds a chunk by its number. `None` where they are malformed.
    pub(crate) fn decode<'a>(head: &[u8], bytes: impl Fn(u32) -> Option<&'a [u8]>) -> Option<Self> {
        let mut reader = Reader::new(head);
        let mut schedule = Self::default();
        for _ in 0..reader.count()? {
            let number = reader.u32()?;
            let rows = decode_rows(bytes(number)?)?;
            let last = schedule.chunks.back().and_then(|chunk| chunk.rows.last());
            if last >= rows.first() {
                return None;
            }
            schedule.len += rows.len() as u64;
            schedule.next_number = schedule.next_number.max(u64::from(number) + 1);
            schedule.chunks.push_back(Chunk::new(number, 0, rows));
        }
        Some(schedule)
    }

    fn grown(&mut self, position: u64) {
        self.len += 1;
        self.changed = position;
    }

    /// A number for a new chunk. After 2^32 of them all are numbered anew, as changed.
    fn number(&mut self, position: u64) -> u32 {
        if self.next_number == NUMBERS {
            for (number, chunk) in (0..).zip(&mut self.chunks) {
                (chunk.number, chunk.changed) = (number, position);
            }
            self.next_number = self.chunks.len() as u64;
        }
        self.next_number += 1;
        u32::try_from(self.next_number - 1).expect("numbers are below 2^32")
    }

    /// The chunk that holds the row if any does, and where it belongs; 0 where there is none.
    fn locate(&self, due: Due) -> usize {
        self.chunks.partition_point(|chunk| chunk.first <= due).saturating_sub(1)
    }

    fn merge_next(&mut self, position: u64, at: usize) {
        let rows = |at: usize| self.chunks.get(at).map(|chunk| chunk.rows.len());
        if let (Some(here), Some(next)) = (rows(at), rows(at + 1))
            && here + next <= MERGE_ROWS
            && let Some(next) = self.chunks.remove(at + 1)
            && let Some(chunk) = self.chunks.get_mut(at)
        {
            chunk.edit(position, |rows| rows.extend_from_slice(&next.rows));
        }
    }
}

impl Chunk {
    fn new(number: u32, changed: u64, rows: Vec<Due>) -> Self {
        let first = rows.first().copied().unwrap_or_default();
        Self { rows: Arc::new(rows), first, changed, number }
    }

    fn edit<R>(&mut self, position: u64, edit: impl FnOnce(&mut Vec<Due>) -> R) -> R {
        let edited = edit(Arc::make_mut(&mut self.rows));
        self.changed = position;
        self.first = self.rows.first().copied().unwrap_or_default();
        edited
    }
}

/// The rows of a chunk; `None` where they do not ascend or there are none.
fn decode_rows(bytes: &[u8]) -> Option<Vec<Due>> {
    let mut reader = Reader::new(bytes);
    let mut rows: Vec<Due> = Vec::new();
    for _ in 0..reader.count().filter(|count| (1..=CHUNK_ROWS).contains(count))? {
        let previous = rows.last().copied();
        let at_ms = previous.map_or(0, |due| due.at_ms).checked_add(reader.u64()?)?;
        let ms = at_ms.wrapping_sub(varint::unzigzag(reader.u64()?).cast_unsigned());
        let due = Due { at_ms, id: StreamId::new(ms, reader.u64()?) };
        if previous.is_some_and(|previous| previous >= due) {
            return None;
        }
        rows.push(due);
    }
    reader.is_empty().then_some(rows)
}
