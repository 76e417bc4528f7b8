//! Consumers that asked and got nothing: noted here, logged with the next batch.
//!
//! An empty XAUTOCLAIM or XREADGROUP changes when its consumer was last seen, and nothing else. A
//! record of its own would make an idle group write as much as a busy one. So such a time is put
//! off: it goes into the log before whatever changes next, before anything that shows it or
//! decides by it, and after [`PUT_OFF_MS`] at the latest, with the time at which it was. A crash
//! before that makes a consumer look as if it had been idle for so much longer.

use std::collections::BTreeMap;

use levada_core::{effect::Effect, keyspace::KeyNumber};

use super::Shard;
use crate::store::Store;

/// How long a time may be put off, in milliseconds.
const PUT_OFF_MS: u64 = 1000;
/// How many consumers wait; the next one is logged at once with them.
const CONSUMERS_MAX: usize = 1024;
/// Bytes of a record at most.
const RECORD_BYTES: usize = 32;

/// See the module.
#[derive(Default, Debug)]
pub(super) struct Seen {
    /// Unix milliseconds, by key, group and consumer.
    at_ms: BTreeMap<(KeyNumber, u32, u32), u64>,
    /// When the first of them came.
    since_ms: u64,
}

impl Seen {
    /// When they are to be logged, in unix milliseconds.
    pub(super) fn log_at_ms(&self) -> Option<u64> {
        (!self.at_ms.is_empty()).then_some(self.since_ms.saturating_add(PUT_OFF_MS))
    }
}

impl<S: Store> Shard<S> {
    /// Puts effects off if they say of consumers that they were there and nothing else; `false` if
    /// they are to be logged now.
    pub(super) fn put_off(&mut self, effects: &[Effect<'_>]) -> bool {
        let passing = effects.iter().all(Effect::is_passing);
        if effects.is_empty() || !passing {
            return false;
        }
        if self.seen.at_ms.is_empty() {
            self.seen.since_ms = self.now_ms;
        }
        for effect in effects {
            if let Effect::ConsumerSeen { key, group, consumer, .. } = effect {
                self.seen.at_ms.insert((*key, *group, *consumer), self.now_ms);
            }
        }
        if self.seen.at_ms.len() >= CONSUMERS_MAX {
            self.log_seen();
        }
        true
    }

    /// Logs what was put off: before a consumer or its group goes, as their numbers are given out
    /// again, and before somebody looks at the machine without a command.
    pub fn log_seen(&mut self) {
        if self.seen.at_ms.is_empty() {
            return;
        }
        let seen = std::mem::take(&mut self.seen.at_ms);
        if self.is_full() && !self.store.has_log_room(self.batch.len() + seen.len() * RECORD_BYTES)
        {
            return;
        }
        for ((key, group, consumer), at_ms) in seen {
            // The key may have expired.
            if self.machine.stream_of(key).is_some() {
                let ago_ms = self.now_ms.saturating_sub(at_ms);
                self.perform(&Effect::ConsumerSeen { key, group, consumer, active: false, ago_ms });
            }
        }
    }

    pub(super) fn log_seen_in_time(&mut self) {
        if self.seen.log_at_ms().is_some_and(|at_ms| at_ms <= self.now_ms) {
            self.log_seen();
        }
    }
}
