//! The ring of log files: where the next one comes from and where the last ones go.
//!
//! A file is filled with zeros before its first use, so that a sync of it later commits data only.
//! A file that no recovery needs any more becomes a spare by rename, with its old bytes; they fail
//! the checksum of their new file number. For that **a file number is never used twice while a
//! file with bytes of that number may exist**: numbers only grow within a run, the manifest keeps
//! the next one, and a file is made a spare only when a durable file or manifest with a higher
//! number stands.

use std::{collections::BTreeSet, io};

use super::super::io::{Io, Purpose};
use crate::{
    disk::{Buffer, Disk, FileId, Open, Operation},
    error::Error,
};

/// The directory of the log.
pub(in super::super) const DIRECTORY: &str = "log";
/// Spare files kept.
const SPARES_MAX: usize = 2;
/// Room for new batches in the file of an opening where there is no spare.
const FIRST_BYTES: u64 = 4 << 20;
/// Zeros written at once.
const PIECE: u64 = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(in super::super) struct LogFiles {
    /// Length of new files.
    bytes: u64,
    /// Number of the next file.
    next: u64,
    /// Files before the current one that a recovery needs.
    old: BTreeSet<u64>,
    /// Files ready for use, by the number in their names.
    spares: Vec<u64>,
    making: Option<Making>,
    /// Whether there is space for new spare files.
    may_make: bool,
}

/// A spare file that is being filled.
#[derive(Debug)]
struct Making {
    number: u64,
    file: FileId,
    filled: u64,
    /// A piece, for all of its writes.
    zeros: Buffer,
    syncing: bool,
}

/// The path of a log file.
pub(in super::super) fn path(number: u64) -> String {
    format!("{DIRECTORY}/{number:016x}.log")
}

/// The path of a spare file.
pub(in super::super) fn spare_path(number: u64) -> String {
    format!("{DIRECTORY}/spare-{number:016x}")
}

impl LogFiles {
    pub(in super::super) fn new(bytes: u64, next: u64) -> Self {
        Self { bytes, next, old: BTreeSet::new(), spares: Vec::new(), making: None, may_make: true }
    }

    /// Length of a file.
    pub(in super::super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of the next file.
    pub(in super::super) fn next_number(&self) -> u64 {
        self.next
    }

    /// Takes note of a spare file found at opening.
    pub(in super::super) fn adopt_spare(&mut self, number: u64) {
        self.spares.push(number);
    }

    /// Whether a file is ready.
    pub(in super::super) fn has_spare(&self) -> bool {
        !self.spares.is_empty()
    }

    /// Whether files before the current one wait for a checkpoint.
    pub(in super::super) fn has_old(&self) -> bool {
        !self.old.is_empty()
    }

    /// Bytes that the spare file which should be there still needs.
    pub(in super::super) fn lacks(&self) -> u64 {
        match &self.making {
            _ if self.has_spare() => 0,
            Some(making) => self.bytes - making.filled,
            None => self.bytes,
        }
    }

    /// Says whether there is space for new spare files.
    pub(in super::super) fn allow_making(&mut self, may_make: bool) {
        self.may_make = may_make;
    }

    /// Room for more spare files.
    pub(in super::super) fn wants_spare(&self) -> bool {
        self.spares.len() < SPARES_MAX
    }

    /// A file before the current one that is still needed.
    pub(in super::super) fn keep(&mut self, number: u64) {
        self.old.insert(number);
    }

    /// The next file, filled and with a durable name: a spare, or a new one of full length and at
    /// least `at_least` bytes.
    pub(in super::super) fn take<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        at_least: u64,
    ) -> Result<(u64, FileId, u64), Error> {
        self.take_len(io, self.bytes.max(at_least))
    }

    /// The same for an opening, which puts `copy` bytes into it at once and does not wait for a
    /// file of full length to be filled.
    pub(in super::super) fn take_first<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        copy: u64,
    ) -> Result<(u64, FileId, u64), Error> {
        let len =
            if self.spares.is_empty() { self.bytes.min(copy + FIRST_BYTES) } else { self.bytes };
        self.take_len(io, len)
    }

    fn take_len<D: Disk>(&mut self, io: &mut Io<D>, len: u64) -> Result<(u64, FileId, u64), Error> {
        let number = self.next;
        self.next += 1;
        let path = path(number);
        let spare = (len == self.bytes).then(|| self.spares.pop()).flatten();
        let file = if let Some(spare) = spare {
            io.rename(&spare_path(spare), &path)?;
            io.open(&path, Open::Existing)?
        } else {
            create_filled(io, &path, len)?
        };
        io.sync_directory(DIRECTORY)?;
        Ok((number, file, len))
    }

    /// Gives back the files before `first`: no recovery reads them any more.
    pub(in super::super) fn recycle_before<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        first: u64,
    ) -> Result<(), Error> {
        let mut any = false;
        while let Some(number) = self.old.first().copied().filter(|number| *number < first) {
            self.old.pop_first();
            self.recycle(io, number)?;
            any = true;
        }
        if any { io.sync_directory(DIRECTORY) } else { Ok(()) }
    }

    /// Makes a file a spare, or removes it where there are enough or its length is another. The
    /// caller then syncs the directory: were the spare renamed once more before, the second rename
    /// could persist without the first, and one file stand under two names.
    pub(in super::super) fn recycle<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        number: u64,
    ) -> Result<(), Error> {
        let path = path(number);
        let file = io.open(&path, Open::Existing)?;
        let len = io.len(file, &path);
        io.close(file);
        if len? != self.bytes || !self.wants_spare() {
            return io.unlink(&path);
        }
        io.rename(&path, &spare_path(number))?;
        self.spares.push(number);
        Ok(())
    }

    /// Begins a spare file in the background if there is none.
    pub(in super::super) fn prepare<D: Disk>(&mut self, io: &mut Io<D>) {
        if self.making.is_some() || !self.spares.is_empty() || !self.may_make {
            return;
        }
        let number = self.next;
        self.next += 1;
        // Not being able to prepare is no failure yet: without a spare the file is made when it is
        // needed, and an error then is one.
        if let Ok(file) = io.open(&spare_path(number), Open::New) {
            let zeros = zeros(PIECE.min(self.bytes));
            let making = Making { number, file, filled: 0, zeros, syncing: false };
            let making = self.making.insert(making);
            fill(io, making, self.bytes);
        }
    }

    /// A piece of the spare file is written, or the file is synced.
    pub(in super::super) fn prepared<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        result: &io::Result<Vec<u8>>,
    ) {
        let Some(mut making) = self.making.take() else {
            return;
        };
        if result.is_err() {
            io.close(making.file);
            // What cannot be removed is found and removed at the next opening.
            let _ = io.unlink(&spare_path(making.number));
        } else if making.syncing {
            io.close(making.file);
            self.spares.push(making.number);
        } else {
            making.filled = (making.filled + PIECE).min(self.bytes);
            fill(io, self.making.insert(making), self.bytes);
        }
    }
}

/// Begins the next piece of a spare file, or its sync.
fn fill<D: Disk>(io: &mut Io<D>, making: &mut Making, bytes: u64) {
    let file = making.file;
    let operation = if making.filled < bytes {
        let len = PIECE.min(bytes - making.filled);
        if making.zeros.len() as u64 != len {
            making.zeros = zeros(len);
        }
        Operation::Write { file, offset: making.filled, bytes: making.zeros.clone() }
    } else {
        making.syncing = true;
        Operation::Sync { file }
    };
    io.begin(operation, Purpose::Spare);
}

fn create_filled<D: Disk>(io: &mut Io<D>, path: &str, len: u64) -> Result<FileId, Error> {
    let file = io.open(path, Open::New)?;
    let filled = fill_now(io, path, file, len);
    if filled.is_err() {
        io.close(file);
        // What cannot be removed is found and removed at the next opening.
        let _ = io.unlink(path);
    }
    filled.map(|()| file)
}

fn fill_now<D: Disk>(io: &mut Io<D>, path: &str, file: FileId, len: u64) -> Result<(), Error> {
    let mut offset = 0;
    while offset < len {
        let bytes = zeros((4 * PIECE).min(len - offset));
        let written = bytes.len() as u64;
        let write = Operation::Write { file, offset, bytes };
        io.run("cannot fill", path, write)?;
        offset += written;
    }
    io.run("cannot sync", path, Operation::Sync { file }).map(drop)
}

fn zeros(len: u64) -> Buffer {
    let len = usize::try_from(len).expect("a piece is small");
    Buffer::pages(len, None)
}
