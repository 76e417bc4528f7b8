//! Copies of a data directory, made while it changes.

use std::io;

use levada_core::{
    command::{Command, Key, XgroupCreate},
    id::StreamId,
    reply::Reply,
};
use levada_engine::{
    ErrorKind,
    disk::{Completion, Disk, FileId, Lane, Open, Operation, Ticket, memory::MemoryDisk},
    store::local::{
        backup::{Backup, Round},
        verify::verify,
    },
};

use super::copies::{Local, NOW, SOURCE, add, entries, fill, open, pending, reply};

const OTHER: Key<'_> = Key { database: 1, name: b"other" };

/// A directory that another process changes: what it was after each step of that process. Each
/// access may find it some steps further.
struct Moving {
    images: Vec<MemoryDisk>,
    at: usize,
    /// So many accesses find the same image.
    pace: u64,
    accesses: u64,
    open: Vec<String>,
}

impl Moving {
    fn new(images: Vec<MemoryDisk>, pace: u64) -> Self {
        Self { images, at: 0, pace, accesses: 0, open: Vec::new() }
    }

    fn go_on(&mut self) -> &MemoryDisk {
        self.accesses += 1;
        if self.accesses.is_multiple_of(self.pace) {
            self.at = (self.at + 1).min(self.images.len() - 1);
        }
        &self.images[self.at]
    }

    /// A file that is open outlives its name.
    fn bytes(&self, file: FileId) -> &[u8] {
        let path = &self.open[file.0 as usize];
        let mut images = self.images[..=self.at].iter().rev();
        images.find_map(|image| image.bytes(path)).expect("it was there when it was opened")
    }
}

impl Disk for Moving {
    fn open(&mut self, path: &str, how: Open) -> io::Result<FileId> {
        assert_eq!(how, Open::Existing, "nothing is changed");
        if self.go_on().bytes(path).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.open.push(path.to_owned());
        Ok(FileId(u32::try_from(self.open.len() - 1).expect("few files")))
    }

    fn close(&mut self, _file: FileId) {}

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        self.go_on();
        Ok(self.bytes(file).len() as u64)
    }

    fn set_len(&mut self, _file: FileId, _len: u64) -> io::Result<()> {
        panic!("nothing is changed")
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.go_on();
        let offset = usize::try_from(offset).expect("it is in memory");
        let bytes = self.bytes(file).get(offset..).unwrap_or(&[]);
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn submit(&mut self, _operation: Operation, _lane: Lane) -> Ticket {
        panic!("nothing is changed")
    }

    fn poll_completed(&mut self) -> Option<Completion> {
        None
    }

    fn wait_completed(&mut self) {}

    fn list(&mut self, directory: &str) -> io::Result<Vec<String>> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let names = self.go_on().paths().filter_map(|path| path.strip_prefix(&*prefix));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn sync_directory(&mut self, _directory: &str) -> io::Result<()> {
        panic!("nothing is changed")
    }

    fn rename(&mut self, _from: &str, _to: &str) -> io::Result<()> {
        panic!("nothing is changed")
    }

    fn unlink(&mut self, _path: &str) -> io::Result<()> {
        panic!("nothing is changed")
    }

    fn free_space(&mut self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

fn image(shard: &Local) -> MemoryDisk {
    shard.store().disk().clone()
}

/// What a client can see of the two streams: their lengths, and what is pending.
type State = (Reply, Reply, Reply);

fn state_of(shard: &mut Local) -> State {
    let length = |shard: &mut Local, key| reply(shard, &Command::Xlen(key));
    (length(shard, SOURCE), length(shard, OTHER), pending(shard, SOURCE))
}

/// The same of a directory, all of whose entries can be read.
fn state(disk: &MemoryDisk) -> State {
    let mut shard = open(disk.clone());
    let state = state_of(&mut shard);
    for (key, length) in [(SOURCE, &state.0), (OTHER, &state.1)] {
        let read = i64::try_from(entries(&mut shard, key).len()).expect("few");
        assert_eq!(Reply::Integer(read), *length);
    }
    state
}

fn count(length: &Reply) -> i64 {
    match length {
        Reply::Integer(count) => *count,
        other => panic!("no count: {other:?}"),
    }
}

/// A process that fills two streams, with a checkpoint now and then, and removes one of them.
fn history(steps: u32) -> (Vec<MemoryDisk>, Vec<State>) {
    let mut shard = open(MemoryDisk::new());
    fill(&mut shard);
    let (mut images, mut states) = (vec![image(&shard)], vec![state_of(&mut shard)]);
    for n in 0..steps {
        add(&mut shard, OTHER, format!("{n:0700}").as_bytes());
        if n % 3 == 0 {
            add(&mut shard, SOURCE, format!("{n:0900}").as_bytes());
        }
        match n % 160 {
            40 | 90 | 130 => shard.checkpoint_now().expect("a sound disk"),
            159 => drop(reply(&mut shard, &Command::Del(vec![OTHER]))),
            _ => {}
        }
        shard.commit(NOW).expect("a sound disk");
        images.push(image(&shard));
        states.push(state_of(&mut shard));
    }
    (images, states)
}

fn copied<S: Disk>(backup: &mut Backup<S, MemoryDisk>) -> Round {
    backup.round().expect("two sound disks")
}

#[test]
fn a_copy_is_what_a_kill_would_have_left() {
    let shard = {
        let mut shard = open(MemoryDisk::new());
        fill(&mut shard);
        shard.checkpoint_now().expect("a sound disk");
        add(&mut shard, SOURCE, b"behind");
        shard
    };
    let source = image(&shard);
    let mut backup = Backup::new(source.clone(), MemoryDisk::new());
    let first = copied(&mut backup);
    assert!(first.blocks > 0 && first.batches > 0, "{first:?}");
    let again = copied(&mut backup);
    assert_eq!((again.blocks, again.batches, again.bytes), (0, 0, 0), "nothing is new");
    assert_eq!(again.lsn, first.lsn);
    let (_, copy) = backup.into_disks();
    assert!(verify(copy.clone()).expect("a data directory").is_sound());
    assert_eq!(state(&copy), state(&source));
    // Another process goes on where that one ended: blocks are compared, not written again.
    let mut backup = Backup::new(source, copy);
    assert_eq!(copied(&mut backup).blocks, 0);
}

#[test]
fn copies_made_while_it_changes_are_states_that_it_had() {
    let (images, states) = history(200);
    for (pace, rounds) in [(1, 4), (2, 4), (7, 8), (40, 8)] {
        let moving = Moving::new(images.clone(), pace);
        let mut backup = Backup::new(moving, MemoryDisk::new());
        let mut told = 0;
        for _ in 0..rounds {
            let Ok(round) = backup.round() else {
                continue;
            };
            assert!(round.lsn >= told, "a copy does not go back");
            told = round.lsn;
            let (moving, copy) = backup.into_disks();
            let report = verify(copy.clone()).expect("a data directory");
            assert!(report.is_sound(), "pace {pace}: {report:#?}");
            let had = state(&copy);
            let now = moving.at;
            assert!(states[..=now].contains(&had), "pace {pace}, step {now}");
            backup = Backup::new(moving, copy);
        }
        assert!(told > 0, "pace {pace}: no round came to its end");
    }
}

#[test]
fn a_round_has_all_that_was_there_when_it_began() {
    let (images, states) = history(200);
    let moving = Moving::new(images.clone(), 3);
    let mut backup = Backup::new(moving, MemoryDisk::new());
    loop {
        let (moving, copy) = backup.into_disks();
        let before = moving.at;
        backup = Backup::new(moving, copy);
        copied(&mut backup);
        let (moving, copy) = backup.into_disks();
        let (had, least) = (state(&copy), &states[before]);
        assert!(count(&had.0) >= count(&least.0), "step {before}");
        if before + 1 == images.len() {
            assert_eq!(had, *least);
            break;
        }
        backup = Backup::new(moving, copy);
    }
}

#[test]
fn a_round_that_ends_early_leaves_the_copy_before() {
    let (images, _) = history(150);
    let (_, copy) = {
        let mut backup = Backup::new(images[30].clone(), MemoryDisk::new());
        copied(&mut backup);
        backup.into_disks()
    };
    let before = state(&copy);
    // The disk of the copy is full after more and more bytes.
    let held: usize = copy.paths().map(|path| copy.bytes(path).map_or(0, <[u8]>::len)).sum();
    let mut failed = 0;
    for room in (0..400_000).step_by(30_000) {
        let mut full = copy.clone();
        full.set_capacity(Some((held + room) as u64));
        let mut backup = Backup::new(images[150].clone(), full);
        let ended = backup.round();
        let (_, mut copy) = backup.into_disks();
        copy.set_capacity(None);
        match ended {
            Ok(_) => assert_eq!(state(&copy), state(&images[150])),
            Err(error) => {
                failed += 1;
                assert!(verify(copy.clone()).expect("a directory").is_sound(), "{error}");
                let left = state(&copy);
                assert!(count(&left.0) >= count(&before.0), "room for {room}: {error}");
                let mut backup = Backup::new(images[150].clone(), copy);
                copied(&mut backup);
                assert_eq!(state(&backup.into_disks().1), state(&images[150]));
            }
        }
    }
    assert!(failed > 1, "{failed} rounds had no room");
}

#[test]
fn a_copy_of_another_directory_is_refused_and_left_alone() {
    let (images, _) = history(100);
    let mut other = open(MemoryDisk::new());
    for n in 0..300_u32 {
        add(&mut other, OTHER, format!("other {n:0700}").as_bytes());
    }
    let (group, create_stream, entries_read) = (b"g", true, None);
    let id = Some(StreamId::MIN);
    let create = XgroupCreate { key: SOURCE, group, id, create_stream, entries_read };
    reply(&mut other, &Command::XgroupCreate(create));
    other.commit(NOW).expect("a sound disk");
    other.checkpoint_now().expect("a sound disk");
    let mut backup = Backup::new(images[100].clone(), MemoryDisk::new());
    copied(&mut backup);
    let (_, copy) = backup.into_disks();
    let before = state(&copy);
    let mut backup = Backup::new(image(&other), copy);
    let error = backup.round().expect_err("another directory");
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    assert_eq!(state(&backup.into_disks().1), before);
    // An earlier state of the same directory would take back what the copy has.
    let mut backup = Backup::new(images[100].clone(), MemoryDisk::new());
    copied(&mut backup);
    let (_, copy) = backup.into_disks();
    let error = Backup::new(images[20].clone(), copy).round().expect_err("it is older");
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
}

#[test]
fn damage_is_not_copied() {
    let mut source = history(100).0.pop().expect("images");
    let path = source.paths().find(|path| path.starts_with("segments/")).map(str::to_owned);
    let path = path.expect("a segment file");
    source.bytes_mut(&path).expect("there")[5000] ^= 1;
    let error = Backup::new(source, MemoryDisk::new()).round().expect_err("it is damaged");
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.message.contains(&path), "{error}");
    let nothing = Backup::new(MemoryDisk::new(), MemoryDisk::new()).round();
    assert_eq!(nothing.expect_err("nothing").kind, ErrorKind::NotFound);
}

#[test]
fn a_copy_goes_on_behind_a_restart_of_its_source() {
    let (images, _) = history(60);
    let mut backup = Backup::new(images[60].clone(), MemoryDisk::new());
    copied(&mut backup);
    let (source, copy) = backup.into_disks();
    let mut shard = open(source);
    for n in 0..40_u32 {
        add(&mut shard, OTHER, format!("{n:0700}").as_bytes());
    }
    let mut backup = Backup::new(image(&shard), copy);
    copied(&mut backup);
    assert_eq!(state(&backup.into_disks().1), state(&image(&shard)));
}
