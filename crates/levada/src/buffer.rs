//! The buffer behind [`crate::Producer::try_enqueue`]: bounded in events and bytes, and sent by one
//! task.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::backend::{Append, Backend};
use crate::durability::Durability;
use crate::error::Error;

/// Events in the buffer at most.
pub const BUFFER_EVENTS_MAX: usize = 10_000;
/// Bytes of them at most.
pub const BUFFER_BYTES_MAX: usize = 64 << 20;
/// Events sent in one pipeline.
const PIPELINE_MAX: usize = 256;
/// How often a pipeline that failed is tried again before its events are given up.
const ATTEMPTS_MAX: u32 = 10;
/// Rests between the attempts: the first, doubled up to the longest.
const REST_MIN: Duration = Duration::from_millis(50);
const REST_MAX: Duration = Duration::from_secs(5);

/// Why an event was not taken into the buffer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Shed {
    /// The buffer is full: the server is slower than the events come. It was counted.
    #[error("the buffer is full ({BUFFER_EVENTS_MAX} events or {BUFFER_BYTES_MAX} bytes)")]
    Full,
    /// It is no event that can be sent.
    #[error(transparent)]
    Invalid(Error),
}

/// What became of the events of a buffer, since it began.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BufferStats {
    /// Acknowledged by the server.
    pub sent: u64,
    /// Refused because the buffer was full.
    pub shed: u64,
    /// Given up: the server refused them, or did not answer for too long.
    pub failed: u64,
}

#[derive(Debug)]
pub(crate) struct Buffer {
    work: mpsc::Sender<Work>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicUsize,
    sent: AtomicU64,
    shed: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug)]
enum Work {
    Send(Append),
    /// Answered when all that came before is over.
    Flush(oneshot::Sender<()>),
}

impl Buffer {
    pub(crate) fn start(backend: Arc<dyn Backend>, durability: Durability) -> Self {
        let (work, inbox) = mpsc::channel(BUFFER_EVENTS_MAX);
        let shared = Arc::<Shared>::default();
        tokio::spawn(send_all(backend, durability, inbox, Arc::clone(&shared)));
        Self { work, shared }
    }

    pub(crate) fn push(&self, entry: Append) -> Result<(), Shed> {
        let bytes = cost(&entry);
        let held = self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = held == 0 || held + bytes <= BUFFER_BYTES_MAX;
        if fits && self.work.try_send(Work::Send(entry)).is_ok() {
            return Ok(());
        }
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.shared.shed.fetch_add(1, Ordering::Relaxed);
        Err(Shed::Full)
    }

    pub(crate) async fn flush(&self) -> BufferStats {
        let (done, over) = oneshot::channel();
        if self.work.send(Work::Flush(done)).await.is_ok() {
            // An error means that the task is gone, and with it the runtime: nothing to wait for.
            let _ = over.await;
        }
        self.stats()
    }

    pub(crate) fn stats(&self) -> BufferStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Shared { sent, shed, failed, .. } = &*self.shared;
        BufferStats { sent: read(sent), shed: read(shed), failed: read(failed) }
    }
}

fn cost(entry: &Append) -> usize {
    entry.fields.0.iter().map(|(name, value)| name.len() + value.len()).sum()
}

async fn send_all(
    backend: Arc<dyn Backend>,
    durability: Durability,
    mut inbox: mpsc::Receiver<Work>,
    shared: Arc<Shared>,
) {
    let mut works = Vec::with_capacity(PIPELINE_MAX);
    while inbox.recv_many(&mut works, PIPELINE_MAX).await > 0 {
        let (mut entries, mut flushes) = (Vec::new(), Vec::new());
        for work in works.drain(..) {
            match work {
                Work::Send(entry) => entries.push(entry),
                Work::Flush(done) => flushes.push(done),
            }
        }
        let bytes: usize = entries.iter().map(cost).sum();
        send(&*backend, durability, entries, &shared).await;
        shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        // Whoever waits may have gone.
        for done in flushes {
            let _ = done.send(());
        }
    }
}

/// Sends one pipeline, and what failed of it again. An event without idempotency key whose answer
/// was lost may thus stand in the stream twice: at least once, never less.
async fn send(
    backend: &dyn Backend,
    durability: Durability,
    mut entries: Vec<Append>,
    shared: &Shared,
) {
    let mut rest = REST_MIN;
    for attempt in 1..=ATTEMPTS_MAX {
        if entries.is_empty() {
            return;
        }
        let outcomes = match backend.append_held(entries.clone(), durability).await {
            Ok(outcomes) => outcomes,
            Err(error) => entries.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut again = Vec::new();
        for (entry, outcome) in entries.into_iter().zip(outcomes) {
            match outcome {
                Ok(_) => shared.sent.fetch_add(1, Ordering::Relaxed),
                Err(error) if error.is_transient() && attempt < ATTEMPTS_MAX => {
                    again.push(entry);
                    continue;
                }
                Err(error) => {
                    tracing::error!(stream = entry.stream, %error, "an event was given up");
                    shared.failed.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
        entries = again;
        if !entries.is_empty() {
            tokio::time::sleep(rest).await;
            rest = (rest * 2).min(REST_MAX);
        }
    }
}
