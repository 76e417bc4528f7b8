//! A consumer group: how far it has read, who reads, what is pending.

use alloc::vec::Vec;

use crate::{
    id::StreamId,
    pending::{Pending, PendingList},
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

    /// How many pending entries are nobody's.
    pub fn unowned(&self) -> u64 {
        let owned: u64 = self.consumers.iter().map(|(_, _, consumer)| consumer.pending).sum();
        self.pending.len().saturating_sub(owned)
    }

    /// Makes an entry pending, or moves it: `set` with the counters of both consumers.
    pub(crate) fn set_pending(&mut self, position: u64, entry: Pending) {
        let previous = self.pending.set(position, entry);
        if previous.is_none_or(|previous| previous.consumer != entry.consumer) {
            if let Some(previous) = previous {
                self.count(previous.consumer, -1);
            }
            self.count(entry.consumer, 1);
        }
    }

    /// Ends the pending state of an entry.
    pub(crate) fn release(&mut self, position: u64, id: StreamId) {
        if let Some(previous) = self.pending.remove(position, id) {
            self.count(previous.consumer, -1);
        }
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
        Some((name, group, chunks))
    }
}
