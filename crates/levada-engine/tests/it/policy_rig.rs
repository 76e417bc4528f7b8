//! A shard over a store that is closed and opened again at every step, for tests of policies. Each
//! scenario runs once with a process that lives on and once with one that is killed after every
//! step, with and without a checkpoint.

use levada_core::{
    command::{
        Command, GroupOption, Key, NewId, ReadMost, StreamOption, Xadd, Xcfgset, XgroupCfgset,
        XgroupCreate, Xreadgroup,
    },
    error::Error as Refused,
    fields::Fields,
    id::StreamId,
    reply::{Fact, GroupInfo, Reply},
};
use levada_engine::{
    clock::Now,
    disk::memory::MemoryDisk,
    shard::{ClientId, Entry, Outcome, Shard, ShardSettings},
    store::local::{LocalSettings, LocalStore},
};

pub(crate) type Local = Shard<LocalStore<MemoryDisk>>;

pub(crate) const STREAM: Key<'_> = Key { database: 0, name: b"orders" };
pub(crate) const LETTERS: Key<'_> = Key { database: 0, name: b"{orders}:dlq:g" };

/// What happens between two steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Between {
    Nothing,
    Kill,
    Checkpoint,
    NoCommit,
}

/// A shard, its clock, and what happens to it.
pub(crate) struct Rig {
    pub(crate) shard: Option<Local>,
    pub(crate) now_ms: u64,
    between: Between,
    settings: ShardSettings,
}

impl Rig {
    pub(crate) fn new(between: Between) -> Self {
        Self::with(between, ShardSettings::default())
    }

    pub(crate) fn with(between: Between, settings: ShardSettings) -> Self {
        let shard = Some(open(MemoryDisk::default(), settings));
        Self { shard, now_ms: 1_000_000, between, settings }
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall_ms: self.now_ms, monotonic_us: self.now_ms * 1000 }
    }

    /// Runs a command, then whatever is due, then what happens between steps.
    pub(crate) fn ask(&mut self, command: &Command<'_>) -> Result<Reply, Refused> {
        self.ask_entries(command).map(|(reply, _)| reply)
    }

    /// The same with the entries of the answer, of one stream.
    pub(crate) fn ask_entries(
        &mut self,
        command: &Command<'_>,
    ) -> Result<(Reply, Vec<Entry>), Refused> {
        let now = self.now();
        let shard = self.shard.as_mut().expect("it runs");
        let answer = loop {
            match shard.execute(now, ClientId(1), command) {
                Outcome::Done(answer) => break answer,
                Outcome::NeedBlocks => {
                    shard.poll(now).expect("a sound disk");
                }
            }
        };
        let entries = match &answer.result {
            Ok(Reply::Entries(entries)) => shard.entries(entries).expect("sound blocks"),
            Ok(Reply::Streams(streams)) => shard.entries(&streams[0].1).expect("sound blocks"),
            _ => Vec::new(),
        };
        self.settle();
        answer.result.map(|reply| (reply, entries))
    }

    /// The ids of the entries of an answer.
    pub(crate) fn ids(&mut self, command: &Command<'_>) -> Vec<StreamId> {
        let (_, entries) = self.ask_entries(command).expect("it is allowed");
        entries.iter().map(|entry| entry.id).collect()
    }

    pub(crate) fn reply(&mut self, command: &Command<'_>) -> Reply {
        self.ask(command).expect("it is allowed")
    }

    /// Many steps, which nothing comes between, not even a commit.
    pub(crate) fn quietly(&mut self, steps: impl FnOnce(&mut Self)) {
        let between = std::mem::replace(&mut self.between, Between::NoCommit);
        steps(self);
        self.between = between;
        self.settle();
    }

    /// Time goes on.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.settle();
    }

    fn settle(&mut self) {
        if self.between == Between::NoCommit {
            return;
        }
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
        let mut shard = open(shard.into_store().into_disk(), self.settings);
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
        self.set_group_of(b"g", options);
    }

    pub(crate) fn set_group_of(&mut self, group: &[u8], options: Vec<GroupOption<'_>>) {
        let cfgset = XgroupCfgset { key: STREAM, group, options };
        self.reply(&Command::XgroupCfgset(cfgset));
    }

    pub(crate) fn try_set_group(
        &mut self,
        options: Vec<GroupOption<'_>>,
    ) -> Result<Reply, Refused> {
        let cfgset = XgroupCfgset { key: STREAM, group: b"g", options };
        self.ask(&Command::XgroupCfgset(cfgset))
    }

    pub(crate) fn set_stream(&mut self, options: Vec<StreamOption>) {
        let (idmp_duration_s, idmp_iids_max) = (None, None);
        let cfgset = Xcfgset { key: STREAM, idmp_duration_s, idmp_iids_max, options };
        self.reply(&Command::Xcfgset(cfgset));
    }

    /// XREADGROUP GROUP group consumer STREAMS orders >: how many entries it gives.
    pub(crate) fn read(&mut self, group: &[u8], consumer: &[u8]) -> u64 {
        match self.reply(&new_entries(group, consumer, None)) {
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

    /// XINFO GROUPS of a group.
    pub(crate) fn info(&mut self, group: &[u8]) -> GroupInfo {
        match self.reply(&Command::XinfoGroups(STREAM)) {
            Reply::Groups(groups) => {
                let info = groups.into_iter().find(|info| *info.name == *group);
                info.expect("it is there")
            }
            other => panic!("XINFO GROUPS answers {other:?}"),
        }
    }

    /// A fact of XLAG of group g.
    pub(crate) fn lag(&mut self, name: &str) -> Fact {
        self.lag_of(b"g", name)
    }

    /// A fact of XLAG.
    pub(crate) fn lag_of(&mut self, group: &[u8], name: &str) -> Fact {
        match self.reply(&Command::Xlag(STREAM, group)) {
            Reply::Facts(facts) => {
                let fact = facts.into_iter().find(|(known, _)| *known == name);
                fact.expect("XLAG has it").1
            }
            other => panic!("XLAG answers {other:?}"),
        }
    }
}

fn open(disk: MemoryDisk, of_shard: ShardSettings) -> Local {
    let settings = LocalSettings { log_file_bytes: 32 << 20, ..LocalSettings::default() };
    let (store, recovered) = LocalStore::open(disk, settings).expect("a sound disk");
    Shard::recover(store, recovered, of_shard, 1).expect("sound pieces")
}

/// XREADGROUP GROUP group consumer \[COUNT n] STREAMS orders >
pub(crate) fn new_entries<'a>(
    group: &'a [u8],
    consumer: &'a [u8],
    count: Option<u64>,
) -> Command<'a> {
    Command::Xreadgroup(Xreadgroup {
        group,
        consumer,
        count,
        most: ReadMost::default(),
        claim_idle_ms: None,
        no_ack: false,
        streams: vec![(STREAM, None)],
    })
}

/// Runs a scenario in every way.
pub(crate) fn each(scenario: impl Fn(&mut Rig)) {
    for between in [Between::Nothing, Between::Kill, Between::Checkpoint] {
        scenario(&mut Rig::new(between));
    }
}
