//! Whether memory stays flat: a producer and a worker in one process, at a steady rate, for as long
//! as it is said: `soak URL [MINUTES] [EVENTS A SECOND]`.
//!
//! Of each hundred events one is poison and three fail at first; they are in order by key, and
//! marked as done. Each half minute it prints how much memory the process has. It fails where the
//! mean of the last third is more than a tenth, and more than 2 MiB, above that of the middle one;
//! the first third is for caches to fill.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use levada::{Attempt, Broker, Error, Event, Fault, Marks, Msg, Retry, State, Worker, connect};

/// Between two looks at the memory.
const LOOK: Duration = Duration::from_secs(30);
/// Sends in a second.
const TICKS: u32 = 20;

#[derive(serde::Serialize, serde::Deserialize)]
struct Raindrop {
    key: String,
    n: u64,
}

impl Event for Raindrop {
    const STREAM: &'static str = "soak";

    fn key(&self) -> Option<&str> {
        Some(&self.key)
    }

    fn idempotency_key(&self) -> Option<String> {
        Some(self.n.to_string())
    }
}

async fn soak(
    State(done): State<Arc<AtomicU64>>,
    Attempt(attempt): Attempt,
    Msg(drop): Msg<Raindrop>,
) -> Result<(), Fault> {
    match drop.n % 100 {
        7 => return Err(Fault::permanent("poison")),
        13 | 17 | 19 if attempt == 1 => return Err(Fault::new("not at once")),
        _ => {}
    }
    done.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Sends so many a second, some at once and some by the buffer.
async fn rain(broker: Broker, rate: u64) -> Result<(), Error> {
    let producer = broker.producer();
    let each = (rate / u64::from(TICKS)).max(1);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / TICKS);
    let mut n = 0;
    loop {
        ticks.tick().await;
        let drops = (n..n + each).map(|n| Raindrop { key: format!("k{}", n % 997), n });
        let (at_once, buffered): (Vec<_>, Vec<_>) = drops.partition(|drop| drop.n % 2 == 0);
        for drop in buffered {
            producer.try_enqueue(&drop).map_err(|error| Error::Full(error.to_string()))?;
        }
        producer.send_all(&at_once).await?;
        n += each;
    }
}

/// The resident memory of this process in KiB, as Linux tells it.
fn resident() -> Result<u64, Error> {
    let status = std::fs::read_to_string("/proc/self/status");
    let status = status.map_err(|error| Error::Invalid(error.to_string()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| Error::Invalid("/proc/self/status has no VmRSS".to_owned()))
}

fn mean(looks: &[u64]) -> u64 {
    looks.iter().sum::<u64>() / (looks.len() as u64).max(1)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "redis://localhost".into());
    let mut number = |default| arguments.next().map_or(default, |it| it.parse().unwrap_or(default));
    let (minutes, rate) = (number(60), number(200));
    let broker = connect(&url).await?;
    println!("{}: {rate} events a second for {minutes} minutes", broker.capabilities().server);
    broker.backend().remove(Raindrop::STREAM).await?;
    let done = Arc::new(AtomicU64::new(0));
    let retry = Retry { base: Duration::from_millis(100), ..Retry::default() };
    let worker = Worker::new(&broker, "g").state(Arc::clone(&done)).handle(soak).retry(retry);
    let worker = worker.ordered_by_key().idempotent(Marks::new(&broker, Duration::from_mins(1)));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(worker.run(async {
        let _ = stopped.await; // Either way it is time to stop.
    }));
    let raining = tokio::spawn(rain(broker.clone(), rate));
    let (begun, mut looks) = (Instant::now(), Vec::new());
    while begun.elapsed() < Duration::from_mins(minutes) {
        tokio::time::sleep(LOOK).await;
        looks.push(resident()?);
        let (seconds, kib) = (begun.elapsed().as_secs(), looks[looks.len() - 1]);
        println!("{seconds:>5} s {kib:>8} KiB {:>9} done", done.load(Ordering::Relaxed));
        if raining.is_finished() {
            return Err(Error::Closed(format!("no more is sent: {:?}", raining.await)));
        }
    }
    raining.abort();
    drop(stop);
    let drained = running.await.map_err(|error| Error::Closed(error.to_string()))??;
    let third = looks.len() / 3;
    let (middle, last) = (mean(&looks[third..2 * third]), mean(&looks[2 * third..]));
    println!("{drained:?}; middle third {middle} KiB, last third {last} KiB");
    if last > middle + (middle / 10).max(2048) {
        return Err(Error::Invalid("memory grows".to_owned()));
    }
    Ok(())
}
