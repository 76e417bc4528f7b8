//! The examples in Rust of README.md, docs/toolkit.md and docs/topics.md, word for word, so that
//! they compile: a test of `xtask` compares the pages with this file, but for the indent.

#![expect(dead_code, reason = "most servers that the examples name are not here")]

use levada::{Broker, Event, Fault, Msg, Worker};

/// The first program of docs/toolkit.md.
mod program {
    use levada::{Event, Fault, Msg, Worker, connect, terminated};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Click {
        code: String,
    }

    impl Event for Click {
        const STREAM: &'static str = "clicks";
    }

    async fn count(Msg(click): Msg<Click>) -> Result<(), Fault> {
        println!("{}", click.code);
        Ok(())
    }

    #[tokio::main]
    async fn main() -> levada::Result<()> {
        let broker = connect("redis://localhost").await?;
        Worker::new(&broker, "analytics").handle(count).run(terminated()?).await?;
        Ok(())
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Click {
    code: String,
}

impl Event for Click {
    const STREAM: &'static str = "clicks";
}

async fn add_click(_code: &str) -> Result<(), Fault> {
    std::future::ready(Ok(())).await
}

/// README.md, in Rust.
#[rustfmt::skip]
async fn readme(ctrl_c: impl Future<Output = ()> + Send) -> levada::Result<()> {
    async fn count(Msg(click): Msg<Click>) -> Result<(), Fault> {
        add_click(&click.code).await
    }

    let broker = levada::connect("redis://localhost").await?;
    Worker::new(&broker, "analytics").handle(count).concurrency(64).run(ctrl_c).await?;
    Ok(())
}

/// README.md, as a library.
#[cfg(feature = "embedded")]
#[rustfmt::skip]
fn library() -> Result<(), levada_engine::Error> {
    let engine = levada_engine::Engine::open("./data")?;
    engine.create_group("orders", "billing")?;
    let id = engine.add("orders", &[("total", b"12.50")])?;   // On disk when this returns.
    for entry in engine.read_group("orders", "billing", "worker-1", 10, None)? {
        engine.ack("orders", "billing", &[entry.id])?;
    }
    let _ = id;
    Ok(())
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Order;

impl Event for Order {
    const STREAM: &'static str = "orders";
}

async fn bill(Msg(_order): Msg<Order>) -> Result<(), Fault> {
    Ok(())
}

/// docs/topics.md.
#[rustfmt::skip]
async fn partitioned(
    order: Order,
    shutdown: impl Future<Output = ()> + Send,
) -> levada::Result<Broker> {
    let broker = levada::connect("redis-cluster://10.0.0.1,10.0.0.2").await?
        .partitioned(Order::STREAM, 12).await?;
    broker.producer().send(&order).await?;                 // to the partition of order.key()
    Worker::new(&broker, "billing").handle(bill).run(shutdown).await?; // reads all of them
    Ok(broker)
}

/// The handler of docs/toolkit.md with a transaction.
#[cfg(feature = "postgres")]
mod transaction {
    use levada::postgres::{Outbox, Tx};
    use levada::{Event, Fault, Msg};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Paid {
        order: u64,
        cents: i64,
    }

    impl Event for Paid {
        const STREAM: &'static str = "paid";
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Booked {
        order: u64,
    }

    impl Event for Booked {
        const STREAM: &'static str = "booked";
    }

    async fn book(tx: Tx, Msg(paid): Msg<Paid>) -> Result<(), Fault> {
        tx.execute("UPDATE account SET cents = cents + $1", &[&paid.cents]).await?;
        Outbox::enqueue(&*tx, &Booked { order: paid.order }).await?;
        Ok(())
    }

    /// It is a handler.
    fn is_handler(broker: &levada::Broker) {
        let _ = levada::Worker::new(broker, "bank").handle(book);
    }
}
