//! The machine at one log position, in pieces, and back.
//!
//! [`Machine::snapshot`] freezes what changed since the last one by cloning pointers: the machine
//! goes on at once, and whatever it then changes is copied first (`Arc::make_mut`). The pieces are
//! then encoded one by one, in slices as long as the caller likes. Pieces are addressed so that a
//! later one replaces an earlier one:
//!
//! ```text
//! kind  part                      holds
//! 1     0                         the machine: next key number          (object 0)
//! 2     0                         a key: database, kind, name, expiry, a string's value
//! 4     0                         a stream: ids, counters, index of blocks, tail's facts, groups
//! 5     tail's block number       rows of the tail; grows by what was appended
//! 6     group's number            a group: place, consumers, numbers of its chunks
//! 7     group << 32 | chunk       a chunk of its pending list
//! 8     producer's number         an idempotent producer: pid, numbers of its chunks
//! 9     producer << 32 | chunk    a chunk of its iids
//! 12    0                         what DEDUP-WINDOW keeps: key of the hashes, its chunks' numbers
//! 13    chunk                     a chunk of its hashes
//! 14    0                         a schedule: numbers of its chunks
//! 15    chunk                     a chunk of it: times and ids
//! ```
//!
//! Pieces that no other names any more (rows of a block that was sealed, chunks of a group that is
//! gone) are left behind and ignored by [`load`] until the next whole checkpoint.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use foldhash::fast::FixedState;

use crate::{
    dedup::{Dedup, DedupLimits},
    effect::Kind,
    group::Group,
    idempotence::Producer,
    keyspace::{KeyNumber, Object, Value},
    machine::Machine,
    pending::PendingList,
    schedule::Schedule,
    stream::Stream,
    varint::{self, Reader},
};

/// Kinds of pieces. On disk: never renumber, never reuse; 0 is the store's.
mod kind {
    pub(super) const MACHINE: u8 = 1;
    pub(super) const KEY: u8 = 2;
    // 3 is free.
    pub(super) const STREAM: u8 = 4;
    pub(super) const TAIL: u8 = 5;
    pub(super) const GROUP: u8 = 6;
    pub(super) const CHUNK: u8 = 7;
    pub(super) const PRODUCER: u8 = 8;
    pub(super) const IIDS: u8 = 9;
    pub(super) const DEDUP: u8 = 12;
    pub(super) const HASHES: u8 = 13;
    pub(super) const SCHEDULE: u8 = 14;
    pub(super) const DUES: u8 = 15;
}

/// Address of a piece: object, kind, part.
pub type PieceId = (u64, u8, u64);

/// What a piece does to the one of the same address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Replaces it.
    Put,
    /// Follows it.
    Extend,
    /// All pieces of the object are gone; kind and part mean nothing.
    RemoveObject,
}

/// A frozen machine; see the module.
#[derive(Debug)]
pub struct Snapshot {
    next_key: u64,
    removed: Vec<KeyNumber>,
    objects: Vec<Frozen>,
    /// Pieces to come, last first.
    todo: Vec<Todo>,
}

#[derive(Debug)]
struct Frozen {
    key: KeyNumber,
    object: Object,
    /// Changes up to this position are in the checkpoint already; `None` where nothing is.
    since: Option<u64>,
    saved_tail: Option<(u64, usize)>,
}

#[derive(Clone, Copy, Debug)]
enum Todo {
    Machine,
    Removed(usize),
    Object(usize),
    Stream(usize),
    Tail(usize),
    Group(usize, u32),
    Chunk(usize, u32, usize),
    Producer(usize, u32),
    Iids(usize, u32, usize),
    Dedup(usize),
    Hashes(usize, u64),
    Schedule(usize),
    Dues(usize, usize),
}

impl Machine {
    /// Freezes what changed behind `since`, the position of the last snapshot, or everything with
    /// `whole`. Cheap: pointers are cloned, one per changed key (two per changed stream).
    pub fn snapshot(&mut self, since: u64, whole: bool) -> Snapshot {
        let dirty = core::mem::take(&mut self.dirty);
        let removed = core::mem::take(&mut self.removed);
        let keys = if whole { self.keys.numbers() } else { dirty.into_iter().collect() };
        let since = (!whole).then_some(since);
        let objects: Vec<_> = keys.into_iter().filter_map(|key| self.freeze(key, since)).collect();
        let removed: Vec<_> = if whole { Vec::new() } else { removed.into_iter().collect() };
        let mut todo = Vec::with_capacity(objects.len() + removed.len() + 1);
        todo.extend((0..objects.len()).rev().map(Todo::Object));
        todo.extend((0..removed.len()).rev().map(Todo::Removed));
        todo.push(Todo::Machine);
        Snapshot { next_key: self.keys.next_number().0, removed, objects, todo }
    }

    fn freeze(&mut self, key: KeyNumber, since: Option<u64>) -> Option<Frozen> {
        let object = self.keys.get_mut(key)?;
        let mut saved_tail = None;
        if let Value::Stream(stream) = &mut object.value {
            let now = (stream.tail_number(), stream.tail().bytes().len());
            if stream.saved_tail == Some(now) {
                saved_tail = Some(now);
            } else {
                saved_tail = Arc::make_mut(stream).saved_tail.replace(now);
            }
        }
        if since.is_none() {
            saved_tail = None;
        }
        Some(Frozen { key, object: object.clone(), since, saved_tail })
    }
}

impl Snapshot {
    /// Encodes the next piece into `out` (cleared first); `None` when there is no more.
    pub fn next_piece(&mut self, out: &mut Vec<u8>) -> Option<(PieceId, Change)> {
        out.clear();
        match self.todo.pop()? {
            Todo::Machine => {
                varint::put_u64(out, self.next_key);
                Some(((0, kind::MACHINE, 0), Change::Put))
            }
            Todo::Removed(at) => {
                let key = self.removed.get(at)?;
                Some(((key.0, 0, 0), Change::RemoveObject))
            }
            Todo::Object(at) => self.object(at, out),
            Todo::Stream(at) => self.with_stream(at, |frozen, stream| {
                stream.encode(out);
                ((frozen.key.0, kind::STREAM, 0), Change::Put)
            }),
            Todo::Tail(at) => self.with_stream(at, |frozen, stream| {
                let number = stream.tail_number();
                let (from, change) = match frozen.saved_tail {
                    Some((saved, bytes)) if saved == number => (bytes, Change::Extend),
                    _ => (0, Change::Put),
                };
                out.extend_from_slice(stream.tail().bytes().get(from..).unwrap_or_default());
                ((frozen.key.0, kind::TAIL, number), change)
            }),
            Todo::Group(at, number) => self.with_stream(at, |frozen, stream| {
                if let (Some(name), Some(group)) =
                    (stream.groups.name(number), stream.groups.get(number))
                {
                    group.encode(name, out);
                }
                ((frozen.key.0, kind::GROUP, u64::from(number)), Change::Put)
            }),
            Todo::Chunk(at, number, chunk) => self.with_stream(at, |frozen, stream| {
                let group = stream.groups.get(number);
                let chunk = group.and_then(|group| group.pending.chunk(chunk));
                let part = chunk.map_or(0, |chunk| {
                    chunk.encode(out);
                    u64::from(number) << 32 | u64::from(chunk.number())
                });
                ((frozen.key.0, kind::CHUNK, part), Change::Put)
            }),
            Todo::Schedule(at) => self.schedule(at, None, out),
            Todo::Dues(at, place) => self.schedule(at, Some(place), out),
            Todo::Producer(at, number) => self.with_stream(at, |frozen, stream| {
                if let Some(producer) = stream.idempotence.of_number(number) {
                    producer.encode(out);
                }
                ((frozen.key.0, kind::PRODUCER, u64::from(number)), Change::Put)
            }),
            Todo::Iids(at, number, place) => self.with_stream(at, |frozen, stream| {
                let producer = stream.idempotence.of_number(number);
                let chunk = producer.and_then(|producer| producer.encode_chunk(place, out));
                let part = u64::from(number) << 32 | u64::from(chunk.unwrap_or(0));
                ((frozen.key.0, kind::IIDS, part), Change::Put)
            }),
            Todo::Dedup(at) => self.with_dedup(at, kind::DEDUP, 0, |dedup| dedup.encode(out)),
            Todo::Hashes(at, chunk) => self.with_dedup(at, kind::HASHES, chunk, |dedup| {
                dedup.encode_chunk(chunk, out);
            }),
        }
    }

    /// What a stream keeps of its idempotent appends.
    fn with_dedup(
        &self,
        at: usize,
        kind: u8,
        part: u64,
        encode: impl FnOnce(&Dedup),
    ) -> Option<(PieceId, Change)> {
        self.with_stream(at, |frozen, stream| {
            if let Some(dedup) = stream.idempotence.dedup() {
                encode(dedup);
            }
            ((frozen.key.0, kind, part), Change::Put)
        })
    }

    /// A schedule, or the chunk of it at a place.
    fn schedule(
        &self,
        at: usize,
        place: Option<usize>,
        out: &mut Vec<u8>,
    ) -> Option<(PieceId, Change)> {
        self.with_stream(at, |frozen, stream| {
            let held = stream.schedule();
            let (kind, part) = match place {
                None => {
                    held.into_iter().for_each(|held| held.encode(out));
                    (kind::SCHEDULE, 0)
                }
                Some(place) => {
                    let number = held.and_then(|held| held.encode_chunk(place, out));
                    (kind::DUES, u64::from(number.unwrap_or(0)))
                }
            };
            ((frozen.key.0, kind, part), Change::Put)
        })
    }

    /// The key itself, and what of its value is to come.
    fn object(&mut self, at: usize, out: &mut Vec<u8>) -> Option<(PieceId, Change)> {
        let Frozen { key, object, since, .. } = self.objects.get(at)?;
        let is_stream = matches!(object.value, Value::Stream(_));
        out.extend_from_slice(&[object.database, u8::from(is_stream)]);
        varint::put_bytes(out, &object.name);
        varint::put_option(out, object.expires_at_ms);
        match &object.value {
            Value::Text(value) => varint::put_bytes(out, value),
            Value::Stream(stream) => {
                let is_new = |changed: u64| since.is_none_or(|since| changed > since);
                let producers = stream.idempotence.numbered();
                for (number, producer) in
                    producers.filter(|(_, producer)| is_new(producer.changed()))
                {
                    let chunks = producer.chunks().filter(|(_, changed)| is_new(*changed));
                    self.todo.extend(chunks.map(|(place, _)| Todo::Iids(at, number, place)));
                    self.todo.push(Todo::Producer(at, number));
                }
                let dedup = stream.idempotence.dedup();
                if let Some(dedup) = dedup.filter(|dedup| is_new(dedup.changed())) {
                    let chunks = dedup.chunks().filter(|(_, changed)| is_new(*changed));
                    self.todo.extend(chunks.map(|(chunk, _)| Todo::Hashes(at, chunk)));
                    self.todo.push(Todo::Dedup(at));
                }
                let groups: Vec<_> = stream.groups.iter().collect();
                for (_, number, group) in
                    groups.iter().rev().filter(|(_, _, group)| is_new(group.changed))
                {
                    let chunks = group.pending.chunks().enumerate();
                    let chunks = chunks.filter(|(_, chunk)| is_new(chunk.changed()));
                    self.todo.extend(chunks.map(|(chunk, _)| Todo::Chunk(at, *number, chunk)));
                    self.todo.push(Todo::Group(at, *number));
                }
                if let Some(held) = stream.schedule().filter(|held| is_new(held.changed())) {
                    let chunks = held.chunks().filter(|(_, changed)| is_new(*changed));
                    self.todo.extend(chunks.map(|(place, _)| Todo::Dues(at, place)));
                    self.todo.push(Todo::Schedule(at));
                }
                self.todo.push(Todo::Tail(at));
                self.todo.push(Todo::Stream(at));
            }
        }
        Some(((key.0, kind::KEY, 0), Change::Put))
    }

    fn with_stream(
        &self,
        at: usize,
        encode: impl FnOnce(&Frozen, &Stream) -> (PieceId, Change),
    ) -> Option<(PieceId, Change)> {
        let frozen = self.objects.get(at)?;
        match &frozen.object.value {
            Value::Stream(stream) => Some(encode(frozen, stream)),
            Value::Text(_) => None,
        }
    }
}

/// Rebuilds a machine from the pieces of a checkpoint; `None` where they are malformed. `seed` as
/// in [`Machine::new`].
pub fn load(pieces: &BTreeMap<PieceId, Vec<u8>>, seed: u64) -> Option<Machine> {
    let mut machine = Machine::new(seed);
    if let Some(bytes) = pieces.get(&(0, kind::MACHINE, 0)) {
        machine.keys.advance_to(Reader::new(bytes).u64()?);
    }
    for ((number, kind, _), bytes) in pieces {
        if *kind == kind::KEY {
            let object = load_object(pieces, *number, bytes, machine.keys.hasher())?;
            if let Value::Stream(stream) = &object.value {
                machine.tail_bytes += stream.tail().bytes().len() as u64;
                machine.dedup_ids += stream.dedup_ids_max();
                machine.note_over(KeyNumber(*number), None, stream.idempotence.next_over_ms());
            }
            machine.keys.insert(KeyNumber(*number), object);
        }
    }
    Some(machine)
}

fn load_object(
    pieces: &BTreeMap<PieceId, Vec<u8>>,
    number: u64,
    bytes: &[u8],
    hasher: &FixedState,
) -> Option<Object> {
    let mut reader = Reader::new(bytes);
    let database = reader.u8().filter(|database| *database < crate::limits::DATABASES)?;
    let kind = if reader.u8()? == 1 { Kind::Stream } else { Kind::Text };
    let name = reader.bytes()?.into();
    let expires_at_ms = reader.option()?;
    let value = match kind {
        Kind::Text => Value::Text(reader.bytes()?.into()),
        Kind::Stream => Value::Stream(Arc::new(load_stream(pieces, number, hasher)?)),
    };
    Some(Object { database, name, expires_at_ms, changed: 0, entries_changed: 0, value })
}

fn load_stream(
    pieces: &BTreeMap<PieceId, Vec<u8>>,
    number: u64,
    hasher: &FixedState,
) -> Option<Stream> {
    let mut reader = Reader::new(pieces.get(&(number, kind::STREAM, 0))?);
    let tail = |block| pieces.get(&(number, kind::TAIL, block)).map(Vec::as_slice);
    let (mut stream, groups, producers) = Stream::decode(&mut reader, tail)?;
    for group in groups {
        let bytes = pieces.get(&(number, kind::GROUP, u64::from(group)))?;
        let (name, mut loaded, chunks) = Group::decode(&mut Reader::new(bytes))?;
        let chunk = |chunk: u32| {
            let part = u64::from(group) << 32 | u64::from(chunk);
            Some((chunk, 0, pieces.get(&(number, kind::CHUNK, part))?.as_slice()))
        };
        let chunks = chunks.into_iter().map(chunk).collect::<Option<Vec<_>>>()?;
        loaded.set_pending_list(PendingList::from_chunks(chunks.into_iter())?);
        stream.groups.insert(group, name.into(), Arc::new(loaded));
    }
    for producer in producers {
        let bytes = pieces.get(&(number, kind::PRODUCER, u64::from(producer)))?;
        let chunk = |chunk: u32| {
            let part = u64::from(producer) << 32 | u64::from(chunk);
            pieces.get(&(number, kind::IIDS, part)).map(Vec::as_slice)
        };
        stream.idempotence.insert(producer, Producer::decode(bytes, hasher, chunk)?)?;
    }
    if let Some(limits) = DedupLimits::of(&stream.policy) {
        let bytes = pieces.get(&(number, kind::DEDUP, 0))?;
        let chunk = |chunk: u64| pieces.get(&(number, kind::HASHES, chunk)).map(Vec::as_slice);
        stream.idempotence.insert_dedup(Dedup::decode(bytes, limits, chunk)?);
    }
    if let Some(head) = pieces.get(&(number, kind::SCHEDULE, 0)) {
        let chunk =
            |chunk: u32| pieces.get(&(number, kind::DUES, u64::from(chunk))).map(Vec::as_slice);
        stream.set_schedule(Schedule::decode(head, chunk)?);
    }
    Some(stream)
}
