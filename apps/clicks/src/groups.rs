//! The two groups. Each gets every click: `analytics` counts in the database of transactions,
//! `pipeline` looks up and keeps rows in the one for analytics.
//!
//! A database that is away is not the fault of an event, so failures are tried again for as long
//! as it takes; the stream keeps what neither has done.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use levada::{Batch, Broker, Drained, Event as _, Fault, Janitor, Retry, State, Worker};
use tokio::sync::watch;

use crate::click::Click;
use crate::enrich::Enricher;
use crate::record::counted;
use crate::store::{Counts, Row, Rows};

/// The group that counts.
pub(crate) const ANALYTICS: &str = "analytics";
/// The group that keeps rows.
pub(crate) const PIPELINE: &str = "pipeline";

/// Clicks in one transaction, and how long the first of them waits for others.
const COUNT_MAX: usize = 1000;
const COUNT_LINGER: Duration = Duration::from_millis(20);
/// Clicks in one insert: a database for analytics wants few and large ones.
const ROWS_MAX: usize = 4000;
const ROWS_LINGER: Duration = Duration::from_millis(200);
/// Clicks that are looked up before others may use the thread.
const ROWS_AT_ONCE: usize = 64;
/// How soon the clicks of a worker that was killed go to another.
const LEASE: Duration = Duration::from_secs(5);
/// How long it is remembered that a click was counted, and how often the rest is forgotten. What
/// comes again later than that would be counted again.
const REMEMBER: Duration = Duration::from_hours(7 * 24);
const TIDY_EVERY: Duration = Duration::from_mins(1);
/// Rest before a worker that could not begin begins again.
const REST: Duration = Duration::from_millis(500);

/// A database that is away is tried again, first soon and then every few seconds.
fn retry() -> Retry {
    Retry {
        max_attempts: u32::MAX,
        base: Duration::from_millis(200),
        factor: 2.0,
        max: Duration::from_secs(3),
        jitter: 0.2,
    }
}

/// Counts until the shutdown.
pub(crate) async fn analytics(
    broker: Broker,
    counts: Arc<dyn Counts>,
    stop: watch::Receiver<bool>,
) {
    until_stopped(ANALYTICS, stop, |stop| {
        Worker::new(&broker, ANALYTICS)
            .state(Arc::clone(&counts))
            .batch(COUNT_MAX, COUNT_LINGER, count)
            .concurrency(2 * COUNT_MAX)
            .lease(LEASE)
            .retry(retry())
            .run(stop)
    })
    .await;
}

/// Looks up and keeps rows until the shutdown.
pub(crate) async fn pipeline(
    broker: Broker,
    rows: Arc<dyn Rows>,
    enricher: Arc<Enricher>,
    stop: watch::Receiver<bool>,
) {
    until_stopped(PIPELINE, stop, |stop| {
        Worker::new(&broker, PIPELINE)
            .state((Arc::clone(&rows), Arc::clone(&enricher)))
            .batch(ROWS_MAX, ROWS_LINGER, keep)
            .concurrency(2 * ROWS_MAX)
            .lease(LEASE)
            .retry(retry())
            .run(stop)
    })
    .await;
}

async fn count(
    State(counts): State<Arc<dyn Counts>>,
    Batch(clicks): Batch<Click>,
) -> Result<(), Fault> {
    let clicks = clicks.iter().map(|(id, click)| counted(click, id.ms)).collect();
    counts.count(clicks).await.map(drop).map_err(|error| fault(ANALYTICS, &error))
}

async fn keep(
    State((rows, enricher)): State<(Arc<dyn Rows>, Arc<Enricher>)>,
    Batch(clicks): Batch<Click>,
) -> Result<(), Fault> {
    let mut all: Vec<Row> = Vec::with_capacity(clicks.len());
    for (id, click) in clicks {
        all.push(enricher.row(click, id.ms));
        // Redirects may wait for this thread.
        if all.len().is_multiple_of(ROWS_AT_ONCE) {
            tokio::task::yield_now().await;
        }
    }
    rows.write(all).await.map_err(|error| fault(PIPELINE, &error))
}

fn fault(group: &str, error: &anyhow::Error) -> Fault {
    eprintln!("{group}: tried again: {error:#}");
    Fault::new(format!("{error:#}"))
}

/// Runs a worker; where it cannot begin, as the server is away, it begins again.
async fn until_stopped<W>(group: &str, stop: watch::Receiver<bool>, worker: impl Fn(Shutdown) -> W)
where
    W: Future<Output = levada::Result<Drained>>,
{
    while !*stop.borrow() {
        if let Err(error) = worker(shutdown(stop.clone())).await {
            eprintln!("{group}: begins again: {error}");
            tokio::time::sleep(REST).await;
        }
    }
}

/// What a worker ends at.
type Shutdown = Pin<Box<dyn Future<Output = ()> + Send>>;

fn shutdown(mut stop: watch::Receiver<bool>) -> Shutdown {
    Box::pin(async move {
        // An error says that nobody is left who could ask: that is the end, too.
        let _ = stop.wait_for(|stopped| *stopped).await;
    })
}

/// Trims what both groups are done with, and forgets what was counted long ago.
pub(crate) async fn tidy(broker: Broker, counts: Arc<dyn Counts>) {
    let janitor = Janitor::new(&broker).remove_consumers_after(Duration::from_hours(1));
    let mut every = tokio::time::interval(TIDY_EVERY);
    loop {
        every.tick().await;
        // A group that has not begun yet would not be asked what it needs.
        let groups = broker.backend().groups(Click::STREAM).await.unwrap_or_default();
        let has = |name| groups.iter().any(|group| group.name == name);
        if has(ANALYTICS)
            && has(PIPELINE)
            && let Err(error) = janitor.sweep(Click::STREAM).await
        {
            eprintln!("tidy: {error}");
        }
        let before = UNIX_EPOCH.elapsed().unwrap_or_default().saturating_sub(REMEMBER);
        let before = i64::try_from(before.as_millis()).unwrap_or(0);
        if let Err(error) = counts.forget(before).await {
            eprintln!("tidy: {error:#}");
        }
    }
}
