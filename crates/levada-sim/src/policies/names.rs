//! Which entries hold which value. A value comes once, but for what comes back from the dead
//! letters: each such copy gets a name of its own, under which the history knows it.

use super::World;
use crate::history::{Add, Id, Key as Written, Ledger, Span, State};
use std::collections::BTreeMap;

/// What the producer of the n-th copy of a value is above that of the value.
const COPY: u32 = 1000;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Names {
    /// For each value its entries, and the how-manieth copy each is; 0 is none.
    of: BTreeMap<Written, Vec<(Id, u32)>>,
    /// How often a value may still come again, and copies that got a name.
    permits: BTreeMap<Written, u32>,
    copies: BTreeMap<Written, u32>,
}

impl Names {
    /// A value comes once more: somebody asked for it.
    pub(super) fn permit(&mut self, value: Written) {
        *self.permits.entry(original(value)).or_default() += 1;
    }

    /// Whether a copy that was asked for has not come.
    pub(super) fn is_owed(&self, value: Written) -> bool {
        self.permits.get(&original(value)).is_some_and(|left| *left > 0)
    }

    /// No value comes again that nobody asks for from here on.
    pub(super) fn forbid(&mut self) {
        self.permits.clear();
    }

    /// Whether any entry is known to hold it.
    pub(super) fn has(&self, value: Written) -> bool {
        self.first(value).is_some()
    }

    /// The first entry that held it.
    pub(super) fn first(&self, value: Written) -> Option<Id> {
        self.of.get(&value)?.iter().map(|(id, _)| *id).min()
    }

    /// Entries that came back from the dead letters.
    pub(super) fn copies(&self) -> Vec<Id> {
        let copies = self.of.values().flatten().filter(|(_, copy)| *copy > 0);
        copies.map(|(id, _)| *id).collect()
    }

    /// The name of what an entry holds, and whether it is new; fails where it may not be there.
    fn name(&mut self, id: Id, value: Written) -> Result<(Written, bool), String> {
        let held = self.of.entry(value).or_default();
        if let Some((_, copy)) = held.iter().find(|(held, _)| *held == id) {
            return Ok((named(value, *copy), false));
        }
        if held.is_empty() {
            held.push((id, 0));
            return Ok((value, true));
        }
        match self.permits.get_mut(&value).filter(|left| **left > 0) {
            Some(left) => *left -= 1,
            None => return Err(format!("{value:?} is in {held:?} and came again as {id:?}")),
        }
        let copy = self.copies.entry(value).or_default();
        *copy += 1;
        held.push((id, *copy));
        Ok((named(value, *copy), true))
    }

    /// Forgets what a crash took back: entries that are not there and that nobody was shown.
    fn forget_undone(&mut self, ledger: &Ledger, state: &State) {
        let entries = &ledger.streams[0].entries;
        for (value, held) in &mut self.of {
            held.retain(|(id, _)| {
                let there = |(other, of): &(Id, Written)| other == id && of == value;
                entries.contains_key(id) || state.entries.iter().chain(&state.dead).any(there)
            });
        }
        self.forbid();
    }
}

impl World {
    /// The name of what an entry holds. What comes without an append of its own, as it is scheduled
    /// or comes back, is known to the history from here on.
    pub(super) fn name(&mut self, id: Id, value: Written) -> Result<Written, String> {
        let (key, is_new) = self.names.name(id, value)?;
        if is_new && (key != value || self.plans.iter().any(|plan| plan.key == value)) {
            let span = Span { invoked: self.counter.next(), completed: u64::MAX };
            self.journal.adds.push(Add { stream: 0, key, paired: false, span, id: None });
        }
        Ok(key)
    }

    /// Puts names into a state that was read.
    pub(super) fn name_state(&mut self, mut state: State) -> Result<State, String> {
        for (id, key) in state.entries.iter_mut().chain(&mut state.dead) {
            *key = self.name(*id, *key)?;
        }
        state.redriven = self.names.copies();
        Ok(state)
    }

    /// Behind a recovery: names what was found, and nothing else any more.
    pub(super) fn name_recovered(&mut self, state: State) -> Result<State, String> {
        self.names.forget_undone(&self.ledger, &state);
        // A redrive that was cut short, so that nobody looked where its letters went, may be in
        // effect or not: what is still a letter is not back, and everything else comes once more.
        let is_letter = |id: Id| state.dead.iter().any(|(dead, _)| *dead == id);
        let unseen = self.backs.iter().filter(|back| back.entry.is_none());
        for back in unseen.filter(|back| !is_letter(back.source)) {
            self.names.permit(back.value);
        }
        self.name_state(state)
    }
}

fn named(value: Written, copy: u32) -> Written {
    Written { producer: value.producer + copy * COPY, ..value }
}

/// The value of which this is a name.
pub(super) fn original(key: Written) -> Written {
    Written { producer: key.producer % COPY, ..key }
}
