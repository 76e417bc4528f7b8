//! Compares what a store says after a recovery with what the ledger demands. Numbers in brackets
//! name the invariants of the design: each is a rule that no crash may break.

use std::collections::{HashMap, HashSet};

use super::event::{Id, Unseen, show_id};
use super::ledger::{Entry, Fate, Ledger, Stream};
use super::{Key, Kind, State, Violation};

/// All violations, worded for a reader who has the seed.
pub fn check(ledger: &Ledger, states: &[State]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (stream, state) in ledger.streams.iter().zip(states) {
        found.extend(
            state
                .contradictions
                .iter()
                .map(|text| Violation { kind: Kind::Contradiction, text: text.clone() }),
        );
        let mut check = Check {
            relaxed: ledger.relaxed,
            stream,
            state,
            live: state.entries.iter().copied().collect(),
            found: &mut found,
        };
        check.order();
        check.present();
        check.absent();
        check.counters();
        check.pending();
        check.delivered();
        check.parked();
        check.dead();
    }
    pairs(ledger, states, &mut found);
    found
}

/// What was never delivered nor a dead letter, after every group has read all that there is (14).
pub fn check_drained(ledger: &Ledger, states: &[State]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (stream, state) in ledger.streams.iter().zip(states) {
        for (id, key) in &state.entries {
            let is_over = |entry: &Entry| entry.read || entry.dead || entry.acked != Fate::No;
            let is_known = stream.entries.get(id).is_some_and(is_over);
            let is_dead = state.dead.iter().any(|(dead, _)| dead == id);
            if !is_known && !is_dead {
                let text = format!("{} {} {key:?} was never delivered", stream.name, show_id(*id));
                found.push(Violation { kind: Kind::NeverDelivered, text });
            }
        }
    }
    found
}

/// MULTI: both or none (8).
fn pairs(ledger: &Ledger, states: &[State], found: &mut Vec<Violation>) {
    if states.len() < 2 {
        return;
    }
    let keys = |stream: usize| -> HashSet<Key> {
        let entries = states[stream].entries.iter();
        entries.map(|(_, key)| *key).collect()
    };
    let (first, second) = (keys(0), keys(1));
    for key in &ledger.streams[0].paired {
        if first.contains(key) != second.contains(key) {
            let text = format!("half of a MULTI is there: {key:?}");
            found.push(Violation { kind: Kind::Torn, text });
        }
    }
}

/// The check of one stream.
struct Check<'a> {
    relaxed: bool,
    stream: &'a Stream,
    state: &'a State,
    live: HashMap<Id, Key>,
    found: &'a mut Vec<Violation>,
}

impl Check<'_> {
    /// Ids increase (1), no value is there twice (9).
    fn order(&mut self) {
        let mut keys = HashSet::new();
        let mut last = None;
        for (id, key) in &self.state.entries {
            if last.is_some_and(|last| *id <= last) {
                self.tell(Kind::Reordered, *id, "does not follow the entry before it");
            }
            if !keys.insert(*key) {
                self.tell(
                    Kind::Duplicated,
                    *id,
                    &format!("holds a value for the second time: {key:?}"),
                );
            }
            last = Some(*id);
        }
    }

    /// What is there was written, has its own value (4) and was not removed (5).
    fn present(&mut self) {
        for (id, key) in &self.state.entries {
            let entry = self.stream.entries.get(id);
            if *id < self.stream.floor {
                self.tell(Kind::Resurrected, *id, "is back, though it was trimmed");
            }
            match entry.map(|entry| (entry.key, entry.deleted)) {
                Some((_, Fate::Done(_))) => {
                    self.tell(Kind::Resurrected, *id, "is back, though it was deleted");
                }
                Some((Some(known), _)) if known != *key => {
                    self.tell(Kind::Changed, *id, "has another value");
                }
                Some((Some(_), _)) => {}
                _ if !self.stream.unknown.contains(key) => {
                    self.tell(
                        Kind::Changed,
                        *id,
                        &format!("holds a value of another entry: {key:?}"),
                    );
                }
                None if *id <= self.stream.last_id => {
                    self.tell(Kind::Reordered, *id, "is new, yet not above the last id before");
                }
                _ => {}
            }
            if entry.is_some_and(|entry| entry.dropped) {
                self.tell(
                    Kind::Resurrected,
                    *id,
                    "is there, though XAUTOCLAIM said it was deleted",
                );
            }
        }
    }

    /// What was acknowledged or seen is there, unless a removal covers it (7, 10).
    fn absent(&mut self) {
        let adopted = self.adopted();
        let first = self.state.entries.first().map(|(id, _)| *id);
        let known = self.stream.entries.len() as u64;
        for (rank, (id, entry)) in self.stream.entries.iter().enumerate() {
            if self.live.contains_key(id) || entry.deleted != Fate::No {
                continue;
            }
            // A trim removes only what is older than all that it keeps, and keeps as many as it
            // was told (25). What was appended without reply, seen by nobody and is gone does not
            // count: a trim that is in effect has all appends before it in effect.
            let newer = known - rank as u64 - 1 + adopted;
            let trimmed = self.stream.keep.is_some_and(|keep| newer >= keep)
                && first.is_none_or(|first| *id < first);
            // With RETENTION ACKED what nobody needs goes by itself.
            let over = entry.acked != Fate::No || self.is_dead(*id);
            let rules = &self.stream.rules;
            let goes = rules.retained || rules.redriven_go && self.is_redriven(*id);
            if !(trimmed || goes && over) {
                self.tell(Kind::Lost, *id, "is lost");
            }
        }
    }

    /// Live entries that no reply had shown.
    fn adopted(&self) -> u64 {
        let new = self.live.keys();
        new.filter(|id| !self.stream.entries.contains_key(id)).count() as u64
    }

    /// last-generated-id and last-delivered-id never go back (2, 15), entries-added is what was
    /// added (6).
    fn counters(&mut self) {
        let (stream, state) = (self.stream, self.state);
        let entries = stream.entries.last_key_value().map(|(id, _)| *id);
        let highest = entries.max(state.entries.last().map(|(id, _)| *id));
        let highest = highest.max(Some(stream.last_id));
        if Some(state.last_id) < highest {
            self.tell(
                Kind::Reordered,
                state.last_id,
                "is the last generated id, below an id in use",
            );
        }
        let read = stream.entries.iter().rev();
        let read = read.clone().find(|(id, entry)| {
            entry.read && !self.may_be_undone(entry) && !self.is_redriven(**id)
        });
        let read = read.map(|(id, _)| *id).max(Some(stream.last_delivered));
        if Some(state.last_delivered) < read {
            self.tell(
                Kind::Lost,
                state.last_delivered,
                "is the last delivered id, below one that was read",
            );
        }
        let least = stream.added + stream.new_entries() + stream.unseen_adds + self.adopted();
        // Of what was appended without reply and is gone, only a trim can have taken it.
        let removes = stream.keep.is_some() || stream.rules.retained;
        let trimmed = if removes { stream.unknown.len() as u64 } else { 0 };
        if !(least..=least + trimmed).contains(&state.added) {
            let text = format!("entries-added is {}, not {least}", state.added);
            let text = format!("{}: {text}", stream.name);
            self.found.push(Violation { kind: Kind::Miscounted, text });
        }
    }

    /// What is pending was delivered, to this consumer, and not acknowledged (16, 17).
    fn pending(&mut self) {
        let new = Entry::default();
        for row in &self.state.pending {
            let known = self.stream.entries.get(&row.id);
            if known.is_none() && !self.may_be_new(row.id) {
                self.tell(
                    Kind::Resurrected,
                    row.id,
                    "is pending, though it was never there or is long settled",
                );
            }
            let entry = known.unwrap_or(&new);
            if matches!(entry.acked, Fate::Done(_)) || entry.dropped {
                self.tell(
                    Kind::Resurrected,
                    row.id,
                    "is pending, though it was acknowledged or dropped",
                );
            } else if self.stream.rules.leases {
                // Whoever had it last, or nobody: it is offered, with a count of its own.
            } else if !self.stream.may_own(row.id, entry, row.consumer) {
                let text = format!("is pending for consumer {}, who has not got it", row.consumer);
                self.tell(Kind::WronglyOwned, row.id, &text);
            }
            if row.id > self.state.last_delivered && !self.is_redriven(row.id) {
                self.tell(Kind::Miscounted, row.id, "is pending above the last delivered id");
            }
            if self.stream.rules.leases {
                continue;
            }
            let unseen = self.unseen_deliveries(row.id);
            if !(entry.count..=entry.count + unseen).contains(&row.count) {
                let text = format!("was delivered {} times, not {}", row.count, entry.count);
                self.tell(Kind::Miscounted, row.id, &text);
            }
        }
    }

    /// How often requests without reply may have delivered this entry: an XCLAIM that names it
    /// twice counts twice, as Redis has it.
    fn unseen_deliveries(&self, id: Id) -> u64 {
        let of = |unseen: &Unseen| match unseen.ids.is_empty() {
            true => 1,
            false => unseen.ids.iter().filter(|named| **named == id).count() as u64,
        };
        self.stream.unseen.iter().map(of).sum()
    }

    /// Whether the cut may have taken the delivery of this entry: a reply to `>` waits for the
    /// entry, not for the record of its delivery, and nothing else that lasts was seen of it.
    fn may_be_undone(&self, entry: &Entry) -> bool {
        let acked = matches!(entry.acked, Fate::Done(_));
        self.relaxed && !entry.settled && !entry.claimed && !acked
    }

    /// Whether an id that no reply has shown may be pending: a request without reply appended it,
    /// another read it, and it is still there or was trimmed.
    fn may_be_new(&self, id: Id) -> bool {
        let trimmed = self.stream.keep.is_some();
        id > self.stream.last_id && (trimmed || self.live.contains_key(&id))
    }

    /// What was delivered is pending or acknowledged (12), and nothing was skipped (14).
    fn delivered(&mut self) {
        let pending: HashSet<Id> = self.state.pending.iter().map(|row| row.id).collect();
        let adopted = self.live.keys();
        let adopted = adopted.filter(|id| !self.stream.entries.contains_key(id));
        let adopted: Vec<Id> = adopted.copied().filter(|id| self.is_passed(*id)).collect();
        for id in &adopted {
            if !pending.contains(id) && !self.is_dead(*id) && !self.is_parked(*id) {
                let text = format!("{} {} was skipped", self.stream.name, show_id(*id));
                self.found.push(Violation { kind: Kind::NeverDelivered, text });
            }
        }
        for (id, entry) in &self.stream.entries {
            // The pending list may lose what the stream has lost, when somebody claims it.
            let gone = !self.live.contains_key(id);
            let dead = self.is_dead(*id);
            if gone || dead || pending.contains(id) || entry.acked != Fate::No {
                continue;
            }
            if *id > self.state.last_delivered && self.may_be_undone(entry) {
                continue;
            }
            if !entry.taken.is_empty() {
                self.tell(
                    Kind::WronglyAcked,
                    *id,
                    "was delivered and is neither pending nor acknowledged",
                );
            } else if self.is_passed(*id) && !self.is_parked(*id) {
                self.tell(
                    Kind::NeverDelivered,
                    *id,
                    "was skipped: not delivered, yet below the last delivered id",
                );
            }
        }
    }

    /// What is parked was passed, and is nowhere else (24).
    fn parked(&mut self) {
        let pending: HashSet<Id> = self.state.pending.iter().map(|row| row.id).collect();
        for id in &self.state.parked {
            if pending.contains(id) || self.is_dead(*id) {
                self.tell(Kind::Duplicated, *id, "is parked, and pending or a dead letter");
            }
            if *id > self.state.last_delivered {
                self.tell(Kind::Miscounted, *id, "is parked above the last delivered id");
            }
            let entry = self.stream.entries.get(id);
            if entry.is_some_and(|entry| matches!(entry.acked, Fate::Done(_))) {
                self.tell(Kind::Resurrected, *id, "is parked, though it was acknowledged");
            }
        }
    }

    /// Whether the group has come by an entry, or was given it apart from all others.
    fn is_passed(&self, id: Id) -> bool {
        id <= self.state.last_delivered || self.is_redriven(id)
    }

    fn is_parked(&self, id: Id) -> bool {
        self.state.parked.contains(&id)
    }

    fn is_redriven(&self, id: Id) -> bool {
        self.stream.redriven.contains(&id) || self.state.redriven.contains(&id)
    }

    fn is_dead(&self, id: Id) -> bool {
        self.state.dead.iter().any(|(dead, _)| *dead == id)
    }

    /// A dead letter is one once, holds what its entry held, is not pending any more, was never
    /// acknowledged, and stays (27). That it was redriven or removed counts as its acknowledgement.
    fn dead(&mut self) {
        let pending: HashSet<Id> = self.state.pending.iter().map(|row| row.id).collect();
        let mut seen = HashSet::new();
        for (id, key) in &self.state.dead {
            let entry = self.stream.entries.get(id);
            if !seen.insert(*id) {
                self.tell(Kind::Duplicated, *id, "is a dead letter twice");
            }
            if pending.contains(id) {
                self.tell(Kind::Duplicated, *id, "is pending and a dead letter");
            }
            if entry.is_some_and(|entry| matches!(entry.acked, Fate::Done(_))) {
                self.tell(Kind::Resurrected, *id, "is a dead letter, though it was acknowledged");
            }
            if entry.and_then(|entry| entry.key).is_some_and(|known| known != *key) {
                self.tell(Kind::Changed, *id, "is a dead letter with another value");
            }
        }
        for (id, entry) in &self.stream.entries {
            if entry.dead && !seen.contains(id) && entry.acked == Fate::No {
                self.tell(Kind::Lost, *id, "is no dead letter any more");
            }
        }
    }

    fn tell(&mut self, kind: Kind, id: Id, text: &str) {
        let text = format!("{} {} {text}", self.stream.name, show_id(id));
        self.found.push(Violation { kind, text });
    }
}
