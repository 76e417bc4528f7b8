//! A policy that cannot be kept is refused when it is set.

use super::{Context, dead_letters_of, retention};
use crate::{
    command::Key,
    dedup::{DedupLimits, ID_BYTES, MAX_MAX},
    error::{Error, Limit},
    id::StreamId,
    keyspace::Value,
    policy::{GroupPolicy, OnLimit, StreamPolicy},
    stream::Stream,
};

/// Whether a stream can keep this policy, and whether its options agree.
pub(super) fn stream(
    context: Context<'_>,
    stream: &Stream,
    policy: &StreamPolicy,
) -> Result<(), Error> {
    policy.check()?;
    dedup(context, stream.dedup_ids_max(), policy)?;
    let bounds = |policy: &StreamPolicy| (policy.max_len, policy.max_bytes, policy.on_limit);
    match bounds(policy) == bounds(&stream.policy) {
        true => Ok(()),
        false => limits(stream, policy),
    }
}

/// Whether there is memory for the idempotent ids of a policy, beside those of other streams.
/// `held_ids` is what this stream may have already.
pub(super) fn dedup(
    context: Context<'_>,
    held_ids: u64,
    policy: &StreamPolicy,
) -> Result<(), Error> {
    let Some(limits) = DedupLimits::of(policy).filter(|limits| limits.ids_max > held_ids) else {
        return Ok(());
    };
    let others = (context.machine.dedup_ids() - held_ids).saturating_mul(ID_BYTES);
    let bytes_max = context.dedup_bytes_max;
    if limits.ids_max > MAX_MAX || limits.bytes().saturating_add(others) > bytes_max {
        return Err(Error::DedupTooLarge { ids: limits.ids_max, others, bytes_max });
    }
    Ok(())
}

/// A limit below what some group still needs would refuse every append. What is needed is counted
/// by whole blocks, of which the first may be needed in part: less is counted, never more.
fn limits(stream: &Stream, policy: &StreamPolicy) -> Result<(), Error> {
    let below = retention::watermark(stream);
    if policy.on_limit == OnLimit::Trim || below > stream.last_id {
        return Ok(());
    }
    let tail = stream.tail_number();
    let first = stream.seek(below);
    let is_whole = stream.id_range(first).0 >= below || first == stream.first_block();
    let (mut entries, mut bytes) = (0, 0);
    for number in first + u64::from(!is_whole && first < tail)..=tail {
        let live = stream.meta(number).map_or(0, |meta| u64::from(meta.live));
        entries += if number == tail { live.min(needed_in_tail(stream, below)) } else { live };
        bytes += stream.block_bytes(number);
    }
    let StreamPolicy { max_len, max_bytes, .. } = *policy;
    if max_len > 0 && entries > max_len {
        return Err(Error::LimitBelowNeeded(Limit::Len { max: max_len, held: entries }));
    }
    if max_bytes > 0 && bytes > max_bytes {
        return Err(Error::LimitBelowNeeded(Limit::Bytes { max: max_bytes, held: bytes }));
    }
    Ok(())
}

fn needed_in_tail(stream: &Stream, below: StreamId) -> u64 {
    let row = stream.tail().lower_bound(below);
    let meta = stream.meta(stream.tail_number());
    meta.map_or(0, |meta| u64::from(meta.live - meta.live_before(row)))
}

/// Dead letters go to another key, and to a stream.
pub(super) fn group(
    context: Context<'_>,
    key: Key<'_>,
    group: &[u8],
    policy: &GroupPolicy,
) -> Result<(), Error> {
    policy.check()?;
    if !policy.has_lease() {
        return Ok(());
    }
    let name = dead_letters_of(policy, key.name, group);
    if name == key.name {
        return Err(Error::DeadLettersToSource);
    }
    let target = context.machine.keys.find(Key { name: &name, ..key });
    match target.map(|(_, object)| &object.value) {
        Some(Value::Text(_)) => Err(Error::DeadLettersNoStream),
        _ => Ok(()),
    }
}
