//! The queue of iids, its pieces, and what IDMPAUTO makes of fields.

use std::{collections::VecDeque, vec};

use super::*;

const PID: &[u8] = b"p";

fn hasher() -> FixedState {
    FixedState::with_seed(7)
}

fn state(iids_max: u64) -> Idempotence {
    let limits = IdmpLimits { duration_s: 1, iids_max };
    Idempotence { limits, ..Idempotence::default() }
}

/// Tracks as XADD does.
fn append(state: &mut Idempotence, pid: &[u8], iid: &[u8], now_ms: u64) {
    let going = state.going(pid, now_ms);
    let tracked = Tracked { iid, id: StreamId::new(now_ms, 0), since_ms: now_ms };
    state.track(&hasher(), now_ms, pid, tracked, going);
}

/// What a checkpoint of everything, loaded, makes of it.
fn loaded(state: &Idempotence) -> Option<Idempotence> {
    let mut bytes = Vec::new();
    state.encode(&mut bytes);
    let (mut back, numbers) = Idempotence::decode(&mut Reader::new(&bytes))?;
    for (number, producer) in state.numbered() {
        assert!(numbers.contains(&number));
        let mut chunks = BTreeMap::new();
        for (place, _) in producer.chunks() {
            let mut chunk = Vec::new();
            chunks.insert(producer.encode_chunk(place, &mut chunk)?, chunk);
        }
        let mut head = Vec::new();
        producer.encode(&mut head);
        let chunk = |number: u32| chunks.get(&number).map(Vec::as_slice);
        back.insert(number, Producer::decode(&head, &hasher(), chunk)?)?;
    }
    Some(back)
}

#[test]
fn what_idmpauto_makes_of_fields_is_what_redis_makes() {
    let check = |arguments: &[&[u8]], expect: &str| {
        let iid = iid_of(&Fields::Arguments(arguments));
        assert_eq!(std::format!("{:032x}", u128::from_be_bytes(iid)), expect);
    };
    // Each was a duplicate of its IDMPAUTO on redis-server 8.6.3.
    check(&[b"a", b"1", b"b", b"2"], "c5b282935f77a53123e1ff7a302a11f2");
    check(&[b"b", b"2", b"a", b"1"], "c5b282935f77a53123e1ff7a302a11f2");
    check(&[b"", b""], "1a9f7ebbaea1d61d30b6b8daa3e38da7");
    check(&[b"f", &[b'v'; 1000]], "fba9cf4c49b81380b3adad78f7fb8ae3");
}

#[test]
fn a_long_queue_is_found_forgotten_and_loaded_like_a_short_one() {
    let mut state = state(1000);
    let mut naive: VecDeque<(Vec<u8>, u64)> = VecDeque::new();
    for n in 0_u64..3000 {
        // First too many come, then they are over.
        let now_ms = 10_000 + if n < 1500 { n / 2 } else { 2 * n - 2250 };
        let mut iid = n.to_le_bytes().to_vec();
        iid.resize(if n % 50 == 0 { 9000 } else { 8 }, b'x');
        append(&mut state, PID, &iid, now_ms);
        naive.push_back((iid, now_ms));
        while naive.len() > 1000 || naive.front().is_some_and(|(_, ms)| ms + 1000 <= now_ms) {
            naive.pop_front();
        }
        if n % 300 == 0 || n > 2990 {
            state = loaded(&state).expect("own bytes");
        }
        let found: Vec<_> = state.tracked(now_ms).map(|(_, t)| (t.iid, t.since_ms)).collect();
        let expect: Vec<_> = naive.iter().map(|(iid, ms)| (&iid[..], *ms)).collect();
        assert_eq!(found, expect, "{n}");
        let gone = n.checked_sub(1000).map(u64::to_le_bytes);
        for (iid, ms) in [naive.front(), naive.back()].into_iter().flatten() {
            let found = state.find(&hasher(), PID, iid, now_ms);
            assert_eq!(found, Some(StreamId::new(*ms, 0)), "{n}");
        }
        assert!(gone.is_none_or(|iid| state.find(&hasher(), PID, &iid, now_ms).is_none()));
    }
    assert_eq!((state.added, state.counts(13_748)), (3000, (1, 500)));
}

#[test]
fn an_iid_counts_to_the_millisecond_and_is_swept_later() {
    let mut state = state(10);
    append(&mut state, b"a", b"1", 5000);
    append(&mut state, b"b", b"1", 5500);
    let check = |state: &Idempotence, now_ms: u64, expect: (u64, u64)| {
        assert_eq!(state.counts(now_ms), expect, "{now_ms}");
        let found = state.find(&hasher(), b"a", b"1", now_ms).is_some();
        assert_eq!(found, now_ms < 6000, "{now_ms}");
    };
    check(&state, 5999, (2, 2));
    check(&state, 6000, (1, 1));
    assert_eq!(state.next_over_ms(), Some(6000));
    state.forget(&hasher(), 1, 5000);
    check(&state, 6000, (1, 1));
    assert_eq!((state.next_over_ms(), state.producers().count()), (Some(6500), 1));
    state.forget(&hasher(), 1, 5500);
    assert_eq!((state.next_over_ms(), state.producers().count()), (None, 0));
    assert_eq!(state.added, 2, "counters stay");
}

#[test]
fn what_is_recorded_with_an_old_time_stays_as_long_as_what_is_before_it() {
    let mut state = state(10);
    append(&mut state, PID, b"new", 5000);
    let old = Tracked { iid: b"old", id: StreamId::new(1, 1), since_ms: 1 };
    state.track(&hasher(), 1, PID, old, 0);
    assert_eq!(state.find(&hasher(), PID, b"old", 5999), Some(StreamId::new(1, 1)));
    assert_eq!(state.find(&hasher(), PID, b"old", 6000), None);
}

#[test]
fn a_clone_is_not_changed_by_what_follows() {
    let mut state = state(3);
    for n in 0..3 {
        append(&mut state, PID, &[n], 5000);
    }
    let frozen = state.clone();
    append(&mut state, PID, &[9], 5000);
    append(&mut state, b"q", &[9], 5000);
    let iids = |state: &Idempotence| -> Vec<u8> {
        state.tracked(5000).map(|(_, tracked)| tracked.iid[0]).collect()
    };
    assert_eq!((iids(&frozen), iids(&state)), (vec![0, 1, 2], vec![1, 2, 9, 9]));
    assert_eq!(iids(&loaded(&frozen).expect("own bytes")), [0, 1, 2]);
}

#[test]
fn malformed_pieces_are_refused() {
    let mut state = state(10);
    for n in 0..3 {
        append(&mut state, PID, &[n], 5000);
    }
    let (_, producer) = state.numbered().next().expect("there is one");
    let (mut head, mut chunk) = (Vec::new(), Vec::new());
    producer.encode(&mut head);
    producer.encode_chunk(0, &mut chunk).expect("there is one");
    let decodes = |head: &[u8], chunk: &[u8]| {
        Producer::decode(head, &hasher(), |number| (number == 0).then_some(chunk)).is_some()
    };
    assert!(decodes(&head, &chunk));
    for len in 0..chunk.len() {
        assert!(!decodes(&head, &chunk[..len]), "chunk cut to {len}");
    }
    for len in 0..head.len() {
        assert!(!decodes(&head[..len], &chunk), "head cut to {len}");
    }
    let twice: Vec<u8> = [&[6][..], &chunk[1..], &[0], &chunk[2..]].concat();
    assert!(!decodes(&head, &twice), "an iid twice");
    *head.last_mut().expect("not empty") = 3;
    assert!(!decodes(&head, &chunk), "all of the first chunk gone");
    assert!(chunk::Chunk::decode(&[0]).is_none(), "a chunk of nothing");
}

#[test]
fn memory_is_at_least_that_of_producers_and_their_iids() {
    let mut state = state(100_000);
    (0..100_u32).for_each(|n| append(&mut state, &n.to_le_bytes(), b"i", 5));
    let few: usize = state.producers().map(Producer::memory_bytes).sum();
    assert!(state.memory_bytes() >= few + 100 * size_of::<Producer>(), "{few}");
    (0..20_000_u32).for_each(|n| append(&mut state, PID, &n.to_le_bytes(), 5));
    let row = size_of::<StreamId>() + size_of::<u64>() + size_of::<u32>() + 4;
    assert!(state.memory_bytes() >= few + 20_000 * row, "{}", state.memory_bytes());
}
