//! A disk that tells how much of it was read, so that copies and checks of a data directory can
//! show how far they are. It changes nothing.

use std::io;
use std::path::Path;

use levada_engine::disk::{Completion, Disk, FileId, Lane, Open, Operation, Ticket};

use crate::progress::Progress;

/// See the module.
pub(crate) struct Watched<'a, D> {
    disk: D,
    progress: &'a Progress,
}

impl<'a, D> Watched<'a, D> {
    /// A disk, and who is told of what is read.
    pub(crate) fn new(disk: D, progress: &'a Progress) -> Self {
        Self { disk, progress }
    }
}

/// Bytes of the files in a data directory, about as many as there are to read. What cannot be
/// looked at counts nothing: whoever reads it says so.
pub(crate) fn bytes(directory: &Path) -> u64 {
    let Ok(entries) = directory.read_dir() else {
        return 0;
    };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(it) if it.is_dir() => bytes(&entry.path()),
        Ok(it) if it.is_file() => it.len(),
        _ => 0,
    };
    entries.filter_map(Result::ok).map(of).sum()
}

impl<D: Disk> Disk for Watched<'_, D> {
    fn open(&mut self, path: &str, how: Open) -> io::Result<FileId> {
        self.disk.open(path, how)
    }
    fn reopen(&mut self, file: FileId, path: &str) -> io::Result<FileId> {
        self.disk.reopen(file, path)
    }
    fn close(&mut self, file: FileId) {
        self.disk.close(file);
    }
    fn len(&mut self, file: FileId) -> io::Result<u64> {
        self.disk.len(file)
    }
    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.disk.set_len(file, len)
    }
    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.disk.read_at(file, offset, buffer)?;
        self.progress.advanced(read as u64);
        Ok(read)
    }
    fn submit(&mut self, operation: Operation, lane: Lane) -> Ticket {
        if let Operation::Read { len, .. } = &operation {
            self.progress.advanced(*len as u64);
        }
        self.disk.submit(operation, lane)
    }
    fn poll_completed(&mut self) -> Option<Completion> {
        self.disk.poll_completed()
    }
    fn wait_completed(&mut self) {
        self.disk.wait_completed();
    }
    fn list(&mut self, directory: &str) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }
    fn sync_directory(&mut self, directory: &str) -> io::Result<()> {
        self.disk.sync_directory(directory)
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn unlink(&mut self, path: &str) -> io::Result<()> {
        self.disk.unlink(path)
    }
    fn free_space(&mut self) -> io::Result<u64> {
        self.disk.free_space()
    }
}
