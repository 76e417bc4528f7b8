//! What a crash left of the log, and the epoch that every opening begins.
//!
//! **Reading.** Every file from the manifest's position on is searched for valid batches, page by
//! page, behind holes too: unsynced batches may have persisted in any order. D is the highest
//! durable mark in any of them or in the manifest. The batches that follow the manifest's position
//! without a gap, each carrying the checksum of the one before, are kept. The first place where
//! they end: at or below D that is rot, and the log is refused with nothing touched; above D the
//! log ends there, and what lies behind is discarded, valid or not, for nothing behind it was
//! acknowledged.
//!
//! **A new epoch.** What was read may never have reached the disk, and what was discarded must not
//! come back. So the kept batches above D are copied into a new file under a higher epoch, where a
//! first batch `s` replaces all batches from `s` on in files before it. The copy takes effect at
//! once and whole: its **first batch is written last**, when all others are synced. A crash before
//! leaves a file without a valid first batch, which nothing refers to; no copy carries a durable
//! mark above D. Then a batch without effects carries the mark that closes the window.
//!
//! A crash loop must not fill the disk: where the last file is small, it is copied from its
//! beginning, so that it can be recycled at once.

use std::collections::BTreeSet;

use super::{
    batch::{self, Decoded, Header, Place},
    files::{DIRECTORY, LogFiles, path, spare_path},
    writer::{Log, Position, Start},
};
use crate::{
    disk::{Buffer, Disk, FileId, Open, Operation},
    error::{Error, ErrorKind},
    store::{
        Batch, Lsn, Urgency,
        local::{
            format::{self, PAGE},
            io::Io,
            settings::LocalSettings,
        },
    },
};

/// A last file of at most so many bytes is copied whole.
const COPY_MAX: u64 = 8 << 20;
/// Bytes of a log file read at once.
const WINDOW: usize = 2 << 20;

/// Where reading begins, from the manifest.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct From {
    /// The end of the log at the checkpoint.
    pub(in super::super) position: Position,
    /// What was durable then.
    pub(in super::super) durable: Lsn,
    /// The epoch then.
    pub(in super::super) epoch: u64,
    /// The next file number then.
    pub(in super::super) next_file: u64,
}

/// The names in the log directory.
#[derive(Clone, Default, Debug)]
pub(in super::super) struct Listing {
    pub(in super::super) logs: BTreeSet<u64>,
    pub(in super::super) spares: BTreeSet<u64>,
}

/// What was read; nothing has been changed.
#[derive(Debug)]
pub(in super::super) struct Tail {
    from: From,
    kept: Vec<Found>,
    /// D.
    durable: Lsn,
    /// The highest epoch seen.
    epoch: u64,
    /// Valid batches behind the end of the log.
    pub(in super::super) discarded: u64,
}

/// A log that is cut at damage; see [`Tail::read_whole`].
#[derive(Debug)]
pub(in super::super) struct Cut {
    /// What follows without a gap.
    pub(in super::super) tail: Tail,
    /// Valid batches behind the damage or beside what follows, with their places.
    pub(in super::super) lost: Vec<(Place, Batch)>,
    /// Where the next batch should stand, unless it is the first of a later file.
    pub(in super::super) end: Place,
    /// The highest batch that was durable.
    pub(in super::super) durable: Lsn,
    /// The same in words.
    error: Error,
}

/// A valid batch in a file.
#[derive(Debug)]
pub(in super::super) struct Found {
    place: Place,
    end: u64,
    header: Header,
    crc: u32,
    effects: Vec<u8>,
}

impl Listing {
    pub(in super::super) fn read<D: Disk>(io: &mut Io<D>) -> Result<Self, Error> {
        let mut listing = Self::default();
        for name in io.list(DIRECTORY)? {
            if let Some(number) = name.strip_suffix(".log").and_then(format::parse_number) {
                listing.logs.insert(number);
            } else if let Some(number) = name.strip_prefix("spare-").and_then(format::parse_number)
            {
                listing.spares.insert(number);
            }
        }
        Ok(listing)
    }

    /// Whether any log file holds a valid batch.
    pub(in super::super) fn holds_batches<D: Disk>(&self, io: &mut Io<D>) -> Result<bool, Error> {
        let mut buffer = Vec::new();
        for number in &self.logs {
            if !scan(io, *number, 0, 0, &mut buffer)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Tail {
    /// Reads the log behind a position.
    pub(in super::super) fn read<D: Disk>(
        io: &mut Io<D>,
        from: From,
        shard: u32,
        listing: &Listing,
    ) -> Result<Self, Error> {
        Walk::over(io, from, shard, listing)?.finish().map_err(|cut| cut.error)
    }

    /// The same; where acknowledged batches are damaged, what stands before them and what behind.
    pub(in super::super) fn read_whole<D: Disk>(
        io: &mut Io<D>,
        from: From,
        shard: u32,
        listing: &Listing,
    ) -> Result<Result<Self, Box<Cut>>, Error> {
        Ok(Walk::over(io, from, shard, listing)?.finish())
    }

    /// The last kept batch.
    pub(in super::super) fn end(&self) -> Lsn {
        self.last().lsn
    }

    /// Time of that batch, in unix milliseconds.
    pub(in super::super) fn now_ms(&self) -> u64 {
        self.last().now_ms
    }

    /// The kept batches as they stand.
    pub(in super::super) fn batches(&self) -> impl Iterator<Item = &Found> {
        self.kept.iter()
    }

    /// The kept batches.
    pub(in super::super) fn into_batches(self) -> impl Iterator<Item = Batch> {
        self.kept.into_iter().map(Found::into_batch)
    }

    /// Begins the next epoch; see the module. Everything is durable when this returns.
    pub(in super::super) fn begin_epoch<D: Disk>(
        &self,
        io: &mut Io<D>,
        settings: &LocalSettings,
        listing: &Listing,
    ) -> Result<Log, Error> {
        let highest = listing.logs.iter().chain(&listing.spares).max();
        let next = highest.map_or(0, |number| number + 1);
        let next = next.max(self.from.next_file).max(1);
        let mut files = LogFiles::new(settings.log_file_bytes, next);
        for number in &listing.spares {
            adopt_spare(io, &mut files, *number, settings.log_file_bytes)?;
        }
        let copied = self.copied();
        let since = copied.map_or(Lsn::MAX, |found| found.header.lsn);
        let above = || self.kept.iter().filter(|found| found.header.lsn >= since);
        let bytes = above().map(Found::len).sum();
        let mut copy = Copy::begin(io, files, self, settings.shard, bytes)?;
        for found in above() {
            copy.append(io, found)?;
        }
        let mut log = copy.finish(io, settings.congested_bytes)?;
        log.append(io, self.last().now_ms, &[], Urgency::Durable)?;
        self.give_back(io, &mut log, listing, since)?;
        Ok(log)
    }

    /// The first batch to copy: above D, or from the beginning of a small last file.
    fn copied(&self) -> Option<&Found> {
        let last = self.kept.last()?.place.file;
        let in_last = self.kept.iter().position(|found| found.place.file == last)?;
        let bytes: u64 = self.kept[in_last..].iter().map(Found::len).sum();
        let above = self.kept.iter().position(|found| found.header.lsn > self.durable);
        // The manifest refers to its file, which therefore stays in any case.
        let whole = last != self.from.position.file && bytes <= COPY_MAX;
        let first = match (above, whole) {
            (Some(above), true) => Some(above.min(in_last)),
            (None, true) => Some(in_last),
            (above, false) => above,
        };
        self.kept.get(first?)
    }

    /// The end of what is kept.
    fn last(&self) -> Position {
        let mut at = self.from.position;
        for found in &self.kept {
            at.payload += found.effects.len() as u64;
            at.bytes += found.len();
        }
        if let Some(last) = self.kept.last() {
            at.lsn = last.header.lsn;
            at.crc = last.crc;
            at.now_ms = at.now_ms.max(last.header.now_ms);
        }
        at
    }

    /// Keeps the files that hold batches below `since`; the others are free. Their numbers are not
    /// used again: the file of the new epoch stands above them.
    fn give_back<D: Disk>(
        &self,
        io: &mut Io<D>,
        log: &mut Log,
        listing: &Listing,
        since: Lsn,
    ) -> Result<(), Error> {
        let mut needed = BTreeSet::from([self.from.position.file]);
        let below = self.kept.iter().filter(|found| found.header.lsn < since);
        needed.extend(below.map(|found| found.place.file));
        for number in &listing.logs {
            if needed.contains(number) {
                log.files.keep(*number);
            } else {
                log.files.recycle(io, *number)?;
            }
        }
        Ok(())
    }
}

impl Found {
    pub(in super::super) fn lsn(&self) -> Lsn {
        self.header.lsn
    }

    pub(in super::super) fn place(&self) -> Place {
        self.place
    }

    /// Its bytes, padded.
    pub(in super::super) fn bytes(&self) -> Buffer {
        batch::encode(&self.header, &self.effects, self.place).0
    }

    fn into_batch(self) -> Batch {
        let Header { lsn, now_ms, .. } = self.header;
        Batch { lsn, now_ms, effects: self.effects }
    }

    fn len(&self) -> u64 {
        self.end - self.place.offset
    }
}

/// The walk over the files: what follows without a gap.
struct Walk {
    from: From,
    kept: Vec<Found>,
    others: Vec<Found>,
    durable: Lsn,
    epoch_kept: u64,
    epoch: u64,
    /// Where the next batch should stand, for the message.
    end: Place,
    /// Whether batches were found behind that place.
    gap: bool,
}

impl Walk {
    fn over<D: Disk>(
        io: &mut Io<D>,
        from: From,
        shard: u32,
        listing: &Listing,
    ) -> Result<Self, Error> {
        let mut walk = Walk::new(from);
        if !listing.logs.contains(&from.position.file) {
            let path = path(from.position.file);
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "{path} is missing, and the log goes on in it: nothing was changed. Bring the \
                     file back, or restore the data directory from a backup"
                ),
            ));
        }
        let mut buffer = Vec::new();
        for number in listing.logs.range(from.position.file..) {
            let start = if *number == from.position.file { from.position.offset } else { 0 };
            let mut found = scan(io, *number, start, from.position.lsn, &mut buffer)?;
            found.retain(|batch| batch.header.shard == shard);
            walk.file(*number, start, found);
        }
        Ok(walk)
    }

    fn new(from: From) -> Self {
        Self {
            from,
            kept: Vec::new(),
            others: Vec::new(),
            durable: from.durable,
            epoch_kept: from.epoch,
            epoch: from.epoch,
            end: Place { file: from.position.file, offset: from.position.offset },
            gap: false,
        }
    }

    /// The next batch, and the checksum that it carries of the one before.
    fn expected(&self) -> (Lsn, u32) {
        match self.kept.last() {
            Some(last) => (last.header.lsn + 1, last.crc),
            None => (self.from.position.lsn + 1, self.from.position.crc),
        }
    }

    fn file(&mut self, number: u64, start: u64, found: Vec<Found>) {
        for batch in &found {
            self.durable = self.durable.max(batch.header.durable);
            self.epoch = self.epoch.max(batch.header.epoch);
        }
        if let Some(first) = found.first()
            && first.place.offset == start
        {
            self.replace_from(&first.header);
        }
        let mut at = Place { file: number, offset: start };
        for batch in found {
            if self.follows(&batch, at, at.offset == start) {
                at.offset = batch.end;
                (self.end, self.gap) = (at, false);
                self.epoch_kept = batch.header.epoch;
                self.kept.push(batch);
                continue;
            }
            if !self.gap && self.end.file != number && batch.place.offset != start {
                // The file before ends well, and in this one something stands before the batch.
                self.end = at;
            }
            self.gap = true;
            self.others.push(batch);
        }
    }

    /// A file of a higher epoch replaces what earlier files hold from its first batch on.
    fn replace_from(&mut self, first: &Header) {
        let base = self.from.position;
        let (expected, _) = self.expected();
        let known = base.lsn + 1..=expected;
        if first.epoch <= self.epoch_kept || !known.contains(&first.lsn) {
            return;
        }
        let keep = usize::try_from(first.lsn - 1 - base.lsn).expect("batches in memory");
        let before = keep.checked_sub(1).and_then(|last| self.kept.get(last));
        if first.previous_crc == before.map_or(base.crc, |found| found.crc) {
            self.others.extend(self.kept.drain(keep..));
        }
    }

    fn follows(&self, batch: &Found, at: Place, first: bool) -> bool {
        let epoch = batch.header.epoch;
        batch.place == at
            && (batch.header.lsn, batch.header.previous_crc) == self.expected()
            && (epoch == self.epoch_kept || first && epoch > self.epoch_kept)
    }

    fn finish(mut self) -> Result<Tail, Box<Cut>> {
        let (expected, _) = self.expected();
        let (durable, epoch) = (self.durable, self.epoch_kept);
        self.others.retain(|other| other.header.lsn >= expected);
        let behind = |other: &&Found| other.header.epoch >= epoch;
        let mut tail = Tail {
            discarded: self.others.iter().filter(behind).count() as u64,
            from: self.from,
            kept: self.kept,
            durable,
            epoch: self.epoch,
        };
        if expected > durable {
            return Ok(tail);
        }
        let what = format!(
            "batch {expected} does not stand here, though everything up to batch {durable} was \
             durable"
        );
        tail.durable = expected - 1;
        let end = self.end;
        let error = format::damaged(&path(end.file), end.offset, &what);
        let lost = self.others.into_iter().map(|found| (found.place, found.into_batch())).collect();
        Err(Box::new(Cut { tail, lost, end, durable, error }))
    }
}

/// All valid batches in a file from an offset on.
fn scan<D: Disk>(
    io: &mut Io<D>,
    number: u64,
    start: u64,
    floor: Lsn,
    buffer: &mut Vec<u8>,
) -> Result<Vec<Found>, Error> {
    let path = path(number);
    let file = io.open(&path, Open::Existing)?;
    let len = io.len(file, &path)?;
    buffer.clear();
    let mut found = Vec::new();
    let mut window = Window { file, path: &path, len, at: start, buffer };
    let mut at = start;
    while at < len {
        let bytes = window.from(io, at)?;
        let place = Place { file: number, offset: at };
        at += PAGE;
        match batch::decode(bytes, place, floor) {
            Decoded::Valid { header, crc, effects } => {
                at = place.offset + batch::padded(effects.len());
                found.push(Found { place, end: at, header, crc, effects: effects.to_vec() });
            }
            Decoded::Newer(version) => return Err(format::newer(&path, version)),
            Decoded::Nothing => {}
        }
    }
    io.close(file);
    Ok(found)
}

/// A part of a log file in memory.
struct Window<'a> {
    file: FileId,
    path: &'a str,
    len: u64,
    /// Offset of the buffer.
    at: u64,
    buffer: &'a mut Vec<u8>,
}

impl Window<'_> {
    /// The bytes from `at` on, which is not below that of the call before: all that the batch there
    /// says to have, as far as the file reaches.
    fn from<D: Disk>(&mut self, io: &mut Io<D>, at: u64) -> Result<&[u8], Error> {
        let rest = usize::try_from(self.len - at).unwrap_or(usize::MAX);
        if self.held(at).len() < batch::HEADER.min(rest) {
            self.fill(io, at, WINDOW.min(rest))?;
        }
        let need = batch::announced(self.held(at));
        if self.held(at).len() < need && need <= rest {
            self.fill(io, at, need.max(WINDOW.min(rest)))?;
        }
        Ok(self.held(at))
    }

    /// What is in memory from an offset on.
    fn held(&self, at: u64) -> &[u8] {
        let skip = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        self.buffer.get(skip..).unwrap_or(&[])
    }

    fn fill<D: Disk>(&mut self, io: &mut Io<D>, at: u64, len: usize) -> Result<(), Error> {
        self.buffer.resize(len, 0);
        let read = io.read(self.file, self.path, at, self.buffer)?;
        self.buffer.truncate(read);
        self.at = at;
        Ok(())
    }
}

/// Takes a spare file of the right length into use, removes any other.
fn adopt_spare<D: Disk>(
    io: &mut Io<D>,
    files: &mut LogFiles,
    number: u64,
    bytes: u64,
) -> Result<(), Error> {
    let path = spare_path(number);
    let file = io.open(&path, Open::Existing)?;
    let len = io.len(file, &path);
    io.close(file);
    if len? == bytes && files.wants_spare() {
        files.adopt_spare(number);
        Ok(())
    } else {
        io.unlink(&path)
    }
}

/// Batches on their way into the files of a new epoch.
struct Copy<'a> {
    tail: &'a Tail,
    files: LogFiles,
    shard: u32,
    epoch: u64,
    /// Files begun, with their lengths; the last is the current one.
    begun: Vec<(u64, FileId, u64)>,
    at: Position,
    /// The first batch of all, written last.
    first: Option<(u64, FileId, Buffer)>,
}

impl<'a> Copy<'a> {
    fn begin<D: Disk>(
        io: &mut Io<D>,
        mut files: LogFiles,
        tail: &'a Tail,
        shard: u32,
        bytes: u64,
    ) -> Result<Self, Error> {
        let begun = files.take_first(io, bytes)?;
        let at = Position { file: begun.0, offset: 0, ..tail.last() };
        Ok(Self { tail, files, shard, epoch: tail.epoch + 1, begun: vec![begun], at, first: None })
    }

    fn append<D: Disk>(&mut self, io: &mut Io<D>, found: &Found) -> Result<(), Error> {
        let size = found.len();
        let (mut number, mut file, mut len) = *self.begun.last().expect("one is begun at once");
        // The first file may be too short for a batch of larger settings; it then stays empty.
        if self.at.offset + size > len {
            (number, file, len) = self.files.take(io, size)?;
            self.begun.push((number, file, len));
            self.at.offset = 0;
        }
        let place = Place { file: number, offset: self.at.offset };
        let is_first = self.first.is_none();
        let previous_crc = if is_first { found.header.previous_crc } else { self.at.crc };
        let header = Header {
            previous_crc,
            shard: self.shard,
            epoch: self.epoch,
            durable: self.tail.durable.min(found.header.lsn - 1),
            ..found.header
        };
        let (bytes, crc) = batch::encode(&header, &found.effects, place);
        if is_first {
            self.first = Some((number, file, bytes));
        } else {
            let write = Operation::Write { file, offset: place.offset, bytes };
            io.run("cannot write", &path(number), write)?;
        }
        self.at.file = number;
        self.at.offset += size;
        self.at.crc = crc;
        Ok(())
    }

    fn finish<D: Disk>(mut self, io: &mut Io<D>, congested_bytes: u64) -> Result<Log, Error> {
        for (number, file, _) in &self.begun {
            io.run("cannot sync", &path(*number), Operation::Sync { file: *file })?;
        }
        if let Some((number, file, bytes)) = self.first.take() {
            let write = Operation::WriteSync { file, offset: 0, bytes };
            io.run("cannot write", &path(number), write)?;
        }
        let (number, file, len) = self.begun.pop().expect("one is begun at once");
        for (number, file, _) in self.begun {
            io.close(file);
            self.files.keep(number);
        }
        self.at.file = number;
        Ok(Log::new(Start {
            files: self.files,
            shard: self.shard,
            epoch: self.epoch,
            congested_bytes,
            file,
            len,
            at: self.at,
        }))
    }
}

/// The log of a new store, without a batch yet. Files that a crash during an earlier creation left
/// hold nothing and are removed.
pub(in super::super) fn create<D: Disk>(
    io: &mut Io<D>,
    settings: &LocalSettings,
    listing: &Listing,
) -> Result<Log, Error> {
    for number in &listing.logs {
        io.unlink(&path(*number))?;
    }
    let next = listing.logs.last().map_or(1, |number| number + 1);
    let mut files = LogFiles::new(settings.log_file_bytes, next);
    let (number, file, len) = files.take_first(io, 0)?;
    let at = Position { file: number, ..Position::default() };
    Ok(Log::new(Start {
        files,
        shard: settings.shard,
        epoch: 1,
        congested_bytes: settings.congested_bytes,
        file,
        len,
        at,
    }))
}
