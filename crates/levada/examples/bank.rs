//! Effects that happen once, and events that are sent if, and only if, they did: the mark, the
//! effect and the outbox are one transaction of Postgres. `bank DATABASE [URL]`, with DATABASE as
//! in `host=localhost user=app dbname=app`; it ends by itself.

use std::time::Duration;

use levada::postgres::{Outbox, Postgres, Relay, Tx};
use levada::{Event, Fault, Msg, Reader, Worker, connect};

#[derive(serde::Serialize, serde::Deserialize)]
struct Paid {
    order: String,
    cents: i64,
}

impl Event for Paid {
    const STREAM: &'static str = "example-paid";

    fn idempotency_key(&self) -> Option<String> {
        Some(self.order.clone())
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Booked {
    order: String,
}

impl Event for Booked {
    const STREAM: &'static str = "example-booked";
}

async fn book(tx: Tx, Msg(paid): Msg<Paid>) -> Result<(), Fault> {
    let sql = "INSERT INTO example_account (orders, cents) VALUES ($1, $2)";
    tx.execute(sql, &[&paid.order, &paid.cents]).await?;
    Outbox::enqueue(&*tx, &Booked { order: paid.order }).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let database = arguments.next().unwrap_or_else(|| "host=localhost user=postgres".into());
    let broker = connect(&arguments.next().unwrap_or_else(|| "memory:".into())).await?;
    let postgres = Postgres::connect(&database, 4).await?;
    postgres.create_tables().await?;
    let sql = "CREATE TABLE IF NOT EXISTS example_account (orders text, cents bigint)";
    postgres.pool().get().await?.batch_execute(sql).await?;

    // The second is a repetition that the server does not know: it is of another producer.
    let paid = Paid { order: "o-1".into(), cents: 500 };
    broker.producer().send(&paid).await?;
    broker.producer().named("another").send(&paid).await?;
    let second = || tokio::time::sleep(Duration::from_secs(1));
    let worker = Worker::new(&broker, "bank").handle(book).idempotent(postgres.marks());
    println!("{:?}", worker.run(second()).await?);
    println!("{:?}", Relay::new(&broker, &postgres).run(second()).await?);
    let told = Reader::from_start::<Booked>(&broker).await?.replay().await?;
    println!("others were told {} time(s)", told.len());
    Ok(())
}
