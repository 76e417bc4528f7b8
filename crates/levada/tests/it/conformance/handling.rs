//! What is sent is handled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use levada::{
    Attempt, Batch, BatchOutcome, Event as _, Headers, Id, MessageId, Msg, Outcome, State, Worker,
};
use tokio::sync::{Semaphore, mpsc::UnboundedSender};

use super::{event, promise};
use crate::world::{Running, eventually, tells};

type Tell<T> = State<UnboundedSender<T>>;

event!(Plain, "it-plain");

async fn plain(
    State(tell): Tell<(MessageId, u64, u32)>,
    Id(id): Id,
    Attempt(attempt): Attempt,
    Msg(plain): Msg<Plain>,
) {
    tell.send((id, attempt, plain.n)).expect("the test listens");
}

promise! {
    /// Each event goes to one handler of the group, in a typed form, and is acknowledged.
    a_sent_event_is_handled_once, [Plain::STREAM], |broker, world| {
        let (tell, mut told) = tells();
        let id = broker.producer().send(&Plain::new(7)).await.expect("sent");
        let running = Running::start(Worker::new(&broker, "g").state(tell).handle(plain));
        assert_eq!(told.next().await, (id, 1, 7));
        assert_eq!(running.stop().await.acked, 1);
        let groups = broker.backend().groups(Plain::STREAM).await.expect("groups");
        assert_eq!((groups[0].pending, groups[0].last_delivered), (0, id));
        assert_eq!(groups[0].consumers, 0, "it takes its consumer with it");
    }
}

event!(Traced, "it-traced");

async fn traced(
    State(tell): Tell<(Option<String>, Option<u128>)>,
    Headers(mut headers): Headers,
    Msg(_): Msg<Traced>,
) {
    let trace = levada::TraceContext::current().map(|context| context.trace);
    tell.send((headers.remove("tenant"), trace)).expect("the test listens");
}

promise! {
    /// Headers and trace context travel with the event.
    headers_and_trace_arrive, [Traced::STREAM], |broker, world| {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = levada::TraceContext::parse(text).expect("well-formed");
        let producer = broker.producer().with_header("tenant", "blue").with_trace(context);
        producer.send(&Traced::new(1)).await.expect("sent");
        let (tell, mut told) = tells();
        let running = Running::start(Worker::new(&broker, "g").state(tell).handle(traced));
        assert_eq!(told.next().await, (Some("blue".into()), Some(context.trace)));
        running.stop().await;
    }
}

event!(Many, "it-many");

#[derive(Clone)]
struct Gate {
    open: Arc<Semaphore>,
    inside: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

async fn gated(State(gate): State<Gate>, Msg(_): Msg<Many>) {
    let inside = gate.inside.fetch_add(1, Ordering::SeqCst) + 1;
    gate.most.fetch_max(inside, Ordering::SeqCst);
    gate.open.acquire().await.expect("nobody closes it").forget();
    gate.inside.fetch_sub(1, Ordering::SeqCst);
}

promise! {
    /// No more is read than is handled at once: the rest stays for others.
    what_cannot_run_is_not_read, [Many::STREAM], |broker, world| {
        let events: Vec<_> = (0..10).map(Many::new).collect();
        assert_eq!(broker.producer().send_all(&events).await.expect("sent").len(), 10);
        let open = Arc::new(Semaphore::new(0));
        let gate = Gate { open, inside: Arc::default(), most: Arc::default() };
        let worker = Worker::new(&broker, "g").state(gate.clone()).handle(gated).concurrency(3);
        let running = Running::start(worker);
        eventually("three are at work", || async {
            gate.inside.load(Ordering::SeqCst) == 3
        }).await;
        let groups = broker.backend().groups(Many::STREAM).await.expect("groups");
        assert_eq!(groups[0].pending, 3);
        gate.open.add_permits(10);
        eventually("all are done", || async {
            let groups = broker.backend().groups(Many::STREAM).await.expect("groups");
            groups[0].pending == 0 && groups[0].last_delivered.seq + groups[0].last_delivered.ms > 0
                && gate.open.available_permits() == 0
        }).await;
        assert_eq!(running.stop().await.acked, 10);
        assert_eq!(gate.most.load(Ordering::SeqCst), 3);
    }
}

event!(Ordered, "it-ordered");

async fn ordered(
    State(tell): Tell<(String, u32)>,
    Attempt(attempt): Attempt,
    Msg(event): Msg<Ordered>,
) -> Outcome {
    if event.n == 0 && attempt == 1 {
        return Outcome::retry_after(Duration::from_millis(30), "not yet");
    }
    tokio::task::yield_now().await;
    tell.send((event.of, event.n)).expect("the test listens");
    Outcome::Ack
}

promise! {
    /// Events of one key are handled in order, also behind one that failed at first.
    keys_are_in_order, [Ordered::STREAM], |broker, world| {
        let events: Vec<_> =
            (0..5).flat_map(|n| ["a", "b"].map(|of| Ordered::keyed(n, of))).collect();
        broker.producer().send_all(&events).await.expect("sent");
        let (tell, mut told) = tells();
        let worker = Worker::new(&broker, "g").state(tell).handle(ordered).ordered_by_key();
        let running = Running::start(worker);
        let mut seen: [Vec<u32>; 2] = Default::default();
        for _ in 0..10 {
            let (of, n) = told.next().await;
            seen[usize::from(of == "b")].push(n);
        }
        assert_eq!(seen, [vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3, 4]]);
        assert_eq!(running.stop().await.acked, 10);
    }
}

event!(Gathered, "it-gathered");

async fn gather(State(tell): Tell<Vec<u32>>, Batch(events): Batch<Gathered>) -> BatchOutcome {
    tell.send(events.iter().map(|(_, event)| event.n).collect()).expect("the test listens");
    let odd = events.iter().find(|(_, event)| event.n == 1);
    let outcome = BatchOutcome::ack();
    match odd {
        Some((id, _)) => outcome.but(*id, Outcome::dead_letter("odd")),
        None => outcome,
    }
}

promise! {
    /// A batch may fail in part; what does not parse is no part of it.
    a_batch_fails_in_part, [Gathered::STREAM], |broker, world| {
        let producer = broker.producer();
        producer.send_all(&[Gathered::new(0), Gathered::new(1)]).await.expect("sent");
        let fields = [("data", "no JSON")].into_iter().collect();
        let broken = levada::backend::Append {
            stream: Gathered::STREAM.into(), fields, once: None,
        };
        broker.backend().append(vec![broken]).await.expect("sent")[0].as_ref().expect("an id");
        let (tell, mut told) = tells();
        let worker = Worker::new(&broker, "g").state(tell)
            .batch(3, Duration::from_mins(10), gather);
        let running = Running::start(worker);
        assert_eq!(told.next().await, [0, 1]);
        let drained = running.stop().await;
        assert_eq!((drained.acked, drained.dead), (1, 2));
    }
}

event!(First, "it-first");
event!(Second, "it-second");

async fn first(State(tell): Tell<u32>, Msg(event): Msg<First>) {
    tell.send(event.n).expect("the test listens");
}

async fn second(State(tell): Tell<u32>, Msg(event): Msg<Second>) {
    tell.send(100 + event.n).expect("the test listens");
}

promise! {
    /// Of several streams those that were named first go first, and none is forgotten.
    streams_have_priorities, [First::STREAM, Second::STREAM], |broker, world| {
        let producer = broker.producer();
        producer.send_all(&[Second::new(0), Second::new(1)]).await.expect("sent");
        producer.send_all(&[First::new(0), First::new(1)]).await.expect("sent");
        let (tell, mut told) = tells();
        let worker = Worker::new(&broker, "g").state(tell).concurrency(1)
            .handle(first).handle(second);
        let running = Running::start(worker);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(told.next().await);
        }
        assert_eq!(seen, [0, 1, 100, 101]);
        producer.send(&Second::new(2)).await.expect("sent");
        assert_eq!(told.next().await, 102);
        producer.send(&First::new(2)).await.expect("sent");
        assert_eq!(told.next().await, 2);
        running.stop().await;
    }
}
