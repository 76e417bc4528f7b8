//! What holds work back: it was done before, there is a rate, the worker is paused.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use levada::backend::{Append, GroupFacts};
use levada::{Broker, Event as _, Fault, Marks, MessageId, Msg, Retry, State, Worker};
use tokio::sync::mpsc::UnboundedSender;

use super::{event, promise};
use crate::world::{Running, eventually, tells};

event!(Repeated, "it-repeated");

/// Appends as one that knows nothing of idempotent appends would, so that repetitions stand in the
/// stream.
async fn append(broker: &Broker, run: &str, numbers: &[u32]) -> Option<MessageId> {
    let entry = |n: &u32| Append {
        stream: Repeated::STREAM.to_owned(),
        fields: [("data", format!(r#"{{"n":{n}}}"#)), ("id", format!("{run}-{n}"))]
            .into_iter()
            .collect(),
        once: None,
    };
    let ids = broker.backend().append(numbers.iter().map(entry).collect()).await.expect("sent");
    ids.into_iter().map(|id| id.expect("appended")).next_back()
}

async fn effect(
    State(effects): State<Arc<Mutex<Vec<u32>>>>,
    Msg(event): Msg<Repeated>,
) -> Result<(), Fault> {
    let mut effects = effects.lock().expect("no panic");
    effects.push(event.n);
    match event.n {
        3 if effects.iter().filter(|n| **n == 3).count() == 1 => Err(Fault::new("not at once")),
        _ => Ok(()),
    }
}

promise! {
    /// What was done before is not done again, also where it stands in the stream twice; what
    /// failed is.
    what_is_marked_as_done_is_not_done_again, [Repeated::STREAM], |broker, world| {
        // Marks outlive the test: those of the last run are of other events.
        let run = broker.backend().now_ms(Repeated::STREAM).await.expect("a time").to_string();
        let last = append(&broker, &run, &[1, 2, 1, 3, 2, 1]).await;
        let effects = Arc::<Mutex<Vec<u32>>>::default();
        let quick = Retry::fixed(3, Duration::from_millis(1));
        let worker = Worker::new(&broker, "g").state(Arc::clone(&effects)).handle(effect);
        let worker = worker.retry(quick).poll(Duration::from_millis(20));
        let marks = Marks::new(&broker, Duration::from_mins(10));
        let running = Running::start(worker.idempotent(marks));
        let settled = || async {
            let groups = broker.backend().groups(Repeated::STREAM).await.expect("groups");
            let done = effects.lock().expect("no panic").len() == 4;
            let delivered = |group: &GroupFacts| Some(group.last_delivered) == last;
            done && groups.iter().all(|group| group.pending == 0 && delivered(group))
        };
        eventually("all is done", settled).await;
        let drained = running.stop().await;
        assert_eq!((drained.acked, drained.retried, drained.dead), (6, 1, 0));
        let mut effects = effects.lock().expect("no panic").clone();
        effects.sort_unstable();
        assert_eq!(effects, [1, 2, 3, 3]);
    }
}

event!(Paced, "it-paced");

async fn note(State(tell): State<UnboundedSender<(u32, Instant)>>, Msg(event): Msg<Paced>) {
    tell.send((event.n, Instant::now())).expect("the test listens");
}

promise! {
    /// Two workers together handle no more in a span than their rate, and all in the end.
    a_rate_is_shared, [Paced::STREAM], |broker, world| {
        const EVENTS: u32 = 20;
        let span = Duration::from_millis(250);
        let events: Vec<_> = (0..EVENTS).map(Paced::new).collect();
        broker.producer().send_all(&events).await.expect("sent");
        let (tell, mut told) = tells();
        let worker = || Worker::new(&broker, "g").state(tell.clone()).handle(note);
        let worker = || Running::start(worker().poll(span).rate_limit(4, span));
        let begun = Instant::now();
        let (one, other) = (worker(), worker());
        let mut numbers = Vec::new();
        for _ in 0..EVENTS {
            numbers.push(told.next().await.0);
        }
        // Five spans' worth, of which the first and the last may be moments.
        assert!(begun.elapsed() > span * 2, "{:?}", begun.elapsed());
        numbers.sort_unstable();
        assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>());
        assert_eq!(one.stop().await.acked + other.stop().await.acked, u64::from(EVENTS));
    }
}

event!(Stopped, "it-stopped");

async fn pass(State(tell): State<UnboundedSender<u32>>, Msg(event): Msg<Stopped>) {
    tell.send(event.n).expect("the test listens");
}

promise! {
    /// A worker that is paused reads nothing; when it goes on it misses nothing.
    a_paused_worker_reads_nothing, [Stopped::STREAM], |broker, world| {
        let (tell, mut told) = tells();
        let worker = Worker::new(&broker, "g").state(tell).handle(pass);
        let control = worker.control();
        control.pause();
        let running = Running::start(worker.poll(Duration::from_millis(20)));
        eventually("the group is there", || async {
            !broker.backend().groups(Stopped::STREAM).await.expect("groups").is_empty()
        })
        .await;
        broker.producer().send(&Stopped::new(1)).await.expect("sent");
        // As long as ten reads would have waited.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(control.is_paused());
        assert!(told.rest().is_empty());
        control.resume();
        assert_eq!(told.next().await, 1);
        control.pause();
        assert_eq!(running.stop().await.acked, 1, "a paused worker can be ended");
    }
}
