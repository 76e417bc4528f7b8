//! What takes several steps is done once, also by two clients at once: by a script, or by a
//! transaction where our user may run none. `cargo xtask toolkit` has servers whose name ends in
//! `no-scripts` for that.

use std::time::Duration;

use futures_util::future::join_all;
use levada::backend::{Append, Due, Failed, GroupPolicy, Once, Seat, Start};
use levada::{Broker, Event as _, MessageId};

use super::{event, promise};
use crate::world::{World, eventually};

/// Clients with connections of their own. What is kept in memory or in a directory has one.
async fn clients(broker: &Broker, world: &World) -> Vec<Broker> {
    let mut all = vec![broker.clone(); 2];
    if world.url.starts_with("redis") {
        for client in &mut all {
            *client = levada::connect(&world.url).await.expect("the server is there");
        }
    }
    all
}

fn seat(stream: &str, consumer: &str) -> Seat {
    Seat { stream: stream.into(), group: "g".into(), consumer: consumer.into() }
}

fn policy(stream: &str) -> GroupPolicy {
    GroupPolicy {
        lease: Duration::from_mins(1),
        max_attempts: 3,
        rests: vec![Duration::ZERO],
        dead_letters: format!("{{{stream}}}:dlq:g"),
        order_by: None,
    }
}

async fn entries(broker: &Broker, stream: &str) -> usize {
    let all = broker.backend().range(stream, MessageId::MIN, MessageId::MAX, 1000).await;
    all.expect("a range").len()
}

event!(Buried, "it-buried");

promise! {
    /// However many clients bury an entry at the same time, and again, it is one dead letter; and
    /// where dead letters cannot go, it stays pending.
    an_entry_is_buried_once, [Buried::STREAM], |broker, world| {
        const EVENTS: u32 = 20;
        let refuses = world.name.ends_with("no-scripts");
        if !broker.capabilities().leases {
            assert_eq!(broker.capabilities().scripts, !refuses, "{}", world.name);
            let said = broker.capabilities().to_string().contains("no scripts may be run");
            assert_eq!(said, refuses, "{broker:?}");
        }
        let events: Vec<_> = (0..EVENTS).map(Buried::new).collect();
        broker.producer().send_all(&events).await.expect("sent");
        let (mine, policy) = (seat(Buried::STREAM, "mine"), policy(Buried::STREAM));
        broker.backend().join(&mine, Start::Oldest, &policy).await.expect("joined");
        let mut reader = broker.backend().reader().await.expect("a reader");
        let seats = [mine.clone()];
        let read = reader.read(&seats, EVENTS as usize, None).await.expect("read");
        assert_eq!(read.len(), EVENTS as usize);
        let failed: Vec<Failed> = read
            .into_iter()
            .map(|read| Failed {
                id: read.id,
                attempt: 1,
                fields: read.fields.expect("it is there"),
                reason: "bad".into(),
            })
            .collect();
        let to = &*policy.dead_letters;
        if !broker.capabilities().leases {
            broker.backend().set(to, b"no stream".to_vec(), None, false).await.expect("set");
            let refused = broker.backend().dead_letter(&mine, &failed[0], to).await;
            refused.expect_err("they cannot go there");
            let groups = broker.backend().groups(Buried::STREAM).await.expect("groups");
            assert_eq!(groups[0].pending, u64::from(EVENTS));
            broker.backend().remove(to).await.expect("removed");
        }
        let clients = clients(&broker, &world).await;
        for failed in &failed {
            let bury = |client: &Broker| {
                let (backend, mine) = (client.backend().clone(), mine.clone());
                let (failed, to) = (failed.clone(), to.to_owned());
                // Where the server says that it is over, that is an answer as well.
                tokio::spawn(async move { drop(backend.dead_letter(&mine, &failed, &to).await) })
            };
            let under_way: Vec<_> = clients.iter().chain(&clients).map(bury).collect();
            join_all(under_way).await.into_iter().for_each(|ended| ended.expect("no panic"));
        }
        assert_eq!(entries(&broker, to).await, EVENTS as usize, "{}", world.name);
        let groups = broker.backend().groups(Buried::STREAM).await.expect("groups");
        assert_eq!(groups[0].pending, 0);
    }
}

event!(Single, "it-single");

promise! {
    /// However many clients append the same at the same time, it is one entry, and all learn its
    /// id; what stands beside it in a batch keeps its order.
    what_is_appended_by_two_at_once_is_one_entry, [Single::STREAM], |broker, world| {
        let append = |n: u32, once: bool| Append {
            stream: Single::STREAM.into(),
            fields: [("n", n.to_string())].into_iter().collect(),
            once: once.then(|| Once { producer: "levada".into(), id: "one".into() }),
        };
        let clients = clients(&broker, &world).await;
        let send = |client: &Broker| {
            let (backend, entry) = (client.backend().clone(), append(1, true));
            tokio::spawn(async move { backend.append(vec![entry]).await.expect("sent").remove(0) })
        };
        let under_way: Vec<_> = clients.iter().chain(&clients).map(send).collect();
        let mut ids = Vec::new();
        for ended in join_all(under_way).await {
            ids.push(ended.expect("no panic").expect("an id"));
        }
        assert_eq!(entries(&broker, Single::STREAM).await, 1, "{}", world.name);
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let batch = vec![append(2, false), append(1, true), append(3, false)];
        let sent = broker.backend().append(batch).await.expect("sent");
        let sent: Vec<_> = sent.into_iter().map(|id| id.expect("an id")).collect();
        assert_eq!(sent[1], ids[0]);
        assert!(ids[0] < sent[0] && sent[0] < sent[2], "{sent:?}");
        assert_eq!(entries(&broker, Single::STREAM).await, 3);
    }
}

event!(Moved, "it-delayed");

promise! {
    /// What is due is appended once, however many look after it at the same time.
    what_is_due_is_appended_once, [Moved::STREAM], |broker, world| {
        const EVENTS: u32 = 30;
        if !broker.capabilities().delays() {
            return;
        }
        for n in 0..EVENTS {
            let fields = [("n", n.to_string())].into_iter().collect();
            let entry = Append { stream: Moved::STREAM.into(), fields, once: None };
            broker.backend().schedule(entry, Due::In(Duration::ZERO)).await.expect("scheduled");
        }
        let clients = clients(&broker, &world).await;
        let seat = seat(Moved::STREAM, "c");
        let tend = |client: &Broker| {
            let (backend, seat) = (client.backend().clone(), seat.clone());
            tokio::spawn(async move {
                for _ in 0..3 {
                    // There is no group yet: what is due is moved before that is found out.
                    drop(backend.tend(&seat, Duration::from_mins(1), 0).await);
                }
            })
        };
        let under_way: Vec<_> = clients.iter().chain(&clients).map(tend).collect();
        join_all(under_way).await.into_iter().for_each(|ended| ended.expect("no panic"));
        eventually("all is there", || async {
            drop(broker.backend().tend(&seat, Duration::from_mins(1), 0).await);
            entries(&broker, Moved::STREAM).await >= EVENTS as usize
        })
        .await;
        assert_eq!(entries(&broker, Moved::STREAM).await, EVENTS as usize, "{}", world.name);
    }
}

event!(Left, "it-left");

promise! {
    /// A consumer that is gone leaves what it had to its heir, and nothing is lost with its name,
    /// whether that goes or stays.
    a_consumer_leaves_what_it_had, [Left::STREAM], |broker, world| {
        if broker.capabilities().leases {
            return; // It goes by itself there.
        }
        broker.producer().send_all(&[Left::new(0), Left::new(1)]).await.expect("sent");
        let (gone, heir) = (seat(Left::STREAM, "gone"), seat(Left::STREAM, "heir"));
        let backend = broker.backend();
        backend.join(&gone, Start::Oldest, &policy(Left::STREAM)).await.expect("joined");
        let mut reader = backend.reader().await.expect("a reader");
        let read = reader.read(std::slice::from_ref(&gone), 2, None).await.expect("read");
        let idle = Duration::ZERO;
        let removed = backend.remove_consumer(&gone, Some("heir"), idle).await.expect("asked");
        assert_eq!(removed, broker.capabilities().scripts);
        let consumers = backend.consumers(Left::STREAM, "g").await.expect("consumers");
        let names: Vec<_> = consumers.iter().map(|it| (&*it.name, it.pending)).collect();
        match removed {
            true => assert_eq!(names, [("heir", 2)]),
            false => assert_eq!(names, [("gone", 0), ("heir", 2)]),
        }
        let ids: Vec<_> = read.iter().map(|read| read.id).collect();
        assert_eq!(backend.ack(&heir, &ids).await.expect("acknowledged"), 2);
    }
}
