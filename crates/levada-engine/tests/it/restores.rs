//! DUMP and RESTORE over a store that is closed and opened again.

use std::sync::Arc;

use levada_core::{
    command::{Command, Key, NewId, Restore, Restored, Xadd, Xrange},
    error::Error as Refused,
    fields::Fields,
    id::StreamId,
    idempotence::IdmpLimits,
    reply::{Dumped, Reply},
    restored::{
        RestoredConsumer, RestoredGroup, RestoredIdmp, RestoredPending, RestoredProducer,
        RestoredStream,
    },
};
use levada_engine::{
    clock::Now,
    disk::memory::MemoryDisk,
    shard::{Answer, ClientId, Outcome, Shard, ShardSettings},
    store::{
        Store,
        local::{LocalSettings, LocalStore},
    },
};

type Local = Shard<LocalStore<MemoryDisk>>;

const NOW: Now = Now { wall_ms: 1_000, monotonic_us: 1_000_000 };
const KEY: Key<'_> = Key { database: 0, name: b"s" };
const ENTRIES: u64 = 900;

fn open(disk: MemoryDisk) -> Local {
    // Blocks leave memory at once, so that a dump has to fetch them.
    let settings = LocalSettings { cache_bytes: 0, ..LocalSettings::default() };
    let (store, recovered) = LocalStore::open(disk, settings).expect("a sound disk");
    Shard::recover(store, recovered, ShardSettings::default(), 1).expect("sound pieces")
}

/// Closes it, after a checkpoint or with all batches to be replayed, and opens it again.
fn reopen(mut shard: Local, checkpoint: bool) -> Local {
    shard.commit(NOW).expect("a sound disk");
    if checkpoint {
        shard.checkpoint_now().expect("a sound disk");
    }
    open(shard.into_store().into_disk())
}

/// Carries a command out, however often it has to wait for blocks.
fn run(shard: &mut Local, command: &Command<'_>) -> Answer {
    loop {
        if let Outcome::Done(answer) = shard.execute(NOW, ClientId(1), command) {
            return answer;
        }
        shard.store_mut().wait();
        shard.poll(NOW).expect("a sound disk");
        while shard.poll_event().is_some() {}
    }
}

fn reply(shard: &mut Local, command: &Command<'_>) -> Reply {
    run(shard, command).result.expect("it is allowed")
}

/// A stream of several blocks, with a group that has something pending.
fn sample() -> RestoredStream {
    let mut stream = RestoredStream::default();
    for n in 1..=ENTRIES {
        let value = format!("{n:0300}");
        let pair: [&[u8]; 2] = [b"f", value.as_bytes()];
        let fields = Fields::Arguments(&pair);
        stream.push(StreamId::new(n, 0), &fields, n % 10 == 1).expect("it fits");
    }
    stream.last_id = StreamId::new(2_000, 7);
    stream.entries_added = 5_000;
    stream.max_deleted_id = StreamId::new(1_999, 0);
    let consumer = |name: &[u8], seen_ms, active_ms| RestoredConsumer {
        name: name.to_vec(),
        seen_ms,
        active_ms,
    };
    let pending = |n, consumer| RestoredPending {
        id: StreamId::new(n, 0),
        delivered_ms: n,
        count: n,
        consumer,
    };
    stream.groups.push(RestoredGroup {
        name: b"g".to_vec(),
        last_id: StreamId::new(600, 0),
        entries_read: None,
        consumers: vec![consumer(b"a", 70, None), consumer(b"b", 80, Some(75))],
        pending: (1..=600).map(|n| pending(n, u32::from(n % 3 == 0))).collect(),
    });
    let iid = |n: u64| (format!("i{n}").into_bytes(), StreamId::new(n, 0));
    let producers =
        vec![RestoredProducer { pid: b"p".to_vec(), iids: (1..=20).map(iid).collect() }];
    let limits = IdmpLimits { duration_s: 1, iids_max: 10 };
    stream.idmp = Some(RestoredIdmp { limits, added: 90, duplicates: 5, producers });
    stream
}

fn restore(value: RestoredStream) -> Command<'static> {
    let value = Some(Restored::Stream(Arc::new(value)));
    Command::Restore(Restore { key: KEY, replace: false, expires_at_ms: None, value })
}

/// What XINFO STREAM FULL and XRANGE tell, as text.
fn state(shard: &mut Local) -> String {
    let info = reply(shard, &Command::XinfoStream(KEY, Some(0)));
    let Reply::StreamFull(full) = info else { panic!("a stream") };
    let range =
        Xrange { key: KEY, first: StreamId::MIN, last: StreamId::MAX, reverse: false, count: None };
    let Reply::Entries(entries) = reply(shard, &Command::Xrange(range)) else { panic!("entries") };
    let entries = shard.entries(&entries).expect("sound blocks");
    format!("{:?} {:?} {:?}", full.facts, full.groups, entries)
}

#[test]
fn a_restored_stream_is_there_again_after_a_crash() {
    for checkpoint in [false, true] {
        let mut shard = open(MemoryDisk::new());
        assert_eq!(reply(&mut shard, &restore(sample())), Reply::Ok);
        let held = state(&mut shard);
        for expected in [
            "length: 900",
            "iids: 10",
            "duplicates: 5",
            "entries_added: 5000",
            "seq: 7",
            "active_ms: Some(75)",
        ] {
            assert!(held.contains(expected), "{expected}: {}", &held[..600]);
        }
        let mut shard = reopen(shard, checkpoint);
        assert_eq!(state(&mut shard), held, "checkpoint: {checkpoint}");
        let again = run(&mut shard, &restore(sample())).result;
        assert_eq!(again, Err(Refused::KeyExists));

        let pair: [&[u8]; 2] = [b"f", b"v"];
        let fields = Fields::Arguments(&pair);
        let xadd = Xadd {
            key: KEY,
            must_exist: false,
            idempotent: None,
            trim: None,
            id: NewId::Auto,
            fields,
        };
        let added = reply(&mut shard, &Command::Xadd(xadd));
        assert_eq!(added, Reply::Id(StreamId::new(2_000, 8)));
        let held = state(&mut shard);
        let mut shard = reopen(shard, !checkpoint);
        assert_eq!(state(&mut shard), held);
    }
}

#[test]
fn a_dump_brings_all_blocks() {
    let mut shard = open(MemoryDisk::new());
    reply(&mut shard, &restore(sample()));
    let mut shard = reopen(shard, true);
    let dumped = reply(&mut shard, &Command::Dump(KEY));
    let Reply::Dumped(Dumped::Stream(stream, blocks)) = dumped else { panic!("a stream") };
    assert!(blocks.len() > 2, "several blocks");
    let rows: u32 = blocks.iter().map(|(_, block)| block.count()).sum();
    assert_eq!(u64::from(rows + stream.tail().count()), ENTRIES);
    assert_eq!(reply(&mut shard, &Command::Dump(Key { database: 1, ..KEY })), Reply::Nil);
}

#[test]
fn what_is_over_does_not_come_into_being() {
    let mut shard = open(MemoryDisk::new());
    let text = |replace, expires_at_ms| {
        let value = Some(Restored::Text(b"v"[..].into()));
        Command::Restore(Restore { key: KEY, replace, expires_at_ms, value })
    };
    let exists = Command::Exists(vec![KEY]);
    assert_eq!(reply(&mut shard, &text(false, Some(1_000))), Reply::Ok);
    assert_eq!(reply(&mut shard, &exists), Reply::Integer(0));
    assert_eq!(reply(&mut shard, &text(false, Some(1_001))), Reply::Ok);
    assert_eq!(reply(&mut shard, &Command::Expiretime(KEY)), Reply::Integer(1_001));
    assert_eq!(reply(&mut shard, &text(true, None)), Reply::Ok);
    assert_eq!(reply(&mut shard, &Command::Expiretime(KEY)), Reply::Integer(-1));
    assert_eq!(reply(&mut shard, &text(true, Some(-5))), Reply::Ok);
    assert_eq!(reply(&mut shard, &exists), Reply::Integer(0));
}
