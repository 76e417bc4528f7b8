//! ORDER-BY: entries of one key come in order, one at a time, whatever happens to consumers and to
//! the process.

use std::collections::BTreeMap;

use levada_core::{
    command::{
        Command, GroupOption, Letters, NackMode, NewId, StreamOption, Xadd, Xclaim, Xdlq, XdlqVerb,
        XgroupHandover, XgroupSetid, Xnack,
    },
    error::Error as Refused,
    fields::Fields,
    id::StreamId,
    policy::Retention,
    reply::{Fact, Reply},
};
use levada_engine::shard::ShardSettings;

use crate::policy_rig::{Between, LETTERS, Rig, STREAM, each, new_entries};

fn id(n: u64) -> StreamId {
    StreamId::new(n, 0)
}

/// XADD of an entry with a key, or without one.
fn add(rig: &mut Rig, n: u64, key: &str) {
    let with: [&[u8]; 4] = [b"n", b"v", b"who", key.as_bytes()];
    let fields = Fields::Arguments(if key.is_empty() { &with[..2] } else { &with });
    let (id, must_exist, trim, idempotent) = (NewId::Explicit(id(n)), false, None, None);
    rig.reply(&Command::Xadd(Xadd { key: STREAM, must_exist, trim, id, fields, idempotent }));
}

fn ordered(rig: &mut Rig) {
    rig.create(b"g");
    rig.set_group(vec![GroupOption::OrderBy(b"who"), GroupOption::AckWait(1000)]);
}

/// XREADGROUP GROUP g consumer \[COUNT n] STREAMS orders >
fn read(rig: &mut Rig, consumer: &str, count: Option<u64>) -> Vec<u64> {
    let ids = rig.ids(&new_entries(b"g", consumer.as_bytes(), count));
    ids.iter().map(|id| id.ms).collect()
}

fn nack(rig: &mut Rig, n: u64, mode: NackMode) {
    let (retry_count, delay_ms, reason, force) = (None, None, None, false);
    let (key, group, ids) = (STREAM, &b"g"[..], vec![id(n)]);
    let nack = Xnack { key, group, mode, ids, retry_count, force, delay_ms, reason };
    assert_eq!(rig.reply(&Command::Xnack(nack)), Reply::Integer(1));
}

fn setid(rig: &mut Rig, n: u64) {
    let (key, group, entries_read) = (STREAM, &b"g"[..], None);
    let setid = XgroupSetid { key, group, id: Some(id(n)), entries_read };
    rig.reply(&Command::XgroupSetid(setid));
}

/// Entries 1 to 6: three of a, two of b, one without a key.
fn six(rig: &mut Rig) {
    for (n, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "a"), (5, "b"), (6, "")] {
        add(rig, n, key);
    }
}

#[test]
fn an_acknowledgement_frees_its_key_and_nothing_else_does() {
    each(|rig| {
        ordered(rig);
        six(rig);
        assert_eq!(read(rig, "c", None), [1, 3, 6]);
        assert_eq!((rig.lag("parked"), rig.lag("entries")), (Fact::Number(3), Fact::Number(3)));
        assert_eq!((rig.info(b"g").lag, rig.info(b"g").pending), (Some(3), 3));
        assert_eq!(rig.lag("watermark"), Fact::Id(id(1)));
        assert_eq!(read(rig, "other", None), []);
        rig.ack(b"g", &[1]);
        assert_eq!(read(rig, "other", None), [2], "4 is behind it");
        add(rig, 7, "c");
        add(rig, 8, "b");
        assert_eq!(read(rig, "c", None), [7]);
        rig.ack(b"g", &[2, 3]);
        assert_eq!(read(rig, "c", None), [4, 5]);
        rig.ack(b"g", &[4, 5, 6, 7]);
        assert_eq!(read(rig, "c", Some(1)), [8]);
        assert_eq!((rig.lag("parked"), rig.info(b"g").lag), (Fact::Number(0), Some(0)));
    });
}

#[test]
fn a_failed_entry_comes_again_before_later_ones_of_its_key_and_rests_for_all_of_them() {
    each(|rig| {
        ordered(rig);
        rig.set_group(vec![GroupOption::Backoff(vec![5000]), GroupOption::MaxDeliver(3)]);
        six(rig);
        assert_eq!(read(rig, "c", None), [1, 3, 6]);
        rig.ack(b"g", &[3, 6]);
        rig.wait(1000);
        assert_eq!(read(rig, "c", None), [5], "a rests");
        rig.ack(b"g", &[5]);
        rig.wait(5000);
        assert_eq!(read(rig, "c", None), [1]);
        nack(rig, 1, NackMode::Fatal);
        assert_eq!(rig.len(LETTERS), Reply::Integer(1));
        assert_eq!(read(rig, "c", None), [2], "a dead letter frees its key");
        let (verb, after) = (XdlqVerb::Redrive, StreamId::MIN);
        let redrive = Xdlq { verb, key: STREAM, group: b"g", letters: Letters::First(9), after };
        assert_eq!(rig.reply(&Command::Xdlq(redrive)), Reply::Integer(1));
        assert_eq!(read(rig, "c", None), [], "2 is in flight");
        rig.ack(b"g", &[2]);
        let redriven = read(rig, "c", None);
        assert!(redriven.len() == 1 && redriven[0] > 6, "{redriven:?}, before 4");
        rig.reply(&Command::Xack(STREAM, b"g", vec![id(redriven[0])]));
        assert_eq!(read(rig, "c", None), [4]);
    });
}

#[test]
fn at_the_bound_only_what_is_parked_goes_on() {
    for between in [Between::Nothing, Between::Kill, Between::Checkpoint] {
        let settings = ShardSettings { order_window: 2, ..ShardSettings::default() };
        let rig = &mut Rig::with(between, settings);
        ordered(rig);
        for (n, key) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "a"), (6, "c")] {
            add(rig, n, key);
        }
        assert_eq!(read(rig, "c", None), [1, 4]);
        assert_eq!((read(rig, "c", None), rig.lag("parked")), (vec![], Fact::Number(2)));
        rig.ack(b"g", &[1]);
        assert_eq!(read(rig, "c", None), [2, 6], "5 took the place of 2");
        assert_eq!(rig.lag("parked"), Fact::Number(2));
    }
}

#[test]
fn parked_entries_hold_retention_back_and_deleted_ones_are_passed_over() {
    each(|rig| {
        ordered(rig);
        rig.set_stream(vec![StreamOption::Retention(Retention::Acked)]);
        six(rig);
        assert_eq!(read(rig, "c", None), [1, 3, 6]);
        rig.ack(b"g", &[3, 6]);
        rig.reply(&Command::Xdel(STREAM, vec![id(1), id(2)]));
        rig.ack(b"g", &[1]);
        assert_eq!(rig.len(STREAM), Reply::Integer(3), "4 and 5, and 6 behind them");
        assert_eq!(read(rig, "c", None), [4, 5], "2 is gone");
        rig.ack(b"g", &[4, 5]);
        assert_eq!((rig.len(STREAM), rig.lag("parked")), (Reply::Integer(0), Fact::Number(0)));
    });
}

#[test]
fn consumers_go_and_leave_their_keys_to_others() {
    each(|rig| {
        ordered(rig);
        rig.set_group(vec![GroupOption::AckWait(0)]);
        six(rig);
        assert_eq!(read(rig, "c", None), [1, 3, 6]);
        let gone = Command::XgroupDelconsumer(STREAM, b"g", b"c");
        assert_eq!(rig.reply(&gone), Reply::Integer(3), "it hands back");
        assert_eq!(read(rig, "d", None), [1, 3, 6]);
        let handover = XgroupHandover { key: STREAM, group: b"g", consumer: b"d", to: Some(b"e") };
        rig.reply(&Command::XgroupHandover(handover));
        assert_eq!(read(rig, "f", None), []);
        let claim = Xclaim {
            key: STREAM,
            group: b"g",
            consumer: b"f",
            idle_ms_min: 0,
            ids: vec![id(1), id(2)],
            delivered: None,
            retry_count: None,
            force: true,
            just_id: false,
            last_id: None,
        };
        assert_eq!(rig.ids(&Command::Xclaim(claim)), [id(1)], "2 is not in flight");
        rig.ack(b"g", &[1]);
        assert_eq!(read(rig, "f", None), [2]);
        rig.reply(&Command::XgroupDestroy(STREAM, b"g"));
        rig.create(b"g");
        assert_eq!(read(rig, "c", None), [1, 2, 3, 4, 5, 6], "a new group has no order");
    });
}

#[test]
fn a_group_that_is_set_forward_skips_and_one_that_is_set_back_comes_by_again() {
    each(|rig| {
        ordered(rig);
        six(rig);
        assert_eq!(read(rig, "c", Some(2)), [1, 3]);
        assert_eq!(rig.lag("parked"), Fact::Number(1));
        setid(rig, 0);
        assert_eq!(read(rig, "c", None), [6], "what is in flight is not given to two");
        assert_eq!(rig.lag("parked"), Fact::Number(3));
        setid(rig, 6);
        rig.ack(b"g", &[1, 3, 6]);
        assert_eq!(read(rig, "c", None), []);
        assert_eq!((rig.lag("parked"), rig.lag("entries")), (Fact::Number(0), Fact::Number(0)));
    });
}

#[test]
fn it_begins_with_what_is_pending_and_ends_with_what_is_parked() {
    each(|rig| {
        rig.create(b"g");
        rig.set_group(vec![GroupOption::AckWait(1000)]);
        six(rig);
        assert_eq!(read(rig, "c", Some(2)), [1, 2]);
        rig.set_group(vec![GroupOption::OrderBy(b"who")]);
        assert_eq!(read(rig, "c", None), [3, 6], "a is busy");
        rig.wait(1000);
        assert_eq!(read(rig, "d", None), [1, 3, 6], "of two only the first");
        let options = vec![GroupOption::OrderBy(b"other")];
        let refused = rig.try_set_group(options).expect_err("it goes by another field");
        assert_eq!(refused, Refused::OrderChanges);
        rig.set_group(vec![GroupOption::OrderBy(b"")]);
        assert_eq!(read(rig, "d", None), [2, 4, 5], "nothing is lost");
        assert_eq!(rig.lag("parked"), Fact::Number(0));
    });
}

/// A generator (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What is known of each entry that is not done: its key, and until when somebody has it.
#[derive(Default)]
struct Model {
    open: BTreeMap<u64, (String, u64)>,
    added: u64,
}

impl Model {
    /// An entry was delivered now: it must be the first of its key, and with nobody else.
    fn deliver(&mut self, n: u64, now_ms: u64) {
        let (key, until_ms) = self.open.get(&n).unwrap_or_else(|| panic!("{n} was done"));
        assert!(*until_ms <= now_ms, "{n} is with somebody");
        let key = key.clone();
        if !key.is_empty() {
            let first = self.open.iter().find(|(_, (of, _))| *of == key);
            assert_eq!(first.map(|(first, _)| *first), Some(n), "of {key}");
        }
        self.open.insert(n, (key, now_ms + 1000));
    }
}

/// A step of somebody.
fn step(rig: &mut Rig, model: &mut Model, chance: &mut Chance) {
    let consumer = format!("c{}", chance.below(4));
    let busy: Vec<u64> = model
        .open
        .iter()
        .filter(|(_, (_, until_ms))| *until_ms > rig.now_ms)
        .map(|(n, _)| *n)
        .collect();
    let one = (!busy.is_empty())
        .then(|| busy[usize::try_from(chance.below(64)).expect("small") % busy.len()]);
    match (chance.below(10), one) {
        (0..=3, _) => {
            model.added += 1;
            let key = ["", "a", "b", "c"][usize::try_from(chance.below(4)).expect("small")];
            add(rig, model.added, key);
            model.open.insert(model.added, (key.to_owned(), 0));
        }
        (4..=5, _) => {
            for n in read(rig, &consumer, Some(1 + chance.below(5))) {
                model.deliver(n, rig.now_ms);
            }
        }
        (6..=7, Some(n)) => {
            assert_eq!(rig.ack(b"g", &[n]), Reply::Integer(1));
            model.open.remove(&n);
        }
        (8, Some(n)) => {
            nack(rig, n, NackMode::Fail);
            model.open.entry(n).and_modify(|(_, until_ms)| *until_ms = 0);
        }
        _ => rig.wait(400),
    }
}

#[test]
fn whatever_happens_every_key_is_in_order_and_nothing_is_lost() {
    // A kill is slow: a store is opened.
    let runs = [(Between::Nothing, 5, 300), (Between::Kill, 1, 120), (Between::Checkpoint, 1, 120)];
    for (between, seeds, steps) in runs {
        for seed in 0..seeds {
            let settings = ShardSettings { order_window: 5, ..ShardSettings::default() };
            let rig = &mut Rig::with(between, settings);
            let (mut model, mut chance) = (Model::default(), Chance(seed));
            ordered(rig);
            for _ in 0..steps {
                step(rig, &mut model, &mut chance);
            }
            rig.wait(1000);
            let mut rounds = 0;
            while !model.open.is_empty() {
                let given = read(rig, "last", None);
                assert!(!given.is_empty(), "lost: {:?}", model.open);
                for n in &given {
                    model.deliver(*n, rig.now_ms);
                }
                rig.ack(b"g", &given);
                given.iter().for_each(|n| drop(model.open.remove(n)));
                rounds += 1;
                assert!(rounds < 1000);
            }
            assert_eq!((rig.lag("entries"), rig.lag("parked")), (Fact::Number(0), Fact::Number(0)));
            assert_eq!(rig.info(b"g").pending, 0);
        }
    }
}
