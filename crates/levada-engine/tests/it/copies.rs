//! COPY, MOVE and SWAPDB over a store that is closed and opened again.

use levada_core::{
    command::{
        Command, Copied, Key, NewId, ReadFrom, ReadMost, Xadd, XgroupCreate, Xrange, Xread,
        Xreadgroup,
    },
    error::Error as Refused,
    fields::Fields,
    id::StreamId,
    reply::Reply,
};
use levada_engine::{
    clock::Now,
    disk::memory::MemoryDisk,
    shard::{Answer, BlockedRead, ClientId, Entry, Event, Outcome, Shard, ShardSettings},
    store::{
        Store,
        local::{LocalSettings, LocalStore},
    },
};

pub(crate) type Local = Shard<LocalStore<MemoryDisk>>;

pub(crate) const NOW: Now = Now { wall_ms: 1_000, monotonic_us: 1_000_000 };
pub(crate) const CLIENT: ClientId = ClientId(1);
pub(crate) const SOURCE: Key<'_> = Key { database: 0, name: b"s" };
const COPY: Key<'_> = Key { database: 2, name: b"t" };

pub(crate) fn open(disk: MemoryDisk) -> Local {
    // Blocks leave memory at once, so that a copy has to fetch them.
    let settings =
        LocalSettings { cache_bytes: 0, log_file_bytes: 32 << 20, ..LocalSettings::default() };
    let (store, recovered) = LocalStore::open(disk, settings).expect("a sound disk");
    Shard::recover(store, recovered, ShardSettings::default(), 1).expect("sound pieces")
}

/// Carries a command out, however often it has to wait for blocks.
pub(crate) fn run(shard: &mut Local, command: &Command<'_>) -> Answer {
    loop {
        if let Outcome::Done(answer) = shard.execute(NOW, CLIENT, command) {
            return answer;
        }
        shard.store_mut().wait();
        shard.poll(NOW).expect("a sound disk");
        while shard.poll_event().is_some() {}
    }
}

pub(crate) fn reply(shard: &mut Local, command: &Command<'_>) -> Reply {
    run(shard, command).result.expect("it is allowed")
}

pub(crate) fn add(shard: &mut Local, key: Key<'_>, value: &[u8]) {
    let pair: [&[u8]; 2] = [b"f", value];
    let fields = Fields::Arguments(&pair);
    let (id, idempotent) = (NewId::Auto, None);
    let xadd = Xadd { key, must_exist: false, trim: None, id, fields, idempotent };
    reply(shard, &Command::Xadd(xadd));
    shard.commit(NOW).expect("a sound disk");
}

pub(crate) fn entries(shard: &mut Local, key: Key<'_>) -> Vec<Entry> {
    let (first, last) = (StreamId::MIN, StreamId::MAX);
    let range = Xrange { key, first, last, reverse: false, count: None };
    match reply(shard, &Command::Xrange(range)) {
        Reply::Entries(entries) => shard.entries(&entries).expect("sound blocks"),
        other => panic!("not entries: {other:?}"),
    }
}

pub(crate) fn pending(shard: &mut Local, key: Key<'_>) -> Reply {
    reply(shard, &Command::XpendingSummary(key, b"g"))
}

/// A stream of several blocks, with a group that has something pending.
pub(crate) fn fill(shard: &mut Local) {
    for n in 0..250_u32 {
        add(shard, SOURCE, format!("{n:0700}").as_bytes());
    }
    let id = Some(StreamId::MIN);
    let (group, create_stream, entries_read) = (b"g", false, None);
    let create = XgroupCreate { key: SOURCE, group, id, create_stream, entries_read };
    reply(shard, &Command::XgroupCreate(create));
    let streams = vec![(SOURCE, None)];
    let read = Xreadgroup {
        group: b"g",
        consumer: b"c",
        count: Some(150),
        most: ReadMost::default(),
        no_ack: false,
        claim_idle_ms: None,
        streams,
    };
    reply(shard, &Command::Xreadgroup(read));
    shard.commit(NOW).expect("a sound disk");
}

fn copy(shard: &mut Local, replace: bool) -> Reply {
    reply(shard, &Command::Copy(Copied { from: SOURCE, to: COPY, replace }))
}

/// Closes it, after a checkpoint or with all batches to be replayed, and opens it again.
fn reopen(mut shard: Local, checkpoint: bool) -> Local {
    shard.commit(NOW).expect("a sound disk");
    if checkpoint {
        shard.checkpoint_now().expect("a sound disk");
    }
    open(shard.into_store().into_disk())
}

#[test]
fn a_copied_stream_lives_on_without_its_source() {
    for (before, after) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut shard = open(MemoryDisk::new());
        fill(&mut shard);
        // Then the copy stands in a checkpoint that holds changes only.
        if before {
            shard.checkpoint_now().expect("a sound disk");
        }
        let (held, held_pending) = (entries(&mut shard, SOURCE), pending(&mut shard, SOURCE));
        assert_eq!(copy(&mut shard, false), Reply::Integer(1));
        assert_eq!(copy(&mut shard, false), Reply::Integer(0));
        reply(&mut shard, &Command::Del(vec![SOURCE]));
        let mut shard = reopen(shard, after);
        assert_eq!(entries(&mut shard, COPY), held, "{before} {after}");
        assert_eq!(pending(&mut shard, COPY), held_pending);
        assert_eq!(pending(&mut shard, COPY), held_pending);
        add(&mut shard, COPY, b"more");
        assert_eq!(entries(&mut shard, COPY).len(), held.len() + 1);
    }
}

#[test]
fn copies_of_a_transaction_are_bounded_together() {
    let mut shard = open(MemoryDisk::new());
    let value = vec![b'v'; 1 << 20];
    for _ in 0..10 {
        add(&mut shard, SOURCE, &value);
    }
    let to = |name| Copied { from: SOURCE, to: Key { database: 0, name }, replace: false };
    shard.transaction_begin();
    assert_eq!(reply(&mut shard, &Command::Copy(to(b"a"))), Reply::Integer(1));
    for name in [&b"b"[..], b"c", b"d"] {
        let refused = run(&mut shard, &Command::Copy(to(name))).result;
        assert_eq!(refused.is_err(), name == b"d", "32 MiB are room for three copies");
    }
    let there = Command::Exists(vec![to(b"c").to, to(b"d").to]);
    assert_eq!(reply(&mut shard, &there), Reply::Integer(1));
    shard.transaction_end(NOW);
    shard.commit(NOW).expect("it fits");
    for _ in 0..8 {
        add(&mut shard, SOURCE, &value);
    }
    let refused = run(&mut shard, &Command::Copy(to(b"e"))).result;
    assert_eq!(refused, Err(Refused::CopyTooLarge));
}

#[test]
fn databases_that_changed_places_stay_so() {
    for checkpoint in [false, true] {
        let mut shard = open(MemoryDisk::new());
        fill(&mut shard);
        shard.checkpoint_now().expect("a sound disk");
        let held = entries(&mut shard, SOURCE);
        assert_eq!(reply(&mut shard, &Command::Swapdb(0, 3)), Reply::Ok);
        let mut shard = reopen(shard, checkpoint);
        assert_eq!(entries(&mut shard, SOURCE), []);
        let moved = Key { database: 3, ..SOURCE };
        assert_eq!(entries(&mut shard, moved), held);
        assert_eq!(reply(&mut shard, &Command::Move(moved, 0)), Reply::Integer(1));
        assert_eq!(reply(&mut shard, &Command::Move(moved, 0)), Reply::Integer(0));
        let mut shard = reopen(shard, checkpoint);
        assert_eq!(entries(&mut shard, SOURCE), held);
    }
}

#[test]
fn a_swap_feeds_readers_and_breaks_watches_of_both() {
    let mut shard = open(MemoryDisk::new());
    let there = Key { database: 1, ..SOURCE };
    add(&mut shard, there, b"v");
    let (reader, watcher, other) = (ClientId(7), ClientId(8), ClientId(9));
    let streams = vec![(SOURCE, ReadFrom::After(StreamId::MIN))];
    assert_eq!(
        reply(
            &mut shard,
            &Command::Xread(Xread { streams, count: None, most: ReadMost::default() })
        ),
        Reply::NilList
    );
    let streams = vec![(0, b"s".to_vec(), StreamId::MIN)];
    shard.wait(
        reader,
        BlockedRead::Xread { streams, count: None, most: ReadMost::default() },
        None,
    );
    shard.watch(NOW, watcher, SOURCE);
    shard.watch(NOW, other, Key { database: 0, name: b"missing" });
    reply(&mut shard, &Command::Swapdb(0, 1));
    match shard.poll_event() {
        Some(Event::Served { client, .. }) => assert_eq!(client, reader),
        other => panic!("nobody was served: {other:?}"),
    }
    assert!(shard.is_watch_broken(NOW, watcher) && !shard.is_watch_broken(NOW, other));
}
