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

use alloc::{
    collections::BTreeMap,
    sync::Arc,
    vec::{self, Vec},
};

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
    /// `None` when it was told.
    next_key: Option<u64>,
    removed: vec::IntoIter<KeyNumber>,
    objects: vec::IntoIter<Frozen>,
    /// The object that is being encoded. It is let go as soon as it is: the machine need not copy
    /// it any more before it changes it.
    current: Option<Frozen>,
}

#[derive(Debug)]
struct Frozen {
    key: KeyNumber,
    object: Object,
    /// Changes up to this position are in the checkpoint already; `None` where nothing is.
    since: Option<u64>,
    saved_tail: Option<(u64, usize)>,
    /// Pieces of its stream to come, last first.
    todo: Vec<Todo>,
}

/// A piece of a stream.
#[derive(Clone, Copy, Debug)]
enum Todo {
    Stream,
    Tail,
    Group(u32),
    Chunk(u32, usize),
    Producer(u32),
    Iids(u32, usize),
    Dedup,
    Hashes(u64),
    Schedule,
    Dues(usize),
}

impl Machine {
    /// Freezes what changed behind `since`, the position of the last snapshot, or everything with
    /// `whole`. Cheap: pointers are cloned, one per changed key (two per changed stream).
    pub fn snapshot(&mut self, since: u64, whole: bool) -> Snapshot {
        let dirty = self.take_dirty();
        let removed = core::mem::take(&mut self.removed);
        let keys = if whole { self.keys.numbers() } else { dirty.into_iter().collect() };
        let since = (!whole).then_some(since);
        let objects: Vec<_> = keys.into_iter().filter_map(|key| self.freeze(key, since)).collect();
        let removed: Vec<_> = if whole { Vec::new() } else { removed.into_iter().collect() };
        Snapshot {
            next_key: Some(self.keys.next_number().0),
            removed: removed.into_iter(),
            objects: objects.into_iter(),
            current: None,
        }
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
        Some(Frozen { key, object: object.clone(), since, saved_tail, todo: Vec::new() })
    }
}

impl Snapshot {
    /// Encodes the next piece into `out` (cleared first); `None` when there is no more.
    pub fn next_piece(&mut self, out: &mut Vec<u8>) -> Option<(PieceId, Change)> {
        out.clear();
        if let Some(next_key) = self.next_key.take() {
            varint::put_u64(out, next_key);
            return Some(((0, kind::MACHINE, 0), Change::Put));
        }
        if let Some(piece) = self.current.as_mut().and_then(|object| object.next_piece(out)) {
            return Some(piece);
        }
        self.current = None;
        if let Some(key) = self.removed.next() {
            return Some(((key.0, 0, 0), Change::RemoveObject));
        }
        let object = self.current.insert(self.objects.next()?);
        object.encode(out);
        Some(((object.key.0, kind::KEY, 0), Change::Put))
    }
}

impl Frozen {
    /// Encodes the key itself, and notes what of its value is to come.
    fn encode(&mut self, out: &mut Vec<u8>) {
        let Self { object, since, todo, .. } = self;
        let is_stream = matches!(object.value, Value::Stream(_));
        out.extend_from_slice(&[object.database, u8::from(is_stream)]);
        varint::put_bytes(out, &object.name);
        varint::put_option(out, object.expires_at_ms);
        let stream = match &object.value {
            Value::Text(value) => return varint::put_bytes(out, value),
            Value::Stream(stream) => stream,
        };
        let is_new = |changed: u64| since.is_none_or(|since| changed > since);
        let producers = stream.idempotence.numbered();
        for (number, producer) in producers.filter(|(_, producer)| is_new(producer.changed())) {
            let chunks = producer.chunks().filter(|(_, changed)| is_new(*changed));
            todo.extend(chunks.map(|(place, _)| Todo::Iids(number, place)));
            todo.push(Todo::Producer(number));
        }
        let dedup = stream.idempotence.dedup();
        if let Some(dedup) = dedup.filter(|dedup| is_new(dedup.changed())) {
            let chunks = dedup.chunks().filter(|(_, changed)| is_new(*changed));
            todo.extend(chunks.map(|(chunk, _)| Todo::Hashes(chunk)));
            todo.push(Todo::Dedup);
        }
        let groups: Vec<_> = stream.groups.iter().collect();
        for (_, number, group) in groups.iter().rev().filter(|(_, _, group)| is_new(group.changed))
        {
            let chunks = group.pending.chunks().enumerate();
            let chunks = chunks.filter(|(_, chunk)| is_new(chunk.changed()));
            todo.extend(chunks.map(|(chunk, _)| Todo::Chunk(*number, chunk)));
            todo.push(Todo::Group(*number));
        }
        if let Some(held) = stream.schedule().filter(|held| is_new(held.changed())) {
            let chunks = held.chunks().filter(|(_, changed)| is_new(*changed));
            todo.extend(chunks.map(|(place, _)| Todo::Dues(place)));
            todo.push(Todo::Schedule);
        }
        todo.extend([Todo::Tail, Todo::Stream]);
    }

    /// Encodes the next piece of the stream.
    fn next_piece(&mut self, out: &mut Vec<u8>) -> Option<(PieceId, Change)> {
        let todo = self.todo.pop()?;
        let Value::Stream(stream) = &self.object.value else {
            return None;
        };
        let mut change = Change::Put;
        let (kind, part) = match todo {
            Todo::Stream => {
                stream.encode(out);
                (kind::STREAM, 0)
            }
            Todo::Tail => {
                let number = stream.tail_number();
                let saved = self.saved_tail.filter(|(saved, _)| *saved == number);
                let from = saved.map_or(0, |(_, bytes)| bytes);
                if saved.is_some() {
                    change = Change::Extend;
                }
                out.extend_from_slice(stream.tail().bytes().get(from..).unwrap_or_default());
                (kind::TAIL, number)
            }
            Todo::Group(number) => {
                let group = stream.groups.get(number);
                if let (Some(name), Some(group)) = (stream.groups.name(number), group) {
                    group.encode(name, out);
                }
                (kind::GROUP, u64::from(number))
            }
            Todo::Chunk(number, chunk) => {
                let group = stream.groups.get(number);
                let chunk = group.and_then(|group| group.pending.chunk(chunk));
                let part = chunk.map_or(0, |chunk| {
                    chunk.encode(out);
                    u64::from(number) << 32 | u64::from(chunk.number())
                });
                (kind::CHUNK, part)
            }
            Todo::Producer(number) => {
                if let Some(producer) = stream.idempotence.of_number(number) {
                    producer.encode(out);
                }
                (kind::PRODUCER, u64::from(number))
            }
            Todo::Iids(number, place) => {
                let producer = stream.idempotence.of_number(number);
                let chunk = producer.and_then(|producer| producer.encode_chunk(place, out));
                (kind::IIDS, u64::from(number) << 32 | u64::from(chunk.unwrap_or(0)))
            }
            Todo::Dedup => {
                stream.idempotence.dedup().into_iter().for_each(|dedup| dedup.encode(out));
                (kind::DEDUP, 0)
            }
            Todo::Hashes(chunk) => {
                let dedup = stream.idempotence.dedup();
                dedup.into_iter().for_each(|dedup| dedup.encode_chunk(chunk, out));
                (kind::HASHES, chunk)
            }
            Todo::Schedule => {
                stream.schedule().into_iter().for_each(|held| held.encode(out));
                (kind::SCHEDULE, 0)
            }
            Todo::Dues(place) => {
                let held = stream.schedule();
                let number = held.and_then(|held| held.encode_chunk(place, out));
                (kind::DUES, u64::from(number.unwrap_or(0)))
            }
        };
        Some(((self.key.0, kind, part), change))
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
