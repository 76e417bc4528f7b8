//! A stream: sealed blocks by index, the tail in memory, groups.
//!
//! Invariants, asserted where they could break: ids increase; the length is the sum of the live
//! rows of all blocks; the first block, unless it is the tail, has a live row at or above the
//! floor. Blocks are numbered from 0 without gaps, the tail being the last.

use alloc::{sync::Arc, vec::Vec};

use crate::{
    bitmap::Bitmap,
    block::Block,
    dedup::DedupLimits,
    fields::Fields,
    group::Group,
    id::StreamId,
    idempotence::Idempotence,
    index::{self, BlockMeta, Index},
    policy::{HeldPolicy, StreamPolicy},
    redriven::Redriven,
    registry::Registry,
    restored::RestoredStream,
    schedule::{Due, Schedule},
    varint::{self, Reader},
};

/// A stream; see the module.
#[derive(Clone, Default, Debug)]
pub struct Stream {
    /// The last id ever given out.
    pub last_id: StreamId,
    /// Entries ever added.
    pub entries_added: u64,
    /// The largest id ever deleted by XDEL and kin.
    pub max_deleted_id: StreamId,
    /// Ids up to this one may have been given out twice: XSETID went back from it. `0-0` if none.
    pub(crate) reissued: StreamId,
    /// Consumer groups.
    pub groups: Registry<Arc<Group>>,
    /// What the server does with it by itself.
    pub policy: HeldPolicy,
    /// Whether it, or a group of it, has or had a policy: only then time does anything to it.
    is_tended: bool,
    /// Entries that groups skipped which are gone, under RETENTION ACKED.
    pub released_unread: u64,
    /// Entries that only one group is given.
    pub redriven: Redriven,
    /// Idempotent producers.
    pub idempotence: Idempotence,
    /// What is scheduled in it for another one, if it ever was a schedule.
    schedule: Option<Arc<Schedule>>,
    length: u64,
    index: Index,
    tail: Tail,
    /// Rows of the first block below this one are trimmed.
    floor: u32,
    /// The logical node that the next entry may join.
    node: OpenNode,
    /// How much of the tail the last checkpoint holds: block number and bytes.
    pub(crate) saved_tail: Option<(u64, usize)>,
}

/// The block that grows.
#[derive(Clone, Default, Debug)]
struct Tail {
    block: Block,
    live: u32,
    dead: Option<Arc<Bitmap>>,
    appended_ms: u64,
}

/// The last logical node: what `~` trims by; see `docs/format.md`.
#[derive(Clone, Copy, Default, Debug)]
struct OpenNode {
    entries: u64,
    bytes: u64,
}

/// When a logical node is full: Redis' stream-node-max-entries and stream-node-max-bytes, 0 for no
/// limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeLimits {
    /// Entries appended to it, deleted or not.
    pub entries: u64,
    /// Bytes of its fields and values.
    pub bytes: u64,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self { entries: 100, bytes: 4096 }
    }
}

/// Facts about any block of a stream, the tail included.
#[derive(Clone, Copy, Debug)]
pub struct Meta<'a> {
    /// Its number.
    pub number: u64,
    /// Id of its first row.
    pub base: StreamId,
    /// Rows.
    pub count: u32,
    /// The first row that is not trimmed.
    pub first_row: u32,
    /// Live rows.
    pub live: u32,
    /// Deleted rows.
    pub dead: Option<&'a Arc<Bitmap>>,
}

impl Meta<'_> {
    /// Whether a row is there.
    pub fn is_live(&self, row: u32) -> bool {
        row >= self.first_row
            && row < self.count
            && self.dead.is_none_or(|dead| !dead.contains(row))
    }

    /// Live rows before `end`.
    pub fn live_before(&self, end: u32) -> u32 {
        let end = end.min(self.count);
        let dead = self.dead.map_or(0, |dead| dead.count(self.first_row, end));
        end.saturating_sub(self.first_row) - dead
    }

    /// The row after the `n`-th live one, counted from the first (from the last, backwards, the
    /// `n`-th live row itself, with `reverse`), within `first..end`.
    pub fn after_live(&self, first: u32, end: u32, n: u64, reverse: bool) -> u32 {
        let take = usize::try_from(n).unwrap_or(usize::MAX);
        if self.dead.is_none() {
            let n = u32::try_from(n).unwrap_or(u32::MAX);
            return if reverse {
                end.saturating_sub(n).max(first)
            } else {
                first.saturating_add(n).min(end)
            };
        }
        let live = |row: &u32| self.is_live(*row);
        if reverse {
            (first..end).rev().filter(live).take(take).last().unwrap_or(end)
        } else {
            (first..end).filter(live).take(take).last().map_or(first, |row| row + 1)
        }
    }
}

impl Stream {
    /// Whether time may do something to it: it has, or a group has or had, a policy.
    pub fn is_tended(&self) -> bool {
        self.is_tended
    }

    /// Says that a policy is at work in one of the groups.
    pub(crate) fn tend(&mut self) {
        self.is_tended = true;
    }

    /// Gives it a policy.
    pub(crate) fn set_policy(&mut self, policy: StreamPolicy) {
        self.policy = policy.into();
        self.tend();
    }

    /// Idempotent ids that DEDUP-MAX allows; 0 where Redis' limits hold.
    pub fn dedup_ids_max(&self) -> u64 {
        DedupLimits::of(&self.policy).map_or(0, |limits| limits.ids_max)
    }

    /// What is scheduled in it; `None` where nothing ever was.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_deref()
    }

    /// The same, to be changed.
    pub(crate) fn schedule_mut(&mut self) -> &mut Schedule {
        Arc::make_mut(self.schedule.get_or_insert_default())
    }

    /// Takes an entry out of the schedule; nothing where it is not there.
    pub(crate) fn unschedule(&mut self, position: u64, due: Due) {
        self.schedule_mut().remove(position, due);
    }

    /// What a checkpoint knows of it.
    pub(crate) fn set_schedule(&mut self, schedule: Schedule) {
        self.schedule = Some(Arc::new(schedule));
    }

    /// Live entries.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether no entry is live.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Number of logical nodes.
    pub fn nodes(&self) -> u64 {
        let sealed: u64 = self.index.iter().map(|meta| u64::from(meta.nodes)).sum();
        sealed + u64::from(self.tail.block.nodes())
    }

    /// Number of the first block.
    pub fn first_block(&self) -> u64 {
        if self.index.is_empty() { self.tail_number() } else { self.index.first() }
    }

    /// Number of the last block, the one in memory.
    pub fn tail_number(&self) -> u64 {
        self.index.end()
    }

    /// The last block.
    pub fn tail(&self) -> &Block {
        &self.tail.block
    }

    /// Encoded bytes of all blocks.
    pub fn bytes(&self) -> u64 {
        self.sealed_bytes() + self.tail.block.bytes().len() as u64
    }

    /// Encoded bytes of the sealed blocks.
    pub fn sealed_bytes(&self) -> u64 {
        self.index.iter().map(|meta| u64::from(meta.bytes)).sum()
    }

    /// Memory that the stream takes, cached blocks apart, by the sizes of its parts.
    pub fn memory_bytes(&self) -> usize {
        let groups: usize =
            self.groups.iter().map(|(name, _, group)| name.len() + group.memory_bytes()).sum();
        let index =
            usize::try_from(self.index.len()).unwrap_or(usize::MAX) * size_of::<BlockMeta>();
        size_of::<Self>()
            + self.tail.block.memory_bytes()
            + index
            + groups
            + self.idempotence.memory_bytes()
            + self.schedule().map_or(0, Schedule::memory_bytes)
    }

    /// Facts about a block.
    pub fn meta(&self, number: u64) -> Option<Meta<'_>> {
        let first_row = if number == self.first_block() { self.floor } else { 0 };
        if number == self.tail_number() {
            let Tail { block, live, dead, .. } = &self.tail;
            let (base, count) = (block.base(), block.count());
            return Some(Meta { number, base, count, first_row, live: *live, dead: dead.as_ref() });
        }
        let BlockMeta { base, count, live, dead, .. } = self.index.get(number)?;
        let (base, count, live) = (*base, *count, *live);
        Some(Meta { number, base, count, first_row, live, dead: dead.as_ref() })
    }

    /// When the last row of a block was appended, in unix milliseconds; 0 where there is none.
    pub fn appended_ms(&self, number: u64) -> u64 {
        match self.index.get(number) {
            Some(meta) => meta.appended_ms,
            None => self.tail.appended_ms,
        }
    }

    /// Encoded bytes of a block.
    pub fn block_bytes(&self, number: u64) -> u64 {
        let tail = || self.tail.block.bytes().len() as u64;
        self.index.get(number).map_or_else(tail, |meta| u64::from(meta.bytes))
    }

    /// The block in which the first entry of `id` or above stands, if there is one: the last block
    /// that begins at or below it, else the first.
    pub fn seek(&self, id: StreamId) -> u64 {
        if self.tail.block.count() > 0 && self.tail.block.base() <= id {
            return self.tail_number();
        }
        self.index.find(id).unwrap_or_else(|| self.first_block())
    }

    /// An id below which all entries from `id` on are there that ever were, as far as the index
    /// tells; `id` itself where it tells nothing. A step for each 256 blocks.
    pub fn whole_until(&self, id: StreamId) -> StreamId {
        let from = self.seek(id);
        // XSETID may have gone back: then ids that were never given out stand among the others.
        let is_known = id > self.reissued && self.meta(from).is_some_and(|meta| id >= meta.base);
        if !is_known {
            return id;
        }
        let broken = self.index.first_broken(from).max(from);
        match self.meta(broken).filter(|meta| meta.live < meta.count) {
            Some(meta) => meta.base.max(id),
            None => self.last_id.next().unwrap_or(StreamId::MAX).max(id),
        }
    }

    /// The ids that a block may hold: from its first to below the first of the next block.
    pub fn id_range(&self, number: u64) -> (StreamId, StreamId) {
        let base = |number| self.meta(number).filter(|meta| meta.count > 0).map(|meta| meta.base);
        let last = base(number + 1).and_then(StreamId::previous).unwrap_or(self.last_id);
        (base(number).unwrap_or_default(), last)
    }

    /// Whether the next entry starts a logical node: the last one is full by what is in it.
    pub fn starts_node(&self, limits: NodeLimits) -> bool {
        let OpenNode { entries, bytes } = self.node;
        entries == 0
            || (limits.entries > 0 && entries >= limits.entries)
            || (limits.bytes > 0 && bytes >= limits.bytes)
    }

    /// Whether the tail is full and is sealed before another entry goes in.
    pub fn is_tail_full(&self) -> bool {
        self.tail.block.bytes().len() >= crate::limits::BLOCK_BYTES
            || self.tail.block.count() >= crate::limits::BLOCK_ROWS
    }

    /// The same as another stream, of which no checkpoint holds anything yet. Its entries are
    /// scheduled there, not here: none is appended twice.
    pub(crate) fn copied(&self, position: u64) -> Self {
        let mut copy = Self { saved_tail: None, schedule: None, ..self.clone() };
        copy.idempotence.mark_changed(position);
        let groups: Vec<_> = copy.groups.iter().map(|(_, number, _)| number).collect();
        for number in groups {
            if let Some(group) = copy.groups.get_mut(number) {
                let group = Arc::make_mut(group);
                group.changed = position;
                group.pending.mark_changed(position);
            }
        }
        copy
    }

    /// Makes an empty stream what was restored, but for its groups; the blocks that are sealed.
    /// The last block is the tail, and its last logical node is open as if it had grown here.
    pub(crate) fn fill(&mut self, from: &RestoredStream, now_ms: u64) -> Vec<(u64, Arc<Block>)> {
        let mut sealed = Vec::new();
        for block in from.blocks() {
            sealed.extend(self.seal());
            let live = block.count();
            self.tail = Tail { block: (**block).clone(), live, dead: None, appended_ms: now_ms };
            self.length += u64::from(live);
        }
        for row in self.tail.block.rows(0) {
            if row.starts_node {
                self.node = OpenNode::default();
            }
            self.node.entries += 1;
            self.node.bytes += row.fields.bytes();
        }
        self.last_id = from.last_id;
        self.entries_added = from.entries_added;
        self.max_deleted_id = from.max_deleted_id;
        sealed
    }

    /// Reads all places in memory that an append asks for, the tail's rows apart, and says nothing
    /// of worth ([`crate::keyspace::Keyspace::warm`]).
    pub(crate) fn look_at_head(&self) -> u64 {
        let ids = self.last_id.ms ^ self.max_deleted_id.ms ^ self.reissued.ms;
        let counts = self.entries_added ^ self.length ^ self.released_unread ^ self.node.bytes;
        let tail = self.tail.appended_ms ^ u64::from(self.tail.live) ^ self.tail.block.last().ms;
        let parts = self.index.end() ^ self.dedup_ids_max() ^ self.groups.len() as u64;
        let over = self.idempotence.next_over_ms().unwrap_or_default();
        ids ^ counts ^ tail ^ parts ^ over ^ self.saved_tail.map_or(0, |(number, _)| number)
    }

    /// Adds an entry above all others.
    pub(crate) fn append(
        &mut self,
        id: StreamId,
        fields: &Fields<'_>,
        starts_node: bool,
        now_ms: u64,
    ) {
        assert!(id > self.last_id, "ids of a stream increase");
        self.tail.block.append(id, fields, starts_node);
        self.tail.live += 1;
        self.tail.appended_ms = now_ms;
        if starts_node {
            self.node = OpenNode::default();
        }
        self.node.entries += 1;
        self.node.bytes += fields.bytes() as u64;
        self.last_id = id;
        self.entries_added += 1;
        self.length += 1;
    }

    /// Ends the tail; the block and its number, unless it was empty or holds nothing live.
    pub(crate) fn seal(&mut self) -> Option<(u64, Arc<Block>)> {
        if self.tail.block.count() == 0 {
            return None;
        }
        let number = self.tail_number();
        let mut tail = core::mem::take(&mut self.tail);
        self.node = OpenNode::default();
        if tail.live == 0 && self.index.is_empty() {
            self.index.restart_at(number + 1);
            self.floor = 0;
            return None;
        }
        tail.block.shrink();
        self.index.push(BlockMeta {
            base: tail.block.base(),
            count: tail.block.count(),
            live: tail.live,
            nodes: tail.block.nodes(),
            bytes: u32::try_from(tail.block.bytes().len()).expect("blocks are bounded"),
            appended_ms: tail.appended_ms,
            dead: tail.dead,
        });
        Some((number, Arc::new(tail.block)))
    }

    /// Deletes a row; whether it was live.
    pub(crate) fn delete(&mut self, number: u64, row: u32) -> bool {
        if !self.meta(number).is_some_and(|meta| meta.is_live(row)) {
            return false;
        }
        let dead = if number == self.tail_number() {
            self.tail.live -= 1;
            &mut self.tail.dead
        } else {
            &mut self.index.lose(number, 1).expect("has facts").dead
        };
        Arc::make_mut(dead.get_or_insert_default()).insert(row);
        self.length -= 1;
        self.end_dead_node(number);
        true
    }

    /// Nothing joins a logical node of which nothing lives, as Redis frees it with its last entry.
    fn end_dead_node(&mut self, number: u64) {
        if let Some(meta) = self.meta(number).filter(|_| number == self.tail_number()) {
            let entries = u32::try_from(self.node.entries).unwrap_or(u32::MAX);
            let start = meta.count.saturating_sub(entries);
            if meta.live_before(meta.count) == meta.live_before(start) {
                self.node = OpenNode::default();
            }
        }
    }

    /// Drops what stands before a place.
    pub(crate) fn trim_to(&mut self, block: u64, row: u32) {
        let block = block.min(self.tail_number());
        if self.first_block() < block {
            self.length -= self.index.live_before(block);
            self.index.drop_before(block);
            self.floor = 0;
        }
        if self.first_block() == block && row > self.floor {
            let removed = self.meta(block).map_or(0, |meta| meta.live_before(row));
            self.length -= u64::from(removed);
            self.floor = row;
            if block == self.tail_number() {
                self.tail.live -= removed;
            } else {
                self.index.lose(block, removed);
            }
        }
        self.drop_dead_front();
    }

    /// Drops blocks at the front that hold nothing live; the tail starts anew if it is all there is
    /// and nothing in it lives.
    pub(crate) fn drop_dead_front(&mut self) {
        while self.index.get(self.index.first()).is_some_and(|meta| meta.live == 0) {
            self.index.drop_before(self.index.first() + 1);
            self.floor = 0;
        }
        if self.index.is_empty() && self.tail.live == 0 && self.tail.block.count() > 0 {
            self.seal();
        }
        if !self.redriven.is_empty() {
            let first = self.meta(self.first_block()).filter(|meta| meta.count > 0);
            self.redriven.drop_below(first.map_or(StreamId::MAX, |meta| meta.base));
        }
    }

    /// The place after the first `n` live entries: block and row.
    pub fn place_after(&self, n: u64) -> (u64, u32) {
        let (number, left) = self.index.nth_live(n);
        match self.meta(number) {
            Some(meta) => (number, meta.after_live(meta.first_row, meta.count, left, false)),
            None => (self.tail_number(), self.tail.block.count()),
        }
    }

    /// Live entries before a place.
    pub fn live_before(&self, block: u64, row: u32) -> u64 {
        let whole = self.index.live_before(block);
        whole + self.meta(block).map_or(0, |meta| u64::from(meta.live_before(row)))
    }

    /// The first live place.
    pub fn first_place(&self) -> Option<(u64, u32)> {
        (self.first_block()..=self.tail_number()).find_map(|number| {
            let meta = self.meta(number).filter(|meta| meta.live > 0)?;
            Some((number, (meta.first_row..meta.count).find(|row| meta.is_live(*row))?))
        })
    }

    /// The last live place.
    pub fn last_place(&self) -> Option<(u64, u32)> {
        (self.first_block()..=self.tail_number()).rev().find_map(|number| {
            let meta = self.meta(number).filter(|meta| meta.live > 0)?;
            Some((number, (meta.first_row..meta.count).rev().find(|row| meta.is_live(*row))?))
        })
    }

    /// Appends everything but the rows of the tail, the groups and the idempotent producers, whose
    /// numbers it lists.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_tended));
        self.policy.encode(out);
        varint::put_id(out, self.last_id);
        varint::put_u64(out, self.entries_added);
        varint::put_id(out, self.max_deleted_id);
        varint::put_id(out, self.reissued);
        varint::put_u64(out, self.length);
        varint::put_u64(out, u64::from(self.floor));
        varint::put_u64(out, self.node.entries);
        varint::put_u64(out, self.node.bytes);
        self.index.encode(out);
        varint::put_u64(out, self.tail.block.bytes().len() as u64);
        varint::put_u64(out, u64::from(self.tail.live));
        varint::put_u64(out, self.tail.appended_ms);
        index::encode_dead(self.tail.dead.as_deref(), out);
        varint::put_u64(out, self.groups.len() as u64);
        self.groups.iter().for_each(|(_, number, _)| varint::put_u64(out, u64::from(number)));
        self.idempotence.encode(out);
        varint::put_u64(out, self.released_unread);
        if !self.redriven.is_empty() {
            self.redriven.encode(out);
        }
    }

    /// The inverse of [`Stream::encode`]: the stream without its groups and idempotent producers,
    /// and the numbers of both. `tail` finds the rows of the tail by its number.
    pub(crate) fn decode<'a>(
        reader: &mut Reader<'_>,
        tail: impl Fn(u64) -> Option<&'a [u8]>,
    ) -> Option<(Self, Vec<u32>, Vec<u32>)> {
        let mut stream = Self {
            is_tended: reader.u8()? == 1,
            policy: StreamPolicy::decode(reader)?.into(),
            last_id: reader.id()?,
            entries_added: reader.u64()?,
            max_deleted_id: reader.id()?,
            reissued: reader.id()?,
            length: reader.u64()?,
            floor: reader.u32()?,
            node: OpenNode { entries: reader.u64()?, bytes: reader.u64()? },
            index: Index::decode(reader)?,
            ..Self::default()
        };
        let bytes = usize::try_from(reader.u64()?).ok()?;
        if bytes > 0 {
            stream.tail.block = Block::decode(tail(stream.tail_number())?.get(..bytes)?)?;
        }
        stream.tail.live = reader.u32()?;
        stream.tail.appended_ms = reader.u64()?;
        stream.tail.dead = index::decode_dead(reader)?;
        let groups = (0..reader.count()?).map(|_| reader.u32()).collect::<Option<_>>()?;
        let producers;
        (stream.idempotence, producers) = Idempotence::decode(reader)?;
        stream.released_unread = reader.u64()?;
        if !reader.is_empty() {
            stream.redriven = Redriven::decode(reader)?;
        }
        Some((stream, groups, producers))
    }
}
