//! What was committed is sent, once, in order; what was not never is.

use std::time::Duration;

use levada::postgres::{BATCH_MAX, Outbox, Postgres, Relay, Tx};
use levada::{Broker, Event, Fault, MessageId, Msg, Worker, event};

use super::everywhere;

#[derive(serde::Serialize, serde::Deserialize)]
struct Shipped {
    n: i32,
}

impl Event for Shipped {
    const STREAM: &'static str = "pg-shipped";
}

/// Enqueues events in a transaction each, or in one that is rolled back.
async fn enqueue(postgres: &Postgres, numbers: impl IntoIterator<Item = i32>, commits: bool) {
    let mut client = postgres.pool().get().await.expect("a connection");
    for n in numbers {
        let transaction = client.transaction().await.expect("a transaction");
        Outbox::enqueue(&*transaction, &Shipped { n }).await.expect("enqueued");
        match commits {
            true => transaction.commit().await.expect("committed"),
            false => transaction.rollback().await.expect("rolled back"),
        }
    }
}

/// The numbers in the stream, in order.
async fn sent(broker: &Broker) -> Vec<i32> {
    let all = broker.backend().range(Shipped::STREAM, MessageId::MIN, MessageId::MAX, 10_000).await;
    let number = |entry: levada::Entry| {
        assert!(entry.fields.get(event::ID).is_some(), "it has the mark of its row");
        event::decode::<Shipped>(&entry.fields).expect("an event").n
    };
    all.expect("a range").into_iter().map(number).collect()
}

async fn rows(postgres: &Postgres, sql: &str) -> i64 {
    let client = postgres.pool().get().await.expect("a connection");
    client.query_one(sql, &[]).await.expect("a row").get(0)
}

async fn execute(postgres: &Postgres, sql: &str) {
    let client = postgres.pool().get().await.expect("a connection");
    client.batch_execute(sql).await.expect("done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_is_sent() {
    everywhere("committed", Shipped::STREAM, |broker, postgres| async move {
        enqueue(&postgres, [1], true).await;
        enqueue(&postgres, [2], false).await;
        enqueue(&postgres, [3, 4], true).await;
        let relay = Relay::new(&broker, &postgres);
        assert_eq!(relay.pass().await.expect("sent").sent, 3);
        assert_eq!(relay.pass().await.expect("sent").sent, 0);
        assert_eq!(sent(&broker).await, [1, 3, 4]);
        assert_eq!(rows(&postgres, "SELECT count(*) FROM levada_outbox").await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_was_sent_unknowingly_is_sent_once() {
    everywhere("unknowingly", Shipped::STREAM, |broker, postgres| async move {
        enqueue(&postgres, 0..5, true).await;
        execute(&postgres, "CREATE TABLE before AS SELECT * FROM levada_outbox").await;
        let relay = Relay::new(&broker, &postgres).batch(3);
        assert_eq!(relay.pass().await.expect("sent").sent, 3);
        // As if the relay had died between the append and its commit.
        execute(
            &postgres,
            "INSERT INTO levada_outbox OVERRIDING SYSTEM VALUE SELECT * FROM before \
             WHERE id NOT IN (SELECT id FROM levada_outbox)",
        )
        .await;
        assert_eq!(relay.pass().await.expect("sent").sent, 3);
        assert_eq!(relay.pass().await.expect("sent").sent, 2);
        assert_eq!(sent(&broker).await, [0, 1, 2, 3, 4]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_relays_keep_the_order() {
    everywhere("relays", Shipped::STREAM, |broker, postgres| async move {
        let count = i32::try_from(BATCH_MAX).expect("small") * 2 + 7;
        enqueue(&postgres, 0..count, true).await;
        let (stop, _) = tokio::sync::broadcast::channel::<()>(1);
        let relays: Vec<_> = (0..3)
            .map(|_| {
                let mut stopped = stop.subscribe();
                let relay = Relay::new(&broker, &postgres).poll(Duration::from_millis(10));
                tokio::spawn(relay.run(async move {
                    let _ = stopped.recv().await;
                }))
            })
            .collect();
        while rows(&postgres, "SELECT count(*) FROM levada_outbox").await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(stop);
        let mut total = 0;
        for relay in relays {
            total += relay.await.expect("no panic").expect("it ends well").sent;
        }
        assert_eq!(total, u64::try_from(count).expect("small"));
        assert_eq!(sent(&broker).await, (0..count).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_set_aside() {
    everywhere("refused", Shipped::STREAM, |broker, postgres| async move {
        let backend = broker.backend();
        backend.set(Shipped::STREAM, b"no stream".to_vec(), None, false).await.expect("set");
        enqueue(&postgres, [1], true).await;
        let relay = Relay::new(&broker, &postgres);
        let relayed = relay.pass().await.expect("looked at");
        assert_eq!((relayed.sent, relayed.refused), (0, 1));
        backend.remove(Shipped::STREAM).await.expect("removed");
        enqueue(&postgres, [2], true).await;
        assert_eq!(relay.pass().await.expect("sent").sent, 1);
        assert_eq!(sent(&broker).await, [2]);
        execute(&postgres, "UPDATE levada_outbox SET refused = NULL").await;
        assert_eq!(relay.pass().await.expect("sent").sent, 1);
        assert_eq!(sent(&broker).await, [2, 1]);
    })
    .await;
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Ordered {
    n: i32,
}

impl Event for Ordered {
    const STREAM: &'static str = "pg-ordered";
}

async fn ship(tx: Tx, Msg(ordered): Msg<Ordered>) -> Result<(), Fault> {
    Outbox::enqueue(&*tx, &Shipped { n: ordered.n }).await?;
    match ordered.n {
        2 => Err(Fault::permanent("sold out")),
        _ => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_sends_what_it_commits() {
    everywhere("follows", Shipped::STREAM, |broker, postgres| async move {
        broker.backend().remove(Ordered::STREAM).await.expect("removed");
        let events: Vec<_> = (1..=3).map(|n| Ordered { n }).collect();
        broker.producer().send_all(&events).await.expect("sent");
        let worker = Worker::new(&broker, "g").handle(ship).idempotent(postgres.marks());
        let drained = worker.concurrency(1).run_until_idle().await.expect("it ends");
        assert_eq!((drained.acked, drained.dead), (2, 1));
        assert_eq!(Relay::new(&broker, &postgres).pass().await.expect("sent").sent, 2);
        assert_eq!(sent(&broker).await, [1, 3]);
    })
    .await;
}
