//! Everything that clients can read of a data directory.

use std::collections::BTreeMap;

use levada_core::command::{Command, Key, Xpending, Xrange};
use levada_core::error::Error as Refused;
use levada_core::id::StreamId;
use levada_core::reply::Reply;
use levada_engine::disk::memory::MemoryDisk;
use levada_engine::error::Error;
use levada_engine::shard::Entry;
use levada_engine::store::local::verify::Report;

use super::rig::{self, GROUPS, Local, STREAMS, STRINGS};

/// When it is read; behind everything that happened.
const AT_MS: u64 = 1_000_000;

/// What was read.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct State {
    streams: BTreeMap<(u8, Vec<u8>), Stream>,
    strings: Vec<Reply>,
    refused: Vec<Refusal>,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Stream {
    length: Option<Reply>,
    entries: Vec<Entry>,
    pending: Vec<Reply>,
    groups: Option<Reply>,
}

/// A range of ids that was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) database: u8,
    pub(super) key: Vec<u8>,
    pub(super) first: StreamId,
    pub(super) last: StreamId,
}

/// How a state differs from the one known.
pub(super) enum Found {
    Same,
    /// Only by what was refused.
    Refused(Vec<Refusal>),
}

impl State {
    /// Opens a copy and reads it.
    pub(super) fn read(disk: MemoryDisk) -> Result<Self, Error> {
        let mut shard = rig::open(disk)?;
        let mut state = Self::default();
        for key in STREAMS {
            let stream = state.stream(&mut shard, key);
            state.streams.insert((key.database, key.name.to_vec()), stream);
        }
        for key in STRINGS {
            let text = rig::ask(&mut shard, AT_MS, &Command::Get(key));
            state.strings.push(text.result.unwrap_or(Reply::Status("refused")));
        }
        Ok(state)
    }

    fn stream(&mut self, shard: &mut Local, key: Key<'_>) -> Stream {
        let mut ask = |command: &Command<'_>| {
            rig::ask(shard, AT_MS, command).result.unwrap_or(Reply::Status("refused"))
        };
        let length = Some(ask(&Command::Xlen(key)));
        let pending = |group: &&[u8]| {
            let (first, last, count) = (StreamId::MIN, StreamId::MAX, u64::MAX);
            let (idle_ms_min, consumer) = (0, None);
            let group = *group;
            ask(&Command::Xpending(Xpending {
                key,
                group,
                idle_ms_min,
                first,
                last,
                count,
                consumer,
            }))
        };
        let pending = GROUPS.iter().map(pending).collect();
        let groups = Some(ask(&Command::XinfoGroups(key)));
        Stream { length, entries: self.entries(shard, key), pending, groups }
    }

    /// All entries, around what is refused.
    fn entries(&mut self, shard: &mut Local, key: Key<'_>) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut from = Some(StreamId::MIN);
        while let Some(first) = from {
            match range(shard, key, first, StreamId::MAX) {
                Ok(rest) => {
                    entries.extend(rest);
                    break;
                }
                Err((bad, end)) => {
                    if let Some(before) = bad.previous() {
                        match range(shard, key, first, before) {
                            Ok(whole) => entries.extend(whole),
                            Err((first, last)) => self.refuse(key, first, last),
                        }
                    }
                    self.refuse(key, bad, end);
                    from = end.next();
                }
            }
        }
        entries
    }

    fn refuse(&mut self, key: Key<'_>, first: StreamId, last: StreamId) {
        let (database, key) = (key.database, key.name.to_vec());
        self.refused.push(Refusal { database, key, first, last });
    }

    /// How another state differs; an error where it does otherwise than by being refused.
    pub(super) fn compare(&self, other: &Self) -> Result<Found, String> {
        if other.refused.is_empty() {
            return self.check_same(other).map(|()| Found::Same);
        }
        let mut rest = self.clone();
        let mut there = other.clone();
        for Refusal { database, key, first, last } in &other.refused {
            let name = (*database, key.clone());
            for (streams, own) in [(&mut rest.streams, true), (&mut there.streams, false)] {
                if let Some(stream) = streams.get_mut(&name) {
                    stream.entries.retain(|entry| entry.id < *first || entry.id > *last);
                    // A lag may take a look at the damaged block.
                    let refused = other.streams.get(&name).and_then(|of| of.groups.as_ref());
                    if own && refused == Some(&Reply::Status("refused")) {
                        stream.groups = Some(Reply::Status("refused"));
                    }
                }
            }
        }
        there.refused.clear();
        rest.check_same(&there)?;
        Ok(Found::Refused(other.refused.clone()))
    }

    /// Says what differs.
    pub(super) fn check_same(&self, other: &Self) -> Result<(), String> {
        if self == other {
            return Ok(());
        }
        for (name, stream) in &self.streams {
            let found = other.streams.get(name);
            if found == Some(stream) {
                continue;
            }
            let found = found.cloned().unwrap_or_default();
            let missing = stream.entries.iter().find(|entry| !found.entries.contains(entry));
            let extra = found.entries.iter().find(|entry| !stream.entries.contains(entry));
            return Err(format!(
                "{} is served wrongly: {:?} is {:?}, missing {:?}, extra {:?}, groups {:?} \
                 are {:?}",
                name.1.escape_ascii(),
                stream.length,
                found.length,
                missing.map(|entry| entry.id),
                extra.map(|entry| entry.id),
                stream.groups,
                found.groups,
            ));
        }
        Err(format!("strings are served wrongly: {:?} are {:?}", self.strings, other.strings))
    }

    /// What is left without the ids that a report gives up.
    pub(super) fn without(&self, report: &Report) -> Self {
        let mut left = self.clone();
        for touched in report.damage.iter().flat_map(|damage| &damage.touches) {
            let name = (touched.database, touched.key.clone().unwrap_or_default());
            if let (Some(stream), Some((first, last))) = (left.streams.get_mut(&name), touched.ids)
            {
                stream.entries.retain(|entry| entry.id < first || entry.id > last);
                stream.length = i64::try_from(stream.entries.len()).ok().map(Reply::Integer);
                stream.groups = None;
            }
        }
        left
    }
}

/// Entries of a range, or the ids that cannot be read.
fn range(
    shard: &mut Local,
    key: Key<'_>,
    first: StreamId,
    last: StreamId,
) -> Result<Vec<Entry>, (StreamId, StreamId)> {
    let (reverse, count) = (false, None);
    let range = Command::Xrange(Xrange { key, first, last, reverse, count });
    let entries = match rig::ask(shard, AT_MS, &range).result {
        Ok(Reply::Entries(entries)) => shard.entries(&entries),
        Ok(other) => panic!("XRANGE answers entries, not {other:?}"),
        Err(refused) => Err(refused),
    };
    entries.map_err(|refused| match refused {
        Refused::Corrupt { first, last, .. } => (first, last),
        other => panic!("XRANGE is refused with {other:?}"),
    })
}
