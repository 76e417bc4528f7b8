//! DURABILITY INTERVAL on the fault disk: turns that are not synced, a kill that takes nothing, a
//! power cut that takes no more than the end.

use levada_core::command::{
    Command, Key, NewId, ReadFrom, ReadMost, Set, SetExpiry, SetWhen, StreamOption, Xadd, Xcfgset,
    XgroupCreate, Xrange, Xread,
};
use levada_core::fields::Fields;
use levada_core::id::StreamId;
use levada_core::policy::Durability;
use levada_core::reply::Reply;
use levada_engine::clock::Now;
use levada_engine::shard::{ClientId, Outcome, Shard, ShardSettings, Wait};
use levada_engine::store::Store;
use levada_engine::store::local::{LocalSettings, LocalStore};
use levada_sim::disk::{FaultDisk, SharedDisk};
use levada_sim::random::Random;

type Product = Shard<LocalStore<SharedDisk>>;

const LAX: Key<'_> = Key { database: 0, name: b"lax" };
const STRICT: Key<'_> = Key { database: 0, name: b"strict" };
const TEXT: Key<'_> = Key { database: 0, name: b"text" };

struct Rig {
    disk: SharedDisk,
    shard: Option<Product>,
    now_ms: u64,
    log_file_bytes: u64,
}

impl Rig {
    /// A server with a stream of each kind, all of it durable.
    fn new(seed: u64) -> Self {
        Self::with_log_of(seed, 1 << 20)
    }

    fn with_log_of(seed: u64, log_file_bytes: u64) -> Self {
        let disk = SharedDisk::new(FaultDisk::new(Random::new(seed)));
        let mut rig = Self { disk, shard: None, now_ms: 1_000_000, log_file_bytes };
        rig.open(ShardSettings::default());
        for key in [LAX, STRICT] {
            let (group, id, entries_read) = (&b"g"[..], Some(StreamId::MIN), None);
            let create = XgroupCreate { key, group, id, create_stream: true, entries_read };
            rig.turn(&[Command::XgroupCreate(create)]);
        }
        // The spare log file is synced too, which is not what is counted here.
        for _ in 0..20 {
            rig.shard().store_mut().wait();
            rig.turn(&[]);
        }
        rig.set(Durability::Interval);
        let shard = rig.shard();
        assert!(shard.durable() >= shard.current(), "its record is synced all the same");
        rig
    }

    fn open(&mut self, settings: ShardSettings) {
        let log_file_bytes = self.log_file_bytes;
        let local = LocalSettings { log_file_bytes, ..LocalSettings::default() };
        let (store, recovered) = LocalStore::open(self.disk.clone(), local).expect("it opens");
        self.shard = Some(Shard::recover(store, recovered, settings, 1).expect("sound pieces"));
    }

    fn now(&self) -> Now {
        Now { wall_ms: self.now_ms, monotonic_us: self.now_ms * 1000 }
    }

    fn shard(&mut self) -> &mut Product {
        self.shard.as_mut().expect("it runs")
    }

    /// A turn of the loop, one millisecond later: whether each answer waits until it is durable.
    /// Behind it none waits any more.
    fn turn(&mut self, commands: &[Command<'_>]) -> Vec<bool> {
        self.now_ms += 1;
        let now = self.now();
        let waits: Vec<_> = commands.iter().map(|command| self.ask(command).1).collect();
        self.shard().commit(now).expect("a sound disk");
        for wait in &waits {
            assert!(self.shard().is_over(*wait), "{wait:?} behind the turn");
        }
        self.shard().poll(now).expect("a sound disk");
        waits.iter().map(|wait| matches!(wait, Wait::Durable(_))).collect()
    }

    fn ask(&mut self, command: &Command<'_>) -> (Reply, Wait) {
        let now = self.now();
        match self.shard().execute(now, ClientId(1), command) {
            Outcome::Done(answer) => (answer.result.expect("it is allowed"), answer.wait),
            Outcome::NeedBlocks => panic!("everything is in memory"),
        }
    }

    fn set(&mut self, durability: Durability) -> Vec<bool> {
        let options = vec![StreamOption::Durability(durability)];
        let (idmp_duration_s, idmp_iids_max) = (None, None);
        let cfgset = Xcfgset { key: LAX, idmp_duration_s, idmp_iids_max, options };
        self.turn(&[Command::Xcfgset(cfgset)])
    }

    fn syncs(&self) -> u64 {
        self.disk.with(|disk| disk.counters().syncs)
    }

    /// The ids in a stream, as numbers.
    fn numbers(&mut self, key: Key<'_>) -> Vec<u64> {
        let (first, last) = (StreamId::MIN, StreamId::MAX);
        let range = Xrange { key, first, last, reverse: false, count: None };
        let Reply::Entries(entries) = self.ask(&Command::Xrange(range)).0 else {
            panic!("XRANGE answers entries");
        };
        let entries = self.shard().entries(&entries).expect("sound blocks");
        entries.iter().map(|entry| entry.id.ms).collect()
    }
}

fn xadd(key: Key<'_>, n: u64) -> Command<'_> {
    let fields = Fields::Arguments(&[b"n", b"v"]);
    let id = NewId::Explicit(StreamId::new(n, 0));
    Command::Xadd(Xadd { key, must_exist: false, trim: None, id, fields, idempotent: None })
}

fn xread(keys: &[Key<'static>]) -> Command<'static> {
    let streams = keys.iter().map(|key| (*key, ReadFrom::After(StreamId::MIN))).collect();
    Command::Xread(Xread { streams, count: None, most: ReadMost::default() })
}

fn set() -> Command<'static> {
    let (when, expiry, get) = (SetWhen::default(), SetExpiry::Clear, false);
    Command::Set(Set { key: TEXT, value: b"v", when, expiry, get })
}

#[test]
fn turns_of_interval_are_written_and_synced_together() {
    let mut rig = Rig::with_log_of(1, 16 << 20);
    let before = rig.shard().durable();
    for n in 1..=100 {
        assert_eq!(rig.turn(&[xadd(LAX, n), xread(&[LAX])]), [false, false]);
    }
    assert_eq!(rig.shard().durable(), before, "none in a tenth of a second of turns");
    let now = rig.now();
    let deadline = rig.shard().next_deadline_us(now).expect("something is not durable");
    assert!(deadline <= now.monotonic_us + 1_000_000, "the loop wakes for it");
    let mut moves = Vec::from([before]);
    for n in 101..=1900 {
        rig.turn(&[xadd(LAX, n)]);
        moves.push(rig.shard().durable());
    }
    moves.dedup();
    assert!((2..=3).contains(&moves.len()), "synced each second: {moves:?}");
}

#[test]
fn what_rests_is_synced_within_the_interval() {
    let mut rig = Rig::new(2);
    let settings = ShardSettings { sync_interval_ms: 20, ..*rig.shard().settings() };
    rig.shard().set_settings(settings);
    rig.turn(&[xadd(LAX, 1)]);
    rig.now_ms += 19;
    rig.turn(&[]);
    assert!(rig.shard().durable() >= rig.shard().current());
}

#[test]
fn whatever_shows_more_than_interval_waits_for_the_disk() {
    let mut rig = Rig::new(3);
    assert_eq!(rig.turn(&[xadd(STRICT, 1)]), [true]);
    assert_eq!(rig.turn(&[xadd(LAX, 1), xadd(STRICT, 2)]), [false, true]);
    assert_eq!(rig.turn(&[xadd(LAX, 2), xread(&[LAX, STRICT])]), [false, false]);
    assert_eq!(rig.turn(&[xadd(STRICT, 3), xread(&[LAX, STRICT])]), [true, true]);
    // A transaction: the strictest stream in it decides.
    rig.now_ms += 1;
    let now = rig.now();
    rig.shard().transaction_begin();
    let waits = [LAX, STRICT].map(|key| rig.ask(&xadd(key, 10)).1);
    rig.shard().transaction_end(now);
    let [Wait::Written(written), Wait::Durable(durable)] = waits else { panic!("{waits:?}") };
    assert_eq!(written, durable, "one record, of which EXEC waits for both");
    rig.shard().commit(now).expect("a sound disk");
    assert!(rig.shard().durable() >= durable);
    // The end of INTERVAL is durable, and so is everything before.
    rig.turn(&[xadd(LAX, 11)]);
    assert_eq!(rig.set(Durability::Always), [true]);
    assert_eq!(rig.turn(&[xadd(LAX, 12)]), [true]);
}

#[test]
fn strings_wait_as_their_setting_says() {
    let mut rig = Rig::new(4);
    assert_eq!(rig.turn(&[set()]), [true]);
    let settings = ShardSettings { strings_interval: true, ..*rig.shard().settings() };
    rig.shard().set_settings(settings);
    let before = rig.syncs();
    assert_eq!(rig.turn(&[set(), Command::Get(TEXT)]), [false, false]);
    assert_eq!(rig.syncs(), before);
    let wait = rig.shard().wait_for_everything();
    let now = rig.now();
    rig.shard().commit(now).expect("a sound disk");
    assert!(rig.shard().is_over(wait) && rig.syncs() > before, "WAITAOF asks for it");
}

#[test]
fn a_kill_takes_nothing_that_was_answered() {
    for seed in 0..8 {
        let mut rig = Rig::new(seed);
        for n in 1..=50 {
            rig.turn(&[xadd(LAX, n)]);
        }
        rig.shard = None;
        rig.disk.with(FaultDisk::kill);
        rig.open(ShardSettings::default());
        assert_eq!(rig.numbers(LAX), (1..=50).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_power_cut_takes_only_the_end_and_nothing_older_than_the_interval() {
    let mut lost = 0;
    for seed in 0..15 {
        let mut rig = Rig::new(seed);
        let settings = ShardSettings { sync_interval_ms: 30, ..*rig.shard().settings() };
        rig.shard().set_settings(settings);
        let mut durable = 0;
        for n in 1..=100 {
            // Two entries of a turn are one batch: both, or neither.
            rig.turn(&[xadd(LAX, 2 * n - 1), xadd(LAX, 2 * n)]);
            if rig.shard().durable() >= rig.shard().current() {
                durable = 2 * n;
            }
        }
        assert!(200 - durable <= 2 * 31, "seed {seed}: {durable} durable");
        rig.shard = None;
        rig.disk.with(FaultDisk::crash);
        rig.open(ShardSettings::default());
        let found = rig.numbers(LAX);
        let count = found.len() as u64;
        assert_eq!(found, (1..=count).collect::<Vec<_>>(), "seed {seed}: a prefix");
        assert!(count >= durable && count.is_multiple_of(2), "seed {seed}: {count} of {durable}");
        lost += 200 - count;
    }
    assert!(lost > 0, "the disk takes something at a power cut");
}
