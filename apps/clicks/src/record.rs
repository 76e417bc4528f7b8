//! How a click gets from the redirect into the stream, and what the answer may say of it.
//!
//! - `durable`: the answer waits until the click is on disk. Clicks that come while an append is
//!   under way go together in the next one.
//! - `enqueued`: the answer waits for nothing. The click is in a bounded buffer, and lost if the
//!   process dies before it is sent; when the buffer is full clicks are folded ([`Folds`]).
//! - `synchronous`: what services do that have no stream: both databases are written before the
//!   answer. For comparison.
//! - `nothing`: records nothing. For comparison.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use levada::{Broker, Producer, Shed};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::click::Click;
use crate::enrich::Enricher;
use crate::fold::Folds;
use crate::store::{Counted, Counts, Rows};
use crate::visitor::Visitors;

/// Clicks that wait for an append, in the mode `durable`.
const WAITING_MAX: usize = 10_000;
/// Clicks in one append.
const APPEND_MAX: usize = 4096;
/// Longest that a redirect waits for its click: then it goes without knowing.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(1);
/// How often folded clicks are sent, and how often they are tried again.
const FOLD_EVERY: Duration = Duration::from_millis(100);

/// What happens to clicks.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum, Debug)]
pub(crate) enum Mode {
    /// On disk before the redirect is answered
    Durable,
    /// In a bounded buffer when the redirect is answered
    Enqueued,
    /// In both databases before the redirect is answered
    Synchronous,
    /// Nowhere
    Nothing,
}

/// What is known of a click when its redirect is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    /// It is on disk, and will be counted.
    Durable,
    /// It will be counted unless this process dies in the next moment.
    Queued,
    /// The same, as a number only.
    Folded,
    /// It will not be counted: there was no room.
    Shed,
    /// It may be counted or not.
    Unknown,
    /// Nobody wanted to count it.
    Ignored,
}

impl Kept {
    /// As the header of the redirect says it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Queued => "queued",
            Self::Folded => "folded",
            Self::Shed => "shed",
            Self::Unknown => "unknown",
            Self::Ignored => "ignored",
        }
    }

    /// What the header says; `None` where it is no such word.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let all =
            [Self::Durable, Self::Queued, Self::Folded, Self::Shed, Self::Unknown, Self::Ignored];
        all.into_iter().find(|kept| kept.word() == word)
    }
}

/// What became of the clicks of this process, as the status page shows it.
#[derive(Clone, Copy, Serialize, Default, Debug)]
pub(crate) struct Tally {
    /// Put into the buffer.
    pub(crate) enqueued: u64,
    /// Of these, acknowledged by the stream.
    pub(crate) sent: u64,
    /// Of these, given up.
    pub(crate) failed: u64,
    /// Folded into numbers, as there was no room.
    pub(crate) folded: u64,
    /// Folded, and in the stream.
    pub(crate) unfolded: u64,
    /// Not counted, as there was no room.
    pub(crate) shed: u64,
    /// Neither acknowledged nor refused in time.
    pub(crate) unknown: u64,
}

#[derive(Default)]
struct Numbers {
    enqueued: AtomicU64,
    folded: AtomicU64,
    unfolded: AtomicU64,
    shed: AtomicU64,
    unknown: AtomicU64,
}

/// A click and who waits for it.
type Waiting = (Click, oneshot::Sender<bool>);

/// What the mode `synchronous` writes to.
pub(crate) struct Databases {
    pub(crate) counts: Arc<dyn Counts>,
    pub(crate) rows: Arc<dyn Rows>,
    pub(crate) enricher: Arc<Enricher>,
}

/// Records clicks.
pub(crate) struct Recorder {
    mode: Mode,
    /// Longest that a redirect waits for its click.
    wait: Duration,
    producer: Producer,
    waiting: mpsc::Sender<Waiting>,
    folds: Arc<Folds>,
    numbers: Arc<Numbers>,
    databases: Databases,
}

impl Recorder {
    /// Begins to record. To be called inside a tokio runtime, whose tasks it starts.
    pub(crate) fn start(
        mode: Mode,
        wait: Duration,
        broker: &Broker,
        visitors: Arc<Visitors>,
        databases: Databases,
    ) -> Self {
        let producer = broker.producer();
        let (waiting, inbox) = mpsc::channel(WAITING_MAX);
        let (folds, numbers) = (Arc::<Folds>::default(), Arc::<Numbers>::default());
        tokio::spawn(append(producer.clone(), inbox));
        let (folded, counted) = (Arc::clone(&folds), Arc::clone(&numbers));
        tokio::spawn(unfold(producer.clone(), visitors, folded, counted));
        Self { mode, wait, producer, waiting, folds, numbers, databases }
    }

    /// Records a click, and answers what may be said of it.
    pub(crate) async fn record(&self, click: Click) -> Kept {
        match self.mode {
            Mode::Durable => self.durably(click).await,
            Mode::Enqueued => self.enqueue(&click),
            Mode::Synchronous => self.synchronously(click).await,
            Mode::Nothing => Kept::Ignored,
        }
    }

    /// What became of them.
    pub(crate) fn tally(&self) -> Tally {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let buffer = self.producer.buffer_stats();
        Tally {
            enqueued: read(&self.numbers.enqueued),
            sent: buffer.sent,
            failed: buffer.failed,
            folded: read(&self.numbers.folded),
            unfolded: read(&self.numbers.unfolded),
            shed: read(&self.numbers.shed),
            unknown: read(&self.numbers.unknown),
        }
    }

    /// Waits until what was recorded is in the stream, at most so long. For the end of a process.
    pub(crate) async fn flush(&self, limit: Duration) {
        let unfolded = async {
            while self.tally().unfolded < self.tally().folded {
                tokio::time::sleep(FOLD_EVERY).await;
            }
        };
        let all = async { tokio::join!(self.producer.flush(), unfolded) };
        if tokio::time::timeout(limit, all).await.is_err() {
            eprintln!("clicks were not sent in time: {:?}", self.tally());
        }
    }

    async fn durably(&self, click: Click) -> Kept {
        let (told, outcome) = oneshot::channel();
        if self.waiting.try_send((click, told)).is_err() {
            self.numbers.shed.fetch_add(1, Ordering::Relaxed);
            return Kept::Shed;
        }
        if let Ok(Ok(true)) = tokio::time::timeout(self.wait, outcome).await {
            return Kept::Durable;
        }
        self.numbers.unknown.fetch_add(1, Ordering::Relaxed);
        Kept::Unknown
    }

    fn enqueue(&self, click: &Click) -> Kept {
        let add = |number: &AtomicU64| number.fetch_add(1, Ordering::Relaxed);
        match self.producer.try_enqueue(click) {
            Ok(()) => {
                add(&self.numbers.enqueued);
                Kept::Queued
            }
            Err(Shed::Full) if self.folds.add(&click.code) => {
                add(&self.numbers.folded);
                Kept::Folded
            }
            Err(_) => {
                add(&self.numbers.shed);
                Kept::Shed
            }
        }
    }

    async fn synchronously(&self, click: Click) -> Kept {
        let at = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        let counted = counted(&click, at);
        let row = self.databases.enricher.row(click, at);
        let written = async {
            self.databases.counts.count(vec![counted]).await?;
            self.databases.rows.write(vec![row]).await
        };
        match written.await {
            Ok(()) => Kept::Durable,
            Err(error) => {
                eprintln!("synchronous: {error:#}");
                Kept::Unknown
            }
        }
    }
}

/// A click as it is counted, with the time of its entry in the stream.
pub(crate) fn counted(click: &Click, at_ms: u64) -> Counted {
    Counted {
        id: click.id.clone(),
        code: click.code.clone(),
        at_ms: i64::try_from(at_ms).unwrap_or(i64::MAX),
        weight: i64::from(click.weight),
    }
}

/// Appends what waits, all that there is in one pipeline.
async fn append(producer: Producer, mut inbox: mpsc::Receiver<Waiting>) {
    let mut works = Vec::with_capacity(APPEND_MAX);
    while inbox.recv_many(&mut works, APPEND_MAX).await > 0 {
        let (clicks, waiting): (Vec<_>, Vec<_>) = works.drain(..).unzip();
        let well = match producer.send_all(&clicks).await {
            Ok(_) => true,
            Err(error) => {
                eprintln!("{} clicks may not be in the stream: {error}", clicks.len());
                false
            }
        };
        for told in waiting {
            // It may have stopped waiting.
            let _ = told.send(well);
        }
    }
}

/// Sends folded clicks until they are in the stream. What was sent without an answer is sent
/// again as it was: it is counted once by its id.
async fn unfold(
    producer: Producer,
    visitors: Arc<Visitors>,
    folds: Arc<Folds>,
    numbers: Arc<Numbers>,
) {
    let mut every = tokio::time::interval(FOLD_EVERY);
    loop {
        every.tick().await;
        let taken = folds.take();
        let clicks: Vec<Click> =
            taken.into_iter().map(|(code, count)| visitors.several(code, count)).collect();
        for clicks in clicks.chunks(APPEND_MAX) {
            while let Err(error) = producer.send_all(clicks).await {
                eprintln!("folded clicks wait: {error}");
                tokio::time::sleep(FOLD_EVERY).await;
            }
            let weight: u64 = clicks.iter().map(|click| u64::from(click.weight)).sum();
            numbers.unfolded.fetch_add(weight, Ordering::Relaxed);
        }
    }
}
