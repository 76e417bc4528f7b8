//! Consumers of a group: each reads, and acknowledges with its next read, in the same write.

use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use super::load::{self, Line, Script};
use super::wire::Value;

/// See the module.
pub(super) struct Group {
    /// Entries in a read.
    batch: String,
    /// XADD before each read, with this value.
    appends: u64,
    value: Vec<u8>,
    time_max: Duration,
    acknowledges: bool,
    /// The group of the reads, and whether it remembers nothing of them.
    of: &'static str,
    is_noack: bool,
    consumers: Vec<Consumer>,
    /// Entries that were read.
    pub(super) done: u64,
    pub(super) latencies: Histogram<u64>,
}

/// One connection.
#[derive(Clone, Debug, Default)]
struct Consumer {
    /// Replies that come before the one of the read under way.
    before: u64,
    /// When the read was sent; `None` while there is none.
    sent: Option<Duration>,
    /// Ids to acknowledge.
    ids: Vec<Vec<u8>>,
    is_over: bool,
}

impl Group {
    /// Reads until nothing is left; without `acknowledges` all stays pending.
    pub(super) fn drain(lines: usize, batch: u64, acknowledges: bool) -> Self {
        Self {
            batch: batch.to_string(),
            appends: 0,
            value: Vec::new(),
            time_max: Duration::MAX,
            acknowledges,
            of: "g",
            is_noack: false,
            consumers: vec![Consumer::default(); lines],
            done: 0,
            latencies: load::histogram(),
        }
    }

    /// Reads until nothing is left, in another group that remembers nothing.
    pub(super) fn look(group: &'static str, batch: u64) -> Self {
        Self { of: group, is_noack: true, ..Self::drain(1, batch, false) }
    }

    /// Appends, reads and acknowledges `batch` entries at a time until the time is over.
    pub(super) fn mixed(lines: usize, batch: u64, value_bytes: usize, time_max: Duration) -> Self {
        let value = vec![b'x'; value_bytes];
        Self { appends: batch, value, time_max, ..Self::drain(lines, batch, true) }
    }

    fn send(&mut self, index: usize, now: Duration, line: &mut Line) {
        let consumer = &mut self.consumers[index];
        consumer.before = self.appends;
        if !consumer.ids.is_empty() {
            let mut ack: Vec<&[u8]> = vec![b"XACK", b"s", b"g"];
            ack.extend(consumer.ids.iter().map(Vec::as_slice));
            line.push(&ack);
            consumer.before += 1;
        }
        consumer.ids.clear();
        consumer.sent = Some(now);
        for _ in 0..self.appends {
            line.push(&[b"XADD".as_slice(), b"s", b"*", b"f", &self.value]);
        }
        let name = format!("c{index}");
        let mut read = vec!["XREADGROUP", "GROUP", self.of, &name, "COUNT", &self.batch];
        read.extend(self.is_noack.then_some("NOACK"));
        read.extend(["STREAMS", "s", ">"]);
        line.push(&read);
    }
}

impl Script for Group {
    fn tick(&mut self, now: Duration, lines: &mut [Line]) -> Result<bool> {
        for (index, line) in lines.iter_mut().enumerate() {
            let consumer = &mut self.consumers[index];
            if consumer.sent.is_none() && !consumer.is_over {
                if now >= self.time_max {
                    consumer.is_over = true;
                } else {
                    self.send(index, now, line);
                }
            }
        }
        if now >= self.time_max {
            return Ok(self.consumers.iter().all(|one| one.sent.is_none()));
        }
        Ok(self.consumers.iter().all(|one| one.is_over))
    }

    fn reply(
        &mut self,
        from: usize,
        reply: &Value<'_>,
        now: Duration,
        _lines: &mut [Line],
    ) -> Result<()> {
        let consumer = &mut self.consumers[from];
        if consumer.before > 0 {
            consumer.before -= 1;
            return Ok(());
        }
        ensure!(matches!(reply, Value::Array(_) | Value::Nil), "XREADGROUP answers {reply:?}");
        let Some(sent) = consumer.sent.take() else {
            anyhow::bail!("a reply to no request");
        };
        load::note(&mut self.latencies, sent, now, 1);
        let mut count = 0;
        for (id, _) in reply.entries() {
            count += 1;
            if self.acknowledges {
                consumer.ids.push(id.to_vec());
            }
        }
        self.done += count;
        consumer.is_over = count == 0 && self.appends == 0;
        Ok(())
    }

    fn is_open(&self) -> bool {
        false
    }
}
