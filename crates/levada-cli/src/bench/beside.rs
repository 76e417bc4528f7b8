//! Readers of another key beside writers: what a writer's sync does to those who do not wait for
//! it. Writers as in `append`; readers ask at a rate, each request due at its time.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;

use super::append::{Append, due_at};
use super::load::{self, Line, Script};
use super::wire::Value;

/// Connections that read.
pub(super) const READERS: usize = 4;
/// Their requests in a second, of all together.
const RATE: u32 = 1000;
/// What they read: the first entries of a stream that nobody writes to.
pub(super) const KEY: &str = "other";
pub(super) const ENTRIES: usize = 10;

/// See the module. The first lines write, the last [`READERS`] read.
pub(super) struct Beside {
    pub(super) writers: Append,
    clients: usize,
    time_max: Duration,
    sent: u64,
    /// Reads that were answered.
    pub(super) done: u64,
    due: [VecDeque<Duration>; READERS],
    pub(super) latencies: Histogram<u64>,
}

impl Beside {
    pub(super) fn new(writers: Append, clients: usize, time_max: Duration) -> Self {
        let (due, latencies) = (Default::default(), load::histogram());
        Self { writers, clients, time_max, sent: 0, done: 0, due, latencies }
    }
}

impl Script for Beside {
    fn tick(&mut self, now: Duration, lines: &mut [Line]) -> Result<bool> {
        let (writers, readers) = lines.split_at_mut(self.clients);
        let is_written = self.writers.tick(now, writers)?;
        while now < self.time_max && due_at(self.sent, RATE) <= now {
            let reader = usize::try_from(self.sent % READERS as u64).expect("below the count");
            self.due[reader].push_back(due_at(self.sent, RATE));
            let count = ENTRIES.to_string();
            readers[reader].push(&["XRANGE", KEY, "-", "+", "COUNT", &count]);
            self.sent += 1;
        }
        Ok(is_written && self.done == self.sent)
    }

    fn reply(
        &mut self,
        from: usize,
        reply: &Value<'_>,
        now: Duration,
        lines: &mut [Line],
    ) -> Result<()> {
        let Some(reader) = from.checked_sub(self.clients) else {
            return self.writers.reply(from, reply, now, lines);
        };
        ensure!(reply.items().len() == ENTRIES, "XRANGE answers {reply:?}");
        let due = self.due[reader].pop_front().context("a reply to no request")?;
        load::note(&mut self.latencies, due, now, 1);
        self.done += 1;
        Ok(())
    }

    fn is_open(&self) -> bool {
        true
    }
}
