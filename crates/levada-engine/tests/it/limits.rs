//! MAX-LEN and MAX-BYTES where every entry is a sealed block: the index alone knows what is needed.

use levada_core::command::{Command, NewId, StreamOption, Trim, TrimKeep, Xadd, Xcfgset};
use levada_core::error::{Error as Refused, Limit};
use levada_core::fields::Fields;
use levada_core::id::StreamId;
use levada_core::policy::OnLimit;
use levada_core::reply::{Fact, Reply};
use levada_engine::shard::{ClientId, Outcome, ShardSettings};

use crate::policy_rig::{Between, Rig, STREAM, new_entries};

/// Runs a scenario with a group that needs everything, in every way.
fn each_sealed(scenario: impl Fn(&mut Rig)) {
    let settings = ShardSettings { tail_bytes_max: 0, ..ShardSettings::default() };
    for between in [Between::Nothing, Between::Kill, Between::Checkpoint] {
        let mut rig = Rig::with(between, settings);
        rig.create(b"g");
        scenario(&mut rig);
    }
}

fn try_add(rig: &mut Rig, n: u64) -> Result<Reply, Refused> {
    let (id, fields) = (NewId::Explicit(StreamId::new(n, 0)), Fields::Arguments(&[b"n", b"v"]));
    let (key, must_exist, trim, idempotent) = (STREAM, false, None, None);
    rig.ask(&Command::Xadd(Xadd { key, must_exist, trim, id, fields, idempotent }))
}

fn try_set(rig: &mut Rig, option: StreamOption) -> Result<Reply, Refused> {
    let (idmp_duration_s, idmp_iids_max, options) = (None, None, vec![option]);
    let asked = Xcfgset { key: STREAM, idmp_duration_s, idmp_iids_max, options };
    rig.ask(&Command::Xcfgset(asked))
}

/// Bytes of what the group still needs, by what a refused limit says.
fn bytes_held(rig: &mut Rig) -> u64 {
    match try_set(rig, StreamOption::MaxBytes(1)) {
        Err(Refused::LimitBelowNeeded(Limit::Bytes { max: 1, held })) => held,
        other => panic!("XCFGSET answers {other:?}"),
    }
}

#[test]
fn a_limit_may_be_what_is_needed_and_no_less() {
    each_sealed(|rig| {
        (1..=6).for_each(|n| _ = rig.add(n));
        let six = bytes_held(rig);
        assert_eq!(rig.ids(&new_entries(b"g", b"c", Some(2))).len(), 2);
        assert_eq!(rig.ack(b"g", &[1, 2]), Reply::Integer(2));
        assert_eq!(bytes_held(rig), six / 6 * 4, "two of six are not needed any more");
        assert_eq!(rig.ids(&new_entries(b"g", b"c", Some(1))).len(), 1);
        assert_eq!(bytes_held(rig), six / 6 * 4, "the third is needed as long as it is pending");
        let below = Refused::LimitBelowNeeded(Limit::Len { max: 3, held: 4 });
        assert_eq!(try_set(rig, StreamOption::MaxLen(3)), Err(below));
        assert_eq!(try_set(rig, StreamOption::MaxLen(4)), Ok(Reply::Ok));
    });
}

#[test]
fn an_entry_that_is_needed_does_not_go_for_bytes_though_the_tail_is_empty() {
    each_sealed(|rig| {
        rig.add(1);
        let one = bytes_held(rig);
        rig.set_stream(vec![StreamOption::MaxBytes(one)]);
        let full = Refused::Limit(Limit::Bytes { max: one, held: one });
        assert_eq!(try_add(rig, 2), Err(full));
        assert_eq!(rig.len(STREAM), Reply::Integer(1));
        assert_eq!((rig.read(b"g", b"c"), rig.ack(b"g", &[1])), (1, Reply::Integer(1)));
        assert!(try_add(rig, 2).is_ok(), "nobody needs the first one any more");
        assert_eq!(rig.len(STREAM), Reply::Integer(1));
    });
}

#[test]
fn what_goes_for_a_limit_is_counted_pending_and_unread_alike() {
    each_sealed(|rig| {
        (1..=5).for_each(|n| _ = rig.add(n));
        let one = bytes_held(rig) / 5;
        assert_eq!(rig.ids(&new_entries(b"g", b"c", Some(2))).len(), 2);
        let trim = StreamOption::OnLimit(OnLimit::Trim);
        rig.set_stream(vec![trim, StreamOption::MaxBytes(one)]);
        rig.add(6);
        assert_eq!((rig.lag("dropped"), rig.len(STREAM)), (Fact::Number(5), Reply::Integer(1)));
    });
}

#[test]
fn a_trim_to_the_beginning_of_a_block_reads_none() {
    let settings = ShardSettings { tail_bytes_max: 0, ..ShardSettings::default() };
    let mut rig = Rig::with(Between::Checkpoint, settings);
    (1..=4).for_each(|n| _ = rig.add(n));
    let keep = TrimKeep::MinId(StreamId::new(3, 0));
    let trim = Trim { keep, approximate: false, limit: None, references: None };
    let now = rig.now();
    let shard = rig.shard.as_mut().expect("it runs");
    let Outcome::Done(answer) = shard.execute(now, ClientId(1), &Command::Xtrim(STREAM, trim))
    else {
        panic!("it waits for a block");
    };
    assert_eq!(answer.result, Ok(Reply::Integer(2)));
}
