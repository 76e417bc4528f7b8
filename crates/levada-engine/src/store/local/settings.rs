//! How large the parts of a local store grow, and what is refused.

use super::{format::PAGE, log::batch};
use crate::error::{Error, ErrorKind};

/// Sizes of a local store. The defaults are for production; tests make everything small.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// Number of the shard, written into every batch; the same at every opening.
    pub shard: u32,
    /// Length of a log file in bytes: a multiple of 4 KiB, at least 64 KiB. The largest batch is
    /// this less a header.
    pub log_file_bytes: u64,
    /// Length at which a segment or pack file is followed by the next.
    pub segment_bytes: u64,
    /// Bytes in blocks from which on an object has files of its own, which grow with it (ADR 24).
    /// The blocks of others stand in pack files that they share.
    pub pack_bytes: u64,
    /// Memory for blocks that were read or written lately, in bytes.
    pub cache_bytes: usize,
    /// Segment and pack files that stay open.
    pub open_files_max: usize,
    /// Effects behind the last checkpoint, in bytes, at which the next is due.
    pub checkpoint_payload_bytes: u64,
    /// The same with headers and padding. With less than two log files each one is used again;
    /// behind more some are removed, which takes 10 ms and more each, and others filled.
    pub checkpoint_ring_bytes: u64,
    /// Bytes kept in reserve for a full disk; more where a checkpoint of the state needs more.
    pub reserve_bytes: u64,
    /// Free bytes below which the disk counts as full: room for what has been taken on already.
    pub headroom_bytes: u64,
    /// Log bytes not yet durable at which the store asks its owner to pause.
    pub congested_bytes: u64,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            shard: 0,
            log_file_bytes: 64 << 20,
            segment_bytes: 64 << 20,
            pack_bytes: 1 << 20,
            cache_bytes: 64 << 20,
            open_files_max: 128,
            checkpoint_payload_bytes: 64 << 20,
            checkpoint_ring_bytes: 96 << 20,
            reserve_bytes: 32 << 20,
            headroom_bytes: 32 << 20,
            congested_bytes: 16 << 20,
        }
    }
}

impl LocalSettings {
    /// Fails with [`ErrorKind::Invalid`] where a store could not work.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |what: &str| Err(Error::new(ErrorKind::Invalid, what.to_owned()));
        if !self.log_file_bytes.is_multiple_of(PAGE) || self.log_file_bytes < 64 << 10 {
            return wrong("log_file_bytes must be a multiple of 4 KiB and at least 64 KiB");
        }
        if self.log_file_bytes > u64::from(u32::MAX) {
            return wrong("log_file_bytes must be below 4 GiB");
        }
        if self.segment_bytes > 1 << 30 {
            return wrong("segment_bytes must be at most 1 GiB");
        }
        if self.open_files_max == 0 {
            return wrong("open_files_max must be at least 1");
        }
        Ok(())
    }

    /// The most bytes of effects that a batch can hold.
    pub fn batch_bytes_max(&self) -> u64 {
        self.log_file_bytes - batch::HEADER as u64
    }
}
