//! Entries of a reply, written block by block.
//!
//! The core answers where entries stand; their bytes are pulled here, as the buffer has room, so
//! that a reply of any length needs little memory. The header with their number has been written
//! before: exactly `count` entries follow it, or the connection ends.

use std::collections::VecDeque;

use levada_core::bitmap::Bitmap;
use levada_core::block::{Block, Row};
use levada_core::fields::Value;
use levada_core::id::StreamId;
use levada_core::keyspace::KeyNumber;
use levada_core::reply::{Entries, Part};
use levada_resp::{Protocol, Writer};

use levada_engine::shard::BlockHere;

use crate::engine::BlockAccess;

/// Where blocks come from.
pub(crate) trait Source {
    /// A block, or why not.
    fn block(&mut self, key: KeyNumber, number: u64) -> BlockAccess<'_>;
}

/// What a call of [`Cursor::draw`] came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Drawn {
    /// Every entry is written.
    All,
    /// The limit was reached in between.
    Some,
    /// A block is being read.
    Reading,
    /// A block is no longer there.
    Gone,
    /// A block is damaged.
    Corrupt(StreamId, StreamId),
}

/// What is enough for a call of [`Cursor::draw`]; it writes one entry at least.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// Bytes in the buffer.
    pub(crate) bytes_max: usize,
    /// Entries: small ones take more time than their bytes say.
    pub(crate) rows_max: usize,
}

/// Rows that are read at once where they are written from the last one on: a block is read from
/// its front, and a slice of a reply should not read all of it.
const REVERSED_ROWS: u32 = 64;

/// How far a reply is written.
#[derive(Debug)]
pub(crate) struct Cursor {
    key: KeyNumber,
    reverse: bool,
    parts: VecDeque<Part>,
}

impl Cursor {
    pub(crate) fn new(entries: Entries) -> Self {
        Self { key: entries.key, reverse: entries.reverse, parts: entries.parts.into() }
    }

    /// Whose entries they are.
    pub(crate) fn key(&self) -> KeyNumber {
        self.key
    }

    /// The blocks of those that are not written.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = u64> {
        self.parts.iter().filter_map(Part::block)
    }

    /// Writes entries until there are enough.
    pub(crate) fn draw(
        &mut self,
        out: &mut Vec<u8>,
        protocol: Protocol,
        limit: Limit,
        source: &mut dyn Source,
    ) -> Drawn {
        let mut rows = 0;
        let mut is_enough = |out: &Vec<u8>| {
            rows += 1;
            rows >= limit.rows_max || out.len() > limit.bytes_max
        };
        while let Some(part) = self.parts.front_mut() {
            let (block, first, end, dead) = match part {
                Part::Deleted(id) => {
                    let mut writer = Writer::new(out, protocol);
                    writer.array(2);
                    writer.bulk_id(id.ms, id.seq);
                    writer.null_array();
                    self.parts.pop_front();
                    if is_enough(out) {
                        return Drawn::Some;
                    }
                    continue;
                }
                Part::Delivery { block, row, idle_ms, count } => {
                    let (row, delivery) = (*row, Some((*idle_ms, *count)));
                    let block = match here(source.block(self.key, *block)) {
                        Ok(block) => block,
                        Err(drawn) => return drawn,
                    };
                    let Some(row) = block.row(row) else {
                        return Drawn::Gone;
                    };
                    put_row(out, protocol, &row, delivery);
                    self.parts.pop_front();
                    if is_enough(out) {
                        return Drawn::Some;
                    }
                    continue;
                }
                Part::Rows { block, first, end, dead } => (*block, first, end, dead),
            };
            let block = match here(source.block(self.key, block)) {
                Ok(block) => block,
                Err(drawn) => return drawn,
            };
            let rows = Rows { first, end, dead: dead.as_deref() };
            let put = |row: &Row<'_>| {
                put_row(out, protocol, row, None);
                is_enough(out)
            };
            let is_full = match self.reverse {
                true => rows.put_reversed(&block, put),
                false => rows.put(&block, put),
            };
            if is_full {
                return Drawn::Some;
            }
            self.parts.pop_front();
        }
        Drawn::All
    }
}

/// Rows of a block that are to be written, and those of them that are dead.
struct Rows<'a> {
    first: &'a mut u32,
    end: &'a mut u32,
    dead: Option<&'a Bitmap>,
}

impl Rows<'_> {
    /// Writes them until `put` says that it is enough; whether it has said so.
    fn put(self, block: &Block, mut put: impl FnMut(&Row<'_>) -> bool) -> bool {
        for row in block.rows(*self.first).take_while(|row| row.index < *self.end) {
            *self.first = row.index + 1;
            if !self.is_dead(row.index) && put(&row) {
                return true;
            }
        }
        false
    }

    /// The same from the last one on.
    fn put_reversed(self, block: &Block, mut put: impl FnMut(&Row<'_>) -> bool) -> bool {
        while *self.first < *self.end {
            let from = (*self.first).max(self.end.saturating_sub(REVERSED_ROWS));
            let rows: Vec<_> = block.rows(from).take_while(|row| row.index < *self.end).collect();
            for row in rows.iter().rev() {
                *self.end = row.index;
                if !self.is_dead(row.index) && put(row) {
                    return true;
                }
            }
            *self.end = from;
        }
        false
    }

    fn is_dead(&self, row: u32) -> bool {
        self.dead.is_some_and(|dead| dead.contains(row))
    }
}

/// The block, or what drawing comes to without it.
fn here(access: BlockAccess<'_>) -> Result<BlockHere<'_>, Drawn> {
    match access {
        BlockAccess::Here(block) => Ok(block),
        BlockAccess::Reading => Err(Drawn::Reading),
        BlockAccess::Gone => Err(Drawn::Gone),
        BlockAccess::Corrupt { first, last } => Err(Drawn::Corrupt(first, last)),
    }
}

/// One entry: `[id, [name, value, ...]]`, and behind it how its delivery stood, where that is
/// asked for: milliseconds since the last one, number of those before.
fn put_row(out: &mut Vec<u8>, protocol: Protocol, row: &Row<'_>, delivery: Option<(u64, u64)>) {
    let mut writer = Writer::new(out, protocol);
    writer.array(if delivery.is_some() { 4 } else { 2 });
    writer.bulk_id(row.id.ms, row.id.seq);
    writer.array(row.fields.len() * 2);
    for (name, value) in row.fields.iter() {
        writer.bulk(name);
        match value {
            Value::Bytes(bytes) => writer.bulk(bytes),
            Value::Integer(number) => writer.bulk_integer(number),
        }
    }
    for number in delivery.into_iter().flat_map(|(idle_ms, count)| [idle_ms, count]) {
        writer.integer(i64::try_from(number).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use levada_core::fields::Fields;
    use std::sync::Arc;

    struct One(Block);

    impl Source for One {
        fn block(&mut self, _: KeyNumber, number: u64) -> BlockAccess<'_> {
            match number {
                0 => BlockAccess::Here(BlockHere::Tail(&self.0)),
                _ => BlockAccess::Reading,
            }
        }
    }

    fn block(rows: u64) -> One {
        let mut block = Block::new();
        for seq in 0..rows {
            block.append(StreamId::new(1, seq), &Fields::Arguments(&[b"n", b"7"]), false);
        }
        One(block)
    }

    fn rows(first: u32, end: u32, reverse: bool, dead: &[u32]) -> Cursor {
        let mut bitmap = Bitmap::default();
        for row in dead {
            bitmap.insert(*row);
        }
        Cursor::new(Entries {
            key: KeyNumber(1),
            count: 0,
            reverse,
            parts: vec![Part::Rows { block: 0, first, end, dead: Some(Arc::new(bitmap)) }],
        })
    }

    /// The sequence numbers of the ids in what was written.
    fn ids(out: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(out).into_owned();
        text.lines().filter_map(|line| line.strip_prefix("1-")).map(str::to_owned).collect()
    }

    #[test]
    fn rows_come_in_order_without_the_dead_however_they_are_cut() {
        let check = |reverse: bool, limit: Limit, expect: &[&str]| {
            let mut source = block(40);
            let mut cursor = rows(17, 22, reverse, &[18, 20]);
            let mut all = Vec::new();
            for _ in 0..10 {
                let mut out = Vec::new();
                let drawn = cursor.draw(&mut out, Protocol::Resp2, limit, &mut source);
                assert!(ids(&out).len() <= limit.rows_max, "{limit:?}");
                all.extend(out);
                if drawn == Drawn::All {
                    break;
                }
            }
            assert_eq!(ids(&all), expect, "{reverse} {limit:?}");
        };
        for (bytes_max, rows_max) in [(0, usize::MAX), (1000, usize::MAX), (1000, 1), (1000, 2)] {
            let limit = Limit { bytes_max, rows_max };
            check(false, limit, &["17", "19", "21"]);
            check(true, limit, &["21", "19", "17"]);
        }
    }

    #[test]
    fn many_rows_come_from_the_last_one_on() {
        let count = 3 * REVERSED_ROWS + 5;
        let (mut source, mut cursor) = (block(u64::from(count)), rows(2, count, true, &[]));
        let (mut out, limit) = (Vec::new(), Limit { bytes_max: usize::MAX, rows_max: 100 });
        while cursor.draw(&mut out, Protocol::Resp2, limit, &mut source) != Drawn::All {}
        let expect: Vec<_> = (2..count).rev().map(|row| row.to_string()).collect();
        assert_eq!(ids(&out), expect);
    }

    #[test]
    fn a_missing_block_is_waited_for() {
        let mut cursor = Cursor::new(Entries {
            key: KeyNumber(1),
            count: 1,
            reverse: false,
            parts: vec![Part::Rows { block: 1, first: 0, end: 1, dead: None }],
        });
        let mut out = Vec::new();
        let limit = Limit { bytes_max: 1000, rows_max: 1000 };
        let drawn = cursor.draw(&mut out, Protocol::Resp2, limit, &mut block(1));
        assert_eq!((drawn, out.len()), (Drawn::Reading, 0));
    }
}
