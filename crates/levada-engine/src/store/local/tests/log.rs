//! The log: its files, and what is durable when.

use super::*;

#[test]
fn what_is_discarded_does_not_come_back() {
    let mut store = filled(1);
    for n in 0..3u8 {
        store.commit(1, &vec![n; 5000], Urgency::Written).expect("a sound disk");
    }
    let disk = store.into_disk().kill();
    let file = logs(&disk).remove(0);
    let whole = disk.bytes(&file);
    // Batch 3 is torn, 4 and 5 are whole: they go with it.
    disk.flip(&file, 4096 + 8192 + 100, 1);
    let (mut store, recovered) = LocalStore::open(disk.clone(), small()).expect("torn");
    assert_eq!((recovered.batches.len(), recovered.discarded_batches), (2, 2));
    let lsn = store.commit(2, b"another", Urgency::Durable).expect("a sound disk");
    assert_eq!(lsn, 4, "behind the mark of the new epoch");
    // Even where the page that was lost turns up again.
    let disk = store.into_disk().kill();
    disk.set(&file, whole);
    let (_, recovered) = LocalStore::open(disk, small()).expect("sound");
    let effects: Vec<_> = recovered.batches.iter().map(|b| &b.effects[..]).collect();
    assert_eq!(effects, [b"", &[0; 5000][..], b"", b"another"]);
}

#[test]
fn log_files_are_recycled_with_their_stale_bytes() {
    let mut store = filled(30);
    checkpoint(&mut store);
    let disk = store.disk().kill();
    let spares = disk.paths().into_iter().filter(|path| path.contains("spare"));
    assert_eq!(spares.count(), 2);
    assert_eq!(logs(&disk).len(), 1);
    for n in 0..10u8 {
        store.commit(99, &vec![n; 5000], Urgency::Durable).expect("a sound disk");
    }
    // The file after the rotation holds whole old batches behind the new ones.
    let (_, recovered) = LocalStore::open(store.into_disk().kill(), small()).expect("sound");
    assert_eq!(recovered.lsn, 31);
    assert_eq!(recovered.pieces[&STATE], b"state");
    let effects = recovered.batches.iter().map(|batch| batch.effects[0]);
    assert_eq!(effects.collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
}

#[test]
fn opening_again_and_again_does_not_fill_the_disk() {
    let mut disk = filled(12).into_disk();
    for round in 0..20 {
        disk = disk.kill();
        let (store, recovered) = LocalStore::open(disk.clone(), small()).expect("sound");
        assert_eq!(recovered.batches.len(), 13 + round);
        drop(store);
        assert!(logs(&disk).len() <= 4, "{:?}", disk.paths());
    }
}

#[test]
fn pipelined_commits_become_durable_in_order_across_files() {
    for syncs in 1..=4 {
        become_durable_in_order(syncs);
    }
}

fn become_durable_in_order(syncs: usize) {
    let mut store = filled(0);
    store.set_lane(Lane::Background);
    store.set_syncs_max(syncs);
    let mut before = store.durable();
    for n in 0..40 {
        let lsn = store.commit(n, &[1; 9000], Urgency::Durable).expect("a sound disk");
        assert_eq!(store.written(), lsn);
        store.poll().expect("a sound disk");
        assert!(store.durable() >= before);
        before = store.durable();
        // What is said to be durable is there after a power cut.
        let after = store.disk().cut(n);
        let (_, recovered) = LocalStore::open(after, small()).expect("a torn tail at most");
        assert!(recovered.batches.len() as u64 >= before);
    }
    settle(&mut store);
    assert_eq!(store.durable(), store.written());
}

#[test]
fn too_much_under_way_is_congested_and_too_large_is_refused() {
    let settings = LocalSettings { congested_bytes: 100_000, ..small() };
    let (mut store, _) = LocalStore::open(CrashDisk::new(1), settings).expect("empty");
    store.set_lane(Lane::Background);
    let largest = vec![0; store.batch_bytes_max()];
    store.commit(1, &largest, Urgency::Durable).expect("as large as a file with its header");
    settle(&mut store);
    let before = store.written();
    let error = store
        .commit(1, &[&largest[..], b"+"].concat(), Urgency::Durable)
        .expect_err("larger than a file with its header");
    assert_eq!((error.kind, store.written()), (ErrorKind::Invalid, before));
    while !store.is_congested() {
        store.commit(1, &[0; 8000], Urgency::Written).expect("a sound disk");
    }
    settle(&mut store);
    assert!(!store.is_congested(), "also batches that nobody waits for");
}

#[test]
fn what_may_wait_is_synced_when_it_is_half_of_what_may_be_under_way() {
    let settings = LocalSettings { congested_bytes: 100_000, ..small() };
    let (mut store, _) = LocalStore::open(CrashDisk::new(1), settings).expect("empty");
    let before = store.durable();
    for _ in 0..6 {
        store.commit(1, &[0; 8000], Urgency::Written).expect("a sound disk");
        assert_eq!(store.durable(), before, "nobody waits for it");
    }
    store.commit(1, &[0; 8000], Urgency::Written).expect("a sound disk");
    assert_eq!(store.durable(), store.written(), "seven times 8 KiB are more than half");
}

/// A second of what may wait was synced while the caller stood still.
#[test]
fn what_takes_long_to_sync_is_synced_by_others() {
    let settings = LocalSettings { log_file_bytes: 4 << 20, ..small() };
    for (batches, at_once) in [(3, true), (4, false)] {
        let (mut store, _) = LocalStore::open(CrashDisk::new(1), settings.clone()).expect("empty");
        for _ in 0..batches {
            store.commit(1, &vec![0; 64 << 10], Urgency::Written).expect("a sound disk");
        }
        let end = store.commit(1, &[], Urgency::Durable).expect("a sound disk");
        assert_eq!(store.durable() == end, at_once, "{batches} batches");
        settle(&mut store);
        assert_eq!(store.durable(), end);
    }
}

#[test]
fn log_files_and_spares_have_their_length_from_the_beginning() {
    let (mut store, _) = LocalStore::open(MemoryDisk::new(), small()).expect("a new directory");
    // A spare is made once half of a file is used.
    store.commit(1, &vec![7; 40_000], Urgency::Durable).expect("a sound disk");
    settle(&mut store);
    let disk = store.into_disk();
    let len = |path| disk.bytes(path).map_or(0, <[u8]>::len);
    let (spares, logs): (Vec<_>, Vec<_>) = disk
        .paths()
        .filter(|path| path.starts_with("log/"))
        .partition(|path| path.contains("spare"));
    assert_eq!((spares.len(), logs.len()), (1, 1));
    assert!(spares.into_iter().chain(logs).all(|path| len(path) == 64 << 10));
}
