//! The effect of an event and the mark that it was done are there together or not at all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use levada::backend::Append;
use levada::idempotency::Mark;
use levada::postgres::{Postgres, PostgresMarks, Tx};
use levada::{Attempt, Batch, Broker, Error, Event, Fault, Msg, Outcome, Retry, State, Worker};

use super::{effects, everywhere};

#[derive(serde::Serialize, serde::Deserialize)]
struct Booked {
    n: i32,
}

impl Event for Booked {
    const STREAM: &'static str = "pg-booked";

    fn idempotency_key(&self) -> Option<String> {
        Some(format!("booking {}", self.n))
    }
}

/// Appends an event as one that knows nothing of idempotent appends would, so that repetitions
/// stand in the stream.
async fn append(broker: &Broker, numbers: &[i32]) {
    let entry = |n: &i32| Append {
        stream: Booked::STREAM.to_owned(),
        fields: [("data", format!(r#"{{"n":{n}}}"#)), ("id", format!("booking {n}"))]
            .into_iter()
            .collect(),
        once: None,
    };
    let entries = numbers.iter().map(entry).collect();
    for id in broker.backend().append(entries).await.expect("sent") {
        id.expect("appended");
    }
}

/// A worker that looks for what is due often, and tries again at once.
fn worker(broker: &Broker, postgres: &Postgres) -> Worker {
    let quick = Retry::fixed(3, Duration::from_millis(1));
    let worker = Worker::new(broker, "g").retry(quick).poll(Duration::from_millis(20));
    worker.idempotent(postgres.marks())
}

/// Runs a worker until so many effects are there, then ends it.
async fn until<S: Send + Sync + 'static>(
    worker: Worker<S>,
    is_over: impl AsyncFn() -> bool + Send + Sync,
) -> levada::Drained {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(worker.run(async {
        let _ = stopped.await;
    }));
    while !is_over().await {
        assert!(!running.is_finished(), "the worker has ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _ = stop.send(());
    running.await.expect("no panic").expect("it ends well")
}

/// Whether nothing is pending or to be delivered: everything sent was settled.
async fn is_settled(broker: &Broker) -> bool {
    let groups = broker.backend().groups(Booked::STREAM).await.expect("groups");
    let entries = broker.backend().len(Booked::STREAM).await.expect("a length");
    let last = broker
        .backend()
        .range(Booked::STREAM, levada::MessageId::MIN, levada::MessageId::MAX, 1000)
        .await
        .expect("a range");
    let last = last.last().map(|entry| entry.id);
    entries > 0
        && groups.iter().any(|group| group.pending == 0 && Some(group.last_delivered) == last)
}

async fn book(tx: Tx, Msg(booked): Msg<Booked>) -> Result<(), Fault> {
    tx.execute("INSERT INTO effect VALUES ($1)", &[&booked.n]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repetition_has_no_effect() {
    everywhere("repetition", Booked::STREAM, |broker, postgres| async move {
        append(&broker, &[1, 2, 1, 3, 2, 1, 1]).await;
        let worker = worker(&broker, &postgres).handle(book);
        let drained = until(worker, || is_settled(&broker)).await;
        assert_eq!((drained.acked, drained.dead), (7, 0));
        assert_eq!(effects(&postgres).await, [1, 2, 3]);
        let all = Duration::from_hours(1);
        assert_eq!(postgres.marks().forget(all).await.expect("forgotten"), 0);
        assert_eq!(postgres.marks().forget(Duration::ZERO).await.expect("forgotten"), 3);
    })
    .await;
}

/// Fails in many ways at first, and always behind its effect.
async fn stumble(
    State(kept): State<Arc<Mutex<Vec<Tx>>>>,
    tx: Tx,
    Attempt(attempt): Attempt,
    Msg(booked): Msg<Booked>,
) -> Outcome {
    let done = tx.execute("INSERT INTO effect VALUES ($1)", &[&booked.n]).await;
    assert_eq!(done.expect("the transaction is sound"), 1);
    match (booked.n, attempt) {
        (1, 1) => Outcome::retry("not yet"),
        (2, 1) => std::future::pending().await,
        // An error that nobody looks at: PostgreSQL would answer COMMIT with a rollback.
        (3, 1) => {
            tx.execute("INSERT INTO nowhere VALUES (1)", &[]).await.expect_err("no such table");
            Outcome::Ack
        }
        (4, 1) => {
            kept.lock().expect("no panic").push(tx);
            Outcome::Ack
        }
        (5, _) => Outcome::dead_letter("never"),
        (6, _) => panic!("as handlers do"),
        _ => Outcome::Ack,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_leaves_nothing() {
    everywhere("failed", Booked::STREAM, |broker, postgres| async move {
        append(&broker, &[1, 2, 3, 4, 5, 6, 7]).await;
        let kept = Arc::<Mutex<Vec<Tx>>>::default();
        let worker = worker(&broker, &postgres).state(Arc::clone(&kept)).handle(stumble);
        let worker = worker.timeout(Duration::from_secs(2));
        let drained = until(worker, || is_settled(&broker)).await;
        assert_eq!((drained.acked, drained.dead), (5, 2));
        assert!(drained.retried >= 4, "{drained:?}");
        assert_eq!(effects(&postgres).await, [1, 2, 3, 4, 7]);
        kept.lock().expect("no panic").clear();
        assert_eq!(effects(&postgres).await, [1, 2, 3, 4, 7]);
    })
    .await;
}

async fn needs_a_transaction(_: Tx, Msg(_): Msg<Booked>) {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_a_store_lends_no_transaction() {
    everywhere("without", Booked::STREAM, |broker, _| async move {
        append(&broker, &[1]).await;
        let worker = Worker::new(&broker, "g").handle(needs_a_transaction);
        let drained = worker.run_until_idle().await.expect("it ends");
        assert_eq!((drained.acked, drained.dead), (0, 1));
    })
    .await;
}

/// A batch has a transaction of its own, and asks for each mark by hand.
async fn book_all(
    State(postgres): State<Postgres>,
    Batch(events): Batch<Booked>,
) -> Result<(), Fault> {
    let mut client = postgres.pool().get().await?;
    let transaction = client.transaction().await?;
    for (_, booked) in &events {
        let mark = Mark {
            group: "g".into(),
            stream: Booked::STREAM.into(),
            id: booked.idempotency_key().unwrap_or_default(),
            entry: String::new(),
        };
        if PostgresMarks::mark(&*transaction, &mark).await? {
            transaction.execute("INSERT INTO effect VALUES ($1)", &[&booked.n]).await?;
        }
    }
    transaction.commit().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_marks_by_hand() {
    everywhere("batch", Booked::STREAM, |broker, postgres| async move {
        append(&broker, &[1, 2, 1, 3, 2]).await;
        let worker = || Worker::new(&broker, "g").state(postgres.clone());
        let batch = || worker().batch(3, Duration::ZERO, book_all);
        let refused = batch().idempotent(postgres.marks()).run_until_idle().await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        let drained = batch().run_until_idle().await.expect("it ends");
        assert_eq!(drained.acked, 5);
        assert_eq!(effects(&postgres).await, [1, 2, 3]);
    })
    .await;
}
