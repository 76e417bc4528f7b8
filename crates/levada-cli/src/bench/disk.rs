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
use levada_engine::disk::pages::SyncedPages;

use super::append::due_at;
use super::load;
use super::process;
use super::report::Row;

/// Measures the device below a directory for so long; entries come `rate` times a second.
pub(super) fn run(directory: &Path, time: Duration, rate: u32) -> Result<[Row; 2]> {
    let scratch = Scratch::new(directory)?;
    let disk = FileDisk::open(&scratch.0)?;
    let mut pages = SyncedPages::create(disk, "pages").context("cannot create the file to sync")?;
    let before = process::used_by(std::process::id())?;
    let start = Instant::now();
    let (mut syncs, mut entries) = ((0, load::histogram()), (0, load::histogram()));
    loop {
        let begun = start.elapsed();
        if begun >= time && syncs.0 > 0 {
            break;
        }
        pages.sync_next().context("the device fails")?;
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
