//! What the toolkit costs: the same events read by a bare loop of redis-rs and by a worker with a
//! batch handler, in turn: `overhead URL [EVENTS] [BATCH] [ROUNDS]`.
//!
//! Both read a group in batches, parse the JSON and acknowledge a batch with one command. The bare
//! loop has no leases, retries, shutdown or reconnect. The stream `overhead` is removed first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use levada::{Batch, Broker, Event, Fault, State, Worker, connect};
use redis::AsyncTypedCommands as _;
use redis::streams::{StreamReadOptions, StreamReadReply};
use tokio::sync::Notify;

#[derive(serde::Serialize, serde::Deserialize)]
struct Click {
    code: String,
    referrer: String,
}

impl Event for Click {
    const STREAM: &'static str = "overhead";
}

/// How many events were handled, and who waits for the last.
#[derive(Clone)]
struct Seen(Arc<(AtomicUsize, usize, Notify)>);

impl Seen {
    fn add(&self, count: usize) {
        let (seen, all, done) = &*self.0;
        if seen.fetch_add(count, Ordering::Relaxed) + count >= *all {
            done.notify_one();
        }
    }
}

async fn count(State(seen): State<Seen>, Batch(clicks): Batch<Click>) {
    seen.add(clicks.iter().filter(|(_, click)| !click.code.is_empty()).count());
}

async fn fill(broker: &Broker, events: usize) -> levada::Result<()> {
    broker.backend().remove(Click::STREAM).await?;
    let producer = broker.producer();
    let click = |n: usize| Click { code: format!("code-{n}"), referrer: "x".repeat(60) };
    for start in (0..events).step_by(500) {
        let some: Vec<_> = (start..events.min(start + 500)).map(click).collect();
        producer.send_all(&some).await?;
    }
    Ok(())
}

async fn bare(url: &str, group: &str, events: usize, batch: usize) -> Result<Duration, Fault> {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let client = redis::Client::open(url)?;
    let mut link = client.get_multiplexed_async_connection_with_config(&config).await?;
    let create = redis::cmd("XGROUP").arg("CREATE").arg(Click::STREAM).arg(group).arg(0).to_owned();
    let _: String = create.query_async(&mut link).await?;
    let options = StreamReadOptions::default().group(group, "bare").count(batch).block(1000);
    let (begun, mut seen) = (Instant::now(), 0);
    while seen < events {
        let read: Option<StreamReadReply> =
            link.xread_options(&[Click::STREAM], &[">"], &options).await?;
        let entries = read.into_iter().flat_map(|it| it.keys).flat_map(|key| key.ids);
        let mut ids = Vec::with_capacity(batch);
        for entry in entries {
            let data: Vec<u8> = entry.get("data").unwrap_or_default();
            let click: Click = serde_json::from_slice(&data)?;
            seen += usize::from(!click.code.is_empty());
            ids.push(entry.id);
        }
        link.xack(Click::STREAM, group, &ids).await?;
    }
    Ok(begun.elapsed())
}

async fn worker(
    broker: &Broker,
    group: &str,
    events: usize,
    batch: usize,
) -> Result<Duration, Fault> {
    let seen = Seen(Arc::new((AtomicUsize::new(0), events, Notify::new())));
    let worker = Worker::new(broker, group).state(seen.clone());
    let worker = worker.batch(batch, Duration::ZERO, count).concurrency(2 * batch);
    let begun = Instant::now();
    let drained = worker.run(async { seen.0.2.notified().await }).await?;
    let took = begun.elapsed();
    assert_eq!(drained.acked, events as u64, "each once");
    Ok(took)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> levada::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "redis://localhost".into());
    let mut number = |default| arguments.next().map_or(default, |it| it.parse().unwrap_or(default));
    let (events, batch, rounds) = (number(200_000), number(100), number(5));
    let broker = connect(&url).await?;
    println!("{}: {events} events, batches of {batch}", broker.capabilities().server);
    fill(&broker, events).await?;
    let mut shares = Vec::new();
    for round in 0..rounds {
        let failed = |fault| levada::Error::Invalid(format!("{fault:?}"));
        let bare = bare(&url, &format!("bare-{round}"), events, batch).await.map_err(failed)?;
        let ours =
            worker(&broker, &format!("ours-{round}"), events, batch).await.map_err(failed)?;
        let rate = |took: Duration| events as u128 * 1000 / took.as_millis().max(1);
        let share = bare.as_secs_f64() / ours.as_secs_f64();
        println!("bare {}/s, worker {}/s: {share:.2}", rate(bare), rate(ours));
        shares.push(share);
    }
    shares.sort_by(f64::total_cmp);
    println!("median {:.2}", shares[shares.len() / 2]);
    broker.backend().remove(Click::STREAM).await?;
    Ok(())
}
