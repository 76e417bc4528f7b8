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
    fn lacks_files(&mut self) -> bool {
        self.disk.lacks_files()
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

#[cfg(test)]
mod tests {
    use levada_engine::disk::memory::MemoryDisk;

    use super::*;
    use crate::progress::Unit;

    #[test]
    fn what_is_read_is_told_and_nothing_else() {
        let progress = Progress::new(Unit::Bytes, true);
        let mut disk = Watched::new(MemoryDisk::default(), &progress);
        let file = disk.open("log/a", Open::New).expect("a new file");
        let bytes = [7; 100][..].into();
        disk.submit(Operation::Write { file, offset: 0, bytes }, Lane::Inline);
        disk.submit(Operation::Sync { file }, Lane::Inline);
        assert_eq!((progress.done(), disk.len(file).expect("it is open")), (0, 100));
        let mut buffer = [0; 64];
        assert_eq!(disk.read_at(file, 60, &mut buffer).expect("a read"), 40, "up to its end");
        assert_eq!((progress.done(), buffer[0]), (40, 7));
        disk.submit(Operation::Read { file, offset: 0, len: 10 }, Lane::Inline);
        assert_eq!(progress.done(), 50);
    }

    #[test]
    fn a_directory_is_as_long_as_its_files() {
        let directory = std::env::temp_dir().join(format!("levada-bytes-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("log")).expect("a directory for a test");
        std::fs::write(directory.join("manifest"), [0; 10]).expect("written");
        std::fs::write(directory.join("log/a"), [0; 100]).expect("written");
        let found = bytes(&directory);
        std::fs::remove_dir_all(&directory).expect("removed");
        assert_eq!((found, bytes(&directory)), (110, 0));
    }
}
