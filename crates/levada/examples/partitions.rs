//! A stream over four partitions and two workers that share them out: the events of one account
//! are handled in order, those of others at the same time. `partitions [URL]`, also with
//! `redis-cluster://`; it ends by itself.

use std::time::Duration;

use levada::{Event, Msg, State, Worker, connect};

#[derive(serde::Serialize, serde::Deserialize)]
struct Transfer {
    account: String,
    number: u32,
}

impl Event for Transfer {
    const STREAM: &'static str = "example-transfers";

    fn key(&self) -> Option<&str> {
        Some(&self.account)
    }
}

async fn book(State(worker): State<&'static str>, Msg(transfer): Msg<Transfer>) {
    println!("{worker}: {} {}", transfer.account, transfer.number);
}

#[tokio::main]
async fn main() -> levada::Result<()> {
    let broker = connect(&std::env::args().nth(1).unwrap_or_else(|| "memory:".into())).await?;
    let broker = broker.partitioned(Transfer::STREAM, 4).await?;
    for number in 0..3 {
        for account in ["Ada", "Grace", "Edsger", "Barbara"] {
            broker.producer().send(&Transfer { account: account.into(), number }).await?;
        }
    }
    let run = |name: &'static str| {
        let worker = Worker::new(&broker, "ledger").state(name).handle(book).exclusive();
        let worker = worker.lease(Duration::from_secs(1)).poll(Duration::from_millis(50));
        worker.run(tokio::time::sleep(Duration::from_secs(2)))
    };
    let (one, other) = tokio::join!(run("one"), run("other"));
    println!("{} events handled", one?.acked + other?.acked);
    Ok(())
}
