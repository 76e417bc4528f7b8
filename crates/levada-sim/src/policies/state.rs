//! How the state is read back: by what any client can ask, but for what is parked, which only the
//! machine knows by its ids.

use super::client::{CONSUMERS, GROUP, KEY, refused, told_id, values};
use super::scheduled::Row;
use super::{Halt, Life, World};
use crate::crash::Restart;
use crate::history::{Id, Key as Written, Pending, State};
use crate::op::subject;
use levada_core::command::Command;
use levada_core::id::StreamId;
use levada_core::reply::{self, Reply};

/// Readings at most, until nothing moves between them.
const READINGS_MAX: usize = 50;

impl World {
    /// The state, and what is scheduled, at one and the same time: reading blocks lets the shard go
    /// on with what is due.
    pub(super) fn read_all<S: Restart>(
        &self,
        life: &mut Life<S>,
    ) -> Result<(State, Vec<Row>), Halt> {
        for _ in 0..READINGS_MAX {
            let before = life.shard.position();
            let read = (self.read(life)?, self.read_schedule(life)?);
            if life.shard.position() == before {
                return Ok(read);
            }
        }
        Err(Halt::Wrong("does not come to rest".into()))
    }

    /// The stream, its group and its dead letters, by values, which have no names yet.
    pub(super) fn read<S: Restart>(&self, life: &mut Life<S>) -> Result<State, Halt> {
        let (full, _) = self.ask(life, &Command::XinfoStream(KEY, Some(0)))?;
        let Ok(Reply::StreamFull(full)) = full else {
            return Err(Halt::Wrong(format!("XINFO STREAM FULL: {full:?}")));
        };
        let group = full.groups.iter().find(|group| group.info.name[..] == *GROUP);
        let group = group.ok_or_else(|| Halt::Wrong("the group is gone".into()))?;
        let entries = valued(life, &full.entries)?;
        let entries: Vec<_> =
            entries.into_iter().filter_map(|(id, key)| Some((id, key?))).collect();
        // What comes back from the dead letters is pending at once, whatever MAX-PENDING says.
        let copies = self.names.copies();
        let pending = group.pending.iter().filter(|row| !copies.contains(&told_id(row.id)));
        // Behind a redrive that was cut short these may be there, and nobody has seen their ids.
        let unseen = self.backs.iter().filter(|back| back.entry.is_none()).count();
        self.check_limits(&entries, pending.count().saturating_sub(unseen) as u64)?;
        let dead: Vec<_> = self.read_letters(life)?;
        if !dead.is_empty() && !self.fatal && self.policy.max_deliver == 0 {
            let text = format!("{:?}: dead letters of no limit: {dead:?}", self.policy);
            return Err(Halt::Wrong(text));
        }
        let pending = |row: &reply::PendingRow| Pending {
            id: told_id(row.id),
            consumer: CONSUMERS
                .iter()
                .position(|name| **name == *row.consumer)
                .unwrap_or(usize::MAX),
            count: row.count,
        };
        Ok(State {
            entries,
            pending: group.pending.iter().map(pending).collect(),
            dead: dead.into_iter().map(|letter| (letter.source, letter.value)).collect(),
            parked: parked(life),
            redriven: Vec::new(),
            last_id: told_id(full.facts.last_id),
            added: full.facts.entries_added,
            last_delivered: told_id(group.info.last_id),
            contradictions: Vec::new(),
        })
    }

    /// MAX-LEN, MAX-BYTES and MAX-PENDING are kept.
    fn check_limits(&self, entries: &[(Id, Written)], pending: u64) -> Result<(), Halt> {
        let policy = &self.policy;
        let bytes: usize = entries.iter().map(|(_, key)| key.value().len()).sum();
        let is_over = |held: u64, max: u64| max > 0 && held > max;
        let what = match () {
            () if is_over(entries.len() as u64, policy.max_len) => "entries",
            () if is_over(bytes as u64, policy.max_bytes) => "bytes",
            () if is_over(pending, policy.max_pending) => "pending",
            () => return Ok(()),
        };
        let text = format!("{policy:?}: too many {what}: {entries:?}, {bytes}, {pending}");
        Err(Halt::Wrong(text))
    }

    /// Entries with the names of their values; none where only an id was shown.
    pub(super) fn told<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        entries: &reply::Entries,
    ) -> Result<Vec<(Id, Option<Written>)>, Halt> {
        self.name_all(valued(life, entries)?)
    }

    /// The same of entries that were read.
    pub(super) fn name_all(
        &mut self,
        values: Vec<(Id, Option<Written>)>,
    ) -> Result<Vec<(Id, Option<Written>)>, Halt> {
        let named = |(id, value): (Id, Option<Written>)| {
            Ok((id, value.map(|value| self.name(id, value)).transpose()?))
        };
        values.into_iter().map(named).collect::<Result<_, String>>().map_err(Halt::Wrong)
    }
}

/// What the group has passed over, in order.
fn parked<S: Restart>(life: &Life<S>) -> Vec<Id> {
    let found = life.shard.machine().stream(KEY);
    let group = found.and_then(|(_, stream)| stream.groups.find(GROUP));
    let parked = group.into_iter().flat_map(|(_, group)| group.order.parked_from(StreamId::MIN));
    parked.map(|(id, _)| told_id(id)).collect()
}

/// Entries with their values.
pub(super) fn valued<S: Restart>(
    life: &mut Life<S>,
    entries: &reply::Entries,
) -> Result<Vec<(Id, Option<Written>)>, Halt> {
    let entries =
        subject::told_entries(&mut life.shard, entries).map_err(|error| refused(&error))?;
    let entry = |(id, fields): (crate::model::Id, Option<crate::model::Fields>)| {
        Ok(((id.0, id.1), fields.map(|fields| values(&fields)).transpose()?))
    };
    entries.into_iter().map(entry).collect::<Result<_, String>>().map_err(Halt::Wrong)
}
