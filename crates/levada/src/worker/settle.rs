//! From a delivery to its end: run the handler, and tell the server what came of it.

use std::collections::{HashMap, hash_map::Entry};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tower::{Service as _, ServiceExt as _};

use super::guard::{caught, limited};
use super::partitions::Partitions;
use super::{Drained, Route, Setup, Together};
use crate::backend::{Backend, Failed, Seat};
use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::message::MessageId;
use crate::outcome::{Outcome, Verdict, verdict};
use crate::random;

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
    /// Deliveries that are ours, by their seat. Held for no longer than a look.
    pub(super) held: Mutex<HashMap<Arc<Seat>, HashMap<MessageId, Delivery>>>,
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
                true
            }
        }
    }

    /// It is over.
    pub(super) fn let_go(&self, delivery: &Delivery) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seat) = held.get_mut(&delivery.seat) {
            seat.remove(&delivery.id);
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
        let limited = match delivery.trace() {
            Some(trace) => limited(trace.scope(running), self.setup.timeout).await,
            None => limited(running, self.setup.timeout).await,
        };
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
        let outcome = caught(run(deliveries.clone())).await;
        for delivery in &deliveries {
            let outcome = match &outcome {
                Ok(outcome) => outcome.of(delivery.id).clone(),
                // One of them is to blame, and nobody knows which: each gets its other attempts.
                Err(panic) => Outcome::retry(panic),
            };
            let verdict = verdict(outcome, delivery.attempt, &self.setup.retry, random::number());
            self.settle(delivery, verdict).await;
        }
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
        if !matches!(verdict, Verdict::Ack) && !delivery.lease.is_held() {
            return Ok(()); // Somebody else has it, and says what becomes of it.
        }
        match verdict {
            Verdict::Ack => {
                backend.ack(seat, &[delivery.id]).await?;
                if seat.stream != delivery.stream {
                    // Nobody else reads what was given back to this group.
                    backend.delete(&seat.stream, &[delivery.id]).await?;
                }
                self.counts.acked.fetch_add(1, Ordering::Relaxed);
            }
            Verdict::Rest(rest, reason) => {
                tracing::debug!(id = %delivery.id, reason, ?rest, "it comes again");
                backend.retry(seat, &failed(delivery, reason), *rest).await?;
                self.counts.retried.fetch_add(1, Ordering::Relaxed);
            }
            Verdict::Bury(reason) => {
                let stream = &*delivery.stream;
                tracing::warn!(id = %delivery.id, stream, reason, "dead letter");
                let to = self.setup.dead_letters(&delivery.stream);
                backend.dead_letter(seat, &failed(delivery, reason), &to).await?;
                if seat.stream != delivery.stream {
                    backend.delete(&seat.stream, &[delivery.id]).await?;
                }
                self.counts.dead.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Gives deliveries back that were not begun.
    pub(super) async fn hand_back(&self, deliveries: Vec<Delivery>) {
        let mut by_seat: HashMap<Arc<Seat>, Vec<(MessageId, u64)>> = HashMap::new();
        for delivery in &deliveries {
            self.let_go(delivery);
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
                }
                Err(error) => tracing::warn!(%error, "not handed back; the lease will end"),
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

    /// Whether the server could be reached.
    async fn extend_some(&self, seat: &Seat, deliveries: &[Delivery]) -> bool {
        /// Ids in one command.
        const IDS_MAX: usize = 256;
        for deliveries in deliveries.chunks(IDS_MAX) {
            let ids: Vec<MessageId> = deliveries.iter().map(|delivery| delivery.id).collect();
            match self.backend.extend(seat, &ids).await {
                Ok(held) => {
                    let gone = deliveries.iter().filter(|delivery| !held.contains(&delivery.id));
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
