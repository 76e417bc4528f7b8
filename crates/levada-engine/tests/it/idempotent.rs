//! Idempotent producers over a store that is closed and opened again, and what the loop forgets.

use levada_core::{
    command::{Command, Copied, Idempotent, Key, NewId, Xadd, Xcfgset},
    error::Error as Refused,
    fields::Fields,
    id::StreamId,
    reply::{IdmpFacts, Reply},
};
use levada_engine::{
    clock::Now,
    disk::memory::MemoryDisk,
    shard::{ClientId, Outcome, Shard, ShardSettings},
    store::{
        Store,
        local::{LocalSettings, LocalStore},
    },
};

type Local = Shard<LocalStore<MemoryDisk>>;

const CLIENT: ClientId = ClientId(1);
const STREAM: Key<'_> = Key { database: 0, name: b"s" };
const OTHER: Key<'_> = Key { database: 3, name: b"t" };

fn at(wall_ms: u64) -> Now {
    Now { wall_ms, monotonic_us: wall_ms * 1000 }
}

fn open(disk: MemoryDisk) -> Local {
    let settings = LocalSettings { log_file_bytes: 32 << 20, ..LocalSettings::default() };
    let (store, recovered) = LocalStore::open(disk, settings).expect("a sound disk");
    Shard::recover(store, recovered, ShardSettings::default(), 1).expect("sound pieces")
}

fn reply(shard: &mut Local, now: Now, command: &Command<'_>) -> Reply {
    match shard.execute(now, CLIENT, command) {
        Outcome::Done(answer) => answer.result.expect("it is allowed"),
        Outcome::NeedBlocks => panic!("everything is in memory"),
    }
}

fn add(shard: &mut Local, now: Now, key: Key<'_>, iid: &[u8]) -> StreamId {
    let fields = Fields::Arguments(&[b"f", b"v"]);
    let idempotent = Some(Idempotent { pid: b"p", iid: Some(iid) });
    let id = NewId::Auto;
    let xadd = Xadd { key, must_exist: false, trim: None, id, fields, idempotent };
    let Reply::Id(id) = reply(shard, now, &Command::Xadd(xadd)) else { panic!("not an id") };
    shard.commit(now).expect("a sound disk");
    id
}

fn facts(shard: &mut Local, now: Now, key: Key<'_>) -> IdmpFacts {
    match reply(shard, now, &Command::XinfoStream(key, None)) {
        Reply::StreamInfo(info) => info.facts.idmp,
        other => panic!("not facts: {other:?}"),
    }
}

fn reopened(mut shard: Local, checkpoint: bool) -> Local {
    if checkpoint {
        shard.shut_down(at(0)).expect("a sound disk");
    }
    open(shard.into_store().into_disk())
}

#[test]
fn what_is_tracked_survives_the_log_and_the_checkpoint() {
    let mut shard = open(MemoryDisk::default());
    let now = at(5000);
    let asked = Xcfgset {
        key: STREAM,
        idmp_duration_s: Some(200),
        idmp_iids_max: Some(1000),
        options: vec![],
    };
    let first = add(&mut shard, now, STREAM, b"before");
    reply(&mut shard, now, &Command::Xcfgset(asked));
    let ids: Vec<StreamId> =
        (0..700_u32).map(|n| add(&mut shard, now, STREAM, &n.to_le_bytes())).collect();
    // What is in the checkpoint of the one is not in that of its copy.
    shard.checkpoint_now().expect("a sound disk");
    let copied = Copied { from: STREAM, to: OTHER, replace: false };
    assert_eq!(reply(&mut shard, now, &Command::Copy(copied)), Reply::Integer(1));
    shard.commit(now).expect("a sound disk");
    for (round, checkpoint) in [true, false, true].into_iter().enumerate() {
        shard = reopened(shard, checkpoint);
        for key in [STREAM, OTHER] {
            let seen = facts(&mut shard, now, key);
            assert_eq!((seen.pids, seen.iids, seen.limits.duration_s), (1, 700, 200));
            assert_eq!((seen.added, seen.duplicates), (701, 2 * round as u64));
            for n in [0, 699_u32] {
                assert_eq!(add(&mut shard, now, key, &n.to_le_bytes()), ids[n as usize]);
            }
        }
    }
    assert!(add(&mut shard, now, STREAM, b"before") > first, "XCFGSET forgot it");
}

#[test]
fn what_is_over_is_forgotten_without_anyone_asking() {
    let mut shard = open(MemoryDisk::default());
    add(&mut shard, at(5000), STREAM, b"1");
    add(&mut shard, at(5400), OTHER, b"1");
    let tracked = |shard: &Local| shard.machine().iter_over().map(|(at, _)| at).collect::<Vec<_>>();
    assert_eq!(tracked(&shard), [105_000, 105_400]);
    shard.poll(at(105_999)).expect("a sound disk");
    assert_eq!(tracked(&shard), [105_000, 105_400]);
    let due_us = shard.next_deadline_us(at(105_999)).expect("there is something to do");
    assert!(due_us <= 106_000_000, "{due_us}");
    shard.poll(at(106_000)).expect("a sound disk");
    assert_eq!(tracked(&shard), [105_400]);
    shard.commit(at(106_000)).expect("a sound disk");
    let mut shard = reopened(shard, false);
    assert_eq!(tracked(&shard), [105_400]);
    shard.poll(at(200_000)).expect("a sound disk");
    assert_eq!(tracked(&shard), []);
    let seen = facts(&mut shard, at(200_000), STREAM);
    assert_eq!((seen.pids, seen.iids, seen.added), (0, 0, 1));
}

#[test]
fn an_append_that_does_not_fit_tracks_nothing() {
    let mut shard = open(MemoryDisk::default());
    let max = shard.store().batch_bytes_max();
    let value = vec![b'v'; max];
    let fields: [&[u8]; 2] = [b"f", &value];
    let idempotent = Some(Idempotent { pid: b"p", iid: None });
    let (fields, id) = (Fields::Arguments(&fields), NewId::Auto);
    let xadd = Xadd { key: STREAM, must_exist: false, trim: None, id, fields, idempotent };
    let Outcome::Done(answer) = shard.execute(at(1), CLIENT, &Command::Xadd(xadd)) else {
        panic!("everything is in memory")
    };
    assert_eq!(answer.result, Err(Refused::TooLarge));
    assert_eq!(shard.machine().iter_over().count(), 0);
}
