//! What is kept, found, dropped, loaded and shared.

use std::{collections::VecDeque, vec};

use proptest::prelude::*;

use super::*;
use crate::id::StreamId;

const SECRET: Secret = Secret([3; 16]);

fn limits(window_ms: u64, ids_max: u64) -> DedupLimits {
    DedupLimits { window_ms: (window_ms > 0).then_some(window_ms), ids_max }
}

fn kept(n: u64, now_ms: u64) -> Kept {
    let hash = SECRET.digest(b"p", &n.to_le_bytes());
    Kept { hash, id: StreamId::new(now_ms, n), since_ms: now_ms }
}

/// Keeps as XADD does.
fn append(dedup: &mut Dedup, n: u64, now_ms: u64) {
    let going = dedup.going(now_ms);
    dedup.keep(now_ms, kept(n, now_ms), going);
}

fn found(dedup: &Dedup, n: u64, now_ms: u64) -> Option<StreamId> {
    dedup.find(&kept(n, 0).hash, now_ms).map(|kept| kept.id)
}

/// What a checkpoint of everything, loaded, makes of it.
fn loaded(dedup: &Dedup) -> Option<Dedup> {
    let mut head = Vec::new();
    dedup.encode(&mut head);
    let mut pieces = alloc::collections::BTreeMap::new();
    for (number, _) in dedup.chunks() {
        let mut piece = Vec::new();
        dedup.encode_chunk(number, &mut piece);
        pieces.insert(number, piece);
    }
    Dedup::decode(&head, dedup.limits(), |number| pieces.get(&number).map(Vec::as_slice))
}

/// A step of a stream's life.
#[derive(Clone, Debug)]
enum Op {
    Append(u64),
    Wait(u64),
    Sweep,
    SetMax(u64),
    Reopen,
    Freeze,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..400_u64).prop_map(Op::Append),
        2 => (0..200_u64).prop_map(Op::Wait),
        1 => Just(Op::Wait(1 << 33)),
        1 => Just(Op::Sweep),
        1 => (1..300_u64).prop_map(Op::SetMax),
        1 => Just(Op::Reopen),
        1 => Just(Op::Freeze),
    ]
}

proptest! {
    #[test]
    fn is_a_queue_with_a_way_to_find(ops in proptest::collection::vec(op(), 1..600)) {
        const WINDOW_MS: u64 = 1000;
        let mut dedup = Dedup::new(limits(WINDOW_MS, 200), SECRET, 0);
        let mut naive: VecDeque<(u64, u64)> = VecDeque::new();
        let mut frozen: Vec<(Dedup, Vec<u64>)> = Vec::new();
        let mut now_ms = 5000_u64;
        for op in ops {
            match op {
                Op::Append(n) => {
                    let known = naive.iter().find(|(m, ms)| *m == n && ms + WINDOW_MS > now_ms);
                    let expect = known.map(|(_, ms)| StreamId::new(*ms, n));
                    prop_assert_eq!(found(&dedup, n, now_ms), expect);
                    if known.is_none() {
                        let going = dedup.going(now_ms);
                        let many = (naive.len() as u64 + 1)
                            .saturating_sub(dedup.limits().ids_max);
                        prop_assert!(going >= many.min(GOING_MAX));
                        append(&mut dedup, n, now_ms);
                        naive.drain(..usize::try_from(going).expect("small"));
                        naive.push_back((n, now_ms));
                    }
                }
                Op::Wait(ms) => now_ms += ms,
                Op::Sweep => {
                    dedup.drop_oldest(now_ms, dedup.sweeping(now_ms));
                    let max = usize::try_from(dedup.limits().ids_max).expect("small");
                    let is_over = |naive: &VecDeque<(u64, u64)>| {
                        naive.front().is_some_and(|(_, ms)| ms + WINDOW_MS <= now_ms)
                    };
                    while is_over(&naive) || naive.len() > max {
                        naive.pop_front();
                    }
                    let next = naive.front().map(|(_, ms)| ms + WINDOW_MS);
                    prop_assert_eq!(dedup.next_over_ms(), next);
                }
                Op::SetMax(max) => dedup.set_limits(now_ms, limits(WINDOW_MS, max)),
                Op::Reopen => dedup = loaded(&dedup).expect("own bytes"),
                Op::Freeze => {
                    frozen.push((dedup.clone(), naive.iter().map(|(n, _)| *n).collect()));
                }
            }
            prop_assert_eq!(dedup.len(), naive.len() as u64);
        }
        for (frozen, held) in frozen {
            let oldest: Vec<_> = frozen.oldest().map(|kept| kept.id.seq).collect();
            prop_assert_eq!(oldest, held);
        }
    }
}

#[test]
fn a_lower_max_is_reached_in_bounded_steps() {
    let mut dedup = Dedup::new(limits(0, 100_000), SECRET, 0);
    (0..40_000).for_each(|n| append(&mut dedup, n, 5000));
    assert_eq!((dedup.len(), dedup.next_over_ms()), (40_000, None));
    dedup.set_limits(1, limits(0, 10));
    assert_eq!((dedup.going(5000), dedup.sweeping(5000)), (GOING_MAX, SWEEP_MAX));
    assert_eq!(dedup.next_over_ms(), Some(0), "swept at once");
    while dedup.next_over_ms() == Some(0) {
        dedup.drop_oldest(2, dedup.sweeping(5000));
    }
    assert_eq!(dedup.len(), 10);
    assert_eq!(found(&dedup, 39_990, 5000), Some(StreamId::new(5000, 39_990)));
    assert_eq!(found(&dedup, 39_989, 5000), None);
}

#[test]
fn a_larger_max_finds_what_was_there() {
    let mut dedup = Dedup::new(limits(0, 5000), SECRET, 0);
    (0..5000).for_each(|n| append(&mut dedup, n, 5000));
    dedup.set_limits(1, limits(0, 10_000_000));
    (0..5000).for_each(|n| assert!(found(&dedup, n, 5000).is_some(), "{n}"));
}

#[test]
fn an_id_takes_less_than_is_counted_for_it_and_a_clone_shares() {
    let mut dedup = Dedup::new(limits(0, 1_000_000), SECRET, 0);
    for n in 0..300_000 {
        append(&mut dedup, n, 5000 + n / 7);
        if n > 100_000 && n % 1000 == 0 {
            let bytes = dedup.memory_bytes() as u64;
            assert!(bytes <= n * ID_BYTES, "{bytes} bytes for {n}");
        }
    }
    let frozen = dedup.clone();
    append(&mut dedup, 300_000, 60_000);
    let shared = |at: usize| Arc::ptr_eq(&frozen.chunks[at].chunk, &dedup.chunks[at].chunk);
    let last = frozen.chunks.len() - 1;
    assert!((0..last).all(shared) && !shared(last));
}

#[test]
fn only_chunks_that_changed_are_written_again() {
    let mut dedup = Dedup::new(limits(0, 10_000), SECRET, 0);
    (0..3000).for_each(|n| dedup.keep(1, kept(n, 5000), 0));
    dedup.keep(2, kept(3000, 5000), 1);
    let changed: Vec<_> = dedup.chunks().filter(|(_, changed)| *changed > 1).collect();
    assert_eq!((changed, dedup.changed()), (vec![(2, 2)], 2));
}

#[test]
fn malformed_pieces_are_refused() {
    let mut dedup = Dedup::new(limits(0, 10_000), SECRET, 0);
    (0..3).for_each(|n| append(&mut dedup, n, 5000));
    let (mut head, mut chunk) = (Vec::new(), Vec::new());
    dedup.encode(&mut head);
    dedup.encode_chunk(0, &mut chunk);
    let decodes = |head: &[u8], chunk: &[u8]| {
        let chunk = |number: u64| (number == 0).then_some(chunk);
        Dedup::decode(head, dedup.limits(), chunk).is_some_and(|dedup| dedup.len() == 3)
    };
    assert!(decodes(&head, &chunk));
    for len in 0..chunk.len() {
        assert!(!decodes(&head, &chunk[..len]), "chunk cut to {len}");
    }
    for len in 0..head.len() {
        assert!(!decodes(&head[..len], &chunk), "head cut to {len}");
    }
    *head.last_mut().expect("not empty") = 3;
    assert!(!decodes(&head, &chunk), "all of the first chunk gone");
}

#[test]
fn memory_is_at_least_that_of_the_parts() {
    let mut dedup = Dedup::new(limits(0, 1_000_000), SECRET, 0);
    (0..20_000).for_each(|n| append(&mut dedup, n, 5000));
    let row = size_of::<Digest>() + size_of::<StreamId>() + size_of::<u32>();
    let chunks: usize = dedup.chunks.iter().map(|slot| slot.chunk.memory_bytes()).sum();
    assert!(chunks >= 20_000 * row, "{chunks}");
    let table = dedup.table.memory_bytes();
    assert!(table >= 20_000 * (size_of::<u32>() + 1), "{table}");
    let slots = dedup.chunks.len() * size_of::<Slot>();
    let whole = dedup.memory_bytes();
    assert!(whole >= size_of::<Dedup>() + chunks + slots + table, "{whole}");
}

#[test]
fn chunks_of_one_time_are_loaded_and_those_of_a_time_before_are_not() {
    let mut dedup = Dedup::new(limits(0, 10_000), SECRET, 0);
    (0..3000).for_each(|n| append(&mut dedup, n, 5000));
    assert_eq!(loaded(&dedup).map(|dedup| dedup.len()), Some(3000));
    let mut later = Dedup::new(limits(0, 10_000), SECRET, 0);
    (0..3000).for_each(|n| append(&mut later, n, 5000 + n));
    let (mut head, mut pieces) = (Vec::new(), Vec::new());
    later.encode(&mut head);
    for (number, _) in later.chunks() {
        pieces.push(Vec::new());
        later.encode_chunk(number, pieces.last_mut().expect("just pushed"));
    }
    pieces.swap(0, 1);
    let chunk = |number: u64| pieces.get(usize::try_from(number).ok()?).map(Vec::as_slice);
    assert!(Dedup::decode(&head, later.limits(), chunk).is_none());
}

#[test]
fn what_is_over_in_the_middle_of_a_chunk_does_not_count() {
    let mut dedup = Dedup::new(limits(1000, 10_000), SECRET, 0);
    (0..3000).for_each(|n| dedup.keep(1, kept(n, 5000 + n / 10), 0));
    assert_eq!(dedup.count(6000), 2990);
    assert_eq!(dedup.count(6149), 1500);
    assert_eq!(dedup.count(6299), 0);
}
