//! The engine's thread, its callers, its end.

use std::{sync::Arc, time::Duration};

use super::{
    engine::Engine,
    late_disk::{LateDisk, Medium},
    schedules,
    threads::{thread, thread::JoinHandle},
};
use crate::{
    StreamId,
    disk::memory::MemoryDisk,
    error::ErrorKind,
    shard::ShardSettings,
    store::local::{LocalSettings, LocalStore},
};

const CALLERS: usize = 3;
const CALLS: usize = 2;

/// An engine whose syncs are somebody else's: on the lane.
fn engine(medium: &Medium) -> Engine {
    let local = LocalSettings {
        log_file_bytes: 64 << 10,
        reserve_bytes: 0,
        headroom_bytes: 0,
        cache_bytes: 1 << 10,
        ..LocalSettings::default()
    };
    let (store, recovered) = LocalStore::open(LateDisk::new(medium.clone()), local).expect("opens");
    let settings = ShardSettings { inline_sync_us_max: 0, ..ShardSettings::default() };
    Engine::start(store, recovered, settings, Engine::system_clock()).expect("starts")
}

/// Callers that add entries, each on a thread; what they were told of each call.
fn callers(engine: &Arc<Engine>) -> Vec<JoinHandle<Vec<Result<StreamId, ErrorKind>>>> {
    let call = |engine: Arc<Engine>| {
        let add = |_| engine.add("s", &[("n", b"1")]).map_err(|error| error.kind);
        (0..CALLS).map(add).collect()
    };
    let start = |_| {
        let engine = Arc::clone(engine);
        thread::spawn(move || call(engine))
    };
    (0..CALLERS).map(start).collect()
}

/// What all of them were told; the engine ends with the last of them.
fn outcomes(engine: Engine) -> Vec<Result<StreamId, ErrorKind>> {
    let engine = Arc::new(engine);
    let callers = callers(&engine);
    drop(engine);
    callers.into_iter().flat_map(|caller| caller.join().expect("no panic")).collect()
}

fn ids(engine: &Engine) -> Vec<StreamId> {
    let all = engine.range("s", StreamId::MIN, StreamId::MAX, 100).expect("reads");
    all.into_iter().map(|entry| entry.id).collect()
}

#[test]
fn every_call_is_answered_and_is_there() {
    schedules(50, || {
        let medium = Medium::new(MemoryDisk::new());
        let mut added: Vec<_> = outcomes(engine(&medium))
            .into_iter()
            .map(|outcome| outcome.expect("the disk is sound"))
            .collect();
        added.sort_unstable();
        added.dedup();
        assert_eq!(added.len(), CALLERS * CALLS);
        assert_eq!(ids(&engine(&Medium::new(medium.image()))), added);
    });
}

#[test]
fn what_was_acknowledged_was_synced_and_after_a_failure_nothing_is() {
    for syncs in 0..3 {
        schedules(30, move || {
            let medium = Medium::new(MemoryDisk::new());
            let engine_ = engine(&medium);
            medium.fail_after(syncs);
            let outcomes = outcomes(engine_);
            let synced = ids(&engine(&Medium::new(medium.image())));
            for outcome in &outcomes {
                match outcome {
                    Ok(id) => assert!(synced.contains(id), "{id} was not synced"),
                    Err(kind) => assert_eq!(*kind, ErrorKind::Closed),
                }
            }
            assert!(syncs > 0 || outcomes.iter().all(Result::is_err));
        });
    }
}

#[test]
fn whoever_waits_for_an_entry_gets_it() {
    schedules(300, || {
        let engine = Arc::new(Engine::in_memory().expect("starts"));
        let reader = {
            let engine = Arc::clone(&engine);
            let forever = Some(Duration::from_hours(1));
            thread::spawn(move || engine.read("s", StreamId::MIN, 1, forever).expect("reads"))
        };
        let id = engine.add("s", &[("n", b"1")]).expect("adds");
        let read = reader.join().expect("no panic");
        assert_eq!(read.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id]);
    });
}

#[test]
fn messages_come_in_order_to_whoever_listens() {
    schedules(300, || {
        let engine = Arc::new(Engine::in_memory().expect("starts"));
        let listener = engine.subscribe(&["c"]).expect("listens");
        let publisher = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                for payload in [b"1", b"2"] {
                    assert_eq!(engine.publish("c", payload).expect("publishes"), 1);
                }
            })
        };
        for payload in [b"1", b"2"] {
            let message = listener.recv(None).expect("it was published").expect("no time passes");
            assert_eq!(&*message.payload, payload);
        }
        publisher.join().expect("no panic");
        drop(engine);
        assert_eq!(listener.recv(None).expect_err("it is gone").kind, ErrorKind::Closed);
    });
}
