//! The device alone: what a server that is bound to it can come to at best.
//!
//! It is asked for what the log asks of it: a page of a file that does not grow, and its sync,
//! before the next. The first row are these, one after the other. The second is what entries would
//! wait for that come at a rate: the rest of the sync under way, then one that covers them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use levada_engine::disk::file::FileDisk;
use levada_engine::disk::{Buffer, Disk as _, FileId, Lane, Open, Operation};

use super::append::due_at;
use super::load;
use super::process;
use super::report::Row;

/// Pages of the file, and how many are filled at once.
const PAGES: u64 = 4096;
const FILL_PAGES: usize = 256;
const PAGE_BYTES: u64 = 4096;

/// Measures the device below a directory for so long; entries come `rate` times a second.
pub(super) fn run(directory: &Path, time: Duration, rate: u32) -> Result<[Row; 2]> {
    let scratch = Scratch::new(directory)?;
    let mut device = Device::open(&scratch)?;
    let before = process::used_by(std::process::id())?;
    let start = Instant::now();
    let (mut syncs, mut entries) = ((0, load::histogram()), (0, load::histogram()));
    loop {
        let begun = start.elapsed();
        if begun >= time && syncs.0 > 0 {
            break;
        }
        device.sync_page(syncs.0 % PAGES)?;
        let done = start.elapsed();
        syncs.0 += 1;
        load::note(&mut syncs.1, begun, done, 1);
        // It covers all that was there when it began, and the first is there from the start.
        while due_at(entries.0, rate) <= begun {
            load::note(&mut entries.1, due_at(entries.0, rate), done, 1);
            entries.0 += 1;
        }
    }
    let elapsed = start.elapsed();
    let after = process::used_by(std::process::id())?;
    Ok([("disk", syncs), ("disk-wait", entries)].map(|(case, (count, latencies))| Row {
        case: case.to_owned(),
        count,
        elapsed,
        latencies,
        before,
        after,
    }))
}

/// A file on the device.
struct Device {
    disk: FileDisk,
    file: FileId,
    page: Buffer,
}

impl Device {
    /// A filled file, so that no sync has to tell where a page went.
    fn open(scratch: &Scratch) -> Result<Self> {
        let mut disk = FileDisk::open(&scratch.0)?;
        let file = disk.open("pages", Open::New).context("cannot create the file to sync")?;
        let mut device = Self { disk, file, page: Buffer::zero_pages(1) };
        let zeros = Buffer::zero_pages(FILL_PAGES);
        for first in (0..PAGES).step_by(FILL_PAGES) {
            let (offset, bytes) = (first * PAGE_BYTES, zeros.clone());
            device.run(Operation::Write { file, offset, bytes })?;
        }
        device.run(Operation::Sync { file })?;
        Ok(device)
    }

    fn sync_page(&mut self, number: u64) -> Result<()> {
        let (file, offset, bytes) = (self.file, number * PAGE_BYTES, self.page.clone());
        self.run(Operation::WriteSync { file, offset, bytes })
    }

    fn run(&mut self, operation: Operation) -> Result<()> {
        self.disk.submit(operation, Lane::Inline);
        let completion = self.disk.poll_completed().context("an operation inline has ended")?;
        completion.result.context("the device fails")?;
        Ok(())
    }
}

/// A directory that goes away with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(below: &Path) -> Result<Self> {
        let path = below.join(format!("levada-bench-{}", std::process::id()));
        let made = fs::create_dir(&path);
        made.with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
