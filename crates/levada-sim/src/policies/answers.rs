//! Answers on their way to their clients: what they show is recorded when they arrive, and is
//! unknown for good where they never do.

use super::letters::Back;
use super::{Life, World};
use crate::crash::Restart;
use crate::history::{Add, How, Id, Key as Written, Removal, Span, Take, Unseen};
use levada_engine::shard::Wait;

/// An answer on its way to its client.
#[derive(Clone, Debug)]
pub(super) struct Held {
    wait: Wait,
    invoked: u64,
    what: What,
}

/// What it will show.
#[derive(Clone, Debug)]
pub(super) enum What {
    Add(Written, Id),
    Took(usize, How, Vec<(Id, Option<Written>)>),
    Acked(Id, bool),
    Deleted(Id, bool),
    /// XSCHED ADD, and CANCEL that found it.
    Planned(Written),
    Cancelled(Written),
    /// XDLQ REDRIVE and PURGE.
    Redriven(Vec<Back>),
    Purged(Vec<Id>),
    /// Nothing that the history is about.
    Other,
}

impl<S> Life<S> {
    pub(super) fn hold(&mut self, wait: Wait, invoked: u64, what: What) {
        self.waiting.push(Held { wait, invoked, what });
        self.is_unheld = false;
    }

    /// Where the letters are that the last answer says went back, in order.
    pub(super) fn note_back(&mut self, new: &[(Id, Written)]) {
        if let Some(Held { what: What::Redriven(backs), .. }) = self.waiting.last_mut() {
            backs.iter_mut().zip(new).for_each(|(back, entry)| back.entry = Some(*entry));
        }
    }
}

impl World {
    /// Lets go every answer that need not wait any longer, and records it.
    pub(super) fn release<S: Restart>(&mut self, life: &mut Life<S>) {
        for held in std::mem::take(&mut life.waiting) {
            if life.shard.is_over(held.wait) {
                self.report.released += 1;
                self.record(held);
            } else {
                life.waiting.push(held);
            }
        }
    }

    fn record(&mut self, held: Held) {
        let span = Span { invoked: held.invoked, completed: self.counter.next() };
        let stream = 0;
        let removal = |id| Removal { stream, id, span, known: true };
        let journal = &mut self.journal;
        match held.what {
            What::Add(key, id) => {
                journal.adds.push(Add { stream, key, paired: false, span, id: Some(id) });
            }
            What::Took(consumer, how, entries) => {
                self.held.extend(entries.iter().map(|(id, _)| *id));
                let take = |(id, key)| Take { stream, id, consumer, how, span, key };
                journal.takes.extend(entries.into_iter().map(take));
            }
            What::Acked(id, true) => {
                self.held.retain(|held| *held != id);
                journal.acks.push(removal(id));
            }
            What::Deleted(id, true) => journal.deletes.push(removal(id)),
            What::Planned(key) => self.note_planned(key),
            What::Cancelled(key) => self.note_cancelled(key, span.completed),
            What::Redriven(backs) => {
                journal.acks.extend(backs.iter().map(|back| removal(back.source)));
                let add = |(id, key)| Add { stream, key, paired: false, span, id: Some(id) };
                journal.adds.extend(backs.into_iter().filter_map(|back| back.entry).map(add));
            }
            What::Purged(sources) => journal.acks.extend(sources.into_iter().map(removal)),
            What::Acked(_, false) | What::Deleted(_, false) | What::Other => {}
        }
    }

    /// The client of this answer will never know.
    pub(super) fn lose(&mut self, held: Held) {
        let span = Span { invoked: held.invoked, completed: u64::MAX };
        let stream = 0;
        let removal = |id| Removal { stream, id, span, known: false };
        let journal = &mut self.journal;
        match held.what {
            What::Add(key, _) => {
                journal.adds.push(Add { stream, key, paired: false, span, id: None });
            }
            What::Took(consumer, how, _) => {
                let reads = how == How::Read;
                journal.unseen.push(Unseen { stream, consumer, reads, ids: Vec::new() });
            }
            What::Acked(id, true) => journal.acks.push(removal(id)),
            What::Deleted(id, true) => journal.deletes.push(removal(id)),
            What::Redriven(backs) => {
                journal.acks.extend(backs.iter().map(|back| removal(back.source)));
                self.backs.extend(backs);
            }
            What::Purged(sources) => journal.acks.extend(sources.into_iter().map(removal)),
            // What was asked and had no effect then has none in any part of what happened.
            What::Acked(_, false)
            | What::Deleted(_, false)
            | What::Planned(_)
            | What::Cancelled(_)
            | What::Other => {}
        }
    }
}
