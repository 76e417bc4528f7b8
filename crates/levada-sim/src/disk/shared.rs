//! A handle on a fault disk, for when the engine under test owns its disk: the simulation keeps a
//! second handle, through which the device outlives an engine that was dropped or did not open.

use std::{cell::RefCell, io, rc::Rc};

use levada_engine::disk::{Completion, Disk, FileId, Lane, Open, Operation, Ticket};

use super::FaultDisk;

/// A disk with several owners, all on one thread.
#[derive(Clone, Debug)]
pub struct SharedDisk(Rc<RefCell<FaultDisk>>);

impl SharedDisk {
    /// A handle on a device.
    pub fn new(disk: FaultDisk) -> Self {
        Self(Rc::new(RefCell::new(disk)))
    }

    /// Does something to the device: crashes it, say. Panics if called from within itself.
    pub fn with<T>(&self, act: impl FnOnce(&mut FaultDisk) -> T) -> T {
        act(&mut self.0.borrow_mut())
    }
}

impl Disk for SharedDisk {
    fn open(&mut self, path: &str, how: Open) -> io::Result<FileId> {
        self.with(|disk| disk.open(path, how))
    }

    fn close(&mut self, file: FileId) {
        self.with(|disk| disk.close(file));
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        self.with(|disk| disk.len(file))
    }

    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.with(|disk| disk.set_len(file, len))
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|disk| disk.read_at(file, offset, buffer))
    }

    fn submit(&mut self, operation: Operation, lane: Lane) -> Ticket {
        self.with(|disk| disk.submit(operation, lane))
    }

    fn poll_completed(&mut self) -> Option<Completion> {
        self.with(FaultDisk::poll_completed)
    }

    fn wait_completed(&mut self) {
        self.with(FaultDisk::wait_completed);
    }

    fn list(&mut self, directory: &str) -> io::Result<Vec<String>> {
        self.with(|disk| disk.list(directory))
    }

    fn sync_directory(&mut self, directory: &str) -> io::Result<()> {
        self.with(|disk| disk.sync_directory(directory))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.with(|disk| disk.rename(from, to))
    }

    fn unlink(&mut self, path: &str) -> io::Result<()> {
        self.with(|disk| disk.unlink(path))
    }

    fn free_space(&mut self) -> io::Result<u64> {
        self.with(FaultDisk::free_space)
    }
}
