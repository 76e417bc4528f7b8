//! Counters behind INFO.

use crate::registry::CommandNumber;
use crate::wire_error::WireError;

/// Every how many calls of a command one is timed: reading the clock costs as much as a command.
const TIMED_EVERY: u64 = 64;
/// Kinds of errors that are told apart; behind it they are counted together only.
const ERROR_CODES_MAX: usize = 128;

/// Calls of one command.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct CommandStats {
    pub(crate) calls: u64,
    /// Refused before it ran.
    pub(crate) rejected: u64,
    /// Ran and answered an error.
    pub(crate) failed: u64,
    timed_calls: u64,
    timed_usec: u64,
}

impl CommandStats {
    /// Microseconds of all calls, from those that were timed.
    pub(crate) fn usec(&self) -> u64 {
        let usec = u128::from(self.timed_usec) * u128::from(self.calls);
        let usec = usec / u128::from(self.timed_calls.max(1));
        u64::try_from(usec).unwrap_or(u64::MAX)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Stats {
    commands: Vec<CommandStats>,
    errors: Vec<(Vec<u8>, u64)>,
    pub(crate) error_replies: u64,
    pub(crate) connections: u64,
    pub(crate) connections_refused: u64,
    /// Connections that did not come to agree on keys.
    pub(crate) handshakes_failed: u64,
    /// Strangers that gave way to others.
    pub(crate) strangers_dropped: u64,
    /// Connections that ended because all together took too much memory.
    pub(crate) clients_evicted: u64,
    /// Connections that ended because they did not read.
    pub(crate) clients_beyond_limit: u64,
    pub(crate) commands_run: u64,
    /// Commands that may have changed data; what Redis counts until it saves.
    pub(crate) changes: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) iterations: u64,
}

impl Stats {
    pub(crate) fn new(commands: usize) -> Self {
        Self {
            commands: vec![CommandStats::default(); commands],
            errors: Vec::new(),
            error_replies: 0,
            connections: 0,
            connections_refused: 0,
            handshakes_failed: 0,
            strangers_dropped: 0,
            clients_evicted: 0,
            clients_beyond_limit: 0,
            commands_run: 0,
            changes: 0,
            bytes_in: 0,
            bytes_out: 0,
            iterations: 0,
        }
    }

    pub(crate) fn command(&self, number: CommandNumber) -> &CommandStats {
        &self.commands[number.0 as usize]
    }

    pub(crate) fn command_mut(&mut self, number: CommandNumber) -> &mut CommandStats {
        &mut self.commands[number.0 as usize]
    }

    /// Whether the next call of this command is one to be timed.
    #[inline]
    pub(crate) fn times_next(&self, number: CommandNumber) -> bool {
        self.command(number).calls.is_multiple_of(TIMED_EVERY)
    }

    /// Counts a call, and how long it took if it was timed.
    #[inline]
    pub(crate) fn called(&mut self, number: CommandNumber, usec: Option<u64>) {
        self.commands_run += 1;
        let stats = self.command_mut(number);
        stats.calls += 1;
        if let Some(usec) = usec {
            stats.timed_calls += 1;
            stats.timed_usec += usec;
        }
    }

    /// Counts an error reply by its code.
    pub(crate) fn error(&mut self, text: &[u8]) {
        self.error_replies += 1;
        let code = WireError::code(text);
        if let Some((_, count)) = self.errors.iter_mut().find(|(known, _)| known == code) {
            *count += 1;
        } else if self.errors.len() < ERROR_CODES_MAX {
            self.errors.push((code.to_vec(), 1));
        }
    }

    pub(crate) fn errors(&self) -> &[(Vec<u8>, u64)] {
        &self.errors
    }

    /// CONFIG RESETSTAT. What a checkpoint does not cover is a fact, not a statistic.
    pub(crate) fn reset(&mut self) {
        *self = Self { changes: self.changes, ..Self::new(self.commands.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_in_many_is_timed_and_stands_for_all() {
        let mut stats = Stats::new(1);
        let number = CommandNumber(0);
        for _ in 0..128 {
            let timed = stats.times_next(number).then_some(2);
            stats.called(number, timed);
        }
        assert_eq!(stats.command(number).calls, 128);
        assert_eq!(stats.command(number).usec(), 256);
    }

    #[test]
    fn errors_are_counted_by_code() {
        let mut stats = Stats::new(0);
        for text in ["ERR a", "NOGROUP b", "ERR c"] {
            stats.error(text.as_bytes());
        }
        assert_eq!(stats.errors(), [(b"ERR".to_vec(), 2), (b"NOGROUP".to_vec(), 1)]);
        stats.reset();
        assert_eq!((stats.error_replies, stats.errors().len()), (0, 0));
    }
}
