//! One request after the other on every connection, each made anew.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::load::{self, Line, Script};
use super::wire::Value;

/// See the module. `make` gets the number of the request.
pub(super) struct Ask<F> {
    make: F,
    time_max: Duration,
    sent: u64,
    pub(super) done: u64,
    under_way: Vec<Option<Duration>>,
    pub(super) latencies: Histogram<u64>,
}

impl<F: FnMut(u64, &mut Line)> Ask<F> {
    pub(super) fn new(lines: usize, time_max: Duration, make: F) -> Self {
        let under_way = vec![None; lines];
        Self { make, time_max, sent: 0, done: 0, under_way, latencies: load::histogram() }
    }
}

impl<F: FnMut(u64, &mut Line)> Script for Ask<F> {
    fn tick(&mut self, now: Duration, lines: &mut [Line]) -> Result<bool> {
        if now >= self.time_max && self.done > 0 {
            return Ok(self.under_way.iter().all(Option::is_none));
        }
        for (line, slot) in lines.iter_mut().zip(&mut self.under_way) {
            if slot.is_none() {
                (self.make)(self.sent, line);
                self.sent += 1;
                *slot = Some(now);
            }
        }
        Ok(false)
    }

    fn reply(
        &mut self,
        from: usize,
        _reply: &Value<'_>,
        now: Duration,
        _lines: &mut [Line],
    ) -> Result<()> {
        if let Some(sent) = self.under_way[from].take() {
            load::note(&mut self.latencies, sent, now, 1);
            self.done += 1;
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        false
    }
}
