//! A disk that loses what was not synced, and that stops at a chosen operation.
//!
//! Operations on the background lane complete later and in any order. A power cut keeps of every
//! unsynced write some sectors, none, all, or garbage, and of unsynced changes to directories some.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    rc::Rc,
    sync::Arc,
};

use crate::disk::{Buffer, Completion, Disk, FileId, Lane, Open, Operation, Ticket};

const SECTOR: usize = 512;

/// A handle to the disk; clones share it.
#[derive(Clone)]
pub(super) struct CrashDisk(Rc<RefCell<State>>);

/// Seeded numbers (xorshift).
#[derive(Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

#[derive(Clone)]
struct State {
    names: BTreeMap<String, u32>,
    durable_names: BTreeMap<String, u32>,
    changes: Vec<Change>,
    files: BTreeMap<u32, Content>,
    open: BTreeMap<FileId, u32>,
    /// With the file and how many writes had completed when it was submitted.
    queue: Vec<(Ticket, Operation, u32, u64)>,
    writes: u64,
    completed: VecDeque<Ended>,
    next: u32,
    random: Random,
    /// Operations until everything fails.
    left: u64,
    /// Files that may be open.
    files_max: usize,
}

type Ended = (Ticket, Result<Vec<u8>, io::ErrorKind>);

#[derive(Clone, Default)]
struct Content {
    now: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    /// Completed writes that are not durable, with their numbers.
    pending: Vec<(u64, usize, Buffer)>,
}

#[derive(Clone)]
enum Change {
    Insert(String, u32),
    Rename(String, String, u32),
    Remove(String),
}

impl CrashDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            files: BTreeMap::new(),
            open: BTreeMap::new(),
            queue: Vec::new(),
            writes: 0,
            completed: VecDeque::new(),
            next: 0,
            random: Random::new(seed),
            left: u64::MAX,
            files_max: usize::MAX,
        })))
    }

    /// Everything fails after so many operations.
    pub(super) fn stop_after(&self, operations: u64) {
        self.0.borrow_mut().left = operations;
    }

    /// Lets no more files be open than so many.
    pub(super) fn set_files_max(&self, files: usize) {
        self.0.borrow_mut().files_max = files;
    }

    /// How many there are.
    pub(super) fn files(&self) -> usize {
        self.0.borrow().held_files()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.borrow().left == 0
    }

    /// What a killed process leaves: everything that completed.
    pub(super) fn kill(&self) -> Self {
        let mut state = self.0.borrow().clone();
        state.restart();
        Self(Rc::new(RefCell::new(state)))
    }

    /// What a power cut leaves.
    pub(super) fn cut(&self, seed: u64) -> Self {
        let mut state = self.0.borrow().clone();
        let mut random = Random::new(seed);
        let mut names = state.durable_names.clone();
        for change in &state.changes {
            if random.below(2) == 0 {
                change.apply(&mut names);
            }
        }
        state.names = names;
        for content in state.files.values_mut() {
            content.now = Arc::new(content.after_cut(&mut random));
            content.durable = Arc::clone(&content.now);
            content.pending.clear();
        }
        state.restart();
        state.durable_names = state.names.clone();
        state.changes.clear();
        Self(Rc::new(RefCell::new(state)))
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.0.borrow().names.keys().cloned().collect()
    }

    pub(super) fn bytes(&self, path: &str) -> Vec<u8> {
        let state = self.0.borrow();
        state.files[&state.names[path]].now.to_vec()
    }

    /// All files, to compare.
    pub(super) fn image(&self) -> BTreeMap<String, Vec<u8>> {
        let paths = self.paths().into_iter();
        paths.map(|path| (path.clone(), self.bytes(&path))).collect()
    }

    /// Puts a file, durable at once.
    pub(super) fn set(&self, path: &str, bytes: Vec<u8>) {
        let mut state = self.0.borrow_mut();
        state.next += 1;
        let file = state.next;
        state.names.insert(path.to_owned(), file);
        state.durable_names.insert(path.to_owned(), file);
        let content =
            Content { now: Arc::new(bytes.clone()), durable: Arc::new(bytes), pending: Vec::new() };
        state.files.insert(file, content);
    }

    pub(super) fn remove(&self, path: &str) {
        let mut state = self.0.borrow_mut();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    pub(super) fn flip(&self, path: &str, at: usize, bit: u8) {
        let mut bytes = self.bytes(path);
        bytes[at] ^= 1 << bit;
        self.set(path, bytes);
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, u32>) {
        match self {
            Self::Insert(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Remove(path) => drop(names.remove(path)),
        }
    }

    fn is_in(&self, directory: &str) -> bool {
        let path = match self {
            Self::Insert(path, _) | Self::Rename(_, path, _) | Self::Remove(path) => path,
        };
        path.rsplit_once('/').map_or("", |(parent, _)| parent) == directory
    }
}

impl Content {
    fn write(&mut self, number: u64, at: usize, bytes: &Buffer) {
        put(Arc::make_mut(&mut self.now), at, bytes);
        self.pending.push((number, at, bytes.clone()));
    }

    /// Makes writes up to a number durable.
    fn sync(&mut self, up_to: u64) {
        let durable = Arc::make_mut(&mut self.durable);
        self.pending.retain(|(number, at, bytes)| {
            if *number <= up_to {
                put(durable, *at, bytes);
            }
            *number > up_to
        });
    }

    fn after_cut(&self, random: &mut Random) -> Vec<u8> {
        let mut out = self.durable.to_vec();
        for (_, at, bytes) in &self.pending {
            let fate = random.below(5);
            for (n, sector) in bytes.chunks(SECTOR).enumerate() {
                let at = at + n * SECTOR;
                let whole = match fate {
                    0 => false,
                    1 => true,
                    2 => random.below(2) == 0,
                    3 => random.below(8) > 0,
                    _ => {
                        if random.below(4) == 0 {
                            put(&mut out, at, &vec![0xa5; sector.len()]);
                        }
                        false
                    }
                };
                if whole {
                    put(&mut out, at, sector);
                }
            }
        }
        out
    }
}

fn put(out: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if out.len() < at + bytes.len() {
        out.resize(at + bytes.len(), 0);
    }
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

impl State {
    fn restart(&mut self) {
        self.open.clear();
        self.queue.clear();
        self.completed.clear();
        self.left = u64::MAX;
    }

    fn step(&mut self) -> io::Result<()> {
        self.left = self.left.saturating_sub(1);
        match self.left {
            0 => Err(io::Error::other("the disk has stopped")),
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        let was_stopped = self.left == 0;
        let stopped = self.step();
        if was_stopped {
            return stopped;
        }
        // The one at which the disk stops may have happened.
        change.apply(&mut self.names);
        self.changes.push(change);
        stopped
    }

    /// Files that are open, or held by what is under way.
    fn held_files(&self) -> usize {
        let is_closed = |inode: &u32| !self.open.values().any(|open| open == inode);
        let closed: BTreeSet<_> = self.queue.iter().map(|row| row.2).filter(is_closed).collect();
        self.open.len() + closed.len()
    }

    fn inode(&self, file: FileId) -> io::Result<u32> {
        let file = self.open.get(&file).copied();
        file.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Carries an operation out that was submitted when `seen` writes had completed.
    fn carry_out(&mut self, operation: &Operation, file: u32, seen: u64) -> io::Result<Vec<u8>> {
        let was_stopped = self.left == 0;
        let stopped = self.step();
        let content = self.files.get_mut(&file).expect("open files exist");
        if was_stopped {
            return stopped.map(|()| Vec::new());
        }
        self.writes += 1;
        match operation {
            Operation::Write { offset, bytes, .. } => {
                content.write(self.writes, *offset as usize, bytes);
            }
            Operation::WriteSync { offset, bytes, .. } => {
                content.write(self.writes, *offset as usize, bytes);
                stopped?;
                content.sync(self.writes);
                return Ok(Vec::new());
            }
            Operation::Sync { .. } => {
                stopped?;
                content.sync(seen);
                return Ok(Vec::new());
            }
            Operation::Read { offset, len, .. } => {
                let from = (*offset as usize).min(content.now.len());
                let to = (from + len).min(content.now.len());
                stopped?;
                return Ok(content.now[from..to].to_vec());
            }
        }
        stopped.map(|()| Vec::new())
    }

    fn run_one(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let at = self.random.below(self.queue.len() as u64) as usize;
        let (ticket, operation, file, seen) = self.queue.remove(at);
        let result = self.carry_out(&operation, file, seen);
        let result = result.map_err(|error| error.kind());
        self.completed.push_back((ticket, result));
    }
}

impl Disk for CrashDisk {
    fn open(&mut self, path: &str, how: Open) -> io::Result<FileId> {
        let mut state = self.0.borrow_mut();
        if state.held_files() >= state.files_max {
            return Err(rustix::io::Errno::MFILE.into());
        }
        let file = match (state.names.get(path).copied(), how) {
            (Some(_), Open::New) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, Open::Existing) => return Err(io::ErrorKind::NotFound.into()),
            (Some(file), Open::Existing) => {
                state.step()?;
                file
            }
            (None, Open::New) => {
                state.next += 1;
                let file = state.next;
                state.files.insert(file, Content::default());
                state.change(Change::Insert(path.to_owned(), file))?;
                file
            }
        };
        state.next += 1;
        let id = FileId(state.next);
        state.open.insert(id, file);
        Ok(id)
    }

    fn close(&mut self, file: FileId) {
        let known = self.0.borrow_mut().open.remove(&file);
        assert!(known.is_some(), "closed twice");
    }

    fn lacks_files(&mut self) -> bool {
        let state = self.0.borrow();
        state.held_files() >= state.files_max
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        let state = self.0.borrow();
        Ok(state.files[&state.inode(file)?].now.len() as u64)
    }

    fn set_len(&mut self, _file: FileId, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        state.step()?;
        let content = &state.files[&state.inode(file)?].now;
        let from = (offset as usize).min(content.len());
        let len = buffer.len().min(content.len() - from);
        buffer[..len].copy_from_slice(&content[from..from + len]);
        Ok(len)
    }

    fn submit(&mut self, operation: Operation, lane: Lane) -> Ticket {
        let mut state = self.0.borrow_mut();
        state.next += 1;
        let ticket = Ticket(u64::from(state.next));
        let (Operation::Write { file, .. }
        | Operation::WriteSync { file, .. }
        | Operation::Sync { file }
        | Operation::Read { file, .. }) = operation;
        let file = state.inode(file).expect("only open files are used");
        let seen = state.writes;
        state.queue.push((ticket, operation, file, seen));
        if lane == Lane::Inline {
            let last = state.queue.pop().expect("just put");
            let others = std::mem::replace(&mut state.queue, vec![last]);
            state.run_one();
            state.queue = others;
        }
        ticket
    }

    fn poll_completed(&mut self) -> Option<Completion> {
        let mut state = self.0.borrow_mut();
        if state.random.below(3) > 0 {
            state.run_one();
        }
        let (ticket, result) = state.completed.pop_front()?;
        Some(Completion { ticket, result: result.map_err(io::Error::from), sync_us: None })
    }

    fn wait_completed(&mut self) {
        let mut state = self.0.borrow_mut();
        if state.completed.is_empty() {
            state.run_one();
        }
    }

    fn list(&mut self, directory: &str) -> io::Result<Vec<String>> {
        let mut state = self.0.borrow_mut();
        state.step()?;
        let inside = |path: &String| match directory {
            "" => Some(path.clone()),
            _ => path.strip_prefix(directory)?.strip_prefix('/').map(str::to_owned),
        };
        let names = state.names.keys().filter_map(inside);
        Ok(names.filter(|name| !name.contains('/')).collect())
    }

    fn sync_directory(&mut self, directory: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.step()?;
        let changes = std::mem::take(&mut state.changes);
        for change in changes {
            if change.is_in(directory) {
                change.apply(&mut state.durable_names);
            } else {
                state.changes.push(change);
            }
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let file = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change(Change::Rename(from.to_owned(), to.to_owned(), file))
    }

    fn unlink(&mut self, path: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Remove(path.to_owned()))
    }

    fn free_space(&mut self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}
