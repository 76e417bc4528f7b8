//! What stands beside producers and workers.

use std::time::Duration;

use levada::{
    Cache, Channel, DeadLetters, Error, Event as _, Fault, Id, Janitor, MessageId, Msg, Reader,
    Replies, State, Worker,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc::UnboundedSender;

use super::{event, promise};
use crate::world::{Running, World, eventually, tells};

type Tell<T> = State<UnboundedSender<T>>;

event!(Replayed, "it-replayed");

promise! {
    /// A reader replays from an id or a time, then follows.
    a_reader_replays_and_follows, [Replayed::STREAM], |broker, world| {
        let producer = broker.producer();
        let events: Vec<_> = (0..3).map(Replayed::new).collect();
        let ids = producer.send_all(&events).await.expect("sent");
        let mut reader = Reader::from_start::<Replayed>(&broker).await.expect("a reader");
        let replayed = reader.replay().await.expect("replayed");
        assert_eq!(replayed.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids);
        assert_eq!(reader.position(), ids[2]);
        let mut late = Reader::from_id::<Replayed>(&broker, ids[1]).await.expect("a reader");
        assert_eq!(late.next().await.expect("an entry").id, ids[2]);
        let time = std::time::UNIX_EPOCH + Duration::from_millis(ids[0].ms);
        let mut timed = Reader::from_time::<Replayed>(&broker, time).await.expect("a reader");
        assert_eq!(timed.next().await.expect("an entry").id, ids[0]);
        let following = tokio::spawn(async move { reader.next_event::<Replayed>().await });
        let id = producer.send(&Replayed::new(3)).await.expect("sent");
        let (found, event) = following.await.expect("no panic").expect("an entry");
        assert_eq!((found, event.expect("an event").n), (id, 3));
    }
}

event!(Refused, "it-refused");

async fn refuse(State(tell): Tell<(String, u32)>, Msg(event): Msg<Refused>) -> Result<(), Fault> {
    tell.send(("refused".into(), event.n)).expect("the test listens");
    Err(Fault::permanent("closed"))
}

async fn accept(State(tell): Tell<(String, u32)>, Msg(event): Msg<Refused>) {
    tell.send(("accepted".into(), event.n)).expect("the test listens");
}

promise! {
    /// Dead letters are listed, thrown away, and given back to the group that failed and to no
    /// other, with their attempts begun anew.
    dead_letters_come_back_to_their_group, [Refused::STREAM], |broker, world| {
        let (tell, mut told) = tells();
        let poll = Duration::from_millis(20);
        let worker = |group| Worker::new(&broker, group).state(tell.clone()).poll(poll);
        let other = Running::start(worker("other").handle(accept));
        let failing = Running::start(worker("g").handle(refuse));
        let events: Vec<_> = (0..3).map(Refused::new).collect();
        broker.producer().send_all(&events).await.expect("sent");
        let dead = DeadLetters::of::<Refused>(&broker, "g");
        eventually("all are dead", || async {
            dead.list(10).await.expect("listed").len() == 3
        }).await;
        for _ in 0..6 {
            told.next().await;
        }
        assert_eq!(failing.stop().await.dead, 3);
        let letters = dead.list(2).await.expect("listed");
        assert_eq!(letters.len(), 2);
        assert_eq!((&*letters[0].reason, letters[0].deliveries), ("closed", 1));
        let first = letters[0].event::<Refused>().expect("an event").n;
        assert_eq!(dead.purge(&letters[1..]).await.expect("purged"), 1);
        assert_eq!(dead.redrive(&letters).await.expect("redriven"), 1, "one was thrown away");
        let mended = Running::start(worker("g").handle(accept));
        assert_eq!(told.next().await, ("accepted".into(), first));
        assert_eq!(mended.stop().await.acked, 1);
        other.stop().await;
        assert_eq!(told.rest(), []);
        assert_eq!(dead.list(10).await.expect("listed").len(), 1);
    }
}

event!(Revived, "it-revived");

async fn die(State(tell): Tell<MessageId>, Id(id): Id, Msg(_): Msg<Revived>) -> Result<(), Fault> {
    tell.send(id).expect("the test listens");
    Err(Fault::permanent("dead at once"))
}

async fn live(State(tell): Tell<MessageId>, Id(id): Id, Msg(_): Msg<Revived>) {
    tell.send(id).expect("the test listens");
}

promise! {
    /// What is given back from the dead letters is another entry, with a new id and a mark of its
    /// own: a worker that does what was done once handles it.
    a_redriven_letter_is_another_entry, [Revived::STREAM], |broker, world| {
        let (tell, mut told) = tells();
        let poll = Duration::from_millis(20);
        let marks = || levada::Marks::new(&broker, Duration::from_mins(10));
        let worker = || Worker::new(&broker, "g").state(tell.clone()).poll(poll);
        let id = broker.producer().send(&Revived::new(0)).await.expect("sent");
        let failing = Running::start(worker().handle(die).idempotent(marks()));
        assert_eq!(told.next().await, id);
        assert_eq!(failing.stop().await.dead, 1);
        let dead = DeadLetters::of::<Revived>(&broker, "g");
        let letters = dead.list(10).await.expect("listed");
        assert_eq!((letters.len(), letters[0].source_id), (1, id));
        assert_eq!(dead.redrive(&letters).await.expect("redriven"), 1);
        let mended = Running::start(worker().handle(live).idempotent(marks()));
        let again = told.next().await;
        assert!(again > id, "{again} is the entry that was {id}");
        assert_eq!(mended.stop().await.acked, 1);
    }
}

promise! {
    /// Who listens hears what is published then.
    a_channel_is_heard, [], |broker, world| {
        let channel = Channel::<(u32, String)>::new(&broker, "it-channel");
        let mut one = channel.listen().await.expect("listening");
        let mut other = channel.listen().await.expect("listening");
        let heard = channel.publish(&(1, "x".into())).await.expect("published");
        assert_eq!(heard, 2);
        assert_eq!(one.next().await.expect("a message"), (1, "x".into()));
        assert_eq!(other.next().await.expect("a message"), (1, "x".into()));
    }
}

promise! {
    /// Values have a time to live; one of many adds; who keeps copies hears of invalidation.
    a_cache_keeps_and_forgets, ["it-cache:a", "it-cache:b", "it-cache:n"], |broker, world| {
        let cache = Cache::new(&broker, "it-cache");
        cache.set("a", &vec![1, 2], None).await.expect("set");
        assert_eq!(cache.get::<Vec<u32>>("a").await.expect("got"), Some(vec![1, 2]));
        assert!(cache.add("b", &1, Some(Duration::from_millis(40))).await.expect("added"));
        eventually("its time is over", || async {
            cache.add("b", &2, None).await.expect("added")
        }).await;
        assert_eq!(cache.get::<u32>("b").await.expect("got"), Some(2));
        assert_eq!(cache.incr("n", 5).await.expect("a sum"), 5);
        assert_eq!(cache.incr("n", -7).await.expect("a sum"), -2);
        let mut gone = cache.invalidations().await.expect("listening");
        assert!(cache.invalidate("a").await.expect("invalidated"));
        assert_eq!(gone.next().await.expect("a key"), "a");
        assert_eq!(cache.get::<Vec<u32>>("a").await.expect("got"), None);
    }
}

event!(Asked, "it-asked");

async fn answer(replies: Replies, Msg(event): Msg<Asked>) -> levada::Result<()> {
    match event.n {
        0 => Ok(()),
        n => replies.send(&(n * 2)).await,
    }
}

promise! {
    /// A question gets its answer, or an error in time.
    a_question_is_answered_in_time, [Asked::STREAM], |broker, world| {
        let running = Running::start(Worker::new(&broker, "g").handle(answer));
        let producer = broker.producer();
        let limit = crate::world::PATIENCE;
        let doubled: u32 = producer.request(&Asked::new(21), limit).await.expect("an answer");
        assert_eq!(doubled, 42);
        let short = Duration::from_millis(50);
        let silent = producer.request::<_, u32>(&Asked::new(0), short).await;
        assert!(matches!(silent, Err(Error::Timeout(_))));
        running.stop().await;
    }
}

event!(Swept, "it-swept");

async fn sweep(State(tell): Tell<u32>, Msg(event): Msg<Swept>) -> levada::Outcome {
    tell.send(event.n).expect("the test listens");
    match event.n {
        3 => levada::Outcome::retry_after(Duration::from_hours(1), "later"),
        _ => levada::Outcome::Ack,
    }
}

promise! {
    /// A janitor removes what every group has acknowledged, and nothing else.
    a_janitor_removes_what_is_done, [Swept::STREAM], |broker, world| {
        let (tell, mut told) = tells();
        let running = Running::start(Worker::new(&broker, "g").state(tell).handle(sweep));
        let events: Vec<_> = (0..6).map(Swept::new).collect();
        let ids = broker.producer().send_all(&events).await.expect("sent");
        for _ in 0..6 {
            told.next().await;
        }
        let drained = running.stop().await;
        assert_eq!((drained.acked, drained.retried), (5, 1));
        let janitor = Janitor::new(&broker).alert_above(2);
        let report = janitor.sweep(Swept::STREAM).await.expect("swept");
        assert_eq!(report.watermark, Some(ids[3]));
        let left = if broker.capabilities().retention { 6 } else { 3 };
        assert_eq!((report.len, report.trimmed), (left, 6 - left), "{}", world.name);
        assert_eq!(report.alerts.len(), 1 + usize::from(report.groups[0].lag.is_none()));
        let first = broker.backend().range(Swept::STREAM, MessageId::MIN, ids[3], 10).await;
        assert!(first.expect("a range").iter().any(|entry| entry.id == ids[3]));
    }
}

event!(Awaited, "it-awaited");

async fn take(State(tell): Tell<u32>, Msg(event): Msg<Awaited>) {
    tell.send(event.n).expect("the test listens");
}

promise! {
    /// A janitor removes nothing as long as a group that it was told of has not joined.
    a_janitor_waits_for_a_group_that_is_expected, [Awaited::STREAM], |broker, world| {
        let (tell, mut told) = tells();
        let worker = |group| {
            let worker = Worker::new(&broker, group).state(tell.clone()).handle(take);
            Running::start(worker.concurrency(1).poll(Duration::from_millis(20)))
        };
        let events: Vec<_> = (0..3).map(Awaited::new).collect();
        broker.producer().send_all(&events).await.expect("sent");
        let first = worker("g");
        for n in 0..3 {
            assert_eq!(told.next().await, n);
        }
        first.stop().await;
        let janitor = Janitor::new(&broker).expect_group("g").expect_group("late");
        let report = janitor.sweep(Awaited::STREAM).await.expect("swept");
        assert_eq!((report.len, report.trimmed), (3, 0), "{}", world.name);
        assert_eq!(report.watermark, Some(MessageId::MIN));
        assert!(report.alerts.iter().any(|alert| alert.contains("late")), "{:?}", report.alerts);
        let late = worker("late");
        for n in 0..3 {
            assert_eq!(told.next().await, n);
        }
        late.stop().await;
        let report = janitor.sweep(Awaited::STREAM).await.expect("swept");
        let left = if broker.capabilities().retention { 3 } else { 0 };
        assert_eq!((report.len, report.trimmed), (left, 3 - left), "{}", world.name);
        assert!(!report.alerts.iter().any(|alert| alert.contains("joined")));
    }
}

event!(Retained, "it-retained");

async fn retain(State(tell): Tell<u32>, Msg(event): Msg<Retained>) -> levada::Outcome {
    tell.send(event.n).expect("the test listens");
    match event.n {
        3 => levada::Outcome::retry_after(Duration::from_hours(1), "later"),
        _ => levada::Outcome::Ack,
    }
}

promise! {
    /// Where the server trims by itself it keeps what some group still needs, and nothing else;
    /// where it does not, it says so.
    a_server_keeps_what_is_not_done, [Retained::STREAM], |broker, world| {
        let missing = broker.retain_acked(Retained::STREAM).await;
        let (tell, mut told) = tells();
        let running = Running::start(Worker::new(&broker, "g").state(tell).handle(retain));
        broker.producer().send(&Retained::new(0)).await.expect("sent");
        let answer = broker.retain_acked(Retained::STREAM).await;
        if broker.capabilities().retention {
            assert!(matches!(missing, Err(Error::NotFound(_))), "{}: {missing:?}", world.name);
            answer.expect("the policy is set");
        } else {
            assert!(matches!(missing, Err(Error::Unsupported { .. })), "{}", world.name);
            assert!(matches!(answer, Err(Error::Unsupported { .. })), "{}", world.name);
        }
        let events: Vec<_> = (1..6).map(Retained::new).collect();
        let ids = broker.producer().send_all(&events).await.expect("sent");
        for _ in 0..6 {
            told.next().await;
        }
        running.stop().await;
        let all = broker.backend().range(Retained::STREAM, MessageId::MIN, MessageId::MAX, 10);
        let all = all.await.expect("a range");
        let first = if broker.capabilities().retention { 4 } else { 6 };
        assert!(all.len() <= first && all.iter().any(|entry| entry.id == ids[2]), "{all:?}");
    }
}

event!(Cut, "it-cut");

async fn cut(State(tell): Tell<u32>, Msg(event): Msg<Cut>) {
    tell.send(event.n).expect("the test listens");
}

promise! {
    /// A read may wait longer than an answer may take, and loses nothing by it; lost connections
    /// come back.
    lost_connections_come_back, [Cut::STREAM], |broker, world| {
        let (tell, mut told) = tells();
        let second = Duration::from_secs(1);
        let worker = Worker::new(&broker, "g").state(tell).handle(cut);
        let running = Running::start(worker.lease(second).poll(second));
        let producer = broker.producer();
        producer.send(&Cut::new(0)).await.expect("sent");
        assert_eq!(told.next().await, 0);
        // Longer than the library below waits for an answer by default, shorter than the read.
        tokio::time::sleep(Duration::from_millis(700)).await;
        producer.send(&Cut::new(1)).await.expect("sent");
        assert_eq!(told.next().await, 1);
        cut_connections(&world).await;
        eventually("it can be sent again", || async {
            producer.send(&Cut::new(2)).await.is_ok()
        }).await;
        // Twice if an answer was lost: at least once is what is promised.
        assert_eq!(told.next().await, 2);
        running.stop().await;
    }
}

event!(Guarded, "it-guarded");

promise! {
    /// User and password come with the URL; a wrong one is refused at once, and never shown.
    a_password_comes_with_the_url, [Guarded::STREAM], |broker, world| {
        let Some(address) = address(&world) else {
            return; // Nobody else can be asked for one.
        };
        say(address, "ACL SETUSER it-user on >it-secret ~* &* +@all", b'+').await;
        let url = |password: &str| format!("redis://it-user:{password}@{address}");
        let guarded = levada::connect(&url("it-secret")).await.expect("the password is right");
        guarded.producer().send(&Guarded::new(1)).await.expect("sent");
        let refused = levada::connect(&url("it-guess")).await.expect_err("the password is wrong");
        assert!(matches!(refused, Error::Refused(_)), "{refused:?}");
        assert!(!refused.to_string().contains("it-guess"), "{refused}");
        say(address, "ACL DELUSER it-user", b':').await;
        assert_eq!(broker.backend().len(Guarded::STREAM).await.expect("a length"), 1);
    }
}

/// Ends all connections of ours to a server. (Those of other tests too: they have to bear it.)
async fn cut_connections(world: &World) {
    let Some(address) = address(world) else {
        return;
    };
    say(address, "CLIENT KILL TYPE normal SKIPME yes", b':').await;
}

/// Where a single server is, without the user of its URL.
fn address(world: &World) -> Option<&str> {
    let place = world.url.strip_prefix("redis://")?;
    Some(place.rsplit_once('@').map_or(place, |(_, address)| address))
}

/// Says something to a server that the toolkit has no word for, and looks how it answers.
async fn say(address: &str, command: &str, answer: u8) {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("the server is there");
    stream.write_all(format!("{command}\r\n").as_bytes()).await.expect("written");
    assert_eq!(stream.read_u8().await.expect("a reply"), answer, "{command}");
}
