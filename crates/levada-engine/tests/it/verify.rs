//! Data directories with damage in every part of them: what is told, what is kept.

use levada_core::{
    command::{Command, Key, Mset, ReadMost, SetExpiry, Xreadgroup},
    error::Error as Refused,
    id::StreamId,
    reply::Reply,
};
use levada_engine::{
    ErrorKind,
    clock::Now,
    disk::{Disk as _, file::FileDisk, memory::MemoryDisk},
    store::{
        Store as _,
        local::{
            LocalSettings,
            verify::{Damage, Remedy, Report, repair, verify},
        },
    },
};

use super::copies::{Local, NOW, SOURCE, add, entries, fill, open, pending, reply, run};

const OTHER: Key<'_> = Key { database: 1, name: b"other" };
const TEXT: Key<'_> = Key { database: 0, name: b"text" };

/// Two streams of several blocks, a group, a string, a checkpoint, and batches behind it.
fn filled() -> MemoryDisk {
    let mut shard = open(MemoryDisk::new());
    fill(&mut shard);
    for n in 0..200_u32 {
        add(&mut shard, OTHER, format!("{n:0700}").as_bytes());
    }
    set(&mut shard, b"before");
    shard.commit(NOW).expect("a sound disk");
    shard.checkpoint_now().expect("a sound disk");
    add(&mut shard, OTHER, b"behind");
    add(&mut shard, SOURCE, b"behind");
    set(&mut shard, b"after");
    rest(shard)
}

fn set(shard: &mut Local, value: &[u8]) {
    reply(
        shard,
        &Command::Mset(Mset { pairs: vec![(TEXT, value)], exists: None, expiry: SetExpiry::Clear }),
    );
    shard.commit(NOW).expect("a sound disk");
}

/// Ends without a checkpoint, when the last batch is marked durable.
fn rest(mut shard: Local) -> MemoryDisk {
    shard.store_mut().idle(NOW.wall_ms).expect("a sound disk");
    shard.into_store().into_disk()
}

fn look(disk: &MemoryDisk) -> Report {
    verify(disk.clone()).expect("a data directory")
}

fn repaired(disk: &MemoryDisk) -> (Report, MemoryDisk) {
    let settings = LocalSettings { log_file_bytes: 32 << 20, ..LocalSettings::default() };
    let (report, disk) = repair(disk.clone(), &settings).expect("it can be written");
    assert!(report.is_beyond_repair() || look(&disk).is_sound(), "{report:?}");
    (report, disk)
}

fn file(disk: &MemoryDisk, prefix: &str) -> String {
    disk.paths().find(|path| path.starts_with(prefix)).expect("there is one").to_owned()
}

/// What a client can see.
fn state(disk: &MemoryDisk) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut shard = open(disk.clone());
    let texts = reply(&mut shard, &Command::Get(TEXT));
    let of = (entries(&mut shard, SOURCE), entries(&mut shard, OTHER));
    (of, pending(&mut shard, SOURCE), texts)
}

fn only(report: &Report) -> &Damage {
    match report.damage.as_slice() {
        [damage] => damage,
        other => panic!("one thing is damaged: {other:#?}"),
    }
}

fn keys(damage: &Damage) -> Vec<(u8, &[u8])> {
    let name = |touched: &levada_engine::store::local::verify::Touched| touched.database;
    let key = |touched| (name(touched), touched.key.as_deref().expect("it is known"));
    damage.touches.iter().map(key).collect()
}

#[test]
fn a_sound_directory_is_counted() {
    let disk = filled();
    let report = look(&disk);
    assert!(report.is_sound(), "{report:#?}");
    let checked = report.checked;
    assert_eq!((checked.streams, checked.strings, checked.entries), (2, 1, 452));
    assert_eq!((checked.groups, checked.pending), (1, 150));
    assert!(checked.blocks >= 4 && checked.batches >= 3, "{checked:?}");
}

#[test]
fn a_lost_block_takes_its_entries_and_nothing_else() {
    let mut disk = filled();
    let path = file(&disk, "segments/");
    let before = {
        let mut shard = open(disk.clone());
        (entries(&mut shard, SOURCE), entries(&mut shard, OTHER), pending(&mut shard, SOURCE))
    };
    disk.bytes_mut(&path).expect("there")[5000..9000].fill(0);
    let report = look(&disk);
    let damage = only(&report);
    assert_eq!((damage.remedy, damage.place.path.as_str()), (Remedy::Drop, path.as_str()));
    assert_eq!(keys(damage), [(0, b"s".as_slice())]);
    let (first, last) = damage.touches[0].ids.expect("a stream");

    let mut shard = open(disk.clone());
    let refused = run(&mut shard, &next()).result;
    assert_eq!(refused.map(|_| ()), Ok(()), "the group is behind the block");
    assert!(matches!(
        run(&mut shard, &range(first)).result,
        Err(Refused::Corrupt { first: from, last: to, .. }) if (from, to) == (first, last)
    ));

    let (report, disk) = repaired(&disk);
    assert_eq!(only(&report).touches[0].entries, Some(lost(&before.0, first, last)));
    let mut shard = open(disk);
    let mut kept = before.0;
    kept.retain(|entry| entry.id < first || entry.id > last);
    assert_eq!(entries(&mut shard, SOURCE), kept);
    assert_eq!(entries(&mut shard, OTHER), before.1);
    assert_eq!(pending(&mut shard, SOURCE), before.2, "as after XDEL");
}

fn lost(entries: &[levada_engine::shard::Entry], first: StreamId, last: StreamId) -> u64 {
    entries.iter().filter(|entry| entry.id >= first && entry.id <= last).count() as u64
}

fn range(id: StreamId) -> Command<'static> {
    // A bound within the block, so that the block has to be there.
    let first = id.next().expect("not the last");
    let (reverse, count) = (false, Some(1));
    let range =
        levada_core::command::Xrange { key: SOURCE, first, last: StreamId::MAX, reverse, count };
    Command::Xrange(range)
}

fn next() -> Command<'static> {
    Command::Xreadgroup(Xreadgroup {
        group: b"g",
        consumer: b"c",
        count: Some(1),
        most: ReadMost::default(),
        no_ack: false,
        claim_idle_ms: None,
        streams: vec![(SOURCE, None)],
    })
}

#[test]
fn a_group_stalls_at_damage_until_the_loss_is_accepted() {
    let mut disk = filled();
    let path = file(&disk, "segments/");
    // The second block of the stream, in which the group stands.
    disk.bytes_mut(&path).expect("there")[70_000..70_100].fill(0);
    let damaged = look(&disk);
    let (first, last) = only(&damaged).touches[0].ids.expect("a stream");
    let mut shard = open(disk.clone());
    for _ in 0..3 {
        let refused = run(&mut shard, &next()).result.expect_err("never skipped");
        assert!(matches!(refused, Refused::Corrupt { .. }), "{refused:?}");
    }
    assert_eq!(entries(&mut shard, OTHER).len(), 201, "others are served");
    let (_, disk) = repaired(&disk);
    let mut shard = open(disk);
    match reply(&mut shard, &next()) {
        Reply::Streams(streams) => {
            let delivered = shard.entries(&streams[0].1).expect("sound blocks");
            assert!(delivered[0].id > last && first < last, "{delivered:?}");
        }
        other => panic!("nothing was delivered: {other:?}"),
    }
}

#[test]
fn the_scrub_finds_damage_before_a_reader_does() {
    let mut disk = filled();
    let path = file(&disk, "segments/");
    let mut shard = open(disk.clone());
    let turn = |shard: &mut Local, turns: u64| {
        for n in 0..turns {
            let now = Now { wall_ms: NOW.wall_ms, monotonic_us: NOW.monotonic_us + n * 10_000 };
            shard.poll(now).expect("a sound disk");
        }
    };
    turn(&mut shard, 100);
    let facts = shard.facts();
    assert!(facts.scrubbed.passes >= 1 && facts.scrubbed_at_ms == Some(NOW.wall_ms), "{facts:?}");
    assert_eq!((facts.scrubbed.errors, shard.found_damaged()), (0, None));
    // A second of a mebibyte: no more than that was read, and what a rest lets come together.
    let read = facts.scrubbed.blocks * (64 << 10);
    assert!(read <= (1 << 20) + (512 << 10), "{read}");

    disk.bytes_mut(&path).expect("there")[70_000..70_100].fill(0);
    let told = look(&disk);
    let (first, last) = only(&told).touches[0].ids.expect("a stream");
    let mut shard = open(disk);
    turn(&mut shard, 100);
    let expected = Refused::Corrupt { key: b"s".to_vec(), first, last };
    assert_eq!(shard.found_damaged(), Some(expected));
    assert_eq!(shard.found_damaged(), None, "told once");
    assert_eq!(shard.facts().scrubbed.errors, 1);
    assert_eq!(entries(&mut shard, OTHER).len(), 201, "others are served");
}

#[test]
fn a_missing_segment_loses_what_stood_in_it() {
    let mut disk = filled();
    let path = file(&disk, "segments/");
    disk.unlink(&path).expect("there");
    let report = look(&disk);
    assert!(report.damage.len() >= 4, "{report:#?}");
    assert!(report.damage.iter().all(|damage| damage.remedy == Remedy::Drop));
    let (_, disk) = repaired(&disk);
    let mut shard = open(disk);
    let left = entries(&mut shard, OTHER);
    assert!(!left.is_empty() && left.len() < 201, "the tail is left: {}", left.len());
}

#[test]
fn a_flipped_bit_is_flipped_back_wherever_it_is() {
    let disk = filled();
    let whole = state(&disk);
    for (prefix, offset) in [("segments/", 70_000), ("segments/", 3), ("checkpoint/", 5)] {
        for bit in 0..8 {
            let mut damaged = disk.clone();
            let path = file(&disk, prefix);
            damaged.bytes_mut(&path).expect("there")[offset] ^= 1 << bit;
            let (report, mended) = repaired(&damaged);
            assert_eq!(only(&report).remedy, Remedy::Mend, "{prefix} {offset} {bit}");
            assert_eq!(state(&mended), whole, "{prefix} {offset} {bit}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_checkpoint_is_told_by_ids_that_exist() {
    let disk = filled();
    let path = file(&disk, "checkpoint/");
    let len = disk.bytes(&path).expect("there").len();
    let mut wholes = 0;
    for offset in (0..len).step_by(len / 50) {
        let mut damaged = disk.clone();
        damaged.bytes_mut(&path).expect("there")[offset] ^= 1;
        for damage in look(&damaged).damage {
            for (first, last) in damage.touches.iter().filter_map(|touched| touched.ids) {
                assert!(last > StreamId::MIN && first <= last, "{offset}: {first} to {last}");
                wholes += usize::from(first == StreamId::MIN);
            }
        }
    }
    assert!(wholes > 0, "a piece of a stream that is not its newest block was hit");
}

/// The file in which the log ends: numbers grow, and spares stand behind in the order of names.
fn last_log(disk: &MemoryDisk) -> String {
    let logs = disk.paths().filter(|path| path.starts_with("log/0"));
    logs.last().expect("a log").to_owned()
}

/// Offsets of the batches behind the checkpoint, in the last file: its first bytes tell.
fn batches(disk: &MemoryDisk, path: &str) -> Vec<usize> {
    let bytes = disk.bytes(path).expect("there");
    (0..bytes.len()).step_by(4096).filter(|at| bytes[*at..].starts_with(b"LVB1")).collect()
}

#[test]
fn a_flipped_bit_of_a_batch_is_flipped_back() {
    let disk = filled();
    let whole = state(&disk);
    let path = last_log(&disk);
    let places = batches(&disk, &path);
    // Two batches with effects and the mark stand behind.
    let batch = places[places.len() - 4];
    for byte in [0, 5, 9, 13, 33, 60] {
        let mut damaged = disk.clone();
        damaged.bytes_mut(&path).expect("there")[batch + byte] ^= 4;
        let (report, mended) = repaired(&damaged);
        let damage = only(&report);
        assert_eq!(damage.remedy, Remedy::Mend, "{byte}");
        assert_eq!(damage.place.offset, batch as u64);
        assert_eq!(keys(damage), [(1, b"other".as_slice())], "{byte}");
        let ids = damage.touches[0].ids.expect("a stream");
        assert_eq!(ids.0, ids.1, "one entry was added");
        assert_eq!(state(&mended), whole, "{byte}");
    }
}

#[test]
fn a_log_is_cut_before_what_cannot_be_mended() {
    let disk = filled();
    let path = last_log(&disk);
    let places = batches(&disk, &path);
    let mut damaged = disk.clone();
    let batch = places[places.len() - 3];
    damaged.bytes_mut(&path).expect("there")[batch..batch + 64].fill(7);
    let (report, cut) = repaired(&damaged);
    let damage = only(&report);
    assert_eq!(damage.remedy, Remedy::Cut);
    // The addition to `s` is the damaged batch itself; what stood behind is known.
    assert_eq!(keys(damage), [(0, b"text".as_slice())]);
    let mut shard = open(cut);
    let others = entries(&mut shard, OTHER);
    assert_eq!(others.len(), 201, "what stood before the damage is kept");
    assert_eq!(entries(&mut shard, SOURCE).len(), 250);
    assert_eq!(reply(&mut shard, &Command::Get(TEXT)), Reply::Bytes(b"before".as_slice().into()));
    add(&mut shard, SOURCE, b"and on");
    assert!(look(&rest(shard)).is_sound());
}

#[test]
fn either_copy_of_the_manifest_does() {
    let disk = filled();
    let whole = state(&disk);
    for offset in [40, 4096 + 40] {
        let mut damaged = disk.clone();
        damaged.bytes_mut("manifest").expect("there")[offset..offset + 20].fill(0xff);
        assert_eq!(state(&damaged), whole);
        let (report, mended) = repaired(&damaged);
        assert_eq!(only(&report).remedy, Remedy::Copy);
        assert_eq!(state(&mended), whole);
    }
    let mut damaged = disk.clone();
    damaged.bytes_mut("manifest").expect("there").fill(0);
    let (report, unchanged) = repaired(&damaged);
    assert!(report.is_beyond_repair());
    assert!(unchanged.paths().eq(damaged.paths()));
}

#[test]
fn a_checkpoint_that_cannot_be_mended_is_left_as_it_is() {
    let mut disk = filled();
    let path = file(&disk, "checkpoint/");
    disk.bytes_mut(&path).expect("there")[1000..2000].fill(7);
    let (report, after) = repaired(&disk);
    assert!(report.is_beyond_repair(), "{report:#?}");
    assert!(after.paths().all(|path| after.bytes(path) == disk.bytes(path)));
}

#[test]
fn a_directory_is_only_read() {
    let directory = std::env::temp_dir().join(format!("levada-verify-{}", std::process::id()));
    let image = filled();
    for path in image.paths() {
        let to = directory.join(path);
        std::fs::create_dir_all(to.parent().expect("within")).expect("a directory");
        std::fs::write(to, image.bytes(path).expect("there")).expect("written");
    }
    let listed = || {
        let mut names: Vec<_> = ["", "log", "segments", "checkpoint"]
            .iter()
            .flat_map(|name| std::fs::read_dir(directory.join(name)).expect("there"))
            .map(|entry| entry.expect("read"))
            .map(|entry| (entry.path(), entry.metadata().expect("read").modified().expect("kept")))
            .collect();
        names.sort();
        names
    };
    let before = listed();
    let report = verify(FileDisk::open_to_read(&directory).expect("there")).expect("data");
    assert_eq!(report, look(&image));
    assert_eq!(listed(), before);
    let writer = FileDisk::open(&directory).expect("nobody has it");
    let busy = FileDisk::open_to_read(&directory).expect_err("somebody has it");
    assert_eq!(busy.kind, ErrorKind::Busy);
    drop(writer);
    let readers = [FileDisk::open_to_read(&directory), FileDisk::open_to_read(&directory)];
    assert!(readers.iter().all(Result::is_ok), "readers do not keep each other out");
    std::fs::remove_dir_all(&directory).expect("ours");
}
