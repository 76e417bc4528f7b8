//! KEEPREF, DELREF, ACKED: deletions that look at what is pending (Redis 8.2).
//!
//! An entry is referenced while some group has not passed it, or has it pending; without a group
//! nothing is. A trim that looks at references goes through logical nodes as Redis does, and where
//! `~` would stop at a node that goes only in part, it takes that part. What it removes is most
//! often a prefix of the stream; where referenced entries stay in between, rows are deleted.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{
    Context, Decided, Decision, Refusal,
    add::{self, Newest},
    places,
};
use crate::{
    command::{Key, References, Trim, TrimKeep},
    effect::Effect,
    id::StreamId,
    keyspace::KeyNumber,
    limits,
    reply::Reply,
    stream::{Meta, Stream},
};

/// XDELEX, XACKDEL: no such entry, or it is not pending.
const MISSING: i64 = -1;
/// It is gone.
const DELETED: i64 = 1;
/// It stays, for a group still needs it.
const REFERENCED: i64 = 2;

/// XDELEX key \[KEEPREF|DELREF|ACKED] IDS n id ...
pub(super) fn xdelex<'a>(
    context: Context<'_>,
    key: Key<'a>,
    references: References,
    ids: &[StreamId],
) -> Decided<'a> {
    let Some((key, stream)) = context.stream(key)? else {
        return Ok(Decision::answer(all_missing(ids)));
    };
    let places = places::places(context, key, stream, ids)?;
    let mut deletion = Deletion::default();
    let delete = |(id, place): (&StreamId, Option<(u64, u32)>)| {
        if references == References::Acked && is_referenced(stream, *id, None) {
            return REFERENCED;
        }
        if references == References::Remove {
            deletion.release_all(stream, *id);
        }
        if deletion.delete(*id, place) { DELETED } else { MISSING }
    };
    let results = ids.iter().zip(places).map(delete).collect();
    let effects = deletion.effects(key, stream);
    Ok(Decision { reply: Reply::Integers(results), effects })
}

/// XACKDEL key group \[KEEPREF|DELREF|ACKED] IDS n id ...
pub(super) fn xackdel<'a>(
    context: Context<'_>,
    key: Key<'a>,
    group: &[u8],
    references: References,
    ids: &[StreamId],
) -> Decided<'a> {
    let found = context.stream(key)?.and_then(|(key, stream)| {
        let (number, group) = stream.groups.find(group)?;
        Some((key, stream, number, group))
    });
    let Some((key, stream, number, group)) = found else {
        return Ok(Decision::answer(all_missing(ids)));
    };
    let places = places::places(context, key, stream, ids)?;
    let mut deletion = Deletion::default();
    let acknowledge = |(id, place): (&StreamId, Option<(u64, u32)>)| {
        if group.pending.get(*id).is_none() || !deletion.release(number, *id) {
            return MISSING;
        }
        if references == References::Acked && is_referenced(stream, *id, Some(number)) {
            return REFERENCED;
        }
        if references == References::Remove {
            deletion.release_all(stream, *id);
        }
        deletion.delete(*id, place);
        DELETED
    };
    let results = ids.iter().zip(places).map(acknowledge).collect();
    let effects = deletion.effects(key, stream);
    Ok(Decision { reply: Reply::Integers(results), effects })
}

fn all_missing(ids: &[StreamId]) -> Reply {
    Reply::Integers(ids.iter().map(|_| MISSING).collect())
}

/// Whether a group has yet to get the entry, or has it pending; `but` has just acknowledged it.
fn is_referenced(stream: &Stream, id: StreamId, but: Option<u32>) -> bool {
    stream.groups.iter().any(|(_, number, group)| {
        (group.last_id < id && !stream.redriven.contains(id))
            || (Some(number) != but && group.pending.get(id).is_some())
            || group.order.is_parked(id)
    })
}

/// What a command deletes and releases, by ids.
#[derive(Default)]
struct Deletion {
    rows: BTreeSet<(u64, u32)>,
    last: StreamId,
    released: BTreeMap<u32, BTreeSet<StreamId>>,
}

impl Deletion {
    /// Deletes an entry; whether it was there.
    fn delete(&mut self, id: StreamId, place: Option<(u64, u32)>) -> bool {
        let deleted = place.is_some_and(|place| self.rows.insert(place));
        if deleted {
            self.last = self.last.max(id);
        }
        deleted
    }

    /// Takes an id from a group's pending list, where it is; whether that is new.
    fn release(&mut self, group: u32, id: StreamId) -> bool {
        self.released.entry(group).or_default().insert(id)
    }

    /// Takes an id from every pending list.
    fn release_all(&mut self, stream: &Stream, id: StreamId) {
        for (_, number, group) in stream.groups.iter() {
            if group.pending.get(id).is_some() {
                self.release(number, id);
            }
        }
    }

    fn effects(self, key: KeyNumber, stream: &Stream) -> Vec<Effect<'static>> {
        let max_deleted_id = stream.max_deleted_id.max(self.last);
        let mut effects = released(key, self.released);
        if !self.rows.is_empty() {
            let rows = self.rows.into_iter().collect();
            effects.push(Effect::Deleted { key, max_deleted_id, rows });
        }
        effects
    }
}

fn released(key: KeyNumber, by_group: BTreeMap<u32, BTreeSet<StreamId>>) -> Vec<Effect<'static>> {
    let release = |(group, ids): (u32, BTreeSet<StreamId>)| {
        (!ids.is_empty()).then(|| Effect::Released { key, group, ids: ids.into_iter().collect() })
    };
    by_group.into_iter().filter_map(release).collect()
}

/// A trim with DELREF or ACKED: how many entries go, and the effects.
pub(super) fn trim(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    trim: &Trim,
    references: References,
    newest: Option<Newest>,
) -> Result<(u64, Vec<Effect<'static>>), Refusal> {
    let groups = stream.groups.iter();
    let passed = groups.map(|(_, _, group)| {
        let parked = group.order.parked_from(StreamId::MIN).next();
        let passed = parked.and_then(|(id, _)| id.previous());
        passed.unwrap_or_else(|| stream.redriven.passed(group.last_id))
    });
    let mut walk = Walk {
        context,
        key,
        stream,
        keep: trim.keep,
        acked: references == References::Acked,
        limit: add::limit(context, trim),
        passed: passed.min(),
        length: stream.len() + u64::from(newest.is_some()),
        removed: 0,
        gone: Vec::new(),
        kept: false,
        has_holes: false,
        released: BTreeMap::new(),
    };
    walk.walk(newest)?;
    Ok((walk.removed, walk.effects()))
}

/// An entry on the way, live or not.
#[derive(Clone, Copy)]
struct Step {
    id: StreamId,
    place: (u64, u32),
    starts_node: bool,
    live: bool,
}

/// Removed entries in order.
enum Gone {
    Block(u64),
    Row(u64, u32),
}

/// A trim that looks at each entry.
struct Walk<'m> {
    context: Context<'m>,
    key: KeyNumber,
    stream: &'m Stream,
    keep: TrimKeep,
    acked: bool,
    limit: u64,
    /// What every group has passed; `None` without groups.
    passed: Option<StreamId>,
    /// Live entries that are left.
    length: u64,
    removed: u64,
    gone: Vec<Gone>,
    /// Whether a live entry stays behind.
    kept: bool,
    /// Whether entries behind one that stays go.
    has_holes: bool,
    /// DELREF: what goes from which group's pending list.
    released: BTreeMap<u32, BTreeSet<StreamId>>,
}

impl<'m> Walk<'m> {
    fn walk(&mut self, newest: Option<Newest>) -> Result<(), Refusal> {
        let tail = self.stream.tail_number();
        for number in self.stream.first_block()..=tail {
            let Some(meta) = self.stream.meta(number) else {
                continue;
            };
            if self.is_enough()
                || self.is_long()
                || (self.acked && self.passed.is_some_and(|id| id < meta.base))
            {
                return Ok(());
            }
            if number < tail && (meta.live == 0 || self.remove_block(&meta)) {
                continue;
            }
            if !self.walk_block(&meta, newest.filter(|_| number == tail))? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the record is as long as one may be: entries are left for the next trim.
    fn is_long(&self) -> bool {
        let holes = if self.has_holes { self.removed } else { 0 };
        let released: usize = self.released.values().map(BTreeSet::len).sum();
        holes.max(released as u64) >= limits::DELIVER_MAX
    }

    fn is_enough(&self) -> bool {
        matches!(self.keep, TrimKeep::MaxLen(keep) if self.length <= keep)
    }

    /// Removes a sealed block without a look into it, where the index tells that all of it goes.
    fn remove_block(&mut self, meta: &Meta<'_>) -> bool {
        let next = self.stream.meta(meta.number + 1).filter(|next| next.count > 0);
        let Some(end) = next.map(|next| next.base) else {
            return false;
        };
        let live = u64::from(meta.live);
        let whole = match self.keep {
            TrimKeep::MaxLen(keep) => self.length - live >= keep,
            TrimKeep::MinId(id) => end <= id,
        };
        if !whole || self.removed + live > self.limit {
            return false;
        }
        let pending = self.pending_within(meta.base, end);
        match self.acked {
            true if !pending.is_empty() || self.passed.is_some_and(|id| id < end) => return false,
            // Only the rows tell which of the pending ones are still there.
            false if !pending.is_empty() && live < u64::from(meta.count) => return false,
            _ => {}
        }
        for (group, id) in pending {
            self.released.entry(group).or_default().insert(id);
        }
        self.remove(Gone::Block(meta.number), live);
        true
    }

    /// Groups and the ids in `first..end` that they have pending; for ACKED one is enough.
    fn pending_within(&self, first: StreamId, end: StreamId) -> Vec<(u32, StreamId)> {
        let take = if self.acked { 1 } else { usize::MAX };
        let groups = self.stream.groups.iter();
        let held = groups.flat_map(|(_, number, group)| {
            let held = group.pending.iter_from(first).take_while(move |held| held.id < end);
            held.map(move |held| (number, held.id))
        });
        held.take(take).collect()
    }

    /// Goes through a block node by node; whether to go on behind it.
    fn walk_block(&mut self, meta: &Meta<'_>, newest: Option<Newest>) -> Result<bool, Refusal> {
        let block = self.context.block(self.key, self.stream, meta.number)?;
        let rows = block.rows(meta.first_row).map(|row| Step {
            id: row.id,
            place: (meta.number, row.index),
            starts_node: row.starts_node,
            live: meta.is_live(row.index),
        });
        let newest = newest.map(|Newest { id, block, row, starts_node }| Step {
            id,
            place: (block, row),
            starts_node,
            live: true,
        });
        let steps: Vec<_> = rows.chain(newest).collect();
        Ok(steps.chunk_by(|_, next| !next.starts_node).all(|node| self.walk_node(node)))
    }

    /// Removes what may go of a node; whether to go on behind it.
    fn walk_node(&mut self, node: &[Step]) -> bool {
        let live = node.iter().filter(|step| step.live).count() as u64;
        if self.is_enough() || self.removed + live > self.limit {
            return false;
        }
        let goes_whole = match self.keep {
            TrimKeep::MaxLen(keep) => self.length - live >= keep,
            TrimKeep::MinId(id) => node.last().is_some_and(|last| last.id < id),
        };
        for step in node.iter().filter(|step| step.live) {
            if self.is_enough() || matches!(self.keep, TrimKeep::MinId(id) if id <= step.id) {
                break;
            }
            if self.acked && is_referenced(self.stream, step.id, None) {
                self.kept = true;
                continue;
            }
            if !self.acked {
                for (group, id) in self.pending_at(step.id) {
                    self.released.entry(group).or_default().insert(id);
                }
            }
            self.remove(Gone::Row(step.place.0, step.place.1), 1);
        }
        goes_whole
    }

    fn pending_at(&self, id: StreamId) -> impl Iterator<Item = (u32, StreamId)> + use<'m> {
        let groups = self.stream.groups.iter();
        groups
            .filter(move |(_, _, group)| group.pending.get(id).is_some())
            .map(move |(_, number, _)| (number, id))
    }

    fn remove(&mut self, gone: Gone, live: u64) {
        self.has_holes |= self.kept;
        self.gone.push(gone);
        self.removed += live;
        self.length -= live;
    }

    fn effects(self) -> Vec<Effect<'static>> {
        let Self { key, stream, .. } = self;
        let mut effects = released(key, self.released);
        let Some(last) = self.gone.last() else {
            return effects;
        };
        if !self.has_holes {
            let (block, row) = match last {
                Gone::Block(block) => (block + 1, 0),
                Gone::Row(block, row) => (*block, row + 1),
            };
            effects.push(Effect::Trimmed { key, block, row });
            return effects;
        }
        let mut rows = Vec::new();
        for gone in &self.gone {
            match *gone {
                Gone::Row(block, row) => rows.push((block, row)),
                Gone::Block(block) => {
                    let meta = stream.meta(block);
                    let live = meta
                        .into_iter()
                        .flat_map(|meta| (0..meta.count).filter(move |row| meta.is_live(*row)));
                    rows.extend(live.map(|row| (block, row)));
                }
            }
        }
        // As in Redis, what a trim removes is no tombstone.
        let max_deleted_id = stream.max_deleted_id;
        effects.push(Effect::Deleted { key, max_deleted_id, rows });
        effects
    }
}
