//! A file of pages, each written and synced before the next: what the log asks of a device, and
//! nothing else. What benches measure the device by.

use std::io;

use super::file::FileDisk;
use super::{Buffer, Disk as _, FileId, Lane, Open, Operation, PAGE_BYTES};

/// Pages of the file, and how many are filled at once.
const PAGES: usize = 4096;
const FILL_PAGES: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct SyncedPages {
    disk: FileDisk,
    file: FileId,
    page: Buffer,
    /// The page that is written next.
    next: usize,
}

impl SyncedPages {
    /// Creates the file (16 MiB) in a directory of a [`FileDisk`], and fills it, so that no sync
    /// has to tell where a page went. It stays when this is dropped.
    ///
    /// # Errors
    /// What the device says; also where there is such a file.
    pub fn create(mut disk: FileDisk, name: &str) -> io::Result<Self> {
        let file = disk.open(name, Open::New)?;
        let mut pages = Self { disk, file, page: Buffer::zero_pages(1), next: 0 };
        let zeros = Buffer::zero_pages(FILL_PAGES);
        for first in (0..PAGES).step_by(FILL_PAGES) {
            let (offset, bytes) = (offset(first), zeros.clone());
            pages.run(Operation::Write { file, offset, bytes })?;
        }
        pages.run(Operation::Sync { file })?;
        Ok(pages)
    }

    /// Writes the next page and syncs the file; after the last comes the first.
    ///
    /// # Errors
    /// What the device says.
    pub fn sync_next(&mut self) -> io::Result<()> {
        let (file, offset, bytes) = (self.file, offset(self.next), self.page.clone());
        self.next = (self.next + 1) % PAGES;
        self.run(Operation::WriteSync { file, offset, bytes })
    }

    fn run(&mut self, operation: Operation) -> io::Result<()> {
        self.disk.submit(operation, Lane::Inline);
        let completion = self.disk.poll_completed().expect("an operation inline has ended");
        completion.result.map(|_| ())
    }
}

fn offset(page: usize) -> u64 {
    (page * PAGE_BYTES) as u64
}
