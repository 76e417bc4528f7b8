//! How keys are used: reads that found theirs, and when each key was used last.
//!
//! Nothing of it is state: it is not logged and begins anew with the process. The times are kept in
//! a table of a fixed size, by the numbers of keys, which are given out in order: exact to the
//! second for 65,536 keys that were created in a row; of keys that share a place the last use of
//! any counts, so that an idle time may be told too short, never too long.

use levada_core::command::{Command, Copied, Key};
use levada_core::keyspace::KeyNumber;
use levada_core::machine::Machine;

use crate::engine::Now;

/// Places of the table; a power of two.
const PLACES: usize = 1 << 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    started_s: u64,
    /// Seconds between the start and the last use.
    used_s: Box<[u32]>,
}

/// What a command looks for, before it runs.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Found {
    hits: u64,
    misses: u64,
}

impl Usage {
    pub(crate) fn new(started: Now) -> Self {
        let used_s = vec![0; PLACES].into_boxed_slice();
        Self { hits: 0, misses: 0, started_s: started.monotonic_ms() / 1000, used_s }
    }

    /// What a command that is about to run will find.
    pub(crate) fn look(machine: &Machine, command: &Command<'_>, now: Now) -> Found {
        let mut found = Found::default();
        let each = |key: Key<'_>| {
            let alive = |at_ms: Option<u64>| at_ms.is_none_or(|at_ms| at_ms >= now.wall_ms);
            match machine.keys.find(key).is_some_and(|(_, key)| alive(key.expires_at_ms)) {
                true => found.hits += 1,
                false => found.misses += 1,
            }
        };
        match command {
            Command::Copy(Copied { from, .. }) => [*from].into_iter().for_each(each),
            command if command.looks_up_keys() => command.for_each_key(each),
            _ => {}
        }
        found
    }

    /// The command has run.
    pub(crate) fn count(&mut self, found: Found) {
        self.hits += found.hits;
        self.misses += found.misses;
    }

    /// The keys of a command were used, or created, now.
    pub(crate) fn touch(&mut self, machine: &Machine, command: &Command<'_>, now: Now) {
        let now_s = u32::try_from(self.now_s(now)).unwrap_or(u32::MAX);
        command.for_each_key(|key| {
            if let Some(number) = machine.keys.number(key) {
                self.used_s[place(number)] = now_s;
            }
        });
    }

    /// For how many seconds a key was not used.
    pub(crate) fn idle_s(&self, key: KeyNumber, now: Now) -> u64 {
        self.now_s(now).saturating_sub(self.used_s[place(key)].into())
    }

    fn now_s(&self, now: Now) -> u64 {
        (now.monotonic_ms() / 1000).saturating_sub(self.started_s)
    }
}

fn place(key: KeyNumber) -> usize {
    usize::try_from(key.0).unwrap_or(0) & (PLACES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_times_are_never_told_too_long() {
        let now = |s: u64| Now { wall_ms: 1, monotonic_us: s * 1_000_000 };
        let mut usage = Usage::new(now(100));
        let (first, second) = (KeyNumber(1), KeyNumber(2));
        usage.used_s[place(first)] = 5;
        assert_eq!(usage.idle_s(first, now(110)), 5);
        assert_eq!(usage.idle_s(second, now(110)), 10, "since the start");
        assert_eq!(usage.idle_s(KeyNumber(1 + PLACES as u64), now(110)), 5, "they share a place");
    }
}
