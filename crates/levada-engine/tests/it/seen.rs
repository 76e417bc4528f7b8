//! When consumers were seen that asked and got nothing: shown exactly, logged with something else.

use levada_core::{
    command::{Command, Key, Xautoclaim, XgroupCreate},
    id::StreamId,
    reply::Reply,
};
use levada_engine::{
    clock::Now,
    disk::memory::MemoryDisk,
    shard::{Answer, ClientId, Outcome, Shard, ShardSettings, Wait},
    store::local::{LocalSettings, LocalStore},
};

type Local = Shard<LocalStore<MemoryDisk>>;

const STREAM: Key<'_> = Key { database: 0, name: b"orders" };
const CLAIM: Command<'_> = Command::Xautoclaim(Xautoclaim {
    key: STREAM,
    group: b"g",
    consumer: b"c",
    idle_ms_min: 1000,
    start: StreamId::MIN,
    count: 100,
    just_id: false,
});

fn open(disk: MemoryDisk) -> Local {
    let (store, recovered) =
        LocalStore::open(disk, LocalSettings::default()).expect("a sound disk");
    Shard::recover(store, recovered, ShardSettings::default(), 1).expect("a sound log")
}

fn at(ms: u64) -> Now {
    Now { wall_ms: ms, monotonic_us: ms * 1000 }
}

fn ask(shard: &mut Local, ms: u64, command: &Command<'_>) -> Answer {
    match shard.execute(at(ms), ClientId(1), command) {
        Outcome::Done(answer) => answer,
        Outcome::NeedBlocks => panic!("everything is in memory"),
    }
}

/// For how long the consumers were idle; and what the answer waits for.
fn idle(shard: &mut Local, ms: u64) -> (Vec<u64>, Wait) {
    let answer = ask(shard, ms, &Command::XinfoConsumers(STREAM, b"g"));
    match answer.result {
        Ok(Reply::Consumers(all)) => (all.iter().map(|one| one.idle_ms).collect(), answer.wait),
        other => panic!("XINFO CONSUMERS answers {other:?}"),
    }
}

/// A group whose consumer was made at 1000 ms, durable.
fn with_consumer() -> Local {
    let mut shard = open(MemoryDisk::default());
    let create = Command::XgroupCreate(XgroupCreate {
        key: STREAM,
        group: b"g",
        id: None,
        create_stream: true,
        entries_read: None,
    });
    ask(&mut shard, 1000, &create).result.expect("it is allowed");
    ask(&mut shard, 1000, &CLAIM).result.expect("the group is there");
    shard.settle(at(1000)).expect("a sound disk");
    shard
}

#[test]
fn an_empty_claim_writes_nothing_and_waits_for_nothing() {
    let mut shard = with_consumer();
    let before = shard.current();
    for ms in 1001..1500 {
        assert_eq!(ask(&mut shard, ms, &CLAIM).wait, Wait::Nothing);
        shard.commit(at(ms)).expect("a sound disk");
        assert_eq!(shard.current(), before, "a batch of its own");
    }
}

#[test]
fn it_is_logged_within_a_second() {
    let mut shard = with_consumer();
    ask(&mut shard, 1200, &CLAIM).result.expect("the group is there");
    let wanted_us = shard.next_deadline_us(at(1200)).expect("something is left to do");
    assert!(wanted_us <= at(2200).monotonic_us);
    shard.poll(at(2200)).expect("a sound disk");
    shard.settle(at(2200)).expect("a sound disk");
    let mut shard = open(shard.into_store().into_disk());
    assert_eq!(idle(&mut shard, 2300).0, [1100], "as it was, not as it was logged");
}

#[test]
fn who_is_shown_it_waits_for_it() {
    let mut shard = with_consumer();
    ask(&mut shard, 1200, &CLAIM).result.expect("the group is there");
    let (shown, wait) = idle(&mut shard, 1250);
    assert_eq!(shown, [50]);
    assert_eq!(wait, Wait::Durable(shard.position()));
    assert!(!shard.is_over(wait), "it is not on disk yet");
    shard.commit(at(1250)).expect("a sound disk");
    assert!(shard.is_over(wait));
}

#[test]
fn a_crash_may_take_it_back() {
    let mut shard = with_consumer();
    ask(&mut shard, 1200, &CLAIM).result.expect("the group is there");
    shard.commit(at(1200)).expect("a sound disk");
    let mut shard = open(shard.into_store().into_disk());
    assert_eq!(idle(&mut shard, 1300).0, [300], "since it was made");
}

#[test]
fn another_consumer_of_its_number_does_not_get_it() {
    let mut shard = with_consumer();
    ask(&mut shard, 1200, &CLAIM).result.expect("the group is there");
    let delete = Command::XgroupDelconsumer(STREAM, b"g", b"c");
    ask(&mut shard, 1300, &delete).result.expect("the group is there");
    shard.commit(at(1300)).expect("a sound disk");
    let create = Command::XgroupCreateconsumer(STREAM, b"g", b"d");
    ask(&mut shard, 1400, &create).result.expect("the group is there");
    shard.commit(at(1400)).expect("a sound disk");
    assert_eq!(idle(&mut shard, 1450).0, [50]);
}
