//! MAXCOUNT and MAXSIZE: what is left for the rest of a read (Redis 8.10).
//!
//! A reply is measured as RESP writes it, but for the headers of its lists, which are taken as
//! small ones: the figure may be short by some bytes for each stream. The first entry is always
//! admitted, so that a read makes progress however small its bound.

use super::{Context, Refusal};
use crate::{
    block::Row,
    command::ReadMost,
    fields::Value,
    id::StreamId,
    reply::{Entries, Part},
    stream::Stream,
};

/// A list's header, at its smallest.
const LIST_BYTES: u64 = 4;
/// Idle time and delivery count of an entry that has them, at their smallest.
const DELIVERY_BYTES: u64 = 8;

/// See the module.
pub(super) struct Budget {
    entries: u64,
    bytes: Option<u64>,
    /// Whether nothing was admitted yet.
    is_first: bool,
}

impl Budget {
    pub(super) fn new(most: ReadMost) -> Self {
        Self { entries: most.entries.unwrap_or(u64::MAX), bytes: most.bytes, is_first: true }
    }

    /// Whether nothing more is admitted.
    pub(super) fn is_spent(&self) -> bool {
        self.entries == 0 || (self.bytes == Some(0) && !self.is_first)
    }

    /// How many entries of one stream may be looked for, where COUNT allows so many.
    pub(super) fn count(&self, count: Option<u64>) -> u64 {
        count.unwrap_or(u64::MAX).min(self.entries)
    }

    /// The reply goes on with a stream of this name.
    pub(super) fn begin_stream(&mut self, name: &[u8]) {
        self.bytes = self
            .bytes
            .map(|left| left.saturating_sub(2 * LIST_BYTES + bulk_bytes(name.len() as u64)));
    }

    /// The first of these entries, as many as are admitted.
    pub(super) fn take(
        &mut self,
        context: Context<'_>,
        stream: &Stream,
        mut entries: Entries,
        with_delivery: bool,
    ) -> Result<Entries, Refusal> {
        if self.bytes.is_none() {
            // Their number was bounded when they were collected.
            self.entries = self.entries.saturating_sub(entries.count);
            return Ok(entries);
        }
        let more = if with_delivery { DELIVERY_BYTES } else { 0 };
        let mut admitted = 0;
        let mut whole = 0;
        for part in &mut entries.parts {
            let before = admitted;
            match part {
                Part::Deleted(id) => {
                    admitted += u64::from(self.admit(2 * LIST_BYTES + id_bytes(*id)));
                }
                Part::Delivery { block, row, .. } => {
                    let block = context.block(entries.key, stream, *block)?;
                    let bytes = block.row(*row).map_or(0, |row| row_bytes(&row));
                    admitted += u64::from(self.admit(bytes + more));
                }
                Part::Rows { block, first, end, dead } => {
                    let block = context.block(entries.key, stream, *block)?;
                    let live = |row: &Row<'_>| {
                        row.index < *end
                            && dead.as_ref().is_none_or(|dead| !dead.contains(row.index))
                    };
                    let cut = block.rows(*first).filter(live).find(|row| {
                        let fits = self.admit(row_bytes(row) + more);
                        admitted += u64::from(fits);
                        !fits
                    });
                    if let Some(row) = cut {
                        *end = row.index;
                    }
                }
            }
            whole += usize::from(admitted > before);
            if self.is_spent() {
                break;
            }
        }
        entries.parts.truncate(whole);
        entries.count = admitted;
        Ok(entries)
    }

    /// Whether an entry of so many bytes is part of the reply; behind one that is not, none is.
    fn admit(&mut self, bytes: u64) -> bool {
        let fits = self.is_first || self.bytes.is_none_or(|left| bytes <= left);
        if self.entries == 0 || !fits {
            self.bytes = self.bytes.map(|_| 0);
            return false;
        }
        self.is_first = false;
        self.entries -= 1;
        self.bytes = self.bytes.map(|left| left.saturating_sub(bytes));
        true
    }
}

fn row_bytes(row: &Row<'_>) -> u64 {
    let pair = |(name, value): (&[u8], Value<'_>)| {
        let value = match value {
            Value::Bytes(bytes) => bytes.len() as u64,
            Value::Integer(number) => digits(number.unsigned_abs()) + u64::from(number < 0),
        };
        bulk_bytes(name.len() as u64) + bulk_bytes(value)
    };
    2 * LIST_BYTES + id_bytes(row.id) + row.fields.iter().map(pair).sum::<u64>()
}

fn id_bytes(id: StreamId) -> u64 {
    bulk_bytes(digits(id.ms) + 1 + digits(id.seq))
}

/// `$5\r\nhello\r\n`
fn bulk_bytes(len: u64) -> u64 {
    5 + digits(len) + len
}

fn digits(number: u64) -> u64 {
    u64::from(number.checked_ilog10().unwrap_or(0)) + 1
}
