//! ORDER-BY: what a group has begun of each key, so that entries of one key are delivered in order,
//! one at a time.
//!
//! A key is a hash of the value of one field; two values of one hash share a lane and are only more
//! in order than they need to be. The lane of a key is its entries in flight (pending in the group)
//! and those that were passed over meanwhile, which are *parked*. A parked entry is delivered when
//! it is the first of its lane and nothing of it is in flight; one in flight is delivered again
//! only when it is the first of its lane and nothing of it is with a consumer.
//!
//! Invariant: no lane is empty; `ready` is the first parked entry of each lane without one in
//! flight; a parked entry is not pending.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::ops::Bound::{Excluded, Unbounded};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    block::RowFields,
    fields::Fields,
    id::StreamId,
    policy::GroupPolicy,
    varint::{Reader, put_id, put_u64},
};

/// See the module.
#[derive(Clone, Default, Debug)]
pub struct Order {
    lanes: BTreeMap<u64, Lane>,
    in_flight: BTreeMap<StreamId, u64>,
    parked: BTreeMap<StreamId, u64>,
    ready: BTreeSet<StreamId>,
}

#[derive(Clone, Default, Debug)]
struct Lane {
    /// Ascending; more than one only where ORDER-BY came later than the deliveries.
    in_flight: Vec<StreamId>,
    parked: BTreeSet<StreamId>,
}

impl Lane {
    fn ready(&self) -> Option<StreamId> {
        self.parked.first().copied().filter(|_| self.in_flight.is_empty())
    }
}

/// The key of an entry in a group, if the group goes by one and the entry has it.
pub fn key_of(policy: &GroupPolicy, fields: &RowFields<'_>) -> Option<u64> {
    let field = &*policy.order_by;
    let value = fields.iter().find(|(name, _)| *name == field && !field.is_empty());
    value.map(|(_, value)| hash(policy, &value.to_bytes()))
}

/// The same of an entry on its way into a stream.
pub fn key_in(policy: &GroupPolicy, fields: &Fields<'_>) -> Option<u64> {
    let field = &*policy.order_by;
    let value = fields.iter().find(|(name, _)| *name == field && !field.is_empty());
    value.map(|(_, value)| hash(policy, value))
}

fn hash(policy: &GroupPolicy, value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, policy.order_seed)
}

impl Order {
    /// Whether nothing with a key is in flight or parked.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Memory that it takes, about.
    pub fn memory_bytes(&self) -> usize {
        const PER_ENTRY: usize = 160;
        (self.in_flight.len() + self.parked.len()) * PER_ENTRY
    }

    /// Parked entries.
    pub fn parked_len(&self) -> usize {
        self.parked.len()
    }

    /// Whether an entry is parked.
    pub fn is_parked(&self, id: StreamId) -> bool {
        self.parked.contains_key(&id)
    }

    /// Parked entries from an id on, in order, with their keys.
    pub fn parked_from(&self, from: StreamId) -> impl Iterator<Item = (StreamId, u64)> + '_ {
        self.parked.range(from..).map(|(id, key)| (*id, *key))
    }

    /// Parked entries that may be delivered, in order.
    pub fn ready(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.ready.iter().copied()
    }

    /// The key of a parked entry, and the entry parked behind it.
    pub fn parked(&self, id: StreamId) -> Option<(u64, Option<StreamId>)> {
        let key = *self.parked.get(&id)?;
        let lane = self.lanes.get(&key)?;
        Some((key, lane.parked.range((Excluded(id), Unbounded)).next().copied()))
    }

    /// Whether an entry of this key has to wait, where `taken` are parked no more.
    pub fn is_busy(&self, key: u64, taken: &BTreeSet<StreamId>) -> bool {
        self.lanes.get(&key).is_some_and(|lane| {
            !lane.in_flight.is_empty() || lane.parked.iter().any(|id| !taken.contains(id))
        })
    }

    /// What is in flight in the lane of an entry that is, in order; empty for one without a key.
    pub fn lane_of(&self, id: StreamId) -> &[StreamId] {
        let lane = self.in_flight.get(&id).and_then(|key| self.lanes.get(key));
        lane.map_or(&[], |lane| &lane.in_flight)
    }

    /// An entry is in flight from now on.
    pub(crate) fn take_off(&mut self, id: StreamId, key: u64) {
        self.unpark(id);
        if self.in_flight.insert(id, key).is_none() {
            self.change(key, |lane| {
                let at = lane.in_flight.partition_point(|held| *held < id);
                lane.in_flight.insert(at, id);
            });
        }
    }

    /// It is pending no more.
    pub(crate) fn land(&mut self, id: StreamId) {
        if let Some(key) = self.in_flight.remove(&id) {
            self.change(key, |lane| lane.in_flight.retain(|held| *held != id));
        }
    }

    pub(crate) fn park(&mut self, id: StreamId, key: u64) {
        if self.parked.insert(id, key).is_none() {
            self.change(key, |lane| {
                lane.parked.insert(id);
            });
        }
    }

    pub(crate) fn unpark(&mut self, id: StreamId) {
        if let Some(key) = self.parked.remove(&id) {
            self.change(key, |lane| {
                lane.parked.remove(&id);
            });
        }
    }

    /// What is parked above an id is not any more: the group comes by it again.
    pub(crate) fn unpark_above(&mut self, id: StreamId) {
        let above = self.parked.range((Excluded(id), Unbounded));
        let above: Vec<_> = above.map(|(id, _)| *id).collect();
        above.into_iter().for_each(|id| self.unpark(id));
    }

    fn change(&mut self, key: u64, change: impl FnOnce(&mut Lane)) {
        let lane = self.lanes.entry(key).or_default();
        lane.ready().map(|id| self.ready.remove(&id));
        change(lane);
        self.ready.extend(lane.ready());
        if lane.in_flight.is_empty() && lane.parked.is_empty() {
            self.lanes.remove(&key);
        }
    }

    /// Appends what is in flight and what is parked, with the keys.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for entries in [&self.in_flight, &self.parked] {
            put_u64(out, entries.len() as u64);
            for (id, key) in entries {
                put_id(out, *id);
                put_u64(out, *key);
            }
        }
    }

    /// The inverse.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let mut order = Self::default();
        for _ in 0..reader.count()? {
            order.take_off(reader.id()?, reader.u64()?);
        }
        for _ in 0..reader.count()? {
            order.park(reader.id()?, reader.u64()?);
        }
        Some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    fn ready(order: &Order) -> Vec<u64> {
        order.ready().map(|id| id.ms).collect()
    }

    #[test]
    fn a_parked_entry_is_ready_when_its_lane_is_free_and_it_is_first() {
        let mut order = Order::default();
        order.take_off(id(1), 7);
        order.park(id(2), 7);
        order.park(id(3), 7);
        order.take_off(id(4), 8);
        assert_eq!((ready(&order), order.parked(id(2))), (vec![], Some((7, Some(id(3))))));
        let mut bytes = Vec::new();
        order.encode(&mut bytes);
        let mut order = Order::decode(&mut Reader::new(&bytes)).expect("it was written");
        order.land(id(1));
        assert_eq!(ready(&order), [2]);
        order.take_off(id(2), 7);
        assert_eq!((ready(&order), order.lane_of(id(2))), (vec![], &[id(2)][..]));
        order.land(id(2));
        order.unpark(id(3));
        order.land(id(4));
        assert!(order.is_empty() && ready(&order).is_empty());
    }

    #[test]
    fn what_is_parked_or_in_flight_counts_as_memory() {
        let mut order = Order::default();
        (1..=100).for_each(|ms| order.park(id(ms), 7));
        (101..=200).for_each(|ms| order.take_off(id(ms), ms));
        assert!(order.memory_bytes() >= 200 * size_of::<(StreamId, u64)>());
    }

    #[test]
    fn a_lane_is_free_when_all_that_is_parked_in_it_was_taken() {
        let mut order = Order::default();
        order.park(id(2), 7);
        order.park(id(5), 7);
        assert!(order.is_busy(7, &BTreeSet::from([id(2)])) && !order.is_busy(8, &BTreeSet::new()));
        assert!(!order.is_busy(7, &BTreeSet::from([id(2), id(5)])));
        order.unpark_above(id(2));
        assert_eq!((order.parked_len(), ready(&order)), (1, vec![2]));
    }
}
