//! A block: a run of entries of one stream, encoded back to back.
//!
//! The last block of a stream, its tail, is appended to in memory; a sealed block is the same
//! bytes, never changed again. Bytes are self-describing, so that a block read from disk is checked
//! by one walk over its rows ([`Block::decode`]) and needs no table beside it:
//!
//! ```text
//! row    := head id fields
//! head   := one byte
//!             bit 0     the row starts a logical node (what `~` trims by)
//!             bit 1     same millisecond as the row before (never set in a restart row)
//!             bits 2..7 0..=60  schema of that number, values only
//!                       61      schema number in the next byte, values only
//!                       62      names inline, remembered under the next schema number
//!                       63      names inline, not remembered
//! id     := bit 1 set:    varint(seq - previous.seq - 1)
//!           otherwise:    varint(ms - previous.ms) varint(seq)
//! names  := varint n, (varint length, bytes) * n, then n values
//! value  := varint(length << 1) bytes | varint(zigzag << 1 | 1)
//! ```
//!
//! Every 16th row is a *restart row*: `previous` is the id of the first row, so that a reader can
//! begin there. The first row counts from `0-0`. Delta ids and schemas make the overhead of a
//! 100-byte value about four bytes.

use alloc::vec::Vec;

use smallvec::SmallVec;

use crate::{
    fields::{Fields, Value},
    id::StreamId,
    limits::BLOCK_BYTES,
    varint::{self, Reader},
};

/// Every how many rows a reader can begin.
const RESTART_ROWS: u32 = 16;
/// What a block that is in use grows to: a full one, and an entry of usual length.
const FULL_BYTES: usize = BLOCK_BYTES + 4096;
/// About what a row takes beside its names and values; a row that takes more makes room itself.
const ROW_BYTES_MIN: usize = 32;
/// Name lists that a block remembers.
const SCHEMAS_MAX: usize = 255;
/// Schema field of the head byte: number in the next byte, define, inline.
const SCHEMA_WIDE: u8 = 61;
const SCHEMA_DEFINE: u8 = 62;
const SCHEMA_INLINE: u8 = 63;

/// A run of encoded entries; see the module.
#[derive(Debug, Default)]
pub struct Block {
    rows: Vec<u8>,
    /// Where the restart rows behind the first stand.
    restarts: Vec<u32>,
    schemas: Schemas,
    base: StreamId,
    last: StreamId,
    count: u32,
    nodes: u32,
}

impl Clone for Block {
    /// With the room that it has: a tail is copied because it grows.
    fn clone(&self) -> Self {
        let mut rows = Vec::with_capacity(self.rows.capacity());
        rows.extend_from_slice(&self.rows);
        Self { rows, restarts: self.restarts.clone(), schemas: self.schemas.clone(), ..*self }
    }
}

impl PartialEq for Block {
    /// Everything else follows from the rows.
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

/// Most streams have one kind of event, or two: those stand in the block itself, as among many
/// streams every other place in memory is waited for.
type Schemas = SmallVec<[Schema; 2]>;

/// Where a remembered list of names stands in the rows.
#[derive(Clone, Copy, Debug)]
struct Schema {
    offset: u32,
    names: u32,
}

/// An entry in a block.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Position in the block, deleted rows counted.
    pub index: u32,
    /// The id of the entry.
    pub id: StreamId,
    /// Whether it starts a logical node.
    pub starts_node: bool,
    /// What the entry holds.
    pub fields: RowFields<'a>,
}

/// The fields of a row; [`RowFields::iter`] yields them in order.
#[derive(Clone, Copy, Debug)]
pub struct RowFields<'a> {
    bytes: &'a [u8],
    /// Where the names begin, if they stand apart; inline names stand right before the values.
    names_at: usize,
    values_at: usize,
    len: usize,
}

impl Block {
    /// An empty block.
    pub fn new() -> Self {
        Self::default()
    }

    /// Encoded bytes of all rows.
    pub fn bytes(&self) -> &[u8] {
        &self.rows
    }

    /// Reads where an append looks at the rows and where it writes; what it says is of no worth
    /// ([`crate::keyspace::Keyspace::warm`]).
    pub(crate) fn look_at_ends(&self) -> u8 {
        let names = self.schemas.last().and_then(|schema| self.rows.get(schema.offset as usize));
        names.copied().unwrap_or_default() ^ self.rows.last().copied().unwrap_or_default()
    }

    /// Memory that the block takes, tables included.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.rows.capacity()
            + self.restarts.capacity() * size_of::<u32>()
            + if self.schemas.spilled() { self.schemas.capacity() * size_of::<Schema>() } else { 0 }
    }

    /// Number of rows, deleted ones counted.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Number of logical nodes that begin here.
    pub fn nodes(&self) -> u32 {
        self.nodes
    }

    /// The id of the first row; `0-0` in an empty block.
    pub fn base(&self) -> StreamId {
        self.base
    }

    /// The id of the last row; `0-0` in an empty block.
    pub fn last(&self) -> StreamId {
        self.last
    }

    /// Gives back memory that an append had reserved.
    pub fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.restarts.shrink_to_fit();
        self.schemas.shrink_to_fit();
    }

    /// Adds an entry. `id` must be above [`Block::last`]: the stream has checked it.
    pub fn append(&mut self, id: StreamId, fields: &Fields<'_>, starts_node: bool) {
        assert!(self.count == 0 || id > self.last, "ids of a block increase");
        let restart = self.count.is_multiple_of(RESTART_ROWS);
        if restart && self.count > 0 {
            self.restarts.push(self.offset());
        }
        let previous = match self.count {
            0 => StreamId::MIN,
            _ if restart => self.base,
            _ => self.last,
        };
        let same_ms = !restart && id.ms == previous.ms;
        let (schema, known) = self.schema_for(fields);
        self.make_room(fields);
        self.rows
            .push(schema.min(SCHEMA_INLINE) << 2 | u8::from(same_ms) << 1 | u8::from(starts_node));
        if let Some(number) = known.filter(|_| schema == SCHEMA_WIDE) {
            self.rows.push(number);
        }
        if same_ms {
            varint::put_u64(&mut self.rows, id.seq - previous.seq - 1);
        } else {
            varint::put_u64(&mut self.rows, id.ms - previous.ms);
            varint::put_u64(&mut self.rows, id.seq);
        }
        if known.is_none() {
            self.put_names(fields, schema == SCHEMA_DEFINE);
        }
        for (_, value) in fields.iter() {
            Value::of(value).encode(&mut self.rows);
        }
        if self.count == 0 {
            self.base = id;
        }
        self.last = id;
        self.count += 1;
        self.nodes += u32::from(starts_node);
    }

    /// Makes room for a row. What is a quarter full will most likely be filled: then it grows once,
    /// and not beyond what a full block takes, where a copy is made and given back for each.
    fn make_room(&mut self, fields: &Fields<'_>) {
        let (len, held) = (self.rows.len(), self.rows.capacity());
        let needed = len + fields.bytes() + ROW_BYTES_MIN;
        if needed > held && held >= BLOCK_BYTES / 4 {
            self.rows.reserve_exact(needed.max(FULL_BYTES) - len);
        }
    }

    /// The row at `index`, or `None` behind the last.
    pub fn row(&self, index: u32) -> Option<Row<'_>> {
        self.rows(index).next()
    }

    /// The rows from `index` on.
    pub fn rows(&self, index: u32) -> Rows<'_> {
        let restart = (index / RESTART_ROWS).min(self.restart_count());
        let mut rows = Rows {
            block: self,
            at: self.restart_at(restart),
            index: restart * RESTART_ROWS,
            previous: self.base,
        };
        while rows.index < index && rows.next().is_some() {}
        rows
    }

    /// The index of the first row whose id is `id` or above; [`Block::count`] if there is none.
    pub fn lower_bound(&self, id: StreamId) -> u32 {
        let restart = self
            .restarts
            .partition_point(|at| self.row_at(*at as usize).is_some_and(|row| row.0 < id));
        let from = u32::try_from(restart).unwrap_or(u32::MAX / RESTART_ROWS) * RESTART_ROWS;
        self.rows(from).find(|row| row.id >= id).map_or(self.count, |row| row.index)
    }

    /// The row of exactly this id.
    pub fn find(&self, id: StreamId) -> Option<Row<'_>> {
        self.row(self.lower_bound(id)).filter(|row| row.id == id)
    }

    /// Rebuilds a block from the bytes of its rows, checking every one. `None` where they are not
    /// rows with increasing ids.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut block = Self::new();
        block.extend(bytes)?;
        Some(block)
    }

    /// Adds rows that were encoded behind the ones that are here (a tail is saved in pieces).
    /// `None` where they do not fit; the block is then unusable.
    pub fn extend(&mut self, bytes: &[u8]) -> Option<()> {
        let mut at = self.rows.len();
        self.rows.extend_from_slice(bytes);
        while at < self.rows.len() {
            let restart = self.count.is_multiple_of(RESTART_ROWS);
            let previous = match self.count {
                0 => StreamId::MIN,
                _ if restart => self.base,
                _ => self.last,
            };
            let head = *self.rows.get(at)?;
            if restart {
                if head & 2 != 0 {
                    return None;
                }
                let at = u32::try_from(at).ok()?;
                self.restarts.extend((at > 0).then_some(at));
            }
            if head >> 2 == SCHEMA_DEFINE {
                let schema = schema_at(&self.rows, at, head)?;
                self.schemas.push(schema);
            }
            let (id, fields, end) = self.parse(at, previous)?;
            let names_end = fields.skip_values()?;
            if end != names_end || self.count > 0 && id <= self.last {
                return None;
            }
            if self.count == 0 {
                self.base = id;
            }
            self.last = id;
            self.count += 1;
            self.nodes += u32::from(head & 1);
            at = end;
        }
        Some(())
    }

    /// Restart rows behind the first.
    fn restart_count(&self) -> u32 {
        u32::try_from(self.restarts.len()).expect("no more restarts than rows")
    }

    /// Where a restart row stands, counted from 0.
    fn restart_at(&self, restart: u32) -> usize {
        match restart.checked_sub(1) {
            None => 0,
            Some(behind) => {
                self.restarts.get(behind as usize).map_or(self.rows.len(), |at| *at as usize)
            }
        }
    }

    fn offset(&self) -> u32 {
        u32::try_from(self.rows.len()).expect("a block is bounded far below 4 GiB")
    }

    /// How the names of an entry are written: the schema field and the number of a known schema.
    fn schema_for(&self, fields: &Fields<'_>) -> (u8, Option<u8>) {
        // The last schema first: most streams have one kind of event, others come in runs.
        let known = self.schemas.iter().enumerate().rev().find(|(_, schema)| {
            let mut reader = Reader::at(&self.rows, schema.offset as usize);
            schema.names as usize == fields.len()
                && fields.iter().all(|(name, _)| reader.bytes() == Some(name))
        });
        match known {
            Some((number, _)) => {
                let number = u8::try_from(number).expect("at most 255 schemas");
                (number.min(SCHEMA_WIDE), Some(number))
            }
            None if self.schemas.len() < SCHEMAS_MAX => (SCHEMA_DEFINE, None),
            None => (SCHEMA_INLINE, None),
        }
    }

    fn put_names(&mut self, fields: &Fields<'_>, remember: bool) {
        varint::put_u64(&mut self.rows, fields.len() as u64);
        if remember {
            let names = u32::try_from(fields.len()).expect("arguments are bounded");
            self.schemas.push(Schema { offset: self.offset(), names });
        }
        for (name, _) in fields.iter() {
            varint::put_bytes(&mut self.rows, name);
        }
    }

    /// Id and end of the restart row at an offset.
    fn row_at(&self, at: usize) -> Option<(StreamId, usize)> {
        let previous = if at == 0 { StreamId::MIN } else { self.base };
        let mut reader = Reader::at(&self.rows, at);
        let head = reader.u8()?;
        if head >> 2 == SCHEMA_WIDE {
            reader.u8()?;
        }
        Some((read_id(&mut reader, head, previous)?, reader.position()))
    }

    /// Id, fields and end of the row at `at`.
    #[inline]
    fn parse(&self, at: usize, previous: StreamId) -> Option<(StreamId, RowFields<'_>, usize)> {
        let mut reader = Reader::at(&self.rows, at);
        let head = reader.u8()?;
        let schema = match head >> 2 {
            SCHEMA_WIDE => Some(*self.schemas.get(reader.u8()? as usize)?),
            SCHEMA_DEFINE | SCHEMA_INLINE => None,
            number => Some(*self.schemas.get(number as usize)?),
        };
        let id = read_id(&mut reader, head, previous)?;
        let (names_at, len) = if let Some(schema) = schema {
            (schema.offset as usize, schema.names as usize)
        } else {
            let len = reader.count()?;
            let names_at = reader.position();
            for _ in 0..len {
                reader.bytes()?;
            }
            (names_at, len)
        };
        let fields = RowFields { bytes: &self.rows, names_at, values_at: reader.position(), len };
        for _ in 0..len {
            Value::decode(&mut reader)?;
        }
        Some((id, fields, reader.position()))
    }
}

/// The schema that a defining row at `at` brings.
fn schema_at(rows: &[u8], at: usize, head: u8) -> Option<Schema> {
    let mut reader = Reader::at(rows, at + 1);
    read_id(&mut reader, head, StreamId::MIN)?;
    let names = u32::try_from(reader.count()?).ok()?;
    Some(Schema { offset: u32::try_from(reader.position()).ok()?, names })
}

#[inline]
fn read_id(reader: &mut Reader<'_>, head: u8, previous: StreamId) -> Option<StreamId> {
    if head & 2 != 0 {
        let seq = previous.seq.checked_add(reader.u64()?)?.checked_add(1)?;
        return Some(StreamId::new(previous.ms, seq));
    }
    Some(StreamId::new(previous.ms.checked_add(reader.u64()?)?, reader.u64()?))
}

/// See [`Block::rows`].
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    block: &'a Block,
    at: usize,
    index: u32,
    previous: StreamId,
}

impl<'a> Iterator for Rows<'a> {
    type Item = Row<'a>;

    #[inline]
    fn next(&mut self) -> Option<Row<'a>> {
        if self.index >= self.block.count {
            return None;
        }
        let previous = match self.index {
            0 => StreamId::MIN,
            index if index.is_multiple_of(RESTART_ROWS) => self.block.base,
            _ => self.previous,
        };
        let starts_node = self.block.rows.get(self.at)? & 1 == 1;
        let (id, fields, end) = self.block.parse(self.at, previous)?;
        let row = Row { index: self.index, id, starts_node, fields };
        self.at = end;
        self.index += 1;
        self.previous = id;
        Some(row)
    }
}

impl<'a> RowFields<'a> {
    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> + use<'a> {
        let mut names = Reader::at(self.bytes, self.names_at);
        let mut values = Reader::at(self.bytes, self.values_at);
        (0..self.len).map_while(move |_| Some((names.bytes()?, Value::decode(&mut values)?)))
    }

    /// Sum of the bytes of names and values, as [`Fields::bytes`].
    pub fn bytes(&self) -> u64 {
        let mut digits = Vec::new();
        let len = |(name, value): (&[u8], Value<'_>)| {
            digits.clear();
            if let Value::Integer(_) = value {
                value.append_to(&mut digits);
            }
            let len = if let Value::Bytes(bytes) = value { bytes.len() } else { digits.len() };
            (name.len() + len) as u64
        };
        self.iter().map(len).sum()
    }

    /// The pairs as owned bytes, for tests and tools.
    pub fn to_vec(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let owned = |(name, value): (&[u8], Value<'_>)| {
            let mut bytes = Vec::new();
            value.append_to(&mut bytes);
            (name.to_vec(), bytes)
        };
        self.iter().map(owned).collect()
    }

    /// Where the values end.
    fn skip_values(&self) -> Option<usize> {
        let mut values = Reader::at(self.bytes, self.values_at);
        for _ in 0..self.len {
            Value::decode(&mut values)?;
        }
        Some(values.position())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec};

    type Rows = Vec<(StreamId, Vec<(Vec<u8>, Vec<u8>)>)>;

    fn filled(rows: u64) -> (Block, Rows) {
        let mut block = Block::new();
        let mut expect = Vec::new();
        for n in 0..rows {
            let id = StreamId::new(1000 + n / 3 * 2, n % 3);
            let value = format!("{}", n * 37);
            // More than a head has room for, and each of them comes again.
            let name = format!("kind{}", n % 400);
            let pairs: Vec<&[u8]> = if n % 5 == 0 {
                vec![b"a", value.as_bytes(), name.as_bytes(), b"x"]
            } else {
                vec![b"a", value.as_bytes(), b"b", b"\0raw"]
            };
            block.append(id, &Fields::Arguments(&pairs), n % 10 == 0);
            let owned = pairs.chunks(2).map(|pair| (pair[0].to_vec(), pair[1].to_vec())).collect();
            expect.push((id, owned));
        }
        (block, expect)
    }

    #[test]
    fn rows_come_back_from_any_place() {
        let (block, expect) = filled(2000);
        assert_eq!(block.count() as usize, expect.len());
        for from in [0, 1, 15, 16, 17, 500, expect.len() - 1, expect.len()] {
            let rows: Vec<_> = block
                .rows(u32::try_from(from).expect("few"))
                .map(|r| (r.id, r.fields.to_vec()))
                .collect();
            assert_eq!(rows, expect[from..], "from {from}");
        }
    }

    #[test]
    fn finds_by_id() {
        let (block, expect) = filled(1000);
        for (index, (id, _)) in expect.iter().enumerate() {
            assert_eq!(block.find(*id).map(|row| row.index as usize), Some(index));
            assert_eq!(block.lower_bound(*id) as usize, index);
        }
        assert_eq!(block.lower_bound(StreamId::MIN), 0);
        assert_eq!(block.lower_bound(StreamId::MAX), block.count());
        assert!(block.find(StreamId::new(999, 0)).is_none());
        assert_eq!((block.base(), block.last()), (expect[0].0, expect[999].0));
    }

    #[test]
    fn memory_is_at_least_that_of_the_bytes_and_the_schemas() {
        let (mut block, _) = filled(500);
        block.shrink();
        let schemas = 80 * size_of::<Schema>();
        assert!(block.memory_bytes() >= size_of::<Block>() + block.bytes().len() + schemas);
    }

    #[test]
    fn a_full_block_has_little_more_room_than_it_takes() {
        let (mut block, value) = (Block::new(), [b'v'; 100]);
        let mut room = Vec::new();
        for n in 1.. {
            block.append(StreamId::new(n, 0), &Fields::Arguments(&[b"f", &value]), false);
            if room.last() != Some(&block.rows.capacity()) {
                room.push(block.rows.capacity());
            }
            if block.bytes().len() >= BLOCK_BYTES {
                break;
            }
        }
        assert_eq!(room.pop(), Some(FULL_BYTES));
        let before = room.pop().expect("it grew");
        assert!((BLOCK_BYTES / 4..BLOCK_BYTES / 2).contains(&before), "the last step is {before}");
        // What is longer than that has its room, too.
        let long = vec![b'v'; 2 * BLOCK_BYTES];
        block.append(StreamId::MAX, &Fields::Arguments(&[b"f", &long]), false);
        assert_eq!(block.find(StreamId::MAX).map(|row| row.fields.bytes()), Some(131_073));
    }

    #[test]
    fn decodes_its_own_bytes_whole_and_in_pieces() {
        let (block, expect) = filled(700);
        let whole = Block::decode(block.bytes()).expect("own bytes");
        let cut = block.rows(333).next().map(|_| block.restarts[19] as usize).expect("a row");
        let mut pieces = Block::decode(&block.bytes()[..cut]).expect("a prefix of rows");
        pieces.extend(&block.bytes()[cut..]).expect("the rest");
        for back in [whole, pieces] {
            let rows: Vec<_> = back.rows(0).map(|r| (r.id, r.fields.to_vec())).collect();
            assert_eq!(rows, expect);
            assert_eq!((back.nodes(), back.last()), (block.nodes(), block.last()));
        }
    }

    #[test]
    fn malformed_rows_are_refused() {
        let (block, _) = filled(40);
        for at in 0..block.bytes().len() - 1 {
            let _ = Block::decode(&block.bytes()[..at]);
            let mut flipped = block.bytes().to_vec();
            flipped[at] ^= 0x41;
            let _ = Block::decode(&flipped); // Either rows or None: never a panic.
        }
        assert!(Block::decode(&block.bytes()[..block.bytes().len() - 1]).is_none());
    }

    #[test]
    fn a_hundred_bytes_cost_about_four_more() {
        let mut block = Block::new();
        let value = [b'v'; 100];
        for n in 0..600 {
            let pairs: [&[u8]; 2] = [b"field", &value];
            let id = StreamId::new(1_700_000_000_000 + n / 4, n % 4);
            block.append(id, &Fields::Arguments(&pairs), n % 35 == 0);
        }
        assert!(block.bytes().len() <= 600 * 105, "{}", block.bytes().len());
    }
}
