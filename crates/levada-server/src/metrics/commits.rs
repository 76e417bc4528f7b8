//! How long commits take, and how much is in one: the figures behind the latency of every write.

use std::collections::VecDeque;

use super::histogram::Histogram;
use crate::engine::{Lsn, Now};

/// Bounds of the time until a batch is durable, in microseconds.
const LATENCY_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000,
];
/// Bounds of the number of commands in a batch.
const COMMANDS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// See the module.
#[derive(Debug)]
pub(crate) struct Commits {
    pub(crate) latency_us: Histogram<14>,
    pub(crate) commands: Histogram<11>,
    /// Bytes of the requests in all batches.
    pub(crate) request_bytes: u64,
    /// Batches that somebody waits for, and since when in monotonic microseconds. The engine bounds
    /// how many are under way.
    under_way: VecDeque<(Lsn, u64)>,
    last_wish: Lsn,
    last_lsn: Lsn,
    /// Commands that had been run at the last batch.
    commands_before: u64,
}

impl Commits {
    /// None yet, behind this position.
    pub(crate) fn new(last_lsn: Lsn) -> Self {
        Self {
            latency_us: Histogram::new(LATENCY_US),
            commands: Histogram::new(COMMANDS),
            request_bytes: 0,
            under_way: VecDeque::new(),
            last_wish: last_lsn,
            last_lsn,
            commands_before: 0,
        }
    }

    /// A turn has ended: `last` is the last batch, `wish` the last that is to be durable at once.
    /// `begun` is when the turn began to be committed.
    pub(crate) fn note(&mut self, (last, wish): (Lsn, Lsn), commands: u64, bytes: u64, begun: Now) {
        if last > self.last_lsn {
            self.last_lsn = last;
            // The counter may have been set to zero by CONFIG RESETSTAT.
            self.commands.note(commands.saturating_sub(self.commands_before).max(1));
            self.request_bytes += bytes;
            self.commands_before = commands;
        }
        if wish > self.last_wish {
            self.last_wish = wish;
            self.under_way.push_back((wish, begun.monotonic_us));
        }
    }

    /// Whether somebody waits for a batch up to here.
    pub(crate) fn is_any_durable(&self, durable: Lsn) -> bool {
        self.under_way.front().is_some_and(|(lsn, _)| *lsn <= durable)
    }

    /// Batches up to here are durable now.
    pub(crate) fn settle(&mut self, durable: Lsn, now: Now) {
        while let Some((_, since_us)) = self.under_way.pop_front_if(|(lsn, _)| *lsn <= durable) {
            self.latency_us.note(now.monotonic_us.saturating_sub(since_us));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic_us: u64) -> Now {
        Now { wall_ms: 1, monotonic_us }
    }

    #[test]
    fn a_batch_is_timed_from_its_commit_until_it_is_durable() {
        let mut commits = Commits::new(7);
        // Written only: nobody waits.
        commits.note((8, 7), 3, 30, at(10));
        commits.note((9, 9), 5, 20, at(100));
        commits.note((10, 10), 6, 1, at(150));
        assert!(!commits.is_any_durable(8));
        assert!(commits.is_any_durable(9));
        commits.settle(9, at(300));
        assert_eq!((commits.latency_us.count, commits.latency_us.sum), (1, 200));
        commits.settle(10, at(400));
        assert_eq!((commits.latency_us.count, commits.latency_us.sum), (2, 450));
        assert_eq!((commits.commands.count, commits.commands.sum), (3, 6));
        assert_eq!(commits.request_bytes, 51);
    }
}
