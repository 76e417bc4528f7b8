//! From ids to places: where the live entries of a range stand, and where single ids do.
//!
//! Whole blocks are answered from the index; only blocks in which a bound falls are looked into.

use alloc::vec::Vec;

use super::{Context, Refusal};
use crate::{
    id::StreamId,
    keyspace::KeyNumber,
    reply::{Entries, Part},
    stream::{Meta, Stream},
};

/// A range of ids in a stream, and how many of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) first: StreamId,
    pub(super) last: StreamId,
    pub(super) count: u64,
    pub(super) reverse: bool,
}

impl Span {
    /// Everything above an id.
    pub(super) fn above(id: StreamId, count: u64) -> Self {
        let (first, last) = match id.next() {
            Some(first) => (first, StreamId::MAX),
            None => (StreamId::MAX, StreamId::MIN),
        };
        Self { first, last, count, reverse: false }
    }
}

/// The live entries of a span.
pub(super) fn collect(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    span: Span,
) -> Result<Entries, Refusal> {
    let mut entries = Entries { key, count: 0, reverse: span.reverse, parts: Vec::new() };
    if span.first > span.last || stream.is_empty() {
        return Ok(entries);
    }
    let blocks = stream.seek(span.first)..=stream.seek(span.last);
    let mut take = |number: u64| -> Result<bool, Refusal> {
        let Some(meta) = stream.meta(number).filter(|meta| meta.live > 0) else {
            return Ok(true);
        };
        let (first, end) = bounds(context, key, stream, &meta, span)?;
        let left = span.count - entries.count;
        let live = |first: u32, end: u32| {
            u64::from(meta.live_before(end).saturating_sub(meta.live_before(first)))
        };
        let (first, end) = match live(first, end) {
            0 => return Ok(true),
            here if here <= left => (first, end),
            _ if span.reverse => (meta.after_live(first, end, left, true), end),
            _ => (first, meta.after_live(first, end, left, false)),
        };
        entries.count += live(first, end);
        entries.parts.push(Part::Rows { block: number, first, end, dead: meta.dead.cloned() });
        Ok(entries.count < span.count)
    };
    let (mut number, last) = if span.reverse {
        (*blocks.end(), *blocks.start())
    } else {
        (*blocks.start(), *blocks.end())
    };
    while span.count > 0 && take(number)? && number != last {
        number = if span.reverse { number - 1 } else { number + 1 };
    }
    Ok(entries)
}

/// The live entries of a forward span that any group is given: all but the redriven ones.
pub(super) fn collect_new(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    span: Span,
) -> Result<Entries, Refusal> {
    let mut entries = Entries { key, ..Entries::none() };
    let mut first = span.first;
    let below = span.first.previous().unwrap_or_default();
    let passed_over = stream.redriven.above(below).take_while(|(id, _)| *id <= span.last);
    let mut add = |first, last| -> Result<bool, Refusal> {
        let count = span.count - entries.count;
        let more = collect(context, key, stream, Span { first, last, count, reverse: false })?;
        entries.count += more.count;
        entries.parts.extend(more.parts);
        Ok(entries.count < span.count)
    };
    for (id, before) in passed_over {
        if before >= first && !add(first, before)? {
            return Ok(entries);
        }
        let Some(next) = id.next() else {
            return Ok(entries);
        };
        first = next;
    }
    add(first, span.last)?;
    Ok(entries)
}

/// The rows of a block that lie in a span, deleted ones included.
fn bounds(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    meta: &Meta<'_>,
    span: Span,
) -> Result<(u32, u32), Refusal> {
    let next_base =
        stream.meta(meta.number + 1).filter(|next| next.count > 0).map(|next| next.base);
    let ends_within = span.last < stream.last_id && next_base.is_none_or(|base| span.last < base);
    let begins_within = span.first > meta.base;
    let (mut first, mut end) = (0, meta.count);
    if begins_within || ends_within {
        let block = context.block(key, stream, meta.number)?;
        if begins_within {
            first = block.lower_bound(span.first);
        }
        if let Some(above) = span.last.next().filter(|_| ends_within) {
            end = block.lower_bound(above);
        }
    }
    Ok((first.max(meta.first_row), end))
}

/// The ids of entries that were collected, in their order. Asks for all their blocks at once.
pub(super) fn ids(
    context: Context<'_>,
    stream: &Stream,
    entries: &Entries,
) -> Result<Vec<StreamId>, Refusal> {
    let blocks = entries.parts.iter().filter_map(|part| match part {
        Part::Rows { block, .. } | Part::Delivery { block, .. } => Some(*block),
        Part::Deleted(_) => None,
    });
    context.require(entries.key, stream, blocks)?;
    let mut ids = Vec::with_capacity(usize::try_from(entries.count).unwrap_or(0));
    for part in &entries.parts {
        let Part::Rows { block, first, end, dead } = part else {
            continue;
        };
        let block = context.block(entries.key, stream, *block)?;
        let rows = block.rows(*first).take((end - first) as usize);
        let live = rows.filter(|row| dead.as_ref().is_none_or(|dead| !dead.contains(row.index)));
        ids.extend(live.map(|row| row.id));
    }
    Ok(ids)
}

/// Where each of these ids stands, if it is live. Asks for all blocks at once.
pub(super) fn places(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    ids: &[StreamId],
) -> Result<Vec<Option<(u64, u32)>>, Refusal> {
    let candidate = |id: &StreamId| {
        let meta = stream.meta(stream.seek(*id)).filter(|meta| meta.live > 0)?;
        (*id >= meta.base && *id <= stream.last_id).then_some(meta)
    };
    let blocks = ids.iter().filter_map(candidate).map(|meta| meta.number);
    context.require(key, stream, blocks)?;
    let place = |id: &StreamId| {
        let Some(meta) = candidate(id) else {
            return Ok(None);
        };
        let row = context.block(key, stream, meta.number)?.find(*id).map(|row| row.index);
        Ok(row.filter(|row| meta.is_live(*row)).map(|row| (meta.number, row)))
    };
    ids.iter().map(place).collect()
}

/// Whether an entry that was once in the stream is still there: most often known without its block.
pub(super) fn still_there(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    id: StreamId,
) -> Result<bool, Refusal> {
    let Some(meta) = stream.meta(stream.seek(id)).filter(|meta| meta.live > 0) else {
        return Ok(false);
    };
    if id < meta.base || id > stream.last_id {
        return Ok(false);
    }
    // Where all rows live, an id that was once given out is one of them, unless that was before
    // XSETID went back: then others may stand around it.
    if meta.live == meta.count && id > stream.reissued {
        return Ok(true);
    }
    Ok(places(context, key, stream, &[id])?.first().is_some_and(Option::is_some))
}

/// Whether the index tells that all entries between two ids are still there that were once in the
/// stream: no block of theirs has a deleted row. It may be so where this says no.
pub(super) fn all_there(stream: &Stream, first: StreamId, last: StreamId) -> bool {
    /// Blocks that are looked at; pending entries of more are far apart.
    const BLOCKS_MAX: u64 = 64;
    let (from, to) = (stream.seek(first), stream.seek(last));
    let is_whole = |number: u64| {
        stream.meta(number).is_some_and(|meta| meta.live > 0 && meta.live == meta.count)
    };
    first > stream.reissued
        && last <= stream.last_id
        && stream.meta(from).is_some_and(|meta| first >= meta.base)
        && to - from < BLOCKS_MAX
        && (from..=to).all(is_whole)
}

/// A single place as a part of an answer.
pub(super) fn single(stream: &Stream, (block, row): (u64, u32)) -> Part {
    let dead = stream.meta(block).and_then(|meta| meta.dead.cloned());
    Part::Rows { block, first: row, end: row + 1, dead }
}

/// The first live id, `0-0` in an empty stream.
pub(super) fn first_id(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
) -> Result<StreamId, Refusal> {
    let Some((number, row)) = stream.first_place() else {
        return Ok(StreamId::MIN);
    };
    if let Some(meta) = stream.meta(number).filter(|_| row == 0) {
        return Ok(meta.base);
    }
    let block = context.block(key, stream, number)?;
    Ok(block.row(row).map_or(StreamId::MIN, |row| row.id))
}

/// The last live id, `0-0` in an empty stream.
pub(super) fn last_id(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
) -> Result<StreamId, Refusal> {
    let Some((number, row)) = stream.last_place() else {
        return Ok(StreamId::MIN);
    };
    let block = context.block(key, stream, number)?;
    Ok(block.row(row).map_or(StreamId::MIN, |row| row.id))
}
