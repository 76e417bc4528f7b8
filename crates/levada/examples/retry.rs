//! What fails: tried again with growing rests, set aside with its reason, and given back when the
//! cause is mended. `retry [URL]`; it ends by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use levada::{Attempt, DeadLetters, Event, Fault, Msg, Retry, State, Worker, connect};

#[derive(serde::Serialize, serde::Deserialize)]
struct Invoice {
    number: u32,
}

impl Event for Invoice {
    const STREAM: &'static str = "example-invoices";
}

/// Whether the bank is open.
type Bank = Arc<AtomicBool>;

async fn pay(
    State(open): State<Bank>,
    Attempt(attempt): Attempt,
    Msg(invoice): Msg<Invoice>,
) -> Result<(), Fault> {
    println!("invoice {}, attempt {attempt}", invoice.number);
    match invoice.number {
        0 => Err(Fault::permanent("there is no invoice 0")),
        _ if !open.load(Ordering::Relaxed) => Err(Fault::new("the bank is closed")),
        _ => Ok(()),
    }
}

#[tokio::main]
async fn main() -> levada::Result<()> {
    let broker = connect(&std::env::args().nth(1).unwrap_or_else(|| "memory:".into())).await?;
    broker.producer().send_all(&[Invoice { number: 0 }, Invoice { number: 1 }]).await?;

    let open = Bank::default();
    let second = || tokio::time::sleep(Duration::from_secs(1));
    let worker = || {
        let worker = Worker::new(&broker, "payments").state(Arc::clone(&open)).handle(pay);
        let retry = Retry { max_attempts: 3, base: Duration::from_millis(50), ..Retry::default() };
        worker.retry(retry).poll(Duration::from_millis(50))
    };
    println!("{:?}", worker().run(second()).await?);

    let dead = DeadLetters::of::<Invoice>(&broker, "payments");
    let letters = dead.list(10).await?;
    for letter in &letters {
        println!("dead: {} ({} deliveries)", letter.reason, letter.deliveries);
    }
    open.store(true, Ordering::Relaxed);
    let (closed, wrong): (Vec<_>, Vec<_>) =
        letters.into_iter().partition(|letter| letter.reason.contains("closed"));
    println!("given back: {}", dead.redrive(&closed).await?);
    println!("thrown away: {}", dead.purge(&wrong).await?);
    println!("{:?}", worker().run(second()).await?);
    Ok(())
}
