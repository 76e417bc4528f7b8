//! Streams in partitions.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use levada::{Broker, DeadLetters, Error, Event as _, Fault, Msg, State, Worker};
use tokio::sync::mpsc::UnboundedSender;

use super::{event, promise};
use crate::world::{Running, eventually, tells};

type Tell<T> = State<UnboundedSender<T>>;

/// A broker whose partitions of a stream hold nothing.
async fn partitioned(broker: &Broker, stream: &str, partitions: u32) -> Broker {
    for generation in 1..4 {
        let record = format!("{{{stream}}}:topic:{generation}");
        broker.backend().remove(&record).await.expect("removed");
    }
    let broker = broker.partitioned(stream, partitions).await.expect("a topic");
    clear(&broker, stream).await;
    broker
}

async fn clear(broker: &Broker, stream: &str) {
    let topic = broker.topic(stream).expect("it is one");
    for stream in topic.streams().concat() {
        let beside = ["dlq:g", "again:g", "rest:g", "lease:g", "seat:g:0", "seat:g:1"];
        let beside = beside.iter().map(|suffix| match stream.contains('{') {
            true => format!("{stream}:{suffix}"),
            false => format!("{{{stream}}}:{suffix}"),
        });
        for key in beside.chain([stream.clone()]) {
            broker.backend().remove(&key).await.expect("removed");
        }
    }
}

async fn lengths(broker: &Broker, streams: &[String]) -> Vec<u64> {
    let mut lengths = Vec::new();
    for stream in streams {
        lengths.push(broker.backend().len(stream).await.expect("a length"));
    }
    lengths
}

event!(Spread, "it-spread");

async fn spread(State(tell): Tell<u32>, Msg(event): Msg<Spread>) -> Result<(), Fault> {
    tell.send(event.n).expect("the test listens");
    if event.n == 7 { Err(Fault::permanent("seven")) } else { Ok(()) }
}

promise! {
    /// Events go to the partition of their key and are all handled, by whichever worker; a dead
    /// letter stands beside its partition.
    partitions_are_all_read, [], |broker, world| {
        let broker = partitioned(&broker, Spread::STREAM, 5).await;
        let topic = broker.topic(Spread::STREAM).expect("it is one").clone();
        let (tell, mut told) = tells();
        let worker = || {
            let worker = Worker::new(&broker, "g").state(tell.clone()).handle(spread);
            Running::start(worker.poll(Duration::from_millis(50)).concurrency(2))
        };
        let (one, other) = (worker(), worker());
        let events: Vec<_> = (0..40).map(|n| Spread::keyed(n, &format!("k{n}"))).collect();
        broker.producer().send_all(&events).await.expect("sent");
        let mut seen = HashSet::new();
        while seen.len() < 40 {
            assert!(seen.insert(told.next().await), "each once");
        }
        let drained = (one.stop().await, other.stop().await);
        assert_eq!((drained.0.acked + drained.1.acked, drained.0.dead + drained.1.dead), (39, 1));
        let streams = topic.streams().concat();
        let lengths = lengths(&broker, &streams).await;
        assert!(lengths.iter().sum::<u64>() >= 39, "{lengths:?}");
        assert!(lengths.iter().all(|it| *it > 0), "{lengths:?}");
        let dead = DeadLetters::of_stream(&broker, &topic.stream_of(b"k7"), "g");
        assert_eq!(dead.list(10).await.expect("listed")[0].reason, "seven");
    }
}

event!(Failing, "it-failing");

async fn fail(
    State(tell): State<UnboundedSender<u32>>,
    Msg(event): Msg<Failing>,
) -> Result<(), Fault> {
    tell.send(event.n).expect("the test listens");
    Err(Fault::permanent("no"))
}

async fn mend(State(tell): State<UnboundedSender<u32>>, Msg(event): Msg<Failing>) {
    tell.send(event.n).expect("the test listens");
}

promise! {
    /// The dead letters of a topic are those of all its partitions, the oldest first; a part of
    /// them is thrown away, and the rest goes back, each to its partition.
    dead_letters_of_all_partitions_are_seen, [], |broker, world| {
        const EVENTS: u32 = 12;
        let broker = partitioned(&broker, Failing::STREAM, 3).await;
        let topic = broker.topic(Failing::STREAM).expect("it is one").clone();
        let (tell, mut told) = tells();
        let poll = Duration::from_millis(50);
        let worker = || Worker::new(&broker, "g").state(tell.clone()).poll(poll);
        let failing = Running::start(worker().handle(fail));
        let events: Vec<_> = (0..EVENTS).map(|n| Failing::keyed(n, &format!("k{n}"))).collect();
        broker.producer().send_all(&events).await.expect("sent");
        let letters = DeadLetters::of::<Failing>(&broker, "g");
        eventually("all are dead", || async {
            letters.list(100).await.expect("listed").len() == EVENTS as usize
        })
        .await;
        assert_eq!(failing.stop().await.dead, u64::from(EVENTS));
        told.rest();
        let all = letters.list(100).await.expect("listed");
        assert!(all.is_sorted_by_key(|letter| letter.id));
        for letter in &all {
            let event = letter.event::<Failing>().expect("an event");
            assert_eq!(*letter.stream, topic.stream_of(event.of.as_bytes()));
        }
        // In pages, however the ids of the partitions meet.
        let mut paged = letters.list(5).await.expect("listed");
        while let Some(last) = paged.last() {
            let page = letters.list_after(last, 5).await.expect("listed");
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, all);
        let number = |letter: &levada::DeadLetter| letter.event::<Failing>().expect("an event").n;
        assert_eq!(letters.purge(&all[..4]).await.expect("purged"), 4);
        assert_eq!(letters.redrive(&all).await.expect("redriven"), u64::from(EVENTS) - 4);
        let mended = Running::start(worker().handle(mend));
        let mut back = HashSet::new();
        while back.len() < all.len() - 4 {
            assert!(back.insert(told.next().await), "each once");
        }
        assert_eq!(back, all[4..].iter().map(number).collect());
        assert_eq!(mended.stop().await.acked, u64::from(EVENTS) - 4);
        assert_eq!(letters.list(100).await.expect("listed"), []);
    }
}

event!(Grown, "it-grown");

promise! {
    /// The number of partitions is kept, and grows by generations.
    partitions_are_kept_and_grow, [], |broker, world| {
        let broker = partitioned(&broker, Grown::STREAM, 2).await;
        let again = broker.partitioned(Grown::STREAM, 9).await.expect("the same");
        assert_eq!(again.topic(Grown::STREAM).expect("it is one").partitions(), 2);
        broker.producer().send(&Grown::keyed(1, "a")).await.expect("sent");
        let grown = broker.grow(Grown::STREAM, 3).await.expect("grown");
        let topic = grown.topic(Grown::STREAM).expect("it is one");
        assert_eq!((topic.partitions(), topic.streams().len()), (3, 2));
        assert!(matches!(broker.grow(Grown::STREAM, 4).await, Err(Error::Conflict(_))));
        let before = lengths(&grown, &topic.streams()[1]).await.iter().sum::<u64>();
        grown.producer().send(&Grown::keyed(2, "a")).await.expect("sent");
        let after = lengths(&grown, &topic.streams()[1]).await.iter().sum::<u64>();
        assert_eq!(after, before + 1);
        assert_eq!(lengths(&grown, &topic.streams()[0]).await.iter().sum::<u64>(), 1);
    }
}

event!(Alone, "it-alone");

async fn alone(State(tell): Tell<(String, u32)>, Msg(event): Msg<Alone>) {
    tokio::task::yield_now().await;
    tell.send((event.of, event.n)).expect("the test listens");
}

promise! {
    /// Workers that are exclusive keep the order of each key together, also when one of them goes
    /// and when one dies.
    exclusive_workers_keep_the_order, [], |broker, world| {
        let broker = partitioned(&broker, Alone::STREAM, 4).await;
        let (tell, mut told) = tells();
        let worker = |name: &str| {
            let worker = Worker::new(&broker, "g").state(tell.clone()).handle(alone).exclusive();
            let worker = worker.consumer(name).lease(Duration::from_secs(2));
            Running::start(worker.poll(Duration::from_millis(20)))
        };
        let (one, other) = (worker("one"), worker("other"));
        let producer = broker.producer();
        let mut last: HashMap<String, u32> = HashMap::new();
        let mut workers = vec![one, other];
        for round in 0..3 {
            let event = |n| Alone::keyed(n, &format!("k{}", n % 8));
            let events: Vec<_> = (round * 40..(round + 1) * 40).map(event).collect();
            producer.send_all(&events).await.expect("sent");
            let mut new = 0;
            while new < 40 {
                let (key, n) = told.next().await;
                // What was in the hands of one that died comes again, in order too.
                match last.insert(key.clone(), n) {
                    Some(before) if n <= before => {
                        assert_eq!(round, 2, "{key}: {n} behind {before} on {}", world.name);
                        last.insert(key, before.max(n));
                    }
                    _ => new += 1,
                }
            }
            match round {
                0 => drop(workers.remove(0).stop().await),
                1 => {
                    workers.remove(0).kill().await;
                    workers.push(worker("heir"));
                }
                _ => {}
            }
        }
        eventually("all is settled", || async {
            let mut pending = 0;
            for stream in broker.topic(Alone::STREAM).expect("it is one").streams().concat() {
                let groups = broker.backend().groups(&stream).await.expect("groups");
                pending += groups.iter().map(|group| group.pending).sum::<u64>();
            }
            pending == 0
        }).await;
        for worker in workers {
            worker.stop().await;
        }
    }
}
