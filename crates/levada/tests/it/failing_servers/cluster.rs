//! A cluster of three masters and three replicas. Tests kill masters; each leaves the cluster
//! whole: the dead one is not brought back, its replica has its place.

use std::time::Duration;

use levada::{Broker, Durability, Error, Event as _, Reader, connect};
use redis::FromRedisValue as _;

use super::{Kept, ask, processes, signal, url, workers_survive};
use crate::world::eventually;

/// A node as another one lists it.
#[derive(Debug, Clone)]
struct Node {
    id: String,
    address: String,
    flags: String,
    /// The id of its master, or `-`.
    master: String,
    slots: Vec<(u16, u16)>,
}

/// All nodes, as some node that is alive lists them.
fn nodes() -> Vec<Node> {
    let mut addresses: Vec<String> = processes().into_keys().collect();
    addresses.sort();
    let text = addresses.iter().find_map(|address| {
        let value = ask(address, &["CLUSTER", "NODES"]).ok()?;
        String::from_redis_value(value).ok()
    });
    text.expect("one is alive").lines().map(node).collect()
}

fn node(line: &str) -> Node {
    let words: Vec<&str> = line.split_whitespace().collect();
    let address = words[1].split(['@', ',']).next().unwrap_or_default();
    let range = |word: &&str| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    Node {
        id: words[0].to_owned(),
        address: address.to_owned(),
        flags: words[2].to_owned(),
        master: words[3].to_owned(),
        slots: words[8..].iter().filter_map(range).collect(),
    }
}

fn slot_of(key: &str) -> u16 {
    let address = &nodes().into_iter().find(|node| !node.flags.contains("fail")).expect("alive");
    let value = ask(&address.address, &["CLUSTER", "KEYSLOT", key]).expect("a slot");
    u16::from_redis_value(value).expect("a number")
}

fn master_of(key: &str) -> Node {
    let slot = slot_of(key);
    let has = |node: &Node| node.slots.iter().any(|(first, last)| *first <= slot && slot <= *last);
    let alive = |node: &Node| !node.flags.contains("fail");
    nodes().into_iter().find(|node| alive(node) && has(node)).expect("somebody has it")
}

/// A partition whose master has a replica that lives, and both.
fn victim(broker: &Broker) -> (String, Node, Node) {
    let topic = broker.topic(Kept::STREAM).expect("partitioned");
    let nodes = nodes();
    for stream in topic.streams().concat() {
        let master = master_of(&stream);
        let follows = |node: &&Node| node.master == master.id && !node.flags.contains("fail");
        if let Some(replica) = nodes.iter().find(follows) {
            return (stream, master, replica.clone());
        }
    }
    panic!("no partition has a replica any more: {nodes:?}");
}

async fn broker() -> Broker {
    let broker = connect(&url()).await.expect("the cluster is there");
    assert!(broker.capabilities().server.contains("cluster"), "{broker:?}");
    let broker = broker.partitioned(Kept::STREAM, 6).await.expect("partitioned");
    for stream in broker.topic(Kept::STREAM).expect("just said").streams().concat() {
        broker.backend().remove(&stream).await.expect("removed");
    }
    broker
}

/// Workers that share all partitions, then workers that have each for themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "kills servers: cargo xtask toolkit"]
async fn a_master_dies_under_workers() {
    for exclusive in [false, true] {
        let broker = broker().await;
        let (stream, master, _) = victim(&broker);
        workers_survive(&broker, exclusive, || signal("-KILL", &master.address)).await;
        assert_ne!(master_of(&stream).id, master.id, "another has its slots");
    }
}

/// A read that waits at a slot's master goes with the slot when it moves to another; what is sent
/// while it is half moved goes to where its stream is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "moves slots: cargo xtask toolkit"]
async fn a_slot_moves_under_a_reader() {
    const STREAM: &str = "it-moved:{x}";
    let broker = connect(&url()).await.expect("the cluster is there");
    let append = |n: u32| {
        let fields = [("n", n.to_string())].into_iter().collect();
        levada::backend::Append { stream: STREAM.into(), fields, once: None }
    };
    broker.backend().remove(STREAM).await.expect("removed");
    let first = broker.backend().append(vec![append(0)]).await.expect("sent").remove(0);
    let mut reader = Reader::behind(&broker, STREAM, first.expect("an id")).await.expect("one");
    let following = tokio::spawn(async move { reader.next().await });
    let from = master_of(STREAM);
    let masters = nodes().into_iter().filter(|node| !node.slots.is_empty());
    let to = masters.into_iter().find(|node| node.id != from.id).expect("another master");
    let slot = slot_of(STREAM).to_string();
    let say = |node: &Node, words: &[&str]| {
        ask(&node.address, words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    };
    say(&to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from.id]);
    say(&from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to.id]);
    let (host, port) = to.address.rsplit_once(':').expect("a port");
    say(&from, &["MIGRATE", host, port, "", "0", "5000", "KEYS", STREAM]);
    // Half on its way: the stream is there already, and its slot is not.
    let sent = broker.backend().append(vec![append(1)]).await.expect("sent").remove(0);
    let id = sent.expect("an id");
    let there = ask(&from.address, &["XLEN", STREAM]).expect_err("it has gone");
    assert_eq!(there.code(), Some("ASK"));
    for node in [&to, &from] {
        say(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &to.id]);
    }
    assert_eq!(following.await.expect("no panic").expect("an entry").id, id);
    assert_eq!(broker.backend().len(STREAM).await.expect("a length"), 2);
    assert_eq!(master_of(STREAM).id, to.id);
}

/// What a failover loses, by durability: a replica is cut off for a moment while events are
/// acknowledged, the master dies, the replica is promoted. The figures are in docs/topics.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "kills servers: cargo xtask toolkit"]
async fn a_replica_that_was_cut_off_loses_what_did_not_wait() {
    const EVENTS: u32 = 1001;
    let broker = broker().await;
    let (stream, master, replica) = victim(&broker);
    let append = |n: u32| {
        let fields = [("n", n.to_string())].into_iter().collect();
        levada::backend::Append { stream: stream.clone(), fields, once: None }
    };
    let waits = Durability::replicas(1).within(Duration::from_millis(200));
    let patient = waits.within(Duration::from_secs(10));
    let waited = broker.backend().append_held(vec![append(0)], patient).await.expect("sent");
    let waited = *waited[0].as_ref().expect("the replica has it");
    signal("-STOP", &replica.address);
    // Else what is sent waits in the buffers between them, and arrives behind the master's death.
    ask(&master.address, &["CLIENT", "KILL", "TYPE", "replica"]).expect("its link is cut");
    let mut acked = Vec::new();
    for n in (1..EVENTS).step_by(100) {
        let some = (n..n + 100).map(append).collect();
        for id in broker.backend().append(some).await.expect("sent") {
            acked.push(id.expect("acknowledged"));
        }
    }
    let unconfirmed = broker.backend().append_held(vec![append(EVENTS)], waits).await;
    signal("-KILL", &master.address);
    signal("-CONT", &replica.address);
    let unconfirmed = unconfirmed.expect("sent").remove(0);
    assert!(matches!(unconfirmed, Err(Error::Unconfirmed { reached: 0, wanted: 1 })));
    eventually("the replica has its place", || async {
        nodes().iter().any(|node| node.id == replica.id && !node.slots.is_empty())
    })
    .await;
    let mut kept = std::collections::HashSet::new();
    let mut from = levada::MessageId::MIN;
    loop {
        let page = match broker.backend().range(&stream, from, levada::MessageId::MAX, 500).await {
            Err(error) if error.is_transient() => continue, // The connection was the dead one's.
            page => page.expect("a range"),
        };
        kept.extend(page.iter().map(|entry| entry.id));
        match page.last().and_then(|last| last.id.next()) {
            Some(next) => from = next,
            None => break,
        }
    }
    let lost = acked.iter().filter(|id| !kept.contains(id)).count();
    println!("LOSS leader: {lost} of {} acknowledged", acked.len());
    assert!(kept.contains(&waited), "what waited for its replica is there");
    assert!(lost > 0, "nothing was lost: the replica was not cut off");
}
