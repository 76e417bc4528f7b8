//! The real disk: files below a data directory.
//!
//! Positioned reads and writes only, no mmap (an I/O error must be an error, not a signal). Whole
//! pages that nobody waits for in the loop go past the system's cache (`O_DIRECT`), where the file
//! system can: they would only push out what others read, and memory that the system has to find
//! for them first costs more than the write. Work on the background lane goes through a bounded
//! queue to a few threads, so that the syncs of the log do not stand before a short read; what they
//! finish is fetched by the owner with [`Disk::poll_completed`]. The directory is locked as long as
//! the disk lives: the kernel gives the lock back when the process ends, however it ends.
//!
//! A sync of a file that was removed under our hands succeeds, and so does one of a file whose
//! directory was renamed; what it made durable no restart would find. So a sync has succeeded only
//! if the file still stands behind the path by which the next process would look for it.

use std::{
    fmt, fs, io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{self, Path, PathBuf},
    sync::{Arc, OnceLock},
};

pub use super::background::Waker;
use super::{
    Buffer, Completion, Disk, FileId, LOG_SYNCS_MAX, Lane, Open, Operation, PAGE_BYTES, Ticket,
    background::{Background, TURNS_MAX, Work},
    spares::Spares,
};
use crate::{
    clock::Stopwatch,
    error::{Error, ErrorKind},
};

/// Threads of the background lane: those that write, and those that the log may keep waiting.
const WORKERS: usize = LOG_SYNCS_MAX + TURNS_MAX;
/// The file that is locked.
const LOCK: &str = "lock";
/// Operations that may wait for them; the caller waits when there are more.
const QUEUE_MAX: usize = 1024;
/// Removed files whose space is not given back yet; the caller waits when there are more.
const GONE_MAX: usize = 16;

/// See the module.
pub struct FileDisk {
    /// Absolute, for the working directory may be renamed; with its symbolic links, for the next
    /// process follows them anew.
    directory: PathBuf,
    /// Whether nothing may change.
    reads_only: bool,
    /// Held open for its lock; a directory that is only read may have none.
    lock: Option<OpenFile>,
    files: Vec<Option<Arc<OpenFile>>>,
    spares: Spares,
    next_ticket: u64,
    background: Background<Job>,
    gone: Background<Gone>,
}

/// A file without a name any more. Whoever closes it last gives its space back to the file system,
/// which takes the longer the larger it is: 16 ms for 64 MiB on ext4.
struct Gone(fs::File);

impl Work for Gone {
    type Done = ();

    fn carry_out(self) {
        drop(self.0);
    }
}

/// A file and the place where the next process will look for it. Nobody renames a file of ours
/// while we have it open.
struct OpenFile {
    file: fs::File,
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// The same past the system's cache, from the first write that wants it; `None` where the file
    /// system has no such thing.
    direct: OnceLock<Option<fs::File>>,
}

/// One operation on its way to a worker.
struct Job {
    ticket: Ticket,
    file: io::Result<Arc<OpenFile>>,
    operation: Operation,
    lane: Lane,
}

impl FileDisk {
    /// Takes over a data directory, creating it where it is missing. Fails with
    /// [`ErrorKind::Busy`] while another process has it.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, Error> {
        let (directory, shown) = absolute(directory.as_ref())?;
        fs::create_dir_all(&directory)
            .map_err(|error| Error::io("cannot create data directory", &shown, &error))?;
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(LOCK))
            .map_err(|error| Error::io("cannot open the lock of data directory", &shown, &error))?;
        held(file.try_lock(), &shown)?;
        Self::start(directory, false, Some(file))
    }

    /// Looks into a data directory and changes nothing in it, not even by creating a file. Others
    /// may do the same at once; fails with [`ErrorKind::Busy`] while a process has it to write.
    pub fn open_to_read(directory: impl AsRef<Path>) -> Result<Self, Error> {
        let (directory, shown) = existing(directory.as_ref())?;
        // Without a lock no process ever had it: it is a copy.
        let lock = fs::File::open(directory.join(LOCK)).ok();
        if let Some(lock) = &lock {
            held(lock.try_lock_shared(), &shown)?;
        }
        Self::start(directory, true, lock)
    }

    /// Looks into a data directory that a process may have to write, beside it: what is read may
    /// change meanwhile. Changes nothing.
    pub fn open_beside(directory: impl AsRef<Path>) -> Result<Self, Error> {
        let (directory, _) = existing(directory.as_ref())?;
        Self::start(directory, true, None)
    }

    fn start(directory: PathBuf, reads_only: bool, lock: Option<fs::File>) -> Result<Self, Error> {
        let shown = directory.display().to_string();
        let lock = lock.map(|file| OpenFile::new(file, directory.join(LOCK))).transpose();
        let lock = lock.map_err(|error| Error::io("cannot look at the lock of", &shown, &error))?;
        let failed = |error| Error::io("cannot start a disk thread for", &shown, &error);
        let background = Background::start("levada-disk", WORKERS, QUEUE_MAX).map_err(failed)?;
        let gone =
            Background::start("levada-gone", usize::from(!reads_only), GONE_MAX).map_err(failed)?;
        let (files, spares) = (Vec::new(), Spares::new(directory.clone()));
        Ok(Self { directory, reads_only, lock, files, spares, next_ticket: 0, background, gone })
    }

    /// Has `waker` called after each completion on the background lane, from another thread.
    pub fn set_waker(&mut self, waker: Waker) {
        self.background.set_waker(waker);
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.directory.clone() } else { self.directory.join(path) }
    }

    fn may_change(&self) -> io::Result<()> {
        if self.reads_only { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }

    /// Fails where the directory, or its lock, is no longer behind the path that we were given.
    fn check_place(&self) -> io::Result<()> {
        self.lock.as_ref().map_or(Ok(()), OpenFile::check_place)
    }

    fn file(&self, file: FileId) -> io::Result<Arc<OpenFile>> {
        self.files
            .get(file.0 as usize)
            .and_then(Option::clone)
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

impl fmt::Debug for FileDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileDisk").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Disk for FileDisk {
    fn open(&mut self, path: &str, how: Open) -> io::Result<FileId> {
        let path = self.path(path);
        let mut options = fs::OpenOptions::new();
        options.read(true).write(!self.reads_only).create_new(how == Open::New);
        let file = self.spares.open(|| options.open(&path))?;
        let file = Some(Arc::new(OpenFile::new(file, path)?));
        let place = if let Some(place) = self.files.iter().position(Option::is_none) {
            self.files[place] = file;
            place
        } else {
            self.files.push(file);
            self.files.len() - 1
        };
        Ok(FileId(u32::try_from(place).map_err(io::Error::other)?))
    }

    fn reopen(&mut self, file: FileId, path: &str) -> io::Result<FileId> {
        let first = self.file(file)?;
        let opened = self.open(path, Open::Existing);
        let again = opened.or_else(|error| first.check_place().and(Err(error)))?;
        if self.file(again)?.identity == first.identity {
            return Ok(again);
        }
        self.close(again);
        first.check_place()?;
        Err(io::ErrorKind::NotFound.into())
    }

    fn close(&mut self, file: FileId) {
        if let Some(place) = self.files.get_mut(file.0 as usize) {
            // Operations under way hold the file themselves.
            *place = None;
        }
        self.spares.refill();
    }

    fn lacks_files(&mut self) -> bool {
        self.spares.refill();
        self.spares.is_short()
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        Ok(self.file(file)?.file.metadata()?.len())
    }

    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.file(file)?.file.set_len(len)
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read_full(&self.file(file)?.file, offset, buffer)
    }

    fn submit(&mut self, operation: Operation, lane: Lane) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let job = Job { ticket, file: self.file(file_of(&operation)), operation, lane };
        match lane {
            Lane::Inline => self.background.carry_out(job),
            Lane::Background => self.background.submit(job),
        }
        ticket
    }

    fn poll_completed(&mut self) -> Option<Completion> {
        self.background.poll()
    }

    fn wait_completed(&mut self) {
        self.background.wait();
    }

    fn list(&mut self, directory: &str) -> io::Result<Vec<String>> {
        let path = self.path(directory);
        match self.reads_only {
            false => fs::create_dir_all(&path)?,
            true if !path.exists() => return Ok(Vec::new()),
            true => {}
        }
        let mut names = Vec::new();
        for entry in self.spares.open(|| fs::read_dir(&path))? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        self.spares.refill();
        Ok(names)
    }

    fn sync_directory(&mut self, directory: &str) -> io::Result<()> {
        let path = self.path(directory);
        let synced = self.spares.open(|| fs::File::open(&path))?.sync_all();
        self.spares.refill();
        synced?;
        self.check_place()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.may_change()?;
        fs::rename(self.path(from), self.path(to))
    }

    fn unlink(&mut self, path: &str) -> io::Result<()> {
        self.may_change()?;
        let path = self.path(path);
        // Without a handle to spare the space is given back here and now.
        let last = fs::File::open(&path);
        fs::remove_file(path)?;
        while self.gone.poll().is_some() {}
        if let Ok(last) = last {
            self.gone.submit(Gone(last));
        }
        Ok(())
    }

    fn free_space(&mut self) -> io::Result<u64> {
        // Asked every now and then, so that an idle process too learns of it.
        self.check_place()?;
        let space = rustix::fs::statvfs(&self.directory)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

impl Work for Job {
    type Done = Completion;

    /// A file system lets one write at a time extend a file. On ext4 whoever waits for that is
    /// awake, and a few threads that wait take the processor from the loop.
    fn turn(&self) -> Option<u64> {
        let writes = matches!(self.operation, Operation::Write { .. });
        self.file.as_ref().ok().filter(|_| writes).map(|file| file.identity.1)
    }

    fn carry_out(self) -> Completion {
        let Self { ticket, file, operation, lane } = self;
        let syncs = matches!(operation, Operation::Sync { .. } | Operation::WriteSync { .. });
        let watch = syncs.then(Stopwatch::start);
        let result = file.and_then(|file| carry_out(&file, operation, lane));
        Completion { ticket, result, sync_us: watch.map(Stopwatch::elapsed_us) }
    }
}

impl OpenFile {
    fn new(file: fs::File, path: PathBuf) -> io::Result<Self> {
        let identity = identity(&file.metadata()?);
        Ok(Self { file, path, identity, direct: OnceLock::new() })
    }

    /// Writes whole pages past the system's cache if that can be, and anything else through it.
    fn write_direct(&self, bytes: &Buffer, offset: u64) -> io::Result<()> {
        let is_page = |place: u64| place.is_multiple_of(PAGE_BYTES as u64);
        if bytes.is_pages()
            && is_page(offset)
            && let Some(direct) = self.direct.get_or_init(|| self.open_direct())
        {
            match direct.write_all_at(bytes, offset) {
                // It wants larger pages than ours.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                done => return done,
            }
        }
        self.file.write_all_at(bytes, offset)
    }

    #[cfg(target_os = "linux")]
    fn open_direct(&self) -> Option<fs::File> {
        let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let file = fs::OpenOptions::new().write(true).custom_flags(flags).open(&self.path).ok()?;
        // Another file stands there now: the next sync says so.
        (identity(&file.metadata().ok()?) == self.identity).then_some(file)
    }

    #[cfg(not(target_os = "linux"))]
    fn open_direct(&self) -> Option<fs::File> {
        None
    }

    /// Syncs the data; fails, too, where nobody would find them.
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        self.check_place()
    }

    /// Fails where another file, or none, is behind the path now.
    fn check_place(&self) -> io::Result<()> {
        let found = identity_at(&self.path);
        if found.as_ref().is_ok_and(|found| *found == self.identity) {
            return Ok(());
        }
        let what = format!(
            "{} is no longer the file that was opened{}: the data directory or a part of it was \
             removed, renamed or replaced while it was in use, and a restart would not find what \
             is written now",
            self.path.display(),
            found.err().map_or(String::new(), |error| format!(" ({error})"))
        );
        Err(io::Error::new(io::ErrorKind::NotFound, what))
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// What stands behind a path, asked after every sync. Only not for its times: Linux 6.13 and later
/// give what was written after such a question a time of its own, which the next sync has to write
/// as well and then takes half as long again (multigrain timestamps; ADR 28).
#[cfg(target_os = "linux")]
fn identity_at(path: &Path) -> io::Result<(u64, u64)> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
    match statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
        Ok(found) => Ok((makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino)),
        Err(rustix::io::Errno::NOSYS) => fs::metadata(path).map(|metadata| identity(&metadata)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn identity_at(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|metadata| identity(&metadata))
}

/// The path and how it is shown.
fn absolute(directory: &Path) -> Result<(PathBuf, String), Error> {
    let shown = directory.display().to_string();
    let absolute = path::absolute(directory)
        .map_err(|error| Error::io("cannot make absolute the path of", &shown, &error))?;
    Ok((absolute, shown))
}

/// The same of a directory that is there.
fn existing(directory: &Path) -> Result<(PathBuf, String), Error> {
    let (directory, shown) = absolute(directory)?;
    if !directory.is_dir() {
        let what = format!("{shown} is no directory that can be read");
        return Err(Error::new(ErrorKind::NotFound, what));
    }
    Ok((directory, shown))
}

fn held(locked: Result<(), fs::TryLockError>, shown: &str) -> Result<(), Error> {
    match locked {
        Ok(()) => Ok(()),
        Err(fs::TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::Busy,
            format!("data directory {shown} is in use by another levada process"),
        )),
        Err(fs::TryLockError::Error(error)) => {
            Err(Error::io("cannot lock data directory", shown, &error))
        }
    }
}

fn carry_out(open: &OpenFile, operation: Operation, lane: Lane) -> io::Result<Vec<u8>> {
    let file = &open.file;
    match operation {
        // What is not to be durable at once the device may have later than the caller.
        Operation::Write { offset, bytes, .. } if lane == Lane::Inline => {
            file.write_all_at(&bytes, offset)?;
        }
        Operation::Write { offset, bytes, .. } => open.write_direct(&bytes, offset)?,
        Operation::Sync { .. } => open.sync()?,
        Operation::WriteSync { offset, bytes, .. } => {
            open.write_direct(&bytes, offset)?;
            open.sync()?;
        }
        Operation::Read { offset, len, .. } => {
            let mut bytes = vec![0; len];
            let read = read_full(file, offset, &mut bytes)?;
            bytes.truncate(read);
            return Ok(bytes);
        }
    }
    Ok(Vec::new())
}

fn read_full(file: &fs::File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(some) => read += some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

fn file_of(operation: &Operation) -> FileId {
    match operation {
        Operation::Write { file, .. }
        | Operation::Sync { file }
        | Operation::WriteSync { file, .. }
        | Operation::Read { file, .. } => *file,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A fresh directory that goes away with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let directory = format!("levada-disk-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(directory))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn finish_all(disk: &mut FileDisk, tickets: &[Ticket]) -> Vec<Completion> {
        let mut done = Vec::new();
        while done.len() < tickets.len() {
            disk.wait_completed();
            done.extend(disk.poll_completed());
        }
        done
    }

    #[test]
    fn both_lanes_write_and_read() {
        let scratch = Scratch::new("lanes");
        let mut disk = FileDisk::open(&scratch.0).expect("a fresh directory");
        let woken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&woken);
        disk.set_waker(Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        }));
        assert!(disk.list("a").expect("created").is_empty());
        let file = disk.open("a/b", Open::New).expect("new");
        assert_eq!(
            disk.open("a/b", Open::New).expect_err("it is there").kind(),
            io::ErrorKind::AlreadyExists
        );
        for lane in [Lane::Inline, Lane::Background] {
            let bytes = Buffer::from(&b"hello"[..]);
            let write = Operation::WriteSync { file, offset: 3, bytes };
            let ticket = disk.submit(write, lane);
            let done = finish_all(&mut disk, &[ticket]);
            assert!(done[0].result.is_ok() && done[0].ticket == ticket);
            let read = Operation::Read { file, offset: 2, len: 6 };
            let ticket = disk.submit(read, lane);
            let mut done = finish_all(&mut disk, &[ticket]);
            assert_eq!(done.remove(0).result.expect("read"), b"\0hello");
        }
        assert_eq!(disk.len(file).expect("open"), 8);
        // Whole pages, which may go another way, over bytes that the system's cache has.
        for (lane, byte) in [(Lane::Inline, 1), (Lane::Background, 2)] {
            for sync in [false, true] {
                let mut pages = Buffer::pages(2 * PAGE_BYTES, None);
                pages.get_mut().expect("nobody else has it").fill(byte + u8::from(sync));
                let (bytes, offset) = (pages.clone(), PAGE_BYTES as u64);
                let ticket = disk.submit(
                    match sync {
                        false => Operation::Write { file, offset, bytes },
                        true => Operation::WriteSync { file, offset, bytes },
                    },
                    lane,
                );
                finish_all(&mut disk, &[ticket]).remove(0).result.expect("written");
                let mut read = vec![0; 5 * PAGE_BYTES];
                assert_eq!(disk.read_at(file, 0, &mut read).expect("read"), 3 * PAGE_BYTES);
                assert_eq!(&read[..8], b"\0\0\0hello");
                assert_eq!(read[PAGE_BYTES..3 * PAGE_BYTES], pages[..]);
            }
        }
        disk.rename("a/b", "a/c").expect("renamed");
        disk.sync_directory("a").expect("synced");
        assert_eq!(disk.list("a").expect("listed"), ["c"]);
        disk.unlink("a/c").expect("unlinked");
        assert!(disk.free_space().expect("known") > 0);
        drop(disk); // Ends the workers, so every wake-up has happened.
        assert_eq!(woken.load(Ordering::SeqCst), 4);
    }

    #[test]
    fn the_space_of_a_removed_file_is_given_back_elsewhere() {
        let scratch = Scratch::new("gone");
        let mut disk = FileDisk::open(&scratch.0).expect("a directory");
        disk.open("f", Open::New).expect("new");
        assert_eq!(disk.unlink("g").expect_err("none").kind(), io::ErrorKind::NotFound);
        disk.unlink("f").expect("unlinked");
        assert!(!scratch.0.join("f").exists(), "the name goes at once");
        disk.gone.wait();
        assert!(disk.gone.poll().is_some(), "a thread has closed it");
        assert!(disk.gone.poll().is_none(), "and nothing else");
    }

    #[test]
    fn a_closed_file_fails_without_a_panic() {
        let scratch = Scratch::new("closed");
        let mut disk = FileDisk::open(&scratch.0).expect("a fresh directory");
        let file = disk.open("f", Open::New).expect("new");
        disk.close(file);
        let ticket = disk.submit(Operation::Sync { file }, Lane::Background);
        assert!(finish_all(&mut disk, &[ticket])[0].result.is_err());
    }

    /// What a sync, a sync of the directory and a look at the space say after something was done
    /// to the directory of a file.
    fn syncs_after(name: &str, done: impl Fn(&Path)) -> Vec<io::Result<()>> {
        let scratch = Scratch::new(name);
        let data = scratch.0.join("data");
        let mut disk = FileDisk::open(&data).expect("a fresh directory");
        disk.list("log").expect("created");
        let file = disk.open("log/1", Open::New).expect("new");
        done(&data);
        let bytes = Buffer::from(&b"late"[..]);
        let operations =
            [Operation::Sync { file }, Operation::WriteSync { file, offset: 0, bytes }];
        let mut results = vec![disk.reopen(file, "log/1").map(drop)];
        for operation in operations {
            for lane in [Lane::Inline, Lane::Background] {
                let ticket = disk.submit(operation.clone(), lane);
                results.push(finish_all(&mut disk, &[ticket]).remove(0).result.map(drop));
            }
        }
        results.push(disk.sync_directory(""));
        results.push(disk.free_space().map(drop));
        results
    }

    #[test]
    fn nothing_is_synced_where_nobody_would_find_it() {
        let to = |data: &Path| data.with_extension("away");
        let renamed = |data: &Path| fs::rename(data, to(data)).expect("renamed");
        let fails = |name: &str, done: &dyn Fn(&Path)| {
            for result in syncs_after(name, done) {
                let error = result.expect_err(name);
                assert_eq!(error.kind(), io::ErrorKind::NotFound, "{name}: {error}");
            }
        };
        fails("removed", &|data| fs::remove_dir_all(data).expect("removed"));
        fails("renamed", &renamed);
        // Another directory with the same names is another directory.
        fails("replaced", &|data| {
            renamed(data);
            fs::create_dir_all(data.join("log")).expect("created");
            for name in ["lock", "log/1"] {
                fs::copy(to(data).join(name), data.join(name)).expect("copied");
            }
        });
        // What is back in its place is found again.
        let back = syncs_after("back", |data| {
            renamed(data);
            fs::rename(to(data), data).expect("renamed");
        });
        assert!(back.iter().all(Result::is_ok), "{back:?}");
    }

    #[test]
    fn a_removed_file_says_so() {
        let results = syncs_after("file", |data| fs::remove_file(data.join("log/1")).expect("it"));
        let error = results[0].as_ref().expect_err("it has no name any more");
        assert!(error.to_string().contains("removed, renamed or replaced"), "{error}");
        // The directory is in its place.
        assert!(results[5].is_ok() && results[6].is_ok(), "{results:?}");
    }

    #[test]
    fn a_directory_has_one_owner() {
        let scratch = Scratch::new("owner");
        let disk = FileDisk::open(&scratch.0).expect("a fresh directory");
        let error = FileDisk::open(&scratch.0).expect_err("it is taken");
        assert_eq!(error.kind, ErrorKind::Busy);
        assert!(error.message.contains("in use by another levada process"));
        drop(disk);
        FileDisk::open(&scratch.0).expect("free again");
    }
}
