//! What is damaged, or not there, is said and never served.

use super::*;

/// The refusal of a disk, which must be left as it was.
fn refusal(disk: &CrashDisk) -> Error {
    let before = disk.image();
    let refused = LocalStore::open(disk.clone(), small()).err();
    assert!(disk.image() == before, "nothing was touched");
    refused.expect("refused")
}

#[test]
fn rot_below_the_durable_mark_is_refused_by_name() {
    let disk = filled(30).into_disk().kill();
    let files = logs(&disk);
    assert!(files.len() >= 3, "{files:?}");
    // Batch 5 stands in the first file, behind the mark of the creation and three others.
    let offset = 4096 + 3 * 8192;
    disk.flip(&files[0], offset + 100, 3);
    let error = refusal(&disk);
    assert_eq!(error.kind, ErrorKind::Corrupt);
    let place = format!("{} is damaged at byte {offset}: batch 5", files[0]);
    assert!(error.message.contains(&place), "{error}");
    // The first batch of a later file.
    let disk = filled(30).into_disk().kill();
    disk.flip(&files[1], 20, 0);
    let error = refusal(&disk);
    let place = format!("{} is damaged at byte 0", files[1]);
    assert!(error.message.contains(&place), "{error}");
}

#[test]
fn a_sound_file_of_another_store_breaks_the_chain() {
    let disk = filled(30).into_disk().kill();
    let (mut other, _) = LocalStore::open(CrashDisk::new(1), small()).expect("empty");
    for n in 0..30 {
        other.commit(n, &[77; 5000], Urgency::Durable).expect("a sound disk");
    }
    let other = other.into_disk();
    let file = logs(&disk).remove(1);
    disk.set(&file, other.bytes(&file));
    assert_eq!(refusal(&disk).kind, ErrorKind::Corrupt);
}

#[test]
fn a_damaged_tail_above_the_mark_is_cut_until_idle_closes_the_window() {
    let mut store = filled(3);
    let disk = store.disk().kill();
    let file = logs(&disk).remove(0);
    let last = 4096 + 2 * 8192;
    disk.flip(&file, last + 100, 1);
    let (_, recovered) = LocalStore::open(disk, small()).expect("a torn tail is normal");
    assert_eq!(recovered.batches.len(), 3, "mark and two batches");
    let written = store.written();
    store.idle(3).expect("a sound disk");
    assert_eq!(store.written(), written + 1);
    store.idle(3).expect("a sound disk");
    assert_eq!(store.written(), written + 1, "a mark needs no mark");
    let disk = store.into_disk().kill();
    disk.flip(&file, last + 100, 1);
    assert_eq!(refusal(&disk).kind, ErrorKind::Corrupt);
}

#[test]
fn a_damaged_block_is_never_served() {
    let mut store = filled(1);
    for number in 0..6 {
        store.put_block(5, number, block(5, number)).expect("a sound disk");
    }
    checkpoint(&mut store);
    let disk = store.into_disk().kill();
    let segments: Vec<_> = disk.paths().into_iter().filter(|p| has_end(p, ".seg")).collect();
    assert_eq!(segments.len(), 2, "a pack and a segment");
    for path in &segments {
        disk.flip(path, 60, 2);
    }
    let (mut store, _) = LocalStore::open(disk, small()).expect("blocks are read later");
    for number in 0..6 {
        let damaged = number == 0 || number == 2;
        assert!(store.cached(5, number).is_none());
        let mut fetched = store.fetch(5, number);
        while matches!(fetched, Fetch::Reading) {
            store.wait();
            let progress = store.poll().expect("a damaged block is no failure");
            if progress.fetched.contains(&(5, number)) {
                fetched = store.fetch(5, number);
            }
        }
        assert_eq!(matches!(fetched, Fetch::Corrupt), damaged, "{fetched:?}");
        assert_eq!(matches!(store.fetch_now(5, number), Fetch::Corrupt), damaged);
    }
    let damaged: Vec<_> = store.damaged_blocks().map(|(o, n, _)| (o, n)).collect();
    assert_eq!(damaged, [(5, 0), (5, 2)]);
    assert!(matches!(store.fetch(5, 6), Fetch::Missing));
    store.put_block(5, 2, block(5, 2)).expect("a sound disk");
    assert!(matches!(store.fetch(5, 2), Fetch::Ready(_)), "put again");
}

#[test]
fn a_block_that_the_scrub_could_not_read_is_not_condemned() {
    let mut store = filled(1);
    store.put_block(5, 0, block(5, 0)).expect("a sound disk");
    checkpoint(&mut store);
    let (mut store, _) = LocalStore::open(store.into_disk().kill(), small()).expect("sound");
    let disk = store.disk().clone();
    disk.stop_after(0);
    assert!(store.scrub() > 0, "there is a block to read");
    store.wait();
    disk.stop_after(u64::MAX);
    store.poll().expect("what nobody asked for is no failure");
    assert_eq!((store.scrubbed().errors, store.scrubbed().damaged), (1, Some((5, 0))));
    assert!(matches!(store.fetch_now(5, 0), Fetch::Ready(_)), "the device answers again");
}

#[test]
fn what_is_missing_is_said() {
    let mut store = filled(3);
    store.put_block(5, 0, block(5, 0)).expect("a sound disk");
    checkpoint(&mut store);
    let sound = store.into_disk();
    for path in sound.paths() {
        let disk = sound.kill();
        disk.remove(&path);
        if has_end(&path, ".seg") {
            let (mut store, _) = LocalStore::open(disk, small()).expect("blocks are read later");
            assert!(matches!(store.fetch_now(5, 0), Fetch::Corrupt));
        } else {
            let error = refusal(&disk);
            assert!(error.message.contains(&path), "{path}: {error}");
        }
    }
    let other = LocalSettings { shard: 1, ..small() };
    let error = LocalStore::open(sound.kill(), other).err().expect("refused");
    assert_eq!(error.kind, ErrorKind::Invalid);
}

#[test]
fn no_flipped_bit_is_served() {
    let mut store = filled(3);
    for number in 0..6 {
        store.put_block(5, number, block(5, number)).expect("a sound disk");
    }
    checkpoint(&mut store);
    store.commit(9, b"behind", Urgency::Durable).expect("a sound disk");
    store.idle(9).expect("a sound disk");
    let sound = store.into_disk();
    let mut random = Random::new(11);
    let (mut refused, mut damaged) = (0, 0);
    for round in 0..1000 {
        let disk = sound.kill();
        let mut paths = disk.paths();
        paths.retain(|path| !disk.bytes(path).is_empty());
        let path = &paths[round % paths.len()];
        // Most of a log file is unused: flip where something stands.
        let len = disk.bytes(path).len().min(40_000) as u64;
        disk.flip(path, random.below(len) as usize, random.below(8) as u8);
        let (mut store, recovered) = match LocalStore::open(disk, small()) {
            Ok(opened) => opened,
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Corrupt);
                assert!(error.message.contains(path.as_str()), "{path}: {error}");
                refused += 1;
                continue;
            }
        };
        assert_eq!(recovered.pieces.len(), 1);
        assert_eq!(recovered.pieces[&STATE], b"state");
        assert_eq!(recovered.batches[0].effects, b"behind", "{path}");
        for number in 0..6 {
            match store.fetch_now(5, number) {
                Fetch::Ready(found) => assert_eq!(found.bytes(), block(5, number).bytes()),
                Fetch::Corrupt => damaged += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(refused > 50 && damaged > 50, "{refused} {damaged}");
}
