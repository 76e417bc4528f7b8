//! What a group skips under RETENTION ACKED: entries that it was to have and will not, because it
//! goes, is set forward or begins behind them. They are counted, so that nobody finds out later.

use super::{Context, Refusal};
use crate::{
    effect::{Act, Effect},
    group::Group,
    id::StreamId,
    keyspace::KeyNumber,
    policy::Retention,
    stream::Stream,
};

/// A group that goes releases what is pending, and what it was not given.
pub(super) fn destroyed(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    number: u32,
    group: &Group,
) -> Result<Option<Effect<'static>>, Refusal> {
    if !holds(stream, group) {
        return Ok(None);
    }
    let (first, _) = stream.id_range(stream.first_block());
    let pending = group.pending.iter_from(first).count() as u64;
    let parked = group.order.parked_from(first).count() as u64;
    let unread = between(context, key, stream, group.last_id, stream.last_id)?;
    let count = pending + parked + unread;
    Ok(effect(key, number, count, false))
}

/// A group that is set forward releases what it was not given; what is pending stays so.
pub(super) fn set_forward(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    number: u32,
    group: &Group,
    last_id: StreamId,
) -> Result<Option<Effect<'static>>, Refusal> {
    if !holds(stream, group) {
        return Ok(None);
    }
    let (first, _) = stream.id_range(stream.first_block());
    let is_forward = last_id >= group.last_id;
    let parked = group.order.parked_from(first).filter(|_| is_forward).count() as u64;
    let count = parked + between(context, key, stream, group.last_id, last_id)?;
    Ok(effect(key, number, count, true))
}

/// The first group of a stream releases what stands before its beginning: until then all was kept.
pub(super) fn begun(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    number: u32,
    last_id: StreamId,
) -> Result<Option<Effect<'static>>, Refusal> {
    let is_first = !stream.groups.iter().any(|(_, _, group)| !group.policy.retain_no);
    if stream.policy.retention != Retention::Acked || !is_first {
        return Ok(None);
    }
    let count = between(context, key, stream, StreamId::MIN, last_id)?;
    Ok(effect(key, number, count, true))
}

fn holds(stream: &Stream, group: &Group) -> bool {
    stream.policy.retention == Retention::Acked && !group.policy.retain_no
}

fn effect(key: KeyNumber, group: u32, count: u64, stays: bool) -> Option<Effect<'static>> {
    let act = Act::ReleasedUnread { group, stays, count };
    (count > 0).then_some(Effect::Policy { key, act })
}

/// Live entries above one id, up to another.
fn between(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    above: StreamId,
    last: StreamId,
) -> Result<u64, Refusal> {
    if last <= above {
        return Ok(0);
    }
    let until = live_until(context, key, stream, last)?;
    let live = until.saturating_sub(live_until(context, key, stream, above)?);
    // No group was to have these but the one that has them by its pending list.
    let redriven = stream.redriven.above(above).take_while(|(id, _)| *id <= last).count() as u64;
    Ok(live.saturating_sub(redriven))
}

/// Live entries up to an id. Where the block in which it falls is lost, all of it counts.
fn live_until(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    id: StreamId,
) -> Result<u64, Refusal> {
    let number = stream.seek(id);
    let (first, last) = stream.id_range(number);
    let row = if id < first {
        0
    } else if id >= last {
        u32::MAX
    } else {
        match context.block(key, stream, number) {
            Ok(block) => block.lower_bound(id.next().unwrap_or(StreamId::MAX)),
            Err(_) if context.blind => u32::MAX,
            Err(refusal) => return Err(refusal),
        }
    };
    Ok(stream.live_before(number, row))
}
