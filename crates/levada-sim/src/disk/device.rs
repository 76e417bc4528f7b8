//! The device: open files, what is under way, and where faults strike.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, ErrorKind},
};

use levada_engine::disk::{Buffer, Completion, Disk, FileId, Lane, Open, Operation, Ticket};

use super::{
    image::{Image, SECTOR, Temper},
    names::{Names, split},
    plan::{Fault, FaultPlan, Struck, Target},
    trace::{Counters, Trace},
};
use crate::random::Random;

/// A device that fails as the module says. A clone is a device of its own with the same past and,
/// until [`FaultDisk::reseed`], the same future.
#[derive(Clone, Debug)]
pub struct FaultDisk {
    pub(super) random: Random,
    plan: FaultPlan,
    capacity: Option<u64>,
    pub(super) names: Names,
    pub(super) images: BTreeMap<u32, Image>,
    open: BTreeMap<FileId, u32>,
    pub(super) under_way: Vec<Begun>,
    done: Vec<(Ticket, Outcome)>,
    is_stopped: bool,
    /// Files, open files and tickets are numbered from one counter; no number comes back.
    next: u32,
    /// The number of the last write or length that completed.
    change: u64,
    trace: Trace,
    counters: Counters,
    struck: Vec<Struck>,
}

/// Which bit was flipped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flip {
    /// Of which file.
    pub path: String,
    /// In which byte.
    pub offset: usize,
    /// Which bit, from 0 for the lowest to 7.
    pub bit: u32,
}

/// A submitted operation.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    ticket: Ticket,
    /// The file that the operation's number stood for when it was submitted.
    file: Result<u32, Failure>,
    operation: Operation,
    /// [`FaultDisk::change`] at that time.
    mark: u64,
}

/// Why something failed; [`io::Error`] cannot be cloned.
type Failure = (ErrorKind, &'static str);
type Outcome = Result<Vec<u8>, Failure>;

const STOPPED: Failure = (ErrorKind::Other, "the device has stopped");
const WRITE_FAILED: Failure = (ErrorKind::Other, "input/output error in a write");
const SYNC_FAILED: Failure = (ErrorKind::Other, "input/output error in a sync");
const READ_FAILED: Failure = (ErrorKind::Other, "input/output error in a read");
const FULL: Failure = (ErrorKind::StorageFull, "no space left on the device");
const NOT_OPEN: Failure = (ErrorKind::InvalidInput, "the file is not open");
const NOT_FOUND: Failure = (ErrorKind::NotFound, "no such file or directory");
const EXISTS: Failure = (ErrorKind::AlreadyExists, "the file exists");
const TOO_LARGE: Failure = (ErrorKind::FileTooLarge, "the place is beyond what memory can hold");

impl FaultDisk {
    /// An empty, sound device, whose choices are drawn from `random`.
    pub fn new(random: Random) -> Self {
        Self {
            random,
            plan: FaultPlan::new(),
            capacity: None,
            names: Names::default(),
            images: BTreeMap::new(),
            open: BTreeMap::new(),
            under_way: Vec::new(),
            done: Vec::new(),
            is_stopped: false,
            next: 0,
            change: 0,
            trace: Trace::default(),
            counters: Counters::default(),
            struck: Vec::new(),
        }
    }

    /// Replaces the source of choices, so that clones part ways.
    pub fn reseed(&mut self, random: Random) {
        self.random = random;
    }

    /// Replaces the plan; its counts begin now.
    pub fn set_plan(&mut self, plan: FaultPlan) {
        self.plan = plan;
    }

    /// Limits the space for data, in bytes, counted in whole sectors that were ever written;
    /// `None` is no limit. A limit below what is used refuses all new sectors.
    pub fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    /// The power cut, and power again: what may be lost is lost or not, by the seed. All files are
    /// closed, nothing is under way, no completion is left. The plan goes on.
    pub fn crash(&mut self) {
        while !self.under_way.is_empty() {
            let begun = self.take_under_way();
            if let Some((file, offset, bytes)) = begun.write()
                && self.random.chance(50)
            {
                self.put(file, offset, bytes, bytes.len());
            }
        }
        self.names.crash(&mut self.random);
        let temper = Temper::draw(&mut self.random);
        for image in self.images.values_mut() {
            image.crash(&temper, &mut self.random);
        }
        self.restart("power cut");
    }

    /// The process ends and may start again: what has completed is there, what was under way may
    /// be, in part. Nothing becomes durable by it.
    pub fn kill(&mut self) {
        while !self.under_way.is_empty() {
            let begun = self.take_under_way();
            if let Some((file, offset, bytes)) = begun.write() {
                let len = match self.random.below(3) {
                    0 => 0,
                    1 => self.cut_at_sector(offset, bytes.len()),
                    _ => bytes.len(),
                };
                self.put(file, offset, bytes, len);
            }
        }
        self.restart("kill");
    }

    /// Flips a random durable bit, each as likely, in the files whose path begins with
    /// `path_prefix`. None if they hold no byte. Unsynced writes to the place may mend it.
    pub fn flip(&mut self, path_prefix: &str) -> Option<Flip> {
        let files = self.names.files();
        let files: Vec<_> = files.filter(|(path, _)| path.starts_with(path_prefix)).collect();
        let len = |file: &u32| self.images[file].durable().len();
        let total: usize = files.iter().map(|(_, file)| len(file)).sum();
        if total == 0 {
            return None;
        }
        let mut offset = self.random.index(total);
        let bit = u32::try_from(self.random.below(8)).expect("a bit's number is small");
        let (path, file) = files.into_iter().find(|(_, file)| {
            let here = offset < len(file);
            offset -= if here { 0 } else { len(file) };
            here
        })?;
        let path = path.to_owned();
        self.image(file).flip(offset, bit);
        let flip = Flip { path, offset, bit };
        self.trace.bytes(flip.to_string().as_bytes());
        Some(flip)
    }

    /// Paths of all files, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.names.files().map(|(path, _)| path)
    }

    /// What reads of a file see.
    pub fn live(&self, path: &str) -> Option<&[u8]> {
        Some(self.images.get(&self.names.file(path)?)?.live())
    }

    /// What the medium is sure to hold of a file, if its name is durable.
    pub fn durable(&self, path: &str) -> Option<&[u8]> {
        Some(self.images.get(&self.names.file(path)?)?.durable())
    }

    /// Whether [`Fault::Stop`] has struck and neither a crash nor a kill has followed yet.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Faults of the plan that have struck, in order; a run whose fault did not is no test of it.
    pub fn struck(&self) -> &[Struck] {
        &self.struck
    }

    /// What was asked of the device so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// A hash over every call, its bytes, its result and every choice so far, in order.
    pub fn trace_hash(&self) -> u64 {
        // The generator's next number stands for all choices that no result has shown.
        let mut trace = self.trace.clone();
        trace.number(self.random.clone().bits());
        trace.hash()
    }

    pub(super) fn restart(&mut self, what: &str) {
        self.open.clear();
        self.under_way.clear();
        self.done.clear();
        self.is_stopped = false;
        self.counters.restarts += 1;
        self.trace.bytes(what.as_bytes());
        self.forget_unreferenced();
    }

    fn number(&mut self) -> u32 {
        self.next =
            self.next.checked_add(1).expect("fewer than 2^32 files and operations in a run");
        self.next
    }

    pub(super) fn image(&mut self, file: u32) -> &mut Image {
        self.images.entry(file).or_default()
    }

    fn opened(&self, file: FileId) -> Result<u32, Failure> {
        self.open.get(&file).copied().ok_or(NOT_OPEN)
    }

    fn take_under_way(&mut self) -> Begun {
        let place = self.random.index(self.under_way.len());
        self.under_way.swap_remove(place)
    }

    /// A length below `len`, of a write at `offset`, that ends where a sector does; or 0.
    fn cut_at_sector(&mut self, offset: usize, len: usize) -> usize {
        let cut = offset + self.random.index(len.max(1));
        (cut / SECTOR * SECTOR).saturating_sub(offset)
    }

    /// Notes a call and, if it changes something, asks whether the device stops at it.
    fn call(&mut self, name: &str, on: &str, changes: bool) -> Result<(), Failure> {
        self.counters.operations += 1;
        self.trace.bytes(name.as_bytes());
        self.trace.bytes(on.as_bytes());
        if changes && !self.is_stopped && self.strikes(Target::Change).is_some() {
            self.strike(Fault::Stop, format!("at {name} {on}"));
            self.is_stopped = true;
            let lost = self.under_way.iter().map(|begun| (begun.ticket, Err(STOPPED)));
            self.done.extend(lost);
        }
        if self.is_stopped { Err(STOPPED) } else { Ok(()) }
    }

    fn strikes(&mut self, target: Target) -> Option<Fault> {
        self.plan.strike(target, &mut self.random)
    }

    pub(super) fn strike(&mut self, fault: Fault, detail: String) {
        self.trace.bytes(detail.as_bytes());
        self.struck.push(Struck { fault, detail });
    }

    fn carry_out(&mut self, begun: &Begun) {
        let outcome = match (&begun.operation, begun.file) {
            (_, Err(failure)) => Err(failure),
            (Operation::Write { offset, bytes, .. }, Ok(file)) => self.write(file, *offset, bytes),
            (Operation::Sync { .. }, Ok(file)) => self.sync(file, begun.mark),
            (Operation::WriteSync { offset, bytes, .. }, Ok(file)) => {
                let written = self.write(file, *offset, bytes);
                written.and_then(|_| self.sync(file, self.change))
            }
            (Operation::Read { offset, len, .. }, Ok(file)) => self.read(file, *offset, *len),
        };
        self.done.push((begun.ticket, outcome));
    }

    fn write(&mut self, file: u32, offset: u64, bytes: &Buffer) -> Outcome {
        self.counters.writes += 1;
        let offset = place(offset)?;
        let end = offset.checked_add(bytes.len()).ok_or(TOO_LARGE)?;
        match self.strikes(Target::Write) {
            Some(Fault::MisdirectedWrite) => {
                self.misdirect(file, offset, bytes);
                return Ok(Vec::new());
            }
            Some(Fault::LostWrite) => {
                self.lose(file, offset, bytes);
                return Ok(Vec::new());
            }
            Some(Fault::ShortWrite) => {
                let len = self.random.index(bytes.len().max(1));
                self.strike(Fault::ShortWrite, format!("{len} bytes at {offset} of file {file}"));
                self.put(file, offset, bytes, len);
                return Err(WRITE_FAILED);
            }
            Some(fault) => {
                self.strike(fault, format!("at {offset} of file {file}"));
                return Err(if fault == Fault::NoSpace { FULL } else { WRITE_FAILED });
            }
            None => {}
        }
        if self.image(file).space_wanted(offset..end) > self.free() {
            // A file system may use what there is first.
            let mut fits = self.cut_at_sector(offset, bytes.len());
            while self.image(file).space_wanted(offset..offset + fits) > self.free() {
                fits = fits.saturating_sub(SECTOR);
            }
            self.put(file, offset, bytes, fits);
            self.strike(Fault::NoSpace, format!("{fits} bytes fit at {offset} of file {file}"));
            return Err(FULL);
        }
        self.put(file, offset, bytes, bytes.len());
        self.counters.bytes_written += bytes.len() as u64;
        Ok(Vec::new())
    }

    pub(super) fn put(&mut self, file: u32, offset: usize, bytes: &Buffer, len: usize) {
        self.change += 1;
        let change = self.change;
        self.image(file).write(change, offset, bytes, len);
    }

    fn sync(&mut self, file: u32, mark: u64) -> Outcome {
        self.counters.syncs += 1;
        if self.strikes(Target::Sync).is_some() {
            self.strike(Fault::SyncError, format!("of file {file}"));
            self.image(file).fail_sync(mark);
            return Err(SYNC_FAILED);
        }
        self.image(file).sync(mark);
        Ok(Vec::new())
    }

    fn read(&mut self, file: u32, offset: u64, len: usize) -> Outcome {
        if self.strikes(Target::Read).is_some() {
            self.strike(Fault::ReadError, format!("at {offset} of file {file}"));
            return Err(READ_FAILED);
        }
        let offset = place(offset)?;
        let bytes = self.image(file).live();
        let start = offset.min(bytes.len());
        let end = start.saturating_add(len).min(bytes.len());
        Ok(bytes[start..end].to_vec())
    }

    /// Bytes of the capacity that no file takes.
    fn free(&self) -> u64 {
        let Some(capacity) = self.capacity else {
            return u64::MAX;
        };
        let named = self.names.files().map(|(_, file)| file);
        let mut files: Vec<u32> = named.chain(self.open.values().copied()).collect();
        files.sort_unstable();
        files.dedup();
        let used = files.iter().filter_map(|file| self.images.get(file)).map(Image::space).sum();
        capacity.saturating_sub(used)
    }

    /// Drops the content of files that neither a name nor anybody can reach any more.
    fn forget_unreferenced(&mut self) {
        let mut referenced = self.names.referenced();
        referenced.extend(self.open.values());
        referenced.extend(self.under_way.iter().filter_map(|begun| begun.file.ok()));
        self.images.retain(|file, _| referenced.contains(file));
    }

    fn try_open(&mut self, path: &str, how: Open) -> Result<FileId, Failure> {
        self.call("open", path, how == Open::New)?;
        let file = match (self.names.file(path), how) {
            (Some(_), Open::New) => return Err(EXISTS),
            (None, Open::Existing) => return Err(NOT_FOUND),
            (Some(file), Open::Existing) => file,
            (None, Open::New) if self.names.has_directory(path) => return Err(EXISTS),
            (None, Open::New) if !self.names.has_directory(split(path).0) => return Err(NOT_FOUND),
            (None, Open::New) => {
                let file = self.number();
                self.names.create(path, file);
                self.images.insert(file, Image::default());
                file
            }
        };
        let id = FileId(self.number());
        self.open.insert(id, file);
        Ok(id)
    }

    fn try_set_len(&mut self, file: FileId, len: u64) -> Result<(), Failure> {
        self.call("set length", &format!("{} {len}", file.0), true)?;
        let file = self.opened(file)?;
        let len = place(len)?;
        self.change += 1;
        let change = self.change;
        self.image(file).set_len(change, len);
        Ok(())
    }

    fn try_sync_directory(&mut self, directory: &str) -> Result<(), Failure> {
        self.call("sync directory", directory, true)?;
        self.counters.directory_syncs += 1;
        if !self.names.has_directory(directory) {
            return Err(NOT_FOUND);
        }
        if self.strikes(Target::DirectorySync).is_some() {
            self.strike(Fault::DirectorySyncError, format!("of \"{directory}\""));
            return Err(SYNC_FAILED);
        }
        self.names.sync(directory);
        self.forget_unreferenced();
        Ok(())
    }

    fn try_rename(&mut self, from: &str, to: &str) -> Result<(), Failure> {
        self.call("rename", &format!("{from} {to}"), true)?;
        let file = self.names.file(from).ok_or(NOT_FOUND)?;
        if !self.names.has_directory(split(to).0) {
            return Err(NOT_FOUND);
        }
        if self.names.has_directory(to) {
            return Err(EXISTS);
        }
        if from != to {
            self.names.rename(from, to, file);
        }
        Ok(())
    }

    fn try_unlink(&mut self, path: &str) -> Result<(), Failure> {
        self.call("unlink", path, true)?;
        self.names.file(path).ok_or(NOT_FOUND)?;
        self.names.remove(path);
        Ok(())
    }
}

impl Disk for FaultDisk {
    fn open(&mut self, path: &str, how: Open) -> io::Result<FileId> {
        self.try_open(path, how).map_err(error)
    }

    fn close(&mut self, file: FileId) {
        self.trace.bytes(b"close");
        self.trace.number(u64::from(file.0));
        if self.open.remove(&file).is_some() {
            self.forget_unreferenced();
        }
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        self.call("length", "", false).map_err(error)?;
        let file = self.opened(file).map_err(error)?;
        Ok(self.image(file).live().len() as u64)
    }

    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.try_set_len(file, len).map_err(error)
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let on = format!("{} {offset} {}", file.0, buffer.len());
        self.call("read", &on, false).map_err(error)?;
        let file = self.opened(file).map_err(error)?;
        let bytes = self.read(file, offset, buffer.len()).map_err(error)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn submit(&mut self, operation: Operation, lane: Lane) -> Ticket {
        let ticket = Ticket(u64::from(self.number()));
        self.trace.operation(&operation);
        let changes = !matches!(operation, Operation::Read { .. });
        let was_stopped = self.is_stopped;
        let running = self.call("submit", &format!("{lane:?}"), changes);
        let begun =
            Begun { ticket, file: self.opened(file_of(&operation)), operation, mark: self.change };
        match (running, lane) {
            (Ok(()), Lane::Inline) => self.carry_out(&begun),
            (Ok(()), Lane::Background) => self.under_way.push(begun),
            (Err(failure), _) => {
                self.done.push((ticket, Err(failure)));
                if !was_stopped {
                    // The stop came while this was under way; what follows decides what is left of
                    // it.
                    self.under_way.push(begun);
                }
            }
        }
        ticket
    }

    fn poll_completed(&mut self) -> Option<Completion> {
        while !self.is_stopped && !self.under_way.is_empty() && self.random.chance(50) {
            let begun = self.take_under_way();
            self.carry_out(&begun);
        }
        if self.done.is_empty() {
            return None;
        }
        let place = self.random.index(self.done.len());
        let (ticket, outcome) = self.done.swap_remove(place);
        self.trace.number(ticket.0);
        match &outcome {
            Ok(bytes) => self.trace.bytes(bytes),
            Err((_, text)) => self.trace.bytes(text.as_bytes()),
        }
        let result = outcome.map_err(error);
        Some(Completion { ticket, result, sync_us: None })
    }

    fn wait_completed(&mut self) {
        if self.done.is_empty() && !self.is_stopped && !self.under_way.is_empty() {
            let begun = self.take_under_way();
            self.carry_out(&begun);
        }
    }

    fn list(&mut self, directory: &str) -> io::Result<Vec<String>> {
        let missing = !self.names.has_directory(directory);
        self.call("list", directory, missing).map_err(error)?;
        if self.names.create_directory(directory) {
            Ok(self.names.list(directory))
        } else {
            Err(error(EXISTS))
        }
    }

    fn sync_directory(&mut self, directory: &str) -> io::Result<()> {
        self.try_sync_directory(directory).map_err(error)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.try_rename(from, to).map_err(error)
    }

    fn unlink(&mut self, path: &str) -> io::Result<()> {
        self.try_unlink(path).map_err(error)
    }

    fn free_space(&mut self) -> io::Result<u64> {
        self.call("free space", "", false).map_err(error)?;
        Ok(self.free())
    }
}

impl Begun {
    /// File, place and bytes, if this writes and can.
    pub(super) fn write(&self) -> Option<(u32, usize, &Buffer)> {
        match &self.operation {
            Operation::Write { offset, bytes, .. } | Operation::WriteSync { offset, bytes, .. } => {
                Some((self.file.ok()?, place(*offset).ok()?, bytes))
            }
            Operation::Sync { .. } | Operation::Read { .. } => None,
        }
    }
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bit {} of byte {} of {}", self.bit, self.offset, self.path)
    }
}

fn error((kind, text): Failure) -> io::Error {
    io::Error::new(kind, text)
}

/// A place or length in a file as one in memory.
fn place(offset: u64) -> Result<usize, Failure> {
    usize::try_from(offset).map_err(|_| TOO_LARGE)
}

fn file_of(operation: &Operation) -> FileId {
    match operation {
        Operation::Write { file, .. }
        | Operation::Sync { file }
        | Operation::WriteSync { file, .. }
        | Operation::Read { file, .. } => *file,
    }
}
