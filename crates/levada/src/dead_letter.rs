//! Entries that failed for good: how they are written, listed, given back and thrown away.

use std::sync::Arc;

use crate::backend::{Backend, Failed, Seat};
use crate::broker::Broker;
use crate::error::Result;
use crate::event::Event;
use crate::message::{Entry, Fields, MessageId};
use crate::names;

/// Before the name of each field that says where a dead letter comes from.
const PREFIX: &str = "x-dlq-";
/// Entries of the dead-letter stream looked at in one call.
const PAGE: usize = 500;

/// The dead letters of a group of a stream.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Paid { cents: u64 }
/// # impl levada::Event for Paid { const STREAM: &'static str = "payments"; }
/// use levada::{DeadLetters, Fault, Msg, Worker};
///
/// async fn refuse(Msg(_): Msg<Paid>) -> Result<(), Fault> {
///     Err(Fault::permanent("the bank is closed"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> levada::Result<()> {
/// let broker = levada::connect("memory:").await?;
/// broker.producer().send(&Paid { cents: 5 }).await?;
/// Worker::new(&broker, "books").handle(refuse).run_until_idle().await?;
///
/// let dead = DeadLetters::of::<Paid>(&broker, "books");
/// let letters = dead.list(10).await?;
/// assert_eq!(letters[0].reason, "the bank is closed");
/// assert_eq!(dead.redrive(&letters).await?, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DeadLetters {
    backend: Arc<dyn Backend>,
    /// The group that failed.
    group: Arc<str>,
    /// The streams that it read: one, or each partition of all generations.
    sources: Vec<Arc<str>>,
    /// Where all of them stand, instead of beside each stream.
    place: Option<Arc<str>>,
}

/// An entry that failed for good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// Its id among the dead letters of its stream.
    pub id: MessageId,
    /// The stream that it stood in: of a topic, the partition.
    pub stream: Arc<str>,
    /// The id that it had.
    pub source_id: MessageId,
    /// Who had it at last.
    pub consumer: String,
    /// How often it was delivered.
    pub deliveries: u64,
    /// Why it failed.
    pub reason: String,
    /// Unix milliseconds of its end.
    pub last_ms: u64,
    /// What it held.
    pub fields: Fields,
    /// Where it stands.
    place: Arc<str>,
    /// As it stands there.
    entry: Entry,
}

impl DeadLetters {
    /// Those of an event's stream, of all its partitions where it has several.
    pub fn of<E: Event>(broker: &Broker, group: &str) -> Self {
        Self::of_stream(broker, E::STREAM, group)
    }

    /// Those of any stream: of a topic that the broker knows ([`Broker::partitioned`]), those of
    /// all partitions; by the name of a partition, its own.
    pub fn of_stream(broker: &Broker, stream: &str, group: &str) -> Self {
        let sources = match broker.topic(stream) {
            Some(topic) => topic.streams().concat().into_iter().map(Into::into).collect(),
            None => vec![stream.into()],
        };
        let backend = Arc::clone(broker.backend());
        Self { backend, group: group.into(), sources, place: None }
    }

    /// Where they stand, if the worker was told another place: [`crate::Worker::dead_letter`].
    #[must_use]
    pub fn in_stream(self, stream: &str) -> Self {
        Self { place: Some(stream.into()), ..self }
    }

    /// The oldest, at most `count`. Those of other groups that share the place are passed over.
    pub async fn list(&self, count: usize) -> Result<Vec<DeadLetter>> {
        self.list_from(MessageId::MIN, count).await
    }

    /// The oldest from an id on, at most `count`: to page on, from behind the last. Over several
    /// partitions two may have one id: [`DeadLetters::list_after`] misses none of them.
    pub async fn list_from(&self, id: MessageId, count: usize) -> Result<Vec<DeadLetter>> {
        self.look(id, count, |_| true).await
    }

    /// Those that [`DeadLetters::list`] would answer behind this one, at most `count`.
    pub async fn list_after(&self, last: &DeadLetter, count: usize) -> Result<Vec<DeadLetter>> {
        self.look(last.id, count, |letter| letter.order() > last.order()).await
    }

    /// Gives them back to the group that failed, and to no other; answers how many went. Each goes
    /// to the stream that it stood in, as a new entry with an id of its own, and its attempts begin
    /// anew. One that somebody else took away meanwhile is passed over.
    pub async fn redrive(&self, letters: &[DeadLetter]) -> Result<u64> {
        let mut given = 0;
        for letters in together(letters) {
            let entries: Vec<Entry> = letters.iter().map(|letter| letter.entry.clone()).collect();
            if let Some(first) = letters.first() {
                let (stream, group) = (Arc::clone(&first.stream), Arc::clone(&self.group));
                // Nobody reads in it here.
                let seat = Seat { stream, group, consumer: "".into() };
                given += self.backend.redrive(&seat, &first.place, &entries).await?;
            }
        }
        Ok(given)
    }

    /// Throws them away; answers how many went.
    pub async fn purge(&self, letters: &[DeadLetter]) -> Result<u64> {
        let mut gone = 0;
        for letters in together(letters) {
            let ids: Vec<MessageId> = letters.iter().map(|letter| letter.id).collect();
            if let Some(first) = letters.first() {
                gone += self.backend.delete(&first.place, &ids).await?;
            }
        }
        Ok(gone)
    }

    /// The oldest of all places from an id on, of those that are wanted.
    async fn look(
        &self,
        from: MessageId,
        count: usize,
        is_wanted: impl Fn(&DeadLetter) -> bool,
    ) -> Result<Vec<DeadLetter>> {
        let beside = || self.sources.iter().map(|it| names::dead_letters(it, &self.group).into());
        let places: Vec<Arc<str>> = match &self.place {
            Some(place) => vec![Arc::clone(place)],
            None => beside().collect(),
        };
        let mut oldest: Vec<DeadLetter> = Vec::new();
        for place in places {
            let (mut found, mut first) = (0, Some(from));
            while let (Some(from), true) = (first, found < count) {
                let page = self.backend.range(&place, from, MessageId::MAX, PAGE).await?;
                first = page.last().filter(|_| page.len() == PAGE).and_then(|last| last.id.next());
                let letters = page.into_iter().filter_map(|entry| self.letter(&place, entry));
                let before = oldest.len();
                oldest.extend(letters.filter(&is_wanted));
                found += oldest.len() - before;
            }
            oldest.sort_by(|one, other| one.order().cmp(&other.order()));
            oldest.truncate(count);
        }
        Ok(oldest)
    }

    fn letter(&self, place: &Arc<str>, entry: Entry) -> Option<DeadLetter> {
        let fact = |name: &str| entry.fields.text(&format!("{PREFIX}{name}"));
        let source = fact("source")?;
        let is_of = |stream: &str| source == stream || source == names::again(stream, &self.group);
        let stream = self.sources.iter().find(|stream| is_of(stream))?;
        if fact("group")? != &*self.group {
            return None;
        }
        let number = |name| fact(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        Some(DeadLetter {
            id: entry.id,
            stream: Arc::clone(stream),
            source_id: fact("id")?.parse().ok()?,
            consumer: fact("consumer").unwrap_or_default().to_owned(),
            deliveries: number("deliveries"),
            reason: fact("reason").unwrap_or_default().to_owned(),
            last_ms: number("last-ms"),
            fields: original(&entry.fields),
            place: Arc::clone(place),
            entry,
        })
    }
}

/// Those of one stream and one place together.
fn together(letters: &[DeadLetter]) -> Vec<Vec<&DeadLetter>> {
    let mut all: Vec<Vec<&DeadLetter>> = Vec::new();
    for letter in letters {
        let is_same = |it: &&DeadLetter| it.stream == letter.stream && it.place == letter.place;
        match all.iter_mut().find(|some| some.first().is_some_and(is_same)) {
            Some(some) => some.push(letter),
            None => all.push(vec![letter]),
        }
    }
    all
}

impl DeadLetter {
    /// Ids of several places may be the same.
    fn order(&self) -> (MessageId, &str) {
        (self.id, &self.place)
    }

    /// The event that it was.
    pub fn event<E: Event>(&self) -> Result<E> {
        Ok(crate::event::decode(&self.fields)?)
    }
}

/// What an entry held before it became a dead letter.
pub(crate) fn original(fields: &Fields) -> Fields {
    let ours = |name: &[u8]| name.starts_with(PREFIX.as_bytes());
    fields.0.iter().filter(|(name, _)| !ours(name)).cloned().collect()
}

/// The entry that a dead letter is: what it held, and where it comes from, in the fields that
/// Levada writes.
#[cfg_attr(not(feature = "redis"), expect(dead_code))]
pub(crate) fn fields(seat: &Seat, failed: &Failed, now_ms: u64) -> Fields {
    let mut fields = failed.fields.clone();
    let facts = [
        ("source", seat.stream.to_string()),
        ("id", failed.id.to_string()),
        ("group", seat.group.to_string()),
        ("consumer", seat.consumer.to_string()),
        ("deliveries", failed.attempt.to_string()),
        ("reason", failed.reason.clone()),
        ("first-ms", failed.id.ms.to_string()),
        ("last-ms", now_ms.to_string()),
    ];
    for (name, value) in facts {
        fields.push(format!("{PREFIX}{name}"), value);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_held_is_found_again() {
        let held: Fields = [("data", "{}"), ("x-dl", "1")].into_iter().collect();
        let seat = Seat { stream: "s".into(), group: "g".into(), consumer: "c".into() };
        let reason = "why".to_owned();
        let failed = Failed { id: MessageId::at(5), attempt: 2, fields: held.clone(), reason };
        let dead = fields(&seat, &failed, 9);
        assert_eq!(dead.text("x-dlq-id"), Some("5-0"));
        assert_eq!(original(&dead), held);
    }
}
