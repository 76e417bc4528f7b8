//! The end of the log: appending batches and making them durable.
//!
//! Two ways. **Inline**, where the owner, who measures, allows it and there is little to sync: one
//! operation writes and syncs.
//! **Pipelined**: the write is inline, and syncs in flight on the background lane each cover
//! everything that was written when they began. They begin in the order of the log and count in
//! that order: a sync that has ended makes nothing durable until all that began before it have
//! ended well. So a durable batch makes every earlier one durable, across rotation too.
//!
//! A sync that fails drops the pages that it could not write, and the next one succeeds without
//! them. Each of several in flight on one file therefore has a handle of its own, as the kernel
//! tells each handle of an error once; and no inline sync begins while one is in flight.

use std::{collections::VecDeque, io};

use super::{
    batch::{self, Header, Place},
    files::{LogFiles, path},
};
use crate::{
    disk::{Buffer, Disk, FileId, LOG_SYNCS_MAX, Lane, Operation},
    error::{Error, ErrorKind},
    store::{
        Lsn, Urgency,
        local::io::{Io, Purpose},
    },
};

/// Room kept at the end of the last log file on a full disk, for batches that nobody asked for:
/// marks, keys that expire.
const MARKS_BYTES: u64 = 1 << 20;

/// Where the log goes on behind a batch.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in super::super) struct Position {
    /// The last batch before; 0 for none.
    pub(in super::super) lsn: Lsn,
    /// Its checksum.
    pub(in super::super) crc: u32,
    /// The file in which the next batch stands, or the one after which it does.
    pub(in super::super) file: u64,
    /// The offset of the next batch, or of the unused rest of the file.
    pub(in super::super) offset: u64,
    /// The clock of the last batch.
    pub(in super::super) now_ms: u64,
    /// Bytes of effects written so far, as this run counts them.
    pub(in super::super) payload: u64,
    /// Bytes of log written so far, as this run counts them.
    pub(in super::super) bytes: u64,
}

/// Bytes of a batch up to which its memory is kept for the next one.
const BUFFER_BYTES_KEPT: u64 = 2 << 20;

/// So many bytes are synced by others even on a fast device: handing them over costs little beside
/// what the caller does meanwhile.
const INLINE_BYTES_MAX: u64 = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(in super::super) struct Log {
    pub(in super::super) files: LogFiles,
    shard: u32,
    epoch: u64,
    lane: Lane,
    congested_bytes: u64,
    file: FileId,
    /// Length of the current file.
    len: u64,
    at: Position,
    durable: Lsn,
    /// [`Position::bytes`] up to which the log is durable.
    durable_bytes: u64,
    /// The durable mark in the last batch.
    mark: Lsn,
    /// The last batch with effects.
    last_effects: Lsn,
    /// Batches up to here are to be made durable.
    wanted: Lsn,
    /// Earlier files that are not yet durable, in order.
    unsynced: VecDeque<Covered>,
    /// Syncs in flight, in order, and how many there may be.
    syncing: VecDeque<Syncing>,
    syncs_max: usize,
    /// The number of the next one.
    next_sync: u64,
    /// More handles of the current file.
    handles: Vec<FileId>,
    /// The bytes of the last batch, for their memory.
    buffer: Option<Buffer>,
}

/// What a sync of a file covers.
#[derive(Clone, Copy, Debug)]
struct Covered {
    file: FileId,
    number: u64,
    lsn: Lsn,
    bytes: u64,
}

/// A sync in flight.
#[derive(Clone, Copy, Debug)]
struct Syncing {
    /// The file by the handle that is used.
    covered: Covered,
    number: u64,
    /// It has ended, and one that began before has not.
    ended: bool,
}

/// Where recovery leaves a log; everything before is durable.
#[derive(Debug)]
pub(in super::super) struct Start {
    pub(in super::super) files: LogFiles,
    pub(in super::super) shard: u32,
    pub(in super::super) epoch: u64,
    pub(in super::super) congested_bytes: u64,
    pub(in super::super) file: FileId,
    pub(in super::super) len: u64,
    pub(in super::super) at: Position,
}

impl Log {
    pub(in super::super) fn new(start: Start) -> Self {
        Self {
            files: start.files,
            shard: start.shard,
            epoch: start.epoch,
            lane: Lane::Inline,
            congested_bytes: start.congested_bytes,
            file: start.file,
            len: start.len,
            at: start.at,
            durable: start.at.lsn,
            durable_bytes: start.at.bytes,
            mark: start.at.lsn,
            last_effects: 0,
            wanted: start.at.lsn,
            unsynced: VecDeque::new(),
            syncing: VecDeque::new(),
            syncs_max: 1,
            next_sync: 0,
            handles: Vec::new(),
            buffer: None,
        }
    }

    pub(in super::super) fn set_lane(&mut self, lane: Lane) {
        self.lane = lane;
    }

    pub(in super::super) fn set_syncs_max(&mut self, syncs: usize) {
        self.syncs_max = syncs.clamp(1, LOG_SYNCS_MAX);
    }

    pub(in super::super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The end of the log.
    pub(in super::super) fn position(&self) -> Position {
        self.at
    }

    pub(in super::super) fn durable(&self) -> Lsn {
        self.durable
    }

    /// Whether a batch of so many bytes fits without a new file, and marks behind it.
    pub(in super::super) fn has_room(&self, effects: usize) -> bool {
        let marks = (self.len / 16).min(MARKS_BYTES);
        self.files.has_spare() || self.at.offset + batch::padded(effects) + marks <= self.len
    }

    pub(in super::super) fn is_congested(&self) -> bool {
        self.at.bytes - self.durable_bytes >= self.congested_bytes
    }

    /// Appends a batch. Nothing has changed where the error is [`ErrorKind::Invalid`].
    pub(in super::super) fn append<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        now_ms: u64,
        effects: &[u8],
        urgency: Urgency,
    ) -> Result<Lsn, Error> {
        let size = batch::padded(effects.len());
        if size > self.files.bytes() {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "a batch of {} bytes does not fit into a log file of {} bytes",
                    effects.len(),
                    self.files.bytes()
                ),
            ));
        }
        if self.at.offset + size > self.len {
            self.rotate(io)?;
        }
        let inline = urgency == Urgency::Durable && self.syncs_inline(size);
        if inline {
            self.sync_earlier(io)?;
        }
        self.write(io, now_ms, effects, inline)?;
        let lsn = self.at.lsn;
        // Batches that wait for others must not fill the queue on their own.
        let waiting = self.at.bytes - self.durable_bytes;
        if urgency == Urgency::Durable || waiting >= self.congested_bytes / 2 {
            self.want(io, lsn)?;
        }
        if self.at.offset > self.len / 2 || self.len < self.files.bytes() {
            self.files.prepare(io);
        }
        Ok(lsn)
    }

    /// Asks for everything up to `lsn` to become durable.
    pub(in super::super) fn want<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        lsn: Lsn,
    ) -> Result<(), Error> {
        self.wanted = self.wanted.max(lsn);
        self.sync(io)
    }

    /// Closes the window in which damage to the last batch would pass for a torn write.
    pub(in super::super) fn idle<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        now_ms: u64,
    ) -> Result<Lsn, Error> {
        if !self.is_idle() {
            self.append(io, now_ms, &[], Urgency::Durable)?;
        }
        Ok(self.position().lsn)
    }

    /// Whether the last batch with effects is marked durable by one behind it. A mark itself needs
    /// no mark: no reply ever waited for it.
    pub(in super::super) fn is_idle(&self) -> bool {
        self.mark >= self.durable.min(self.last_effects)
    }

    /// A sync in flight has ended.
    pub(in super::super) fn synced<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        number: u64,
        result: io::Result<Vec<u8>>,
    ) -> Result<(), Error> {
        let Some(one) = self.syncing.iter_mut().find(|one| one.number == number) else {
            return Ok(());
        };
        one.ended = true;
        let file = one.covered.number;
        result.map_err(|error| Error::io("cannot sync", &path(file), &error))?;
        while let Some(one) = self.syncing.pop_front_if(|one| one.ended) {
            self.file_synced(io, one.covered);
        }
        self.sync(io)
    }

    /// Writes a batch, which fits, and syncs it if asked to.
    fn write<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        now_ms: u64,
        effects: &[u8],
        sync: bool,
    ) -> Result<(), Error> {
        let header = Header {
            previous_crc: self.at.crc,
            shard: self.shard,
            epoch: self.epoch,
            lsn: self.at.lsn + 1,
            durable: self.durable,
            // A clock that steps back is the owner's concern; the log never does.
            now_ms: now_ms.max(self.at.now_ms),
        };
        let (file, offset) = (self.file, self.at.offset);
        let place = Place { file: self.at.file, offset };
        let (bytes, crc) = batch::encode_in(self.buffer.take(), &header, effects, place);
        let size = bytes.len() as u64;
        if size <= BUFFER_BYTES_KEPT {
            self.buffer = Some(bytes.clone());
        }
        let operation = if sync {
            Operation::WriteSync { file, offset, bytes }
        } else {
            Operation::Write { file, offset, bytes }
        };
        let written = io.attempt_batch(operation);
        written.map_err(|error| Error::io("cannot write", &path(place.file), &error))?;
        self.at = Position {
            lsn: header.lsn,
            crc,
            file: place.file,
            offset: offset + size,
            now_ms: header.now_ms,
            payload: self.at.payload + effects.len() as u64,
            bytes: self.at.bytes + size,
        };
        self.mark = header.durable;
        if !effects.is_empty() {
            self.last_effects = header.lsn;
        }
        if sync {
            self.advance(header.lsn, self.at.bytes);
        }
        Ok(())
    }

    /// Syncs what is wanted and not durable, or begins to, as far as there may be more syncs.
    fn sync<D: Disk>(&mut self, io: &mut Io<D>) -> Result<(), Error> {
        if self.wanted > self.durable && self.syncs_inline(0) {
            self.sync_earlier(io)?;
            let current = self.current();
            return self.sync_now(io, current);
        }
        while self.syncing.len() < self.syncs_max
            && let Some(covered) = self.next_covered(io)
        {
            io.begin(Operation::Sync { file: covered.file }, Purpose::LogSync(self.next_sync));
            self.syncing.push_back(Syncing { covered, number: self.next_sync, ended: false });
            self.next_sync += 1;
        }
        Ok(())
    }

    /// Whether the caller syncs what is not durable and `more`.
    fn syncs_inline(&self, more: u64) -> bool {
        let bytes = self.at.bytes - self.durable_bytes + more;
        self.lane == Lane::Inline && self.syncing.is_empty() && bytes < INLINE_BYTES_MAX
    }

    /// What the next sync in flight is to cover, if one is wanted, by a handle that no other uses.
    fn next_covered<D: Disk>(&mut self, io: &mut Io<D>) -> Option<Covered> {
        let begun = self.syncing.back().map_or(self.durable, |one| one.covered.lsn);
        if self.wanted <= begun {
            return None;
        }
        let is_used = |file: FileId| self.syncing.iter().any(|one| one.covered.file == file);
        // A file without batches behind those under way is in no need of another sync.
        if let Some(earlier) = self.unsynced.iter().find(|one| one.lsn > begun) {
            return Some(*earlier).filter(|one| !is_used(one.file));
        }
        let current = self.current();
        let handles = [current.file].into_iter().chain(self.handles.iter().copied());
        if let Some(file) = handles.into_iter().find(|file| !is_used(*file)) {
            return Some(Covered { file, ..current });
        }
        // Without another handle the next sync waits for the end of one.
        let file = io.reopen(current.file, &path(current.number))?;
        self.handles.push(file);
        Some(Covered { file, ..current })
    }

    /// Syncs the files before the current one.
    fn sync_earlier<D: Disk>(&mut self, io: &mut Io<D>) -> Result<(), Error> {
        while let Some(covered) = self.unsynced.front().copied() {
            self.sync_now(io, covered)?;
        }
        Ok(())
    }

    fn sync_now<D: Disk>(&mut self, io: &mut Io<D>, covered: Covered) -> Result<(), Error> {
        let sync = Operation::Sync { file: covered.file };
        io.run("cannot sync", &path(covered.number), sync)?;
        self.file_synced(io, covered);
        Ok(())
    }

    fn file_synced<D: Disk>(&mut self, io: &mut Io<D>, covered: Covered) {
        self.advance(covered.lsn, covered.bytes);
        // A file that was current when its sync began may since have been left behind, with
        // batches that this sync does not cover.
        let done = |first: &Covered| first.number == covered.number && first.lsn <= covered.lsn;
        if let Some(first) = self.unsynced.pop_front_if(|first| done(first)) {
            io.close(first.file);
        }
    }

    fn advance(&mut self, lsn: Lsn, bytes: u64) {
        self.durable = self.durable.max(lsn);
        self.durable_bytes = self.durable_bytes.max(bytes);
    }

    fn current(&self) -> Covered {
        Covered { file: self.file, number: self.at.file, lsn: self.at.lsn, bytes: self.at.bytes }
    }

    /// Goes on in the next file.
    fn rotate<D: Disk>(&mut self, io: &mut Io<D>) -> Result<(), Error> {
        let full = self.current();
        let (number, file, len) = self.files.take(io, 0)?;
        self.files.keep(full.number);
        let in_flight = self.syncing.iter().any(|one| one.covered.number == full.number);
        if full.lsn > self.durable || in_flight {
            self.unsynced.push_back(full);
        } else {
            io.close(full.file);
        }
        // Operations under way hold their files themselves.
        self.handles.drain(..).for_each(|handle| io.close(handle));
        self.file = file;
        self.len = len;
        self.at.file = number;
        self.at.offset = 0;
        Ok(())
    }
}
