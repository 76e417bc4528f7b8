//! What each rule of the store is for.

mod crash;
mod crash_disk;
mod damage;
mod log;
mod space;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use levada_core::{block::Block, fields::Fields, id::StreamId};

use self::crash_disk::{CrashDisk, Random};
use super::{LocalSettings, LocalStore};
use crate::{
    disk::{Disk, Lane, file::FileDisk, memory::MemoryDisk},
    error::{Error, ErrorKind},
    store::{CacheFacts, Fetch, Lsn, PieceChange, PieceId, Recovered, Store, Urgency},
};

const STATE: PieceId = PieceId { object: 1, kind: 1, part: 0 };
const LIST: PieceId = PieceId { object: 1, kind: 2, part: 0 };

fn small() -> LocalSettings {
    LocalSettings {
        log_file_bytes: 64 << 10,
        segment_bytes: 16 << 10,
        pack_bytes: 1 << 10,
        cache_bytes: 4 << 10,
        open_files_max: 3,
        ..LocalSettings::default()
    }
}

fn block(object: u64, number: u64) -> Arc<Block> {
    let mut block = Block::new();
    let value =
        vec![b'a' + (number % 26) as u8; 100 + (object * 700 + number * 130) as usize % 3000];
    let pairs: [&[u8]; 2] = [b"f", &value];
    block.append(StreamId::new(object + 1, number), &Fields::Arguments(&pairs), true);
    Arc::new(block)
}

/// Polls until nothing is under way and a checkpoint, if any, is done.
fn settle<D: Disk>(store: &mut LocalStore<D>) {
    for _ in 0..200 {
        store.wait();
        store.poll().expect("a sound disk");
    }
    assert!(store.checkpoint_due().is_some(), "the checkpoint is done");
}

fn checkpoint<D: Disk>(store: &mut LocalStore<D>) {
    store.checkpoint_begin().expect("none under way");
    let state = b"state";
    store.checkpoint_piece(STATE, PieceChange::Put, state).expect("begun");
    store.checkpoint_end().expect("begun");
    settle(store);
}

fn filled(batches: u64) -> LocalStore<CrashDisk> {
    let (mut store, recovered) = LocalStore::open(CrashDisk::new(1), small()).expect("empty");
    assert!(recovered.created);
    for n in 0..batches {
        let effects = vec![n as u8; 5000];
        store.commit(n, &effects, Urgency::Durable).expect("a sound disk");
    }
    store
}

/// Whether a path is that of a kind of file.
fn has_end(path: &str, end: &str) -> bool {
    path.ends_with(end)
}

fn logs(disk: &CrashDisk) -> Vec<String> {
    let paths = disk.paths().into_iter();
    paths.filter(|path| has_end(path, ".log")).collect()
}

#[test]
fn what_follows_a_checkpoint_begins_at_a_page() {
    let mut store = filled(1);
    store.put_block(5, 2, block(5, 2)).expect("a sound disk");
    checkpoint(&mut store);
    let segment = |disk: &CrashDisk| {
        let path = disk.paths().into_iter().find(|p| has_end(p, ".seg"));
        disk.bytes(&path.expect("one block"))
    };
    let before = segment(store.disk());
    assert_eq!(before.len() % 4096, 0);
    assert_eq!(before.last(), Some(&0), "the block ends before its page does");
    store.put_block(5, 3, block(5, 3)).expect("a sound disk");
    checkpoint(&mut store);
    let after = segment(store.disk());
    assert!(after[..before.len()] == before[..]);
    assert_eq!(after[before.len()..][..4], *b"LVS1");
}

#[test]
fn blocks_wait_for_each_other_and_what_is_dropped_meanwhile_is_not_written() {
    let mut store = filled(1);
    let segments = |disk: &CrashDisk| {
        let paths = disk.paths().into_iter().filter(|path| has_end(path, ".seg"));
        paths.map(|path| disk.bytes(&path)).filter(|bytes| !bytes.is_empty()).collect::<Vec<_>>()
    };
    for number in 2..6 {
        store.put_block(5, number, block(5, number)).expect("a sound disk");
    }
    settle(&mut store);
    assert!(segments(store.disk()).is_empty(), "there is nothing to write yet");
    let found = store.fetch(5, 3);
    assert!(matches!(found, Fetch::Ready(ready) if ready.bytes() == block(5, 3).bytes()));
    store.drop_before(5, 5);
    checkpoint(&mut store);
    let written = segments(store.disk());
    assert_eq!(written.len(), 1);
    let heads = written[0].windows(4).filter(|bytes| bytes == b"LVS1").count();
    assert_eq!(heads, 1, "one block was left");
    store.put_block(5, 6, block(5, 6)).expect("a sound disk");
    store.drop_object(5);
    checkpoint(&mut store);
    assert!(segments(store.disk()).is_empty(), "nothing was left");
}

#[test]
fn the_first_error_is_the_last() {
    let mut store = filled(2);
    let (durable, disk) = (store.durable(), store.disk().clone());
    disk.stop_after(1);
    let error = store.commit(1, b"x", Urgency::Durable).expect_err("the disk has stopped");
    assert_eq!(error.kind, ErrorKind::Io);
    disk.stop_after(u64::MAX);
    let again = store.commit(1, b"x", Urgency::Durable).expect_err("stopped");
    assert_eq!(again.kind, ErrorKind::Closed);
    assert!(store.poll().is_err() && store.idle(1).is_err());
    assert!(store.checkpoint_begin().is_err());
    assert_eq!(store.durable(), durable);
}

#[test]
fn a_block_that_cannot_be_written_is_an_error_and_no_full_disk() {
    let mut store = filled(2);
    let disk = store.disk().clone();
    store.put_block(1, 0, block(1, 0)).expect("nothing is written yet");
    store.checkpoint_begin().expect("its write is under way only");
    disk.stop_after(0);
    let failed = (0..100).any(|_| {
        store.wait();
        store.poll().is_err()
    });
    assert!(failed && !store.space().is_full);
}

#[test]
fn on_a_full_disk_a_checkpoint_is_due_where_it_gives_space_back() {
    let settings = LocalSettings { reserve_bytes: 32 << 10, headroom_bytes: 32 << 10, ..small() };
    let mut disk = MemoryDisk::new();
    // The log file and a manifest, and less behind them than the headroom.
    disk.set_capacity(Some(96 << 10));
    let (mut store, _) = LocalStore::open(disk, settings).expect("there is room for that");
    store.commit(1, b"effects", Urgency::Durable).expect("there is room in the log");
    store.look_for_space().expect("a sound disk");
    assert!(store.space().is_full);
    assert_eq!(store.checkpoint_due(), Some(false), "the log is short");
    store.commit(1, &vec![7; 20_000], Urgency::Durable).expect("there is room in the log");
    assert_eq!(store.checkpoint_due(), Some(true));
}

#[test]
fn what_is_found_in_memory_and_what_is_read_are_counted() {
    let mut store = filled(1);
    store.put_block(5, 0, block(5, 0)).expect("a sound disk");
    checkpoint(&mut store);
    let (mut store, _) = LocalStore::open(store.into_disk().kill(), small()).expect("sound");
    assert_eq!(store.cache_facts(), CacheFacts::default());
    for _ in 0..3 {
        assert!(matches!(store.fetch_now(5, 0), Fetch::Ready(_)));
    }
    let facts = store.cache_facts();
    assert_eq!((facts.hits, facts.misses), (2, 1));
    assert!(facts.bytes > 0);
}

#[test]
fn files_go_only_when_a_durable_checkpoint_no_longer_names_them() {
    let mut store = filled(1);
    for number in 2..40 {
        store.put_block(5, number, block(5, number)).expect("a sound disk");
    }
    checkpoint(&mut store);
    let segments = |disk: &CrashDisk| disk.paths().iter().filter(|p| has_end(p, ".seg")).count();
    let before = segments(store.disk());
    assert!(before > 2);
    store.drop_before(5, 39);
    settle(&mut store);
    assert!(matches!(store.fetch(5, 38), Fetch::Missing));
    assert_eq!(segments(store.disk()), before);
    // A drop during a checkpoint is not in it.
    store.checkpoint_begin().expect("none under way");
    store.drop_object(5);
    store.checkpoint_end().expect("begun");
    settle(&mut store);
    assert_eq!(segments(store.disk()), 1);
    let (mut again, _) = LocalStore::open(store.disk().kill(), small()).expect("sound");
    assert!(matches!(again.fetch_now(5, 39), Fetch::Ready(_)));
    checkpoint(&mut store);
    assert_eq!(segments(store.disk()), 0);
}

#[test]
fn every_image_of_a_memory_disk_opens_with_what_was_acknowledged() {
    let (mut store, _) = LocalStore::open(MemoryDisk::new(), small()).expect("empty");
    for n in 0..60u64 {
        store.commit(n, &vec![n as u8; 3000], Urgency::Durable).expect("memory");
        if n % 20 == 19 {
            store.checkpoint_begin().expect("none under way");
            store.checkpoint_end().expect("begun");
        }
        store.poll().expect("memory");
        let image = store.disk().clone();
        let (_, recovered) = LocalStore::open(image, small()).expect("an image");
        let end = recovered.lsn + recovered.batches.len() as u64;
        assert_eq!(end, store.durable());
        assert_eq!(recovered.now_ms, n);
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for settings in [
        LocalSettings { log_file_bytes: 60 << 10, ..small() },
        LocalSettings { log_file_bytes: (64 << 10) + 1, ..small() },
        LocalSettings { segment_bytes: 2 << 30, ..small() },
        LocalSettings { open_files_max: 0, ..small() },
    ] {
        let refused = LocalStore::open(MemoryDisk::new(), settings).err();
        assert_eq!(refused.expect("refused").kind, ErrorKind::Invalid);
    }
}

#[test]
fn works_on_real_files() {
    let directory = std::env::temp_dir().join(format!("levada-store-{}", std::process::id()));
    let open = || {
        let disk = FileDisk::open(&directory).expect("a fresh directory");
        LocalStore::open(disk, small()).expect("its own files")
    };
    let until = |store: &mut LocalStore<FileDisk>, done: &dyn Fn(&LocalStore<FileDisk>) -> bool| {
        while !done(store) {
            store.wait();
            store.poll().expect("a sound disk");
        }
    };
    let (mut store, _) = open();
    store.set_lane(Lane::Background);
    for n in 0..40u64 {
        store.put_block(5, n, block(5, n)).expect("a sound disk");
        store.commit(n, &[n as u8; 5000], Urgency::Durable).expect("a sound disk");
        if n == 30 {
            store.checkpoint_begin().expect("none under way");
            store.checkpoint_end().expect("begun");
        }
    }
    until(&mut store, &|store| store.durable() == store.written());
    until(&mut store, &|store| store.checkpoint_due().is_some());
    drop(store);
    let (mut store, recovered) = open();
    assert_eq!(recovered.lsn, 32, "the mark of the creation and 31 batches");
    let effects = recovered.batches.iter().map(|batch| batch.effects[0]);
    assert_eq!(effects.collect::<Vec<_>>(), (31..40).collect::<Vec<_>>());
    for n in 0..31 {
        assert!(matches!(store.fetch_now(5, n), Fetch::Ready(_)));
    }
    drop(store);
    std::fs::remove_dir_all(&directory).expect("all files are closed");
}
