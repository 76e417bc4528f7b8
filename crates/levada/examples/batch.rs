//! Events that are handled together, up to a hundred at a time, some of which fail. `batch [URL]`;
//! it ends by itself.

use std::time::Duration;

use levada::{Batch, BatchOutcome, Event, Outcome, Worker, connect};

#[derive(serde::Serialize, serde::Deserialize)]
struct Reading {
    celsius: f64,
}

impl Event for Reading {
    const STREAM: &'static str = "example-readings";
}

async fn store(Batch(readings): Batch<Reading>) -> BatchOutcome {
    println!("a batch of {}", readings.len());
    let absurd = readings.iter().filter(|(_, reading)| reading.celsius < -273.15);
    absurd.fold(BatchOutcome::ack(), |outcome, (id, reading)| {
        let reason = format!("{} degrees are below the lowest", reading.celsius);
        outcome.but(*id, Outcome::dead_letter(reason))
    })
}

#[tokio::main]
async fn main() -> levada::Result<()> {
    let broker = connect(&std::env::args().nth(1).unwrap_or_else(|| "memory:".into())).await?;
    let readings: Vec<Reading> =
        (0..250).map(|n| Reading { celsius: f64::from(n) * -1.1 }).collect();
    broker.producer().send_all(&readings).await?;
    let worker = Worker::new(&broker, "store").batch(100, Duration::from_millis(20), store);
    let shutdown = tokio::time::sleep(Duration::from_secs(1));
    println!("{:?}", worker.concurrency(200).run(shutdown).await?);
    Ok(())
}
