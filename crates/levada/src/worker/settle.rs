//! From a delivery to its end: run the handler, and tell the server what came of it.

use std::collections::{HashMap, hash_map::Entry};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{RwLock, RwLockReadGuard, watch};
use tower::{Service as _, ServiceExt as _};
use tracing::Instrument as _;

use super::guard::{caught, limited};
use super::partitions::Partitions;
use super::{Drained, Route, Setup, Together};
use crate::backend::{Backend, Failed, Seat};
use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::message::MessageId;
use crate::outcome::{Outcome, Verdict, verdict};
use crate::random;
use crate::telemetry::{self, Meters};

/// Rests between attempts to tell the server: the first, doubled up to the longest. When the lease
/// is over it is too late, and the event comes again.
const REST_MIN: Duration = Duration::from_millis(50);
const REST_MAX: Duration = Duration::from_secs(2);

/// What all tasks of a worker share.
pub(super) struct Shared {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) setup: Setup,
    /// What is ours alone, where that matters.
    pub(super) partitions: Option<Partitions>,
    pub(super) counts: Counts,
    /// By stream.
    pub(super) meters: HashMap<Arc<str>, Meters>,
    /// Deliveries that are ours, by their seat. Held for no longer than a look.
    pub(super) held: Mutex<HashMap<Arc<Seat>, HashMap<MessageId, Delivery>>>,
    /// Who gives deliveries back reads it, who extends leases writes it: an extension that comes
    /// behind what gives an entry back would take the entry again, and nobody would handle it
    /// until that lease is over.
    pub(super) extending: RwLock<()>,
    /// Whether the shutdown has begun.
    pub(super) stopping: watch::Receiver<bool>,
}

/// What has become of deliveries.
#[derive(Default)]
pub(super) struct Counts {
    acked: AtomicU64,
    retried: AtomicU64,
    dead: AtomicU64,
    pub(super) handed_back: AtomicU64,
}

impl Counts {
    pub(super) fn drained(&self) -> Drained {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Drained {
            acked: read(&self.acked),
            retried: read(&self.retried),
            dead: read(&self.dead),
            handed_back: read(&self.handed_back),
        }
    }
}

impl Shared {
    /// From now on its lease is extended; `false` where it was in hand already: a lease that we
    /// were too slow to extend came back to ourselves.
    pub(super) fn hold(&self, delivery: &Delivery) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let seat = held.entry(Arc::clone(&delivery.seat)).or_default();
        match seat.entry(delivery.id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(delivery.clone());
                self.meter(delivery, |meters| meters.held.increment(1));
                true
            }
        }
    }

    /// It is over.
    pub(super) fn let_go(&self, delivery: &Delivery) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let was = held.get_mut(&delivery.seat).and_then(|seat| seat.remove(&delivery.id));
        if was.is_some() {
            self.meter(delivery, |meters| meters.held.decrement(1));
        }
    }

    fn meter(&self, delivery: &Delivery, report: impl FnOnce(&Meters)) {
        if let Some(meters) = self.meters.get(&delivery.stream) {
            report(meters);
        }
    }

    /// All that is ours.
    pub(super) fn all_held(&self) -> Vec<(Arc<Seat>, Vec<Delivery>)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |(seat, all): (&Arc<Seat>, &HashMap<_, Delivery>)| {
            (Arc::clone(seat), all.values().cloned().collect::<Vec<_>>())
        };
        held.iter().map(row).filter(|(_, all)| !all.is_empty()).collect()
    }

    /// Handles one delivery to its end.
    pub(super) async fn handle(&self, route: Route, mut delivery: Delivery) {
        loop {
            let outcome = self.attempt(route.clone(), &delivery).await;
            let random = random::number();
            match verdict(outcome, delivery.attempt, &self.setup.retry, random) {
                Verdict::Rest(rest, reason) if self.rests_in_place(&delivery) => {
                    tracing::debug!(id = %delivery.id, reason, "tried again in place");
                    let mut stopping = self.stopping.clone();
                    tokio::select! {
                        () = tokio::time::sleep(rest) => delivery.attempt += 1,
                        () = stopped(&mut stopping) => {
                            self.settle(&delivery, Verdict::Rest(rest, reason)).await;
                            return;
                        }
                    }
                }
                verdict => {
                    self.settle(&delivery, verdict).await;
                    return;
                }
            }
        }
    }

    /// Where events of a key are in order, a failed one must not be overtaken.
    fn rests_in_place(&self, delivery: &Delivery) -> bool {
        self.setup.ordered && delivery.key().is_some() && delivery.lease.is_held()
    }

    async fn attempt(&self, mut route: Route, delivery: &Delivery) -> Outcome {
        let request = delivery.clone();
        let running = async move { route.ready().await?.call(request).await };
        let running = running.instrument(telemetry::span(delivery));
        let begun = tokio::time::Instant::now();
        let limited = match delivery.trace() {
            Some(trace) => limited(trace.scope(running), self.setup.timeout).await,
            None => limited(running, self.setup.timeout).await,
        };
        self.meter(delivery, |meters| meters.seconds.record(begun.elapsed()));
        match (limited, self.setup.timeout) {
            (Some(Ok(Ok(outcome))), _) => outcome,
            (Some(Ok(Err(error))), _) => Outcome::retry(error),
            (Some(Err(panic)), _) => Outcome::DeadLetter(panic),
            (None, limit) => {
                Outcome::retry(format!("it took longer than {:?}", limit.unwrap_or_default()))
            }
        }
    }

    /// Handles deliveries together to their end.
    pub(super) async fn handle_together(&self, run: Together, deliveries: Vec<Delivery>) {
        let begun = tokio::time::Instant::now();
        let outcome = caught(run(deliveries.clone())).await;
        if let Some(first) = deliveries.first() {
            self.meter(first, |meters| meters.seconds.record(begun.elapsed()));
        }
        let mut done: Vec<(Arc<Seat>, Vec<Delivery>)> = Vec::new();
        for delivery in deliveries {
            let outcome = match &outcome {
                Ok(outcome) => outcome.of(delivery.id).clone(),
                // One of them is to blame, and nobody knows which: each gets its other attempts.
                Err(panic) => Outcome::retry(panic),
            };
            if outcome == Outcome::Ack {
                match done.last_mut() {
                    Some((seat, all)) if Arc::ptr_eq(seat, &delivery.seat) => all.push(delivery),
                    _ => done.push((Arc::clone(&delivery.seat), vec![delivery])),
                }
                continue;
            }
            let verdict = verdict(outcome, delivery.attempt, &self.setup.retry, random::number());
            self.settle(&delivery, verdict).await;
        }
        for (seat, deliveries) in done {
            self.ack_together(&seat, &deliveries).await;
        }
    }

    /// One request for all that a batch is done with; where it fails, one for each, again and
    /// again.
    async fn ack_together(&self, seat: &Seat, deliveries: &[Delivery]) {
        let ids: Vec<MessageId> = deliveries.iter().map(|delivery| delivery.id).collect();
        deliveries.iter().for_each(|delivery| self.let_go(delivery));
        let Some(first) = deliveries.first() else {
            return;
        };
        if self.tell_done(seat, &first.stream, &ids).await.is_ok() {
            let count = ids.len() as u64;
            self.counts.acked.fetch_add(count, Ordering::Relaxed);
            self.meter(first, |meters| meters.acked.increment(count));
            return;
        }
        for delivery in deliveries {
            self.hold(delivery);
        }
        for delivery in deliveries {
            self.settle(delivery, Verdict::Ack).await;
        }
    }

    async fn tell_done(&self, seat: &Seat, stream: &str, ids: &[MessageId]) -> Result<()> {
        self.backend.ack(seat, ids).await?;
        if *seat.stream != *stream {
            // Nobody else reads what was given back to this group.
            self.backend.delete(&seat.stream, ids).await?;
        }
        Ok(())
    }

    /// Tells the server, again and again until the lease would be over, and lets go.
    pub(super) async fn settle(&self, delivery: &Delivery, verdict: Verdict) {
        let mut rest = REST_MIN;
        let deadline = tokio::time::Instant::now() + self.setup.lease;
        loop {
            // First: once the server knows, it may give the event to us again at once.
            self.let_go(delivery);
            match self.tell(delivery, &verdict).await {
                Ok(()) => break,
                Err(error) if !error.is_transient() => {
                    // Where the stream or group has gone there is nothing to tell.
                    let gone = matches!(error, Error::NotFound(_));
                    tracing::warn!(id = %delivery.id, %error, gone, "its end could not be told");
                    break;
                }
                Err(error) if tokio::time::Instant::now() + rest > deadline => {
                    tracing::warn!(id = %delivery.id, %error, "told for too long; it comes again");
                    break;
                }
                Err(_) => {
                    self.hold(delivery);
                    tokio::time::sleep(rest).await;
                }
            }
            rest = (rest * 2).min(REST_MAX);
        }
    }

    async fn tell(&self, delivery: &Delivery, verdict: &Verdict) -> Result<()> {
        let (backend, seat) = (&self.backend, &*delivery.seat);
        match verdict {
            Verdict::Ack => {
                self.tell_done(seat, &delivery.stream, &[delivery.id]).await?;
                self.counts.acked.fetch_add(1, Ordering::Relaxed);
                self.meter(delivery, |meters| meters.acked.increment(1));
            }
            Verdict::Rest(rest, reason) => {
                let Some(_ours) = self.while_ours(delivery).await else {
                    return Ok(());
                };
                tracing::debug!(id = %delivery.id, reason, ?rest, "it comes again");
                backend.retry(seat, &failed(delivery, reason), *rest).await?;
                self.counts.retried.fetch_add(1, Ordering::Relaxed);
                self.meter(delivery, |meters| meters.retried.increment(1));
            }
            Verdict::Bury(reason) => {
                let Some(_ours) = self.while_ours(delivery).await else {
                    return Ok(());
                };
                let stream = &*delivery.stream;
                tracing::warn!(id = %delivery.id, stream, reason, "dead letter");
                let to = self.setup.dead_letters(&delivery.stream);
                backend.dead_letter(seat, &failed(delivery, reason), &to).await?;
                if seat.stream != delivery.stream {
                    backend.delete(&seat.stream, &[delivery.id]).await?;
                }
                self.counts.dead.fetch_add(1, Ordering::Relaxed);
                self.meter(delivery, |meters| meters.dead.increment(1));
            }
        }
        Ok(())
    }

    /// Nobody extends its lease while this is held; `None` where somebody else has it, and says
    /// what becomes of it. What is acknowledged needs none of this: it cannot be taken again.
    async fn while_ours(&self, delivery: &Delivery) -> Option<RwLockReadGuard<'_, ()>> {
        let extended = self.extending.read().await;
        delivery.lease.is_held().then_some(extended)
    }

    /// Gives deliveries back that were not begun.
    pub(super) async fn hand_back(&self, deliveries: Vec<Delivery>) {
        let mut by_seat: HashMap<Arc<Seat>, Vec<(MessageId, u64)>> = HashMap::new();
        deliveries.iter().for_each(|delivery| self.let_go(delivery));
        let _extended = self.extending.read().await;
        for delivery in &deliveries {
            if delivery.lease.is_held() {
                let seat = by_seat.entry(Arc::clone(&delivery.seat)).or_default();
                seat.push((delivery.id, delivery.attempt));
            }
        }
        for (seat, entries) in by_seat {
            match self.backend.hand_back(&seat, &entries, self.setup.lease).await {
                Ok(()) => {
                    let count = entries.len() as u64;
                    self.counts.handed_back.fetch_add(count, Ordering::Relaxed);
                    if let Some(delivery) = deliveries.iter().find(|it| it.seat == seat) {
                        self.meter(delivery, |meters| meters.handed_back.increment(count));
                    }
                }
                Err(error) => tracing::warn!(%error, "not handed back; the lease will end"),
            }
        }
    }

    /// Reports how the groups stand, until it is dropped.
    pub(super) async fn report_groups(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(telemetry::GROUPS_EVERY);
        loop {
            ticks.tick().await;
            for (stream, meters) in &self.meters {
                // Whether the server can be reached, others say.
                let groups = self.backend.groups(stream).await.unwrap_or_default();
                let ours = groups.iter().find(|group| group.name == *self.setup.group);
                if let Some(facts) = ours {
                    meters.groups(facts);
                }
            }
        }
    }

    /// Extends the leases of all that is ours, until it is dropped.
    pub(super) async fn extend_leases(self: Arc<Self>) {
        let lease = self.setup.lease;
        let mut ticks = tokio::time::interval(lease / 3);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = tokio::time::Instant::now();
        loop {
            ticks.tick().await;
            let mut reached = true;
            for (seat, deliveries) in self.all_held() {
                reached &= self.extend_some(&seat, &deliveries).await;
            }
            let now = tokio::time::Instant::now();
            if reached {
                last = now;
            } else if now - last > lease {
                // Nobody has heard of us for so long that others have what was ours.
                let all = self.all_held().into_iter().flat_map(|(_, deliveries)| deliveries);
                all.for_each(|delivery| lose(&delivery.lease.lost));
            }
        }
    }

    /// Those of some deliveries that are ours still.
    fn still_held<'d>(&self, seat: &Seat, deliveries: &'d [Delivery]) -> Vec<&'d Delivery> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = held.get(seat);
        let is_held = |id: &MessageId| held.is_some_and(|held| held.contains_key(id));
        deliveries.iter().filter(|delivery| is_held(&delivery.id)).collect()
    }

    /// Whether the server could be reached.
    async fn extend_some(&self, seat: &Seat, deliveries: &[Delivery]) -> bool {
        /// Ids in one command.
        const IDS_MAX: usize = 256;
        for deliveries in deliveries.chunks(IDS_MAX) {
            let _alone = self.extending.write().await;
            // Not those whose end is being told.
            let ours = self.still_held(seat, deliveries);
            if ours.is_empty() {
                continue;
            }
            let ids: Vec<MessageId> = ours.iter().map(|delivery| delivery.id).collect();
            match self.backend.extend(seat, &ids).await {
                Ok(held) => {
                    let gone = ours.iter().filter(|delivery| !held.contains(&delivery.id));
                    gone.for_each(|delivery| lose(&delivery.lease.lost));
                }
                Err(Error::NotFound(_)) => {} // The stream has gone, and will be made again.
                Err(error) => {
                    tracing::warn!(%error, "leases could not be extended");
                    return false;
                }
            }
        }
        true
    }
}

/// Waits for the shutdown to begin.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the worker is gone, and with it every reason to go on.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

pub(super) fn lose(lost: &AtomicBool) {
    lost.store(true, Ordering::Release);
}

fn failed(delivery: &Delivery, reason: &str) -> Failed {
    Failed {
        id: delivery.id,
        attempt: delivery.attempt,
        fields: (*delivery.fields).clone(),
        reason: reason.to_owned(),
    }
}
