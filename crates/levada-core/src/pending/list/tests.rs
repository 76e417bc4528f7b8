//! Tests of the module of the same name, apart because they are long.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<StreamId, Pending>;

fn entry(ms: u64) -> Pending {
    Pending {
        id: StreamId::new(ms, 0),
        consumer: 1,
        delivered_ms: 1000 + ms,
        count: 1,
        leases: 1,
        flags: 0,
    }
}

fn appended(ids: core::ops::Range<u64>) -> PendingList {
    let mut list = PendingList::new();
    for ms in ids {
        assert_eq!(list.set(ms, entry(ms)), None);
    }
    list
}

fn chunk_lens(list: &PendingList) -> Vec<usize> {
    list.heads.iter().map(Head::len).collect()
}

fn ids(entries: impl IntoIterator<Item = Pending>) -> Vec<u64> {
    entries.into_iter().map(|entry| entry.id.ms).collect()
}

/// Number, position of the last change and bytes of each chunk.
type Encoded = Vec<(u32, u64, Vec<u8>)>;

fn encoded(list: &PendingList) -> Encoded {
    let encode = |chunk: ChunkRef<'_>| {
        let mut bytes = Vec::new();
        chunk.encode(&mut bytes);
        (chunk.number(), chunk.changed(), bytes)
    };
    list.chunks().map(encode).collect()
}

fn decoded(chunks: &[(u32, u64, Vec<u8>)]) -> Option<PendingList> {
    PendingList::from_chunks(chunks.iter().map(|(n, changed, bytes)| (*n, *changed, &bytes[..])))
}

#[test]
fn appends_fill_chunks_and_inserts_split_them() {
    let mut list = appended(0..1000);
    assert_eq!(chunk_lens(&list), [256, 256, 256, 232]);
    list.set(7, Pending { id: StreamId::new(300, 1), ..entry(0) });
    assert_eq!(chunk_lens(&list), [256, 129, 128, 256, 232]);
    let changed: Vec<_> = encoded(&list).iter().map(|(n, at, _)| (*n, *at)).collect();
    assert_eq!(changed, [(0, 255), (1, 7), (4, 7), (2, 767), (3, 999)]);
}

#[test]
fn removals_merge_neighbours_and_drop_empty_chunks() {
    let mut list = appended(0..768);
    for ms in (0..192).chain(256..447) {
        assert_eq!(list.remove(5000, StreamId::new(ms, 0)), Some(entry(ms)));
    }
    assert_eq!(chunk_lens(&list), [64, 65, 256]);
    list.remove(5001, StreamId::new(447, 0));
    assert_eq!(chunk_lens(&list), [128, 256]);
    assert_eq!(ids(list.iter_from(StreamId::MIN)).len(), 384);
    for ms in 512..768 {
        list.remove(5002, StreamId::new(ms, 0));
    }
    assert_eq!(chunk_lens(&list), [128]);
    assert_eq!(list.remove(5003, StreamId::new(512, 0)), None);
}

#[test]
fn an_unknown_id_changes_nothing() {
    let mut list = appended(0..300);
    let before = encoded(&list);
    assert_eq!(list.remove(9999, StreamId::new(3, 1)), None);
    assert_eq!(list.remove_consumer(9999, 65), 0, "65 and 1 share a bit");
    assert_eq!(encoded(&list), before);
}

#[test]
fn oldest_first_orders_by_time_then_id() {
    let mut list = appended(0..2000);
    for ms in [1999, 700, 5] {
        let delivered_ms = 10;
        list.set(1, Pending { delivered_ms, ..entry(ms) });
    }
    assert_eq!(ids(list.oldest_first(u64::MAX, 5)), [5, 700, 1999, 0, 1]);
    assert_eq!(ids(list.oldest_first(u64::MAX, 2)), [5, 700]);
    assert_eq!(ids(list.oldest_first(1000, 9)), [5, 700, 1999, 0]);
    assert_eq!(ids(list.oldest_first(9, 9)), []);
    assert_eq!(ids(list.oldest_first(u64::MAX, 0)), []);
    assert_eq!(list.oldest_first(u64::MAX, usize::MAX).len(), 2000);
}

#[test]
fn an_age_is_forgotten_with_the_last_entry_of_that_age() {
    let mut list = appended(0..256);
    let old = Pending { delivered_ms: 10, ..entry(100) };
    list.set(1, old);
    assert_eq!(list.heads[0].oldest_ms, 10);
    list.set(2, entry(100));
    assert_eq!(list.heads[0].oldest_ms, 1000);
    list.remove(3, StreamId::new(0, 0));
    assert_eq!(list.heads[0].oldest_ms, 1001);
}

#[test]
fn refuses_chunks_that_do_not_belong_together() {
    let chunks = encoded(&appended(0..600));
    assert!(decoded(&chunks).is_some());
    let with = |change: &dyn Fn(&mut Encoded)| {
        let mut chunks = chunks.clone();
        change(&mut chunks);
        decoded(&chunks).is_none()
    };
    assert!(with(&|chunks| chunks.swap(0, 1)), "ids descend");
    assert!(with(&|chunks| chunks[1].2 = chunks[0].2.clone()), "ids come twice");
    assert!(with(&|chunks| chunks[2].0 = 0), "a number comes twice");
    assert!(with(&|chunks| chunks[1].2.clear()), "no bytes");
}

#[test]
fn numbers_continue_above_the_largest_and_begin_anew_after_the_last() {
    let mut chunks = encoded(&appended(0..512));
    chunks[0].0 = u32::MAX - 1;
    let mut list = decoded(&chunks).expect("chunks of a list are accepted");
    list.set(600, entry(600));
    assert_eq!(ids_of_chunks(&list), [(u32::MAX - 1, 255), (1, 511), (u32::MAX, 600)]);
    list.remove(601, StreamId::new(600, 0));
    list.set(602, entry(602));
    assert_eq!(ids_of_chunks(&list), [(0, 602), (1, 602), (2, 602)]);
}

fn ids_of_chunks(list: &PendingList) -> Vec<(u32, u64)> {
    list.chunks().map(|chunk| (chunk.number(), chunk.changed())).collect()
}

#[test]
fn a_million_entries_take_24_bytes_each_and_half_of_them_48() {
    const ENTRIES: u64 = 1 << 20;
    let mut list = appended(0..ENTRIES);
    assert_memory_is_counted(&list);
    assert!(list.memory_bytes() as u64 >= 20 * ENTRIES, "{}", list.memory_bytes());
    assert!(list.memory_bytes() as u64 <= 24 * ENTRIES, "{}", list.memory_bytes());
    // An odd factor visits every number below the power of two once, in no useful order.
    for step in 0..ENTRIES / 2 {
        let id = StreamId::new(step.wrapping_mul(0x9e37_79b9_7f4a_7c15) % ENTRIES, 0);
        assert!(list.remove(ENTRIES + step, id).is_some());
    }
    assert_eq!(list.len(), ENTRIES / 2);
    assert_memory_is_counted(&list);
    assert!(list.memory_bytes() as u64 <= 24 * ENTRIES, "{}", list.memory_bytes());
    for step in ENTRIES / 2..ENTRIES {
        let id = StreamId::new(step.wrapping_mul(0x9e37_79b9_7f4a_7c15) % ENTRIES, 0);
        assert!(list.remove(ENTRIES + step, id).is_some());
        let allowed = 1024 + 96 * list.len();
        assert!(list.memory_bytes() as u64 <= allowed, "{} of {allowed}", list.memory_bytes());
    }
    assert!(list.memory_bytes() < 200, "{}", list.memory_bytes());
}

#[test]
fn a_small_list_is_small() {
    let bytes = appended(0..1).memory_bytes();
    assert!(bytes <= 300, "{bytes}");
}

fn assert_memory_is_counted(list: &PendingList) {
    let chunks = list.heads.iter().map(|head| ARC_BYTES + head.chunk.memory_bytes());
    assert_eq!(list.chunk_bytes, chunks.sum::<usize>());
}

/// A change to a list. Places are fractions of the list in 1/65536.
#[derive(Clone, Debug)]
enum Op {
    Append(Vec<Values>),
    AppendAlike(Vec<Values>, Values),
    Insert(u16, u64, Values),
    InsertMany(u16, u8, Values),
    Replace(u16, Values),
    Remove(u16),
    RemoveMany(u16, u16, u16),
    RemoveAll(u16, u16, u16),
    RemoveConsumer(u32),
    Clone,
    Checkpoint,
    Recode,
}

/// An entry but for its id, and how far its id is from the one before.
#[derive(Clone, Debug)]
struct Values {
    ms: u64,
    seq: u64,
    entry: Pending,
}

fn values() -> impl Strategy<Value = Values> {
    let time = prop_oneof![
        30 => 1_700_000_000_000..1_700_000_000_050_u64,
        1 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
    ];
    let consumer = prop_oneof![30 => 0..4_u32, 5 => 62..70_u32, 1 => any::<u32>()];
    let count =
        prop_oneof![30 => 0..4_u64, 1 => prop_oneof![Just(i64::MAX as u64), 65_530..65_540_u64]];
    let ms = prop_oneof![60 => 0..3_u64, 1 => 0..1_u64 << 33];
    let seq = prop_oneof![60 => 1..5_u64, 1 => 1..1_u64 << 33];
    let rest = (any::<u8>(), any::<u8>());
    (ms, seq, time, consumer, count, rest).prop_map(
        |(ms, seq, delivered_ms, consumer, count, (leases, flags))| Values {
            ms,
            seq,
            entry: Pending { id: StreamId::MIN, consumer, delivered_ms, count, leases, flags },
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => prop::collection::vec(values(), 1..400).prop_map(Op::Append),
        4 => (prop::collection::vec(values(), 1..400), values())
            .prop_map(|(run, like)| Op::AppendAlike(run, like)),
        3 => (any::<u16>(), 0..5_u64, values()).prop_map(|(at, seq, v)| Op::Insert(at, seq, v)),
        2 => (any::<u16>(), any::<u8>(), values()).prop_map(|(at, n, v)| Op::InsertMany(at, n, v)),
        4 => (any::<u16>(), values()).prop_map(|(at, v)| Op::Replace(at, v)),
        3 => any::<u16>().prop_map(Op::Remove),
        4 => (any::<u16>(), 1..600_u16, 1..4_u16)
            .prop_map(|(at, n, step)| Op::RemoveMany(at, n, step)),
        4 => (any::<u16>(), 1..600_u16, 1..4_u16)
            .prop_map(|(at, n, step)| Op::RemoveAll(at, n, step)),
        1 => prop_oneof![0..4_u32, 62..70_u32].prop_map(Op::RemoveConsumer),
        1 => Just(Op::Clone),
        2 => Just(Op::Checkpoint),
        1 => Just(Op::Recode),
    ]
}

/// A list beside its model, earlier clones of both, and what checkpoints have written.
#[derive(Default)]
struct Pair {
    list: PendingList,
    model: Model,
    clones: Vec<(PendingList, Model)>,
    position: u64,
    written: BTreeMap<u32, (u64, Vec<u8>)>,
    written_at: u64,
}

impl Pair {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Append(run) => {
                for values in run {
                    let last = self.model.keys().next_back().copied().unwrap_or_default();
                    self.set(after(last, &values), values.entry);
                }
            }
            Op::AppendAlike(run, like) => {
                let mut last = self.model.keys().next_back().copied().unwrap_or_default();
                let mut ids = Vec::new();
                for values in run {
                    last = after(last, &values);
                    ids.push(last);
                }
                self.position += 1;
                self.list.append(self.position, &ids, like.entry);
                let entries = ids.iter().map(|id| (*id, Pending { id: *id, ..like.entry }));
                self.model.extend(entries);
            }
            Op::Insert(at, seq, values) => {
                let near = self.id_at(at);
                let id = StreamId::new(near.ms, near.seq.saturating_sub(2) + seq);
                self.set(id, values.entry);
            }
            Op::InsertMany(at, number, values) => {
                let near = self.id_at(at);
                for seq in 0..u64::from(number) {
                    self.set(StreamId::new(near.ms, near.seq + seq), values.entry);
                }
            }
            Op::Replace(at, values) => self.set(self.id_at(at), values.entry),
            Op::Remove(at) => self.remove(self.id_at(at)),
            Op::RemoveMany(at, number, step) => {
                let from = self.model.range(self.id_at(at)..).map(|(id, _)| *id);
                let step_by = usize::from(step);
                let ids: Vec<_> = from.step_by(step_by).take(usize::from(number)).collect();
                for id in ids {
                    self.remove(id);
                }
            }
            Op::RemoveAll(at, number, step) => self.remove_all(at, number, step),
            Op::RemoveConsumer(consumer) => {
                let before = self.model.len();
                self.model.retain(|_, entry| entry.consumer != consumer);
                self.position += 1;
                let removed = self.list.remove_consumer(self.position, consumer);
                assert_eq!(removed, (before - self.model.len()) as u64);
            }
            Op::Clone => self.clones.push((self.list.clone(), self.model.clone())),
            Op::Checkpoint => self.checkpoint(),
            Op::Recode => {
                let chunks = encoded(&self.list);
                self.list = decoded(&chunks).expect("chunks of a list are accepted");
                assert_eq!(encoded(&self.list), chunks);
            }
        }
    }

    fn set(&mut self, id: StreamId, entry: Pending) {
        let entry = Pending { id, ..entry };
        self.position += 1;
        assert_eq!(self.list.set(self.position, entry), self.model.insert(id, entry));
    }

    fn remove(&mut self, id: StreamId) {
        self.position += 1;
        assert_eq!(self.list.remove(self.position, id), self.model.remove(&id));
        assert_eq!(self.list.get(id), None);
    }

    /// Removes some from a place on, and ids between them that are not there.
    fn remove_all(&mut self, at: u16, number: u16, step: u16) {
        let from = self.model.range(self.id_at(at)..).map(|(id, _)| *id);
        let held: Vec<_> = from.step_by(usize::from(step)).take(usize::from(number)).collect();
        let beside = held.iter().filter_map(|id| id.next());
        let mut asked: Vec<_> = held.iter().copied().chain(beside).collect();
        asked.sort_unstable();
        let mut left = asked.clone();
        self.list.retain_held(&mut left);
        let (mut gone, mut expect) = (Vec::new(), Vec::new());
        self.position += 1;
        self.list.remove_all(self.position, &asked, |entry| gone.push(entry));
        for id in asked {
            expect.extend(self.model.remove(&id));
        }
        assert_eq!(gone, expect);
        left.dedup();
        assert_eq!(left, expect.iter().map(|entry| entry.id).collect::<Vec<_>>());
    }

    /// Writes what changed since the last time; all that is written must make up the list.
    fn checkpoint(&mut self) {
        let mut live = BTreeMap::new();
        for (order, (number, changed, bytes)) in encoded(&self.list).into_iter().enumerate() {
            live.insert(order, number);
            if changed > self.written_at {
                self.written.insert(number, (changed, bytes));
            }
        }
        self.written_at = self.position;
        let chunks: Vec<_> = live
            .values()
            .map(|number| (*number, self.written[number].0, self.written[number].1.clone()))
            .collect();
        assert_eq!(chunks, encoded(&self.list));
    }

    /// An id of the model, the default one if there is none.
    fn id_at(&self, fraction: u16) -> StreamId {
        let index = (self.model.len() * usize::from(fraction)) >> 16;
        self.model.keys().nth(index).copied().unwrap_or_default()
    }
}

fn after(last: StreamId, values: &Values) -> StreamId {
    match values.ms {
        0 => StreamId::new(last.ms, last.seq + values.seq),
        ms => StreamId::new(last.ms + ms, values.seq - 1),
    }
}

fn check(list: &PendingList, model: &Model, near: StreamId) {
    check_heads(list);
    assert_eq!(list.len(), model.len() as u64);
    assert_eq!(list.is_empty(), model.is_empty());
    assert_eq!(list.first(), model.keys().next().copied());
    assert_eq!(list.last(), model.keys().next_back().copied());
    let filtered = |from: StreamId, wanted: &dyn Fn(&Pending) -> bool| -> Vec<Pending> {
        let range = model.range(from..).map(|(_, entry)| *entry);
        range.filter(wanted).collect()
    };
    for from in
        [StreamId::MIN, near, near.next().expect("ids of the model are small"), StreamId::MAX]
    {
        assert_eq!(list.get(from), model.get(&from).copied());
        let all = list.iter_from(from).collect::<Vec<_>>();
        assert_eq!(all, filtered(from, &|_| true));
        check_walk(list, from, &all);
        for consumer in [0, 1, 3, 64, 65, 1000] {
            let of_consumer = list.iter_consumer(consumer, from).collect::<Vec<_>>();
            assert_eq!(of_consumer, filtered(from, &|entry| entry.consumer == consumer));
        }
        for at_most in [0, 1_700_000_000_005, 1_700_000_000_040, u64::MAX] {
            let idle = list.iter_idle(from, at_most).collect::<Vec<_>>();
            assert_eq!(idle, filtered(from, &|entry| entry.delivered_ms <= at_most));
        }
    }
    let times = filtered(StreamId::MIN, &|_| true).into_iter().map(|entry| entry.delivered_ms);
    assert_eq!(list.oldest(), times.min());
    for at_most in [1_700_000_000_005, 1_700_000_000_040, u64::MAX] {
        let mut oldest = filtered(StreamId::MIN, &|entry| entry.delivered_ms <= at_most);
        oldest.sort_by_key(|entry| (entry.delivered_ms, entry.id));
        for limit in [1, 20, 700, usize::MAX] {
            let expected = &oldest[..limit.min(oldest.len())];
            assert_eq!(list.oldest_first(at_most, limit), expected, "{at_most} {limit}");
        }
        let later = filtered(StreamId::MIN, &|entry| entry.delivered_ms > at_most);
        let later = later.iter().map(|entry| entry.delivered_ms).min();
        assert_eq!(list.oldest_above(at_most), later, "{at_most}");
    }
}

/// A walk tells what is there, whether it goes by one or by runs.
fn check_walk(list: &PendingList, from: StreamId, all: &[Pending]) {
    assert_eq!(list.walk(from).collect::<Vec<_>>(), all);
    let (mut walk, mut rest) = (list.walk(from), all);
    while let Some(run) = walk.run() {
        let (here, more) = rest.split_at(usize::try_from(run.len).expect("small"));
        assert_eq!((run.first, run.last), (here[0].id, here[here.len() - 1].id));
        assert!(here.iter().all(|entry| entry.delivered_ms >= run.oldest_ms));
        walk.pass(run.len);
        rest = more;
    }
    assert!(rest.is_empty());
    let Some(last) = all.last() else {
        return;
    };
    for (at_most, below) in
        all.iter().step_by(17).zip(all.iter().rev().step_by(5)).map(|(a, b)| (a.delivered_ms, b.id))
    {
        for (at_most, below) in [(at_most, below), (at_most, StreamId::MAX), (0, below)] {
            let mut walk = list.walk(from);
            walk.pass_younger(at_most, below);
            let next = walk.next().map_or(StreamId::MAX, |entry| entry.id);
            let mut passed = all.iter().filter(|entry| entry.id < next);
            assert!(passed.all(|entry| entry.delivered_ms > at_most && entry.id < below));
        }
    }
    if let Some(before) = list.oldest().and_then(|oldest_ms| oldest_ms.checked_sub(1)) {
        let mut walk = list.walk(from);
        walk.pass_younger(before, last.id.next().unwrap_or(StreamId::MAX));
        assert_eq!(walk.next(), None, "all are younger");
    }
}

fn check_heads(list: &PendingList) {
    assert_memory_is_counted(list);
    for head in &list.heads {
        let exact = Head::new(head.number, 0, &head.chunk.iter_at(0).collect::<Vec<_>>());
        assert_eq!((head.first, head.len), (exact.first, exact.len));
        assert_eq!(head.oldest_ms, exact.oldest_ms);
        assert_eq!(exact.consumers & !head.consumers, 0);
        assert!(u64::from(head.number) < list.next_number);
    }
    for (left, right) in list.heads.iter().zip(list.heads.iter().skip(1)) {
        assert!(left.len() + right.len() > MERGE_ENTRIES);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn behaves_as_an_ordered_map(ops in prop::collection::vec(op(), 1..40), near: u16) {
        let mut pair = Pair::default();
        for op in ops {
            pair.apply(op);
            check_heads(&pair.list);
        }
        let near = pair.id_at(near);
        check(&pair.list, &pair.model, near);
        for (list, model) in &pair.clones {
            check(list, model, near);
        }
    }

    #[test]
    fn any_bytes_decode_or_are_refused(
        at in any::<prop::sample::Index>(),
        byte: u8,
        junk in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut chunks = encoded(&appended(0..300));
        let index = at.index(chunks[1].2.len());
        chunks[1].2[index] = byte;
        for chunks in [chunks, vec![(0, 0, junk)]] {
            if let Some(list) = decoded(&chunks) {
                let entries: Vec<_> = list.iter_from(StreamId::MIN).collect();
                prop_assert!(entries.is_sorted_by(|a, b| a.id < b.id));
                prop_assert_eq!(entries.len() as u64, list.len());
                prop_assert!(decoded(&encoded(&list)).is_some());
            }
        }
    }
}
