//! Packs of which less than half lives are written anew (ADR 24).
//!
//! Their blocks go to another pack, also those of objects that have files of their own by now:
//! there the last block must be the last to go (`SegmentFiles::measure_pack`). The file goes with
//! the checkpoint behind that. A block that cannot be read stays where it is, and so does its file:
//! a repair may save it.

use std::io;

use super::{BlockKey, Blocks, Location, SegmentId, files::Home};
use crate::{
    disk::Disk,
    error::Error,
    store::local::io::{Io, Purpose},
};

/// Bytes that one step takes from memory.
const STEP_BYTES: usize = 256 << 10;
/// Writes of blocks under way at which a step waits for them.
const WRITES_MAX: usize = 8;

/// A pack that is being written anew.
pub(super) struct Rewriting {
    file: SegmentId,
    /// What is still to be looked at of it.
    keys: Vec<BlockKey>,
    is_reading: bool,
}

impl Blocks {
    /// Whether there is a pack to be written anew.
    pub(in super::super) fn has_sparse(&self) -> bool {
        self.rewriting.is_some() || self.files.has_sparse()
    }

    /// Goes on with writing packs anew. The next is begun if at most so many of its bytes live.
    pub(in super::super) fn rewrite<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        live_bytes_max: u64,
    ) -> Result<(), Error> {
        if self.rewriting.is_none() {
            let sparse = self.files.take_sparse(live_bytes_max);
            self.rewriting = sparse.map(|(file, keys)| Rewriting { file, keys, is_reading: false });
        }
        let mut bytes = 0;
        while bytes < STEP_BYTES && self.files.writes_under_way() < WRITES_MAX {
            let Some(rewriting) = self.rewriting.as_mut().filter(|it| !it.is_reading) else {
                break;
            };
            let Some(key) = rewriting.keys.pop() else {
                self.rewriting = None;
                break;
            };
            let at = self.locations.get(key).filter(|at| at.file == rewriting.file);
            let Some(location) = at.filter(|_| !self.damaged.contains_key(&key)) else {
                continue;
            };
            if let Some(block) = self.in_memory(key) {
                bytes += block.bytes().len();
                self.put_into(io, key, block, Home::Pack)?;
            } else {
                let begun = self.begin_read(io, key, location, Purpose::Rewrite);
                if let (Ok(()), Some(rewriting)) = (begun, &mut self.rewriting) {
                    rewriting.is_reading = true;
                }
            }
        }
        Ok(())
    }

    /// A block of a pack that is written anew is read.
    pub(in super::super) fn reread<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        key: BlockKey,
        location: Location,
        result: io::Result<Vec<u8>>,
    ) -> Result<(), Error> {
        if let Some(rewriting) = &mut self.rewriting {
            rewriting.is_reading = false;
        }
        // Dropped or replaced meanwhile: then there is nothing to save.
        if self.locations.get(key) == Some(location)
            && let Some(block) = result.ok().and_then(|bytes| self.check(key, location, &bytes))
        {
            self.put_into(io, key, block, Home::Pack)?;
        }
        Ok(())
    }
}
