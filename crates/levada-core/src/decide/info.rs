//! XINFO: facts about streams, groups, consumers.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use super::{Context, Decided, Decision, Refusal, group, lag::Counters, pending, places};
use crate::{
    command::Key,
    error::Error,
    group::{Consumer, Group},
    id::StreamId,
    keyspace::KeyNumber,
    reply::{
        ConsumerInfo, Entries, GroupFull, GroupInfo, IdmpFacts, Reply, StreamFacts, StreamFull,
        StreamInfo,
    },
    stream::Stream,
};

/// XINFO STREAM key
pub(super) fn stream<'a>(context: Context<'_>, key: Key<'a>) -> Decided<'a> {
    let (key, stream) = context.existing(key)?;
    let one = |place: Option<(u64, u32)>| {
        let parts: Vec<_> = place.map(|place| places::single(stream, place)).into_iter().collect();
        Entries { key, count: parts.len() as u64, reverse: false, parts }
    };
    Ok(Decision::answer(Reply::StreamInfo(Box::new(StreamInfo {
        facts: facts(context, key, stream)?,
        groups: stream.groups.len() as u64,
        first: one(stream.first_place()),
        last: one(stream.last_place()),
    }))))
}

fn facts(context: Context<'_>, key: KeyNumber, stream: &Stream) -> Result<StreamFacts, Refusal> {
    let idempotence = &stream.idempotence;
    let (pids, iids) = idempotence.counts(context.now_ms);
    Ok(StreamFacts {
        length: stream.len(),
        nodes: stream.nodes(),
        last_id: stream.last_id,
        max_deleted_id: stream.max_deleted_id,
        entries_added: stream.entries_added,
        first_id: places::first_id(context, key, stream)?,
        idmp: IdmpFacts {
            limits: idempotence.limits,
            pids,
            iids,
            added: idempotence.added,
            duplicates: idempotence.duplicates,
        },
    })
}

/// XINFO STREAM key FULL \[COUNT n]
pub(super) fn full<'a>(context: Context<'_>, key: Key<'a>, count: u64) -> Decided<'a> {
    let (key, stream) = context.existing(key)?;
    let count = if count == 0 { u64::MAX } else { count };
    let span = places::Span { first: StreamId::MIN, last: StreamId::MAX, count, reverse: false };
    let counters = Counters::of(context, key, stream)?;
    let take = usize::try_from(count).unwrap_or(usize::MAX);
    let full = |(name, _, group): (&Arc<[u8]>, u32, &Arc<Group>)| {
        let row = |entry| pending::row(group, entry, context.now_ms);
        let consumer = |(name, number, consumer): (&Arc<[u8]>, u32, &Consumer)| {
            let held = group.pending.iter_consumer(number, StreamId::MIN);
            let held = held.take(take).map(row).collect();
            (consumer_info(name, consumer, context.now_ms), held)
        };
        GroupFull {
            info: group_info(name, group, &counters),
            pending: group.pending.iter_from(StreamId::MIN).take(take).map(row).collect(),
            consumers: group.consumers.iter().map(consumer).collect(),
        }
    };
    Ok(Decision::answer(Reply::StreamFull(Box::new(StreamFull {
        facts: facts(context, key, stream)?,
        entries: places::collect(context, key, stream, span)?,
        groups: stream.groups.iter().map(full).collect(),
    }))))
}

/// XINFO GROUPS key
pub(super) fn groups<'a>(context: Context<'_>, key: Key<'a>) -> Decided<'a> {
    let (key, stream) = context.existing(key)?;
    let counters = Counters::of(context, key, stream)?;
    let info =
        |(name, _, group): (&Arc<[u8]>, u32, &Arc<Group>)| group_info(name, group, &counters);
    Ok(Decision::answer(Reply::Groups(stream.groups.iter().map(info).collect())))
}

fn group_info(name: &Arc<[u8]>, group: &Group, counters: &Counters<'_>) -> GroupInfo {
    GroupInfo {
        name: Arc::clone(name),
        consumers: group.consumers.len() as u64,
        pending: group.pending.len(),
        last_id: group.last_id,
        entries_read: group.entries_read,
        lag: counters.lag(group),
    }
}

/// XINFO CONSUMERS key group
pub(super) fn consumers<'a>(context: Context<'_>, key: Key<'a>, name: &[u8]) -> Decided<'a> {
    if context.stream(key)?.is_none() {
        return Err(Error::NoSuchKey.into());
    }
    let group = group::find(context, key, name)?.group;
    let info = |(name, _, consumer): (&Arc<[u8]>, u32, &Consumer)| {
        consumer_info(name, consumer, context.now_ms)
    };
    Ok(Decision::answer(Reply::Consumers(group.consumers.iter().map(info).collect())))
}

fn consumer_info(name: &Arc<[u8]>, consumer: &Consumer, now_ms: u64) -> ConsumerInfo {
    ConsumerInfo {
        name: Arc::clone(name),
        pending: consumer.pending,
        seen_ms: consumer.seen_ms,
        active_ms: consumer.active_ms,
        idle_ms: now_ms.saturating_sub(consumer.seen_ms),
        inactive_ms: consumer.active_ms.map(|active| now_ms.saturating_sub(active)),
    }
}
