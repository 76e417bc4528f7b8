//! A disk in memory: what `memory:` engines and tests run on.
//!
//! Every operation completes when it is submitted, and a write is there at once: a clone of the
//! disk is the image that a killed process would leave behind. Files share their bytes with such a
//! clone until one of the two writes. Open files belong to the clone too, as they would to a fork.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
};

use super::{Completion, Disk, FileId, Lane, Open, Operation, Ticket};

/// See the module.
#[derive(Clone, Default, Debug)]
pub struct MemoryDisk {
    /// Names to file numbers; an open file outlives its name, as on a real disk.
    names: BTreeMap<String, u32>,
    files: BTreeMap<u32, Arc<Vec<u8>>>,
    open: BTreeMap<FileId, u32>,
    completed: VecDeque<(Ticket, Result<Vec<u8>, io::ErrorKind>)>,
    next: u64,
    /// Bytes that all files together may have.
    capacity: Option<u64>,
    /// Open files beyond which there are too many.
    open_max: Option<usize>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Paths of all files, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The bytes of a file, for tests and tools.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.files.get(self.names.get(path)?).map(|b| b.as_slice())
    }

    /// The bytes of a file, to damage or replace them.
    pub fn bytes_mut(&mut self, path: &str) -> Option<&mut Vec<u8>> {
        self.files.get_mut(self.names.get(path)?).map(Arc::make_mut)
    }

    /// Lets all files together have so many bytes, or any number.
    pub fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    /// Lets the disk say that it lacks files while more than so many are open.
    pub fn set_open_max(&mut self, files: Option<usize>) {
        self.open_max = files;
    }

    /// How many files are open.
    pub fn open_files(&self) -> usize {
        self.open.len()
    }

    fn free(&self) -> u64 {
        let used: usize = self.files.values().map(|bytes| bytes.len()).sum();
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(used as u64))
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn content(&mut self, file: FileId) -> io::Result<&mut Arc<Vec<u8>>> {
        let number = self.open.get(&file).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.files.entry(*number).or_default())
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let free = self.free();
        let content = Arc::make_mut(self.content(file)?);
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        if content.len() < end {
            if (end - content.len()) as u64 > free {
                return Err(io::ErrorKind::StorageFull.into());
            }
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn carry_out(&mut self, operation: &Operation) -> io::Result<Vec<u8>> {
        match operation {
            Operation::Write { file, offset, bytes }
            | Operation::WriteSync { file, offset, bytes } => {
                self.write(*file, *offset, bytes).map(|()| Vec::new())
            }
            Operation::Sync { file } => self.content(*file).map(|_| Vec::new()),
            Operation::Read { file, offset, len } => {
                let mut bytes = vec![0; *len];
                let read = self.read_at(*file, *offset, &mut bytes)?;
                bytes.truncate(read);
                Ok(bytes)
            }
        }
    }
}

impl Disk for MemoryDisk {
    fn open(&mut self, path: &str, how: Open) -> io::Result<FileId> {
        let file = match (self.names.get(path), how) {
            (Some(_), Open::New) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, Open::Existing) => return Err(io::ErrorKind::NotFound.into()),
            (Some(file), Open::Existing) => *file,
            (None, Open::New) => {
                let file = u32::try_from(self.number()).map_err(io::Error::other)?;
                self.names.insert(path.to_owned(), file);
                self.files.insert(file, Arc::default());
                file
            }
        };
        let id = FileId(u32::try_from(self.number()).map_err(io::Error::other)?);
        self.open.insert(id, file);
        Ok(id)
    }

    fn close(&mut self, file: FileId) {
        if let Some(number) = self.open.remove(&file)
            && !self.names.values().any(|named| *named == number)
            && !self.open.values().any(|open| *open == number)
        {
            self.files.remove(&number);
        }
    }

    fn lacks_files(&mut self) -> bool {
        self.open_max.is_some_and(|most| self.open.len() > most)
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        Ok(self.content(file)?.len() as u64)
    }

    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        Arc::make_mut(self.content(file)?).resize(len, 0);
        Ok(())
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let content = self.content(file)?;
        let start = usize::try_from(offset).map_or(content.len(), |at| at.min(content.len()));
        let len = buffer.len().min(content.len() - start);
        buffer[..len].copy_from_slice(&content[start..start + len]);
        Ok(len)
    }

    fn submit(&mut self, operation: Operation, _lane: Lane) -> Ticket {
        let ticket = Ticket(self.number());
        let result = self.carry_out(&operation).map_err(|error| error.kind());
        self.completed.push_back((ticket, result));
        ticket
    }

    fn poll_completed(&mut self) -> Option<Completion> {
        let (ticket, result) = self.completed.pop_front()?;
        Some(Completion { ticket, result: result.map_err(io::Error::from), sync_us: None })
    }

    fn wait_completed(&mut self) {}

    fn list(&mut self, directory: &str) -> io::Result<Vec<String>> {
        let inside = |path: &String| match directory {
            "" => Some(path.clone()),
            _ => path.strip_prefix(directory)?.strip_prefix('/').map(str::to_owned),
        };
        let names = self.names.keys().filter_map(inside);
        Ok(names.filter(|name| !name.contains('/')).collect())
    }

    fn sync_directory(&mut self, _directory: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let file = self.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        if let Some(replaced) = self.names.insert(to.to_owned(), file)
            && !self.open.values().any(|open| *open == replaced)
        {
            self.files.remove(&replaced);
        }
        Ok(())
    }

    fn unlink(&mut self, path: &str) -> io::Result<()> {
        let file = self.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        if !self.open.values().any(|open| *open == file) {
            self.files.remove(&file);
        }
        Ok(())
    }

    fn free_space(&mut self) -> io::Result<u64> {
        Ok(self.free())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_an_image_of_its_moment() {
        let mut disk = MemoryDisk::new();
        let file = disk.open("a", Open::New).expect("new");
        let write = |bytes: &[u8]| Operation::Write { file, offset: 2, bytes: bytes.into() };
        disk.submit(write(b"one"), Lane::Background);
        let image = disk.clone();
        disk.submit(write(b"two"), Lane::Inline);
        assert_eq!(image.bytes("a"), Some(&b"\0\0one"[..]));
        assert_eq!(disk.bytes("a"), Some(&b"\0\0two"[..]));
    }

    #[test]
    fn an_open_file_outlives_its_name() {
        let mut disk = MemoryDisk::new();
        let file = disk.open("d/a", Open::New).expect("new");
        disk.set_len(file, 3).expect("open");
        disk.rename("d/a", "d/b").expect("there");
        assert_eq!(disk.list("d").expect("listed"), ["b"]);
        assert!(disk.list("").expect("listed").is_empty());
        disk.unlink("d/b").expect("there");
        assert_eq!(disk.len(file).expect("still open"), 3);
        disk.close(file);
        assert!(disk.len(file).is_err());
        assert!(disk.open("d/b", Open::Existing).is_err());
    }
}
