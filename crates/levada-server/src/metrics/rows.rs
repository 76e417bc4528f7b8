//! Streams and groups as they are told: the first so many one by one, the others as one.

use levada_core::group::Group;
use levada_core::id::StreamId;
use levada_core::keyspace::KeyNumber;
use levada_core::stream::Stream;
use levada_engine::shard::Counts;

use super::text::{Text, label};
use super::{metric, quotient};

/// Groups that are told one by one, for each stream that may be.
const GROUPS_PER_STREAM: usize = 10;
/// Pending entries above which those delivered again are not counted.
const PENDING_LOOKED_AT_MAX: u64 = 10_000;
/// What the others are called.
const OTHER: &str = "(other)";

/// A metric by its name, and where its value stands in a row.
type Named<R, V> = (&'static str, fn(&R) -> V);

/// A stream, or the sum of several.
#[derive(Clone, Default, Debug)]
struct StreamRow {
    database: String,
    name: String,
    length: u64,
    bytes: u64,
    added: u64,
    groups: u64,
    released_unread: u64,
    rejected: u64,
}

/// A group, or the sum of several; ages are those of the oldest.
#[derive(Clone, Default, Debug)]
struct GroupRow {
    database: String,
    stream: String,
    name: String,
    lag: u64,
    lag_ms: u64,
    pending: u64,
    pending_oldest_ms: u64,
    redelivered: Option<u64>,
    offered: u64,
    consumers: u64,
    dead_letters: u64,
    dead_letters_blocked: u64,
    dropped: u64,
    released_unread: u64,
    redelivered_ever: u64,
}

/// A stream, its number, and what was counted of it.
#[derive(Clone, Copy)]
pub(super) struct Counted<'a> {
    pub(super) number: KeyNumber,
    pub(super) stream: &'a Stream,
    pub(super) counts: &'a Counts,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Rows {
    streams_max: usize,
    streams: Vec<StreamRow>,
    groups: Vec<GroupRow>,
    other_streams: StreamRow,
    other_groups: GroupRow,
    /// All streams.
    pub(super) count: u64,
}

impl Rows {
    /// None yet; so many streams are told one by one.
    pub(super) fn new(streams_max: usize) -> Self {
        let other = OTHER.to_owned();
        let (database, name) = (String::new(), other.clone());
        let other_streams = StreamRow { database, name, ..StreamRow::default() };
        let other_groups = GroupRow { stream: other.clone(), name: other, ..GroupRow::default() };
        let (streams, groups) = (Vec::new(), Vec::new());
        Self { streams_max, streams, groups, other_streams, other_groups, count: 0 }
    }

    /// Streams that are told one by one.
    pub(super) fn told(&self) -> usize {
        self.streams.len()
    }

    /// Adds a stream with its groups. About how many blocks were looked at.
    pub(super) fn add(
        &mut self,
        database: u8,
        name: &[u8],
        counted: Counted<'_>,
        now_ms: u64,
    ) -> usize {
        let Counted { number, stream, counts } = counted;
        self.count += 1;
        let database = database.to_string();
        let name = label(name).filter(|_| self.streams.len() < self.streams_max);
        let row = match name.clone() {
            Some(name) => {
                self.streams.push(StreamRow { database: database.clone(), name, ..<_>::default() });
                self.streams.last_mut().expect("it was put there")
            }
            None => &mut self.other_streams,
        };
        row.length += stream.len();
        row.bytes += stream.bytes();
        row.added += stream.entries_added;
        row.groups += stream.groups.len() as u64;
        row.released_unread += stream.released_unread;
        row.rejected += counts.rejected(number);
        let mut looked_at = 1;
        for (group_name, group_number, group) in stream.groups.iter() {
            let row = self.group_row(&database, name.as_deref(), group_name);
            row.redelivered_ever += counts.redelivered(number, group_number);
            looked_at += row.add(group, stream, now_ms);
        }
        looked_at
    }

    /// The row of a group: its own while there is room.
    fn group_row(&mut self, database: &str, stream: Option<&str>, name: &[u8]) -> &mut GroupRow {
        let room = self.groups.len() < self.streams_max.saturating_mul(GROUPS_PER_STREAM);
        match (stream, label(name)) {
            (Some(stream), Some(name)) if room => {
                let (database, stream) = (database.to_owned(), stream.to_owned());
                self.groups.push(GroupRow { database, stream, name, ..GroupRow::default() });
                self.groups.last_mut().expect("it was put there")
            }
            _ => &mut self.other_groups,
        }
    }

    /// Writes all of it.
    pub(super) fn write(&self, text: &mut Text) {
        let other = (self.count > self.streams.len() as u64).then_some(&self.other_streams);
        let rows = || self.streams.iter().chain(other);
        let streams: [Named<StreamRow, u64>; 6] = [
            ("levada_stream_length", |row| row.length),
            ("levada_stream_bytes", |row| row.bytes),
            ("levada_stream_added_total", |row| row.added),
            ("levada_stream_groups", |row| row.groups),
            ("levada_stream_released_unread_total", |row| row.released_unread),
            ("levada_stream_appends_rejected_total", |row| row.rejected),
        ];
        for (name, value) in streams {
            let samples = rows().map(|row| (vec![&*row.database, &*row.name], value(row)));
            text.many(metric(name), samples);
        }
        self.write_groups(text);
    }

    fn write_groups(&self, text: &mut Text) {
        let groups = self.groups.len() as u64;
        let all =
            self.streams.iter().map(|row| row.groups).sum::<u64>() + self.other_streams.groups;
        let other = (all > groups).then_some(&self.other_groups);
        #[expect(clippy::cast_precision_loss, reason = "for people and for graphs")]
        let numbers: [Named<GroupRow, Option<f64>>; 12] = [
            ("levada_group_lag", |row| Some(row.lag as f64)),
            ("levada_group_lag_seconds", |row| Some(quotient(row.lag_ms, 1_000))),
            ("levada_group_pending", |row| Some(row.pending as f64)),
            ("levada_group_pending_oldest_seconds", |row| {
                Some(quotient(row.pending_oldest_ms, 1_000))
            }),
            ("levada_group_pending_redelivered", |row| row.redelivered.map(|count| count as f64)),
            ("levada_group_redelivered_total", |row| Some(row.redelivered_ever as f64)),
            ("levada_group_offered", |row| Some(row.offered as f64)),
            ("levada_group_consumers", |row| Some(row.consumers as f64)),
            ("levada_group_dead_letters_total", |row| Some(row.dead_letters as f64)),
            ("levada_group_dead_letters_blocked", |row| Some(row.dead_letters_blocked as f64)),
            ("levada_group_dropped_total", |row| Some(row.dropped as f64)),
            ("levada_group_released_unread_total", |row| Some(row.released_unread as f64)),
        ];
        for (name, value) in numbers {
            let rows = self.groups.iter().chain(other);
            let samples = rows.filter_map(|row| {
                let GroupRow { database, stream, name, .. } = row;
                Some((vec![&**database, &**stream, &**name], value(row)?))
            });
            text.many(metric(name), samples);
        }
    }
}

impl GroupRow {
    /// Adds a group. About how many blocks were looked at.
    fn add(&mut self, group: &Group, stream: &Stream, now_ms: u64) -> usize {
        let (lag, block, blocks) = behind(stream, group);
        let age = |since_ms: u64| now_ms.saturating_sub(since_ms);
        self.lag += lag;
        if lag > 0 {
            self.lag_ms = self.lag_ms.max(age(stream.appended_ms(block)));
        }
        self.pending += group.pending.len();
        let oldest = group.pending.oldest_above(0).map_or(0, age);
        self.pending_oldest_ms = self.pending_oldest_ms.max(oldest);
        if group.pending.len() <= PENDING_LOOKED_AT_MAX {
            let pending = group.pending.iter_from(StreamId::MIN);
            let again = pending.filter(|entry| entry.count > 1).count() as u64;
            self.redelivered = Some(self.redelivered.unwrap_or(0) + again);
        }
        self.offered += group.offers.offered.len() as u64;
        self.consumers += group.consumers.len() as u64;
        self.dead_letters += group.dead_letters;
        self.dead_letters_blocked += group.offers.condemned.len() as u64;
        self.dropped += group.dropped;
        self.released_unread += group.released_unread;
        blocks + usize::try_from(group.pending.len().min(PENDING_LOOKED_AT_MAX) / 16).unwrap_or(0)
    }
}

/// How many entries a group was not given yet, the block that holds the first of them, and how many
/// blocks were looked at. Exact where the counters of stream and group are, else up to a block too
/// many: the blocks themselves are not read.
fn behind(stream: &Stream, group: &Group) -> (u64, u64, usize) {
    let parked = group.order.parked_from(StreamId::MIN).count() as u64;
    let tail = stream.tail_number();
    if group.last_id >= stream.last_id {
        return (parked.min(stream.len()), tail, 1);
    }
    let mut first = stream.seek(group.last_id);
    if first < tail && stream.id_range(first).1 <= group.last_id {
        first += 1;
    }
    let whole = stream.max_deleted_id <= group.last_id;
    if let Some(read) = group.entries_read.filter(|_| whole) {
        let lag = stream.entries_added.saturating_sub(read) + parked;
        return (lag.min(stream.len()), first, 1);
    }
    let live = (first..=tail).filter_map(|number| stream.meta(number));
    let lag = live.map(|meta| u64::from(meta.live)).sum::<u64>() + parked;
    let blocks = usize::try_from(tail - first).unwrap_or(usize::MAX);
    (lag.min(stream.len()), first, blocks / 16 + 1)
}
