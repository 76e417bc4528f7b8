//! What is scheduled: appends it when it is due.
//!
//! The wall's clock decides, not the machine's, which never goes back: a clock that is set back
//! must not make anything come early. When which schedule is asked is no part of the state: a
//! restart asks each once, and a change of a schedule asks it again.

use levada_core::{
    command::{Command, Key},
    decide::{self, Move, NextDue, Refusal},
    effect::Effect,
    keyspace::KeyNumber,
    schedule::Schedule,
    stream::Stream,
};

use super::{ClientId, Shard, tend::Tending};
use crate::{clock::Now, store::Store};

/// Entries appended in one turn at most, which others wait for: some milliseconds of work. Behind
/// an outage what is due comes in so many batches, and the last of it waits for the syncs of all.
const MOVES_MAX: usize = 2048;
/// How long a schedule rests whose target cannot take what is due, in milliseconds.
const RETRY_MS: u64 = 1000;
/// How late it may be noticed that the clock was set forward, in microseconds.
pub(super) const STEP_US: u64 = 100_000;
/// Pins blocks for a move as for a client. No client has this number.
const MOVER: ClientId = ClientId(u64::MAX - 1);

/// Which schedule is asked next, by the wall's clock.
#[derive(Default, Debug)]
pub(super) struct Schedules {
    asked: Tending,
    /// The clock as it was last.
    wall_ms: u64,
}

impl Schedules {
    /// When the next schedule is to be asked, in unix milliseconds of the wall's clock.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.asked.next_ms()
    }
}

impl<S: Store> Shard<S> {
    /// Appends what is due, a bounded number of entries a turn, and serves whom that feeds.
    pub(super) fn append_due(&mut self, now: Now) {
        if self.schedules.next_ms().is_none() {
            return;
        }
        // A clock that was set back: who rests until a time that is far off now is asked again.
        if now.wall_ms < std::mem::replace(&mut self.schedules.wall_ms, now.wall_ms) {
            self.schedules.asked.ask_all();
        }
        self.advance(now);
        // Within a batch the machine's clock stands still, and the id of an entry shows it.
        let until_ms = now.wall_ms.min(self.now_ms);
        let mut moves = 0;
        while moves < MOVES_MAX
            && let Some(key) = self.schedules.asked.take_due(until_ms)
        {
            moves += 1;
            self.move_next(key, now.wall_ms);
        }
        if moves > 0 {
            self.serve_waiters();
        }
    }

    /// Moves the next entry of a schedule if it is due, and notes when to ask again: behind a move,
    /// whose effects have asked already, only where it failed.
    fn move_next(&mut self, key: KeyNumber, wall_ms: u64) {
        self.keep_batch_bounded();
        let next = self.with_blocks(|context| decide::due(context, key, wall_ms));
        let again_ms = match &next {
            Some(NextDue::At(at_ms)) => *at_ms,
            Some(NextDue::Move(entry)) if !self.is_full() && self.append(entry) => None,
            _ => Some(wall_ms + RETRY_MS),
        };
        self.pinned.remove(&MOVER);
        if let Some(again_ms) = again_ms {
            self.schedules.asked.ask(key, again_ms);
        }
    }

    /// Appends an entry to its target and removes it from the schedule, as one record; whether the
    /// target took it.
    fn append(&mut self, entry: &Move) -> bool {
        let Some(arrival) = self.with_blocks(|context| entry.arrival(context)) else {
            return false;
        };
        let departure = self.with_context(MOVER, |context| entry.departure(context));
        let effects: Vec<Effect<'_>> = arrival.iter().chain(&departure).cloned().collect();
        if self.log(&effects).is_err() {
            return false;
        }
        let mut notes = Vec::new();
        if let Some(xadd) = entry.xadd() {
            notes = self.notes(&Command::Xadd(xadd), &arrival);
        }
        // Of the command only its kind is asked: the effect has the key.
        let xdel = Command::Xdel(Key { database: 0, name: b"" }, Vec::new());
        notes.extend(self.notes(&xdel, &departure));
        effects.iter().for_each(|effect| self.apply(effect));
        self.announce(notes);
        true
    }

    /// Asks the core something, reading the blocks that it needs here and now; `None` where the
    /// answer is an error, or a block is lost.
    fn with_blocks<R>(
        &mut self,
        ask: impl Fn(decide::Context<'_>) -> Result<R, Refusal>,
    ) -> Option<R> {
        loop {
            match self.with_context(MOVER, &ask) {
                Ok(answer) => return Some(answer),
                Err(Refusal::Need(need)) => self.fetch(MOVER, &need, true).ok()?,
                Err(Refusal::Error(_)) => return None,
            }
        }
    }

    /// After a change of a stream: asks when what is due first in it is due.
    pub(super) fn note_schedule(&mut self, key: KeyNumber) {
        let schedule = self.machine.stream_of(key).and_then(Stream::schedule);
        if let Some(first) = schedule.and_then(Schedule::first) {
            self.schedules.asked.ask(key, first.at_ms);
        }
    }

    /// Asks every schedule once: the beginning of a process.
    pub(super) fn ask_schedules(&mut self) {
        for key in self.machine.scheduled() {
            self.schedules.asked.ask(key, 0);
        }
    }
}
