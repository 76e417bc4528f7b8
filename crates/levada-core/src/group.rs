//! A consumer group: how far it has read, who reads, what is pending.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use crate::{
    id::StreamId,
    order::Order,
    pending::{Pending, PendingList},
    policy::GroupPolicy,
    redriven::Redriven,
    registry::Registry,
    restored::{RestoredGroup, RestoredPending},
    varint::{self, Reader},
};

/// A consumer of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Consumer {
    /// Unix milliseconds of its last attempt to read or claim.
    pub seen_ms: u64,
    /// Unix milliseconds of its last success.
    pub active_ms: Option<u64>,
    /// How many entries are pending for it.
    pub pending: u64,
}

/// The number of no consumer: what XNACK released is pending and nobody's. On disk: never change.
pub const NOBODY: u32 = u32::MAX;

/// Flags of a pending entry: what the group does with it beside waiting for its acknowledgement.
/// At most one is set. On disk: never change.
pub(crate) mod flag {
    /// `>` delivers it again.
    pub(crate) const OFFERED: u8 = 1;
    /// It rests until its time comes, then it is offered.
    pub(crate) const RESTING: u8 = 2;
    /// It is to become a dead letter.
    pub(crate) const CONDEMNED: u8 = 4;
}

/// Pending entries with a flag, by what happens to them next. What is offered is known from the
/// flags; when a rest ends, and why an entry is condemned, stands here alone.
#[derive(Clone, Default, Debug)]
pub struct Offers {
    /// To be delivered again by `>`, the lowest id first.
    pub offered: BTreeSet<StreamId>,
    /// To become dead letters, with the reason; there for long only where the dead-letter stream
    /// cannot take them.
    pub condemned: BTreeMap<StreamId, Arc<[u8]>>,
    rests: BTreeMap<StreamId, u64>,
    due: BTreeSet<(u64, StreamId)>,
}

impl Offers {
    /// Whether no pending entry has a flag.
    pub fn is_empty(&self) -> bool {
        self.offered.is_empty() && self.condemned.is_empty() && self.rests.is_empty()
    }

    /// When the first rest ends, in unix milliseconds.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// What has rested long enough, the longest due first.
    pub fn due(&self, now_ms: u64) -> impl Iterator<Item = StreamId> + '_ {
        self.due.iter().take_while(move |(due_ms, _)| *due_ms <= now_ms).map(|(_, id)| *id)
    }

    fn note(&mut self, id: StreamId, flags: u8, due_ms: u64) {
        match flags {
            flag::OFFERED => {
                self.offered.insert(id);
            }
            flag::RESTING => {
                self.rests.insert(id, due_ms);
                self.due.insert((due_ms, id));
            }
            _ => {}
        }
    }

    fn forget(&mut self, id: StreamId, flags: u8) {
        match flags {
            flag::OFFERED => {
                self.offered.remove(&id);
            }
            flag::CONDEMNED => {
                self.condemned.remove(&id);
            }
            flag::RESTING => {
                if let Some(due_ms) = self.rests.remove(&id) {
                    self.due.remove(&(due_ms, id));
                }
            }
            _ => {}
        }
    }
}

/// A consumer group.
///
/// Invariant: the pending entries of its consumers and of [`NOBODY`] add up to its pending list,
/// and each names a consumer that exists, or nobody.
#[derive(Clone, Default, Debug)]
pub struct Group {
    /// The last id delivered to anyone.
    pub last_id: StreamId,
    /// How many entries of the stream, ever, stand at or before it, where known.
    pub entries_read: Option<u64>,
    /// Who reads.
    pub consumers: Registry<Consumer>,
    /// What was delivered and not acknowledged.
    pub pending: PendingList,
    /// What the server does for it.
    pub policy: GroupPolicy,
    /// What is to be delivered again, or rests.
    pub offers: Offers,
    /// With ORDER-BY: keys in flight, and what waits for them.
    pub order: Order,
    /// Entries that became dead letters.
    pub dead_letters: u64,
    /// Entries that a limit removed before the group had acknowledged them.
    pub dropped: u64,
    /// Entries that it skipped under RETENTION ACKED.
    pub released_unread: u64,
    /// Log position of its last change, for checkpoints.
    pub changed: u64,
}

impl Group {
    /// A group as it was restored.
    pub(crate) fn restored(from: &RestoredGroup, position: u64) -> Self {
        let (last_id, entries_read) = (from.last_id, from.entries_read);
        let mut group = Self { last_id, entries_read, changed: position, ..Self::default() };
        for (number, consumer) in (0..).zip(&from.consumers) {
            let (seen_ms, active_ms) = (consumer.seen_ms, consumer.active_ms);
            let new = Consumer { seen_ms, active_ms, pending: 0 };
            group.consumers.insert(number, consumer.name.as_slice().into(), new);
        }
        for RestoredPending { id, delivered_ms, count, consumer } in from.pending.iter().copied() {
            let entry = Pending { id, consumer, delivered_ms, count, leases: 0, flags: 0 };
            group.set_pending(position, entry);
        }
        group
    }

    /// Memory that it takes, its name apart.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.pending.memory_bytes() + self.order.memory_bytes()
    }

    /// How many pending entries are nobody's.
    pub fn unowned(&self) -> u64 {
        let owned: u64 = self.consumers.iter().map(|(_, _, consumer)| consumer.pending).sum();
        self.pending.len().saturating_sub(owned)
    }

    /// Makes an entry pending, or moves it: `set` with the counters of both consumers.
    pub(crate) fn set_pending(&mut self, position: u64, entry: Pending) {
        let previous = self.pending.set(position, entry);
        if let Some(previous) = previous {
            self.offers.forget(entry.id, previous.flags);
        }
        if previous.is_none_or(|previous| previous.consumer != entry.consumer) {
            if let Some(previous) = previous {
                self.count(previous.consumer, -1);
            }
            self.count(entry.consumer, 1);
        }
    }

    /// Makes entries pending that were delivered alike, by ids that ascend.
    pub(crate) fn deliver(&mut self, position: u64, ids: &[StreamId], like: Pending) {
        // ORDER-BY comes back to entries that it passed over.
        if self.pending.last() >= ids.first().copied() {
            ids.iter().for_each(|id| self.set_pending(position, Pending { id: *id, ..like }));
            return;
        }
        self.pending.append(position, ids, like);
        self.count(like.consumer, i64::try_from(ids.len()).unwrap_or(i64::MAX));
    }

    /// Ends the pending state of entries, by ids that ascend.
    pub(crate) fn release_all(&mut self, position: u64, ids: &[StreamId]) {
        let Self { pending, offers, order, consumers, .. } = self;
        let mut uncount = |consumer: u32, released: u64| {
            if let Some(consumer) = consumers.get_mut(consumer) {
                consumer.pending = consumer.pending.saturating_sub(released);
            }
        };
        // Most often all were with one consumer.
        let (mut owner, mut released) = (NOBODY, 0);
        pending.remove_all(position, ids, |held| {
            offers.forget(held.id, held.flags);
            order.land(held.id);
            if held.consumer != owner {
                uncount(owner, released);
                (owner, released) = (held.consumer, 0);
            }
            released += 1;
        });
        uncount(owner, released);
    }

    /// Ends the pending state of an entry.
    pub(crate) fn release(&mut self, position: u64, id: StreamId) {
        if let Some(previous) = self.pending.remove(position, id) {
            self.offers.forget(id, previous.flags);
            self.order.land(id);
            self.count(previous.consumer, -1);
        }
    }

    /// Flags a pending entry: offered from `due_ms` on, at once where that is 0.
    pub(crate) fn offer(&mut self, position: u64, id: StreamId, due_ms: u64) {
        let flags = if due_ms == 0 { flag::OFFERED } else { flag::RESTING };
        self.set_flags(position, id, flags, due_ms);
    }

    /// Makes an entry pending that nobody was given yet, and offers it.
    pub(crate) fn give_back(&mut self, position: u64, id: StreamId) {
        self.set_pending(position, Pending { id, consumer: NOBODY, ..Pending::default() });
        self.offer(position, id, 0);
    }

    /// Gives it a policy. Behind ORDER-BY what was parked is offered, so that nothing is lost.
    pub(crate) fn set_policy(&mut self, position: u64, policy: &GroupPolicy) {
        if policy.order_by != self.policy.order_by {
            let order = core::mem::take(&mut self.order);
            for (id, _) in order.parked_from(StreamId::MIN) {
                self.give_back(position, id);
            }
        }
        self.policy = policy.clone();
    }

    /// Notes the key of a pending entry.
    pub(crate) fn take_off(&mut self, id: StreamId, key: u64) {
        if self.pending.get(id).is_some() {
            self.order.take_off(id, key);
        }
    }

    /// Whether an entry may be claimed by age: with ORDER-BY it must be the first of its key.
    pub fn is_next(&self, id: StreamId) -> bool {
        self.order.lane_of(id).first().is_none_or(|first| *first == id)
    }

    /// Whether an offered entry may be delivered: with ORDER-BY it must be the first of its key,
    /// and none of that key may be with a consumer.
    pub fn is_free(&self, id: StreamId) -> bool {
        let lane = self.order.lane_of(id);
        let is_out = |id: &StreamId| self.pending.get(*id).is_some_and(|held| held.flags == 0);
        lane.is_empty() || (lane[0] == id && !lane.iter().any(is_out))
    }

    /// Flags a pending entry as one that is to become a dead letter.
    pub(crate) fn condemn(&mut self, position: u64, id: StreamId, reason: &[u8]) {
        if self.set_flags(position, id, flag::CONDEMNED, 0) {
            self.offers.condemned.insert(id, reason.into());
        }
    }

    fn set_flags(&mut self, position: u64, id: StreamId, flags: u8, due_ms: u64) -> bool {
        let Some(entry) = self.pending.get(id) else {
            return false;
        };
        self.set_pending(position, Pending { flags, ..entry });
        self.offers.note(id, flags, due_ms);
        true
    }

    /// Takes a consumer out; what was pending for it goes to `to`, or is nobody's and offered.
    pub(crate) fn hand_over(&mut self, position: u64, consumer: u32, to: Option<u32>) {
        let held: Vec<_> = self.pending.iter_consumer(consumer, StreamId::MIN).collect();
        for entry in held {
            let owner = to.unwrap_or(NOBODY);
            let due_ms = self.offers.rests.get(&entry.id).copied().unwrap_or(0);
            let reason = self.offers.condemned.get(&entry.id).cloned().unwrap_or_default();
            self.set_pending(position, Pending { consumer: owner, flags: 0, ..entry });
            match entry.flags {
                flag::CONDEMNED => self.condemn(position, entry.id, &reason),
                flag::RESTING => self.offer(position, entry.id, due_ms),
                flags if to.is_none() || flags == flag::OFFERED => {
                    self.offer(position, entry.id, 0);
                }
                _ => {}
            }
        }
        self.consumers.remove(consumer);
    }

    /// Takes a consumer out with all that was pending for it.
    pub(crate) fn remove_consumer(&mut self, position: u64, consumer: u32) {
        if !self.offers.is_empty() || !self.order.is_empty() {
            for entry in self.pending.iter_consumer(consumer, StreamId::MIN) {
                self.offers.forget(entry.id, entry.flags);
                self.order.land(entry.id);
            }
        }
        self.pending.remove_consumer(position, consumer);
        self.consumers.remove(consumer);
    }

    /// The id below which the group needs no entry any more. References below `first`, the first
    /// entry that is there, hold nothing; redriven entries only where they are pending.
    pub fn watermark(&self, first: StreamId, redriven: &Redriven) -> StreamId {
        // What is gone from the head was passed, and with it what came back right behind it.
        let last_id = self.last_id.max(first.previous().unwrap_or_default());
        let undelivered = redriven.passed(last_id).next().unwrap_or(StreamId::MAX);
        let held = self.pending.iter_from(first).next();
        let parked = self.order.parked_from(first).next();
        let needed = held.map(|held| held.id).into_iter().chain(parked.map(|(id, _)| id));
        needed.fold(undelivered, StreamId::min)
    }

    /// Notes that a consumer was there, and whether it got something.
    pub(crate) fn seen(&mut self, consumer: u32, now_ms: u64, active: bool) {
        if let Some(consumer) = self.consumers.get_mut(consumer) {
            consumer.seen_ms = now_ms;
            if active {
                consumer.active_ms = Some(now_ms);
            }
        }
    }

    fn count(&mut self, consumer: u32, by: i64) {
        if let Some(consumer) = self.consumers.get_mut(consumer) {
            consumer.pending = consumer.pending.saturating_add_signed(by);
        }
    }

    /// Appends everything but the chunks of the pending list, whose numbers it lists in order.
    pub(crate) fn encode(&self, name: &[u8], out: &mut Vec<u8>) {
        varint::put_bytes(out, name);
        varint::put_id(out, self.last_id);
        varint::put_option(out, self.entries_read);
        varint::put_u64(out, self.consumers.len() as u64);
        for (name, number, consumer) in self.consumers.iter() {
            varint::put_u64(out, u64::from(number));
            varint::put_bytes(out, name);
            varint::put_u64(out, consumer.seen_ms);
            varint::put_option(out, consumer.active_ms);
            varint::put_u64(out, consumer.pending);
        }
        let chunks = self.pending.chunks().map(|chunk| chunk.number()).collect::<Vec<_>>();
        varint::put_u64(out, chunks.len() as u64);
        chunks.iter().for_each(|number| varint::put_u64(out, u64::from(*number)));
        self.policy.encode(out);
        varint::put_u64(out, self.dead_letters);
        varint::put_u64(out, self.dropped);
        varint::put_u64(out, self.offers.rests.len() as u64);
        for (id, due_ms) in &self.offers.rests {
            varint::put_id(out, *id);
            varint::put_u64(out, *due_ms);
        }
        varint::put_u64(out, self.offers.condemned.len() as u64);
        for (id, reason) in &self.offers.condemned {
            varint::put_id(out, *id);
            varint::put_bytes(out, reason);
        }
        varint::put_u64(out, self.released_unread);
        if !self.order.is_empty() {
            self.order.encode(out);
        }
    }

    /// The inverse of [`Group::encode`]: the name, the group without its pending list, and the
    /// numbers of the chunks that make it up.
    pub(crate) fn decode<'a>(reader: &mut Reader<'a>) -> Option<(&'a [u8], Self, Vec<u32>)> {
        let name = reader.bytes()?;
        let (last_id, entries_read) = (reader.id()?, reader.option()?);
        let mut group = Self { last_id, entries_read, ..Self::default() };
        for _ in 0..reader.count()? {
            let (number, name) = (reader.u32()?, reader.bytes()?);
            let consumer = Consumer {
                seen_ms: reader.u64()?,
                active_ms: reader.option()?,
                pending: reader.u64()?,
            };
            if group.consumers.get(number).is_some() || group.consumers.number(name).is_some() {
                return None;
            }
            group.consumers.insert(number, name.into(), consumer);
        }
        let chunks = (0..reader.count()?).map(|_| reader.u32()).collect::<Option<_>>()?;
        group.policy = GroupPolicy::decode(reader)?;
        (group.dead_letters, group.dropped) = (reader.u64()?, reader.u64()?);
        for _ in 0..reader.count()? {
            let (id, due_ms) = (reader.id()?, reader.u64()?);
            group.offers.note(id, flag::RESTING, due_ms);
        }
        for _ in 0..reader.count()? {
            let (id, reason) = (reader.id()?, reader.bytes()?);
            group.offers.condemned.insert(id, reason.into());
        }
        group.released_unread = reader.u64()?;
        if !reader.is_empty() {
            group.order = Order::decode(reader)?;
        }
        Some((name, group, chunks))
    }

    /// Gives a group that was read back its pending list.
    pub(crate) fn set_pending_list(&mut self, pending: PendingList) {
        let entries = pending.iter_from(StreamId::MIN);
        for entry in entries.filter(|entry| entry.flags == flag::OFFERED) {
            self.offers.note(entry.id, entry.flags, 0);
        }
        self.pending = pending;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rests_is_due_in_the_order_of_its_time() {
        let id = |ms| StreamId::new(ms, 0);
        let mut offers = Offers::default();
        assert_eq!(offers.next_due_ms(), None);
        offers.note(id(1), flag::RESTING, 70);
        offers.note(id(2), flag::RESTING, 50);
        assert_eq!(offers.next_due_ms(), Some(50));
        assert_eq!(offers.due(69).collect::<Vec<_>>(), [id(2)]);
        offers.forget(id(2), flag::RESTING);
        assert_eq!(offers.next_due_ms(), Some(70));
    }

    #[test]
    fn what_came_back_behind_what_is_gone_is_passed() {
        let id = |ms| StreamId::new(ms, 0);
        let group = Group { last_id: id(4), ..Group::default() };
        let mut redriven = Redriven::default();
        redriven.insert(id(5), id(4));
        redriven.insert(id(6), id(5));
        assert_eq!(group.watermark(id(5), &redriven), StreamId::new(6, 1));
        redriven.drop_below(id(6));
        assert_eq!(group.watermark(id(6), &redriven), StreamId::new(6, 1));
        // Between the two something is there that the group was not given.
        redriven.insert(id(9), id(8));
        assert_eq!(group.watermark(id(6), &redriven), StreamId::new(6, 1));
    }
}
