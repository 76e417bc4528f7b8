//! Idempotent producers (Redis 8.6): which appends of late would be repetitions.
//!
//! A stream tracks, per producer id (pid), the idempotent ids (iids) of its last appends and the
//! entry that each became. An append with an iid that is tracked is a duplicate: it adds nothing
//! and is answered with that entry's id, whether or not the entry is still there.
//!
//! - [`Idempotence`]: the producers of a stream, its limits and counters.
//! - [`Producer`]: the iids of one pid, oldest first, and the way to find one of them.
//! - [`iid_of`]: the iid that IDMPAUTO makes of the fields.
//!
//! # Age
//! An iid counts for `duration_s` from the millisecond at which it was tracked and no longer: to
//! the millisecond, whatever was or was not swept (Redis: until its next sweep, up to a second
//! later). Times within a producer do not decrease, for a new iid takes the time of the last one if
//! that is later. So what is over is always a prefix, found by halving, and an iid that is looked
//! up needs no comparison but with its own time. `apply` has no clock: an effect says how many of
//! the oldest go ([`track`](Idempotence::track)) or up to which time all go
//! ([`forget`](Idempotence::forget)).
//!
//! # Memory and checkpoints
//! The iids of a producer stand in chunks of up to [`CHUNK_IIDS`], whose bytes are packed, and a
//! table of 4-byte ordinals finds them: 32 bytes, about 8 of the table, and the iid itself. Chunks
//! are persistent: a clone shares them. A new iid makes a checkpoint write its chunk and a piece of
//! constant size for the producer, and the piece of the stream, which lists a number per producer.
//! The first new iid behind the beginning of a checkpoint copies its producer's table and one
//! pointer per chunk, and a few words per producer of the stream: at most some 100 KB with Redis'
//! 10,000 iids a producer.
//!
//! # Hours and millions
//! Where a stream has DEDUP-WINDOW or DEDUP-MAX, [`Dedup`] takes the place of producers and limits.

mod chunk;
mod producer;
#[cfg(test)]
mod tests;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use foldhash::fast::FixedState;
use xxhash_rust::xxh3::Xxh3;

pub use self::producer::Producer;
use crate::{
    dedup::{Dedup, DedupLimits, Kept, Secret},
    effect::{DedupChange, Effect},
    fields::Fields,
    id::StreamId,
    keyspace::KeyNumber,
    machine::At,
    restored::{RestoredIdmp, RestoredProducer},
    varint::{self, Reader},
};

/// Most iids in a chunk.
pub const CHUNK_IIDS: usize = 256;

/// How long and how many iids a stream tracks: Redis' IDMP-DURATION and IDMP-MAXSIZE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdmpLimits {
    /// Seconds that an iid counts, 1 to 86400.
    pub duration_s: u64,
    /// Iids per producer, 1 to 10000; the oldest goes first.
    pub iids_max: u64,
}

impl Default for IdmpLimits {
    fn default() -> Self {
        Self { duration_s: 100, iids_max: 100 }
    }
}

/// A tracked iid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tracked<'a> {
    /// The iid, any bytes.
    pub iid: &'a [u8],
    /// The entry that it became.
    pub id: StreamId,
    /// Unix milliseconds from which its duration counts.
    pub since_ms: u64,
}

/// The idempotent producers of a stream; see the module.
#[derive(Clone, Default, Debug)]
pub struct Idempotence {
    /// How long and how many.
    pub limits: IdmpLimits,
    /// Iids ever tracked.
    pub added: u64,
    /// Duplicates ever found.
    pub duplicates: u64,
    /// `None` where nothing is tracked, as in most streams.
    producers: Option<Arc<Producers>>,
    /// What is kept where DEDUP-WINDOW or DEDUP-MAX is set: then there are no producers.
    dedup: Option<Arc<Dedup>>,
}

/// Producers with at least one iid each.
#[derive(Clone, Default, Debug)]
struct Producers {
    numbers: BTreeMap<Arc<[u8]>, u32>,
    by_number: BTreeMap<u32, Arc<Producer>>,
    /// The time of the oldest iid of each.
    oldest: BTreeSet<(u64, u32)>,
}

impl Idempotence {
    /// What was restored: what is over by now is left out, and what would be too many.
    pub(crate) fn restored(hasher: &FixedState, from: &RestoredIdmp, at: At) -> Self {
        let mut new = Self { limits: from.limits, ..Self::default() };
        let until_ms = new.over_until(at.now_ms);
        for RestoredProducer { pid, iids } in &from.producers {
            for (iid, id) in iids {
                let since_ms = id.ms.min(at.now_ms);
                if until_ms.is_none_or(|until_ms| since_ms > until_ms) {
                    let going = new.going(pid, at.now_ms);
                    let tracked = Tracked { iid, id: *id, since_ms };
                    new.track(hasher, at.position, pid, tracked, going);
                }
            }
        }
        new.added = from.added;
        new.duplicates = from.duplicates;
        new
    }

    /// The entry that an iid became, if it counts at `now_ms`.
    pub fn find(
        &self,
        hasher: &FixedState,
        pid: &[u8],
        iid: &[u8],
        now_ms: u64,
    ) -> Option<StreamId> {
        if let Some(dedup) = &self.dedup {
            return Some(dedup.find(&dedup.secret().digest(pid, iid), now_ms)?.id);
        }
        let found = self.producer(pid)?.find(hasher, iid)?;
        let over = self.over_until(now_ms).is_some_and(|until_ms| found.since_ms <= until_ms);
        (!over).then_some(found.id)
    }

    /// How many of a producer's oldest iids go when another one comes: what is over, and what
    /// would be too many.
    pub fn going(&self, pid: &[u8], now_ms: u64) -> u64 {
        let Some(producer) = self.producer(pid) else {
            return 0;
        };
        let over = self.over_until(now_ms).map_or(0, |until_ms| producer.count_until(until_ms));
        over.max((producer.len() + 1).saturating_sub(self.limits.iids_max))
    }

    /// What is tracked up to this time no longer counts at `now_ms`.
    pub fn over_until(&self, now_ms: u64) -> Option<u64> {
        now_ms.checked_sub(self.limits.duration_s.saturating_mul(1000))
    }

    /// What forgets iids that are over at `now_ms`, if any are; of many a part.
    pub fn sweep(&self, key: KeyNumber, now_ms: u64) -> Option<Effect<'static>> {
        if let Some(dedup) = &self.dedup {
            let count = dedup.sweeping(now_ms);
            let change = DedupChange::Dropped { count };
            return (count > 0).then_some(Effect::Dedup { key, change });
        }
        Some(Effect::IidsForgotten { key, until_ms: self.over_until(now_ms)? })
    }

    /// When the oldest iid of all is over, in unix milliseconds.
    pub fn next_over_ms(&self) -> Option<u64> {
        if let Some(dedup) = &self.dedup {
            return dedup.next_over_ms();
        }
        let (since_ms, _) = self.producers.as_ref()?.oldest.first()?;
        Some(since_ms.saturating_add(self.limits.duration_s.saturating_mul(1000)))
    }

    /// How many producers, and how many iids of them all, count at `now_ms`; with DEDUP-WINDOW or
    /// DEDUP-MAX producers are not told apart.
    pub fn counts(&self, now_ms: u64) -> (u64, u64) {
        if let Some(dedup) = &self.dedup {
            return (0, dedup.count(now_ms));
        }
        let over_until = self.over_until(now_ms);
        let count = |producer: &Producer| {
            producer.len() - over_until.map_or(0, |until_ms| producer.count_until(until_ms))
        };
        let counts = self.producers().map(count).filter(|count| *count > 0);
        counts.fold((0, 0), |(pids, iids), count| (pids + 1, iids + count))
    }

    /// All producers in the order of their pids, with iids that are over and not yet swept: at
    /// [`Idempotence::tracked`] they are left out.
    pub fn producers(&self) -> impl Iterator<Item = &Producer> {
        self.producers
            .iter()
            .flat_map(|all| all.numbers.values().filter_map(|number| numbered_in(all, *number)))
    }

    /// Everything that counts at `now_ms`: pid and iid, pids in their order, iids oldest first.
    pub fn tracked(&self, now_ms: u64) -> impl Iterator<Item = (&[u8], Tracked<'_>)> {
        let over_until = self.over_until(now_ms);
        self.producers().flat_map(move |producer| {
            let over = over_until.map_or(0, |until_ms| producer.count_until(until_ms));
            producer.iter_at(over).map(|tracked| (producer.pid(), tracked))
        })
    }

    /// Memory in bytes that it takes beyond its own size.
    pub fn memory_bytes(&self) -> usize {
        const PER_PRODUCER: usize = size_of::<Producer>() + 64;
        let dedup = self.dedup.as_ref().map_or(0, |dedup| dedup.memory_bytes());
        let producers = self.producers().map(|producer| PER_PRODUCER + producer.memory_bytes());
        dedup + producers.sum::<usize>()
    }

    fn producer(&self, pid: &[u8]) -> Option<&Producer> {
        let producers = self.producers.as_ref()?;
        numbered_in(producers, *producers.numbers.get(pid)?)
    }

    /// Other limits: nothing is tracked any more.
    pub(crate) fn set_limits(&mut self, limits: IdmpLimits) {
        self.limits = limits;
        self.producers = None;
    }

    /// What is kept where DEDUP-WINDOW or DEDUP-MAX is set.
    pub fn dedup(&self) -> Option<&Dedup> {
        self.dedup.as_deref()
    }

    /// The key of its hashes, where it keeps those.
    pub fn secret(&self) -> Option<Secret> {
        self.dedup.as_ref().map(|dedup| *dedup.secret())
    }

    /// Milliseconds that an iid counts; `None` for as long as there is room.
    pub fn window_ms(&self) -> Option<u64> {
        match &self.dedup {
            Some(dedup) => dedup.limits().window_ms,
            None => Some(self.limits.duration_s.saturating_mul(1000)),
        }
    }

    /// The limits that the stream's policy says from now on.
    pub(crate) fn set_dedup_limits(&mut self, position: u64, limits: Option<DedupLimits>) {
        match (limits, &mut self.dedup) {
            (None, dedup) => *dedup = None,
            (Some(limits), Some(dedup)) if dedup.limits() != limits => {
                Arc::make_mut(dedup).set_limits(position, limits);
            }
            _ => {}
        }
    }

    /// Keeps hashes from now on, also of what was tracked so far.
    pub(crate) fn start_dedup(&mut self, position: u64, limits: DedupLimits, secret: Secret) {
        let mut dedup = Dedup::new(limits, secret, position);
        let tracked = self.producers().flat_map(|producer| {
            producer.iter().map(|tracked| {
                let Tracked { iid, id, since_ms } = tracked;
                Kept { hash: secret.digest(producer.pid(), iid), id, since_ms }
            })
        });
        let mut tracked: Vec<_> = tracked.collect();
        tracked.sort_by_key(|kept| (kept.since_ms, kept.id));
        tracked.into_iter().for_each(|kept| dedup.keep(position, kept, 0));
        self.producers = None;
        self.dedup = Some(Arc::new(dedup));
    }

    /// The same, to be changed by an effect.
    pub(crate) fn dedup_mut(&mut self) -> Option<&mut Dedup> {
        self.dedup.as_mut().map(Arc::make_mut)
    }

    /// Puts in what was read from a checkpoint.
    pub(crate) fn insert_dedup(&mut self, dedup: Dedup) {
        self.dedup = Some(Arc::new(dedup));
    }

    /// Tracks an iid; so many of its producer's oldest go before.
    pub(crate) fn track(
        &mut self,
        hasher: &FixedState,
        position: u64,
        pid: &[u8],
        tracked: Tracked<'_>,
        going: u64,
    ) {
        self.added += 1;
        let Producers { numbers, by_number, oldest } =
            Arc::make_mut(self.producers.get_or_insert_default());
        let number = numbers.get(pid).copied().unwrap_or_else(|| free_number(by_number));
        let producer = by_number.entry(number).or_insert_with(|| {
            let producer = Producer::new(pid.into());
            numbers.insert(Arc::clone(producer.pid_shared()), number);
            Arc::new(producer)
        });
        let producer = Arc::make_mut(producer);
        oldest.remove(&(producer.oldest_ms(), number));
        producer.drop_oldest(hasher, position, going);
        producer.push(hasher, position, tracked);
        oldest.insert((producer.oldest_ms(), number));
    }

    /// Forgets every iid up to a time, and producers that have none then.
    pub(crate) fn forget(&mut self, hasher: &FixedState, position: u64, until_ms: u64) {
        let Some(producers) = &mut self.producers else {
            return;
        };
        let Producers { numbers, by_number, oldest } = Arc::make_mut(producers);
        while let Some((since_ms, number)) = oldest.first().copied()
            && since_ms <= until_ms
        {
            oldest.pop_first();
            let Some(producer) = by_number.get_mut(&number) else { continue };
            let over = producer.count_until(until_ms);
            if over == producer.len() {
                numbers.remove(producer.pid());
                by_number.remove(&number);
                continue;
            }
            let producer = Arc::make_mut(producer);
            producer.drop_oldest(hasher, position, over);
            oldest.insert((producer.oldest_ms(), number));
        }
        if by_number.is_empty() {
            self.producers = None;
        }
    }

    /// Marks everything as changed: it is that of a new stream.
    pub(crate) fn mark_changed(&mut self, position: u64) {
        if let Some(producers) = &mut self.producers {
            let producers = Arc::make_mut(producers).by_number.values_mut();
            producers.for_each(|producer| Arc::make_mut(producer).mark_changed(position));
        }
        if let Some(dedup) = self.dedup_mut() {
            dedup.mark_changed(position);
        }
    }

    /// Producers with the numbers that name their pieces.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u32, &Producer)> {
        let producers = self.producers.iter().flat_map(|all| &all.by_number);
        producers.map(|(number, producer)| (*number, &**producer))
    }

    /// The producer of a number.
    pub(crate) fn of_number(&self, number: u32) -> Option<&Producer> {
        numbered_in(self.producers.as_ref()?, number)
    }

    /// Puts a producer in that was read from a checkpoint; `None` where its pid or number is taken.
    pub(crate) fn insert(&mut self, number: u32, producer: Producer) -> Option<()> {
        let Producers { numbers, by_number, oldest } =
            Arc::make_mut(self.producers.get_or_insert_default());
        oldest.insert((producer.oldest_ms(), number));
        let pid = Arc::clone(producer.pid_shared());
        let taken = numbers.insert(pid, number).is_some();
        let taken = by_number.insert(number, Arc::new(producer)).is_some() || taken;
        (!taken).then_some(())
    }

    /// Appends limits, counters and the numbers of the producers.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        varint::put_u64(out, self.limits.duration_s);
        varint::put_u64(out, self.limits.iids_max);
        varint::put_u64(out, self.added);
        varint::put_u64(out, self.duplicates);
        let numbers: Vec<u32> = self.numbered().map(|(number, _)| number).collect();
        varint::put_u64(out, numbers.len() as u64);
        let mut previous = 0;
        for number in numbers {
            varint::put_u64(out, u64::from(number - previous));
            previous = number;
        }
    }

    /// The inverse of [`Idempotence::encode`], without the producers, and their numbers.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<(Self, Vec<u32>)> {
        let limits = IdmpLimits { duration_s: reader.u64()?, iids_max: reader.u64()? };
        let (added, duplicates) = (reader.u64()?, reader.u64()?);
        let mut previous = 0_u32;
        let mut numbers = Vec::new();
        for _ in 0..reader.count()? {
            previous = previous.checked_add(reader.u32()?)?;
            numbers.push(previous);
        }
        Some((Self { limits, added, duplicates, producers: None, dedup: None }, numbers))
    }
}

fn numbered_in(producers: &Producers, number: u32) -> Option<&Producer> {
    producers.by_number.get(&number).map(|producer| &**producer)
}

/// A number that no producer has: above all, or the first gap when there is no above.
fn free_number(by_number: &BTreeMap<u32, Arc<Producer>>) -> u32 {
    let above = by_number.last_key_value().map_or(Some(0), |(last, _)| last.checked_add(1));
    above.unwrap_or_else(|| {
        let gap = (0_u32..).zip(by_number.keys()).find(|(number, taken)| number != *taken);
        gap.expect("memory ends before 2^32 producers").0
    })
}

/// The iid that IDMPAUTO stands for, as Redis 8.6 makes it, so that it survives a move from there.
///
/// Each pair is hashed with XXH3-128: name, length of the name in 8 bytes, value. The order of the
/// pairs does not matter: the halves of their hashes are added up and, apart, combined by xor.
pub fn iid_of(fields: &Fields<'_>) -> [u8; 16] {
    let (mut sum_low, mut sum_high, mut xor_low, mut xor_high) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut hasher = Xxh3::new();
    for (name, value) in fields.iter() {
        hasher.reset();
        hasher.update(name);
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(value);
        let hash = hasher.digest128().to_le_bytes();
        let (low, high) = hash.split_at(8);
        let half = |bytes: &[u8]| {
            u64::from_le_bytes(bytes.try_into().expect("16 bytes have two halves of 8"))
        };
        let (low, high) = (half(low), half(high));
        sum_low = sum_low.wrapping_add(low);
        sum_high = sum_high.wrapping_add(high);
        xor_low ^= low;
        xor_high ^= high;
    }
    let mut iid = [0; 16];
    iid[..8].copy_from_slice(&(sum_low ^ xor_high.rotate_left(1)).to_le_bytes());
    iid[8..].copy_from_slice(&(sum_high ^ xor_low.rotate_left(1)).to_le_bytes());
    iid
}
