//! XPENDING: what is pending, in sum and in detail.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use super::{Context, Decided, Decision, group};
use crate::{
    command::{Key, Xpending},
    group::{Group, NOBODY},
    pending::Pending,
    reply::{PendingRow, PendingSummary, Reply},
};

/// XPENDING key group
pub(super) fn summary<'a>(context: Context<'_>, key: Key<'a>, name: &[u8]) -> Decided<'a> {
    let group = group::find(context, key, name)?.group;
    let summary = group.pending.first().zip(group.pending.last()).map(|(first, last)| {
        let consumers = group.consumers.iter().filter(|(_, _, consumer)| consumer.pending > 0);
        let consumers = consumers.map(|(name, _, held)| (Arc::clone(name), held.pending));
        let nobody = Some((Arc::default(), group.unowned())).filter(|(_, count)| *count > 0);
        let consumers = nobody.into_iter().chain(consumers).collect();
        Box::new(PendingSummary { count: group.pending.len(), first, last, consumers })
    });
    Ok(Decision::answer(Reply::PendingSummary(summary)))
}

/// XPENDING key group \[IDLE ms] start end count \[consumer]
pub(super) fn rows<'a>(context: Context<'_>, asked: &Xpending<'a>) -> Decided<'a> {
    let group = group::find(context, asked.key, asked.group)?.group;
    let now_ms = context.now_ms;
    let take = usize::try_from(asked.count).unwrap_or(usize::MAX);
    let fits = |entry: &Pending| now_ms.saturating_sub(entry.delivered_ms) >= asked.idle_ms_min;
    let within = |entry: &Pending| entry.id <= asked.last;
    let row = |entry| row(group, entry, now_ms);
    let rows: Vec<_> = match asked.consumer {
        Some(name) => match group.consumers.number(name) {
            None => Vec::new(),
            Some(consumer) => {
                let held = group.pending.iter_consumer(consumer, asked.first);
                held.take_while(within).filter(fits).take(take).map(row).collect()
            }
        },
        None if asked.idle_ms_min > 0 => match now_ms.checked_sub(asked.idle_ms_min) {
            None => Vec::new(),
            Some(latest_ms) => {
                let idle = group.pending.iter_idle(asked.first, latest_ms);
                idle.take_while(within).take(take).map(row).collect()
            }
        },
        None => {
            group.pending.iter_from(asked.first).take_while(within).take(take).map(row).collect()
        }
    };
    Ok(Decision::answer(Reply::PendingRows(rows)))
}

/// A pending entry as it is shown.
pub(super) fn row(group: &Group, entry: Pending, now_ms: u64) -> PendingRow {
    let idle_ms = (entry.consumer != NOBODY).then(|| now_ms.saturating_sub(entry.delivered_ms));
    PendingRow {
        id: entry.id,
        consumer: group.consumers.name(entry.consumer).map_or_else(Arc::default, Arc::clone),
        delivered_ms: entry.delivered_ms,
        idle_ms,
        count: entry.count,
    }
}
