//! Entries that the server removes by itself: acknowledged by all, too old, or beyond a limit.
//!
//! Always from the head, up to the watermark: the lowest id that a group still needs, which is its
//! first pending entry or the first that it was not given. Groups with RETAIN NO need nothing, and
//! in a stream without any group nobody does. Whole blocks go by what the index knows of them; only
//! the newest block, which is in memory, is cut row by row.

use alloc::vec::Vec;

use super::{Context, Refusal, places};
use crate::{
    effect::{Act, Effect},
    error::{Error, Limit},
    group::Group,
    id::StreamId,
    keyspace::KeyNumber,
    policy::{OnLimit, Retention, StreamPolicy},
    stream::Stream,
};

/// References without entry that one call releases at most.
const STALE_MAX: usize = 1000;

/// The watermark; the largest id where no group needs anything.
pub(super) fn watermark(stream: &Stream) -> StreamId {
    let (first, _) = stream.id_range(stream.first_block());
    let needed = retaining(stream).map(|(_, group)| group.watermark(first, &stream.redriven));
    needed.min().unwrap_or(StreamId::MAX)
}

fn retaining(stream: &Stream) -> impl Iterator<Item = (u32, &Group)> {
    let groups = stream.groups.iter().filter(|(_, _, group)| !group.policy.retain_no);
    groups.map(|(_, number, group)| (number, &**group))
}

/// Removes what retention and age allow to go. Also when to look again, where that is known: other
/// removals follow an acknowledgement, which asks.
pub(super) fn remove(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
) -> Result<(Vec<Effect<'static>>, Option<u64>), Refusal> {
    if !stream.policy.removes() || stream.is_empty() {
        return Ok((Vec::new(), None));
    }
    let stale = stale(context, key, stream)?;
    if !stale.is_empty() {
        return Ok((stale, Some(context.now_ms)));
    }
    let below = watermark(stream);
    let is_acked =
        stream.policy.retention == Retention::Acked && retaining(stream).next().is_some();
    let tail = stream.tail_number();
    let (mut block, mut row, mut next_ms) = (stream.first_block(), 0, None);
    while block < tail {
        // The largest id stands for a stream of which nobody needs anything.
        let is_needed = stream.id_range(block).1 >= below && below != StreamId::MAX;
        let goes_ms = goes_at(&stream.policy, stream.appended_ms(block), is_acked);
        if is_needed || goes_ms.is_none_or(|at_ms| at_ms > context.now_ms) {
            next_ms = goes_ms.filter(|_| !is_needed);
            break;
        }
        block += 1;
    }
    if block == tail {
        let goes_ms = goes_at(&stream.policy, stream.appended_ms(tail), is_acked);
        let at_once = is_acked && stream.policy.retain_acked_ms == 0;
        if goes_ms.is_some_and(|at_ms| at_ms <= context.now_ms) && stream.last_id < below {
            row = stream.tail().count();
        } else if at_once {
            row = stream.tail().lower_bound(below);
        } else {
            next_ms = goes_ms.filter(|at_ms| *at_ms > context.now_ms);
        }
    }
    let first_row = stream.meta(stream.first_block()).map_or(0, |meta| meta.first_row);
    let is_more = block > stream.first_block() || row > first_row;
    let trimmed = is_more.then_some(Effect::Trimmed { key, block, row });
    Ok((trimmed.into_iter().collect(), next_ms))
}

/// When entries that nobody needs go, by the time of the last of them.
fn goes_at(policy: &StreamPolicy, appended_ms: u64, is_acked: bool) -> Option<u64> {
    let acked = is_acked.then(|| appended_ms.saturating_add(policy.retain_acked_ms));
    let age = Some(policy.max_age_ms).filter(|age_ms| *age_ms > 0);
    let aged = age.map(|age_ms| appended_ms.saturating_add(age_ms));
    [acked, aged].into_iter().flatten().min()
}

/// References that hold the watermark though their entries are gone.
fn stale(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
) -> Result<Vec<Effect<'static>>, Refusal> {
    if stream.policy.retention != Retention::Acked || stream.max_deleted_id == StreamId::MIN {
        return Ok(Vec::new());
    }
    let (first, _) = stream.id_range(stream.first_block());
    let mut effects = Vec::new();
    for (group, of) in retaining(stream) {
        let mut ids = Vec::new();
        for held in of.pending.iter_from(first).take(STALE_MAX) {
            if held.id > stream.max_deleted_id {
                break;
            }
            if places::places(context, key, stream, &[held.id])? != [None] {
                break;
            }
            ids.push(held.id);
        }
        if !ids.is_empty() {
            effects.push(Effect::Released { key, group, ids });
        }
        let ids = stale_parked(context, key, stream, of, first)?;
        if !ids.is_empty() {
            effects.push(Effect::Policy { key, act: Act::Unparked { group, ids } });
        }
    }
    Ok(effects)
}

/// The same of parked entries.
fn stale_parked(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    group: &Group,
    first: StreamId,
) -> Result<Vec<StreamId>, Refusal> {
    let mut ids = Vec::new();
    for (id, _) in group.order.parked_from(first).take(STALE_MAX) {
        if id > stream.max_deleted_id || places::places(context, key, stream, &[id])? != [None] {
            break;
        }
        ids.push(id);
    }
    Ok(ids)
}

/// Whether a limit refuses an entry of so many bytes as long as nothing goes.
pub(super) fn is_full(stream: &Stream, bytes: usize) -> bool {
    stream.policy.on_limit == OnLimit::Reject && over(stream, bytes).is_some()
}

/// The limit that one more entry would exceed.
pub(super) fn over(stream: &Stream, bytes: usize) -> Option<Limit> {
    let StreamPolicy { max_len, max_bytes, .. } = *stream.policy;
    if max_len > 0 && stream.len() >= max_len {
        return Some(Limit::Len { max: max_len, held: stream.len() });
    }
    let held = stream.bytes();
    (max_bytes > 0 && held + bytes as u64 > max_bytes)
        .then_some(Limit::Bytes { max: max_bytes, held })
}

/// Makes room for an entry of so many bytes where the stream has limits: by what nobody needs, or
/// with ON-LIMIT TRIM by the oldest, which is counted for every group that loses by it.
pub(super) fn make_room(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    bytes: usize,
) -> Result<Vec<Effect<'static>>, Refusal> {
    let Some(limit) = over(stream, bytes) else {
        return Ok(Vec::new());
    };
    let Some((block, row)) = room(stream, &limit, bytes) else {
        return Err(Error::Limit(limit).into());
    };
    let end = match row {
        0 => stream.meta(block).filter(|meta| meta.count > 0).map(|meta| meta.base),
        _ => context.block(key, stream, block)?.row(row).map(|row| row.id),
    };
    let end = end.unwrap_or_else(|| stream.last_id.next().unwrap_or(StreamId::MAX));
    let mut effects = Vec::from([Effect::Trimmed { key, block, row }]);
    if end <= watermark(stream) {
        return Ok(effects);
    }
    if stream.policy.on_limit == OnLimit::Reject {
        return Err(Error::Limit(limit).into());
    }
    for (_, group, of) in stream.groups.iter() {
        let count = lost(context, key, stream, of, end)?;
        if count > 0 {
            effects.push(Effect::Policy { key, act: Act::Dropped { group, count } });
        }
    }
    Ok(effects)
}

/// The place up to which the stream must go; `None` where even that would not do.
fn room(stream: &Stream, limit: &Limit, bytes: usize) -> Option<(u64, u32)> {
    match limit {
        Limit::Len { max, held } => Some(stream.place_after(held - max + 1)),
        Limit::Bytes { max, held } => {
            let mut held = held + bytes as u64;
            let mut block = stream.first_block();
            while held > *max && block < stream.tail_number() {
                held -= stream.block_bytes(block);
                block += 1;
            }
            if held <= *max {
                return Some((block, 0));
            }
            // The newest block is cut as a whole: its rows are one piece of memory.
            (bytes as u64 <= *max).then_some((block, stream.tail().count()))
        }
    }
}

/// How many entries below `end` a group has not acknowledged.
fn lost(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    group: &Group,
    end: StreamId,
) -> Result<u64, Refusal> {
    let (first, _) = stream.id_range(stream.first_block());
    let pending = group.pending.iter_from(first).take_while(|held| held.id < end).count() as u64;
    let parked = group.order.parked_from(first).take_while(|(id, _)| *id < end).count() as u64;
    let pending = pending + parked;
    let Some(last) = end.previous().filter(|last| *last > group.last_id) else {
        return Ok(pending);
    };
    let span = places::Span { last, ..places::Span::above(group.last_id, u64::MAX) };
    Ok(pending + places::collect_new(context, key, stream, span)?.count)
}
