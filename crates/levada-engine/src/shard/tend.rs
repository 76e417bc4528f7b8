//! Streams with policies: asks the core what is due, when it is due.
//!
//! What is asked when is no part of the state: a restart asks every stream with a policy once, and
//! goes on from there. A change of such a stream asks again at the end of the turn.

use std::collections::{BTreeMap, BTreeSet};

use levada_core::{
    decide::{self, Refusal, Tended},
    effect::Effect,
    keyspace::KeyNumber,
};

use super::{ClientId, Shard};
use crate::{clock::Now, store::Store};

/// Questions of one turn at most.
const QUESTIONS_MAX: usize = 64;
/// How long a stream rests of which a block is lost, in milliseconds.
const LOST_MS: u64 = 1000;
/// Pins blocks for a question as for a client. No client has this number.
const TENDER: ClientId = ClientId(u64::MAX);

/// Which stream is asked next.
#[derive(Default, Debug)]
pub(super) struct Tending {
    due: BTreeSet<(u64, KeyNumber)>,
    at_ms: BTreeMap<KeyNumber, u64>,
}

impl Tending {
    /// Asks a stream at this time at the latest, in unix milliseconds.
    pub(super) fn ask(&mut self, key: KeyNumber, at_ms: u64) {
        match self.at_ms.get(&key) {
            Some(before) if *before <= at_ms => return,
            Some(before) => {
                self.due.remove(&(*before, key));
            }
            None => {}
        }
        self.at_ms.insert(key, at_ms);
        self.due.insert((at_ms, key));
    }

    /// When the next stream is to be asked, in unix milliseconds.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(at_ms, _)| *at_ms)
    }

    /// Asks everything that waits now.
    pub(super) fn ask_all(&mut self) {
        let keys: Vec<_> = self.at_ms.keys().copied().collect();
        keys.into_iter().for_each(|key| self.ask(key, 0));
    }

    /// Something to be asked at this time, which is then not waiting any more.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Option<KeyNumber> {
        let (at_ms, key) = *self.due.first().filter(|(at_ms, _)| *at_ms <= now_ms)?;
        self.due.remove(&(at_ms, key));
        self.at_ms.remove(&key);
        Some(key)
    }
}

impl<S: Store> Shard<S> {
    /// Asks streams of which something may be due, and serves whom that concerns.
    pub(super) fn tend(&mut self, now: Now) {
        if self.tending.next_ms().is_none() {
            return self.serve_waiters();
        }
        self.advance(now);
        // Which consumers are stale is a question to ask.
        if self.tending.next_ms().is_some_and(|at_ms| at_ms <= self.now_ms) {
            self.log_seen();
        }
        for _ in 0..QUESTIONS_MAX {
            let Some(key) = self.tending.take_due(self.now_ms) else {
                break;
            };
            self.keep_batch_bounded();
            match self.due(key) {
                Some(tended) => self.do_due(key, &tended),
                None => self.tending.ask(key, self.now_ms + LOST_MS),
            }
        }
        self.serve_waiters();
    }

    /// What is due for a stream; `None` where a block that it needs is lost.
    fn due(&mut self, key: KeyNumber) -> Option<Tended> {
        let tended = loop {
            match self.with_context(TENDER, |context| decide::tend(context, key)) {
                Ok(tended) => break Some(tended),
                Err(Refusal::Need(need)) if self.fetch(TENDER, &need, true).is_ok() => {}
                Err(_) => break None,
            }
        };
        self.pinned.remove(&TENDER);
        tended
    }

    /// Logs and applies it as one record, or, where that does not fit, nothing for now.
    fn do_due(&mut self, key: KeyNumber, tended: &Tended) {
        let mut effects: Vec<Effect<'_>> = Vec::new();
        effects.extend(tended.letter.iter().flat_map(decide::Letter::effects));
        effects.extend(tended.effects.iter().cloned());
        if self.log(&effects).is_err() {
            return self.tending.ask(key, self.now_ms + LOST_MS);
        }
        effects.iter().for_each(|effect| self.apply(effect));
        // Its own effects have asked for it at once: that is too soon where nothing more is due.
        if let Some(next_ms) = tended.next_ms {
            self.tending.ask(key, next_ms);
        }
    }

    /// Asks every stream with a policy once: the beginning of a process.
    pub(super) fn tend_all(&mut self) {
        for key in self.machine.tended() {
            self.tending.ask(key, 0);
        }
    }
}
