//! A worker that takes its time and bears signals: `patient URL`.
//!
//! At SIGTERM it finishes what it has begun, gives the rest back and ends; at a second one it ends
//! at once. What it does then is up to the lease. Send it work with
//! `redis-cli XADD patient '*' data '{"ms":500}'`.

use std::time::Duration;

use levada::{Event, Msg, Worker, connect, terminated};

#[derive(serde::Serialize, serde::Deserialize)]
struct Work {
    /// How long it takes.
    ms: u64,
}

impl Event for Work {
    const STREAM: &'static str = "patient";
}

async fn work(Msg(work): Msg<Work>) {
    println!("begun {}", work.ms);
    tokio::time::sleep(Duration::from_millis(work.ms)).await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> levada::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://localhost".into());
    let broker = connect(&url).await?;
    let terminated = terminated()?;
    let shutdown = async {
        terminated.await;
        println!("draining");
    };
    let worker = Worker::new(&broker, "patients").handle(work).lease(Duration::from_secs(1));
    let drained = worker.drain(Duration::from_hours(1)).run(shutdown).await?;
    println!("drained {}", drained.acked);
    Ok(())
}
