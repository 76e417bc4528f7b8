//! What has to be on disk before an answer leaves: DURABILITY of streams, `string-durability`.
//!
//! With ALWAYS an answer leaves when everything it shows is durable. With INTERVAL it leaves when
//! that is written, so that a kill of the process loses nothing; it is durable `sync-interval`
//! later at the latest. The log is one sequence: a power cut takes what was written last, and of a
//! batch all or nothing. Where an answer shows both, it waits as with ALWAYS.

use levada_core::{
    command::Command,
    effect::{Act, Effect, Kind},
    keyspace::Value,
    policy::Durability,
};

use super::{Shard, Wait};
use crate::{
    clock::Now,
    error::Error,
    store::{Store, Urgency},
};

impl<S: Store> Shard<S> {
    /// Whether a value may be synced later.
    fn may_wait(&self, value: &Value) -> bool {
        match value {
            Value::Text(_) => self.settings.strings_interval,
            Value::Stream(stream) => stream.policy.durability == Durability::Interval,
        }
    }

    /// Whether an effect, which is not applied yet, may be synced later: it changes something that
    /// may, and does not end that.
    pub(super) fn is_interval(&self, effect: &Effect<'_>) -> bool {
        if let Effect::KeyCreated { kind: Kind::Text, .. } = effect {
            return self.settings.strings_interval;
        }
        if let Effect::Policy { act: Act::StreamPolicySet(policy), .. } = effect
            && policy.durability == Durability::Always
        {
            return false;
        }
        let object = effect.key().and_then(|key| self.machine.keys.get(key));
        object.is_some_and(|object| self.may_wait(&object.value))
    }

    /// The last change of anything that a command's answer shows; its own, if it `changes`
    /// anything.
    pub(super) fn wait_for(&mut self, command: &Command<'_>, changes: bool) -> Wait {
        let relaxed = matches!(command, Command::Xreadgroup(_)) && !self.settings.delivery_strict;
        // There is none behind the end of the batch.
        let at_end = changes && !relaxed || command.shows_consumers();
        let end = self.position();
        let (mut lsn, mut written) = (0, 0);
        if command.sees_whole_keyspace() || at_end && self.urgency == Urgency::Durable {
            lsn = end;
        } else {
            let keys = &self.machine.keys;
            let or_end = |position: u64| if at_end { end } else { position };
            command.for_each_key(|key| match keys.find(key) {
                None => lsn = lsn.max(or_end(keys.removed_position(key.database))),
                Some((_, object)) if self.may_wait(&object.value) => {
                    written = written.max(or_end(object.changed));
                }
                Some((_, object)) if relaxed => lsn = lsn.max(object.entries_changed),
                Some((_, object)) => lsn = lsn.max(or_end(object.changed)),
            });
        }
        if lsn > self.store.durable() {
            return self.wait_durable(lsn.max(written));
        }
        if relaxed && !self.batch.is_empty() {
            written = self.position();
        }
        match written > self.store.written() {
            true => Wait::Written(written),
            false => Wait::Nothing,
        }
    }

    /// Waits until everything so far is durable, and sees to it that this is soon.
    pub fn wait_for_everything(&mut self) -> Wait {
        let lsn = self.position();
        if lsn > self.store.durable() { self.wait_durable(lsn) } else { Wait::Nothing }
    }

    fn wait_durable(&mut self, lsn: u64) -> Wait {
        self.awaited = self.awaited.max(lsn);
        Wait::Durable(lsn)
    }

    /// Behind the batch of a turn: syncs what has been written only for too long.
    pub(super) fn keep_interval(&mut self, now: Now) -> Result<(), Error> {
        if self.last_lsn <= self.last_durable_wish {
            self.unsynced_us = None;
            return Ok(());
        }
        let since_us = *self.unsynced_us.get_or_insert(now.monotonic_us);
        if now.monotonic_us >= since_us.saturating_add(self.sync_interval_us()) {
            self.unsynced_us = None;
            self.sync_written()?;
        }
        Ok(())
    }

    /// When something must be synced that is written only, in monotonic microseconds.
    pub(super) fn next_interval_us(&self) -> Option<u64> {
        self.unsynced_us.map(|since_us| since_us.saturating_add(self.sync_interval_us()))
    }

    fn sync_interval_us(&self) -> u64 {
        self.settings.sync_interval_ms.saturating_mul(1000)
    }
}
