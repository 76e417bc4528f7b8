//! A disk whose background lane is other threads, and which remembers what was synced.

use std::{io, sync::Arc};

use super::{
    background::{Background, Work},
    threads::Mutex,
};
use crate::disk::{Completion, Disk, FileId, Lane, Open, Operation, Ticket, memory::MemoryDisk};

/// See the module.
pub(super) struct LateDisk {
    medium: Medium,
    lane: Background<Job>,
    next: u64,
}

/// What the threads share.
#[derive(Clone)]
pub(super) struct Medium(Arc<Mutex<State>>);

struct State {
    disk: MemoryDisk,
    /// The disk as it was at the last sync.
    synced: MemoryDisk,
    /// Syncs that still succeed.
    syncs_left: usize,
}

struct Job {
    medium: Medium,
    ticket: Ticket,
    operation: Operation,
}

impl Medium {
    /// An empty one, or what was on another.
    pub(super) fn new(disk: MemoryDisk) -> Self {
        let synced = disk.clone();
        Self(Arc::new(Mutex::new(State { disk, synced, syncs_left: usize::MAX })))
    }

    /// Lets so many syncs succeed from now on.
    pub(super) fn fail_after(&self, syncs: usize) {
        self.with(|state| state.syncs_left = syncs);
    }

    /// What a power cut would leave.
    pub(super) fn image(&self) -> MemoryDisk {
        self.with(|state| state.synced.clone())
    }

    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.0.lock().expect("no panic"))
    }
}

impl Work for Job {
    type Done = Completion;

    fn carry_out(self) -> Completion {
        let Self { medium, ticket, operation } = self;
        let result = medium.with(|state| state.carry_out(operation));
        Completion { ticket, result, sync_us: None }
    }
}

impl State {
    fn carry_out(&mut self, operation: Operation) -> io::Result<Vec<u8>> {
        let syncs = matches!(operation, Operation::Sync { .. } | Operation::WriteSync { .. });
        if syncs && self.syncs_left == 0 {
            return Err(io::Error::other("the device failed"));
        }
        self.disk.submit(operation, Lane::Inline);
        let done = self.disk.poll_completed().expect("it is done at once");
        if syncs {
            self.syncs_left -= 1;
            self.synced = self.disk.clone();
        }
        done.result
    }
}

impl LateDisk {
    pub(super) fn new(medium: Medium) -> Self {
        let lane = Background::start("late", 2, 8).expect("threads");
        Self { medium, lane, next: 0 }
    }
}

impl Disk for LateDisk {
    fn open(&mut self, path: &str, how: Open) -> io::Result<FileId> {
        self.medium.with(|state| state.disk.open(path, how))
    }

    fn close(&mut self, file: FileId) {
        self.medium.with(|state| state.disk.close(file));
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        self.medium.with(|state| state.disk.len(file))
    }

    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.medium.with(|state| state.disk.set_len(file, len))
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.medium.with(|state| state.disk.read_at(file, offset, buffer))
    }

    fn submit(&mut self, operation: Operation, lane: Lane) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        let job = Job { medium: self.medium.clone(), ticket, operation };
        match lane {
            Lane::Inline => self.lane.carry_out(job),
            Lane::Background => self.lane.submit(job),
        }
        ticket
    }

    fn poll_completed(&mut self) -> Option<Completion> {
        self.lane.poll()
    }

    fn wait_completed(&mut self) {
        self.lane.wait();
    }

    fn list(&mut self, directory: &str) -> io::Result<Vec<String>> {
        self.medium.with(|state| state.disk.list(directory))
    }

    fn sync_directory(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.medium.with(|state| state.disk.rename(from, to))
    }

    fn unlink(&mut self, path: &str) -> io::Result<()> {
        self.medium.with(|state| state.disk.unlink(path))
    }

    fn free_space(&mut self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}
