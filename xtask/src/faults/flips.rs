//! One flipped bit in a data directory: does a server notice?
//!
//! Black box, the same for every server: a stream with a group, a clean stop, the bytes of three
//! replies as the reference. Then, for each flip, the files as they were but for one bit.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{BUSY_MAX, START_MAX};
use crate::kills::client::{Client, Reply};
use crate::kills::server::{Kind, Server};
use crate::kills::value::Chance;

/// Entries of the stream.
const ENTRIES: u32 = 1000;

/// What became of the flips.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flips {
    /// The server did not start.
    pub(super) refused: u64,
    /// It started, and answered an error where the damage is.
    pub(super) reported: u64,
    /// It started and answered the same.
    pub(super) same: u64,
    /// It started and answered something else, as if that were right.
    pub(super) silent: u64,
}

/// Flips so many bits, one at a time.
pub(super) fn run(kind: Kind, flips: u64, chance: &mut Chance) -> Result<Flips> {
    let mut server = Server::start(kind, None, START_MAX)?;
    fill(&mut server.client()?)?;
    server.terminate()?;
    // Once more, so that the reference is what a start gives.
    server.restart(START_MAX)?;
    let reference = replies(&mut server.client()?)?;
    server.terminate()?;
    let files = Files::read(&server.directory().join("data"))?;
    let mut found = Flips::default();
    for _ in 0..flips {
        files.restore_with_flip(chance)?;
        let started = server.try_start(BUSY_MAX)?;
        let answer = started.then(|| server.client().and_then(|mut client| replies(&mut client)));
        server.end()?;
        match answer {
            None => found.refused += 1,
            Some(Err(_)) => found.reported += 1,
            Some(Ok(replies)) if replies == reference => found.same += 1,
            Some(Ok(_)) => found.silent += 1,
        }
    }
    Ok(found)
}

fn fill(client: &mut Client) -> Result<()> {
    client.ask(&["XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"])?;
    for number in 0..ENTRIES {
        let text = format!("{number:032}");
        client.ask(&["XADD", "s", "*", "url", &text, "agent", "firefox", "n", &text])?;
    }
    client.ask(&["XREADGROUP", "GROUP", "g", "c", "COUNT", "300", "STREAMS", "s", ">"])?;
    Ok(())
}

/// Fails where the server answers an error, or not at all.
fn replies(client: &mut Client) -> Result<Vec<Reply>> {
    Ok(vec![
        client.ask(&["XRANGE", "s", "-", "+"])?,
        client.ask(&["XLEN", "s"])?,
        client.ask(&["XPENDING", "s", "g"])?,
    ])
}

/// A data directory, byte by byte.
#[derive(Debug)]
struct Files {
    root: PathBuf,
    contents: Vec<(PathBuf, Vec<u8>)>,
    /// Bytes that are not zero: what is preallocated holds nothing to flip.
    used: Vec<(usize, usize)>,
}

impl Files {
    fn read(root: &Path) -> Result<Self> {
        let mut this = Self { root: root.to_owned(), contents: Vec::new(), used: Vec::new() };
        this.collect(root)?;
        for (index, (_, bytes)) in this.contents.iter().enumerate() {
            let used = bytes.iter().enumerate().filter(|(_, byte)| **byte != 0);
            this.used.extend(used.map(|(offset, _)| (index, offset)));
        }
        Ok(this)
    }

    fn collect(&mut self, directory: &Path) -> Result<()> {
        let mut entries: Vec<_> = std::fs::read_dir(directory)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::path);
        for entry in entries {
            let path = entry.path();
            match entry.file_type()?.is_dir() {
                true => self.collect(&path)?,
                false => self.contents.push((path.clone(), std::fs::read(path)?)),
            }
        }
        Ok(())
    }

    fn restore_with_flip(&self, chance: &mut Chance) -> Result<()> {
        let (file, offset) = self.used[chance.index(self.used.len())];
        std::fs::remove_dir_all(&self.root)?;
        for (index, (path, bytes)) in self.contents.iter().enumerate() {
            std::fs::create_dir_all(path.parent().context("a file stands in a directory")?)?;
            if index == file {
                let mut flipped = bytes.clone();
                flipped[offset] ^= 1 << chance.below(8);
                std::fs::write(path, flipped)?;
            } else {
                std::fs::write(path, bytes)?;
            }
        }
        Ok(())
    }
}
