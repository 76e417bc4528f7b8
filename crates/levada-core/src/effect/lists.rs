//! Lists inside effects, each as distances from one to the next: ids, blocks, places of rows.

use alloc::{sync::Arc, vec::Vec};

use crate::{
    block::Block,
    id::StreamId,
    varint::{Reader, put_bytes, put_u64},
};

/// Appends a count and ascending ids, each as its distance to the one before: `seq` alone within a
/// millisecond (distance of milliseconds 0), else distance and `seq`.
pub(super) fn put_ids(out: &mut Vec<u8>, ids: impl ExactSizeIterator<Item = StreamId>) {
    put_u64(out, ids.len() as u64);
    let mut previous = StreamId::MIN;
    for id in ids {
        let same_ms = id.ms == previous.ms;
        put_u64(out, id.ms - previous.ms);
        put_u64(out, if same_ms { id.seq - previous.seq } else { id.seq });
        previous = id;
    }
}

/// The inverse of [`put_ids`].
pub(super) fn get_ids(reader: &mut Reader<'_>) -> Option<Vec<StreamId>> {
    let mut previous = StreamId::MIN;
    let mut ids = Vec::new();
    for _ in 0..reader.count()? {
        let ms = previous.ms.checked_add(reader.u64()?)?;
        let base = if ms == previous.ms { previous.seq } else { 0 };
        previous = StreamId::new(ms, base.checked_add(reader.u64()?)?);
        ids.push(previous);
    }
    Some(ids)
}

/// Appends a count, then of each block its distance to the one before, and its rows.
pub(super) fn put_blocks(out: &mut Vec<u8>, blocks: &[(u64, Arc<Block>)]) {
    put_u64(out, blocks.len() as u64);
    let mut previous = 0;
    for (number, block) in blocks {
        put_u64(out, number - previous);
        put_bytes(out, block.bytes());
        previous = *number;
    }
}

pub(super) fn get_blocks(reader: &mut Reader<'_>) -> Option<Vec<(u64, Arc<Block>)>> {
    let mut previous = 0_u64;
    let mut blocks = Vec::new();
    for _ in 0..reader.count()? {
        previous = previous.checked_add(reader.u64()?)?;
        blocks.push((previous, Arc::new(Block::decode(reader.bytes()?)?)));
    }
    Some(blocks)
}

pub(super) fn put_rows(out: &mut Vec<u8>, rows: &[(u64, u32)]) {
    put_u64(out, rows.len() as u64);
    let mut previous = 0;
    for (block, row) in rows {
        put_u64(out, block - previous);
        put_u64(out, u64::from(*row));
        previous = *block;
    }
}

pub(super) fn get_rows(reader: &mut Reader<'_>) -> Option<Vec<(u64, u32)>> {
    let mut previous = 0_u64;
    let mut rows = Vec::new();
    for _ in 0..reader.count()? {
        previous = previous.checked_add(reader.u64()?)?;
        rows.push((previous, reader.u32()?));
    }
    Some(rows)
}
