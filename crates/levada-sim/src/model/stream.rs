//! One stream: entries, counters, logical nodes, lag.
//!
//! Invariants: every live entry lies in exactly one node; nodes are disjoint and ascending;
//! `last_id` is at least the last live entry and at least `max_deleted_id`.

use super::reply::{Fields, Id};
use super::{Group, Once, reply::ErrorKind};
use std::collections::BTreeMap;

/// A stream value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Live entries.
    pub entries: BTreeMap<Id, Fields>,
    /// The last id issued, or set by XSETID.
    pub last_id: Id,
    /// Entries ever added, or as set by XSETID.
    pub entries_added: u64,
    /// The highest id that XDEL removed; trimming leaves it alone.
    pub max_deleted_id: Id,
    /// What `~` removes as a whole, oldest first.
    pub nodes: Vec<Node>,
    /// Consumer groups by name.
    pub groups: BTreeMap<Vec<u8>, Group>,
    /// Idempotent producers.
    pub once: Once,
}

/// A logical node: neighbouring entries that `~` keeps or removes together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The first id appended, live or not.
    pub first: Id,
    /// The last id appended, live or not.
    pub last: Id,
    /// Entries appended, live or not.
    pub appended: u64,
    /// Bytes of the fields and values appended.
    pub bytes: u64,
    /// Whether it takes no more, however small it is.
    pub ended: bool,
}

/// When a node is closed; looked at on each append, 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// `stream-node-max-entries`.
    pub max_entries: u64,
    /// `stream-node-max-bytes`, counted over fields and values alone.
    pub max_bytes: u64,
}

/// What XTRIM, and XADD after its append, cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// How far.
    pub to: Threshold,
    /// `~`: whole nodes only.
    pub approx: bool,
    /// LIMIT: at most so many entries, 0 is no limit; only with `~`.
    pub limit: Option<u64>,
    /// What it does about references.
    pub references: References,
}

/// What becomes of the pending entries that name what is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum References {
    /// KEEPREF: they stay.
    Keep,
    /// DELREF: they go too.
    Remove,
    /// ACKED: what a group has yet to get or to acknowledge is not deleted.
    Acked,
}

/// How far to trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// Keep this many entries.
    MaxLen(usize),
    /// Keep this id and all above.
    MinId(Id),
}

impl Trim {
    /// Refuses LIMIT without `~`; asked before anything else is looked at.
    pub(super) fn check(self) -> Result<(), ErrorKind> {
        if self.limit.is_some() && !self.approx {
            return Err(ErrorKind::LimitWithoutApprox);
        }
        Ok(())
    }

    /// The most entries that may go; none is no limit.
    fn most(self, limits: NodeLimits) -> Option<u64> {
        let by_default = match limits.max_entries {
            0 => 10_000,
            n => n.saturating_mul(100).min(1_000_000),
        };
        let most = if self.approx { self.limit.unwrap_or(by_default) } else { 0 };
        (most != 0).then_some(most)
    }
}

impl Stream {
    /// The first live id; 0-0 if there is none.
    pub fn first_id(&self) -> Id {
        self.entries.keys().next().copied().unwrap_or(Id::MIN)
    }

    /// The last live id; 0-0 if there is none.
    pub fn top_id(&self) -> Id {
        self.entries.keys().next_back().copied().unwrap_or(Id::MIN)
    }

    /// How many entries the group has yet to get; `None` if Redis cannot tell.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.entries_added == 0 || self.entries.is_empty() {
            return Some(0);
        }
        if group.last_id < self.first_id() && self.max_deleted_id < self.first_id() {
            return Some(signed(self.length()));
        }
        let read = match group.entries_read {
            Some(read) if !self.tombstone_from(group.last_id) => Some(read),
            _ => self.estimate(group.last_id),
        };
        read.map(|read| signed(self.entries_added) - signed(read))
    }

    /// Ends the last node: the next entry begins another. Redis has no such thing; a store that
    /// seals blocks does it.
    pub fn end_node(&mut self) {
        if let Some(node) = self.nodes.last_mut() {
            node.ended = true;
        }
    }

    /// Appends an entry whose id was checked to be above `last_id`.
    pub(super) fn append(&mut self, id: Id, fields: Fields, limits: NodeLimits) {
        assert!(id > self.last_id, "{id:?} is not above {:?}", self.last_id);
        let bytes = fields.iter().map(|(f, v)| f.len() as u64 + v.len() as u64).sum::<u64>();
        match self.nodes.last_mut() {
            Some(node) if !node.is_full(limits) => {
                node.last = id;
                node.appended += 1;
                node.bytes += bytes;
            }
            _ => self.nodes.push(Node { first: id, last: id, appended: 1, bytes, ended: false }),
        }
        self.entries.insert(id, fields);
        self.entries_added += 1;
        self.last_id = id;
    }

    /// Deletes one entry as XDEL does; false if there is none. The node of the last live entry
    /// goes with it.
    pub(super) fn delete(&mut self, id: Id) -> bool {
        if self.entries.remove(&id).is_none() {
            return false;
        }
        self.max_deleted_id = self.max_deleted_id.max(id);
        let entries = &self.entries;
        self.nodes.retain(|node| {
            !(node.first <= id && id <= node.last)
                || entries.range(node.first..=node.last).next().is_some()
        });
        true
    }

    /// Whether a group has yet to get the entry, or has it pending.
    pub(super) fn is_referenced(&self, id: Id) -> bool {
        self.groups.values().any(|group| group.last_id < id || group.pending.contains_key(&id))
    }

    /// Takes an id from every pending list.
    pub(super) fn forget(&mut self, id: Id) {
        self.groups.values_mut().for_each(|group| drop(group.pending.remove(&id)));
    }

    /// Trims with an eye on references: entry by entry, and of the first node that goes only in
    /// part, that part, whatever `~` says.
    fn trim_by_entry(&mut self, trim: Trim, limits: NodeLimits) -> usize {
        let before = self.entries.len();
        let mut at = 0;
        while let Some(node) = self.nodes.get(at).cloned() {
            let inside = self.entries.range(node.first..=node.last);
            let live: Vec<Id> = inside.map(|(id, _)| *id).collect();
            let after = (before - self.entries.len() + live.len()) as u64;
            if trim.most(limits).is_some_and(|most| after > most) {
                break;
            }
            let whole = match trim.to {
                Threshold::MaxLen(keep) if self.entries.len() <= keep => break,
                Threshold::MaxLen(keep) => self.entries.len() - live.len() >= keep,
                Threshold::MinId(min) => node.last < min,
            };
            for id in live {
                match trim.to {
                    Threshold::MaxLen(keep) if self.entries.len() <= keep => break,
                    Threshold::MinId(min) if min <= id => break,
                    _ if trim.references == References::Acked && self.is_referenced(id) => {}
                    _ => {
                        if trim.references == References::Remove {
                            self.forget(id);
                        }
                        self.entries.remove(&id);
                    }
                }
            }
            if !whole {
                break;
            }
            match self.entries.range(node.first..=node.last).next() {
                None => drop(self.nodes.remove(at)),
                Some(_) => at += 1,
            }
        }
        before - self.entries.len()
    }

    /// Trims from the oldest end and returns how many entries went.
    pub(super) fn trim(&mut self, trim: Trim, limits: NodeLimits) -> usize {
        if trim.references != References::Keep {
            return self.trim_by_entry(trim, limits);
        }
        let before = self.entries.len();
        while let Some(node) = self.nodes.first().cloned() {
            let live: Vec<Id> =
                self.entries.range(node.first..=node.last).map(|(id, _)| *id).collect();
            let excess = match trim.to {
                Threshold::MaxLen(keep) => self.entries.len().saturating_sub(keep),
                Threshold::MinId(min) => live.iter().filter(|id| **id < min).count(),
            };
            // A node goes by the last id that it ever held, deleted or not.
            let whole = match trim.to {
                Threshold::MaxLen(_) => excess > 0 && excess >= live.len(),
                Threshold::MinId(min) => node.last < min,
            };
            let after = (before - self.entries.len() + live.len()) as u64;
            if trim.most(limits).is_some_and(|most| after > most) || trim.approx && !whole {
                break;
            }
            for id in live.iter().take(excess) {
                self.entries.remove(id);
            }
            if !whole {
                break;
            }
            self.nodes.remove(0);
        }
        before - self.entries.len()
    }

    /// Counts the delivery of `id` to a group, the way that Redis counts.
    pub(super) fn entries_read_after(&self, group: &Group, id: Id) -> Option<u64> {
        match group.entries_read {
            Some(read)
                if group.last_id >= self.first_id() && !self.tombstone_from(group.last_id) =>
            {
                Some(read + 1)
            }
            // Never reached with nothing added, but for XSETID ENTRIESADDED 0.
            unchanged if self.entries_added == 0 => unchanged,
            _ => self.estimate(id),
        }
    }

    fn length(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether a deletion may lie at or after `from`.
    fn tombstone_from(&self, from: Id) -> bool {
        !self.entries.is_empty() && self.max_deleted_id != Id::MIN && from <= self.max_deleted_id
    }

    /// How many entries were ever added up to `id`; `None` if that cannot be told.
    fn estimate(&self, id: Id) -> Option<u64> {
        let first = self.first_id();
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.entries.is_empty() && id <= self.last_id {
            return Some(self.entries_added);
        }
        if id != Id::MIN && id < self.max_deleted_id {
            return None;
        }
        if id == self.last_id {
            return Some(self.entries_added);
        }
        if id > self.last_id {
            return None;
        }
        let whole = self.max_deleted_id == Id::MIN || self.max_deleted_id < first;
        match id.cmp(&first) {
            std::cmp::Ordering::Less if whole => Some(self.entries_added - self.length()),
            std::cmp::Ordering::Equal if whole => Some(self.entries_added - self.length() + 1),
            _ => None,
        }
    }
}

impl Node {
    fn is_full(&self, limits: NodeLimits) -> bool {
        self.ended
            || (limits.max_entries != 0 && self.appended >= limits.max_entries)
            || (limits.max_bytes != 0 && self.bytes >= limits.max_bytes)
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).expect("Redis keeps its counters below 2^63")
}
