//! ORDER-BY: of each key one entry is under way, and they come in the order of the stream.

use super::client::{KEY, core};
use super::{Halt, Life, World};
use crate::crash::Restart;
use crate::history::{Id, Key as Written, State};
use levada_core::command::{self, Command};
use levada_core::reply::Reply;
use std::collections::{BTreeMap, BTreeSet};

/// What was delivered of each key, as consumers see it.
#[derive(Clone, Default)]
pub(super) struct Lanes {
    /// The last entry that was delivered for the first time.
    front: BTreeMap<u32, Id>,
    /// What was delivered and is not known to be over.
    open: BTreeMap<u32, Id>,
    /// What was delivered since the process began.
    delivered: BTreeSet<Id>,
}

/// The value of the field `k` that goes with a value, if any.
pub(super) fn lane(key: Written) -> Option<u32> {
    (key.number % 4 < 3).then_some(key.number % 2)
}

impl World {
    /// A delivery by `>` in a group in order.
    pub(super) fn note_in_order<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        id: Id,
        key: Written,
    ) -> Result<(), Halt> {
        let Some(lane) = lane(key).filter(|_| self.policy.ordered) else {
            return Ok(());
        };
        let text = |what: String| Err(Halt::Wrong(format!("{:?}: {id:?} {what}", self.policy)));
        if let Some(open) = self.lanes.open.get(&lane).copied().filter(|open| *open != id)
            && !self.is_over(life, open)?
        {
            return text(format!("is delivered while {open:?} of the same key is under way"));
        }
        let entry = self.ledger.streams[0].entries.get(&id);
        let is_first = !self.lanes.delivered.contains(&id)
            && entry.is_none_or(|entry| !entry.read)
            && !self.names.copies().contains(&id);
        if is_first {
            let front = self.lanes.front.get(&lane).copied().unwrap_or_default();
            if id < front {
                return text(format!("is delivered behind {front:?} of the same key"));
            }
            self.lanes.front.insert(lane, id);
        }
        self.lanes.delivered.insert(id);
        self.lanes.open.insert(lane, id);
        Ok(())
    }

    /// It was acknowledged.
    pub(super) fn note_landed(&mut self, id: Id) {
        self.lanes.open.retain(|_, open| *open != id);
    }

    /// Whether an entry is a dead letter, or gone from the stream: then nothing waits for it.
    fn is_over<S: Restart>(&self, life: &mut Life<S>, id: Id) -> Result<bool, Halt> {
        let (first, last) = (core(id), core(id));
        let range = command::Xrange { key: KEY, first, last, reverse: false, count: None };
        let (found, _) = self.ask(life, &Command::Xrange(range))?;
        let Ok(Reply::Entries(found)) = found else {
            return Err(Halt::Wrong(format!("XRANGE: {found:?}")));
        };
        let letters = self.read_letters(life)?;
        let is_left = self.left.contains(&id);
        Ok(found.count == 0 || is_left || letters.iter().any(|letter| letter.source == id))
    }

    /// Behind a recovery: what is under way is what is pending, one of each key.
    pub(super) fn settle_lanes(&mut self, state: &State) -> Result<(), Halt> {
        self.lanes = Lanes::default();
        self.left.clear();
        if !self.policy.ordered {
            return match state.parked.is_empty() {
                true => Ok(()),
                false => Err(Halt::Wrong(format!("parked without order: {:?}", state.parked))),
            };
        }
        let copies = self.names.copies();
        let keys: BTreeMap<_, _> = state.entries.iter().copied().collect();
        for row in state.pending.iter().filter(|row| row.count > 0 || row.consumer != usize::MAX) {
            let Some(lane) = keys.get(&row.id).and_then(|key| lane(*key)) else {
                continue;
            };
            if copies.contains(&row.id) {
                // Pending as soon as it is back, and under way when what was before it is over.
                self.lanes.open.entry(lane).or_insert(row.id);
                continue;
            }
            if let Some(before) = self.lanes.open.insert(lane, row.id) {
                let text = format!("{:?}: {before:?} and {row:?} of one key", self.policy);
                return Err(Halt::Wrong(text));
            }
        }
        for (id, key) in &state.entries {
            let is_passed = *id <= state.last_delivered && !state.parked.contains(id);
            if let Some(lane) = lane(*key).filter(|_| is_passed && !copies.contains(id)) {
                self.lanes.front.insert(lane, *id);
            }
        }
        Ok(())
    }
}
