//! Keys that are copied, moved, swapped and restored. A name begins with the digit of its database.

use super::reply::{Answer, ErrorKind, Id, Reply};
use super::{Consumer, Fields, Group, Key, Model, Node, Once, Pending, Stream, Value};
use std::collections::BTreeMap;

/// What RESTORE is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A string.
    Text(Vec<u8>),
    /// A stream of these entries, each a node of its own, and a group that was given the first one.
    Stream(Vec<(Id, Fields)>),
}

/// The group of a restored stream, and who has its first entry pending.
pub const RESTORED: (&[u8], &[u8]) = (b"g", b"x");

impl Model {
    /// COPY: 1 if it was done.
    pub fn copy(&mut self, now_ms: u64, from: &[u8], to: &[u8], replace: bool) -> Answer {
        self.expire_keys(now_ms);
        match self.keys.get(from).cloned() {
            Some(key) if replace || !self.keys.contains_key(to) => {
                self.keys.insert(to.to_vec(), key);
                Ok(Reply::Integer(1))
            }
            _ => Ok(Reply::Integer(0)),
        }
    }

    /// MOVE: 1 if it was done.
    pub fn move_to(&mut self, now_ms: u64, from: &[u8], to: &[u8]) -> Answer {
        self.expire_keys(now_ms);
        if self.keys.contains_key(to) {
            return Ok(Reply::Integer(0));
        }
        let moved = self.keys.remove(from).map(|key| self.keys.insert(to.to_vec(), key));
        Ok(Reply::Integer(moved.is_some().into()))
    }

    /// SWAPDB of the databases 0 and 1.
    pub fn swap_databases(&mut self, now_ms: u64) -> Answer {
        self.expire_keys(now_ms);
        let swapped = std::mem::take(&mut self.keys).into_iter().map(|(mut name, key)| {
            name[0] = if name[0] == b'0' { b'1' } else { b'0' };
            (name, key)
        });
        self.keys = swapped.collect();
        Ok(Reply::Ok)
    }

    /// RESTORE.
    pub fn restore(
        &mut self,
        now_ms: u64,
        key: &[u8],
        replace: bool,
        ttl_ms: Option<u64>,
        payload: &Payload,
    ) -> Answer {
        self.expire_keys(now_ms);
        if !replace && self.keys.contains_key(key) {
            return Err(ErrorKind::BusyKey);
        }
        let value = match payload {
            Payload::Text(text) => Value::Text(text.clone()),
            Payload::Stream(entries) => Value::Stream(self.restored(now_ms, entries)),
        };
        let expires_ms = ttl_ms.map(|ttl_ms| now_ms + ttl_ms);
        self.keys.insert(key.to_vec(), Key { value, expires_ms });
        Ok(Reply::Ok)
    }

    fn restored(&self, now_ms: u64, entries: &[(Id, Fields)]) -> Stream {
        let once = Once { limits: self.once, ..Once::default() };
        let mut stream = Stream { once, ..Stream::default() };
        for (id, fields) in entries {
            let bytes = fields.iter().map(|(f, v)| f.len() as u64 + v.len() as u64).sum::<u64>();
            stream.nodes.push(Node { first: *id, last: *id, appended: 1, bytes, ended: false });
            stream.entries.insert(*id, fields.clone());
            stream.last_id = *id;
        }
        stream.entries_added = entries.len() as u64;
        let (name, consumer) = RESTORED;
        let pending = Pending { consumer: consumer.to_vec(), delivered_ms: now_ms, count: 1 };
        let seen = Consumer { seen_ms: now_ms, active_ms: Some(now_ms) };
        let group = Group {
            last_id: stream.first_id(),
            entries_read: Some(1),
            consumers: BTreeMap::from([(consumer.to_vec(), seen)]),
            pending: BTreeMap::from([(stream.first_id(), pending)]),
        };
        stream.groups.insert(name.to_vec(), group);
        stream
    }
}
