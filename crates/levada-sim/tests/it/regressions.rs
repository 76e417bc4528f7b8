//! What the search found, as short traces that failed before they were mended.

use std::sync::Arc;

use levada_core::command::{Command, Key, Mset, Scan, Set, SetExpiry, SetWhen};
use levada_core::error::Error;
use levada_core::reply::Reply;
use levada_engine::clock::Now;
use levada_engine::shard::{ClientId, Outcome, Shard, ShardSettings};
use levada_engine::store::Recovered;
use levada_sim::lockstep;
use levada_sim::model::{
    self, ClaimOptions, Delivered, GroupFrom, GroupStart, Id, Model, NewId, NodeLimits, ReadMore,
    References, Threshold, Trim,
};
use levada_sim::op::{Op, Step, reference};
use levada_sim::recording::Recording;

/// Nothing is sealed before its time.
const UNSEALED: u64 = 1 << 20;

#[test]
fn a_batch_has_one_time() {
    let later = Step { clock_ms: 100, op: add(Id(7, 2)), ends_turn: true };
    let read = Step { clock_ms: 50, op: read(), ends_turn: false };
    check(UNSEALED, &[turn(create()), turn(add(Id(7, 1))), read, later]);
}

#[test]
fn dbsize_does_not_count_what_has_expired() {
    let expires = Step { clock_ms: 0, op: Op::Set(0, b"v".to_vec(), Some(45)), ends_turn: true };
    let other = Step { clock_ms: 60, op: Op::Set(2, b"v".to_vec(), None), ends_turn: false };
    check(UNSEALED, &[expires, other, turn(Op::Dbsize(0))]);
}

#[test]
fn entries_read_counts_on_only_from_within_the_stream() {
    let create = Op::GroupCreate {
        key: 0,
        group: 0,
        start: GroupStart::After(Id::MIN),
        create: true,
        entries_read: Some(1),
    };
    check(UNSEALED, &[turn(add(Id(7, 1))), turn(create), turn(read())]);
}

#[test]
fn a_node_is_full_by_what_it_holds() {
    // Each entry has 15 bytes: the second fills a node of 20 as it does one of 30.
    for (max_bytes, keep) in [(20, Id(7, 2)), (30, Id(7, 3))] {
        let limits = NodeLimits { max_entries: 0, max_bytes };
        let trim = Op::Xtrim(0, to_id(keep, true));
        let adds = [1, 2, 3, 4].map(|seq| turn(add(Id(7, seq))));
        check(UNSEALED, &[&[turn(Op::Limits(limits))], &adds[..], &[turn(trim)]].concat());
    }
}

#[test]
fn a_node_ends_with_its_last_entry() {
    let limits = NodeLimits { max_entries: 2, max_bytes: 0 };
    let steps = [
        Op::Limits(limits),
        add(Id(7, 1)),
        add(Id(7, 2)),
        add(Id(7, 3)),
        Op::Xdel(0, vec![Id(7, 3)]),
        add(Id(7, 4)),
        add(Id(7, 5)),
        Op::Xtrim(0, to_id(Id(7, 5), true)),
    ];
    check(UNSEALED, &steps.map(turn));
}

#[test]
fn a_trim_goes_past_the_last_sealed_block() {
    let Op::Xadd { key, create, id, fields, .. } = add(Id(7, 2)) else { unreachable!() };
    let trimmed = Op::Xadd { key, create, trim: Some(to_id(Id(9, 0), true)), id, fields };
    check(0, &[add(Id(7, 1)), Op::Xlen(0), trimmed].map(turn));
}

#[test]
fn a_reader_of_several_keys_gets_nothing_of_one_that_has_expired() {
    let both = Op::Xreadgroup {
        group: 0,
        consumer: 0,
        from: vec![(0, GroupFrom::New), (1, GroupFrom::New)],
        count: 0,
        noack: false,
        more: ReadMore { block_ms: Some(0), ..ReadMore::default() },
    };
    let of = |key| Op::GroupCreate {
        key,
        group: 0,
        start: GroupStart::After(Id::MIN),
        create: true,
        entries_read: None,
    };
    let Op::Xadd { create, trim, id, fields, .. } = add(Id(7, 1)) else { unreachable!() };
    let other = Op::Xadd { key: 1, create, trim, id, fields };
    // The append wakes the reader when the first key is over and nobody has named it since.
    let later = Step { clock_ms: 100, op: other, ends_turn: false };
    let steps = [of(0), of(1), Op::Pexpire(0, 50), both].map(turn);
    check(UNSEALED, &[&steps[..], &[later, turn(Op::Dbsize(0))]].concat());
}

/// The id of a refused XADD is no reason to begin a node, however far the last id was set.
#[test]
fn a_refused_add_ends_no_node() {
    let to = Trim { to: Threshold::MaxLen(2), ..to_id(Id::MIN, true) };
    let last_id = Id(9, 0);
    let refused = Op::Xadd {
        key: 0,
        create: true,
        trim: Some(to),
        id: NewId::Exact(Id(9, 0)),
        fields: vec![(b"f".to_vec(), b"v".to_vec())].into(),
    };
    let steps = [
        add(Id(7, 1)),
        Op::Xsetid { key: 0, last_id, entries_added: None, max_deleted_id: None },
        refused,
        add(Id(9, 1)),
        add(Id(9, 2)),
        Op::Xtrim(0, to),
    ];
    check(UNSEALED, &steps.map(turn));
}

#[test]
fn what_was_over_when_it_was_watched_may_go() {
    let expires = turn(Op::Set(0, b"v".to_vec(), Some(45)));
    let later = Step { clock_ms: 60, op: Op::Watch(vec![0]), ends_turn: true };
    check(UNSEALED, &[expires, later, turn(Op::Multi(vec![Op::Dbsize(0)]))]);
}

#[test]
fn what_is_over_since_it_was_watched_has_changed() {
    let expires = turn(Op::Set(0, b"v".to_vec(), Some(45)));
    let later = Step { clock_ms: 60, ..turn(Op::Multi(vec![Op::Dbsize(0)])) };
    check(UNSEALED, &[expires, turn(Op::Watch(vec![0])), later]);
}

/// What Redis 8.6.3 answers to `XTRIM s MAXLEN ~ 1` of four entries, the last id having been set
/// ahead and back behind the third, by `stream-node-max-entries`.
#[test]
fn a_trim_after_the_last_id_went_back_follows_the_nodes() {
    use References::{Acked, Keep, Remove};
    let seen = [(1, [3, 3, 3]), (2, [2, 3, 3]), (3, [3, 3, 3]), (100, [0, 3, 3])];
    for (max_entries, removed) in seen {
        for (references, removed) in [Keep, Remove, Acked].into_iter().zip(removed) {
            let set = |ms| Op::Xsetid {
                key: 0,
                last_id: Id(ms, 0),
                entries_added: None,
                max_deleted_id: None,
            };
            let to = Threshold::MaxLen(1);
            let trim = Trim { to, approx: true, limit: None, references };
            let group = Op::GroupCreate {
                key: 0,
                group: 0,
                start: GroupStart::After(Id(6, 0)),
                create: false,
                entries_read: None,
            };
            let steps = [
                Op::Limits(NodeLimits { max_entries, max_bytes: 0 }),
                add(Id(1, 1)),
                add(Id(2, 1)),
                add(Id(3, 1)),
                set(10),
                set(5),
                add(Id(6, 0)),
                group,
                Op::Xtrim(0, trim),
            ];
            let mut model = Model::default();
            let answers = steps.iter().flat_map(|op| reference::apply(&mut model, 1000, op));
            let expected = Ok(model::Reply::Integer(removed));
            assert_eq!(answers.last(), Some(expected), "{max_entries} {references:?}");
            for tail_bytes_max in [0, 60, UNSEALED] {
                check(tail_bytes_max, &steps.clone().map(turn));
            }
        }
    }
}

#[test]
fn the_largest_id_means_new_to_a_group() {
    let read = Op::Xreadgroup {
        group: 0,
        consumer: 0,
        from: vec![(0, GroupFrom::After(Id::MAX))],
        count: 0,
        noack: false,
        more: ReadMore::default(),
    };
    check(UNSEALED, &[create(), read.clone(), add(Id(7, 1)), read].map(turn));
}

#[test]
fn a_reissued_id_is_not_taken_for_an_entry() {
    let claim = |just_id| Op::Xautoclaim {
        key: 0,
        group: 0,
        consumer: 1,
        min_idle_ms: 0,
        start: Id::MIN,
        count: 5,
        just_id,
    };
    let back = Op::Xsetid { key: 0, last_id: Id(0, 0), entries_added: None, max_deleted_id: None };
    let empty = Op::Xtrim(0, to_id(Id(8, 0), false));
    let before = [create(), add(Id(7, 5)), read(), empty, back, add(Id(7, 1)), add(Id(7, 9))];
    for just_id in [false, true] {
        let steps = [&before[..], &[claim(just_id)]].concat();
        check(UNSEALED, &steps.into_iter().map(turn).collect::<Vec<_>>());
    }
}

/// The cursor passes over whole chunks of pending entries that are young and there, and over
/// nothing else: each pass comes by the idle ones and by those that were deleted.
#[test]
fn the_cursor_of_xautoclaim_passes_over_nothing_to_be_claimed() {
    let id = |n: u64| Id(7, n);
    let claim = |start: u64, count| Op::Xautoclaim {
        key: 0,
        group: 0,
        consumer: 1,
        min_idle_ms: 1500,
        start: id(start),
        count,
        just_id: count % 2 == 0,
    };
    let make_idle = |ids: &[u64]| Op::Xclaim {
        key: 0,
        group: 0,
        consumer: 0,
        min_idle_ms: 0,
        ids: ids.iter().map(|n| id(*n)).collect(),
        options: ClaimOptions {
            delivered: Some(Delivered::Ago(1800)),
            just_id: true,
            ..ClaimOptions::default()
        },
    };
    let add = |n| Step { clock_ms: 0, op: add(id(n)), ends_turn: false };
    let mut steps: Vec<_> = (1..=1000).map(add).collect();
    steps.push(Step { clock_ms: 5000, op: create(), ends_turn: true });
    steps.push(turn(read()));
    let look = |steps: &mut Vec<Step>| {
        for start in [0, 257, 600, 1000] {
            for count in [1, 31, 100] {
                steps.push(turn(claim(start, count)));
            }
        }
    };
    look(&mut steps);
    for (idle, deleted) in [(&[500, 900][..], &[][..]), (&[], &[501, 800]), (&[1, 1000], &[400])] {
        steps.push(turn(make_idle(idle)));
        steps.push(turn(Op::Xdel(0, deleted.iter().map(|n| id(*n)).collect())));
        look(&mut steps);
    }
    check(UNSEALED, &steps);
    check(1000, &steps);
}

#[test]
fn a_batch_does_not_outgrow_the_log() {
    let store = Recording::with_delay(0);
    let settings = ShardSettings::default();
    let mut shard =
        Shard::recover(store, Recovered::default(), settings, 0).expect("nothing is there");
    let (now, value) = (Now { wall_ms: 1, monotonic_us: 1 }, vec![b'v'; 1 << 20]);
    for n in 0..40_u8 {
        let key = Key { database: 0, name: &[n] };
        let (when, expiry) = (SetWhen::default(), SetExpiry::Clear);
        let set = Command::Set(Set { key, value: &value, when, expiry, get: false });
        shard.execute(now, ClientId(1), &set);
    }
    shard.commit(now).expect("memory does not fail");
    let sizes = shard.store_mut().take_log().into_iter().map(|batch| batch.effects.len());
    let sizes: Vec<_> = sizes.collect();
    assert!(sizes.iter().sum::<usize>() > 40 << 20, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size < 10 << 20), "{sizes:?}");
}

/// A key that MSET writes was once evicted to make room for another one of the same MSET.
#[test]
fn what_is_written_is_not_evicted_for_it() {
    let store = Recording::with_delay(0);
    let settings = ShardSettings { strings_bytes_max: 1000, ..ShardSettings::default() };
    let mut shard =
        Shard::recover(store, Recovered::default(), settings, 0).expect("nothing is there");
    let now = Now { wall_ms: 1, monotonic_us: 1 };
    let key = |name| Key { database: 0, name };
    let mut run = |command: &Command<'_>| match shard.execute(now, ClientId(1), command) {
        Outcome::Done(answer) => answer.result,
        Outcome::NeedBlocks => panic!("strings need no blocks"),
    };
    let (when, expiry) = (SetWhen::default(), SetExpiry::At(u64::MAX));
    for name in [b"a", b"b"] {
        let set = Set { key: key(name), value: &[b'v'; 400], when, expiry, get: false };
        assert_eq!(run(&Command::Set(set)), Ok(Reply::Ok));
    }
    let pairs = vec![(key(b"c"), &[b'v'; 400][..]), (key(b"a"), b"w")];
    let mset = Mset { pairs, exists: None, expiry: SetExpiry::Clear };
    assert_eq!(run(&Command::Mset(mset)), Ok(Reply::Integer(1)));
    assert_eq!(run(&Command::Get(key(b"a"))), Ok(Reply::Bytes(b"w"[..].into())));
    assert_eq!(run(&Command::Strlen(key(b"b"))), Ok(Reply::Integer(400)), "there was room");
    let pairs = vec![(key(b"d"), &[b'v'; 400][..]), (key(b"b"), &[b'w'; 400][..])];
    let mset = Mset { pairs, exists: None, expiry: SetExpiry::Clear };
    assert_eq!(run(&Command::Mset(mset)), Err(Error::OutOfMemory));
}

/// Keys that are over were shown until they were removed, which a full disk puts off, and which
/// takes turns where they are many.
#[test]
fn what_shows_all_keys_leaves_out_what_is_over_before_it_is_removed() {
    let store = Recording::with_delay(0);
    let mut shard = Shard::recover(store, Recovered::default(), ShardSettings::default(), 0)
        .expect("nothing is there");
    let mut run = |wall_ms, command: &Command<'_>| {
        let now = Now { wall_ms, monotonic_us: wall_ms * 1000 };
        shard.commit(now).expect("memory does not fail");
        match shard.execute(now, ClientId(1), command) {
            Outcome::Done(answer) => answer.result,
            Outcome::NeedBlocks => panic!("strings need no blocks"),
        }
    };
    for n in 0..5000_u16 {
        let (key, when) = (Key { database: 0, name: &n.to_be_bytes() }, SetWhen::default());
        let expiry = if n == 4000 { SetExpiry::Clear } else { SetExpiry::At(45) };
        let set = Set { key, value: b"v", when, expiry, get: false };
        assert_eq!(run(1, &Command::Set(set)), Ok(Reply::Ok));
    }
    assert_eq!(run(45, &Command::Dbsize(0)), Ok(Reply::Integer(5000)));
    let left: Arc<[u8]> = 4000_u16.to_be_bytes()[..].into();
    let scan = Scan { database: 0, cursor: 0, pattern: None, count: 10_000, kind: None };
    assert_eq!(run(100, &Command::Dbsize(0)), Ok(Reply::Integer(1)));
    assert_eq!(run(100, &Command::Scan(scan)), Ok(Reply::Scanned(0, vec![left.clone()])));
    assert_eq!(run(100, &Command::Keys(0, b"*")), Ok(Reply::Names(vec![left.clone()])));
    assert_eq!(run(100, &Command::Randomkey(0, 6)), Ok(Reply::Bytes(left)));
}

fn check(tail_bytes_max: u64, steps: &[Step]) {
    lockstep::check(tail_bytes_max, steps).unwrap_or_else(|what| panic!("{what}"));
}

fn turn(op: Op) -> Step {
    Step { clock_ms: 1, op, ends_turn: true }
}

fn add(id: Id) -> Op {
    let fields = vec![(b"field".to_vec(), b"some value".to_vec())];
    Op::Xadd { key: 0, create: true, trim: None, id: NewId::Exact(id), fields: fields.into() }
}

fn create() -> Op {
    let start = GroupStart::After(Id::MIN);
    Op::GroupCreate { key: 0, group: 0, start, create: true, entries_read: None }
}

fn read() -> Op {
    let from = vec![(0, GroupFrom::New)];
    Op::Xreadgroup {
        group: 0,
        consumer: 0,
        from,
        count: 0,
        noack: false,
        more: ReadMore::default(),
    }
}

fn to_id(id: Id, approx: bool) -> Trim {
    Trim { to: Threshold::MinId(id), approx, limit: None, references: References::Keep }
}
