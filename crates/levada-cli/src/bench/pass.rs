//! XAUTOCLAIM from the first entry to the last, as a consumer does that wants to know whether
//! anything is to be claimed: one call after the other, each from the cursor of the former.

use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use super::load::{self, Line, Script};
use super::wire::Value;

/// Where a pass begins, and the cursor that ends it.
const START: &str = "0-0";

/// See the module.
pub(super) struct Pass {
    idle_ms: &'static str,
    time_max: Duration,
    cursor: String,
    /// When the pass began, and whether a call is under way.
    began: Duration,
    asks: bool,
    /// Whole passes.
    pub(super) done: u64,
    pub(super) latencies: Histogram<u64>,
}

impl Pass {
    pub(super) fn new(idle_ms: &'static str, time_max: Duration) -> Self {
        let (cursor, began, latencies) = (START.to_owned(), Duration::ZERO, load::histogram());
        Self { idle_ms, time_max, cursor, began, asks: false, done: 0, latencies }
    }
}

impl Script for Pass {
    fn tick(&mut self, now: Duration, lines: &mut [Line]) -> Result<bool> {
        if self.asks {
            return Ok(false);
        }
        if self.cursor == START {
            if now >= self.time_max && self.done > 0 {
                return Ok(true);
            }
            self.began = now;
        }
        lines[0].push(&["XAUTOCLAIM", "s", "g", "other", self.idle_ms, &self.cursor]);
        self.asks = true;
        Ok(false)
    }

    fn reply(
        &mut self,
        _from: usize,
        reply: &Value<'_>,
        now: Duration,
        _lines: &mut [Line],
    ) -> Result<()> {
        let [cursor, claimed, ..] = reply.items() else {
            anyhow::bail!("XAUTOCLAIM answers {reply:?}");
        };
        ensure!(claimed.items().is_empty(), "something was claimed: {reply:?}");
        self.cursor = String::from_utf8_lossy(cursor.bytes()).into_owned();
        self.asks = false;
        if self.cursor == START {
            load::note(&mut self.latencies, self.began, now, 1);
            self.done += 1;
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        false
    }
}
