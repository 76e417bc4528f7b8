//! XREADGROUP: entries are delivered to a consumer, or delivered again.

use alloc::{borrow::Cow, collections::BTreeMap, vec::Vec};

use super::{
    Context, Decided, Decision, Refusal,
    budget::Budget,
    group::{self, Found},
    lag,
    ordered::Asked,
    places::{self, Span},
};
use crate::{
    command::{Key, Xreadgroup},
    effect::{Effect, LeaseChange},
    group::Group,
    id::StreamId,
    keyspace::KeyNumber,
    limits,
    machine::{At, apply_to_group},
    pending::Pending,
    reply::{Entries, Part, Reply},
    stream::Stream,
};

/// XREADGROUP GROUP group consumer \[COUNT n] \[MAXCOUNT n] \[MAXSIZE bytes] \[CLAIM min-idle]
/// \[NOACK] STREAMS key ... id ...
pub(super) fn xreadgroup<'a>(context: Context<'_>, read: &Xreadgroup<'a>) -> Decided<'a> {
    let find = |(key, _): &(Key<'_>, _)| group::find(context, *key, read.group);
    let found = read.streams.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let mut budget = Budget::new(read.most);
    let mut claim_idle_ms = read.claim_idle_ms;
    let mut effects = context.effects();
    let mut streams = Vec::new();
    let mut changed: BTreeMap<KeyNumber, Group> = BTreeMap::new();
    for (at, (found, (key, history))) in found.iter().zip(&read.streams).enumerate() {
        if budget.is_spent() {
            continue;
        }
        // A stream that was named before is read as that read has left it.
        let left = changed.get(&found.key).cloned();
        let found = &Found { group: left.as_ref().unwrap_or(found.group), ..*found };
        let told = effects.len();
        // Redis knows `>` as the largest id, however it is spelt.
        let history = history.filter(|after| *after != StreamId::MAX);
        let mut delivery = Delivery { context, found: *found, read, budget: &mut budget };
        let entries = match history {
            None => delivery.deliver(key.name, claim_idle_ms, &mut effects)?,
            Some(after) => {
                // As in Redis, a history ends claiming for the streams behind it too.
                claim_idle_ms = None;
                delivery.redeliver(key.name, after, &mut effects)?
            }
        };
        if history.is_some() || entries.count > 0 {
            streams.push((at, entries));
        }
        if read.streams.iter().skip(at + 1).any(|(other, _)| other == key) {
            let group = changed.entry(found.key).or_insert_with(|| found.group.clone());
            let now = At { position: group.changed, now_ms: context.now_ms };
            effects.iter().skip(told).for_each(|effect| apply_to_group(group, effect, now));
        }
    }
    let reply = if streams.is_empty() { Reply::NilList } else { Reply::Streams(streams) };
    Ok(Decision { reply, effects })
}

/// What one stream contributes.
struct Delivery<'r, 'm, 'a> {
    context: Context<'m>,
    found: Found<'m>,
    read: &'r Xreadgroup<'a>,
    budget: &'r mut Budget,
}

/// What is claimed: the entries, and the pending state that they had.
type Taken = (Entries, Vec<Pending>);

impl<'a> Delivery<'_, '_, 'a> {
    /// How many entries of the stream at most.
    fn count(&self) -> u64 {
        self.read.count.unwrap_or(u64::MAX).min(limits::DELIVER_MAX)
    }

    /// New entries (`>`), behind idle ones with CLAIM.
    fn deliver(
        &mut self,
        name: &[u8],
        claim_idle_ms: Option<u64>,
        effects: &mut Vec<Effect<'a>>,
    ) -> Result<Entries, Refusal> {
        let Found { key, stream, number, group } = self.found;
        let (mut entries, claimed) = match claim_idle_ms {
            None => self.offered(name, effects)?,
            Some(idle_ms) => self.claim(name, idle_ms)?,
        };
        let left = self.count().saturating_sub(entries.count).min(self.room());
        if group.policy.is_ordered() {
            let given = (entries, claimed);
            return self.deliver_in_order(name, given, left, claim_idle_ms.is_some(), effects);
        }
        let count = if self.budget.is_spent() { 0 } else { self.budget.count(Some(left)) };
        let span = Span::above(group.last_id, count);
        let mut new = places::collect_new(self.context, key, stream, span)?;
        if new.count > 0 && claimed.is_empty() {
            self.budget.begin_stream(name);
        }
        new = self.budget.take(self.context, stream, new, claim_idle_ms.is_some())?;
        let ids = places::ids(self.context, stream, &new)?;
        let passed = passed(stream, group.last_id, &ids);
        let entries_read = lag::entries_read_after(self.context, key, stream, group, &passed)?;
        let (consumer, created) = self.found.consumer(self.read.consumer);
        effects.extend(created);
        effects.extend(self.claimed(consumer, &claimed, LeaseChange::More));
        let last = ids.last().copied();
        effects.extend(last.map(|last_id| {
            let ids = if self.read.no_ack { Vec::new() } else { ids };
            Effect::Delivered { key, group: number, consumer, last_id, entries_read, ids }
        }));
        if last.is_none() || !claimed.is_empty() {
            effects.push(self.found.seen(consumer, !claimed.is_empty()));
        }
        entries.count += new.count;
        match claim_idle_ms {
            None => entries.parts.extend(new.parts),
            Some(_) => entries.parts.extend(new.parts.iter().flat_map(shown_as_new)),
        }
        Ok(entries)
    }

    /// The rest of [`Delivery::deliver`] in a group with ORDER-BY.
    fn deliver_in_order(
        &mut self,
        name: &[u8],
        (mut entries, claimed): Taken,
        left: u64,
        with_delivery: bool,
        effects: &mut Vec<Effect<'a>>,
    ) -> Result<Entries, Refusal> {
        let Found { key, stream, number, group } = self.found;
        let count = if self.budget.is_spent() { 0 } else { self.budget.count(Some(left)) };
        let (context, found, no_ack) = (self.context, self.found, self.read.no_ack);
        let mut asked = Asked { context, found, count, no_ack };
        let mut round = asked.round()?;
        let new = round.entries(&self.found);
        if new.count > 0 && claimed.is_empty() {
            self.budget.begin_stream(name);
        }
        let new = self.budget.take(self.context, stream, new, with_delivery)?;
        if new.count < round.chosen.len() as u64 {
            asked.count = new.count;
            round = asked.round()?;
        }
        let passed = passed(stream, group.last_id, &round.passed);
        let entries_read = lag::entries_read_after(self.context, key, stream, group, &passed)?;
        let (consumer, created) = self.found.consumer(self.read.consumer);
        effects.extend(created);
        effects.extend(self.claimed(consumer, &claimed, LeaseChange::More));
        let last_id = round.passed.last().copied().unwrap_or(group.last_id);
        let mut ids: Vec<_> = round.chosen.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        if no_ack {
            ids.clear();
        }
        let group = number;
        if round.passed.is_empty() && ids.is_empty() {
            effects.push(self.found.seen(consumer, new.count > 0 || !claimed.is_empty()));
        } else {
            effects.push(Effect::Delivered { key, group, consumer, last_id, entries_read, ids });
        }
        effects.extend(round.acts(&self.found, no_ack));
        entries.count += new.count;
        match with_delivery {
            false => entries.parts.extend(new.parts),
            true => entries.parts.extend(new.parts.iter().flat_map(shown_as_new)),
        }
        Ok(entries)
    }

    /// How many new entries the group may have pending beside those that it has.
    fn room(&self) -> u64 {
        let group = self.found.group;
        let bound = if group.policy.is_ordered() { limits::ORDERED_PENDING_MAX } else { u64::MAX };
        match group.policy.max_pending {
            0 => bound.saturating_sub(group.pending.len()),
            max => max.min(bound).saturating_sub(group.pending.len()),
        }
    }

    /// What the group offers again, in the order of ids. What is deleted from the stream is
    /// released.
    fn offered(&mut self, name: &[u8], effects: &mut Vec<Effect<'a>>) -> Result<Taken, Refusal> {
        let Found { key, stream, number, group } = self.found;
        let none = Entries { key, ..Entries::none() };
        if group.offers.offered.is_empty() || self.read.no_ack {
            return Ok((none, Vec::new()));
        }
        let wanted = usize::try_from(self.budget.count(Some(self.count()))).unwrap_or(usize::MAX);
        let mut offered = group.offers.offered.iter().copied().filter(|id| group.is_free(*id));
        let (mut live, mut gone) = (Vec::new(), Vec::new());
        // What is gone must not hide what is offered behind it.
        while live.len() < wanted {
            let ids: Vec<_> = offered.by_ref().take(wanted - live.len()).collect();
            if ids.is_empty() {
                break;
            }
            let places = places::places(self.context, key, stream, &ids)?;
            for (id, place) in ids.into_iter().zip(places) {
                match place {
                    Some(place) => live.push((id, place)),
                    None => gone.push(id),
                }
            }
        }
        if !gone.is_empty() {
            effects.push(Effect::Released { key, group: number, ids: gone });
        }
        if live.is_empty() {
            return Ok((none, Vec::new()));
        }
        let parts: Vec<_> = live.iter().map(|(_, place)| places::single(stream, *place)).collect();
        let entries = Entries { parts, count: live.len() as u64, ..none };
        self.budget.begin_stream(name);
        let entries = self.budget.take(self.context, stream, entries, false)?;
        let taken = live.iter().take(entries.parts.len());
        let taken = taken.filter_map(|(id, _)| group.pending.get(*id)).collect();
        Ok((entries, taken))
    }

    /// What is pending for anyone and idle enough, longest first. What is deleted from the stream
    /// is passed over and stays pending.
    fn claim(&mut self, name: &[u8], idle_ms_min: u64) -> Result<Taken, Refusal> {
        let Found { key, stream, group, .. } = self.found;
        let none = Entries { key, ..Entries::none() };
        let Some(latest_ms) = self.context.now_ms.checked_sub(idle_ms_min) else {
            return Ok((none, Vec::new()));
        };
        let wanted = usize::try_from(self.budget.count(Some(self.count()))).unwrap_or(usize::MAX);
        let mut limit = wanted;
        let live: Vec<_> = loop {
            let held = group.pending.oldest_first(latest_ms, limit);
            let ids: Vec<_> = held.iter().map(|held| held.id).collect();
            let places = places::places(self.context, key, stream, &ids)?;
            let exhausted = held.len() < limit;
            let live =
                held.into_iter().zip(places).filter_map(|(held, place)| Some((held, place?)));
            let live = live.filter(|(held, _)| group.is_next(held.id));
            let live: Vec<_> = live.take(wanted).collect();
            if exhausted || live.len() == wanted {
                break live;
            }
            limit = limit.saturating_mul(2);
        };
        if live.is_empty() {
            return Ok((none, Vec::new()));
        }
        let part = |(held, (block, row)): &(Pending, (u64, u32))| Part::Delivery {
            block: *block,
            row: *row,
            idle_ms: self.context.now_ms.saturating_sub(held.delivered_ms),
            count: held.count,
        };
        let parts = live.iter().map(part).collect();
        let entries = Entries { parts, count: live.len() as u64, ..none };
        self.budget.begin_stream(name);
        let entries = self.budget.take(self.context, stream, entries, true)?;
        let claimed = live.into_iter().take(entries.parts.len()).map(|(held, _)| held).collect();
        Ok((entries, claimed))
    }

    /// What is pending for the consumer already: its history.
    fn redeliver(
        &mut self,
        name: &[u8],
        after: StreamId,
        effects: &mut Vec<Effect<'a>>,
    ) -> Result<Entries, Refusal> {
        let Found { key, stream, group, .. } = self.found;
        let (consumer, created) = self.found.consumer(self.read.consumer);
        let take = usize::try_from(self.budget.count(Some(self.count()))).unwrap_or(usize::MAX);
        let mut held: Vec<_> = match after.next() {
            Some(from) if created.is_none() => {
                group.pending.iter_consumer(consumer, from).take(take).collect()
            }
            _ => Vec::new(),
        };
        effects.extend(created);
        effects.push(self.found.seen(consumer, false));
        let ids: Vec<_> = held.iter().map(|entry| entry.id).collect();
        let places = places::places(self.context, key, stream, &ids)?;
        let part = |(id, place): (&StreamId, &Option<(u64, u32)>)| match place {
            Some(place) => places::single(stream, *place),
            None => Part::Deleted(*id),
        };
        let parts: Vec<_> = ids.iter().zip(&places).map(part).collect();
        let entries = Entries { key, count: parts.len() as u64, reverse: false, parts };
        self.budget.begin_stream(name);
        let entries = self.budget.take(self.context, stream, entries, false)?;
        held.truncate(entries.parts.len());
        let live = held.iter().zip(&places).filter(|(_, place)| place.is_some());
        let live: Vec<_> = live.map(|(held, _)| *held).collect();
        effects.extend(self.claimed(consumer, &live, LeaseChange::Same));
        Ok(entries)
    }

    /// These pending entries are the consumer's from now on, delivered once more.
    fn claimed(&self, consumer: u32, held: &[Pending], lease: LeaseChange) -> Option<Effect<'a>> {
        let mut rows: Vec<_> = held.iter().map(|held| (held.id, held.count + 1)).collect();
        rows.sort_unstable();
        let (key, group, delivered_ms) = (self.found.key, self.found.number, self.context.now_ms);
        let claimed = Effect::Claimed { key, group, consumer, delivered_ms, rows, lease };
        (!held.is_empty()).then_some(claimed)
    }
}

/// What a group passes that is given these new entries: the redriven ones in between too.
fn passed<'i>(stream: &Stream, from: StreamId, ids: &'i [StreamId]) -> Cow<'i, [StreamId]> {
    let Some(last) = ids.last().filter(|_| !stream.redriven.is_empty()) else {
        return Cow::Borrowed(ids);
    };
    let between = stream.redriven.above(from).take_while(|(id, _)| id < last);
    let mut passed: Vec<_> = between.map(|(id, _)| id).chain(ids.iter().copied()).collect();
    passed.sort_unstable();
    Cow::Owned(passed)
}

/// Rows one by one, as entries that were never delivered before.
fn shown_as_new(part: &Part) -> Vec<Part> {
    let Part::Rows { block, first, end, dead } = part else {
        return Vec::from([part.clone()]);
    };
    let live = (*first..*end).filter(|row| dead.as_ref().is_none_or(|dead| !dead.contains(*row)));
    live.map(|row| Part::Delivery { block: *block, row, idle_ms: 0, count: 0 }).collect()
}
