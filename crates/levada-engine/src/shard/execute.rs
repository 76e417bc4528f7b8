//! One command: decide, log, apply, say what the answer waits for.

use levada_core::{
    command::{Command, Key, Xadd},
    decide::{self, Blocks, Context, Decision, Need, Refusal},
    effect::Effect,
    error::Error as Refused,
    keyspace::{KeyNumber, Value},
    machine::{Applied, At},
    stream::Stream,
};

use super::{Answer, ClientId, FORGET_AFTER_MS, Outcome, Shard, Wait};
use crate::{
    clock::Now,
    error::Error,
    store::{Fetch, Store, Urgency},
};

/// Effects for which memory is kept between two commands.
const SPARE_EFFECTS_MAX: usize = 16;

/// Blocks in memory: those pinned for the client, then the store's.
struct InMemory<'s, S> {
    shard: &'s Shard<S>,
    client: ClientId,
}

impl<S: Store> Blocks for InMemory<'_, S> {
    fn block(
        &self,
        key: KeyNumber,
        number: u64,
    ) -> Option<std::sync::Arc<levada_core::block::Block>> {
        let pinned = self.shard.pinned.get(&self.client).into_iter().flatten();
        let held = pinned.into_iter().find(|(of, n, _)| *of == key && *n == number);
        held.map(|(_, _, block)| block.clone()).or_else(|| self.shard.store.cached(key.0, number))
    }
}

impl<S: Store> Shard<S> {
    /// Carries out a command. What it changes is part of the coming batch; readers whom it feeds
    /// are served at once (inside a transaction: at its end).
    pub fn execute(&mut self, now: Now, client: ClientId, command: &Command<'_>) -> Outcome {
        self.keep_batch_bounded();
        self.advance(now);
        if self.is_full() && !self.in_transaction && command.needs_space() {
            return Outcome::Done(Answer { result: Err(Refused::DiskFull), wait: Wait::Nothing });
        }
        if self.machine.keys.iter_expired(self.now_ms).next().is_some() {
            match command.sees_whole_keyspace() {
                true => self.expire_due(),
                false => command.for_each_key(|key| self.expire_key(key)),
            }
        }
        if command.shows_consumers() {
            self.log_seen();
        }
        let decided = self.decide(client, command, self.in_transaction);
        if !matches!(decided, Err(Undecided::Reading)) {
            self.announce_misses(command);
        }
        let outcome = match decided {
            Ok(decision) => Outcome::Done(self.carry_out(command, decision)),
            Err(Undecided::Refused(refused)) => Outcome::Done(self.refuse(command, refused)),
            Err(Undecided::Reading) => return Outcome::NeedBlocks,
        };
        self.pinned.remove(&client);
        if !self.in_transaction {
            self.serve_waiters();
        }
        outcome
    }

    /// The machine's clock: the wall's, but never back, and never on within a batch: its effects
    /// are replayed at the one time that the batch carries.
    pub(super) fn advance(&mut self, now: Now) {
        if self.batch.is_empty() {
            self.now_ms = self.now_ms.max(now.wall_ms);
        }
    }

    /// Asks the machine, fetching blocks until it knows the answer: in the background, or here and
    /// now with `at_once`.
    pub(super) fn decide<'a>(
        &mut self,
        client: ClientId,
        command: &Command<'a>,
        at_once: bool,
    ) -> Result<Decision<'a>, Undecided> {
        let mut blind = false;
        loop {
            match self.with_context(client, |context| {
                decide::decide(Context { blind, ..context }, command)
            }) {
                Ok(decision) => return Ok(decision),
                Err(Refusal::Error(refused)) => return Err(Undecided::Refused(refused)),
                Err(Refusal::Need(need)) => match self.fetch(client, &need, at_once) {
                    Err(Undecided::Refused(_)) if !blind && command.passes_lost() => blind = true,
                    fetched => fetched?,
                },
            }
        }
    }

    /// Asks the core something, with the blocks that are pinned for a client.
    pub(super) fn with_context<R>(
        &self,
        client: ClientId,
        ask: impl FnOnce(Context<'_>) -> R,
    ) -> R {
        let blocks = InMemory { shard: self, client };
        ask(Context {
            machine: &self.machine,
            blocks: &blocks,
            now_ms: self.now_ms,
            nodes: self.settings.nodes,
            idmp: self.settings.idmp,
            order_window: self.settings.order_window,
            defaults: &self.defaults,
            text_bytes_max: self.settings.strings_bytes_max,
            dedup_bytes_max: self.settings.dedup_bytes_max,
            blind: false,
            spare: Some(&self.spare),
        })
    }

    /// Gets blocks for a client; an error if it has to wait for one, or one is lost.
    pub(super) fn fetch(
        &mut self,
        client: ClientId,
        need: &Need,
        at_once: bool,
    ) -> Result<(), Undecided> {
        let mut reading = false;
        for number in &need.blocks {
            let fetched = match at_once {
                true => {
                    self.residual_reads += 1;
                    self.store.fetch_now(need.key.0, *number)
                }
                false => self.store.fetch(need.key.0, *number),
            };
            match fetched {
                Fetch::Ready(block) => {
                    self.pinned.entry(client).or_default().push((need.key, *number, block));
                }
                Fetch::Reading => {
                    self.park(client, need.key, *number);
                    reading = true;
                }
                Fetch::Missing | Fetch::Corrupt => {
                    return Err(Undecided::Refused(self.corrupt(need.key, *number)));
                }
            }
        }
        if reading { Err(Undecided::Reading) } else { Ok(()) }
    }

    /// The error that names a lost block by the ids it may hold.
    pub(super) fn corrupt(&self, key: KeyNumber, number: u64) -> Refused {
        let name = self.machine.keys.get(key).map(|object| object.name.to_vec());
        let range = self.machine.stream_of(key).map(|stream| stream.id_range(number));
        let (first, last) = range.unwrap_or_default();
        Refused::Corrupt { key: name.unwrap_or_default(), first, last }
    }

    pub(super) fn carry_out(&mut self, command: &Command<'_>, decision: Decision<'_>) -> Answer {
        let Decision { reply, effects } = decision;
        let changes = !effects.is_empty() && !self.put_off(&effects);
        if changes && let Err(refused) = self.change(command, &effects) {
            return self.refuse(command, refused);
        }
        self.spare.replace(recycle(effects));
        let wait = self.wait_for(command, changes);
        Answer { result: Ok(reply), wait }
    }

    /// Logs the effects of a command and applies them.
    fn change(&mut self, command: &Command<'_>, effects: &[Effect<'_>]) -> Result<(), Refused> {
        self.log(effects)?;
        let notes = self.notes(command, effects);
        let evicts = |effect: &&Effect<'_>| match effect {
            Effect::KeyRemoved { key } => self.is_eviction(command, *key),
            _ => false,
        };
        self.evicted_keys += effects.iter().filter(evicts).count() as u64;
        for effect in effects {
            self.apply(effect);
        }
        self.announce(notes);
        Ok(())
    }

    /// Puts the effects of a command into the batch, all or none: they must fit with what is there,
    /// in a transaction, or else alone.
    pub(super) fn log(&mut self, effects: &[Effect<'_>]) -> Result<(), Refused> {
        if !effects.is_empty() {
            self.log_seen();
        }
        let start = self.batch.len();
        effects.iter().for_each(|effect| effect.encode(&mut self.batch));
        // On a full disk the log lives on what it has until a checkpoint gives a file back.
        if self.is_full() && !effects.is_empty() && !self.store.has_log_room(self.batch.len()) {
            self.batch.truncate(start);
            return Err(Refused::DiskFull);
        }
        if self.batch.len() <= self.store.batch_bytes_max() {
            return Ok(());
        }
        self.batch.truncate(start);
        if start == 0 || self.in_transaction || self.failed.is_some() {
            return Err(Refused::TooLarge);
        }
        self.end_batch();
        self.log(effects)
    }

    /// An error shows state too (that a key is missing, or holds something else).
    pub(super) fn refuse(&mut self, command: &Command<'_>, refused: Refused) -> Answer {
        if let Command::Xadd(Xadd { key, .. }) = command
            && let Some((number, object)) = self.machine.keys.find(*key)
            && matches!(object.value, Value::Stream(_))
        {
            self.counts.reject(number);
        }
        let wait = self.wait_for(command, false);
        Answer { result: Err(refused), wait }
    }

    /// Logs an effect of the loop's own and applies it.
    pub(super) fn perform(&mut self, effect: &Effect<'_>) {
        effect.encode(&mut self.batch);
        self.apply(effect);
    }

    /// Applies an effect that is logged.
    pub(super) fn apply(&mut self, effect: &Effect<'_>) {
        self.note_touched(effect);
        self.notice(effect);
        let relaxed = effect.is_delivery() && !self.settings.delivery_strict;
        // Most batches are urgent from their first effect on.
        if self.urgency != Urgency::Durable && !relaxed && !self.is_interval(effect) {
            self.urgency = Urgency::Durable;
        }
        let at = At { position: self.last_lsn + 1, now_ms: self.now_ms };
        let applied = self.machine.apply(effect, at);
        self.counts.note(effect, &self.machine);
        if let Err(error) = self.tell_store(applied) {
            self.failed.get_or_insert(error);
        }
        if let Some(key) = self.machine.take_touched() {
            if self.machine.stream_of(key).is_some_and(Stream::is_tended) {
                self.tending.ask(key, self.now_ms);
            }
            self.note_schedule(key);
        }
    }

    /// Hands to the store what an effect means for it.
    pub(super) fn tell_store(&mut self, applied: Applied) -> Result<(), Error> {
        match applied {
            Applied::Done => {}
            Applied::Sealed(key, number, block) => {
                self.looked_us = None;
                self.store.put_block(key.0, number, block)?;
            }
            Applied::Filled(key, blocks) => {
                self.looked_us = None;
                for (number, block) in blocks {
                    self.store.put_block(key.0, number, block)?;
                }
            }
            Applied::Dropped(key, number) => self.store.drop_before(key.0, number),
            Applied::Removed(keys) => keys.iter().for_each(|key| self.store.drop_object(key.0)),
        }
        Ok(())
    }

    /// Removes a key that has expired, before a command looks at it.
    pub(super) fn expire_key(&mut self, key: Key<'_>) {
        if let Some((key, object)) = self.machine.keys.find(key)
            && object.is_expired(self.now_ms)
        {
            self.drop_expired(key);
        }
    }

    fn drop_expired(&mut self, key: KeyNumber) {
        self.expired_keys += 1;
        self.announce_expired(key);
        self.perform(&Effect::KeyRemoved { key });
    }

    /// Removes keys that have expired, a bounded number a turn.
    pub(super) fn expire(&mut self, now: Now) {
        self.advance(now);
        self.expire_due();
    }

    fn expire_due(&mut self) {
        const KEYS_MAX: usize = 1000;
        if self.is_full() && !self.store.has_log_room(self.batch.len()) {
            return;
        }
        let due: Vec<_> = self.machine.keys.iter_expired(self.now_ms).take(KEYS_MAX).collect();
        due.into_iter().for_each(|key| self.drop_expired(key));
    }

    /// Forgets idempotent ids that have been over for a while, of a bounded number of streams a
    /// turn. No answer depends on it: they do not count any more.
    pub(super) fn forget_over(&mut self) {
        const STREAMS_MAX: usize = 100;
        let over = self.machine.iter_over();
        let due = over.take_while(|(at_ms, _)| at_ms + FORGET_AFTER_MS <= self.now_ms);
        let due: Vec<_> = due.take(STREAMS_MAX).map(|(_, key)| key).collect();
        for key in due {
            if let Some(effect) = self.machine.forget_over(key, self.now_ms) {
                self.perform(&effect);
            }
        }
    }

    /// Seals tails beyond their budget, down to three quarters of it, so that it is seldom done:
    /// of many streams some a turn, so that nobody waits for all of them, unless producers outrun
    /// that.
    pub(super) fn keep_tail_budget(&mut self) {
        const TURN_BYTES: u64 = 1 << 20;
        if self.is_full() {
            return;
        }
        let (bytes_max, held) = (self.settings.tail_bytes_max, self.machine.tail_bytes());
        let wanted = bytes_max / 4 * 3;
        if held <= wanted {
            self.resting.clear();
        }
        let enough = held.saturating_sub(TURN_BYTES).min(bytes_max.saturating_add(bytes_max / 4));
        while self.machine.tail_bytes() > enough {
            if self.resting.is_empty() && self.machine.tail_bytes() > bytes_max {
                self.resting = self.machine.rested_tails(wanted);
            }
            let Some(key) = self.resting.pop() else { break };
            if self.machine.tail_bytes_of(key) > 0 {
                self.perform(&Effect::Sealed { key });
            }
        }
    }
}

/// An empty list with the memory of another, unless that is much.
fn recycle(mut effects: Vec<Effect<'_>>) -> Vec<Effect<'static>> {
    if effects.capacity() > SPARE_EFFECTS_MAX {
        return Vec::new();
    }
    effects.clear();
    effects.into_iter().map(|_| unreachable!("it is empty")).collect()
}

/// Why there is no decision.
pub(super) enum Undecided {
    /// The answer is an error.
    Refused(Refused),
    /// Blocks are on their way.
    Reading,
}
