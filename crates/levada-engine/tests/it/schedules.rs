//! XSCHED over a store that is closed and opened again at every step. Each scenario runs with a
//! process that lives on, with one that is killed after every step, and with one that writes a
//! checkpoint and ends there. Blocks are not kept in memory.

use levada_core::{
    command::{
        Command, Copied, GroupOption, Idempotent, Key, NewId, ReadMost, SchedVerb, StreamOption,
        Xadd, Xcfgset, XgroupCfgset, XgroupCreate, Xsched,
    },
    error::Error as Refused,
    fields::Fields,
    id::StreamId,
    policy::OnLimit,
    reply::Reply,
};
use levada_engine::{
    clock::Now,
    disk::memory::MemoryDisk,
    shard::{BlockedRead, BlockedReadgroup, ClientId, Event, Outcome, Shard, ShardSettings},
    store::{
        Store,
        local::{LocalSettings, LocalStore},
    },
};

use super::copies::{CLIENT, Local};

const TARGET: Key<'_> = Key { database: 0, name: b"orders" };
const SCHEDULE: Key<'_> = Key { database: 0, name: b"{orders}:sched" };

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Between {
    Nothing,
    Kill,
    Checkpoint,
}

/// A shard, its clocks, and what happens to it between two steps.
struct Rig {
    shard: Option<Local>,
    wall_ms: u64,
    monotonic_us: u64,
    between: Between,
}

/// Blocks leave memory at once, so that what is due has to be read; small files, for they are many.
fn open(disk: MemoryDisk) -> Local {
    let settings =
        LocalSettings { cache_bytes: 0, log_file_bytes: 1 << 20, ..LocalSettings::default() };
    let (store, recovered) = LocalStore::open(disk, settings).expect("a sound disk");
    Shard::recover(store, recovered, ShardSettings::default(), 1).expect("sound pieces")
}

/// Runs a scenario in every way.
fn each(scenario: impl Fn(&mut Rig)) {
    for between in [Between::Nothing, Between::Kill, Between::Checkpoint] {
        scenario(&mut Rig::new(between));
    }
}

impl Rig {
    fn new(between: Between) -> Self {
        let shard = Some(open(MemoryDisk::default()));
        Self { shard, wall_ms: 1_000_000_000, monotonic_us: 5_000_000, between }
    }

    fn now(&self) -> Now {
        Now { wall_ms: self.wall_ms, monotonic_us: self.monotonic_us }
    }

    fn shard(&mut self) -> &mut Local {
        self.shard.as_mut().expect("it runs")
    }

    /// Carries a command out, however often it has to wait for blocks.
    fn run(&mut self, command: &Command<'_>) -> Result<Reply, Refused> {
        let now = self.now();
        loop {
            if let Outcome::Done(answer) = self.shard().execute(now, CLIENT, command) {
                return answer.result;
            }
            self.shard().store_mut().wait();
            self.shard().poll(now).expect("a sound disk");
            while self.shard().poll_event().is_some() {}
        }
    }

    /// A command as a step: behind it comes what is due, then what happens between steps.
    fn ask(&mut self, command: &Command<'_>) -> Result<Reply, Refused> {
        let reply = self.run(command);
        self.settle();
        reply
    }

    fn reply(&mut self, command: &Command<'_>) -> Reply {
        self.ask(command).expect("it is allowed")
    }

    /// Time goes on.
    fn wait(&mut self, ms: u64) {
        self.wall_ms += ms;
        self.monotonic_us += ms * 1000;
        self.settle();
    }

    /// Somebody sets the clock of the wall.
    fn step_to(&mut self, wall_ms: u64) {
        self.wall_ms = wall_ms;
        self.settle();
    }

    fn turn(&mut self) {
        let now = self.now();
        self.shard().poll(now).expect("a sound disk");
        self.shard().commit(now).expect("a sound disk");
    }

    fn settle(&mut self) {
        let now = self.now();
        (0..8).for_each(|_| self.turn());
        self.shard().settle(now).expect("a sound disk");
        if self.between == Between::Nothing {
            return;
        }
        let mut shard = self.shard.take().expect("it runs");
        if self.between == Between::Checkpoint {
            shard.shut_down(now).expect("a sound disk");
        }
        self.shard = Some(open(shard.into_store().into_disk()));
        (0..4).for_each(|_| self.turn());
    }

    fn add_verb(&mut self, verb: SchedVerb<'_>) -> Result<Reply, Refused> {
        self.ask(&Command::Xsched(Xsched::new(TARGET, verb)))
    }

    /// XSCHED ADD orders AT at-ms n value
    fn add(&mut self, at_ms: u64, value: &str) -> StreamId {
        let pair: [&[u8]; 2] = [b"n", value.as_bytes()];
        let fields = Fields::Arguments(&pair);
        match self.add_verb(SchedVerb::Add { at_ms, once: None, fields }) {
            Ok(Reply::Id(id)) => id,
            other => panic!("XSCHED ADD answers {other:?}"),
        }
    }

    fn count(&mut self, verb: SchedVerb<'_>) -> i64 {
        match self.add_verb(verb) {
            Ok(Reply::Integer(count)) => count,
            other => panic!("not a count: {other:?}"),
        }
    }

    fn scheduled(&mut self) -> i64 {
        self.count(SchedVerb::Len)
    }

    /// The first field of each entry of a stream, with the time in its id.
    fn values(&mut self, key: Key<'_>) -> Vec<(u64, String)> {
        let shard = self.shard.as_mut().expect("it runs");
        let entries = super::copies::entries(shard, key);
        let value = |entry: &levada_engine::shard::Entry| {
            let fields = entry.fields.as_ref().expect("it is there");
            (entry.id.ms, String::from_utf8_lossy(&fields[0].1).into_owned())
        };
        entries.iter().map(value).collect()
    }

    fn names(&mut self, key: Key<'_>) -> Vec<String> {
        self.values(key).into_iter().map(|(_, value)| value).collect()
    }
}

#[test]
fn what_is_due_is_appended_in_order_and_never_early() {
    each(|rig| {
        let start = rig.wall_ms;
        rig.add(start + 300, "third");
        rig.add(start + 100, "first");
        rig.add(start + 100, "second");
        rig.add(start + 5000, "last");
        rig.wait(99);
        assert_eq!(rig.scheduled(), 4);
        assert_eq!(rig.names(TARGET), [""; 0]);
        rig.wait(1);
        assert_eq!(rig.names(TARGET), ["first", "second"]);
        assert_eq!(rig.scheduled(), 2);
        rig.wait(2000);
        rig.wait(2900);
        assert_eq!(rig.names(TARGET), ["first", "second", "third", "last"]);
        assert!(
            rig.values(TARGET)
                .iter()
                .zip([100, 100, 300, 5000])
                .all(|((ms, _), due)| { *ms >= start + due })
        );
        assert_eq!((rig.scheduled(), rig.names(SCHEDULE).len()), (0, 0));
    });
}

#[test]
fn what_is_past_is_due_at_the_next_turn() {
    each(|rig| {
        rig.add(0, "at once");
        assert_eq!(rig.names(TARGET), ["at once"]);
        assert_eq!(rig.scheduled(), 0);
    });
}

#[test]
fn an_entry_that_is_cancelled_never_comes() {
    each(|rig| {
        let at_ms = rig.wall_ms + 1000;
        let (stays, goes) = (rig.add(at_ms, "stays"), rig.add(at_ms, "goes"));
        assert_eq!(rig.count(SchedVerb::Cancel(goes)), 1);
        assert_eq!(rig.count(SchedVerb::Cancel(goes)), 0);
        assert_eq!(rig.count(SchedVerb::Cancel(StreamId::new(7, 7))), 0);
        rig.wait(1000);
        assert_eq!(rig.names(TARGET), ["stays"]);
        assert_eq!(rig.count(SchedVerb::Cancel(stays)), 0, "it was appended");
    });
}

#[test]
fn an_idempotent_entry_is_appended_once() {
    each(|rig| {
        let pair: [&[u8]; 2] = [b"n", b"paid"];
        let fields = Fields::Arguments(&pair);
        let at_ms = rig.wall_ms + 10;
        for _ in 0..3 {
            let once = Some((&b"shop"[..], &b"order-7"[..]));
            rig.add_verb(SchedVerb::Add { at_ms, once, fields }).expect("it is allowed");
        }
        rig.wait(10);
        assert_eq!((rig.names(TARGET), rig.scheduled()), (vec!["paid".to_owned()], 0));
        // A producer that does not know that it was scheduled adds nothing either.
        let idempotent = Some(Idempotent { pid: b"shop", iid: Some(b"order-7") });
        let (key, id) = (TARGET, NewId::Auto);
        let again = Xadd { key, must_exist: false, trim: None, id, fields, idempotent };
        rig.reply(&Command::Xadd(again));
        assert_eq!(rig.names(TARGET).len(), 1);
    });
}

#[test]
fn what_the_target_cannot_take_stays_and_is_tried_again() {
    each(|rig| {
        let at_ms = rig.wall_ms + 10;
        rig.add(at_ms, "patient");
        rig.reply(&Command::Append(TARGET, b"no stream"));
        rig.wait(5000);
        assert_eq!(rig.scheduled(), 1);
        rig.reply(&Command::Del(vec![TARGET]));
        rig.wait(1000);
        assert_eq!((rig.names(TARGET), rig.scheduled()), (vec!["patient".to_owned()], 0));
        // The same with a limit.
        let options = vec![StreamOption::MaxLen(1)];
        let (idmp_duration_s, idmp_iids_max) = (None, None);
        let cfgset = Xcfgset { key: TARGET, idmp_duration_s, idmp_iids_max, options };
        rig.reply(&Command::Xcfgset(cfgset));
        rig.reply(&Command::XgroupCreate(XgroupCreate {
            key: TARGET,
            group: b"g",
            id: Some(StreamId::MIN),
            create_stream: false,
            entries_read: None,
        }));
        rig.add(0, "too many");
        assert_eq!((rig.names(TARGET), rig.scheduled()), (vec!["patient".to_owned()], 1));
        rig.reply(&Command::XgroupDestroy(TARGET, b"g"));
        rig.wait(1000);
        assert_eq!((rig.names(TARGET), rig.scheduled()), (vec!["too many".to_owned()], 0));
    });
}

#[test]
fn a_schedule_is_refused_where_it_could_never_be_kept() {
    let mut rig = Rig::new(Between::Nothing);
    let pair: [&[u8]; 2] = [b"n", b"v"];
    let verb = SchedVerb::Add { at_ms: 1, once: None, fields: Fields::Arguments(&pair) };
    let tag = Key { database: 0, name: b"{orders}" };
    let refused = rig.ask(&Command::Xsched(Xsched::new(tag, verb)));
    assert_eq!(refused, Err(Refused::ScheduleOfTag));
    for held in [TARGET, SCHEDULE] {
        rig.reply(&Command::Append(held, b"no stream"));
        assert_eq!(rig.add_verb(verb), Err(Refused::WrongType), "{held:?}");
        rig.reply(&Command::Del(vec![held]));
    }
    let pair: [&[u8]; 2] = [b"x-sched-at", b"v"];
    let verb = SchedVerb::Add { at_ms: 1, once: None, fields: Fields::Arguments(&pair) };
    assert_eq!(rig.add_verb(verb), Err(Refused::ScheduleField));
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_early_and_loses_nothing() {
    each(|rig| {
        let start = rig.wall_ms;
        rig.add(start + 1000, "one");
        rig.step_to(start - 3_600_000);
        rig.add(start - 3_600_000 + 500, "by the new clock");
        rig.wait(499);
        assert_eq!(rig.scheduled(), 2);
        rig.wait(1);
        assert_eq!(rig.names(TARGET), ["by the new clock"]);
        rig.wait(3_600_000 - 500);
        assert_eq!(rig.scheduled(), 1, "it is {start} again");
        rig.wait(1000);
        assert_eq!(rig.names(TARGET), ["by the new clock", "one"]);
    });
}

#[test]
fn a_clock_that_is_set_back_delays_no_retry() {
    let mut rig = Rig::new(Between::Nothing);
    let start = rig.wall_ms;
    rig.add(start - 900_000, "stuck");
    assert_eq!(rig.names(TARGET), ["stuck"]);
    rig.add(start + 10, "next");
    rig.reply(&Command::Del(vec![TARGET]));
    rig.reply(&Command::Append(TARGET, b"no stream"));
    rig.wait(10);
    assert_eq!(rig.scheduled(), 1);
    rig.step_to(start + 10 - 5);
    rig.step_to(start + 10);
    rig.run(&Command::Del(vec![TARGET])).expect("it is allowed");
    rig.step_to(start + 5);
    rig.step_to(start + 10);
    assert_eq!(rig.names(TARGET), ["next"]);
}

#[test]
fn a_clock_that_is_set_forward_makes_it_due_and_the_loop_wakes_for_it() {
    each(|rig| {
        let start = rig.wall_ms;
        rig.add(start + 86_400_000, "tomorrow");
        let now = rig.now();
        let deadline = rig.shard().next_deadline_us(now).expect("something is scheduled");
        assert!(deadline <= now.monotonic_us + 100_000, "a step is noticed soon");
        rig.step_to(start + 86_400_000);
        assert_eq!(rig.names(TARGET), ["tomorrow"]);
    });
}

#[test]
fn the_loop_wakes_at_the_very_millisecond() {
    let mut rig = Rig::new(Between::Nothing);
    let at_ms = rig.wall_ms + 7;
    rig.add(at_ms, "soon");
    let now = rig.now();
    assert_eq!(rig.shard().next_deadline_us(now), Some(now.monotonic_us + 7000));
}

#[test]
fn keys_that_come_and_go_take_their_schedule_with_their_name() {
    each(|rig| {
        let start = rig.wall_ms;
        // The target: its name counts, whatever becomes of what is there.
        rig.add(start + 100, "a");
        rig.reply(&Command::Del(vec![TARGET]));
        rig.wait(100);
        assert_eq!(rig.names(TARGET), ["a"], "it is created again");
        let other = Key { database: 0, name: b"other" };
        rig.add(start + 200, "b");
        rig.reply(&Command::Rename(TARGET, other, false));
        rig.wait(100);
        assert_eq!((rig.names(TARGET), rig.names(other)), (vec!["b".into()], vec!["a".into()]));
        // The schedule: a copy is none, a new name is another target, without one it rests.
        rig.add(start + 300, "c");
        let to = Key { database: 0, name: b"{other}:sched" };
        rig.reply(&Command::Copy(Copied { from: SCHEDULE, to, replace: false }));
        assert_eq!(rig.names(to), ["c"]);
        rig.reply(&Command::Del(vec![to]));
        let nameless = Key { database: 0, name: b"rests" };
        rig.reply(&Command::Rename(SCHEDULE, nameless, false));
        rig.wait(5000);
        assert_eq!((rig.names(nameless).len(), rig.names(TARGET).len()), (1, 1));
        rig.reply(&Command::Rename(nameless, to, false));
        rig.wait(1000);
        assert_eq!(
            (rig.names(other), rig.names(TARGET)),
            (vec!["a".into(), "c".into()], vec!["b".into()],)
        );
        // Without the schedule nothing comes.
        let at_ms = rig.wall_ms + 10;
        rig.add(at_ms, "d");
        rig.reply(&Command::Del(vec![SCHEDULE]));
        rig.wait(1000);
        assert_eq!((rig.scheduled(), rig.names(TARGET).len()), (0, 1));
    });
}

#[test]
fn a_copy_of_a_schedule_appends_nothing_twice() {
    each(|rig| {
        let at_ms = rig.wall_ms + 10;
        rig.add(at_ms, "once");
        let to = Key { database: 3, name: SCHEDULE.name };
        rig.reply(&Command::Copy(Copied { from: SCHEDULE, to, replace: false }));
        rig.wait(5000);
        assert_eq!(rig.names(TARGET), ["once"]);
        assert_eq!(rig.names(Key { database: 3, name: TARGET.name }), [""; 0]);
        assert_eq!(rig.names(to), ["once"], "an ordinary entry");
    });
}

#[test]
fn what_clients_do_to_the_stream_of_a_schedule_means_what_it_says() {
    each(|rig| {
        let at_ms = rig.wall_ms + 100;
        let deleted = rig.add(at_ms, "deleted");
        rig.add(at_ms, "kept");
        let pairs: [&[u8]; 4] = [b"n", b"a client's", b"x-sched-at", b"1"];
        let (id, fields) = (NewId::Auto, Fields::Arguments(&pairs));
        let xadd =
            Xadd { key: SCHEDULE, must_exist: false, trim: None, id, fields, idempotent: None };
        let Reply::Id(theirs) = rig.reply(&Command::Xadd(xadd)) else { panic!("XADD answers ids") };
        assert_eq!(rig.count(SchedVerb::Cancel(theirs)), 0, "it is not scheduled");
        rig.reply(&Command::Xdel(SCHEDULE, vec![deleted]));
        assert_eq!(rig.scheduled(), 2, "its time still stands there");
        rig.wait(100);
        assert_eq!((rig.names(TARGET), rig.scheduled()), (vec!["kept".to_owned()], 0));
        assert_eq!(rig.names(SCHEDULE), ["a client's"]);
    });
}

#[test]
fn many_that_are_due_at_once_come_in_bounded_batches_and_all_of_them() {
    let mut rig = Rig::new(Between::Nothing);
    let (start, payload) = (rig.wall_ms, "x".repeat(100));
    for n in 0..3000_u64 {
        let value = format!("{n:05}{payload}");
        let pair: [&[u8]; 2] = [b"n", value.as_bytes()];
        // Neighbours in time are far apart in the stream.
        let at_ms = start + 1 + n * 7919 % 3000;
        let verb = SchedVerb::Add { at_ms, once: None, fields: Fields::Arguments(&pair) };
        rig.run(&Command::Xsched(Xsched::new(TARGET, verb))).expect("it is allowed");
    }
    rig.turn();
    rig.wall_ms += 10_000;
    rig.monotonic_us += 10_000_000;
    let mut lengths = vec![0];
    while lengths[lengths.len() - 1] < 3000 {
        rig.turn();
        let length = match rig.run(&Command::Xlen(TARGET)) {
            Ok(Reply::Integer(length)) => length,
            other => panic!("XLEN answers {other:?}"),
        };
        assert!(length - lengths[lengths.len() - 1] <= 2048, "{lengths:?}");
        lengths.push(length);
        assert!(lengths.len() < 100, "it goes on: {lengths:?}");
        // A crash in the middle: none is lost, none is there twice.
        if lengths.len() % 2 == 0 {
            let shard = rig.shard.take().expect("it runs");
            rig.shard = Some(open(shard.into_store().into_disk()));
        }
    }
    let due = |value: &String| value[..5].parse::<u64>().expect("a number") * 7919 % 3000;
    let order: Vec<_> = rig.names(TARGET).iter().map(due).collect();
    assert_eq!(order, (0..3000).collect::<Vec<_>>());
    assert_eq!(rig.scheduled(), 0);
}

#[test]
fn a_transaction_schedules_all_or_nothing() {
    for commits in [false, true] {
        let mut rig = Rig::new(Between::Nothing);
        let at_ms = rig.wall_ms + 10;
        rig.turn();
        let now = rig.now();
        rig.shard().transaction_begin();
        for value in ["a", "b"] {
            let pair: [&[u8]; 2] = [b"n", value.as_bytes()];
            let verb = SchedVerb::Add { at_ms, once: None, fields: Fields::Arguments(&pair) };
            rig.run(&Command::Xsched(Xsched::new(TARGET, verb))).expect("it is allowed");
        }
        rig.shard().transaction_end(now);
        if commits {
            rig.turn();
        }
        let shard = rig.shard.take().expect("it runs");
        rig.shard = Some(open(shard.into_store().into_disk()));
        rig.wait(10);
        assert_eq!(rig.names(TARGET).len(), if commits { 2 } else { 0 });
    }
}

#[test]
fn a_blocked_reader_wakes_for_what_is_due() {
    let mut rig = Rig::new(Between::Nothing);
    let at_ms = rig.wall_ms + 10;
    rig.add(at_ms, "awaited");
    let streams = vec![(TARGET.database, TARGET.name.to_vec(), StreamId::MIN)];
    let reader = ClientId(9);
    let read = BlockedRead::Xread { streams, count: None, most: ReadMost::default() };
    rig.shard().wait(reader, read, None);
    rig.wait(10);
    match rig.shard().poll_event() {
        Some(Event::Served { client, .. }) => assert_eq!(client, reader),
        other => panic!("nobody was served: {other:?}"),
    }
}

#[test]
fn what_a_reader_got_is_told_before_something_due_removes_it() {
    let mut rig = Rig::new(Between::Nothing);
    let (key, group, create_stream, entries_read) = (TARGET, &b"g"[..], true, None);
    let create = XgroupCreate { key, group, id: Some(StreamId::MIN), create_stream, entries_read };
    rig.reply(&Command::XgroupCreate(create));
    let options = vec![GroupOption::AckWait(1000)];
    rig.reply(&Command::XgroupCfgset(XgroupCfgset { key, group, options }));
    let (idmp_duration_s, idmp_iids_max) = (None, None);
    let options = vec![StreamOption::MaxLen(1), StreamOption::OnLimit(OnLimit::Trim)];
    rig.reply(&Command::Xcfgset(Xcfgset { key, idmp_duration_s, idmp_iids_max, options }));
    let group = b"g".to_vec();
    let streams = vec![(TARGET.database, TARGET.name.to_vec())];
    let (consumer, count, most) = (b"c".to_vec(), None, ReadMost::default());
    let (claim_idle_ms, no_ack) = (None, false);
    let read = BlockedReadgroup { group, consumer, count, most, claim_idle_ms, no_ack, streams };
    let reader = ClientId(9);
    // What the reader is told, if anything: all of it must be there.
    let told = |rig: &mut Rig| {
        let Event::Served { answer, .. } = rig.shard().poll_event()? else {
            panic!("it waits for ever");
        };
        let Ok(Reply::Streams(streams)) = answer.result else {
            panic!("no entries");
        };
        let there = rig.shard().entries(&streams[0].1).expect("sound blocks");
        assert_eq!((there.len(), streams[0].1.count), (1, 1), "what is told is there");
        rig.shard().wait(reader, BlockedRead::Xreadgroup(read.clone()), None);
        Some(there[0].id)
    };
    rig.shard().wait(reader, BlockedRead::Xreadgroup(read.clone()), None);
    rig.add(rig.wall_ms, "first");
    rig.add(rig.wall_ms + 1000, "second");
    let first = told(&mut rig).expect("the first is there");
    // The lease of the first ends in the moment in which the second comes, for which it goes.
    (rig.wall_ms, rig.monotonic_us) = (rig.wall_ms + 1000, rig.monotonic_us + 1_000_000);
    let mut ids = Vec::new();
    for _ in 0..8 {
        rig.turn();
        ids.extend(told(&mut rig));
    }
    assert!(ids.len() == 2 && ids[0] == first && ids[1] > first, "{ids:?}");
}
