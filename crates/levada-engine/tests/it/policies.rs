//! Policies over a store that is closed and opened again at every step: leases, dead letters,
//! retention, limits. Each scenario runs once with a process that lives on and once with one that
//! is killed after every step, with and without a checkpoint.

use levada_core::{
    command::{
        Command, GroupOption, Key, NackMode, NewId, ReadMost, StreamOption, Trim, TrimKeep, Xadd,
        Xcfgset, XgroupCfgset, XgroupCreate, XgroupHandover, Xnack, Xreadgroup,
    },
    error::{Error as Refused, Limit},
    fields::Fields,
    id::StreamId,
    limits::BLOCK_ROWS,
    policy::{OnLimit, Retention},
    reply::{Fact, Reply},
};
use levada_engine::{
    clock::Now,
    disk::memory::MemoryDisk,
    shard::{ClientId, Outcome, Shard, ShardSettings},
    store::local::{LocalSettings, LocalStore},
};

type Local = Shard<LocalStore<MemoryDisk>>;

pub(crate) const STREAM: Key<'_> = Key { database: 0, name: b"orders" };
const LETTERS: Key<'_> = Key { database: 0, name: b"{orders}:dlq:g" };

/// What happens between two steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Between {
    Nothing,
    Kill,
    Checkpoint,
}

/// A shard, its clock, and what happens to it.
pub(crate) struct Rig {
    pub(crate) shard: Option<Local>,
    pub(crate) now_ms: u64,
    between: Between,
}

impl Rig {
    pub(crate) fn new(between: Between) -> Self {
        Self { shard: Some(open(MemoryDisk::default())), now_ms: 1_000_000, between }
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall_ms: self.now_ms, monotonic_us: self.now_ms * 1000 }
    }

    /// Runs a command, then whatever is due, then what happens between steps.
    pub(crate) fn ask(&mut self, command: &Command<'_>) -> Result<Reply, Refused> {
        let now = self.now();
        let shard = self.shard.as_mut().expect("it runs");
        let Outcome::Done(answer) = shard.execute(now, ClientId(1), command) else {
            panic!("everything is in memory");
        };
        self.settle();
        answer.result
    }

    pub(crate) fn reply(&mut self, command: &Command<'_>) -> Reply {
        self.ask(command).expect("it is allowed")
    }

    /// Time goes on.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.settle();
    }

    pub(crate) fn settle(&mut self) {
        let now = self.now();
        let shard = self.shard.as_mut().expect("it runs");
        for _ in 0..8 {
            shard.commit(now).expect("a sound disk");
            shard.poll(now).expect("a sound disk");
        }
        shard.settle(now).expect("a sound disk");
        if self.between == Between::Nothing {
            return;
        }
        let mut shard = self.shard.take().expect("it runs");
        if self.between == Between::Checkpoint {
            shard.shut_down(now).expect("a sound disk");
        }
        let mut shard = open(shard.into_store().into_disk());
        for _ in 0..4 {
            shard.poll(now).expect("a sound disk");
            shard.commit(now).expect("a sound disk");
        }
        self.shard = Some(shard);
    }

    pub(crate) fn add(&mut self, n: u64) -> StreamId {
        let fields = Fields::Arguments(&[b"n", b"v"]);
        let id = NewId::Explicit(StreamId::new(n, 0));
        let xadd =
            Xadd { key: STREAM, must_exist: false, trim: None, id, fields, idempotent: None };
        match self.reply(&Command::Xadd(xadd)) {
            Reply::Id(id) => id,
            other => panic!("XADD answers {other:?}"),
        }
    }

    pub(crate) fn create(&mut self, group: &[u8]) {
        let create = XgroupCreate {
            key: STREAM,
            group,
            id: Some(StreamId::MIN),
            create_stream: true,
            entries_read: None,
        };
        self.reply(&Command::XgroupCreate(create));
    }

    pub(crate) fn set_group(&mut self, options: Vec<GroupOption<'_>>) {
        let cfgset = XgroupCfgset { key: STREAM, group: b"g", options };
        self.reply(&Command::XgroupCfgset(cfgset));
    }

    pub(crate) fn set_stream(&mut self, options: Vec<StreamOption>) {
        let (idmp_duration_s, idmp_iids_max) = (None, None);
        let cfgset = Xcfgset { key: STREAM, idmp_duration_s, idmp_iids_max, options };
        self.reply(&Command::Xcfgset(cfgset));
    }

    /// XREADGROUP GROUP group consumer STREAMS orders >: how many entries it gives.
    pub(crate) fn read(&mut self, group: &[u8], consumer: &[u8]) -> u64 {
        let read = Xreadgroup {
            group,
            consumer,
            count: None,
            most: ReadMost::default(),
            claim_idle_ms: None,
            no_ack: false,
            streams: vec![(STREAM, None)],
        };
        match self.reply(&Command::Xreadgroup(read)) {
            Reply::Streams(streams) => streams.iter().map(|(_, entries)| entries.count).sum(),
            Reply::NilList => 0,
            other => panic!("XREADGROUP answers {other:?}"),
        }
    }

    pub(crate) fn ack(&mut self, group: &[u8], ids: &[u64]) -> Reply {
        let ids = ids.iter().map(|n| StreamId::new(*n, 0)).collect();
        self.reply(&Command::Xack(STREAM, group, ids))
    }

    pub(crate) fn len(&mut self, key: Key<'_>) -> Reply {
        self.reply(&Command::Xlen(key))
    }

    /// A fact of XLAG.
    pub(crate) fn lag(&mut self, name: &str) -> Fact {
        match self.reply(&Command::Xlag(STREAM, b"g")) {
            Reply::Facts(facts) => {
                let fact = facts.into_iter().find(|(known, _)| *known == name);
                fact.expect("XLAG has it").1
            }
            other => panic!("XLAG answers {other:?}"),
        }
    }
}

fn open(disk: MemoryDisk) -> Local {
    let settings = LocalSettings { log_file_bytes: 32 << 20, ..LocalSettings::default() };
    let (store, recovered) = LocalStore::open(disk, settings).expect("a sound disk");
    Shard::recover(store, recovered, ShardSettings::default(), 1).expect("sound pieces")
}

/// Runs a scenario in every way.
pub(crate) fn each(scenario: impl Fn(&mut Rig)) {
    for between in [Between::Nothing, Between::Kill, Between::Checkpoint] {
        scenario(&mut Rig::new(between));
    }
}

#[test]
fn what_a_dead_worker_held_comes_back_on_the_arrow() {
    each(|rig| {
        rig.create(b"g");
        rig.set_group(vec![GroupOption::AckWait(30_000)]);
        rig.add(1);
        rig.add(2);
        assert_eq!(rig.read(b"g", b"first"), 2);
        assert_eq!(rig.ack(b"g", &[2]), Reply::Integer(1));
        rig.wait(29_999);
        assert_eq!(rig.read(b"g", b"second"), 0);
        rig.wait(1);
        rig.add(3);
        assert_eq!(rig.read(b"g", b"second"), 2, "the one that came back, and the new one");
        assert_eq!(rig.read(b"g", b"third"), 0, "it has a lease again");
        rig.wait(30_000);
        assert_eq!(rig.read(b"g", b"third"), 2);
    });
}

#[test]
fn a_back_off_rests_between_deliveries_and_the_last_one_is_a_dead_letter() {
    each(|rig| {
        rig.create(b"g");
        rig.set_group(vec![
            GroupOption::AckWait(1000),
            GroupOption::MaxDeliver(3),
            GroupOption::Backoff(vec![5000, 10_000]),
        ]);
        rig.add(7);
        assert_eq!(rig.read(b"g", b"c"), 1);
        for rest_ms in [5000, 10_000] {
            rig.wait(1000 + rest_ms - 1);
            assert_eq!(rig.read(b"g", b"c"), 0, "it rests");
            rig.wait(1);
            assert_eq!(rig.read(b"g", b"c"), 1);
        }
        assert_eq!(rig.lag("dead-letters"), Fact::Number(0));
        rig.wait(1000);
        assert_eq!(rig.read(b"g", b"c"), 0);
        assert_eq!(rig.len(LETTERS), Reply::Integer(1));
        assert_eq!(rig.lag("dead-letters"), Fact::Number(1));
        assert_eq!(rig.lag("oldest-pending-ms"), Fact::Nil);
        assert_eq!(rig.len(STREAM), Reply::Integer(1), "the entry itself stays");
    });
}

#[test]
fn a_fatal_xnack_is_a_dead_letter_at_once_and_a_stuck_one_waits() {
    each(|rig| {
        rig.create(b"g");
        rig.set_group(vec![GroupOption::AckWait(1000)]);
        // What stands in the way of the letters came after the policy.
        let set = Command::Append(LETTERS, b"no stream");
        rig.reply(&set);
        rig.add(1);
        assert_eq!(rig.read(b"g", b"c"), 1);
        let nack = Xnack {
            key: STREAM,
            group: b"g",
            mode: NackMode::Fatal,
            ids: vec![StreamId::new(1, 0)],
            retry_count: None,
            force: false,
            delay_ms: None,
            reason: Some(b"bad address"),
        };
        assert_eq!(rig.reply(&Command::Xnack(nack)), Reply::Integer(1));
        rig.wait(5000);
        assert_eq!(rig.read(b"g", b"c"), 0, "it is not delivered any more");
        assert_eq!(rig.lag("dlq-blocked"), Fact::Number(1));
        rig.reply(&Command::Del(vec![LETTERS]));
        rig.wait(2000);
        assert_eq!(rig.len(LETTERS), Reply::Integer(1));
        assert_eq!(rig.lag("dlq-blocked"), Fact::Number(0));
    });
}

#[test]
fn what_every_group_has_acknowledged_goes_and_nothing_else() {
    each(|rig| {
        rig.create(b"g");
        rig.create(b"h");
        rig.set_stream(vec![StreamOption::Retention(Retention::Acked)]);
        for n in 1..=4 {
            rig.add(n);
        }
        assert_eq!((rig.read(b"g", b"c"), rig.read(b"h", b"c")), (4, 4));
        rig.ack(b"g", &[1, 2, 3, 4]);
        assert_eq!(rig.len(STREAM), Reply::Integer(4), "h needs them");
        rig.ack(b"h", &[1, 3, 4]);
        assert_eq!(rig.len(STREAM), Reply::Integer(3), "the head up to what is pending");
        // The tutorial's producer: its own trim loses nothing.
        let keep = TrimKeep::MaxLen(0);
        let trim = Trim { keep, approximate: false, limit: None, references: None };
        rig.reply(&Command::Xtrim(STREAM, trim));
        assert_eq!(rig.len(STREAM), Reply::Integer(1), "2 is pending");
        rig.ack(b"h", &[2]);
        assert_eq!(rig.len(STREAM), Reply::Integer(0));
        rig.add(5);
        assert_eq!(rig.len(STREAM), Reply::Integer(1), "nobody was given it");
    });
}

#[test]
fn a_sealed_block_goes_as_a_whole_and_the_newest_row_by_row() {
    let mut rig = Rig::new(Between::Nothing);
    rig.create(b"g");
    rig.set_stream(vec![StreamOption::Retention(Retention::Acked)]);
    let (sealed, all) = (u64::from(BLOCK_ROWS), u64::from(BLOCK_ROWS) + 100);
    for n in 1..=all {
        rig.add(n);
    }
    assert_eq!(rig.read(b"g", b"c"), all);
    let but_one: Vec<u64> = (1..sealed).collect();
    rig.ack(b"g", &but_one);
    assert_eq!(rig.len(STREAM), Reply::Integer(all.cast_signed()), "its last entry is needed");
    let and_ten: Vec<u64> = (sealed..=sealed + 10).collect();
    rig.ack(b"g", &and_ten);
    assert_eq!(rig.len(STREAM), Reply::Integer(90));
}

#[test]
fn acknowledged_entries_stay_for_replay_as_long_as_asked() {
    each(|rig| {
        rig.create(b"g");
        rig.set_stream(vec![
            StreamOption::Retention(Retention::Acked),
            StreamOption::RetainAcked(60_000),
        ]);
        rig.add(1);
        rig.read(b"g", b"c");
        rig.ack(b"g", &[1]);
        rig.wait(59_999);
        assert_eq!(rig.len(STREAM), Reply::Integer(1));
        rig.wait(1);
        assert_eq!(rig.len(STREAM), Reply::Integer(0));
    });
}

#[test]
fn a_limit_refuses_what_would_drop_unread_work_unless_told_to() {
    each(|rig| {
        rig.create(b"g");
        rig.set_stream(vec![StreamOption::MaxLen(2)]);
        rig.add(1);
        rig.add(2);
        let fields = Fields::Arguments(&[b"n", b"v"]);
        let id = NewId::Explicit(StreamId::new(3, 0));
        let third =
            Xadd { key: STREAM, must_exist: false, trim: None, id, fields, idempotent: None };
        let third = Command::Xadd(third);
        let refused = rig.ask(&third).expect_err("both are unread");
        assert_eq!(refused, Refused::Limit(Limit::Len { max: 2, held: 2 }));
        rig.set_stream(vec![StreamOption::OnLimit(OnLimit::Trim)]);
        rig.reply(&third);
        assert_eq!(rig.len(STREAM), Reply::Integer(2));
        assert_eq!(rig.lag("dropped"), Fact::Number(1));
        rig.set_stream(vec![StreamOption::OnLimit(OnLimit::Reject)]);
        assert_eq!(rig.read(b"g", b"c"), 2);
        rig.ack(b"g", &[2]);
        rig.add(4);
        assert_eq!(rig.len(STREAM), Reply::Integer(2), "2 was not needed any more");
    });
}

#[test]
fn a_consumer_that_goes_leaves_its_work_to_the_others() {
    each(|rig| {
        rig.create(b"g");
        rig.set_group(vec![GroupOption::ConsumerTtl(10_000)]);
        rig.add(1);
        assert_eq!(rig.read(b"g", b"worker-1"), 1);
        rig.wait(5000);
        assert_eq!(rig.read(b"g", b"worker-2"), 0);
        rig.wait(5000);
        assert_eq!(rig.read(b"g", b"worker-2"), 1, "worker-1 is gone");
        let handover =
            XgroupHandover { key: STREAM, group: b"g", consumer: b"worker-2", to: Some(b"w") };
        assert_eq!(rig.reply(&Command::XgroupHandover(handover)), Reply::Integer(1));
        let mine = Xreadgroup {
            group: b"g",
            consumer: b"w",
            count: None,
            most: ReadMost::default(),
            claim_idle_ms: None,
            no_ack: false,
            streams: vec![(STREAM, Some(StreamId::MIN))],
        };
        let Reply::Streams(streams) = rig.reply(&Command::Xreadgroup(mine)) else {
            panic!("a history is never nothing");
        };
        assert_eq!(streams[0].1.count, 1);
    });
}
