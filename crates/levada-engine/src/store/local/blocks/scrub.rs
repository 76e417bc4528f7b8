//! The scrub: blocks that nobody asked for are read one after the other, round and round, so that
//! one that the device has lost is known before it is needed.

use std::io;

use super::{BlockKey, Blocks, Location};
use crate::{
    disk::Disk,
    store::{
        Scrubbed,
        local::io::{Io, Purpose},
    },
};

/// How far the reading of blocks that nobody asked for is.
#[derive(Default)]
pub(super) struct Scrub {
    /// The last block that was read.
    last: Option<BlockKey>,
    is_reading: bool,
    seen: Scrubbed,
}

impl Blocks {
    /// Begins to read the next block behind the last; its bytes, 0 where there is nothing to do.
    /// Blocks that are on their way to disk, and those known to be damaged, are passed over.
    pub(in super::super) fn scrub<D: Disk>(&mut self, io: &mut Io<D>) -> usize {
        if self.scrub.is_reading {
            return 0;
        }
        let Some((key, location)) = self.locations.after(self.scrub.last) else {
            if self.scrub.last.take().is_some() {
                self.scrub.seen.passes += 1;
            }
            return 0;
        };
        self.scrub.last = Some(key);
        if self.pinned.contains_key(&key) || self.damaged.contains_key(&key) {
            return location.len as usize;
        }
        match self.begin_read(io, key, location, Purpose::Scrub) {
            Ok(()) => self.scrub.is_reading = true,
            Err(_) => self.found_error(key),
        }
        location.len as usize
    }

    /// A block that nobody asked for is read. It does not enter the cache.
    pub(in super::super) fn scrubbed(
        &mut self,
        key: BlockKey,
        location: Location,
        result: &io::Result<Vec<u8>>,
    ) {
        self.scrub.is_reading = false;
        // Dropped or replaced meanwhile: then it is none of ours.
        if self.locations.get(key) != Some(location) {
            return;
        }
        self.scrub.seen.blocks += 1;
        match result {
            Ok(bytes) if self.check(key, location, bytes).is_some() => {}
            _ => self.found_error(key),
        }
    }

    /// A block that cannot be read is not damaged yet: whoever asks for it tries again, as if
    /// nobody had tried before.
    fn found_error(&mut self, key: BlockKey) {
        self.scrub.seen.errors += 1;
        self.scrub.seen.damaged = Some((key.object, key.number));
    }

    /// What was read so far.
    pub(in super::super) fn scrubbed_so_far(&self) -> Scrubbed {
        self.scrub.seen
    }
}
