//! Which blocks share files, and how the space of those that are gone comes back (ADR 24).

use super::*;
use crate::store::local::backup::Backup;

/// The files of blocks.
fn segments(store: &LocalStore<MemoryDisk>) -> Vec<String> {
    let all = store.disk().paths().map(str::to_owned);
    all.filter(|path| path.starts_with("segments/")).collect()
}

#[test]
fn blocks_go_on_in_the_segment_that_was_open() {
    let files_of = |pack_bytes, opens| {
        let settings = LocalSettings { pack_bytes, segment_bytes: 64 << 10, ..small() };
        let (mut store, _) = LocalStore::open(MemoryDisk::new(), settings.clone()).expect("new");
        for number in 0..15 {
            store.put_block(1, number, block(1, number)).expect("a sound disk");
            store.commit(1, b"effects", Urgency::Durable).expect("a sound disk");
            checkpoint(&mut store);
            if opens {
                (store, _) = LocalStore::open(store.into_disk(), settings.clone()).expect("sound");
            }
        }
        segments(&store).len()
    };
    for pack_bytes in [0, 64 << 10] {
        assert_eq!(files_of(pack_bytes, true), files_of(pack_bytes, false));
    }
    assert_eq!(files_of(64 << 10, true), 1, "in a pack");
    assert!((2..15).contains(&files_of(0, true)), "in files that grow with their object");
}

#[test]
fn files_are_no_longer_than_what_lives_of_their_object() {
    let settings = LocalSettings { segment_bytes: 256 << 10, ..small() };
    let (mut store, _) = LocalStore::open(MemoryDisk::new(), settings).expect("new");
    let bytes_on_disk = |store: &LocalStore<MemoryDisk>| {
        let len = |path: &String| store.disk().bytes(path).map_or(0, <[u8]>::len);
        segments(store).iter().map(len).sum::<usize>()
    };
    // Some 8 blocks live, of at most 3,200 bytes each, whatever has gone through.
    for number in 0..200 {
        store.put_block(5, number, block(5, number)).expect("a sound disk");
        store.drop_before(5, number.saturating_sub(7));
        store.commit(1, b"effects", Urgency::Durable).expect("a sound disk");
        if number % 10 == 9 {
            checkpoint(&mut store);
            checkpoint(&mut store);
            let bytes = bytes_on_disk(&store);
            assert!(bytes < 3 * 8 * 3200, "{bytes} behind block {number}");
        }
    }
}

#[test]
fn packs_of_which_little_lives_are_written_anew() {
    const OBJECTS: u64 = 60;
    let settings = LocalSettings { pack_bytes: 64 << 10, cache_bytes: 0, ..small() };
    let (mut store, _) = LocalStore::open(MemoryDisk::new(), settings.clone()).expect("new");
    for object in 1..=OBJECTS {
        store.put_block(object, 0, block(object, 0)).expect("a sound disk");
    }
    store.commit(1, b"effects", Urgency::Durable).expect("a sound disk");
    checkpoint(&mut store);
    let before = segments(&store);
    assert!(before.len() > 4, "several packs: {before:?}");
    let survives = |object: u64| object.is_multiple_of(10);
    for object in (1..=OBJECTS).filter(|object| !survives(*object)) {
        store.drop_object(object);
    }
    store.commit(1, b"effects", Urgency::Durable).expect("a sound disk");
    checkpoint(&mut store);
    settle(&mut store);
    checkpoint(&mut store);
    let after = segments(&store);
    assert!(after.len() <= 2, "the last and the new one: {after:?}");
    let (mut store, _) = LocalStore::open(store.into_disk(), settings).expect("sound");
    for object in 1..=OBJECTS {
        match store.fetch_now(object, 0) {
            Fetch::Ready(found) if survives(object) => {
                assert_eq!(found.bytes(), block(object, 0).bytes());
            }
            Fetch::Missing if !survives(object) => {}
            other => panic!("object {object}: {other:?}"),
        }
    }
}

#[test]
fn packs_whose_end_is_gone_are_written_anew_behind_an_opening() {
    let settings = LocalSettings { pack_bytes: 64 << 10, ..small() };
    let (mut store, _) = LocalStore::open(MemoryDisk::new(), settings.clone()).expect("new");
    for object in 1..=44 {
        store.put_block(object, 0, block(object, 0)).expect("a sound disk");
    }
    // About one at the beginning of each pack stays. An opening does not know how long those are.
    let stays = |object: &u64| object % 11 == 1;
    (1..=44).filter(|object| !stays(object)).for_each(|object| store.drop_object(object));
    store.commit(1, b"effects", Urgency::Durable).expect("a sound disk");
    checkpoint(&mut store);
    let before = segments(&store);
    assert!(before.len() >= 4, "{before:?}");
    let (mut store, _) = LocalStore::open(store.into_disk(), settings).expect("sound");
    settle(&mut store);
    checkpoint(&mut store);
    let after = segments(&store);
    assert_eq!(after.len(), 1, "that which is appended to: {after:?}");
    for object in (1..=44).filter(stays) {
        assert!(matches!(store.fetch_now(object, 0), Fetch::Ready(_)), "object {object}");
    }
}

#[test]
fn on_a_full_disk_a_pack_is_written_anew_where_there_is_room_for_what_lives() {
    let after = |free: u64| {
        let settings = LocalSettings {
            pack_bytes: 64 << 10,
            reserve_bytes: 0,
            headroom_bytes: 64 << 10,
            ..small()
        };
        let (mut store, _) = LocalStore::open(MemoryDisk::new(), settings.clone()).expect("new");
        for object in 1..=20 {
            store.put_block(object, 0, block(object, 0)).expect("a sound disk");
        }
        store.commit(1, b"effects", Urgency::Durable).expect("a sound disk");
        checkpoint(&mut store);
        let before = segments(&store);
        let mut disk = store.into_disk();
        let used: usize = disk.paths().map(|path| disk.bytes(path).map_or(0, <[u8]>::len)).sum();
        // The opening begins a log file.
        disk.set_capacity(Some(used as u64 + settings.log_file_bytes + free));
        let (mut store, _) = LocalStore::open(disk, settings).expect("sound");
        store.look_for_space().expect("a sound disk");
        assert!(store.space().is_full, "{:?}", store.space());
        // Some 7.5 KiB of the first pack stay, and most of the second.
        for object in 5..12 {
            store.drop_object(object);
        }
        settle(&mut store);
        assert!(!store.is_starved());
        checkpoint(&mut store);
        assert!(matches!(store.fetch_now(1, 0), Fetch::Ready(_)));
        before.iter().filter(|path| !segments(&store).contains(path)).count()
    };
    assert_eq!(after(40 << 10), 1);
    assert_eq!(after(14 << 10), 0, "there is no room for a copy");
}

#[test]
fn a_block_that_moved_while_it_was_read_is_read_where_it_is_now() {
    let settings = LocalSettings { pack_bytes: 64 << 10, cache_bytes: 0, ..small() };
    for seed in 0..100 {
        let disk = CrashDisk::new(seed);
        let (mut store, _) = LocalStore::open(disk, settings.clone()).expect("new");
        store.put_block(1, 0, block(1, 0)).expect("a sound disk");
        store.commit(1, b"effects", Urgency::Durable).expect("a sound disk");
        checkpoint(&mut store);
        assert!(matches!(store.fetch(1, 0), Fetch::Reading));
        // The same bytes at another place; perhaps written, and in no cache, before the read ends.
        store.put_block(1, 0, block(1, 0)).expect("a sound disk");
        store.checkpoint_begin().expect("none under way");
        let mut found = 0;
        for _ in 0..200 {
            store.wait();
            if store.poll().expect("a sound disk").fetched.contains(&(1, 0)) {
                assert!(matches!(store.fetch(1, 0), Fetch::Ready(_)), "seed {seed}");
                found += 1;
            }
        }
        assert_eq!(found, 1, "seed {seed}");
    }
}

#[test]
fn a_place_is_written_once_so_that_copies_go_on() {
    let settings = LocalSettings { pack_bytes: 4 << 10, ..small() };
    let mut random = Random::new(7);
    let (mut disk, mut copy) = (MemoryDisk::new(), MemoryDisk::new());
    // The blocks of each object: from, to.
    let mut live: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut next_object = 1;
    for round in 0..200 {
        let (mut store, _) = LocalStore::open(disk, settings.clone()).expect("sound");
        for _ in 0..random.below(20) {
            let new = live.len() < 8 && random.below(2) == 0;
            let at = usize::try_from(random.below(8)).expect("small");
            let Some(object) = live.keys().nth(at).copied().filter(|_| !new) else {
                live.insert(next_object, (0, 0));
                next_object += 1;
                continue;
            };
            let (from, to) = live.get_mut(&object).expect("it is there");
            match random.below(10) {
                0 => {
                    store.drop_object(object);
                    live.remove(&object);
                }
                1 => {
                    *from += random.below(*to - *from + 1);
                    store.drop_before(object, *from);
                }
                _ => {
                    store.put_block(object, *to, block(object, *to)).expect("a sound disk");
                    *to += 1;
                }
            }
        }
        store.commit(1, b"effects", Urgency::Durable).expect("a sound disk");
        checkpoint(&mut store);
        disk = store.into_disk();
        // What the copy names may be long gone.
        if random.below(3) > 0 {
            continue;
        }
        let mut backup = Backup::new(disk.clone(), copy);
        backup.round().unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        copy = backup.into_disks().1;
        let (mut copied, _) = LocalStore::open(copy.clone(), settings.clone()).expect("sound");
        for (object, (from, to)) in &live {
            for number in *from..*to {
                let fetched = copied.fetch_now(*object, number);
                let Fetch::Ready(found) = fetched else {
                    panic!("round {round}, block {number} of {object}: {fetched:?}");
                };
                assert_eq!(found.bytes(), block(*object, number).bytes());
            }
        }
    }
}

#[test]
fn in_a_file_of_one_object_the_last_block_goes_last() {
    let settings = LocalSettings { pack_bytes: 4 << 10, ..small() };
    let (mut store, _) = LocalStore::open(MemoryDisk::new(), settings.clone()).expect("new");
    for number in 0..6 {
        store.put_block(1, number, block(1, number)).expect("a sound disk");
    }
    for object in 10..40 {
        store.put_block(object, 0, block(object, 0)).expect("a sound disk");
    }
    let files = |store: &LocalStore<MemoryDisk>| {
        let (packs, own): (Vec<_>, Vec<_>) =
            segments(store).into_iter().partition(|path| path.contains("pack"));
        (packs.len(), own.len())
    };
    assert_eq!(files(&store).1, 1, "the object has a file of its own");
    (10..40).for_each(|object| store.drop_object(object));
    store.commit(1, b"effects", Urgency::Durable).expect("a sound disk");
    // What stood in a pack has moved, and is named where it is.
    checkpoint(&mut store);
    checkpoint(&mut store);
    assert_eq!(files(&store), (1, 1));
    let mut disk = store.into_disk();
    let mut backup = Backup::new(disk.clone(), MemoryDisk::new());
    backup.round().expect("a first copy");
    let (_, copy) = backup.into_disks();
    for number in 6..9 {
        let (mut store, _) = LocalStore::open(disk, settings.clone()).expect("sound");
        store.drop_before(1, 4);
        store.put_block(1, number, block(1, number)).expect("a sound disk");
        store.commit(1, b"effects", Urgency::Durable).expect("a sound disk");
        checkpoint(&mut store);
        disk = store.into_disk();
    }
    let mut backup = Backup::new(disk, copy);
    backup.round().expect("nothing that was copied has other bytes");
    let (_, copy) = backup.into_disks();
    let (mut copied, _) = LocalStore::open(copy, settings).expect("sound");
    assert!((4..9).all(|number| matches!(copied.fetch_now(1, number), Fetch::Ready(_))));
}

#[test]
fn where_files_are_lacking_one_is_closed_before_another_is_opened() {
    const OBJECTS: u64 = 40;
    // Beyond what was open before: the log, and what else does not depend on the segments.
    let opened = |most: Option<usize>| {
        let settings =
            LocalSettings { pack_bytes: 0, cache_bytes: 0, open_files_max: 1_000, ..small() };
        let (mut store, _) = LocalStore::open(MemoryDisk::new(), settings.clone()).expect("new");
        for object in 1..=OBJECTS {
            store.put_block(object, 0, block(object, 0)).expect("a sound disk");
        }
        store.commit(1, b"effects", Urgency::Durable).expect("a sound disk");
        checkpoint(&mut store);
        let mut disk = store.into_disk();
        let before = disk.open_files();
        disk.set_open_max(most.map(|most| before + most));
        let (mut store, _) = LocalStore::open(disk, settings).expect("sound");
        for object in 1..=OBJECTS {
            assert!(matches!(store.fetch_now(object, 0), Fetch::Ready(_)), "object {object}");
        }
        store.disk().open_files() - before
    };
    assert!(opened(None) >= 40);
    assert!(opened(Some(12)) <= 13);
}

#[test]
fn reads_wait_for_files_that_others_hold() {
    const OBJECTS: u64 = 20;
    for seed in 0..20 {
        let settings =
            LocalSettings { pack_bytes: 0, cache_bytes: 0, open_files_max: 1_000, ..small() };
        let disk = CrashDisk::new(seed);
        let (mut store, _) = LocalStore::open(disk.clone(), settings.clone()).expect("new");
        for object in 1..=OBJECTS {
            store.put_block(object, 0, block(object, 0)).expect("a sound disk");
        }
        store.commit(1, b"effects", Urgency::Durable).expect("a sound disk");
        checkpoint(&mut store);
        let (mut store, _) = LocalStore::open(disk.kill(), settings).expect("sound");
        let others = store.disk().files();
        store.disk().set_files_max(others + 3);
        // All at once: a file that is closed stays open for the read of it that is under way.
        for object in 1..=OBJECTS {
            assert!(matches!(store.fetch(object, 0), Fetch::Reading), "object {object}");
        }
        let mut fetched = 0;
        while fetched < OBJECTS {
            store.wait();
            for (object, number) in store.poll().expect("a sound disk").fetched {
                let found = store.fetch(object, number);
                assert!(matches!(found, Fetch::Ready(_)), "object {object}: {found:?}");
                fetched += 1;
            }
        }
    }
}

#[test]
fn what_is_dropped_stays_readable_for_those_who_hold_it() {
    for (pack_bytes, cache_bytes) in [(0, 0), (0, 1 << 20), (1 << 20, 0), (1 << 20, 1 << 20)] {
        let settings = LocalSettings { pack_bytes, cache_bytes, ..small() };
        let (mut store, _) = LocalStore::open(MemoryDisk::new(), settings.clone()).expect("new");
        for (object, number) in [(1, 0), (1, 1), (1, 2), (2, 0)] {
            store.put_block(object, number, block(object, number)).expect("a sound disk");
        }
        store.commit(1, b"effects", Urgency::Durable).expect("a sound disk");
        checkpoint(&mut store);
        for object in [1, 1, 2] {
            store.hold(object);
        }
        store.drop_before(1, 2);
        store.drop_object(2);
        store.drop_object(1);
        checkpoint(&mut store);
        checkpoint(&mut store);
        let readable = |store: &mut LocalStore<MemoryDisk>| {
            [(1, 0), (1, 1), (1, 2), (2, 0)].map(|(object, number)| {
                match store.fetch_now(object, number) {
                    Fetch::Ready(found) => found.bytes() == block(object, number).bytes(),
                    Fetch::Missing => false,
                    other => panic!("{other:?}"),
                }
            })
        };
        assert_eq!(readable(&mut store), [true; 4]);
        store.let_go(1);
        assert_eq!(readable(&mut store), [true; 4], "one of two");
        store.let_go(1);
        assert_eq!(readable(&mut store), [false, false, false, true]);
        // Nothing of it is in a checkpoint, and its space comes back.
        let (mut reopened, _) =
            LocalStore::open(store.disk().clone(), settings.clone()).expect("sound");
        assert_eq!(readable(&mut reopened), [false; 4]);
        assert_eq!(segments(&reopened), [""; 0]);
        store.let_go(2);
        checkpoint(&mut store);
        assert_eq!(segments(&store), [""; 0]);
    }
}
