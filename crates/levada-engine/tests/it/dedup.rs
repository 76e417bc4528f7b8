//! DEDUP-WINDOW and DEDUP-MAX over a store that is closed and opened again at every step.

use levada_core::{
    command::{Command, Copied, Idempotent, Key, NewId, StreamOption, Xadd, Xcfgset, Xidmprecord},
    dedup::ID_BYTES,
    error::Error as Refused,
    fields::Fields,
    id::StreamId,
    reply::{IdmpFacts, Reply},
};

use crate::policy_rig::{Between, Rig, STREAM, each};

const COPY: Key<'_> = Key { database: 3, name: b"copy" };
const HOUR_MS: u64 = 3_600_000;

/// XADD key IDMP pid iid * f v
fn append(rig: &mut Rig, key: Key<'_>, pid: &[u8], iid: &[u8]) -> StreamId {
    let fields = Fields::Arguments(&[b"f", b"v"]);
    let idempotent = Some(Idempotent { pid, iid: Some(iid) });
    let id = NewId::Auto;
    let xadd = Xadd { key, must_exist: false, trim: None, id, fields, idempotent };
    match rig.reply(&Command::Xadd(xadd)) {
        Reply::Id(id) => id,
        other => panic!("XADD answers {other:?}"),
    }
}

fn facts(rig: &mut Rig, key: Key<'_>) -> IdmpFacts {
    match rig.reply(&Command::XinfoStream(key, None)) {
        Reply::StreamInfo(info) => info.facts.idmp,
        other => panic!("not facts: {other:?}"),
    }
}

fn set(rig: &mut Rig, options: Vec<StreamOption>) -> Result<Reply, Refused> {
    let (idmp_duration_s, idmp_iids_max) = (None, None);
    rig.ask(&Command::Xcfgset(Xcfgset { key: STREAM, idmp_duration_s, idmp_iids_max, options }))
}

#[test]
fn a_repetition_is_answered_with_the_first_id_for_as_long_as_the_window() {
    each(|rig| {
        rig.create(b"g");
        rig.set_stream(vec![StreamOption::DedupWindow(HOUR_MS)]);
        let first = append(rig, STREAM, b"p", b"1");
        assert!(append(rig, STREAM, b"q", b"1") > first, "another producer");
        rig.wait(HOUR_MS - 1);
        assert_eq!(append(rig, STREAM, b"p", b"1"), first);
        assert_eq!((facts(rig, STREAM).iids, facts(rig, STREAM).duplicates), (2, 1));
        rig.wait(1);
        assert!(append(rig, STREAM, b"p", b"1") > first);
        rig.wait(2000);
        assert_eq!(rig.len(STREAM), Reply::Integer(3));
        let facts = facts(rig, STREAM);
        assert_eq!((facts.pids, facts.iids, facts.added), (0, 1, 3));
    });
}

#[test]
fn at_the_maximum_the_oldest_is_forgotten() {
    each(|rig| {
        rig.create(b"g");
        rig.set_stream(vec![StreamOption::DedupMax(3)]);
        let ids = [b"1", b"2", b"3", b"4"].map(|iid| append(rig, STREAM, b"p", iid));
        rig.wait(1000 * HOUR_MS);
        assert_eq!(append(rig, STREAM, b"p", b"2"), ids[1]);
        assert!(append(rig, STREAM, b"p", b"1") > ids[3], "it was the fourth from the end");
        assert_eq!(facts(rig, STREAM).iids, 3);
        rig.set_stream(vec![StreamOption::DedupMax(1)]);
        rig.wait(1000);
        assert_eq!(facts(rig, STREAM).iids, 1);
    });
}

#[test]
fn what_was_tracked_before_is_kept_on_and_nothing_when_it_is_switched_off() {
    each(|rig| {
        let first = append(rig, STREAM, b"p", b"1");
        rig.set_stream(vec![StreamOption::DedupWindow(HOUR_MS), StreamOption::DedupMax(10)]);
        rig.wait(HOUR_MS - 1);
        assert_eq!(append(rig, STREAM, b"p", b"1"), first);
        rig.set_stream(vec![StreamOption::DedupWindow(0), StreamOption::DedupMax(0)]);
        let second = append(rig, STREAM, b"p", b"1");
        assert!(second > first);
        assert_eq!(facts(rig, STREAM).pids, 1, "Redis' limits hold");
    });
}

#[test]
fn a_copy_keeps_what_the_stream_keeps() {
    each(|rig| {
        rig.create(b"g");
        rig.set_stream(vec![StreamOption::DedupMax(5000)]);
        let ids: Vec<_> = (0..30_u8).map(|n| append(rig, STREAM, b"p", &[n])).collect();
        let copied = Copied { from: STREAM, to: COPY, replace: false };
        assert_eq!(rig.reply(&Command::Copy(copied)), Reply::Integer(1));
        rig.reply(&Command::Del(vec![STREAM]));
        for n in [0, 17, 29] {
            assert_eq!(append(rig, COPY, b"p", &[n]), ids[usize::from(n)]);
        }
        let renamed = Command::Rename(COPY, Key { database: 3, ..STREAM }, false);
        rig.reply(&renamed);
        assert_eq!(append(rig, Key { database: 3, ..STREAM }, b"p", &[5]), ids[5]);
    });
}

#[test]
fn an_id_that_is_recorded_counts_like_one_that_was_appended() {
    each(|rig| {
        rig.create(b"g");
        rig.set_stream(vec![StreamOption::DedupWindow(HOUR_MS)]);
        rig.add(7);
        let id = StreamId::new(7, 0);
        let record = Xidmprecord { key: STREAM, pid: b"p", iid: b"1", id };
        assert_eq!(rig.reply(&Command::Xidmprecord(record)), Reply::Ok);
        assert_eq!(append(rig, STREAM, b"p", b"1"), id);
    });
}

#[test]
fn what_memory_does_not_allow_is_refused_when_it_is_set() {
    let mut rig = Rig::new(Between::Nothing);
    rig.create(b"g");
    let bytes_max = 512 << 20;
    let most = bytes_max / 48;
    let refused = set(&mut rig, vec![StreamOption::DedupMax(most + 1)]).expect_err("too many");
    assert_eq!(refused, Refused::DedupTooLarge { ids: most + 1, others: 0, bytes_max });
    rig.set_stream(vec![StreamOption::DedupMax(most - 10)]);
    rig.set_stream(vec![StreamOption::DedupMax(most)]);
    let copied = Copied { from: STREAM, to: COPY, replace: false };
    let refused = rig.ask(&Command::Copy(copied)).expect_err("twice as many");
    assert_eq!(refused, Refused::DedupTooLarge { ids: most, others: most * 48, bytes_max });
    rig.set_stream(vec![StreamOption::DedupMax(0)]);
    assert_eq!(rig.reply(&Command::Copy(copied)), Reply::Integer(1));
}

#[test]
fn many_ids_that_are_over_go_a_part_at_a_time() {
    let mut rig = Rig::new(Between::Nothing);
    rig.create(b"g");
    rig.set_stream(vec![StreamOption::DedupWindow(HOUR_MS)]);
    let now = rig.now();
    let shard = rig.shard.as_mut().expect("it runs");
    for n in 0..40_000_u32 {
        let iid = n.to_le_bytes();
        let fields = Fields::Arguments(&[b"f", b"v"]);
        let idempotent = Some(Idempotent { pid: b"p", iid: Some(&iid) });
        let (id, must_exist, trim) = (NewId::Auto, false, None);
        let xadd = Xadd { key: STREAM, must_exist, trim, id, fields, idempotent };
        drop(shard.execute(now, levada_engine::shard::ClientId(1), &Command::Xadd(xadd)));
    }
    let held = |rig: &Rig| {
        let (_, stream) = rig.shard.as_ref()?.machine().stream(STREAM)?;
        Some(stream.idempotence.dedup()?.len())
    };
    shard.commit(now).expect("a sound disk");
    assert_eq!(held(&rig), Some(40_000));
    rig.now_ms += HOUR_MS + 1000;
    let now = rig.now();
    let shard = rig.shard.as_mut().expect("it runs");
    shard.poll(now).expect("a sound disk");
    assert_eq!(held(&rig), Some(40_000 - 16_384));
    rig.wait(0);
    assert_eq!(held(&rig), Some(0));
    assert_eq!(rig.len(STREAM), Reply::Integer(40_000), "entries stay");
}

#[test]
fn a_copy_counts_towards_the_memory_that_all_may_take() {
    each(|rig| {
        rig.create(b"g");
        rig.set_stream(vec![StreamOption::DedupMax(5000)]);
        let copied = Copied { from: STREAM, to: COPY, replace: false };
        assert_eq!(rig.reply(&Command::Copy(copied)), Reply::Integer(1));
        match set(rig, vec![StreamOption::DedupMax(u64::MAX)]) {
            Err(Refused::DedupTooLarge { others, .. }) => assert_eq!(others, 5000 * ID_BYTES),
            other => panic!("XCFGSET answers {other:?}"),
        }
    });
}
