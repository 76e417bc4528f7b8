//! The disk with names for what is under way: errors in words, and a purpose for each operation
//! that finishes later.
//!
//! A write that meets a full disk is no error yet. The reserve gives way and the write is tried
//! again; where the reserve is spent it is kept until there is space. The log is the exception: its
//! files are filled before they are used, and whoever waits for a batch waits for an answer.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
};

use super::{
    blocks::{BlockKey, Location, SegmentId},
    reserve::Reserve,
};
use crate::{
    disk::{Completion, Disk, FileId, Lane, Open, Operation, Ticket, is_out_of_files},
    error::{Error, Place},
};

/// What an operation on the background lane was begun for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// A sync of the log, by its number in order of submission.
    LogSync(u64),
    /// A piece of the spare log file in the making, or its sync.
    Spare,
    /// Blocks on their way to a segment file, by the number in order of submission.
    RunWrite(u64),
    /// A block on its way back.
    BlockRead(BlockKey, Location),
    /// A segment file, by its number, with the last block write that the sync covers.
    SegmentSync(SegmentId, u64),
    /// Frames of a checkpoint.
    CheckpointWrite,
    /// The frames of a checkpoint.
    CheckpointSync,
    /// The new manifest, under its temporary name.
    ManifestWrite,
    /// A piece of the reserve.
    Reserve,
    /// A block that nobody asked for, read to see whether it is whole.
    Scrub(BlockKey, Location),
    /// A block that is to be written to another place.
    Rewrite(BlockKey, Location),
}

/// See the module.
pub(super) struct Io<D> {
    pub(super) disk: D,
    /// With the operation where it is one to be tried again on a full disk.
    under_way: BTreeMap<Ticket, (Purpose, Option<Operation>)>,
    /// Finished while something else was waited for.
    ready: VecDeque<(Purpose, io::Result<Vec<u8>>)>,
    /// Bytes that [`Io::read`] gives in place of those on disk: what a repair would write. Empty
    /// but for an inspection.
    patches: BTreeMap<Place, u8>,
    pub(super) reserve: Reserve,
    /// Writes that wait for space.
    starved: Vec<(Operation, Purpose)>,
    /// The average time of a sync of the log in microseconds, on a device with a clock.
    pub(super) sync_us_average: Option<u64>,
}

impl<D: Disk> Io<D> {
    pub(super) fn new(disk: D) -> Self {
        Self {
            disk,
            under_way: BTreeMap::new(),
            ready: VecDeque::new(),
            patches: BTreeMap::new(),
            reserve: Reserve::default(),
            starved: Vec::new(),
            sync_us_average: None,
        }
    }

    pub(super) fn disk(&self) -> &D {
        &self.disk
    }

    pub(super) fn into_disk(self) -> D {
        self.disk
    }

    /// Makes what an earlier run kept in reserve available.
    pub(super) fn adopt_reserve(&mut self) {
        self.reserve = Reserve::adopt(&mut self.disk);
    }

    /// Does something here and now; on a full disk with space from the reserve.
    #[expect(clippy::needless_pass_by_value, reason = "an operation is handed over")]
    pub(super) fn run(
        &mut self,
        doing: &str,
        path: &str,
        operation: Operation,
    ) -> Result<Vec<u8>, Error> {
        let bytes = bytes_of(&operation);
        loop {
            match self.attempt(operation.clone()) {
                Err(error) if is_full(&error) && self.reserve.give(&mut self.disk, bytes) => {}
                result => return result.map_err(|error| Error::io(doing, path, &error)),
            }
        }
    }

    /// Does something here and now, once.
    pub(super) fn attempt(&mut self, operation: Operation) -> io::Result<Vec<u8>> {
        self.carry_out(operation).result
    }

    /// The same for a batch of the log, whose time counts.
    pub(super) fn attempt_batch(&mut self, operation: Operation) -> io::Result<Vec<u8>> {
        let done = self.carry_out(operation);
        self.measure(done.sync_us);
        done.result
    }

    /// Begins something that [`Io::next`] reports.
    pub(super) fn begin(&mut self, operation: Operation, purpose: Purpose) {
        // A spare file, and the reserve itself, are not worth what is kept.
        let again = match purpose {
            Purpose::Spare | Purpose::Reserve => None,
            _ => Some(&operation).filter(|operation| bytes_of(operation) > 0).cloned(),
        };
        let ticket = self.disk.submit(operation, Lane::Background);
        self.under_way.insert(ticket, (purpose, again));
    }

    /// Whether something is under way or has news.
    pub(super) fn is_busy(&self) -> bool {
        !self.under_way.is_empty() || !self.ready.is_empty()
    }

    /// Whether writes wait for space.
    pub(super) fn is_starved(&self) -> bool {
        !self.starved.is_empty()
    }

    /// Tries again what waits for space, of which there are `free` bytes.
    pub(super) fn feed(&mut self, mut free: u64) {
        for (operation, purpose) in std::mem::take(&mut self.starved) {
            let bytes = bytes_of(&operation);
            if bytes <= free {
                free -= bytes;
                self.begin(operation, purpose);
            } else {
                self.starve(operation, purpose);
            }
        }
    }

    fn starve(&mut self, operation: Operation, purpose: Purpose) {
        if self.reserve.give(&mut self.disk, bytes_of(&operation)) {
            self.begin(operation, purpose);
        } else {
            self.starved.push((operation, purpose));
        }
    }

    /// Something that has finished.
    pub(super) fn next(&mut self) -> Option<(Purpose, io::Result<Vec<u8>>)> {
        while self.ready.is_empty() {
            let done = self.disk.poll_completed()?;
            self.note(done);
        }
        self.ready.pop_front()
    }

    /// Waits until [`Io::next`] has something or nothing is under way.
    pub(super) fn wait(&mut self) {
        if self.ready.is_empty() {
            self.disk.wait_completed();
        }
    }

    pub(super) fn open(&mut self, path: &str, how: Open) -> Result<FileId, Error> {
        let opened = loop {
            match self.disk.open(path, how) {
                Err(error) if is_full(&error) && self.reserve.give(&mut self.disk, 0) => {}
                // What is under way holds files that were closed since.
                Err(error) if is_out_of_files(&error) && !self.under_way.is_empty() => {
                    self.disk.wait_completed();
                    if let Some(done) = self.disk.poll_completed() {
                        self.note(done);
                    }
                }
                opened => break opened,
            }
        };
        opened.map_err(|error| Error::io("cannot open", path, &error))
    }

    /// Another handle of an open file; `None` where it cannot be had.
    pub(super) fn reopen(&mut self, file: FileId, path: &str) -> Option<FileId> {
        self.disk.reopen(file, path).ok()
    }

    pub(super) fn close(&mut self, file: FileId) {
        self.disk.close(file);
    }

    /// Whether files should be closed before others are opened.
    pub(super) fn lacks_files(&mut self) -> bool {
        self.disk.lacks_files()
    }

    pub(super) fn len(&mut self, file: FileId, path: &str) -> Result<u64, Error> {
        let len = self.disk.len(file);
        len.map_err(|error| Error::io("cannot measure", path, &error))
    }

    /// Reads as many bytes as there are up to the length of `buffer`.
    pub(super) fn read(
        &mut self,
        file: FileId,
        path: &str,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        let read = self.disk.read_at(file, offset, buffer);
        let read = read.map_err(|error| Error::io("cannot read", path, &error))?;
        for (place, byte) in self.patches.iter().filter(|(place, _)| place.path == path) {
            let at = place.offset.checked_sub(offset).and_then(|at| usize::try_from(at).ok());
            if let Some(at) = at.filter(|at| *at < read) {
                buffer[at] = *byte;
            }
        }
        Ok(read)
    }

    /// Lets later reads see another byte at a place.
    pub(super) fn patch(&mut self, place: Place, byte: u8) {
        self.patches.insert(place, byte);
    }

    pub(super) fn list(&mut self, directory: &str) -> Result<Vec<String>, Error> {
        let names = self.disk.list(directory);
        names.map_err(|error| Error::io("cannot list directory", shown(directory), &error))
    }

    pub(super) fn sync_directory(&mut self, directory: &str) -> Result<(), Error> {
        let synced = self.disk.sync_directory(directory);
        synced.map_err(|error| Error::io("cannot sync directory", shown(directory), &error))
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), Error> {
        let renamed = self.disk.rename(from, to);
        renamed.map_err(|error| Error::io("cannot rename", from, &error))
    }

    /// Removes a file, if it is there.
    pub(super) fn unlink(&mut self, path: &str) -> Result<(), Error> {
        match self.disk.unlink(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            unlinked => unlinked.map_err(|error| Error::io("cannot remove", path, &error)),
        }
    }

    fn carry_out(&mut self, operation: Operation) -> Completion {
        let ticket = self.disk.submit(operation, Lane::Inline);
        loop {
            let Some(done) = self.disk.poll_completed() else {
                let what = "the disk did not complete an inline operation";
                return Completion { ticket, result: Err(io::Error::other(what)), sync_us: None };
            };
            if done.ticket == ticket {
                return done;
            }
            self.note(done);
        }
    }

    fn measure(&mut self, sync_us: Option<u64>) {
        if let Some(us) = sync_us {
            let average = self.sync_us_average.unwrap_or(0);
            self.sync_us_average = Some((average * 15 + us.min(1_000_000)) / 16);
        }
    }

    fn note(&mut self, done: Completion) {
        // An operation that nobody waits for would be a ticket that the disk made up.
        let Some((purpose, again)) = self.under_way.remove(&done.ticket) else {
            return;
        };
        if matches!(purpose, Purpose::LogSync(_)) {
            self.measure(done.sync_us);
        }
        match (&done.result, again) {
            (Err(error), Some(operation)) if is_full(error) => self.starve(operation, purpose),
            _ => self.ready.push_back((purpose, done.result)),
        }
    }
}

/// Whether an error says that there is no space.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Bytes that an operation may add to a file.
fn bytes_of(operation: &Operation) -> u64 {
    match operation {
        Operation::Write { bytes, .. } | Operation::WriteSync { bytes, .. } => bytes.len() as u64,
        Operation::Sync { .. } | Operation::Read { .. } => 0,
    }
}

fn shown(directory: &str) -> &str {
    match directory {
        "" => ".",
        named => named,
    }
}
