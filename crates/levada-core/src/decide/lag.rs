//! How far a group is behind, as Redis computes it (`redis-streams-spec.md`, "Lag").
//!
//! Redis counts entries by a counter per stream and per group and gives up where deletions make the
//! counters useless; XINFO answers as Redis does, null included. Redriven entries are counted by
//! the stream, and by a group as it passes them, but no group lags by one. Parked entries were
//! passed and not delivered: a group lags by them.

use super::{Context, Refusal, places};
use crate::{group::Group, id::StreamId, keyspace::KeyNumber, stream::Stream};

/// What the estimates need to know of a stream.
pub(super) struct Counters<'m> {
    stream: &'m Stream,
    first_id: StreamId,
}

impl<'m> Counters<'m> {
    /// Looks up the first id, which may need its block.
    pub(super) fn of(
        context: Context<'_>,
        key: KeyNumber,
        stream: &'m Stream,
    ) -> Result<Self, Refusal> {
        Ok(Self { stream, first_id: places::first_id(context, key, stream)? })
    }

    /// The lag of a group, where Redis knows it.
    pub(super) fn lag(&self, group: &Group) -> Option<i64> {
        let added = self.stream.entries_added;
        // As in Redis, where the difference wraps.
        let parked = group.order.parked_from(self.first_id).count();
        let parked = i64::try_from(parked).unwrap_or(i64::MAX);
        let not_for_all = self.redriven_above(group.last_id) - parked;
        let behind = |read: u64| Some(added.wrapping_sub(read).cast_signed() - not_for_all);
        if added == 0 || self.stream.is_empty() {
            return Some(0);
        }
        if group.last_id < self.first_id && self.stream.max_deleted_id < self.first_id {
            return i64::try_from(self.stream.len()).ok().map(|length| length - not_for_all);
        }
        match group.entries_read {
            Some(read) if !has_tombstone_from(self.stream, group.last_id) => behind(read),
            _ => self.distance(group.last_id).and_then(behind),
        }
    }

    /// Redriven entries above an id, as far as they may be in the stream.
    fn redriven_above(&self, id: StreamId) -> i64 {
        let redriven = &self.stream.redriven;
        let there = redriven.above(id).filter(|(redriven, _)| *redriven >= self.first_id);
        if redriven.is_empty() { 0 } else { i64::try_from(there.count()).unwrap_or(i64::MAX) }
    }

    /// How many entries were ever added up to `id`, where that can be told.
    fn distance(&self, id: StreamId) -> Option<u64> {
        let stream = self.stream;
        let added = stream.entries_added;
        if added == 0 {
            return Some(0);
        }
        if stream.is_empty() && id <= stream.last_id {
            return Some(added);
        }
        if id != StreamId::MIN && id < stream.max_deleted_id {
            return None;
        }
        if id >= stream.last_id {
            return (id == stream.last_id).then_some(added);
        }
        let whole = stream.max_deleted_id == StreamId::MIN || stream.max_deleted_id < self.first_id;
        match id.cmp(&self.first_id) {
            core::cmp::Ordering::Less if whole => Some(added.saturating_sub(stream.len())),
            core::cmp::Ordering::Equal if whole => Some(added.saturating_sub(stream.len()) + 1),
            _ => None,
        }
    }
}

/// Whether an entry at or above `from` was deleted, as far as one remembered id can tell.
fn has_tombstone_from(stream: &Stream, from: StreamId) -> bool {
    !stream.is_empty() && stream.max_deleted_id != StreamId::MIN && from <= stream.max_deleted_id
}

/// The group's counter after these ids were passed, in order.
pub(super) fn entries_read_after(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    group: &Group,
    ids: &[StreamId],
) -> Result<Option<u64>, Refusal> {
    let (mut last, mut read) = (group.last_id, group.entries_read);
    let mut counters = None;
    // Before the first live entry nothing was counted that could be counted on.
    let mut within = read.is_none() || is_within(context, key, stream, last)?;
    for (at, id) in ids.iter().enumerate() {
        read = match read.filter(|_| within) {
            // Behind the last tombstone all that is left counts one each.
            Some(count) if last > stream.max_deleted_id => {
                return Ok(Some(count + (ids.len() - at) as u64));
            }
            Some(count) if !has_tombstone_from(stream, last) => Some(count + 1),
            _ if stream.entries_added == 0 => read,
            _ => match &counters {
                None => counters.insert(Counters::of(context, key, stream)?).distance(*id),
                Some(counters) => counters.distance(*id),
            },
        };
        (last, within) = (*id, true);
    }
    Ok(read)
}

/// Whether an id is at or above the first live one; most often known without its block.
fn is_within(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    id: StreamId,
) -> Result<bool, Refusal> {
    let second = stream.meta(stream.first_block() + 1).filter(|meta| meta.count > 0);
    if second.is_some_and(|second| second.base <= id) {
        return Ok(true);
    }
    Ok(places::first_id(context, key, stream)? <= id)
}
