//! A worker that tells what it handles and when, by the server's clock: `clocks URL PLAN FIRST`.
//!
//! It is started several times over, on clocks that differ, and says which clock it has. PLAN is
//! `free`, `exclusive` (each of four partitions for itself) or `paced` (four events a second). It
//! first sends `COUNT` events with numbers from FIRST on, of which some are for later.

use std::time::Duration;

use levada::{Attempt, Broker, Event, Fault, Msg, Retry, State, Worker, connect, terminated};

/// Events that each process sends.
const COUNT: u32 = 20;
/// How much later some of them are due, and how long one that failed rests.
const REST: Duration = Duration::from_secs(1);
/// Without a sign of life for so long their worker is dead.
const LEASE: Duration = Duration::from_secs(6);

#[derive(serde::Serialize, serde::Deserialize)]
struct Timed {
    n: u32,
    key: String,
    /// Not before this, by the server's clock.
    from_ms: u64,
}

impl Event for Timed {
    const STREAM: &'static str = "timed";

    fn key(&self) -> Option<&str> {
        Some(&self.key)
    }
}

/// Every fifth fails at first, every other takes longer than a look for what is to be taken over,
/// and the one without a key never ends.
async fn handle(
    State(broker): State<Broker>,
    Attempt(attempt): Attempt,
    Msg(timed): Msg<Timed>,
) -> Result<(), Fault> {
    let now = broker.backend().now_ms(Timed::STREAM).await?;
    println!("handle {} {} {attempt} {now} {}", timed.n, timed.key, timed.from_ms);
    if timed.key == "endless" && attempt == 1 {
        std::future::pending::<()>().await;
    }
    if timed.n.is_multiple_of(2) {
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    match (timed.n % 5, attempt) {
        (1, 1) => Err(Fault::new("not at once")),
        _ => Ok(()),
    }
}

async fn send(broker: &Broker, first: u32) -> levada::Result<()> {
    let (producer, rest) = (broker.producer(), u64::try_from(REST.as_millis()).unwrap_or(0));
    for n in first..first + COUNT {
        let key = format!("{}", n % 8);
        let now = broker.backend().now_ms(Timed::STREAM).await?;
        if n % 4 == 0 {
            let timed = Timed { n, key, from_ms: now + rest };
            producer.send_in(&timed, REST).await?;
        } else {
            producer.send(&Timed { n, key, from_ms: now }).await?;
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> levada::Result<()> {
    let mut words = std::env::args().skip(1);
    let (url, plan) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let first: u32 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    #[expect(clippy::disallowed_methods, reason = "it tells which clock it has")]
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    println!("clock {}", clock.unwrap_or_default().as_secs());
    let mut broker = connect(&url).await?;
    if plan == "exclusive" {
        broker = broker.partitioned(Timed::STREAM, 4).await?;
    }
    send(&broker, first).await?;
    println!("sent");
    let worker = Worker::new(&broker, "g").state(broker.clone()).handle(handle).lease(LEASE);
    let worker = worker.retry(Retry::fixed(3, REST)).poll(Duration::from_millis(50));
    let worker = match &*plan {
        "exclusive" => worker.exclusive(),
        "paced" => worker.rate_limit(4, Duration::from_secs(1)),
        _ => worker,
    };
    worker.run(terminated()?).await?;
    Ok(())
}
