//! Producers and workers that are killed: `cargo xtask toolkit-chaos` starts them, kills them with
//! their server, and counts in the end.
//!
//! - `chaos producer URL NAME SECONDS` sends jobs, each until it is known to be there, and prints
//!   how many.
//! - `chaos worker URL DATABASE` books each job in the table `effect`, in the transaction of its
//!   mark.
//!
//! Of each twenty jobs one is poison, one is no job at all, and two fail at first.

use std::time::{Duration, Instant};

use levada::backend::{Append, Once};
use levada::postgres::{Postgres, Tx};
use levada::{Attempt, Broker, Event, Fault, Msg, Retry, Worker, connect, terminated};

/// Between attempts that failed.
const REST: Duration = Duration::from_millis(50);
/// Between jobs: the point is to lose none of them, not to be quick.
const PACE: Duration = Duration::from_millis(2);

#[derive(serde::Serialize, serde::Deserialize)]
struct Job {
    producer: String,
    n: u64,
}

impl Event for Job {
    const STREAM: &'static str = "jobs";

    fn idempotency_key(&self) -> Option<String> {
        Some(format!("{}-{}", self.producer, self.n))
    }
}

/// Sends one, or what is none; whether it is known to be there.
async fn send(broker: &Broker, job: &Job) -> levada::Result<()> {
    if job.n % 20 != 13 {
        return broker.producer().send(job).await.map(drop);
    }
    let id = job.idempotency_key().unwrap_or_default();
    let entry = Append {
        stream: Job::STREAM.to_owned(),
        fields: [("data", "no job"), ("id", &id)].into_iter().collect(),
        once: Some(Once { producer: "chaos".to_owned(), id }),
    };
    broker.backend().append(vec![entry]).await?.into_iter().try_for_each(|id| id.map(drop))
}

async fn produce(broker: &Broker, name: &str, load: Duration) {
    let end = Instant::now() + load;
    let mut n = 0;
    while Instant::now() < end {
        let job = Job { producer: name.to_owned(), n };
        while let Err(error) = send(broker, &job).await {
            eprintln!("{n}: {error}");
            tokio::time::sleep(REST).await;
        }
        n += 1;
        tokio::time::sleep(PACE).await;
    }
    println!("{n}");
}

async fn book(tx: Tx, Attempt(attempt): Attempt, Msg(job): Msg<Job>) -> Result<(), Fault> {
    let name = job.idempotency_key().unwrap_or_default();
    tx.execute("INSERT INTO effect (name) VALUES ($1)", &[&name]).await?;
    match job.n % 20 {
        7 => Err(Fault::permanent("poison")),
        3 | 17 if attempt == 1 => Err(Fault::new("not at once")),
        _ => Ok(()),
    }
}

async fn work(broker: &Broker, database: &str) -> levada::Result<()> {
    let postgres = Postgres::connect(database, 8).await?;
    postgres.create_tables().await?;
    let retry = Retry { max_attempts: 200, base: REST, factor: 1.5, ..Retry::default() };
    let worker = Worker::new(broker, "g").handle(book).idempotent(postgres.marks());
    let worker = worker.concurrency(8).retry(retry);
    let worker = worker.lease(Duration::from_secs(1)).poll(Duration::from_millis(100));
    worker.run(terminated()?).await.map(drop)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> levada::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [role, url, rest @ ..] = arguments.as_slice() else {
        return Err(levada::Error::Invalid("chaos producer|worker URL ...".to_owned()));
    };
    // The server may be down just now.
    let broker = loop {
        match connect(url).await {
            Ok(broker) => break broker,
            Err(error) => eprintln!("{error}"),
        }
        tokio::time::sleep(REST).await;
    };
    match (*role, rest) {
        ("producer", [name, seconds]) => {
            let seconds = seconds.parse().map_err(|_| {
                levada::Error::Invalid(format!("{seconds:?} is no number of seconds"))
            })?;
            produce(&broker, name, Duration::from_secs(seconds)).await;
            Ok(())
        }
        ("worker", [database]) => work(&broker, database).await,
        _ => Err(levada::Error::Invalid("chaos producer|worker URL ...".to_owned())),
    }
}
