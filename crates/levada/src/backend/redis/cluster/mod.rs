//! A cluster of Redis or Valkey: each operation goes to the node that has its key.
//!
//! A node is a [`Redis`] as any other; this is the way to it. All keys of an operation hash to one
//! slot (see `names`), so that no command is ever over several. What blocks has a connection of its
//! own to the master of its slot, with a limit above the time that it blocks; a failover or a slot
//! that moves ends it with an error, and it begins anew at the new master. An operation that
//! was certainly not done is made again there; one that may have been done is an error, as with a
//! single server. What a master acknowledged and no replica had yet is lost with it.

/// Makes a call at the node of a key, and again where it was certainly not done.
macro_rules! at {
    ($map:expr, $key:expr, |$node:ident| $call:expr) => {
        Box::pin(async move {
            let mut journey = Journey::to($map, slot_of($key));
            loop {
                let $node = journey.node().await?;
                match $call.await {
                    Err(error) => journey.goes_on(error).await?,
                    done => return done,
                }
            }
        })
    };
}

mod map;
mod read;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use self::map::{Journey, Map};
use self::read::{Reader, Tail};
use self::slots::slot_of;
use super::place::Place;
use crate::backend::{
    Append, Backend, ConsumerFacts, Delivered, Due, Failed, GroupFacts, GroupPolicy, GroupReader,
    Listener, Pending, Seat, Start, TailReader,
};
use crate::capabilities::Capabilities;
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::message::{Entry, MessageId};
use crate::names;

/// A cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    map: Arc<Map>,
    capabilities: Capabilities,
}

impl Cluster {
    /// Connects to a master, and finds out what the servers can do.
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        super::provide_tls();
        let map = Arc::new(Map::connect(Place::parse(url)?).await?);
        let node = Journey::to(&map, 0).node().await?;
        let masters = map.masters().len();
        let server = format!("{} (cluster, masters: {masters})", node.capabilities().server);
        let capabilities = Capabilities { server, ..node.capabilities().clone() };
        Ok(Self { map, capabilities })
    }

    /// Appends that go to one slot, in order; what the node refused because the slot is elsewhere
    /// goes there.
    async fn append_to(
        &self,
        slot: u16,
        entries: Vec<Append>,
        durability: Durability,
    ) -> Result<Vec<Result<MessageId>>> {
        let mut done: Vec<Option<Result<MessageId>>> = entries.iter().map(|_| None).collect();
        let mut left: Vec<usize> = (0..entries.len()).collect();
        let mut journey = Journey::to(&self.map, slot);
        loop {
            let node = journey.node().await?;
            let some = left.iter().map(|at| entries[*at].clone()).collect();
            let outcomes = match node.append_held(some, durability).await {
                Ok(outcomes) => outcomes,
                Err(error) => left.iter().map(|_| Err(error.clone())).collect(),
            };
            let mut again = None;
            for (at, outcome) in std::mem::take(&mut left).into_iter().zip(outcomes) {
                match outcome {
                    Err(error) if map::was_not_done(&error) => {
                        left.push(at);
                        again = Some(error);
                    }
                    outcome => {
                        if let Err(error) = &outcome {
                            journey.doubts(error);
                        }
                        done[at] = Some(outcome);
                    }
                }
            }
            let Some(error) = again else {
                return Ok(done.into_iter().flatten().collect());
            };
            if let Err(error) = journey.goes_on(error).await {
                let failed = |outcome: Option<_>| outcome.unwrap_or_else(|| Err(error.clone()));
                return Ok(done.into_iter().map(failed).collect());
            }
        }
    }

    async fn append_all(
        &self,
        entries: Vec<Append>,
        durability: Durability,
    ) -> Result<Vec<Result<MessageId>>> {
        let mut by_slot: Vec<(u16, Vec<usize>)> = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            let slot = slot_of(&entry.stream);
            match by_slot.iter_mut().find(|(other, _)| *other == slot) {
                Some((_, all)) => all.push(at),
                None => by_slot.push((slot, vec![at])),
            }
        }
        if let [(slot, _)] = by_slot.as_slice() {
            return self.append_to(*slot, entries, durability).await;
        }
        let send = |(slot, all): &(u16, Vec<usize>)| {
            let some = all.iter().map(|at| entries[*at].clone()).collect();
            self.append_to(*slot, some, durability)
        };
        let sent = join_all(by_slot.iter().map(send)).await;
        let mut done: Vec<_> = entries.iter().map(|_| Err(Error::protocol("no answer"))).collect();
        for ((_, all), outcomes) in by_slot.into_iter().zip(sent) {
            match outcomes {
                Ok(outcomes) => all.into_iter().zip(outcomes).for_each(|(at, it)| done[at] = it),
                Err(error) => all.into_iter().for_each(|at| done[at] = Err(error.clone())),
            }
        }
        Ok(done)
    }
}

/// Whether all that stands beside a stream has its slot, and its dead letters too.
fn check_names(stream: &str, dead_letters: &str) -> Result<()> {
    let slot = slot_of(stream);
    if slot_of(&names::beside(stream, "x")) != slot {
        return Err(Error::Invalid(format!(
            "{stream}: on a cluster braces in the name of a stream have to be a hash tag"
        )));
    }
    if slot_of(dead_letters) != slot {
        return Err(Error::Invalid(format!(
            "{dead_letters}: on a cluster dead letters need the hash tag of their stream {stream}"
        )));
    }
    Ok(())
}

impl Backend for Cluster {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn append(&self, entries: Vec<Append>) -> Pending<'_, Vec<Result<MessageId>>> {
        Box::pin(self.append_all(entries, Durability::leader()))
    }

    fn append_held(
        &self,
        entries: Vec<Append>,
        durability: Durability,
    ) -> Pending<'_, Vec<Result<MessageId>>> {
        Box::pin(self.append_all(entries, durability))
    }

    fn range<'a>(
        &'a self,
        stream: &'a str,
        first: MessageId,
        last: MessageId,
        count: usize,
    ) -> Pending<'a, Vec<Entry>> {
        at!(&self.map, stream, |node| node.range(stream, first, last, count))
    }

    fn len<'a>(&'a self, stream: &'a str) -> Pending<'a, u64> {
        at!(&self.map, stream, |node| node.len(stream))
    }

    fn delete<'a>(&'a self, stream: &'a str, ids: &'a [MessageId]) -> Pending<'a, u64> {
        at!(&self.map, stream, |node| node.delete(stream, ids))
    }

    fn trim_below<'a>(&'a self, stream: &'a str, id: MessageId) -> Pending<'a, u64> {
        at!(&self.map, stream, |node| node.trim_below(stream, id))
    }

    fn dedup_window<'a>(
        &'a self,
        stream: &'a str,
        window: Duration,
        events_max: u64,
    ) -> Pending<'a, ()> {
        at!(&self.map, stream, |node| node.dedup_window(stream, window, events_max))
    }

    fn tail(&self) -> Pending<'_, Box<dyn TailReader>> {
        let map = Arc::clone(&self.map);
        Box::pin(async move { Ok(Box::new(Tail::new(map)) as Box<dyn TailReader>) })
    }

    fn join<'a>(
        &'a self,
        seat: &'a Seat,
        start: Start,
        policy: &'a GroupPolicy,
    ) -> Pending<'a, ()> {
        if let Err(error) = check_names(&seat.stream, &policy.dead_letters) {
            return Box::pin(async move { Err(error) });
        }
        at!(&self.map, &seat.stream, |node| node.join(seat, start, policy))
    }

    fn reader(&self) -> Pending<'_, Box<dyn GroupReader>> {
        let map = Arc::clone(&self.map);
        Box::pin(async move { Ok(Box::new(Reader::new(map)) as Box<dyn GroupReader>) })
    }

    fn ack<'a>(&'a self, seat: &'a Seat, ids: &'a [MessageId]) -> Pending<'a, u64> {
        at!(&self.map, &seat.stream, |node| node.ack(seat, ids))
    }

    fn extend<'a>(&'a self, seat: &'a Seat, ids: &'a [MessageId]) -> Pending<'a, Vec<MessageId>> {
        at!(&self.map, &seat.stream, |node| node.extend(seat, ids))
    }

    fn retry<'a>(&'a self, seat: &'a Seat, failed: &'a Failed, rest: Duration) -> Pending<'a, ()> {
        at!(&self.map, &seat.stream, |node| node.retry(seat, failed, rest))
    }

    fn hand_back<'a>(
        &'a self,
        seat: &'a Seat,
        entries: &'a [(MessageId, u64)],
        lease: Duration,
    ) -> Pending<'a, ()> {
        at!(&self.map, &seat.stream, |node| node.hand_back(seat, entries, lease))
    }

    fn dead_letter<'a>(
        &'a self,
        seat: &'a Seat,
        failed: &'a Failed,
        to: &'a str,
    ) -> Pending<'a, ()> {
        at!(&self.map, &seat.stream, |node| node.dead_letter(seat, failed, to))
    }

    fn redrive<'a>(
        &'a self,
        seat: &'a Seat,
        from: &'a str,
        letters: &'a [Entry],
    ) -> Pending<'a, u64> {
        at!(&self.map, &seat.stream, |node| node.redrive(seat, from, letters))
    }

    fn tend<'a>(
        &'a self,
        seat: &'a Seat,
        lease: Duration,
        count: usize,
    ) -> Pending<'a, Vec<Delivered>> {
        at!(&self.map, &seat.stream, |node| node.tend(seat, lease, count))
    }

    fn leave<'a>(&'a self, seat: &'a Seat) -> Pending<'a, ()> {
        at!(&self.map, &seat.stream, |node| node.leave(seat))
    }

    fn groups<'a>(&'a self, stream: &'a str) -> Pending<'a, Vec<GroupFacts>> {
        at!(&self.map, stream, |node| node.groups(stream))
    }

    fn streams<'a>(&'a self, pattern: &'a str) -> Pending<'a, Vec<String>> {
        Box::pin(async move {
            let mut streams = Vec::new();
            for host in self.map.masters() {
                streams.extend(self.map.node(&host).await?.streams(pattern).await?);
            }
            streams.sort_unstable();
            streams.dedup();
            Ok(streams)
        })
    }

    fn consumers<'a>(&'a self, stream: &'a str, group: &'a str) -> Pending<'a, Vec<ConsumerFacts>> {
        at!(&self.map, stream, |node| node.consumers(stream, group))
    }

    fn remove_consumer<'a>(
        &'a self,
        seat: &'a Seat,
        heir: Option<&'a str>,
        idle: Duration,
    ) -> Pending<'a, bool> {
        at!(&self.map, &seat.stream, |node| node.remove_consumer(seat, heir, idle))
    }

    fn now_ms<'a>(&'a self, key: &'a str) -> Pending<'a, u64> {
        at!(&self.map, key, |node| node.now_ms(key))
    }

    fn schedule(&self, entry: Append, due: Due) -> Pending<'_, String> {
        Box::pin(async move {
            let entry = &entry;
            at!(&self.map, &entry.stream, |node| node.schedule(entry.clone(), due)).await
        })
    }

    fn cancel<'a>(&'a self, stream: &'a str, handle: &'a str) -> Pending<'a, bool> {
        at!(&self.map, stream, |node| node.cancel(stream, handle))
    }

    fn get<'a>(&'a self, key: &'a str) -> Pending<'a, Option<Vec<u8>>> {
        at!(&self.map, key, |node| node.get(key))
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Option<Duration>,
        only_new: bool,
    ) -> Pending<'a, bool> {
        Box::pin(async move {
            let value = &value;
            at!(&self.map, key, |node| node.set(key, value.clone(), ttl, only_new)).await
        })
    }

    fn renew<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        ttl: Option<Duration>,
    ) -> Pending<'a, bool> {
        at!(&self.map, key, |node| node.renew(key, value, ttl))
    }

    fn incr<'a>(&'a self, key: &'a str, by: i64) -> Pending<'a, i64> {
        at!(&self.map, key, |node| node.incr(key, by))
    }

    fn remove<'a>(&'a self, key: &'a str) -> Pending<'a, bool> {
        at!(&self.map, key, |node| node.remove(key))
    }

    /// To everybody in the cluster; who is counted are those that listen at the same node. One
    /// channel has one node, so that is everybody who listens to nothing else.
    fn publish<'a>(&'a self, channel: &'a str, payload: Vec<u8>) -> Pending<'a, u64> {
        Box::pin(async move {
            let payload = &payload;
            at!(&self.map, channel, |node| node.publish(channel, payload.clone())).await
        })
    }

    fn listen<'a>(&'a self, channels: &'a [String]) -> Pending<'a, Box<dyn Listener>> {
        let first = channels.first().map_or("", String::as_str);
        at!(&self.map, first, |node| node.listen(channels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_kept_together_are_refused() {
        assert!(check_names("orders", "{orders}:dlq:g").is_ok());
        assert!(check_names("orders:{3}", "orders:{3}:dlq:g").is_ok());
        assert!(check_names("orders", "dead").is_err());
        assert!(check_names("a{}b", "{a{}b}:dlq:g").is_err());
    }
}
