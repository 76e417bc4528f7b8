//! A disk that is full: what needs space is refused, everything else goes on.

use levada_core::{
    command::{
        Command, Key, NewId, ReadMost, References, Trim, TrimKeep, Xadd, XgroupCreate, Xreadgroup,
    },
    error::Error as Refused,
    fields::Fields,
    id::StreamId,
    reply::Reply,
};
use levada_engine::{
    clock::Now,
    disk::{Disk as _, Lane, Open, Operation, memory::MemoryDisk},
    shard::{ClientId, Outcome, Shard, ShardSettings},
    store::local::{LocalSettings, LocalStore, verify::verify},
};

const KEY: Key<'_> = Key { database: 0, name: b"orders" };
const GROUP: &[u8] = b"billing";
const CAPACITY: u64 = 3 << 20;

fn settings() -> LocalSettings {
    LocalSettings {
        log_file_bytes: 256 << 10,
        segment_bytes: 256 << 10,
        cache_bytes: 0,
        reserve_bytes: 512 << 10,
        headroom_bytes: 256 << 10,
        ..LocalSettings::default()
    }
}

/// An engine in a process whose time goes on by ten milliseconds a turn.
struct Process {
    shard: Shard<LocalStore<MemoryDisk>>,
    turn: u64,
}

impl Process {
    fn open(disk: MemoryDisk) -> Self {
        let (store, recovered) = LocalStore::open(disk, settings()).expect("it opens");
        let shard = Shard::recover(store, recovered, ShardSettings::default(), 1);
        let mut process = Self { shard: shard.expect("sound pieces"), turn: 0 };
        process.end_turn();
        process
    }

    fn now(&self) -> Now {
        Now { wall_ms: 1_000_000 + self.turn * 10, monotonic_us: self.turn * 10_000 }
    }

    fn end_turn(&mut self) {
        self.turn += 1;
        let now = self.now();
        self.shard.commit(now).expect("a full disk is no failure");
        self.shard.poll(now).expect("a full disk is no failure");
    }

    fn ask(&mut self, command: &Command<'_>) -> Result<Reply, Refused> {
        for _ in 0..1000 {
            let now = self.now();
            let outcome = self.shard.execute(now, ClientId(1), command);
            self.end_turn();
            while self.shard.poll_event().is_some() {}
            if let Outcome::Done(answer) = outcome {
                assert!(self.shard.is_over(answer.wait), "memory is durable at once");
                return answer.result;
            }
        }
        panic!("blocks do not come")
    }

    fn add(&mut self, value: &[u8]) -> Result<StreamId, Refused> {
        let pairs: [&[u8]; 2] = [b"f", value];
        let fields = Fields::Arguments(&pairs);
        let (trim, idempotent) = (None, None);
        let id = NewId::Auto;
        let add = Xadd { key: KEY, must_exist: false, trim, id, idempotent, fields };
        match self.ask(&Command::Xadd(add))? {
            Reply::Id(id) => Ok(id),
            other => panic!("XADD answers {other:?}"),
        }
    }

    /// Adds until it is refused, and still is when checkpoints have given back what they can; how
    /// many were accepted.
    fn fill(&mut self, value: &[u8]) -> u64 {
        let (mut added, mut refused) = (0, 0);
        while refused < 50 {
            match self.add(value) {
                Ok(_) => (added, refused) = (added + 1, 0),
                Err(Refused::DiskFull) => refused += 1,
                Err(other) => panic!("refused otherwise: {other:?}"),
            }
            assert!(added < 100_000, "the disk does not get full");
        }
        added
    }

    fn group(&mut self) {
        let (id, create_stream, entries_read) = (Some(StreamId::MIN), true, None);
        let create = XgroupCreate { key: KEY, group: GROUP, id, create_stream, entries_read };
        self.ask(&Command::XgroupCreate(create)).expect("there is space");
    }

    fn read(&mut self, count: u64) -> Vec<StreamId> {
        let read = Xreadgroup {
            group: GROUP,
            consumer: b"c",
            count: Some(count),
            most: ReadMost::default(),
            no_ack: false,
            claim_idle_ms: None,
            streams: vec![(KEY, None)],
        };
        match self.ask(&Command::Xreadgroup(read)).expect("reading goes on") {
            Reply::Streams(streams) => {
                let entries = self.shard.entries(&streams[0].1).expect("sound blocks");
                entries.iter().map(|entry| entry.id).collect()
            }
            _ => Vec::new(),
        }
    }

    fn ack(&mut self, ids: Vec<StreamId>) -> i64 {
        match self.ask(&Command::Xack(KEY, GROUP, ids)).expect("acknowledging goes on") {
            Reply::Integer(count) => count,
            other => panic!("XACK answers {other:?}"),
        }
    }

    fn trim(&mut self, keep: u64) {
        let keep = TrimKeep::MaxLen(keep);
        let trim =
            Trim { keep, approximate: false, limit: None, references: Some(References::Keep) };
        self.ask(&Command::Xtrim(KEY, trim)).expect("trimming goes on");
    }

    fn len(&mut self) -> i64 {
        match self.ask(&Command::Xlen(KEY)).expect("reading goes on") {
            Reply::Integer(len) => len,
            other => panic!("XLEN answers {other:?}"),
        }
    }

    /// Adds an entry within a second.
    fn accepts_soon(&mut self) {
        let since = self.turn;
        while self.add(b"x").is_err() {
            let late = self.turn - since >= 100;
            assert!(!late, "{:?} after a second", self.facts());
        }
    }

    /// Facts about space, and the lengths of all files.
    fn facts(&self) -> (levada_engine::store::Space, Vec<(String, usize)>) {
        let disk = self.shard.store().disk();
        let len = |path: &str| disk.bytes(path).map_or(0, <[u8]>::len);
        let files = disk.paths().map(|path| (path.to_owned(), len(path))).collect();
        (self.shard.facts().space, files)
    }

    fn kill(self) -> MemoryDisk {
        self.shard.into_store().into_disk()
    }
}

/// Somebody else's file takes what is left.
fn hog(disk: &mut MemoryDisk) {
    let name = format!("foreign-{}", disk.paths().count());
    let file = disk.open(&name, Open::New).expect("a name takes no space");
    let mut end = 0;
    loop {
        let free = disk.free_space().expect("known").min(64 << 10);
        if free == 0 {
            return disk.close(file);
        }
        let bytes = vec![1; usize::try_from(free).expect("small")].into();
        disk.submit(Operation::Write { file, offset: end, bytes }, Lane::Inline);
        end += free;
    }
}

fn remove_hogs(disk: &mut MemoryDisk) {
    let hogs: Vec<_> =
        disk.paths().filter(|path| path.starts_with("foreign")).map(str::to_owned).collect();
    for path in hogs {
        disk.unlink(&path).expect("there");
    }
}

fn small_disk() -> MemoryDisk {
    let mut disk = MemoryDisk::new();
    disk.set_capacity(Some(CAPACITY));
    disk
}

#[test]
fn acknowledging_reading_and_deleting_go_on_for_ever() {
    let mut process = Process::open(small_disk());
    process.group();
    let added = process.fill(&[b'v'; 1000]);
    assert!(added > 300, "{added}");
    // Many times what the log could hold, one small batch a command.
    let mut seen = 0;
    for _ in 0..added {
        let ids = process.read(1);
        seen += ids.len() as u64;
        assert_eq!(process.ack(ids.clone()), 1);
        assert_eq!(process.ask(&Command::Xdel(KEY, ids)), Ok(Reply::Integer(1)));
        process.ask(&Command::Xack(KEY, GROUP, vec![StreamId::MIN])).expect("it goes on");
    }
    assert_eq!((seen, process.len()), (added, 0));
}

#[test]
fn the_ring_of_the_log_goes_round_on_a_full_disk() {
    let mut process = Process::open(small_disk());
    process.group();
    process.fill(&[b'v'; 1000]);
    let first = process.read(1);
    let before = process.shard.facts();
    for round in 0..3000 {
        // The same entry goes back and forth; nothing is freed.
        let claim = Command::Xclaim(claim(first.clone(), if round % 2 == 0 { b"a" } else { b"b" }));
        process.ask(&claim).unwrap_or_else(|error| panic!("round {round}: {error:?}"));
    }
    let after = process.shard.facts();
    assert!(process.shard.is_full(), "nothing was freed");
    assert!(after.last_lsn >= before.last_lsn + 3000);
    assert!(after.checkpoints > before.checkpoints + 5, "{after:?}");
    assert_eq!(process.add(b"x"), Err(Refused::DiskFull));
}

fn claim(ids: Vec<StreamId>, consumer: &'static [u8]) -> levada_core::command::Xclaim<'static> {
    levada_core::command::Xclaim {
        key: KEY,
        group: GROUP,
        consumer,
        idle_ms_min: 0,
        ids,
        delivered: None,
        retry_count: None,
        force: false,
        just_id: true,
        last_id: None,
    }
}

#[test]
fn what_a_trim_frees_is_accepted_again_within_a_second() {
    let mut process = Process::open(small_disk());
    for _ in 0..3 {
        process.fill(&[b'v'; 1000]);
        process.trim(0);
        process.accepts_soon();
    }
    assert!(process.shard.facts().space.reserve_bytes > 0);
}

#[test]
fn nothing_is_lost_by_a_kill_at_any_moment() {
    let mut process = Process::open(small_disk());
    process.group();
    let mut expected = i64::try_from(process.fill(&[b'v'; 1000])).expect("few");
    for round in 0..40 {
        let ids = process.read(1);
        assert_eq!(process.ack(ids.clone()), 1);
        process.ask(&Command::Xdel(KEY, ids)).expect("it goes on");
        expected -= 1;
        let mut disk = process.kill();
        if round % 10 == 5 {
            // Somebody else takes every byte while nobody looks.
            hog(&mut disk);
        }
        assert!(verify(disk.clone()).expect("data").is_sound());
        process = Process::open(disk);
        assert_eq!(process.len(), expected, "round {round}");
        assert_eq!(process.add(b"x"), Err(Refused::DiskFull), "round {round}");
    }
    let mut disk = process.kill();
    remove_hogs(&mut disk);
    disk.set_capacity(Some(2 * CAPACITY));
    let mut process = Process::open(disk);
    process.accepts_soon();
}

#[test]
fn a_neighbour_that_takes_everything_stops_writes_and_nothing_else() {
    let mut process = Process::open(small_disk());
    process.group();
    for _ in 0..200 {
        process.add(&[b'v'; 1000]).expect("there is space");
    }
    let mut disk = process.kill();
    hog(&mut disk);
    let mut process = Process::open(disk);
    assert_eq!(process.add(b"x"), Err(Refused::DiskFull));
    for _ in 0..200 {
        let ids = process.read(1);
        assert_eq!(process.ack(ids), 1);
    }
    let mut disk = process.kill();
    remove_hogs(&mut disk);
    let mut process = Process::open(disk);
    process.accepts_soon();
    assert_eq!(process.len(), 201);
}
