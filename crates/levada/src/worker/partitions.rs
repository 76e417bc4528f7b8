//! Partitions that belong to one worker at a time, for order by key across workers.
//!
//! Beside each partition stands a lease: a key that lives as long as the lease of events, with the
//! name of its worker and a number that grows with each owner. A worker counts those that are alive
//! (each has a seat, a key as well) and takes its share of what is free; what is beyond its share it
//! gives up when its handlers there are done. A new owner first takes over what is pending, then
//! reads on. A lease assigns work and no more: who loses one without noticing, as a process that was
//! stopped does, may handle an event that another has too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Setup;
use super::settle::{Shared, lose};
use crate::backend::Backend;
use crate::error::Result;
use crate::message::MessageId;
use crate::names;

/// What a worker that is [`super::Worker::exclusive`] has. One for each track, in order.
pub(super) struct Partitions {
    parts: Vec<Part>,
    /// Our seat of each topic.
    seats: Mutex<Vec<Option<u32>>>,
}

struct Part {
    stream: Arc<str>,
    topic: usize,
    generation: usize,
    held: Mutex<Option<Held>>,
}

#[derive(Clone)]
struct Held {
    /// What the lease says, so that it is ours.
    value: String,
    since: Instant,
    /// When others may have it.
    until: Instant,
    /// What was pending is ours.
    taken_over: bool,
    /// It is beyond our share.
    leaving: bool,
}

/// What may be done with a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// Nothing: it is another's.
    No,
    /// What was pending is taken over.
    TakeOver,
    Read,
}

impl Partitions {
    pub(super) fn of(setup: &Setup) -> Self {
        let part = |track: &super::Track| Part {
            stream: Arc::clone(&track.stream),
            topic: track.topic,
            generation: track.generation,
            held: Mutex::default(),
        };
        let parts: Vec<Part> = setup.tracks.iter().map(part).collect();
        let topics = parts.iter().map(|part| part.topic + 1).max().unwrap_or(0);
        Self { parts, seats: Mutex::new(vec![None; topics]) }
    }

    pub(super) fn access(&self, track: usize) -> Access {
        match self.parts[track].look(|held| held.clone()) {
            Some(held) if Instant::now() >= held.until || held.leaving => Access::No,
            Some(held) if held.taken_over => Access::Read,
            Some(_) => Access::TakeOver,
            None => Access::No,
        }
    }

    /// Time since a partition became ours.
    pub(super) fn held_for(&self, track: usize) -> Duration {
        self.parts[track].look(|held| held.as_ref().map_or(Duration::ZERO, |it| it.since.elapsed()))
    }

    pub(super) fn is_taken_over(&self, track: usize) {
        self.parts[track].change(|held| held.taken_over = true);
    }

    fn of_topic(&self, topic: usize) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.topic == topic)
    }
}

impl Part {
    fn look<T>(&self, look: impl FnOnce(&mut Option<Held>) -> T) -> T {
        look(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        self.look(|held| held.as_mut().map(change));
    }

    fn value(&self) -> Option<String> {
        self.look(|held| held.as_ref().map(|held| held.value.clone()))
    }

    fn is_held(&self) -> bool {
        self.look(|held| held.is_some())
    }

    fn is_leaving(&self) -> bool {
        self.look(|held| held.as_ref().is_some_and(|held| held.leaving))
    }
}

impl Shared {
    /// Takes, keeps and gives up partitions, until it is dropped.
    pub(super) async fn keep_partitions(self: Arc<Self>) {
        let Some(partitions) = &self.partitions else {
            return std::future::pending().await;
        };
        let mut ticks = tokio::time::interval(self.setup.lease / 3);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let topics = partitions.seats.lock().unwrap_or_else(PoisonError::into_inner).len();
        loop {
            ticks.tick().await;
            for part in &partitions.parts {
                self.keep(part).await;
            }
            for topic in 0..topics {
                if let Err(error) = self.balance(partitions, topic).await {
                    tracing::warn!(%error, "partitions could not be shared out");
                }
            }
        }
    }

    /// Gives everything up, when all handlers are done.
    pub(super) async fn leave_partitions(&self) {
        let Some(partitions) = &self.partitions else {
            return;
        };
        for part in &partitions.parts {
            self.give_up(part).await;
        }
        let seats = partitions.seats.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (topic, seat) in seats.into_iter().enumerate() {
            if let Some(seat) = seat {
                let (key, name) = (self.seat_key(partitions, topic, seat), self.name());
                // What is not given up ends by itself.
                let _ = self.backend.renew(&key, name.as_bytes(), None).await;
            }
        }
    }

    /// Renews one that is ours.
    async fn keep(&self, part: &Part) {
        let Some(value) = part.value() else {
            return;
        };
        if part.is_leaving() && !self.handles(&part.stream) {
            return self.give_up(part).await;
        }
        let (now, lease) = (Instant::now(), self.setup.lease);
        let key = self.lease_key(part);
        let kept = self.backend.renew(&key, value.as_bytes(), Some(lease)).await;
        match kept {
            Ok(true) => part.change(|held| held.until = now + lease),
            Ok(false) => self.lost(part),
            Err(error) => {
                tracing::warn!(stream = &*part.stream, %error, "a partition could not be kept");
                if part.look(|held| held.as_ref().is_some_and(|it| it.until <= Instant::now())) {
                    self.lost(part);
                }
            }
        }
    }

    fn lost(&self, part: &Part) {
        tracing::warn!(stream = &*part.stream, "another worker has this partition now");
        part.look(Option::take);
        for (seat, deliveries) in self.all_held() {
            if seat.stream == part.stream {
                deliveries.iter().for_each(|delivery| lose(&delivery.lease.lost));
            }
        }
    }

    async fn give_up(&self, part: &Part) {
        if let Some(held) = part.look(Option::take) {
            // What is not given up ends by itself.
            let _ = self.backend.renew(&self.lease_key(part), held.value.as_bytes(), None).await;
        }
    }

    fn handles(&self, stream: &str) -> bool {
        self.all_held().iter().any(|(seat, _)| *seat.stream == *stream)
    }

    /// Brings what we have of a topic to our share.
    async fn balance(&self, partitions: &Partitions, topic: usize) -> Result<()> {
        let all = partitions.of_topic(topic).count();
        let Some(workers) = self.count_workers(partitions, topic, all).await? else {
            return Ok(()); // There are more workers than partitions: we wait for a seat.
        };
        let share = all.div_ceil(workers.max(1));
        let ours = || partitions.of_topic(topic).filter(|part| part.is_held());
        for part in ours().skip(share) {
            part.change(|held| held.leaving = true);
        }
        for part in ours().take(share) {
            part.change(|held| held.leaving = false);
        }
        for part in partitions.of_topic(topic).filter(|part| !part.is_held()) {
            if ours().count() >= share {
                break;
            }
            if self.has_come(partitions, part).await? {
                self.take(part).await?;
            }
        }
        Ok(())
    }

    /// Takes a seat or keeps it, and counts those that are taken; `None` without one.
    async fn count_workers(
        &self,
        partitions: &Partitions,
        topic: usize,
        most: usize,
    ) -> Result<Option<usize>> {
        let (name, lease) = (self.name(), self.setup.lease);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let seats = || partitions.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ours = seats()[topic];
        if let Some(seat) = ours {
            let key = self.seat_key(partitions, topic, seat);
            if !self.backend.renew(&key, name.as_bytes(), Some(lease)).await? {
                ours = None;
            }
        }
        let mut workers = 0;
        for seat in 0..most {
            let key = self.seat_key(partitions, topic, seat);
            if ours.is_none() {
                let value = name.clone().into_bytes();
                if self.backend.set(&key, value, Some(lease), true).await? {
                    ours = Some(seat);
                }
            }
            let taken = ours == Some(seat) || self.backend.get(&key).await?.is_some();
            workers += usize::from(taken);
        }
        seats()[topic] = ours;
        Ok(ours.map(|_| workers))
    }

    /// Whether all that came before a generation is done.
    async fn has_come(&self, partitions: &Partitions, part: &Part) -> Result<bool> {
        let older = partitions.of_topic(part.topic).filter(|it| it.generation < part.generation);
        for older in older {
            let groups = self.backend.groups(&older.stream).await?;
            let group = groups.iter().find(|group| *group.name == *self.setup.group);
            let next = group.map_or(Some(MessageId::MIN), |group| group.last_delivered.next());
            let is_idle = group.is_none_or(|group| group.pending == 0);
            if !is_idle {
                return Ok(false);
            }
            if let Some(next) = next {
                let new = self.backend.range(&older.stream, next, MessageId::MAX, 1).await?;
                if !new.is_empty() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn take(&self, part: &Part) -> Result<()> {
        let key = self.lease_key(part);
        if self.backend.get(&key).await?.is_some() {
            return Ok(());
        }
        let number = self.backend.incr(&self.fence_key(part), 1).await?;
        let (since, value) = (Instant::now(), format!("{}:{number}", self.name()));
        let lease = self.setup.lease;
        if self.backend.set(&key, value.clone().into_bytes(), Some(lease), true).await? {
            let until = since + lease;
            let held = Held { value, since, until, taken_over: false, leaving: false };
            part.look(|here| *here = Some(held));
            tracing::info!(stream = &*part.stream, number, "a partition is ours");
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.setup.consumer.to_string()
    }

    fn lease_key(&self, part: &Part) -> String {
        names::beside(&part.stream, &format!("lease:{}", self.setup.group))
    }

    fn fence_key(&self, part: &Part) -> String {
        names::beside(&part.stream, &format!("fence:{}", self.setup.group))
    }

    fn seat_key(&self, partitions: &Partitions, topic: usize, seat: u32) -> String {
        // Beside the first partition: all workers agree on which that is.
        let first = partitions.of_topic(topic).next().map_or("", |part| &part.stream);
        names::beside(first, &format!("seat:{}:{seat}", self.setup.group))
    }
}

/// Whether what was pending in a partition is ours: then what comes next may be read.
pub(super) async fn is_taken_over(
    backend: &dyn Backend,
    shared: &Shared,
    partitions: &Partitions,
    track: usize,
) -> Result<bool> {
    let part = &partitions.parts[track];
    let groups = backend.groups(&part.stream).await?;
    let group = groups.iter().find(|group| *group.name == *shared.setup.group);
    let held = shared.all_held();
    let ours = held.iter().filter(|(seat, _)| seat.stream == part.stream);
    let ours: usize = ours.map(|(_, deliveries)| deliveries.len()).sum();
    let pending = group.map_or(0, |group| group.pending);
    // Where the server itself ends leases it gives what was pending first, once they are over.
    let over = backend.capabilities().leases && partitions.held_for(track) >= shared.setup.lease;
    Ok(over || pending <= ours as u64)
}
