//! The door to the storage device: everything that the engine ever asks of it.
//!
//! Writes and syncs are submitted and polled, never waited for inside, so that the fault disk of
//! `levada-sim` can complete them late and out of order, tear and lose them. Paths are relative to
//! the data directory, with `/` between parts. Three implementations: [`file::FileDisk`] for real,
//! [`memory::MemoryDisk`] for tests and `memory:` engines, and the fault disk.
//!
//! What the medium is assumed to do: a completed [`Operation::Sync`] means that every write to the
//! file that completed before the sync was submitted survives power loss; a completed
//! `sync_directory` means that entries created, renamed or removed in it before do. Nothing else:
//! unsynced writes may persist in any order, in part (torn at 512 bytes), or not at all. Of an
//! error that a sync meets only one of several under way on the same [`FileId`] may learn: whoever
//! wants that has a handle for each ([`Disk::reopen`]).

pub(crate) mod background;
mod buffer;
pub mod file;
pub mod memory;
pub mod pages;
mod spares;

use std::io;

pub use self::buffer::Buffer;
pub(crate) use self::{
    buffer::{Memory, PAGE_BYTES},
    spares::is_out_of_files,
};
use crate::threads;

/// Syncs that a log may have under way at once; they are long.
pub(crate) const LOG_SYNCS_MAX: usize = 4;

/// An open file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub u32);

/// Names a submitted operation until it completes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// It must exist.
    Existing,
    /// It must not exist and is created empty.
    New,
}

/// Who carries an operation out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// The caller, at once: cheapest while the device is fast.
    Inline,
    /// Somebody else, while the caller goes on.
    Background,
}

/// Something for the device to do. Operations may complete in any order.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Put bytes at an offset; whole pages at the place of a page may go past the system's cache.
    Write {
        /// Which file.
        file: FileId,
        /// Where, in bytes.
        offset: u64,
        /// What.
        bytes: Buffer,
    },
    /// Make completed writes to this file durable (fdatasync).
    Sync {
        /// Which file.
        file: FileId,
    },
    /// Put bytes at an offset and make the file durable, in this order, as one operation.
    WriteSync {
        /// Which file.
        file: FileId,
        /// Where, in bytes.
        offset: u64,
        /// What.
        bytes: Buffer,
    },
    /// Get bytes.
    Read {
        /// Which file.
        file: FileId,
        /// Where, in bytes.
        offset: u64,
        /// How many; fewer come back at the end of the file.
        len: usize,
    },
}

/// The end of an operation.
#[derive(Debug)]
pub struct Completion {
    /// Which.
    pub ticket: Ticket,
    /// The bytes of a read (empty for the others), or what went wrong.
    pub result: io::Result<Vec<u8>>,
    /// How long a sync took in microseconds, from when somebody took it up; `None` for anything
    /// else, and on devices without a clock.
    pub sync_us: Option<u64>,
}

/// A storage device with one directory tree; see the module for what it may do.
pub trait Disk {
    /// Opens a file for reading and writing.
    fn open(&mut self, path: &str, how: Open) -> io::Result<FileId>;
    /// Another handle of an open file that stands at `path`; an error where another file does.
    fn reopen(&mut self, _file: FileId, path: &str) -> io::Result<FileId> {
        self.open(path, Open::Existing)
    }
    /// Closes a file. Operations under way on it still complete.
    fn close(&mut self, file: FileId);
    /// Whether the last files could only be opened in the place of some that are kept back for
    /// that: who can close one should, before opening the next.
    fn lacks_files(&mut self) -> bool {
        false
    }
    /// Length of a file in bytes.
    fn len(&mut self, file: FileId) -> io::Result<u64>;
    /// Sets the length of a file; new bytes are zero.
    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()>;
    /// Reads at once, as many bytes as there are up to the length of `buffer`.
    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Begins an operation. With [`Lane::Inline`] it has completed when this returns.
    fn submit(&mut self, operation: Operation, lane: Lane) -> Ticket;
    /// A finished operation, if there is one.
    fn poll_completed(&mut self) -> Option<Completion>;
    /// Waits until [`Disk::poll_completed`] has something or nothing is under way.
    fn wait_completed(&mut self);
    /// Names of the files in a directory, sorted; the directory is created where missing.
    fn list(&mut self, directory: &str) -> io::Result<Vec<String>>;
    /// Makes the entries of a directory durable.
    fn sync_directory(&mut self, directory: &str) -> io::Result<()>;
    /// Renames a file, replacing what stands there.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn unlink(&mut self, path: &str) -> io::Result<()>;
    /// Bytes that can still be written.
    fn free_space(&mut self) -> io::Result<u64>;
}
