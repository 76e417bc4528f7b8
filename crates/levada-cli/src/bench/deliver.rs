//! From XADD to the readers that wait: by XREADGROUP, each message to one of them, or by XREAD,
//! each message to all. Line 0 appends at a rate; the time at which a message was due is its value.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;

use super::append::due_at;
use super::load::{self, Line, Script};
use super::wire::Value;

/// How long messages may stay out after the last one was sent.
const REST_MAX: Duration = Duration::from_secs(20);

/// See the module.
pub(super) struct Deliver {
    rate: u32,
    count: u64,
    is_fanout: bool,
    padding: Vec<u8>,
    /// Whether the readers have been told to wait.
    has_begun: bool,
    sent: u64,
    /// Replies to XADD, and deliveries.
    appended: u64,
    pub(super) done: u64,
    /// Per line: replies of XACK that come before the one of the read.
    before: Vec<u64>,
    pub(super) latencies: Histogram<u64>,
}

impl Deliver {
    pub(super) fn new(
        lines: usize,
        rate: u32,
        time: Duration,
        is_fanout: bool,
        value_bytes: usize,
    ) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate times seconds is positive and far below 2^63"
        )]
        let count = (f64::from(rate) * time.as_secs_f64()) as u64;
        Self {
            rate,
            count: count.max(1),
            is_fanout,
            padding: vec![b'x'; value_bytes.saturating_sub(20)],
            has_begun: false,
            sent: 0,
            appended: 0,
            done: 0,
            before: vec![0; lines],
            latencies: load::histogram(),
        }
    }

    /// Reads on behind `last`.
    fn read(&self, index: usize, last: &[u8], line: &mut Line) {
        if self.is_fanout {
            line.push(&[b"XREAD".as_slice(), b"BLOCK", b"0", b"STREAMS", b"s", last]);
            return;
        }
        let name = format!("c{index}");
        let read = ["XREADGROUP", "GROUP", "g", &name, "BLOCK", "0", "STREAMS", "s", ">"];
        line.push(&read);
    }

    fn deliveries(&self, lines: &[Line]) -> u64 {
        let readers = lines.len() as u64 - 1;
        self.count * if self.is_fanout { readers } else { 1 }
    }
}

/// Messages are due from here on, when all readers wait.
const LEAD: Duration = Duration::from_millis(300);

impl Script for Deliver {
    fn tick(&mut self, now: Duration, lines: &mut [Line]) -> Result<bool> {
        if now < LEAD {
            if !std::mem::replace(&mut self.has_begun, true) {
                for (index, line) in lines.iter_mut().enumerate().skip(1) {
                    self.read(index, b"0", line);
                }
            }
            return Ok(false);
        }
        while self.sent < self.count && LEAD + due_at(self.sent, self.rate) <= now {
            let due = LEAD + due_at(self.sent, self.rate);
            let mut value = format!("{:020}", due.as_nanos()).into_bytes();
            value.extend_from_slice(&self.padding);
            lines[0].push(&[b"XADD".as_slice(), b"s", b"*", b"f", &value]);
            self.sent += 1;
        }
        let last = LEAD + due_at(self.count, self.rate);
        let all = self.deliveries(lines);
        ensure!(now < last + REST_MAX, "{} of {all} messages were delivered", self.done);
        Ok(self.appended == self.count && self.done == all)
    }

    fn reply(
        &mut self,
        from: usize,
        reply: &Value<'_>,
        now: Duration,
        lines: &mut [Line],
    ) -> Result<()> {
        if from == 0 {
            self.appended += 1;
            return Ok(());
        }
        if self.before[from] > 0 {
            self.before[from] -= 1;
            return Ok(());
        }
        let mut ack: Vec<&[u8]> = vec![b"XACK", b"s", b"g"];
        for (id, value) in reply.entries() {
            let due = value.get(..20).and_then(|digits| std::str::from_utf8(digits).ok());
            let due = due.and_then(|due| due.parse().ok()).context("a message of others")?;
            load::note(&mut self.latencies, Duration::from_nanos(due), now, 1);
            self.done += 1;
            ack.push(id);
        }
        ensure!(ack.len() > 3, "a blocked reader was answered {reply:?}");
        if !self.is_fanout {
            lines[from].push(&ack);
            self.before[from] += 1;
        }
        let last = ack[ack.len() - 1];
        self.read(from, last, &mut lines[from]);
        Ok(())
    }

    fn is_open(&self) -> bool {
        true
    }
}
