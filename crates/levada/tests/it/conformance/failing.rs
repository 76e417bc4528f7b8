//! What fails comes again, or becomes a dead letter; what is lost is found.

use std::sync::Arc;
use std::time::Duration;

use levada::backend::{Append, Failed, GroupPolicy, Seat, Start};
use levada::{
    Attempt, Broker, Entry, Error, Event as _, Fault, MessageId, Msg, Outcome, Retry, State, Worker,
};
use tokio::sync::{Semaphore, mpsc::UnboundedSender};
use tokio::time::Instant;

use super::{event, promise};
use crate::world::{Running, eventually, tells};

type Tell<T> = State<UnboundedSender<T>>;

fn quick() -> Retry {
    Retry::fixed(3, Duration::from_millis(20))
}

async fn dead_letters(broker: &Broker, stream: &str) -> Vec<Entry> {
    let name = format!("{{{stream}}}:dlq:g");
    let all = broker.backend().range(&name, MessageId::MIN, MessageId::MAX, 100).await;
    all.expect("a range")
}

async fn is_settled(broker: &Broker, stream: &str) -> bool {
    let groups = broker.backend().groups(stream).await.expect("groups");
    groups.iter().all(|group| group.pending == 0)
}

event!(Shaky, "it-shaky");

async fn shaky(
    State(tell): Tell<u64>,
    Attempt(attempt): Attempt,
    Msg(_): Msg<Shaky>,
) -> Result<(), Fault> {
    tell.send(attempt).expect("the test listens");
    match attempt {
        1 | 2 => Err(std::fmt::Error.into()),
        _ => Ok(()),
    }
}

promise! {
    /// A failed event comes again, and says the how manieth time it is.
    a_failed_event_comes_again, [Shaky::STREAM], |broker, world| {
        broker.producer().send(&Shaky::new(1)).await.expect("sent");
        let (tell, mut told) = tells();
        let worker = Worker::new(&broker, "g").state(tell).handle(shaky).retry(quick());
        let running = Running::start(worker.poll(Duration::from_millis(20)));
        for attempt in 1..=3 {
            assert_eq!(told.next().await, attempt);
        }
        let drained = running.stop().await;
        assert_eq!((drained.retried, drained.acked, drained.dead), (2, 1, 0));
    }
}

event!(Doomed, "it-doomed");

async fn doomed(Msg(event): Msg<Doomed>) -> Result<(), Fault> {
    match event.n {
        0 => Err(Fault::new("out of luck")),
        1 => Err(Fault::permanent("no such customer")),
        2 => panic!("two is too much"),
        _ => Ok(()),
    }
}

promise! {
    /// The last failure, an error that is permanent, a panic, and what does not parse: dead
    /// letters, with their text and where they come from.
    what_cannot_be_done_is_a_dead_letter, [Doomed::STREAM], |broker, world| {
        let producer = broker.producer();
        let events: Vec<_> = (0..4).map(Doomed::new).collect();
        let ids = producer.send_all(&events).await.expect("sent");
        let later = [("data", "{}"), ("v", "9")].into_iter().collect();
        let entry = Append { stream: Doomed::STREAM.into(), fields: later, once: None };
        broker.backend().append(vec![entry]).await.expect("sent")[0].as_ref().expect("an id");
        let worker = Worker::new(&broker, "g").handle(doomed).retry(quick());
        let running = Running::start(worker.poll(Duration::from_millis(20)));
        eventually("four dead letters", || async {
            dead_letters(&broker, Doomed::STREAM).await.len() == 4
        }).await;
        eventually("all is settled", || is_settled(&broker, Doomed::STREAM)).await;
        let drained = running.stop().await;
        assert_eq!((drained.dead, drained.acked, drained.retried), (4, 1, 2), "{}", world.name);
        let dead = dead_letters(&broker, Doomed::STREAM).await;
        let of = |id: MessageId| {
            let id = id.to_string();
            let found = dead.iter().find(|dead| dead.fields.text("x-dlq-id") == Some(&id));
            found.expect("a dead letter for it").fields.clone()
        };
        assert_eq!(of(ids[0]).text("x-dlq-reason"), Some("out of luck"));
        assert_eq!(of(ids[0]).text("x-dlq-deliveries"), Some("3"));
        assert_eq!(of(ids[0]).text("x-dlq-source"), Some(Doomed::STREAM));
        assert_eq!(of(ids[0]).text("x-dlq-group"), Some("g"));
        assert_eq!(of(ids[0]).text("data"), Some(r#"{"n":0,"of":""}"#));
        assert_eq!(of(ids[1]).text("x-dlq-reason"), Some("no such customer"));
        let panic = of(ids[2]);
        assert_eq!(panic.text("x-dlq-reason"), Some("the handler panicked: two is too much"));
        let reasons = dead.iter().filter_map(|dead| dead.fields.text("x-dlq-reason"));
        let unknown = "version 9 is unknown; this program reads version 1";
        assert_eq!(reasons.filter(|reason| *reason == unknown).count(), 1);
    }
}

event!(Extended, "it-extended");

/// When leases of six seconds are extended for the first time.
const TICK: Duration = Duration::from_secs(2);

async fn fail_at_the_tick(
    State((tell, begun)): State<(UnboundedSender<u32>, Instant)>,
    Msg(event): Msg<Extended>,
) -> Result<(), Fault> {
    tell.send(event.n).expect("the test listens");
    tokio::time::sleep_until(begun + TICK).await;
    Err(Fault::permanent("no"))
}

promise! {
    /// An extension of leases does not take back what is just becoming a dead letter: nobody would
    /// handle it until that lease is over, and it would be handled twice.
    what_is_buried_is_not_taken_back, [Extended::STREAM], |broker, world| {
        /// So many that an extension takes several commands.
        const EVENTS: u32 = 600;
        let events: Vec<_> = (0..EVENTS).map(Extended::new).collect();
        broker.producer().send_all(&events).await.expect("sent");
        let (tell, mut told) = tells();
        let worker = Worker::new(&broker, "g").state((tell, Instant::now())).lease(TICK * 3);
        let worker = worker.handle(fail_at_the_tick).concurrency(EVENTS as usize);
        let running = Running::start(worker.poll(Duration::from_millis(50)));
        for _ in 0..EVENTS {
            told.next().await;
        }
        eventually("all is settled", || is_settled(&broker, Extended::STREAM)).await;
        assert_eq!(running.stop().await.dead, u64::from(EVENTS), "{}", world.name);
        assert!(told.rest().is_empty(), "handled twice on {}", world.name);
    }
}

event!(Told, "it-told");

promise! {
    /// A dead letter that was written, and whose writer did not hear of it, is not written again;
    /// and nobody buries what another has.
    a_dead_letter_is_written_once, [Told::STREAM], |broker, world| {
        let backend = broker.backend();
        broker.producer().send_all(&[Told::new(0), Told::new(1)]).await.expect("sent");
        let seat = |consumer: &str| Seat {
            stream: Told::STREAM.into(),
            group: "g".into(),
            consumer: consumer.into(),
        };
        let mine = seat("mine");
        let policy = GroupPolicy {
            lease: Duration::from_mins(1),
            max_attempts: 3,
            rests: vec![Duration::ZERO],
            dead_letters: format!("{{{}}}:dlq:g", Told::STREAM),
            order_by: None,
        };
        backend.join(&mine, Start::Oldest, &policy).await.expect("joined");
        let mut reader = backend.reader().await.expect("a reader");
        let seats = [mine.clone()];
        let read = reader.read(&seats, 2, Some(Duration::from_secs(1))).await.expect("read");
        let failed = |at: usize| Failed {
            id: read[at].id,
            attempt: 1,
            fields: read[at].fields.clone().expect("it is there"),
            reason: "bad".into(),
        };
        for _ in 0..2 {
            let told = backend.dead_letter(&mine, &failed(0), &policy.dead_letters).await;
            // Where the server says that it is over, that is an answer as well.
            assert!(matches!(told, Ok(()) | Err(Error::NotFound(_) | Error::Refused(_))));
        }
        assert_eq!(dead_letters(&broker, Told::STREAM).await.len(), 1);
        if !broker.capabilities().leases {
            let (another, failed) = (seat("another"), failed(1));
            let buried = backend.dead_letter(&another, &failed, &policy.dead_letters).await;
            buried.expect("there was nothing to do");
            assert_eq!(dead_letters(&broker, Told::STREAM).await.len(), 1);
        }
        backend.dead_letter(&mine, &failed(1), &policy.dead_letters).await.expect("it is ours");
        assert_eq!(dead_letters(&broker, Told::STREAM).await.len(), 2);
    }
}

event!(Slow, "it-slow");

async fn slow(State(tell): Tell<u64>, Attempt(attempt): Attempt, Msg(_): Msg<Slow>) {
    tell.send(attempt).expect("the test listens");
    if attempt == 1 {
        std::future::pending::<()>().await;
    }
}

promise! {
    /// A handler that takes too long has failed.
    a_handler_has_a_time_limit, [Slow::STREAM], |broker, world| {
        broker.producer().send(&Slow::new(1)).await.expect("sent");
        let (tell, mut told) = tells();
        let worker = Worker::new(&broker, "g").state(tell).handle(slow).retry(quick());
        let worker = worker.timeout(Duration::from_millis(50)).poll(Duration::from_millis(20));
        let running = Running::start(worker);
        assert_eq!((told.next().await, told.next().await), (1, 2));
        assert_eq!(running.stop().await.acked, 1);
    }
}

event!(Orphan, "it-orphan");

async fn hang(State(tell): Tell<u64>, Attempt(attempt): Attempt, Msg(_): Msg<Orphan>) {
    tell.send(attempt).expect("the test listens");
    std::future::pending::<()>().await;
}

async fn adopt(State(tell): Tell<u64>, Attempt(attempt): Attempt, Msg(_): Msg<Orphan>) {
    tell.send(attempt).expect("the test listens");
}

promise! {
    /// What a worker that died had in hand goes to another when its lease is over.
    the_dead_are_inherited, [Orphan::STREAM], |broker, world| {
        broker.producer().send(&Orphan::new(1)).await.expect("sent");
        let (tell, mut told) = tells();
        let lease = Duration::from_secs(1);
        let dying = Worker::new(&broker, "g").state(tell.clone()).handle(hang).lease(lease);
        let dying = Running::start(dying);
        assert_eq!(told.next().await, 1);
        dying.kill().await;
        let heir = Worker::new(&broker, "g").state(tell).handle(adopt).lease(lease);
        let heir = Running::start(heir.poll(Duration::from_millis(50)));
        assert_eq!(told.next().await, 2);
        assert_eq!(heir.stop().await.acked, 1);
    }
}

event!(Long, "it-long");

#[derive(Clone)]
struct Work {
    tell: UnboundedSender<u64>,
    open: Arc<Semaphore>,
}

async fn long(State(work): State<Work>, Attempt(attempt): Attempt, Msg(_): Msg<Long>) {
    work.tell.send(attempt).expect("the test listens");
    work.open.acquire().await.expect("nobody closes it").forget();
}

promise! {
    /// While a handler runs its lease is extended, however long it takes: nobody else gets it.
    a_running_handler_keeps_its_lease, [Long::STREAM], |broker, world| {
        broker.producer().send(&Long::new(1)).await.expect("sent");
        let (tell, mut told) = tells();
        let work = Work { tell, open: Arc::new(Semaphore::new(0)) };
        let start = || {
            let worker = Worker::new(&broker, "g").state(work.clone()).handle(long);
            Running::start(worker.lease(Duration::from_secs(4)).poll(Duration::from_millis(50)))
        };
        let one = start();
        assert_eq!(told.next().await, 1);
        let other = start();
        // What is to be shown is that time alone changes nothing: a lease and a half.
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(told.rest(), Vec::<u64>::new());
        work.open.add_permits(1);
        eventually("it is settled", || is_settled(&broker, Long::STREAM)).await;
        assert_eq!(one.stop().await.acked + other.stop().await.acked, 1);
    }
}

event!(Parked, "it-parked");

#[derive(Clone)]
struct Hold {
    tell: UnboundedSender<(u32, u64)>,
    open: Arc<Semaphore>,
}

async fn hold(State(hold): State<Hold>, Attempt(attempt): Attempt, Msg(event): Msg<Parked>) {
    hold.tell.send((event.n, attempt)).expect("the test listens");
    if attempt == 1 && event.n == 0 {
        hold.open.acquire().await.expect("nobody closes it").forget();
    }
}

promise! {
    /// At the end what runs is finished, and what was not begun is given back: the next worker has
    /// it at once, as if it had not been delivered.
    what_was_not_begun_is_handed_back, [Parked::STREAM], |broker, world| {
        let events: Vec<_> = (0..3).map(|n| Parked::keyed(n, "one")).collect();
        broker.producer().send_all(&events).await.expect("sent");
        let (tell, mut told) = tells();
        let state = Hold { tell, open: Arc::new(Semaphore::new(0)) };
        let worker = || {
            let worker = Worker::new(&broker, "g").state(state.clone()).handle(hold);
            worker.ordered_by_key().poll(Duration::from_millis(20))
        };
        let running = Running::start(worker());
        assert_eq!(told.next().await, (0, 1));
        eventually("the others wait behind it", || async {
            let groups = broker.backend().groups(Parked::STREAM).await.expect("groups");
            groups[0].pending == 3
        }).await;
        let open = Arc::clone(&state.open);
        let (drained, ()) = tokio::join!(running.stop(), async { open.add_permits(1) });
        assert_eq!((drained.acked, drained.handed_back), (1, 2), "{}", world.name);
        let next = Running::start(worker());
        assert_eq!((told.next().await, told.next().await), ((1, 1), (2, 1)));
        assert_eq!(next.stop().await.acked, 2);
    }
}

event!(Vanished, "it-vanished");

async fn vanished(State(tell): Tell<u32>, Msg(event): Msg<Vanished>) {
    tell.send(event.n).expect("the test listens");
}

promise! {
    /// A stream that is deleted under a worker is made again, and work goes on.
    a_vanished_stream_is_no_end, [Vanished::STREAM], |broker, world| {
        let (tell, mut told) = tells();
        let worker = Worker::new(&broker, "g").state(tell).handle(vanished);
        let running = Running::start(worker.poll(Duration::from_millis(50)));
        broker.producer().send(&Vanished::new(1)).await.expect("sent");
        assert_eq!(told.next().await, 1);
        broker.backend().remove(Vanished::STREAM).await.expect("removed");
        broker.producer().send(&Vanished::new(2)).await.expect("sent");
        assert_eq!(told.next().await, 2);
        running.stop().await;
    }
}

event!(Layered, "it-layered");

async fn layered(Msg(_): Msg<Layered>) -> Outcome {
    std::future::pending().await
}

promise! {
    /// A tower layer goes around handlers; what it fails with is a failure of the attempt.
    layers_go_around_handlers, [Layered::STREAM], |broker, world| {
        broker.producer().send(&Layered::new(1)).await.expect("sent");
        let layer = tower::timeout::TimeoutLayer::new(Duration::from_millis(30));
        let worker = Worker::new(&broker, "g").handle(layered).layer(layer).retry(Retry::never());
        let running = Running::start(worker);
        eventually("a dead letter", || async {
            dead_letters(&broker, Layered::STREAM).await.len() == 1
        }).await;
        assert_eq!(running.stop().await.dead, 1);
        let dead = dead_letters(&broker, Layered::STREAM).await;
        assert_eq!(dead[0].fields.text("x-dlq-reason"), Some("request timed out"));
    }
}

event!(Taken, "it-taken");

promise! {
    /// Whoever has lost a lease learns of it, and does not take it back.
    a_lost_lease_is_told, [Taken::STREAM], |broker, world| {
        let seat = |consumer: &str| Seat {
            stream: Taken::STREAM.into(), group: "g".into(), consumer: consumer.into(),
        };
        let (backend, lease) = (broker.backend(), Duration::from_millis(1));
        let policy = GroupPolicy {
            lease,
            max_attempts: 1000,
            rests: Vec::new(),
            dead_letters: format!("{{{}}}:dlq:g", Taken::STREAM),
            order_by: None,
        };
        backend.join(&seat("a"), Start::Oldest, &policy).await.expect("joined");
        let id = broker.producer().send(&Taken::new(1)).await.expect("sent");
        let mut reader = backend.reader().await.expect("a reader");
        let read = reader.read(&[seat("a")], 1, None).await.expect("read");
        assert_eq!((read[0].id, read[0].attempt), (id, 1));
        loop {
            let mut taken = backend.tend(&seat("b"), lease, 1).await.expect("tended");
            taken.extend(reader.read(&[seat("b")], 1, None).await.expect("read"));
            if let [taken] = taken.as_slice() {
                assert_eq!((taken.id, taken.attempt), (id, 2));
                break;
            }
        }
        assert_eq!(backend.extend(&seat("a"), &[id]).await.expect("asked"), []);
    }
}
