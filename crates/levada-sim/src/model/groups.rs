//! Consumer groups: delivery, pending lists, claims.
//!
//! A pending entry names its owner; what a consumer has pending is found by looking.

use super::reply::{Answer, Entries, ErrorKind, Id, PendingRow, Reply, first_of, integer, last_of};
use super::{Model, References, Stream};
use std::collections::BTreeMap;
use std::ops::Bound;

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The last id delivered, or set.
    pub last_id: Id,
    /// Redis' count of entries read; `None` if it cannot tell.
    pub entries_read: Option<u64>,
    /// Consumers by name.
    pub consumers: BTreeMap<Vec<u8>, Consumer>,
    /// Delivered and not acknowledged.
    pub pending: BTreeMap<Id, Pending>,
}

/// A consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// When it last asked for anything.
    pub seen_ms: u64,
    /// When it last got something to be acknowledged.
    pub active_ms: Option<u64>,
}

/// One entry of a pending list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The owner.
    pub consumer: Vec<u8>,
    /// When it was last delivered.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub count: u64,
}

/// Where a group starts (XGROUP CREATE, SETID).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupStart {
    /// After this id.
    After(Id),
    /// `$`.
    Last,
}

/// The id argument of XREADGROUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupFrom {
    /// `>`: what nobody in the group got yet.
    New,
    /// The consumer's own pending entries above this id.
    After(Id),
}

/// The delivery time that XCLAIM leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// IDLE: so many ms ago.
    Ago(i64),
    /// TIME: at this ms.
    At(i64),
}

/// The options of XCLAIM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaimOptions {
    /// IDLE or TIME, the later of the two if both are given; none is now.
    pub delivered: Option<Delivered>,
    /// RETRYCOUNT.
    pub count: Option<u64>,
    /// FORCE.
    pub force: bool,
    /// JUSTID.
    pub just_id: bool,
    /// LASTID.
    pub last_id: Option<Id>,
}

/// Options of XREAD and XREADGROUP beyond COUNT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadMore {
    /// MAXCOUNT: entries over all streams.
    pub most: Option<usize>,
    /// CLAIM: first what is pending for anyone and idle for so long; XREADGROUP alone.
    pub claim_idle_ms: Option<u64>,
    /// BLOCK, which the model leaves to whoever asks it: it answers nil.
    pub block_ms: Option<u64>,
}

/// The mode of XNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nack {
    /// SILENT: the delivery does not count.
    Silent,
    /// FAIL: it does.
    Fail,
    /// FATAL: the count is as high as can be.
    Fatal,
}

/// Who owns what XNACK released.
pub const NOBODY: &[u8] = b"";

impl Model {
    /// XGROUP CREATE; `create` is MKSTREAM. ENTRIESREAD is cut to the entries added (seen in 8.6).
    pub fn xgroup_create(
        &mut self,
        now_ms: u64,
        key: &[u8],
        name: &[u8],
        start: GroupStart,
        create: bool,
        entries_read: Option<u64>,
    ) -> Answer {
        if self.stream(now_ms, key)?.is_none() && !create {
            return Err(ErrorKind::KeyRequired);
        }
        let stream = self.stream_or_new(key);
        if stream.groups.contains_key(name) {
            return Err(ErrorKind::BusyGroup);
        }
        let group = Group {
            last_id: start.resolve(stream),
            entries_read: entries_read.map(|read| read.min(stream.entries_added)),
            consumers: BTreeMap::new(),
            pending: BTreeMap::new(),
        };
        stream.groups.insert(name.to_vec(), group);
        Ok(Reply::Ok)
    }

    /// XGROUP SETID; without ENTRIESREAD the counter becomes invalid.
    pub fn xgroup_setid(
        &mut self,
        now_ms: u64,
        key: &[u8],
        name: &[u8],
        start: GroupStart,
        entries_read: Option<u64>,
    ) -> Answer {
        let stream = self.stream(now_ms, key)?.ok_or(ErrorKind::KeyRequired)?;
        let last_id = start.resolve(stream);
        let entries_read = entries_read.map(|read| read.min(stream.entries_added));
        let group = stream.groups.get_mut(name).ok_or(ErrorKind::NoGroup)?;
        group.last_id = last_id;
        group.entries_read = entries_read;
        Ok(Reply::Ok)
    }

    /// XGROUP DESTROY: 1 if there was one.
    pub fn xgroup_destroy(&mut self, now_ms: u64, key: &[u8], name: &[u8]) -> Answer {
        let stream = self.stream(now_ms, key)?.ok_or(ErrorKind::KeyRequired)?;
        Ok(Reply::Integer(stream.groups.remove(name).is_some().into()))
    }

    /// XGROUP CREATECONSUMER: 1 if it is new.
    pub fn xgroup_createconsumer(
        &mut self,
        now_ms: u64,
        key: &[u8],
        name: &[u8],
        consumer: &[u8],
    ) -> Answer {
        let stream = self.stream(now_ms, key)?.ok_or(ErrorKind::KeyRequired)?;
        let group = stream.groups.get_mut(name).ok_or(ErrorKind::NoGroup)?;
        let is_new = !group.consumers.contains_key(consumer);
        if is_new {
            group.see(now_ms, consumer);
        }
        Ok(Reply::Integer(is_new.into()))
    }

    /// XGROUP DELCONSUMER: how many pending entries went with it.
    pub fn xgroup_delconsumer(
        &mut self,
        now_ms: u64,
        key: &[u8],
        name: &[u8],
        consumer: &[u8],
    ) -> Answer {
        let stream = self.stream(now_ms, key)?.ok_or(ErrorKind::KeyRequired)?;
        let group = stream.groups.get_mut(name).ok_or(ErrorKind::NoGroup)?;
        let before = group.pending.len();
        group.pending.retain(|_, pending| pending.consumer != consumer);
        group.consumers.remove(consumer);
        Ok(integer(before - group.pending.len()))
    }

    /// XREADGROUP without BLOCK; a count of 0 is no limit.
    #[expect(clippy::too_many_arguments, reason = "the command has as many")]
    pub fn xreadgroup(
        &mut self,
        now_ms: u64,
        group: &[u8],
        consumer: &[u8],
        from: &[(&[u8], GroupFrom)],
        count: usize,
        noack: bool,
        more: ReadMore,
    ) -> Answer {
        for (key, _) in from {
            self.group(now_ms, key, group)?;
        }
        let count = if count == 0 { usize::MAX } else { count };
        let mut left = more.most.unwrap_or(usize::MAX);
        let mut claim_idle_ms = more.claim_idle_ms;
        let mut found = Vec::new();
        for (key, from) in from {
            if left == 0 {
                break;
            }
            let count = count.min(left);
            let stream = self.group(now_ms, key, group)?;
            stream.groups.get_mut(group).expect("looked up above").see(now_ms, consumer);
            let entries = match from {
                // Redis uses the last id as its sign for `>`, so it means the same.
                GroupFrom::New | GroupFrom::After(Id::MAX) => {
                    let mut entries = claim_idle_ms.map_or_else(Vec::new, |idle_ms| {
                        stream.claim_idle(now_ms, group, consumer, count, idle_ms)
                    });
                    let count = count - entries.len();
                    entries.extend(stream.deliver(now_ms, group, consumer, count, noack));
                    entries
                }
                GroupFrom::After(id) => {
                    // A history ends claiming for the streams behind it too.
                    claim_idle_ms = None;
                    stream.history(now_ms, group, consumer, *id, count)
                }
            };
            left -= entries.len();
            let is_history = !matches!(from, GroupFrom::New | GroupFrom::After(Id::MAX));
            if is_history || !entries.is_empty() {
                found.push((key.to_vec(), entries));
            }
        }
        Ok(if found.is_empty() { Reply::Nil } else { Reply::Streams(found) })
    }

    /// XACK: how many were pending; a missing key or group has none.
    pub fn xack(&mut self, now_ms: u64, key: &[u8], group: &[u8], ids: &[Id]) -> Answer {
        let stream = self.stream(now_ms, key)?;
        let Some(group) = stream.and_then(|stream| stream.groups.get_mut(group)) else {
            return Ok(Reply::Integer(0));
        };
        Ok(integer(ids.iter().filter(|id| group.pending.remove(*id).is_some()).count()))
    }

    /// XACKDEL, for each id: -1 not pending, 1 acknowledged and no more there, 2 acknowledged and
    /// kept.
    pub fn xackdel(
        &mut self,
        now_ms: u64,
        key: &[u8],
        group: &[u8],
        what: References,
        ids: &[Id],
    ) -> Answer {
        let stream = self.stream(now_ms, key)?.filter(|stream| stream.groups.contains_key(group));
        let Some(stream) = stream else {
            return Ok(Reply::Integers(vec![-1; ids.len()]));
        };
        let acknowledge = |id: &Id| {
            let pending = &mut stream.groups.get_mut(group).expect("looked up above").pending;
            if pending.remove(id).is_none() {
                return -1;
            }
            if what == References::Acked && stream.is_referenced(*id) {
                return 2;
            }
            if what == References::Remove {
                stream.forget(*id);
            }
            stream.delete(*id);
            1
        };
        Ok(Reply::Integers(ids.iter().map(acknowledge).collect()))
    }

    /// XPENDING without a range.
    pub fn xpending(&mut self, now_ms: u64, key: &[u8], group: &[u8]) -> Answer {
        let group = &self.group(now_ms, key, group)?.groups[group];
        let mut consumers: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for pending in group.pending.values() {
            *consumers.entry(pending.consumer.clone()).or_default() += 1;
        }
        let edges = group.pending.keys().next().zip(group.pending.keys().next_back());
        Ok(Reply::PendingSummary {
            total: group.pending.len(),
            range: edges.map(|(first, last)| (*first, *last)),
            consumers: consumers.into_iter().collect(),
        })
    }

    /// XPENDING with a range: at most `count` rows, of one consumer if it is named.
    #[expect(clippy::too_many_arguments, reason = "the command has as many")]
    pub fn xpending_range(
        &mut self,
        now_ms: u64,
        key: &[u8],
        group: &[u8],
        min_idle_ms: u64,
        start: Bound<Id>,
        end: Bound<Id>,
        count: usize,
        consumer: Option<&[u8]>,
    ) -> Answer {
        let (start, end) = (first_of(start)?, last_of(end)?);
        let group = &self.group(now_ms, key, group)?.groups[group];
        let wanted = |(id, pending): &(&Id, &Pending)| {
            (start..=end).contains(*id)
                && pending.idle_ms(now_ms) >= min_idle_ms
                && consumer.is_none_or(|consumer| pending.consumer == consumer)
        };
        let row = |(id, pending): (&Id, &Pending)| PendingRow {
            id: *id,
            consumer: pending.consumer.clone(),
            idle_ms: if pending.consumer == NOBODY { 0 } else { pending.idle_ms(now_ms) },
            count: pending.count,
        };
        Ok(Reply::PendingRows(group.pending.iter().filter(wanted).take(count).map(row).collect()))
    }

    /// XCLAIM.
    #[expect(clippy::too_many_arguments, reason = "the command has as many")]
    pub fn xclaim(
        &mut self,
        now_ms: u64,
        key: &[u8],
        name: &[u8],
        consumer: &[u8],
        min_idle_ms: u64,
        ids: &[Id],
        options: ClaimOptions,
    ) -> Answer {
        let Stream { entries, groups, .. } = self.group(now_ms, key, name)?;
        let group = groups.get_mut(name).expect("looked up above");
        group.last_id = group.last_id.max(options.last_id.unwrap_or(Id::MIN));
        group.see(now_ms, consumer);
        let mut claimed = Vec::new();
        for id in ids {
            let Some(fields) = entries.get(id) else {
                group.pending.remove(id);
                continue;
            };
            let (idle_ms, count) = match group.pending.get(id) {
                Some(pending) => (pending.idle_ms(now_ms), pending.count),
                // What FORCE makes starts at one delivery and is never too young.
                None if options.force => (u64::MAX, 1),
                None => continue,
            };
            if idle_ms < min_idle_ms {
                continue;
            }
            let counted = count + u64::from(!options.just_id);
            let pending = Pending {
                consumer: consumer.to_vec(),
                delivered_ms: delivery_time(now_ms, options.delivered),
                count: options.count.unwrap_or(counted),
            };
            group.give(now_ms, *id, pending);
            claimed.push((*id, Some(fields.clone())));
        }
        if options.just_id {
            return Ok(Reply::Ids(claimed.into_iter().map(|(id, _)| id).collect()));
        }
        Ok(Reply::Entries(claimed))
    }

    /// XNACK: how many were released, each as often as it is named.
    #[expect(clippy::too_many_arguments, reason = "the command has as many")]
    pub fn xnack(
        &mut self,
        now_ms: u64,
        key: &[u8],
        name: &[u8],
        mode: Nack,
        ids: &[Id],
        count: Option<u64>,
        force: bool,
    ) -> Answer {
        let Stream { entries, groups, .. } = self.group(now_ms, key, name)?;
        let group = groups.get_mut(name).expect("looked up above");
        let mut released = 0;
        for id in ids {
            let before = match group.pending.get(id) {
                Some(pending) => pending.count,
                None if force && entries.contains_key(id) => 0,
                None => continue,
            };
            let adjusted = match mode {
                Nack::Silent => before.saturating_sub(1),
                Nack::Fail => before,
                Nack::Fatal => i64::MAX.unsigned_abs(),
            };
            let count = count.unwrap_or(adjusted);
            let pending = Pending { consumer: NOBODY.to_vec(), delivered_ms: 0, count };
            group.pending.insert(*id, pending);
            released += 1;
        }
        Ok(integer(released))
    }

    /// XAUTOCLAIM: looks at no more than `count * 10` pending entries.
    #[expect(clippy::too_many_arguments, reason = "the command has as many")]
    pub fn xautoclaim(
        &mut self,
        now_ms: u64,
        key: &[u8],
        name: &[u8],
        consumer: &[u8],
        min_idle_ms: u64,
        start: Bound<Id>,
        count: usize,
        just_id: bool,
    ) -> Answer {
        let start = first_of(start)?;
        let Stream { entries, groups, .. } = self.group(now_ms, key, name)?;
        let group = groups.get_mut(name).expect("looked up above");
        group.see(now_ms, consumer);
        let mut ahead: Vec<Id> = group.pending.keys().copied().filter(|id| *id >= start).collect();
        ahead.reverse();
        let (mut claimed, mut deleted) = (Entries::new(), Vec::new());
        for _ in 0..count * 10 {
            if claimed.len() + deleted.len() == count {
                break;
            }
            let Some(id) = ahead.pop() else { break };
            let Some(fields) = entries.get(&id) else {
                group.pending.remove(&id);
                deleted.push(id);
                continue;
            };
            let pending = &group.pending[&id];
            if pending.idle_ms(now_ms) < min_idle_ms {
                continue;
            }
            let count = pending.count + u64::from(!just_id);
            let owner = consumer.to_vec();
            group.give(now_ms, id, Pending { consumer: owner, delivered_ms: now_ms, count });
            claimed.push((id, (!just_id).then(|| fields.clone())));
        }
        let cursor = ahead.last().copied().unwrap_or(Id::MIN);
        let is_wanted = |id: &&Id| {
            !entries.contains_key(*id) || group.pending[*id].idle_ms(now_ms) >= min_idle_ms
        };
        let cursor_max = ahead.iter().rev().find(is_wanted).copied().unwrap_or(Id::MIN);
        Ok(Reply::AutoClaimed { cursor, cursor_max, claimed, deleted })
    }

    /// The stream at a key, if it has the group.
    fn group(&mut self, now_ms: u64, key: &[u8], name: &[u8]) -> Result<&mut Stream, ErrorKind> {
        let stream = self.stream(now_ms, key)?.ok_or(ErrorKind::NoGroup)?;
        if stream.groups.contains_key(name) { Ok(stream) } else { Err(ErrorKind::NoGroup) }
    }
}

impl Stream {
    /// Hands out new entries. With `noack` nothing becomes pending and nobody becomes active.
    fn deliver(
        &mut self,
        now_ms: u64,
        name: &[u8],
        consumer: &[u8],
        count: usize,
        noack: bool,
    ) -> Entries {
        let mut found = Vec::new();
        let last_id = self.groups[name].last_id;
        let new = self.entries.iter().filter(|(id, _)| **id > last_id).take(count);
        for (id, fields) in new.map(|(id, fields)| (*id, fields.clone())).collect::<Vec<_>>() {
            let entries_read = self.entries_read_after(&self.groups[name], id);
            let group = self.groups.get_mut(name).expect("looked up above");
            group.entries_read = entries_read;
            group.last_id = id;
            if !noack {
                let owner = consumer.to_vec();
                let pending = Pending { consumer: owner, delivered_ms: now_ms, count: 1 };
                group.give(now_ms, id, pending);
            }
            found.push((id, Some(fields)));
        }
        found
    }

    /// Takes over what has been pending for so long, oldest first.
    fn claim_idle(
        &mut self,
        now_ms: u64,
        name: &[u8],
        consumer: &[u8],
        count: usize,
        idle_ms: u64,
    ) -> Entries {
        let group = self.groups.get_mut(name).expect("looked up above");
        let idle = group.pending.iter().filter(|(_, pending)| pending.idle_ms(now_ms) >= idle_ms);
        let mut idle: Vec<_> =
            idle.map(|(id, pending)| (pending.delivered_ms, *id, pending.count)).collect();
        // The clock has to have come so far at all.
        idle.retain(|_| now_ms >= idle_ms);
        idle.sort_unstable();
        let mut found = Vec::new();
        for (_, id, before) in idle {
            if found.len() == count {
                break;
            }
            let Some(fields) = self.entries.get(&id) else {
                continue;
            };
            let owner = consumer.to_vec();
            let pending = Pending { consumer: owner, delivered_ms: now_ms, count: before + 1 };
            group.give(now_ms, id, pending);
            found.push((id, Some(fields.clone())));
        }
        found
    }

    /// Reads a consumer's own pending entries again; only live ones count as delivered.
    fn history(
        &mut self,
        now_ms: u64,
        name: &[u8],
        consumer: &[u8],
        above: Id,
        count: usize,
    ) -> Entries {
        let group = self.groups.get_mut(name).expect("looked up above");
        let own = group.pending.iter_mut();
        let own = own.filter(|(id, pending)| **id > above && pending.consumer == consumer);
        let mut found = Vec::new();
        for (id, pending) in own.take(count) {
            let fields = self.entries.get(id).cloned();
            if fields.is_some() {
                pending.delivered_ms = now_ms;
                pending.count += 1;
            }
            found.push((*id, fields));
        }
        found
    }
}

impl Group {
    /// Notes that a consumer asked for something, and creates it if it is new.
    fn see(&mut self, now_ms: u64, consumer: &[u8]) {
        let new = Consumer { seen_ms: now_ms, active_ms: None };
        self.consumers.entry(consumer.to_vec()).or_insert(new).seen_ms = now_ms;
    }

    /// Makes an entry pending for a known consumer, whoever had it before.
    fn give(&mut self, now_ms: u64, id: Id, pending: Pending) {
        let consumer = self.consumers.get_mut(&pending.consumer).expect("the owner was seen");
        consumer.active_ms = Some(now_ms);
        self.pending.insert(id, pending);
    }
}

impl Pending {
    /// Milliseconds since the last delivery; 0 if the clock went back.
    fn idle_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.delivered_ms)
    }
}

impl GroupStart {
    fn resolve(self, stream: &Stream) -> Id {
        match self {
            Self::After(id) => id,
            Self::Last => stream.last_id,
        }
    }
}

/// What XCLAIM stores; a time before 1970 or in the future becomes now.
fn delivery_time(now_ms: u64, wanted: Option<Delivered>) -> u64 {
    let wanted = match wanted {
        None => Some(now_ms),
        Some(Delivered::At(ms)) => u64::try_from(ms).ok(),
        Some(Delivered::Ago(ms)) => now_ms.checked_add_signed(ms.wrapping_neg()),
    };
    wanted.filter(|ms| *ms <= now_ms).unwrap_or(now_ms)
}
