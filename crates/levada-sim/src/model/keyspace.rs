//! Keys, strings and expiry, and the stream commands that need no group.

use super::reply::{Answer, Entries, ErrorKind, Fields, Id, Reply, first_of, integer, last_of};
use super::{NodeLimits, Once, OnceLimits, References, Stream, Trim};
use std::collections::BTreeMap;
use std::ops::Bound;

/// One keyspace with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// All keys. An expired one goes with the next command.
    pub keys: BTreeMap<Vec<u8>, Key>,
    /// The node settings in force; they may change between any two commands.
    pub limits: NodeLimits,
    /// What new streams track of idempotent producers; it may change likewise.
    pub once: OnceLimits,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The value.
    pub value: Value,
    /// The last millisecond of its life.
    pub expires_ms: Option<u64>,
}

/// A value of either type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A stream; stays when its last entry goes.
    Stream(Stream),
    /// A string.
    Text(Vec<u8>),
}

/// The id argument of XADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewId {
    /// `*`.
    Auto,
    /// `ms-*`.
    AutoSequence(u64),
    /// A whole id.
    Exact(Id),
}

/// The id argument of XREAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// Entries above this id.
    After(Id),
    /// `$`: entries added from now on, so none, for the model does not wait.
    New,
    /// `+`: the last entry.
    Last,
}

impl Default for Model {
    /// No keys, and the node settings that Redis ships with.
    fn default() -> Self {
        let limits = NodeLimits { max_entries: 100, max_bytes: 4096 };
        Self { keys: BTreeMap::new(), limits, once: OnceLimits::default() }
    }
}

impl Model {
    /// Drops what expired, and iids that are over. A key dies when the clock has passed its time,
    /// not when it reaches it.
    pub fn expire_keys(&mut self, now_ms: u64) {
        self.forget_over(now_ms);
        self.keys.retain(|_, key| key.expires_ms.is_none_or(|last| now_ms <= last));
    }

    /// DEL: how many of the keys were there.
    pub fn del(&mut self, now_ms: u64, keys: &[&[u8]]) -> Answer {
        self.expire_keys(now_ms);
        Ok(integer(keys.iter().filter(|key| self.keys.remove(**key).is_some()).count()))
    }

    /// EXISTS: counts a key as often as it is named.
    pub fn exists(&mut self, now_ms: u64, keys: &[&[u8]]) -> Answer {
        self.expire_keys(now_ms);
        Ok(integer(keys.iter().filter(|key| self.keys.contains_key(**key)).count()))
    }

    /// SET, with PX if `ttl_ms` is given; replaces any value and any expiry.
    pub fn set(&mut self, now_ms: u64, key: &[u8], text: &[u8], ttl_ms: Option<u64>) -> Answer {
        self.expire_keys(now_ms);
        let expires_ms = ttl_ms.map(|ttl| now_ms + ttl);
        self.keys.insert(key.to_vec(), Key { value: Value::Text(text.to_vec()), expires_ms });
        Ok(Reply::Ok)
    }

    /// GET.
    pub fn get(&mut self, now_ms: u64, key: &[u8]) -> Answer {
        self.expire_keys(now_ms);
        match self.keys.get(key).map(|key| &key.value) {
            None => Ok(Reply::Nil),
            Some(Value::Text(text)) => Ok(Reply::Text(text.clone())),
            Some(Value::Stream(_)) => Err(ErrorKind::WrongType),
        }
    }

    /// INCR; a missing key counts as 0, an expiry stays.
    pub fn incr(&mut self, now_ms: u64, key: &[u8]) -> Answer {
        let n = match self.get(now_ms, key)? {
            Reply::Text(text) => parse_integer(&text).ok_or(ErrorKind::NotInteger)?,
            _ => 0,
        };
        let n = n.checked_add(1).ok_or(ErrorKind::Overflow)?;
        let expires_ms = self.keys.get(key).and_then(|key| key.expires_ms);
        let value = Value::Text(n.to_string().into_bytes());
        self.keys.insert(key.to_vec(), Key { value, expires_ms });
        Ok(Reply::Integer(n))
    }

    /// PEXPIRE: 1 if the key is there; a time to live of 0 or less deletes it.
    pub fn pexpire(&mut self, now_ms: u64, key: &[u8], ttl_ms: i64) -> Answer {
        self.expire_keys(now_ms);
        let Some(found) = self.keys.get_mut(key) else {
            return Ok(Reply::Integer(0));
        };
        found.expires_ms = now_ms.checked_add_signed(ttl_ms);
        if ttl_ms <= 0 {
            self.keys.remove(key);
        }
        Ok(Reply::Integer(1))
    }

    /// FLUSHALL.
    pub fn flushall(&mut self) -> Answer {
        self.keys.clear();
        Ok(Reply::Ok)
    }

    /// XADD; `create` is false for NOMKSTREAM.
    pub fn xadd(
        &mut self,
        now_ms: u64,
        key: &[u8],
        create: bool,
        trim: Option<Trim>,
        id: NewId,
        fields: Fields,
    ) -> Answer {
        trim.map_or(Ok(()), Trim::check)?;
        if id == NewId::Exact(Id::MIN) {
            return Err(ErrorKind::IdZero);
        }
        let limits = self.limits;
        let last_id = match self.stream(now_ms, key)? {
            None if !create => return Ok(Reply::Nil),
            found => found.map_or(Id::MIN, |stream| stream.last_id),
        };
        let id = new_id(now_ms, last_id, id)?;
        let stream = self.stream_or_new(key);
        stream.append(id, fields, limits);
        if let Some(trim) = trim {
            stream.trim(trim, limits);
        }
        Ok(Reply::Id(id))
    }

    /// XLEN.
    pub fn xlen(&mut self, now_ms: u64, key: &[u8]) -> Answer {
        Ok(integer(self.stream(now_ms, key)?.map_or(0, |stream| stream.entries.len())))
    }

    /// XRANGE, ascending; a count of 0 answers nil.
    pub fn xrange(
        &mut self,
        now_ms: u64,
        key: &[u8],
        start: Bound<Id>,
        end: Bound<Id>,
        count: Option<usize>,
    ) -> Answer {
        let (start, end) = (first_of(start)?, last_of(end)?);
        let Some(stream) = self.stream(now_ms, key)? else {
            return Ok(Reply::Entries(Vec::new()));
        };
        Ok(counted(between(stream, start, end), count))
    }

    /// XREVRANGE: what XRANGE finds, from the other end.
    pub fn xrevrange(
        &mut self,
        now_ms: u64,
        key: &[u8],
        end: Bound<Id>,
        start: Bound<Id>,
        count: Option<usize>,
    ) -> Answer {
        let (start, end) = (first_of(start)?, last_of(end)?);
        let Some(stream) = self.stream(now_ms, key)? else {
            return Ok(Reply::Entries(Vec::new()));
        };
        let mut found = between(stream, start, end);
        found.reverse();
        Ok(counted(found, count))
    }

    /// XDEL: how many of the entries were there.
    pub fn xdel(&mut self, now_ms: u64, key: &[u8], ids: &[Id]) -> Answer {
        let Some(stream) = self.stream(now_ms, key)? else {
            return Ok(Reply::Integer(0));
        };
        Ok(integer(ids.iter().filter(|id| stream.delete(**id)).count()))
    }

    /// XDELEX, for each id: -1 no such entry, 1 deleted, 2 a group needs it (or will, once it is
    /// there).
    pub fn xdelex(&mut self, now_ms: u64, key: &[u8], what: References, ids: &[Id]) -> Answer {
        let Some(stream) = self.stream(now_ms, key)? else {
            return Ok(Reply::Integers(vec![-1; ids.len()]));
        };
        let delete = |id: &Id| {
            if what == References::Acked && stream.is_referenced(*id) {
                return 2;
            }
            if what == References::Remove {
                stream.forget(*id);
            }
            if stream.delete(*id) { 1 } else { -1 }
        };
        Ok(Reply::Integers(ids.iter().map(delete).collect()))
    }

    /// XTRIM: how many entries went.
    pub fn xtrim(&mut self, now_ms: u64, key: &[u8], trim: Trim) -> Answer {
        trim.check()?;
        let limits = self.limits;
        Ok(integer(self.stream(now_ms, key)?.map_or(0, |stream| stream.trim(trim, limits))))
    }

    /// XSETID; a MAXDELETEDID of 0-0 is as good as none.
    pub fn xsetid(
        &mut self,
        now_ms: u64,
        key: &[u8],
        last_id: Id,
        entries_added: Option<u64>,
        max_deleted_id: Id,
    ) -> Answer {
        if last_id < max_deleted_id {
            return Err(ErrorKind::SetIdBelowGivenDeleted);
        }
        let stream = self.stream(now_ms, key)?.ok_or(ErrorKind::NoSuchKey)?;
        if last_id < stream.max_deleted_id {
            return Err(ErrorKind::SetIdBelowDeleted);
        }
        if last_id < stream.top_id() {
            return Err(ErrorKind::SetIdBelowTop);
        }
        if entries_added.is_some_and(|added| added < stream.entries.len() as u64) {
            return Err(ErrorKind::EntriesAddedTooSmall);
        }
        stream.last_id = last_id;
        stream.entries_added = entries_added.unwrap_or(stream.entries_added);
        if max_deleted_id != Id::MIN {
            stream.max_deleted_id = max_deleted_id;
        }
        Ok(Reply::Ok)
    }

    /// XREAD without BLOCK; a count of 0 is no limit.
    pub fn xread(
        &mut self,
        now_ms: u64,
        from: &[(&[u8], ReadFrom)],
        count: usize,
        most: Option<usize>,
    ) -> Answer {
        for (key, _) in from {
            self.stream(now_ms, key)?;
        }
        let mut left = most.unwrap_or(usize::MAX);
        let mut found = Vec::new();
        for (key, from) in from {
            let Some(stream) = self.stream(now_ms, key)? else {
                continue;
            };
            let above = match from {
                ReadFrom::After(id) => id.next(),
                ReadFrom::New => None,
                ReadFrom::Last => Some(stream.top_id()),
            };
            let Some(start) = above else { continue };
            let mut entries = between(stream, start, Id::MAX);
            entries.truncate(if count == 0 { left } else { count.min(left) });
            left -= entries.len();
            if !entries.is_empty() {
                found.push((key.to_vec(), entries));
            }
        }
        Ok(if found.is_empty() { Reply::Nil } else { Reply::Streams(found) })
    }

    /// The stream at a key, after what is due has expired.
    pub(super) fn stream(
        &mut self,
        now_ms: u64,
        key: &[u8],
    ) -> Result<Option<&mut Stream>, ErrorKind> {
        self.expire_keys(now_ms);
        match self.keys.get_mut(key).map(|key| &mut key.value) {
            None => Ok(None),
            Some(Value::Stream(stream)) => Ok(Some(stream)),
            Some(Value::Text(_)) => Err(ErrorKind::WrongType),
        }
    }

    /// The stream at a key that is known to hold one or nothing.
    pub(super) fn stream_or_new(&mut self, key: &[u8]) -> &mut Stream {
        let once = Once { limits: self.once, ..Once::default() };
        let stream = Stream { once, ..Stream::default() };
        let empty = || Key { value: Value::Stream(stream), expires_ms: None };
        match &mut self.keys.entry(key.to_vec()).or_insert_with(empty).value {
            Value::Stream(stream) => stream,
            Value::Text(_) => panic!("the caller has checked the type"),
        }
    }
}

/// The id that XADD gives, which is above the last one.
fn new_id(now_ms: u64, last: Id, wanted: NewId) -> Result<Id, ErrorKind> {
    let after_last = last.next().ok_or(ErrorKind::Exhausted)?;
    let id = match wanted {
        NewId::Auto if now_ms > last.0 => Id(now_ms, 0),
        NewId::Auto => after_last,
        NewId::AutoSequence(ms) if ms == last.0 && after_last.0 == ms => after_last,
        NewId::AutoSequence(ms) => Id(ms, 0),
        NewId::Exact(id) => id,
    };
    if id > last { Ok(id) } else { Err(ErrorKind::IdTooSmall) }
}

/// Live entries in an inclusive range.
fn between(stream: &Stream, start: Id, end: Id) -> Entries {
    let inside = stream.entries.iter().filter(|(id, _)| start <= **id && **id <= end);
    inside.map(|(id, fields)| (*id, Some(fields.clone()))).collect()
}

fn counted(mut entries: Entries, count: Option<usize>) -> Reply {
    entries.truncate(count.unwrap_or(usize::MAX));
    if count == Some(0) { Reply::Nil } else { Reply::Entries(entries) }
}

/// A 64-bit number in its one canonical form: no `+`, no leading zero, no space.
fn parse_integer(text: &[u8]) -> Option<i64> {
    let n: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (n.to_string().as_bytes() == text).then_some(n)
}
