//! Tests of the module of the same name, apart because they are long.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};

use proptest::prelude::*;

use super::*;

fn due(at_ms: u64, n: u64) -> Due {
    Due { at_ms, id: StreamId::new(n, n % 3) }
}

fn lens(schedule: &Schedule) -> Vec<usize> {
    schedule.chunks.iter().map(|chunk| chunk.rows.len()).collect()
}

/// The pieces of a checkpoint: the head, and each chunk by its number.
type Pieces = (Vec<u8>, BTreeMap<u32, Vec<u8>>);

/// Writes what changed behind `since` over what an earlier checkpoint wrote.
fn save(schedule: &Schedule, since: u64, (head, chunks): &mut Pieces) {
    if schedule.changed() > since {
        head.clear();
        schedule.encode(head);
    }
    for (at, changed) in schedule.chunks() {
        if changed > since {
            let mut bytes = Vec::new();
            let number = schedule.encode_chunk(at, &mut bytes).expect("it is there");
            chunks.insert(number, bytes);
        }
    }
}

fn load((head, chunks): &Pieces) -> Option<Schedule> {
    if head.is_empty() {
        return Some(Schedule::default());
    }
    Schedule::decode(head, |number| chunks.get(&number).map(Vec::as_slice))
}

#[test]
fn ascending_times_fill_chunks_and_others_split_them() {
    let mut schedule = Schedule::default();
    for n in 0..600 {
        schedule.insert(n, due(10 * n, n));
    }
    assert_eq!(lens(&schedule), [256, 256, 88]);
    schedule.insert(600, due(15, 1));
    assert_eq!(lens(&schedule), [129, 128, 256, 88]);
    assert_eq!(schedule.first(), Some(due(0, 0)));
    assert!(schedule.iter().is_sorted_by(|a, b| a < b));
}

#[test]
fn names_of_schedules_lead_back_to_their_keys() {
    for (key, name) in [
        (&b"orders"[..], &b"{orders}:sched"[..]),
        (b"a{t}b", b"a{t}b:sched"),
        (b"{t}b", b"{t}b:sched"),
        (b"", b"{}:sched"),
        (b"a{}", b"{a{}}:sched"),
        (b"{{t}}", b"{{t}}:sched"),
    ] {
        assert_eq!(name_of(key), name);
        assert_eq!(target_of(name), Some(key), "{name:?}");
    }
    // That name belongs to `t`.
    assert_eq!(target_of(&name_of(b"{t}")), Some(&b"t"[..]));
    for name in [&b"orders"[..], b"orders:sched", b":sched", b"{orders}:sched:x"] {
        assert_eq!(target_of(name), None, "{name:?}");
    }
}

#[test]
fn a_payload_comes_back_as_it_was() {
    let pairs: [&[u8]; 4] = [b"a", b"1", b"x-other", b""];
    let fields = Fields::Arguments(&pairs);
    for once in [None, Some((&b"p"[..], &b"\0"[..]))] {
        let payload = Payload { fields, at_ms: u64::MAX, once };
        let bytes = payload.encode();
        let stored = Fields::Encoded(&bytes).iter();
        let unpacked = Unpacked::of(stored.map(|(n, v)| (n.to_vec(), v.to_vec())).collect());
        let unpacked = unpacked.expect("a scheduled entry");
        let mut expect = Vec::new();
        fields.encode(&mut expect);
        assert_eq!((unpacked.fields, unpacked.at_ms), (expect, u64::MAX));
        let expect = once.map(|(pid, iid)| (pid.to_vec(), iid.to_vec()));
        assert_eq!(unpacked.once, expect);
    }
    assert_eq!(Unpacked::of(vec![(b"a".to_vec(), b"1".to_vec())]), None);
}

#[test]
fn pieces_that_do_not_fit_are_refused() {
    let mut schedule = Schedule::default();
    for n in 0..300 {
        schedule.insert(1, due(n, n));
    }
    let mut pieces = Pieces::default();
    save(&schedule, 0, &mut pieces);
    assert!(load(&pieces).is_some());
    let (head, chunks) = pieces.clone();
    let first = chunks[&0].clone();
    for len in 0..first.len() {
        let cut = BTreeMap::from([(0, first[..len].to_vec()), (1, chunks[&1].clone())]);
        assert!(load(&(head.clone(), cut)).is_none(), "cut at {len}");
    }
    assert!(load(&(vec![2, 1, 0], chunks)).is_none(), "the wrong order");
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u64, u64),
    Remove(u64),
    Checkpoint,
    Reload,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (0..2000_u64, 0..900_u64).prop_map(|(at_ms, n)| Op::Insert(at_ms, n)),
        4 => (0..900_u64).prop_map(|n| Op::Insert(5000 + n, n)),
        15 => any::<u64>().prop_map(Op::Remove),
        1 => Just(Op::Checkpoint),
        1 => Just(Op::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Against a set; a checkpoint writes what changed since the one before, and what is loaded
    /// from all of them is the same schedule. What was frozen stays as it was.
    #[test]
    fn is_an_ordered_set_that_checkpoints(ops in prop::collection::vec(op(), 1..2500)) {
        let (mut schedule, mut model) = (Schedule::default(), BTreeSet::new());
        let (mut pieces, mut since) = (Pieces::default(), 0);
        let mut frozen = (schedule.clone(), model.clone());
        for (op, position) in ops.into_iter().zip(1..) {
            match op {
                Op::Insert(at_ms, n) => {
                    schedule.insert(position, due(at_ms, n));
                    model.insert(due(at_ms, n));
                }
                Op::Remove(nth) => {
                    let nth = usize::try_from(nth % 1000).expect("it is small");
                    let Some(gone) = model.iter().nth(nth).copied() else { continue };
                    prop_assert!(schedule.contains(gone) && schedule.remove(position, gone));
                    prop_assert!(!schedule.contains(gone) && !schedule.remove(position, gone));
                    model.remove(&gone);
                }
                Op::Checkpoint => {
                    save(&schedule, since, &mut pieces);
                    since = position;
                    frozen = (schedule.clone(), model.clone());
                }
                Op::Reload => {
                    save(&schedule, since, &mut pieces);
                    since = position;
                    schedule = load(&pieces).expect("own pieces");
                }
            }
            prop_assert_eq!(schedule.len(), model.len() as u64);
            prop_assert_eq!(schedule.first(), model.first().copied());
        }
        prop_assert!(schedule.iter().eq(model.iter().copied()));
        prop_assert!(frozen.0.iter().eq(frozen.1.iter().copied()));
        let chunks = lens(&schedule);
        prop_assert!(chunks.iter().all(|len| (1..=CHUNK_ROWS).contains(len)));
    }
}
