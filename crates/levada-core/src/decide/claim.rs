//! XCLAIM, XAUTOCLAIM, XNACK: pending entries change hands.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use super::{
    Context, Decided, Decision, Refusal,
    group::{self, Found},
    places,
    tend::TOO_OFTEN,
};
use crate::{
    command::{DeliveredAt, NackMode, Xautoclaim, Xclaim, Xnack},
    effect::{Act, Effect, LeaseChange},
    group::NOBODY,
    id::StreamId,
    pending::{Pending, Walk},
    policy::GroupPolicy,
    reply::{Autoclaimed, Claimed, Entries, Reply},
};

/// XCLAIM key group consumer min-idle-time id ... \[IDLE ms] \[TIME unix-ms] \[RETRYCOUNT n]
/// \[FORCE] \[JUSTID] \[LASTID id]
pub(super) fn xclaim<'a>(context: Context<'_>, xclaim: &Xclaim<'a>) -> Decided<'a> {
    let found = group::find(context, xclaim.key, xclaim.group)?;
    // FORCE would deliver out of order.
    let force = xclaim.force && !found.group.policy.is_ordered();
    let xclaim = &Xclaim { force, ..xclaim.clone() };
    let places = places::places(context, found.key, found.stream, &xclaim.ids)?;
    let mut outcome = Outcome::default();
    for (id, place) in xclaim.ids.iter().zip(places) {
        outcome.claim(context, &found, xclaim, *id, place);
    }
    let now_ms = context.now_ms;
    let delivered_ms = delivery_time(xclaim.delivered, now_ms);
    let mut effects =
        outcome.effects(context, &found, xclaim.consumer, delivered_ms, xclaim.just_id);
    if let Some(last_id) = xclaim.last_id.filter(|last_id| *last_id > found.group.last_id) {
        let (key, group, entries_read) = (found.key, found.number, found.group.entries_read);
        effects.push(Effect::GroupIdSet { key, group, last_id, entries_read });
    }
    let reply = match outcome.reply(&found, xclaim.just_id) {
        Claimed::Ids(ids) => Reply::Ids(ids),
        Claimed::Entries(entries) => Reply::Entries(entries),
    };
    Ok(Decision { reply, effects })
}

/// A delivery time as XCLAIM gives it; bogus ones are now, as clients compute them by their clocks.
fn delivery_time(asked: Option<DeliveredAt>, now_ms: u64) -> u64 {
    let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
    let time = match asked {
        None => now,
        Some(DeliveredAt::UnixMs(time)) => time,
        Some(DeliveredAt::IdleMs(idle)) => now.saturating_sub(idle),
    };
    u64::try_from(time).ok().filter(|time| *time <= now_ms).unwrap_or(now_ms)
}

/// XAUTOCLAIM key group consumer min-idle-time start \[COUNT n] \[JUSTID]
pub(super) fn xautoclaim<'a>(context: Context<'_>, asked: &Xautoclaim<'a>) -> Decided<'a> {
    let found = group::find(context, asked.key, asked.group)?;
    let mut outcome = Outcome::default();
    let mut visits = asked.count.saturating_mul(10);
    let mut left = asked.count;
    let mut pending = found.group.pending.walk(asked.start);
    let mut deleted = Vec::new();
    while visits > 0 && left > 0 {
        let passed = passed_over(context, &found, asked, &pending).min(visits);
        if passed > 0 {
            pending.pass(passed);
            visits -= passed;
            continue;
        }
        visits -= 1;
        let Some(entry) = pending.next() else {
            break;
        };
        if !places::still_there(context, found.key, found.stream, entry.id)? {
            deleted.push(entry.id);
            left -= 1;
        } else if context.now_ms.saturating_sub(entry.delivered_ms) >= asked.idle_ms_min {
            let count = entry.count + u64::from(!asked.just_id);
            outcome.claimed.push((entry.id, None));
            outcome.counts.insert(entry.id, count);
            left -= 1;
        }
    }
    go_on(context, &found, asked, &mut pending);
    let cursor = pending.next().map_or(StreamId::MIN, |entry| entry.id);
    if !asked.just_id {
        outcome.find_places(context, &found)?;
    }
    outcome.gone.clone_from(&deleted);
    let effects = outcome.effects(context, &found, asked.consumer, context.now_ms, asked.just_id);
    let claimed = outcome.reply(&found, asked.just_id);
    let claimed = Box::new(Autoclaimed { cursor, claimed, deleted });
    Ok(Decision { reply: Reply::Autoclaimed(claimed), effects })
}

/// Goes on where the calls to come would find nothing, so that they need not be made: the cursor
/// may thus be further on than that of Redis, and nothing that it passes over was to be claimed or
/// reported. Within the last chunk it is that of Redis, as it always is where no more than half a
/// chunk, 128 entries, is pending. Looks at four thousand chunks for a million entries, and into
/// none.
fn go_on(context: Context<'_>, found: &Found<'_>, asked: &Xautoclaim<'_>, pending: &mut Walk<'_>) {
    let Some(run) = pending.run().filter(|_| !pending.is_in_last_chunk()) else {
        return;
    };
    // Whoever was delivered at this time or before is idle enough.
    if let Some(idle_since_ms) = context.now_ms.checked_sub(asked.idle_ms_min)
        && asked.idle_ms_min > 0
    {
        pending.pass_younger(idle_since_ms, found.stream.whole_until(run.first));
    }
}

/// How many entries, from here on, are visited without a look at each: all of them are younger
/// than is asked for, and there. 0 where that is not known, or nothing stands here.
fn passed_over(
    context: Context<'_>,
    found: &Found<'_>,
    asked: &Xautoclaim<'_>,
    pending: &Walk<'_>,
) -> u64 {
    let Some(run) = pending.run().filter(|_| asked.idle_ms_min > 0) else {
        return 0;
    };
    let is_young = |oldest_ms: u64| context.now_ms.saturating_sub(oldest_ms) < asked.idle_ms_min;
    match is_young(run.oldest_ms) && places::all_there(found.stream, run.first, run.last) {
        true => run.len,
        false => 0,
    }
}

/// XNACK key group SILENT|FAIL|FATAL \[DELAY ms] \[REASON text] IDS n id ... \[RETRYCOUNT c]
/// \[FORCE]
pub(super) fn xnack<'a>(context: Context<'_>, xnack: &Xnack<'a>) -> Decided<'a> {
    let Found { key, stream, number: group, group: found } =
        group::find(context, xnack.key, xnack.group)?;
    let mut places = match xnack.force && !found.policy.is_ordered() {
        true => places::places(context, key, stream, &xnack.ids)?.into_iter(),
        false => Vec::new().into_iter(),
    };
    let mut counts = BTreeMap::new();
    let mut released = 0;
    for id in &xnack.ids {
        let is_there = places.next().flatten().is_some();
        let held = counts.get(id).copied().or(found.pending.get(*id).map(|held| held.count));
        // What FORCE makes was never delivered.
        let Some(count) = held.or(is_there.then_some(0)) else {
            continue;
        };
        let adjusted = match xnack.mode {
            NackMode::Silent => count.saturating_sub(1),
            NackMode::Fail => count,
            NackMode::Fatal => i64::MAX.unsigned_abs(),
        };
        counts.insert(*id, xnack.retry_count.unwrap_or(adjusted));
        released += 1;
    }
    let mut effects = Vec::new();
    if !counts.is_empty() {
        let rows: Vec<_> = counts.into_iter().collect();
        let lease = match xnack.mode {
            NackMode::Silent => LeaseChange::Less,
            NackMode::Fail | NackMode::Fatal => LeaseChange::Same,
        };
        let over = rows.iter().map(|(id, _)| {
            let made = Pending { id: *id, ..Pending::default() };
            found.pending.get(*id).unwrap_or(made)
        });
        let over: Vec<_> = over.collect();
        let (condemned, offered) = returned_by_hand(context, xnack, group, &found.policy, &over);
        // A dead letter tells who had it last, and when.
        let is_condemned = |id: &StreamId| match &condemned {
            Some(Act::Condemned { ids, .. }) => ids.binary_search(id).is_ok(),
            _ => false,
        };
        let rows: Vec<_> = rows
            .into_iter()
            .filter(|(id, _)| !(is_condemned(id) && found.pending.get(*id).is_some()))
            .collect();
        if !rows.is_empty() {
            let (consumer, delivered_ms) = (NOBODY, 0);
            effects.push(Effect::Claimed { key, group, consumer, delivered_ms, rows, lease });
        }
        let acts = condemned.into_iter().chain(offered);
        effects.extend(acts.map(|act| Effect::Policy { key, act }));
    }
    Ok(Decision { reply: Reply::Integer(released), effects })
}

/// What becomes of entries that a consumer gives back. Without a policy, DELAY or REASON that is
/// Redis' own affair: they wait for somebody who claims them.
fn returned_by_hand(
    context: Context<'_>,
    xnack: &Xnack<'_>,
    group: u32,
    policy: &GroupPolicy,
    over: &[Pending],
) -> (Option<Act>, Option<Act>) {
    if !policy.has_lease() && xnack.delay_ms.is_none() {
        return (None, None);
    }
    let is_last = |held: &&Pending| {
        let fails = xnack.mode == NackMode::Fail && policy.is_last(held.leases);
        policy.has_lease() && (xnack.mode == NackMode::Fatal || fails)
    };
    let (last, rest): (Vec<&Pending>, Vec<&Pending>) = over.iter().partition(is_last);
    let condemned = (!last.is_empty()).then(|| {
        let ids = last.iter().map(|held| held.id).collect();
        let by_mode = if xnack.mode == NackMode::Fatal { b"fatal" } else { TOO_OFTEN };
        let reason = xnack.reason.unwrap_or(by_mode).into();
        Act::Condemned { group, ids, reason }
    });
    let due = |held: &Pending| {
        let backoff = match xnack.mode {
            NackMode::Silent => 0,
            NackMode::Fail | NackMode::Fatal => policy.backoff(held.leases),
        };
        match xnack.delay_ms.unwrap_or(backoff) {
            0 => 0,
            rest_ms => context.now_ms.saturating_add(rest_ms),
        }
    };
    let offered = (!rest.is_empty()).then(|| {
        let rows = rest.iter().map(|held| (held.id, due(held))).collect();
        Act::Offered { group, rows }
    });
    (condemned, offered)
}

/// What a claim comes to.
#[derive(Default)]
struct Outcome {
    /// Claimed, in the order of the answer, with their places.
    claimed: Vec<(StreamId, Option<(u64, u32)>)>,
    /// Their delivery counts from now on.
    counts: BTreeMap<StreamId, u64>,
    /// Pending, but gone from the stream: released.
    gone: Vec<StreamId>,
}

impl Outcome {
    /// Claims one id, if it is there and idle enough.
    fn claim(
        &mut self,
        context: Context<'_>,
        found: &Found<'_>,
        xclaim: &Xclaim<'_>,
        id: StreamId,
        place: Option<(u64, u32)>,
    ) {
        let held = found.group.pending.get(id);
        let Some(place) = place else {
            if held.is_some() && !self.gone.contains(&id) {
                self.gone.push(id);
            }
            return;
        };
        let idle = |since: u64| context.now_ms.saturating_sub(since) >= xclaim.idle_ms_min;
        // An id that is named twice is claimed from oneself the second time.
        let count = match (self.counts.get(&id), held) {
            (Some(count), _) => {
                let since = delivery_time(xclaim.delivered, context.now_ms);
                Some(*count).filter(|_| idle(since))
            }
            (None, Some(held)) => Some(held.count).filter(|_| idle(held.delivered_ms)),
            // Redis counts the delivery that FORCE pretends as well.
            (None, None) => xclaim.force.then_some(1),
        };
        if let Some(count) = count {
            let count = xclaim.retry_count.unwrap_or(count + u64::from(!xclaim.just_id));
            self.counts.insert(id, count);
            self.claimed.push((id, Some(place)));
        }
    }

    /// Looks up where the claimed entries stand.
    fn find_places(&mut self, context: Context<'_>, found: &Found<'_>) -> Result<(), Refusal> {
        let ids: Vec<_> = self.claimed.iter().map(|(id, _)| *id).collect();
        let places = places::places(context, found.key, found.stream, &ids)?;
        self.claimed = ids.into_iter().zip(places).collect();
        Ok(())
    }

    fn effects<'a>(
        &self,
        context: Context<'_>,
        found: &Found<'_>,
        consumer: &'a [u8],
        delivered_ms: u64,
        just_id: bool,
    ) -> Vec<Effect<'a>> {
        let (key, group) = (found.key, found.number);
        let (consumer, created) = found.consumer(consumer);
        let mut effects = context.effects();
        effects.extend(created);
        effects.push(found.seen(consumer, !self.claimed.is_empty()));
        if !self.counts.is_empty() {
            let rows = self.counts.iter().map(|(id, count)| (*id, *count)).collect();
            let lease = if just_id { LeaseChange::Same } else { LeaseChange::More };
            effects.push(Effect::Claimed { key, group, consumer, delivered_ms, rows, lease });
        }
        if !self.gone.is_empty() {
            let mut ids = self.gone.clone();
            ids.sort_unstable();
            effects.push(Effect::Released { key, group, ids });
        }
        effects
    }

    fn reply(&self, found: &Found<'_>, just_id: bool) -> Claimed {
        if just_id {
            return Claimed::Ids(self.claimed.iter().map(|(id, _)| *id).collect());
        }
        let places = self.claimed.iter().filter_map(|(_, place)| *place);
        let parts: Vec<_> = places.map(|place| places::single(found.stream, place)).collect();
        let count = parts.len() as u64;
        Claimed::Entries(Entries { key: found.key, count, reverse: false, parts })
    }
}
