//! One stream of events as several, so that it can be larger than a server, or handled in order by
//! several workers: partitions.
//!
//! The streams of a topic `orders` are `orders:{0}`, `orders:{1}` and so on; the number is the hash
//! tag, and all that stands beside a partition (dead letters, delays, leases) has the same one. One
//! partition is the plain stream `orders`. How many there are is kept in the server, at
//! `{orders}:topic:GENERATION`, and never changes; to grow is to begin another generation,
//! `orders@2:{0}` and so on.

use std::sync::Arc;

use crate::backend::{Append, Backend};
use crate::error::{Error, Result};
use crate::event;
use crate::random;

/// Partitions of a generation at most.
pub const PARTITIONS_MAX: u32 = 1024;
/// Generations of a topic at most.
const GENERATIONS_MAX: u32 = 64;

/// A stream in partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    name: Arc<str>,
    /// Partitions of each generation, the oldest first; at least one.
    generations: Arc<[u32]>,
}

impl Topic {
    /// The topic as the server knows it; a new one gets so many partitions.
    pub(crate) async fn open(backend: &dyn Backend, name: &str, partitions: u32) -> Result<Self> {
        check(name, partitions)?;
        let text = partitions.to_string().into_bytes();
        backend.set(&record(name, 1), text, None, true).await?;
        Self::read(backend, name).await
    }

    /// Begins a generation of so many partitions, behind the one that is known here.
    pub(crate) async fn grow(&self, backend: &dyn Backend, partitions: u32) -> Result<Self> {
        check(&self.name, partitions)?;
        let next = u32::try_from(self.generations.len()).unwrap_or(u32::MAX).saturating_add(1);
        if next > GENERATIONS_MAX {
            return Err(Error::Full(format!("{} has {GENERATIONS_MAX} generations", self.name)));
        }
        let text = partitions.to_string().into_bytes();
        if !backend.set(&record(&self.name, next), text, None, true).await? {
            return Err(Error::Conflict(format!("{} has grown meanwhile", self.name)));
        }
        Self::read(backend, &self.name).await
    }

    async fn read(backend: &dyn Backend, name: &str) -> Result<Self> {
        let mut generations = Vec::new();
        for generation in 1..=GENERATIONS_MAX {
            let Some(text) = backend.get(&record(name, generation)).await? else {
                break;
            };
            let text = String::from_utf8_lossy(&text).into_owned();
            let partitions = text.parse().ok().filter(|count| (1..=PARTITIONS_MAX).contains(count));
            generations.push(partitions.ok_or_else(|| Error::protocol(&text))?);
        }
        if generations.is_empty() {
            return Err(Error::NotFound(format!("the record of topic {name}")));
        }
        Ok(Self { name: name.into(), generations: generations.into() })
    }

    /// The name: the stream of its events.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Partitions of the newest generation, which events are sent to.
    pub fn partitions(&self) -> u32 {
        self.generations.last().copied().unwrap_or(1)
    }

    /// The streams of each generation, the oldest first.
    pub fn streams(&self) -> Vec<Vec<String>> {
        let generation = |(number, partitions): (usize, &u32)| {
            (0..*partitions).map(|it| self.stream(number, *partitions, it)).collect()
        };
        self.generations.iter().enumerate().map(generation).collect()
    }

    /// The stream that events of a key are sent to. The same key has the same partition in every
    /// program: the 64-bit FNV-1a hash of its bytes, modulo the number of partitions.
    pub fn stream_of(&self, key: &[u8]) -> String {
        self.newest(hash(key))
    }

    /// Where an entry belongs: by its key, else by what makes it recognisable, so that a repetition
    /// comes to the same place, else anywhere.
    pub(crate) fn place(&self, entry: &Append) -> String {
        let once = entry.once.as_ref().map(|once| once.id.as_bytes());
        let known = entry.fields.get(event::KEY).or(once);
        self.newest(known.map_or_else(random::number, hash))
    }

    fn newest(&self, hash: u64) -> String {
        let partitions = self.partitions();
        let partition = u32::try_from(hash % u64::from(partitions)).unwrap_or(0);
        self.stream(self.generations.len() - 1, partitions, partition)
    }

    /// `number` counts generations from 0.
    fn stream(&self, number: usize, partitions: u32, partition: u32) -> String {
        match (number, partitions) {
            (0, 1) => self.name.to_string(),
            (0, _) => format!("{}:{{{partition}}}", self.name),
            (number, _) => format!("{}@{}:{{{partition}}}", self.name, number + 1),
        }
    }
}

fn check(name: &str, partitions: u32) -> Result<()> {
    if !(1..=PARTITIONS_MAX).contains(&partitions) {
        return Err(Error::Invalid(format!(
            "{name}: {partitions} partitions; there are 1 to {PARTITIONS_MAX}"
        )));
    }
    if name.contains(['{', '}']) {
        return Err(Error::Invalid(format!("{name}: a topic makes its hash tags itself")));
    }
    Ok(())
}

fn record(name: &str, generation: u32) -> String {
    format!("{{{name}}}:topic:{generation}")
}

/// FNV-1a of 64 bits.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Once;

    fn topic(generations: &[u32]) -> Topic {
        Topic { name: "orders".into(), generations: generations.into() }
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn streams_have_their_names() {
        assert_eq!(topic(&[1]).streams(), [["orders"]]);
        assert_eq!(topic(&[2]).streams(), [["orders:{0}", "orders:{1}"]]);
        let grown = topic(&[1, 2]);
        assert_eq!(grown.streams()[1], ["orders@2:{0}", "orders@2:{1}"]);
        assert!(grown.stream_of(b"k").starts_with("orders@2:{"));
    }

    #[test]
    fn a_repetition_comes_to_the_same_place() {
        let entry = |key: Option<&str>| {
            let fields = key.map(|key| (event::KEY, key)).into_iter().collect();
            let once = Once { producer: "p".into(), id: "A7".into() };
            Append { stream: "orders".into(), fields, once: Some(once) }
        };
        let topic = topic(&[64]);
        assert_eq!(topic.place(&entry(None)), topic.stream_of(b"A7"));
        assert_eq!(topic.place(&entry(Some("eve"))), topic.stream_of(b"eve"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(check("orders", 0).is_err() && check("orders", 1025).is_err());
        assert!(check("{orders}", 2).is_err() && check("orders", 1024).is_ok());
    }
}
