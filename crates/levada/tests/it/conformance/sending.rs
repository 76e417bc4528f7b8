//! How events get into streams.

use std::time::Duration;

use levada::{Error, Event, MessageId, Msg, Shed, State, Worker};
use tokio::sync::mpsc::UnboundedSender;

use super::{event, promise};
use crate::world::{Running, tells};

event!(Sent, "it-sent");

promise! {
    /// What is sent in one pipeline stands in the stream in order.
    a_pipeline_keeps_its_order, [Sent::STREAM], |broker, world| {
        let events: Vec<_> = (0..300).map(Sent::new).collect();
        let ids = broker.producer().send_all(&events).await.expect("sent");
        assert!(ids.is_sorted() && ids.len() == 300);
        let all = broker.backend().range(Sent::STREAM, MessageId::MIN, MessageId::MAX, 1000).await;
        let all = all.expect("a range");
        assert_eq!(all.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids);
        let read = |fields| levada::event::decode::<Sent>(fields).expect("an event");
        assert_eq!(all.iter().map(|entry| read(&entry.fields)).collect::<Vec<_>>(), events);
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Once {
    order: String,
}

impl Event for Once {
    const STREAM: &'static str = "it-once";

    fn idempotency_key(&self) -> Option<String> {
        Some(self.order.clone())
    }
}

promise! {
    /// An event with an idempotency key stands in the stream once, however often it is sent.
    an_event_is_sent_once, [Once::STREAM], |broker, world| {
        let producer = broker.producer().named(&format!("{:?}", std::time::Instant::now()));
        let once = |order: &str| Once { order: order.into() };
        let first = producer.send(&once("a")).await.expect("sent");
        assert_eq!(producer.send(&once("a")).await.expect("sent"), first);
        let ids = producer.send_all(&[once("a"), once("b"), once("b")]).await.expect("sent");
        assert_eq!((ids[0], ids[1]), (first, ids[2]));
        assert_eq!(broker.backend().len(Once::STREAM).await.expect("a length"), 2);
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Known {
    n: u32,
}

impl Event for Known {
    const STREAM: &'static str = "it-known";

    fn idempotency_key(&self) -> Option<String> {
        Some(self.n.to_string())
    }
}

promise! {
    /// An event is known again behind as many others as were asked for, or it is said that the
    /// server cannot remember so many; also where the stream was made for it.
    an_event_is_known_for_as_long_as_was_asked, [Known::STREAM], |broker, world| {
        /// More than a server remembers unasked.
        const OTHERS: u32 = 300;
        let window = Duration::from_secs(90);
        broker.dedup_window(Known::STREAM, window, u64::from(OTHERS) + 1).await.expect("set");
        assert_eq!(broker.backend().groups(Known::STREAM).await.expect("groups"), []);
        let producer = broker.producer().named(&format!("{:?}", std::time::Instant::now()));
        let first = producer.send(&Known { n: 0 }).await.expect("sent");
        let others: Vec<_> = (1..=OTHERS).map(|n| Known { n }).collect();
        producer.send_all(&others).await.expect("sent");
        assert_eq!(producer.send(&Known { n: 0 }).await.expect("sent"), first, "{}", world.name);
        let days = Duration::from_hours(48);
        match broker.dedup_window(Known::STREAM, days, 100_000).await {
            Ok(()) => assert!(broker.capabilities().retention, "{}", world.name),
            Err(Error::Unsupported { .. }) => {
                assert!(!broker.capabilities().retention, "{}", world.name);
            }
            Err(error) => panic!("{error} on {}", world.name),
        }
    }
}

#[derive(serde::Serialize)]
struct Odd {
    of: String,
    /// What has no JSON: the keys of a map are numbers in pairs.
    map: std::collections::BTreeMap<(u8, u8), u8>,
}

impl<'de> serde::Deserialize<'de> for Odd {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("nobody reads it"))
    }
}

impl Event for Odd {
    const STREAM: &'static str = "it-odd";

    fn key(&self) -> Option<&str> {
        Some(&self.of)
    }
}

promise! {
    /// Of events that are sent together each has its own answer: what was accepted is there, under
    /// the id that was told, and nothing else is.
    each_event_has_its_own_answer, ["it-odd:{0}", "it-odd:{1}"], |broker, world| {
        let broker = broker.partitioned(Odd::STREAM, 2).await.expect("partitioned");
        let topic = broker.topic(Odd::STREAM).expect("it is one");
        let refused = "it-odd:{1}";
        broker.backend().set(refused, b"no stream".to_vec(), None, false).await.expect("set");
        let events: Vec<_> = (0..12)
            .map(|n| Odd {
                of: format!("k{n}"),
                map: (n % 6 == 5).then_some(((1, 2), 3)).into_iter().collect(),
            })
            .collect();
        let producer = broker.producer();
        let outcomes = producer.send_each(&events).await;
        assert_eq!(outcomes.len(), events.len());
        let mut accepted = Vec::new();
        for (event, outcome) in events.iter().zip(outcomes) {
            let stream = topic.stream_of(event.of.as_bytes());
            match outcome {
                Ok(id) if stream != refused && event.map.is_empty() => accepted.push(id),
                Err(Error::Encode(_)) if !event.map.is_empty() => {}
                Err(Error::Refused(_)) if stream == refused => {}
                other => panic!("{} in {stream}: {other:?}", event.of),
            }
        }
        assert!(!accepted.is_empty() && accepted.len() < 10, "{accepted:?}");
        let all = broker.backend().range("it-odd:{0}", MessageId::MIN, MessageId::MAX, 100).await;
        let all: Vec<_> = all.expect("a range").iter().map(|entry| entry.id).collect();
        assert_eq!(all, accepted);
        producer.send_all(&events).await.expect_err("one of them cannot be encoded");
        assert_eq!(broker.backend().len("it-odd:{0}").await.expect("a length"), all.len() as u64);
        assert!(producer.send_each::<Odd>(&[]).await.is_empty());
    }
}

event!(Queued, "it-queued");

promise! {
    /// The buffer is bounded: it takes what fits, sheds the rest, counts both, and loses nothing
    /// that it took.
    a_buffer_sheds_and_flushes, [Queued::STREAM], |broker, world| {
        let producer = broker.producer();
        let (mut taken, mut shed) = (0, 0);
        for n in 0..30_000 {
            match producer.try_enqueue(&Queued::new(n)) {
                Ok(()) => taken += 1,
                Err(Shed::Full) => shed += 1,
                Err(error) => panic!("{error}"),
            }
        }
        let stats = producer.flush().await;
        assert_eq!((stats.sent, stats.shed, stats.failed), (taken, shed, 0));
        assert_eq!(broker.backend().len(Queued::STREAM).await.expect("a length"), taken);
    }
}

event!(Later, "it-later");

async fn later(State(tell): State<UnboundedSender<u32>>, Msg(event): Msg<Later>) {
    tell.send(event.n).expect("the test listens");
}

promise! {
    /// A delayed event comes when it is due, not before; a cancelled one never does. Where it
    /// cannot be delayed that is an error.
    a_delayed_event_comes_later, [Later::STREAM], |broker, world| {
        let producer = broker.producer();
        if !broker.capabilities().delays() {
            let refused = producer.send_in(&Later::new(0), Duration::from_secs(1)).await;
            assert!(matches!(refused, Err(Error::Unsupported { .. })));
            return;
        }
        let (tell, mut told) = tells();
        let worker = Worker::new(&broker, "g").state(tell).handle(later);
        let running = Running::start(worker.poll(Duration::from_millis(20)));
        let soon = Duration::from_millis(300);
        let cancelled = producer.send_in(&Later::new(1), soon).await.expect("scheduled");
        let begin = std::time::Instant::now();
        producer.send_in(&Later::new(2), soon).await.expect("scheduled");
        assert!(cancelled.cancel().await.expect("cancelled"));
        assert!(!cancelled.cancel().await.expect("asked"));
        assert_eq!(told.next().await, 2);
        // The clocks of two processes may differ by the millisecond that they are read in.
        assert!(begin.elapsed() + Duration::from_millis(20) >= soon);
        producer.send_at(&Later::new(3), std::time::UNIX_EPOCH).await.expect("scheduled");
        assert_eq!(told.next().await, 3);
        running.stop().await;
        assert_eq!(told.rest(), Vec::<u32>::new());
    }
}
