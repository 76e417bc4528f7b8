//! Policies over a store that is closed and opened again at every step: leases, dead letters,
//! retention, limits.

use levada_core::{
    command::{
        Command, GroupOption, NackMode, NewId, ReadMost, StreamOption, Trim, TrimKeep, Xadd,
        XgroupHandover, Xnack, Xreadgroup,
    },
    error::{Error as Refused, Limit},
    fields::Fields,
    id::StreamId,
    limits::BLOCK_ROWS,
    policy::{OnLimit, Retention},
    reply::{Fact, Reply},
};

use crate::policy_rig::{Between, LETTERS, Rig, STREAM, each};

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

/// How many names one step lets go: more than one question does.
const WAVE: u32 = 1500;

#[test]
fn a_hundred_thousand_names_leave_no_trace() {
    let mut rig = Rig::new(Between::Nothing);
    rig.create(b"g");
    rig.set_group(vec![GroupOption::ConsumerTtl(10_000)]);
    let names = (0..100_500).map(|n| format!("worker-{n}")).collect::<Vec<_>>();
    for (wave, names) in (1..).zip(names.chunks(WAVE as usize)) {
        rig.quietly(|rig| {
            rig.add(wave);
            names.iter().for_each(|name| _ = rig.read(b"g", name.as_bytes()));
        });
        assert_eq!(rig.info(b"g").consumers, u64::from(WAVE), "they are there");
        rig.wait(10_000);
        let info = rig.info(b"g");
        assert_eq!((info.consumers, info.pending), (0, wave), "they went, their work did not");
    }
    let waves = names.len() as u64 / u64::from(WAVE);
    assert_eq!(rig.read(b"g", b"the last"), waves, "one of each wave held an entry");
}
