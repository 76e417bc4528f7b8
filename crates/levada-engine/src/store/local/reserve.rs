//! Space kept for what must go on when the disk is full: a file of zeros that gives way.
//!
//! It is filled in the background while there is room. When a write meets a full disk, the file is
//! cut shorter by what the write needs, and the write is tried again. What it was given for returns
//! to it when space is free again: a checkpoint removes the one before it, a trim its segments. Its
//! bytes mean nothing; it may be removed at any time.

use std::sync::Arc;

use super::{
    format::page_up,
    io::{Io, Purpose},
};
use crate::disk::{Disk, FileId, Open, Operation};

/// Its name in the data directory.
pub(super) const PATH: &str = "reserve";
/// Bytes written at once.
const PIECE: u64 = 256 << 10;
/// What a write may need besides its own bytes: directories, block maps.
const SLACK: u64 = 64 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    file: Option<FileId>,
    len: u64,
    wanted: u64,
    /// Bytes of the piece that is being written.
    growing: Option<u64>,
}

impl Reserve {
    /// Takes over the file that an earlier run left, if there is one.
    pub(super) fn adopt<D: Disk>(disk: &mut D) -> Self {
        let there = disk.list("").is_ok_and(|names| names.iter().any(|name| name == PATH));
        let opened = there.then(|| disk.open(PATH, Open::Existing).ok()).flatten();
        let len = opened.and_then(|file| disk.len(file).ok()).unwrap_or(0);
        Self { file: opened, len, wanted: len, growing: None }
    }

    /// Bytes that it holds.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that it still lacks.
    pub(super) fn lacks(&self) -> u64 {
        self.wanted.saturating_sub(self.len)
    }

    /// Gives up what a write of so many bytes needs; false where nothing is left.
    pub(super) fn give<D: Disk>(&mut self, disk: &mut D, bytes: u64) -> bool {
        let Some(file) = self.file.filter(|_| self.len > 0) else {
            return false;
        };
        let left = self.len.saturating_sub(page_up(bytes) + SLACK);
        if disk.set_len(file, left).is_err() {
            return false;
        }
        self.len = left;
        // What is under way may have been written behind the new end: it is cut off when it ends.
        true
    }
}

impl<D: Disk> Io<D> {
    /// Lets the reserve have so many bytes, of which there are `free` on the disk.
    pub(super) fn want_reserve(&mut self, bytes: u64, free: u64) {
        self.reserve.wanted = page_up(bytes);
        if self.reserve.len > 2 * self.reserve.wanted {
            let surplus = self.reserve.len - self.reserve.wanted;
            self.reserve.give(&mut self.disk, surplus);
        }
        if free > PIECE + SLACK {
            self.grow_reserve();
        }
    }

    /// A piece of the reserve is written, or could not be.
    pub(super) fn reserve_grown(&mut self, is_written: bool) {
        let Some(bytes) = self.reserve.growing.take() else {
            return;
        };
        let (Some(file), true) = (self.reserve.file, is_written) else {
            self.cut_reserve();
            return;
        };
        let end = self.disk.len(file).unwrap_or(0);
        if end == self.reserve.len + bytes {
            self.reserve.len = end;
            self.grow_reserve();
        } else {
            // It gave way while it grew.
            self.cut_reserve();
        }
    }

    fn grow_reserve(&mut self) {
        if self.reserve.growing.is_some() || self.reserve.lacks() == 0 {
            return;
        }
        if self.reserve.file.is_none() {
            self.reserve.file = self.disk.open(PATH, Open::New).ok();
        }
        let Some(file) = self.reserve.file else {
            return;
        };
        let bytes = self.reserve.lacks().min(PIECE);
        let zeros: Arc<[u8]> =
            std::iter::repeat_n(0, usize::try_from(bytes).expect("a piece is small")).collect();
        let write = Operation::Write { file, offset: self.reserve.len, bytes: zeros.into() };
        self.reserve.growing = Some(bytes);
        self.begin(write, Purpose::Reserve);
    }

    /// Cuts off what stands behind the valid length.
    fn cut_reserve(&mut self) {
        if let Some(file) = self.reserve.file {
            // Where this fails the file is longer than it is known to be, which harms nobody.
            let _ = self.disk.set_len(file, self.reserve.len);
        }
    }
}
