//! The disk with names for what is under way: errors in words, and a purpose for each operation
//! that finishes later.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
};

use super::blocks::{BlockKey, Location, SegmentId};
use crate::{
    disk::{Completion, Disk, FileId, Lane, Open, Operation, Ticket},
    error::{Error, ErrorKind, Place},
};

/// What an operation on the background lane was begun for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// The log's one sync in flight.
    LogSync,
    /// A piece of the spare log file in the making, or its sync.
    Spare,
    /// A block on its way to a segment file, with its number in order of submission.
    BlockWrite(BlockKey, Location, u64),
    /// A block on its way back.
    BlockRead(BlockKey, Location),
    /// A segment file, by its number, with the last block write that the sync covers.
    SegmentSync(SegmentId, u64),
    /// Frames of a checkpoint: how many bytes.
    CheckpointWrite(usize),
    /// The frames of a checkpoint.
    CheckpointSync,
    /// The new manifest, under its temporary name.
    ManifestWrite,
}

/// See the module.
pub(super) struct Io<D> {
    disk: D,
    under_way: BTreeMap<Ticket, Purpose>,
    /// Finished while something else was waited for.
    ready: VecDeque<(Purpose, io::Result<Vec<u8>>)>,
    /// Bytes that [`Io::read`] gives in place of those on disk: what a repair would write. Empty
    /// but for an inspection.
    patches: BTreeMap<Place, u8>,
}

impl<D: Disk> Io<D> {
    pub(super) fn new(disk: D) -> Self {
        Self { disk, under_way: BTreeMap::new(), ready: VecDeque::new(), patches: BTreeMap::new() }
    }

    pub(super) fn disk(&self) -> &D {
        &self.disk
    }

    pub(super) fn into_disk(self) -> D {
        self.disk
    }

    /// Does something here and now.
    pub(super) fn run(
        &mut self,
        doing: &str,
        path: &str,
        operation: Operation,
    ) -> Result<Vec<u8>, Error> {
        let ticket = self.disk.submit(operation, Lane::Inline);
        loop {
            let Some(done) = self.disk.poll_completed() else {
                return Err(Error::new(
                    ErrorKind::Io,
                    format!("{doing} {path}: the disk did not complete an inline operation"),
                ));
            };
            if done.ticket == ticket {
                return done.result.map_err(|error| Error::io(doing, path, &error));
            }
            self.note(done);
        }
    }

    /// Begins something that [`Io::next`] reports.
    pub(super) fn begin(&mut self, operation: Operation, purpose: Purpose) {
        let ticket = self.disk.submit(operation, Lane::Background);
        self.under_way.insert(ticket, purpose);
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
        let opened = self.disk.open(path, how);
        opened.map_err(|error| Error::io("cannot open", path, &error))
    }

    pub(super) fn close(&mut self, file: FileId) {
        self.disk.close(file);
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

    fn note(&mut self, done: Completion) {
        // An operation that nobody waits for would be a ticket that the disk made up.
        if let Some(purpose) = self.under_way.remove(&done.ticket) {
            self.ready.push_back((purpose, done.result));
        }
    }
}

fn shown(directory: &str) -> &str {
    match directory {
        "" => ".",
        named => named,
    }
}
