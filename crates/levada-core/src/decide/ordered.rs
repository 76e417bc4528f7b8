//! Delivery in a group with ORDER-BY: one entry in flight for each key, in order.
//!
//! What is ready among the parked entries goes first, then what is new; a new entry whose key is
//! busy is parked, as long as the window has room. At the bound the group does not pass such an
//! entry; what is parked goes on. The answer to the same question for fewer entries is a prefix.

use alloc::{collections::BTreeSet, vec::Vec};

use super::{
    Context, Refusal,
    group::Found,
    places::{self, Span},
};
use crate::{
    block::Row,
    effect::{Act, Effect},
    id::StreamId,
    order,
    reply::{Entries, Part},
};

/// Blocks of new entries that one call looks into at most: they are all in memory at once.
const BLOCKS_MAX: usize = 64;
/// Blocks that are asked for at once.
const STRIDE: usize = 8;

/// What a read would be given.
#[derive(Default)]
pub(super) struct Round {
    /// To be delivered, in the order of the answer, with their keys.
    pub(super) chosen: Vec<(StreamId, Option<u64>)>,
    /// Where these stand.
    parts: Vec<Part>,
    /// What is new and was delivered or parked, ascending.
    pub(super) passed: Vec<StreamId>,
    parked: Vec<(StreamId, u64)>,
    /// Parked no more, and not in flight: gone from the stream, or delivered with NOACK.
    unparked: BTreeSet<StreamId>,
    /// Keys in flight or parked since the beginning of the round.
    busy: BTreeSet<u64>,
    /// Entries that may still be parked, once all that is ready was chosen.
    room: u64,
}

/// Who asks, and for how much.
pub(super) struct Asked<'m> {
    pub(super) context: Context<'m>,
    pub(super) found: Found<'m>,
    /// Entries at most.
    pub(super) count: u64,
    /// NOACK: an entry is done as soon as it is delivered.
    pub(super) no_ack: bool,
}

impl Round {
    pub(super) fn entries(&self, found: &Found<'_>) -> Entries {
        let (key, parts) = (found.key, self.parts.clone());
        Entries { key, count: parts.len() as u64, reverse: false, parts }
    }

    /// What becomes of keys behind the record of the delivery itself. A delivery always has one
    /// such record, which its answer waits for.
    pub(super) fn acts<'a>(&self, found: &Found<'_>, no_ack: bool) -> Vec<Effect<'a>> {
        let group = found.number;
        let mut acts = Vec::new();
        if !self.unparked.is_empty() {
            acts.push(Act::Unparked { group, ids: self.unparked.iter().copied().collect() });
        }
        if !self.chosen.is_empty() && !no_ack {
            let keyed = self.chosen.iter().filter_map(|(id, key)| Some((*id, (*key)?)));
            let mut rows: Vec<_> = keyed.collect();
            rows.sort_unstable();
            acts.push(Act::TakenOff { group, rows });
        }
        if !self.parked.is_empty() {
            acts.push(Act::Parked { group, rows: self.parked.clone() });
        }
        acts.into_iter().map(|act| Effect::Policy { key: found.key, act }).collect()
    }
}

impl Asked<'_> {
    pub(super) fn round(&self) -> Result<Round, Refusal> {
        let mut round = Round::default();
        self.choose_ready(&mut round)?;
        if !self.is_full(&round) {
            round.room = self.room(&round);
            self.choose_new(&mut round)?;
        }
        Ok(round)
    }

    fn is_full(&self, round: &Round) -> bool {
        round.chosen.len() as u64 >= self.count
    }

    /// Parked entries whose lane is free, in the order of ids. With NOACK the next of a lane
    /// follows at once.
    fn choose_ready(&self, round: &mut Round) -> Result<(), Refusal> {
        let Found { key, stream, group, .. } = self.found;
        let most = usize::try_from(self.count).unwrap_or(usize::MAX);
        let mut ready: BTreeSet<_> = group.order.ready().take(most).collect();
        let first: Vec<_> = ready.iter().copied().collect();
        // All their blocks are asked for at once.
        places::places(self.context, key, stream, &first)?;
        while let Some(id) = ready.pop_first() {
            if self.is_full(round) {
                return Ok(());
            }
            let Some((of_key, next)) = group.order.parked(id) else {
                continue;
            };
            let place = places::places(self.context, key, stream, &[id])?;
            match place[..] {
                [Some(place)] => {
                    round.chosen.push((id, Some(of_key)));
                    round.parts.push(places::single(stream, place));
                    if !self.no_ack {
                        round.busy.insert(of_key);
                        continue;
                    }
                    round.unparked.insert(id);
                }
                _ => {
                    round.unparked.insert(id);
                }
            }
            ready.extend(next);
        }
        Ok(())
    }

    /// New entries, as far as there is room for those that are passed over.
    fn choose_new(&self, round: &mut Round) -> Result<(), Refusal> {
        let Found { key, stream, group, .. } = self.found;
        let count = self.count.saturating_add(round.room).saturating_add(group.pending.len());
        let span = Span::above(group.last_id, count);
        let mut new = places::collect_new(self.context, key, stream, span)?;
        new.parts.truncate(BLOCKS_MAX);
        for (at, part) in new.parts.iter().enumerate() {
            let Part::Rows { block: number, first, end, dead } = part else {
                continue;
            };
            if at % STRIDE == 0 {
                let stride = new.parts.iter().skip(at).take(STRIDE).filter_map(Part::block);
                self.context.require(key, stream, stride)?;
            }
            let block = self.context.block(key, stream, *number)?;
            let rows = block.rows(*first).take((end - first) as usize);
            for row in rows.filter(|row| dead.as_ref().is_none_or(|dead| !dead.contains(row.index)))
            {
                if !self.pass(round, *number, &row) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Entries that may be parked beside those that stay so.
    fn room(&self, round: &Round) -> u64 {
        let order = &self.found.group.order;
        let chosen = round.chosen.iter().filter(|(id, _)| !round.unparked.contains(id)).count();
        let parked = order.parked_len() - chosen - round.unparked.len();
        self.context.order_window.saturating_sub(parked as u64)
    }

    /// Chooses or parks a new entry; whether the next one may be looked at.
    fn pass(&self, round: &mut Round, block: u64, row: &Row<'_>) -> bool {
        let Found { stream, group, .. } = self.found;
        if self.is_full(round) {
            return false;
        }
        let key = order::key_of(&group.policy, &row.fields);
        // Behind SETID back: it is in flight already, and not given to two.
        let is_pending = group.pending.get(row.id).is_some();
        let is_busy = |key| round.busy.contains(&key) || group.order.is_busy(key, &round.unparked);
        match key.filter(|key| !is_pending && is_busy(*key)) {
            Some(_) if round.room == 0 => return false,
            Some(key) => {
                round.room -= 1;
                round.busy.insert(key);
                round.parked.push((row.id, key));
            }
            None if is_pending => {}
            None => {
                round.busy.extend(key.filter(|_| !self.no_ack));
                round.chosen.push((row.id, key));
                round.parts.push(places::single(stream, (block, row.index)));
            }
        }
        round.passed.push(row.id);
        true
    }
}
