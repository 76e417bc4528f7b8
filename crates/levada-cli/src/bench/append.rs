//! XADD, to one stream or to many in turn; as soon as the replies are there, or at a rate.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use super::load::{self, Line, Script};
use super::value::Values;
use super::wire::{self, Value};

/// What is appended, and how.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) streams: u64,
    pub(super) value_bytes: usize,
    /// Requests in one write.
    pub(super) pipeline: u64,
    /// Requests a second; `None` sends when all replies of a line are there.
    pub(super) rate: Option<u32>,
    /// Ends after this time, or after so many requests.
    pub(super) time_max: Duration,
    pub(super) count_max: u64,
}

/// See the module.
pub(super) struct Append {
    plan: Plan,
    /// The request to each stream, encoded once up to its value.
    heads: Vec<Vec<u8>>,
    values: Values,
    sent: u64,
    pub(super) done: u64,
    /// Per line: when its requests were due, and how many of that time are unanswered.
    due: Vec<VecDeque<(Duration, u64)>>,
    pub(super) latencies: Histogram<u64>,
}

impl Append {
    pub(super) fn new(plan: Plan, lines: usize) -> Self {
        let head = |number: u64| {
            let key = if plan.streams == 1 { "s".to_owned() } else { format!("s{number}") };
            let mut head = Vec::new();
            wire::push_head(&mut head, &["XADD", &key, "*", "f"], plan.value_bytes);
            head
        };
        let heads = (0..plan.streams).map(head).collect();
        Self {
            heads,
            values: Values::new(plan.value_bytes),
            plan,
            sent: 0,
            done: 0,
            due: vec![VecDeque::new(); lines],
            latencies: load::histogram(),
        }
    }

    fn send(&mut self, line: &mut Line) {
        let stream = self.sent % self.plan.streams;
        let head = &self.heads[usize::try_from(stream).expect("below the count of heads")];
        line.push_encoded(head, self.values.of(self.sent));
        self.sent += 1;
    }

    fn is_over(&self, now: Duration) -> bool {
        now >= self.plan.time_max || self.sent >= self.plan.count_max
    }
}

impl Script for Append {
    fn tick(&mut self, now: Duration, lines: &mut [Line]) -> Result<bool> {
        if self.is_over(now) {
            return Ok(self.done == self.sent);
        }
        if let Some(rate) = self.plan.rate {
            let count = lines.len() as u64;
            while !self.is_over(now) && due_at(self.sent, rate) <= now {
                let at = due_at(self.sent, rate);
                let line = usize::try_from(self.sent % count).expect("below the count of lines");
                self.due[line].push_back((at, 1));
                self.send(&mut lines[line]);
            }
            return Ok(false);
        }
        for (index, line) in lines.iter_mut().enumerate() {
            if !self.due[index].is_empty() {
                continue;
            }
            let batch = self.plan.pipeline.min(self.plan.count_max - self.sent);
            if batch == 0 {
                break;
            }
            for _ in 0..batch {
                self.send(line);
            }
            self.due[index].push_back((now, batch));
        }
        Ok(false)
    }

    fn reply(
        &mut self,
        from: usize,
        reply: &Value<'_>,
        now: Duration,
        _lines: &mut [Line],
    ) -> Result<()> {
        ensure!(matches!(reply, Value::Text(_)), "XADD answers {reply:?}");
        let queue = &mut self.due[from];
        let Some((due, left)) = queue.front_mut() else {
            anyhow::bail!("a reply to no request");
        };
        load::note(&mut self.latencies, *due, now, 1);
        *left -= 1;
        if *left == 0 {
            queue.pop_front();
        }
        self.done += 1;
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.plan.rate.is_some()
    }
}

/// When the request of this number is due at a rate.
pub(super) fn due_at(number: u64, rate: u32) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
