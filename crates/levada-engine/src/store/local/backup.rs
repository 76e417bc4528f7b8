//! Copies of a data directory, also of one that a process serves.
//!
//! Nothing is asked of that process. What its manifest names does not change as long as it is the
//! manifest: blocks and frames that it names are never written again, and no file goes away that it
//! needs. So a round copies what the manifest names, then the log behind it, and looks at the
//! manifest again. If it is the same, what was copied belongs together: the state behind the last
//! batch copied, which is what a kill at that moment would have left. If not, the round begins
//! anew, and copies what is new.
//!
//! The copy is a data directory. Its own manifest is written last, so that it is whole at every
//! moment from the end of its first round on, however a later one ends.
//!
//! What is copied is checked, and what stands in the copy already is compared with it: a directory
//! with a copy of another one is refused.

use std::collections::BTreeSet;

use super::{
    blocks::{self, BlockKey, Blocks},
    checkpoint::{self, CheckpointFile},
    io::Io,
    log::{
        batch,
        files::{DIRECTORY as LOG, path as log_path},
        recovery::{Found, Listing, Tail},
    },
    manifest::{self, Manifest},
    settings::LocalSettings,
};
use crate::{
    disk::{Buffer, Disk, FileId, Open, Operation},
    error::{Error, ErrorKind, Place},
    store::Lsn,
};

/// How often a round begins anew because the manifest has changed, or because a batch was being
/// written while it was read.
const ATTEMPTS_MAX: usize = 16;
/// Bytes of a checkpoint copied at once.
const CHUNK: u64 = 1 << 20;

/// What a round has done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Round {
    /// The last batch that the copy has.
    pub lsn: Lsn,
    /// Time of that batch, in unix milliseconds.
    pub now_ms: u64,
    /// Blocks that are new in the copy.
    pub blocks: u64,
    /// Batches that are new in the copy.
    pub batches: u64,
    /// Bytes written to the copy.
    pub bytes: u64,
}

/// A copy that is kept up to date; see the module.
pub struct Backup<S, T> {
    source: Io<S>,
    target: Io<T>,
    /// What the copy names, which must not change: nothing for an empty one.
    named: Named,
    /// What the copy has, as far as that was looked at.
    held: Held,
    round: Round,
}

/// What the manifest of the copy named in the beginning.
#[derive(Default)]
struct Named {
    blocks: BTreeSet<Place>,
    checkpoint: CheckpointFile,
}

/// What is known to stand in the copy, durable.
#[derive(Default)]
struct Held {
    blocks: BTreeSet<Place>,
    /// The checkpoint file and how much of it.
    checkpoint: (u64, u64),
    /// The last batch, and where.
    batch: Option<(Lsn, batch::Place)>,
}

impl<S: Disk, T: Disk> Backup<S, T> {
    /// A copy of one directory in another, which is empty or holds an earlier copy of it.
    pub fn new(source: S, target: T) -> Self {
        let (source, target) = (Io::new(source), Io::new(target));
        let (named, held) = (Named::default(), Held::default());
        Self { source, target, named, held, round: Round::default() }
    }

    /// The two directories.
    pub fn into_disks(self) -> (S, T) {
        (self.source.into_disk(), self.target.into_disk())
    }

    /// Brings the copy up to date. An error leaves it as the round before did, and the next round
    /// goes on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is nothing to copy; [`ErrorKind::Corrupt`] where what is
    /// to be copied is damaged; [`ErrorKind::Conflict`] where the copy is one of another directory;
    /// [`ErrorKind::Busy`] where the manifest changes faster than a round; errors of both devices.
    pub fn round(&mut self) -> Result<Round, Error> {
        self.round = Round::default();
        let mut failed = None;
        for _ in 0..ATTEMPTS_MAX {
            let Some(manifest) = Manifest::read(&mut self.source)? else {
                let what = "there is no manifest: this is no data directory";
                return Err(Error::new(ErrorKind::NotFound, what));
            };
            let copied = self.copy(&manifest);
            let moved_on = Manifest::read(&mut self.source)? != Some(manifest);
            match copied {
                Ok(named) if !moved_on => {
                    self.switch(&manifest, &named)?;
                    return Ok(self.round);
                }
                Err(error) if error.kind == ErrorKind::Conflict => return Err(error),
                Ok(_) => {}
                Err(error) => failed = Some(error).filter(|_| !moved_on).or(failed),
            }
        }
        Err(failed.unwrap_or_else(|| {
            let what = "checkpoints follow each other faster than they can be copied";
            Error::new(ErrorKind::Busy, what)
        }))
    }

    /// Copies what a manifest names and the log behind it; answers which segment files it names.
    fn copy(&mut self, manifest: &Manifest) -> Result<BTreeSet<String>, Error> {
        self.begin(manifest)?;
        let mut pieces = checkpoint::read(&mut self.source, manifest.checkpoint)?;
        let settings = LocalSettings { shard: manifest.shard, ..Default::default() };
        let next = manifest.next_segment;
        let mut blocks = Blocks::load(&mut self.source, &settings, next, &mut pieces)?;
        drop(pieces);
        let mut places: Vec<_> = blocks.keys().map(|key| (blocks.place(key), key)).collect();
        places.sort_unstable();
        let named = places.iter().map(|(place, _)| place.path.clone()).collect();
        places.retain(|(place, _)| !self.held.blocks.contains(place));
        for of_file in places.chunk_by(|one, other| one.0.path == other.0.path) {
            self.copy_blocks(&mut blocks, of_file)?;
        }
        self.copy_checkpoint(manifest)?;
        self.copy_log(manifest)?;
        for directory in [blocks::DIRECTORY, checkpoint::DIRECTORY, LOG, ""] {
            self.target.sync_directory(directory)?;
        }
        Ok(named)
    }

    /// Looks at what the copy is before anything is written.
    fn begin(&mut self, manifest: &Manifest) -> Result<(), Error> {
        for directory in [blocks::DIRECTORY, checkpoint::DIRECTORY, LOG] {
            self.target.list(directory)?;
        }
        let Some(copy) = Manifest::read(&mut self.target)? else {
            return Ok(());
        };
        let behind = |manifest: &Manifest| (manifest.epoch, manifest.position.lsn);
        if copy.shard != manifest.shard || behind(&copy) > behind(manifest) {
            return Err(foreign("its manifest is ahead"));
        }
        if self.held.is_empty() {
            let mut pieces = checkpoint::read(&mut self.target, copy.checkpoint)?;
            let settings = LocalSettings { shard: copy.shard, ..Default::default() };
            let next = copy.next_segment;
            let blocks = Blocks::load(&mut self.target, &settings, next, &mut pieces)?;
            self.named.blocks = blocks.keys().map(|key| blocks.place(key)).collect();
            self.named.checkpoint = copy.checkpoint;
        }
        Ok(())
    }

    fn copy_blocks(
        &mut self,
        blocks: &mut Blocks,
        places: &[(Place, BlockKey)],
    ) -> Result<(), Error> {
        let Some((Place { path, .. }, _)) = places.first() else {
            return Ok(());
        };
        let mut to = self.open(path)?;
        for (place, key) in places {
            let bytes = blocks.sound_bytes(&mut self.source, *key).map_err(|unsound| {
                let place = unsound.place;
                Error::new(
                    ErrorKind::Corrupt,
                    format!("{}, byte {}: {}", place.path, place.offset, unsound.what),
                )
            })?;
            let may_differ = !self.named.blocks.contains(place);
            if to.put(&mut self.target, place.offset, &bytes, may_differ)? {
                self.round.blocks += 1;
                self.round.bytes += bytes.len() as u64;
            }
        }
        to.finish(&mut self.target)?;
        self.held.blocks.extend(places.iter().map(|(place, _)| place.clone()));
        Ok(())
    }

    /// The frames that the manifest names; they were read and are sound.
    fn copy_checkpoint(&mut self, manifest: &Manifest) -> Result<(), Error> {
        let named = manifest.checkpoint;
        let held = match self.held.checkpoint {
            (number, len) if number == named.number => len,
            _ => 0,
        };
        if named.number == 0 || held == named.len {
            return Ok(());
        }
        let path = checkpoint::path(named.number);
        let fixed = Some(self.named.checkpoint).filter(|copy| copy.number == named.number);
        let fixed = fixed.map_or(0, |copy| copy.len);
        if fixed > named.len {
            return Err(foreign("its checkpoint is ahead"));
        }
        let file = self.source.open(&path, Open::Existing)?;
        let mut to = self.open(&path)?;
        let mut at = held;
        while at < named.len {
            let end = if at < fixed { fixed } else { named.len };
            let len = usize::try_from(CHUNK.min(end - at)).expect("a chunk is in memory");
            let mut bytes = vec![0; len];
            let read = self.source.read(file, &path, at, &mut bytes)?;
            if read < len {
                self.source.close(file);
                let what = format!("{path} ends at byte {}", at + read as u64);
                return Err(Error::new(ErrorKind::Corrupt, what));
            }
            if to.put(&mut self.target, at, &bytes, at >= fixed)? {
                self.round.bytes += len as u64;
            }
            at += len as u64;
        }
        self.source.close(file);
        to.finish(&mut self.target)?;
        self.held.checkpoint = (named.number, named.len);
        Ok(())
    }

    fn copy_log(&mut self, manifest: &Manifest) -> Result<(), Error> {
        let from = manifest.log();
        let listing = Listing::read(&mut self.source)?;
        let tail = Tail::read(&mut self.source, from, manifest.shard, &listing)?;
        // The manifest names its file, whether or not anything stands in it.
        self.open(&log_path(manifest.position.file))?.finish(&mut self.target)?;
        (self.round.lsn, self.round.now_ms) = (tail.end(), tail.now_ms());
        let new: Vec<_> = tail.batches().filter(|new| !self.held.has(new)).collect();
        for of_file in new.chunk_by(|one, other| one.place().file == other.place().file) {
            let mut to = self.open(&log_path(of_file[0].place().file))?;
            for batch in of_file {
                let bytes = batch.bytes();
                // Files are made anew from old ones: what stands there is of no interest.
                to.write(&mut self.target, batch.place().offset, bytes.clone())?;
                self.round.batches += 1;
                self.round.bytes += bytes.len() as u64;
            }
            to.finish(&mut self.target)?;
        }
        self.held.batch = new.last().map(|last| (last.lsn(), last.place())).or(self.held.batch);
        Ok(())
    }

    /// Everything is there: the copy's manifest becomes this one, and what it does not need goes.
    fn switch(&mut self, manifest: &Manifest, named: &BTreeSet<String>) -> Result<(), Error> {
        let io = &mut self.target;
        if Manifest::read(io)? != Some(*manifest) {
            let (file, write) = manifest.begin(io)?;
            io.run("cannot write", manifest::TEMPORARY, write)?;
            Manifest::switch(io, file)?;
        }
        for name in io.list(blocks::DIRECTORY)? {
            let path = format!("{}/{name}", blocks::DIRECTORY);
            if !named.contains(&path) {
                io.unlink(&path)?;
                self.held.blocks.retain(|place| place.path != path);
            }
        }
        for name in io.list(checkpoint::DIRECTORY)? {
            if checkpoint::number_of(&name) != Some(manifest.checkpoint.number) {
                io.unlink(&format!("{}/{name}", checkpoint::DIRECTORY))?;
            }
        }
        for number in Listing::read(io)?.logs.range(..manifest.position.file) {
            io.unlink(&log_path(*number))?;
        }
        Ok(())
    }

    /// A file of the copy.
    fn open(&mut self, path: &str) -> Result<Target, Error> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let exists = self.target.list(directory)?.iter().any(|there| there == name);
        let how = if exists { Open::Existing } else { Open::New };
        let file = self.target.open(path, how)?;
        Ok(Target { path: path.to_owned(), file, is_changed: !exists })
    }
}

impl Held {
    fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.checkpoint == (0, 0) && self.batch.is_none()
    }

    /// Whether a batch stands in the copy, at this place.
    fn has(&self, batch: &Found) -> bool {
        self.batch.is_some_and(|(lsn, place)| {
            batch.lsn() <= lsn
                && (batch.place().file, batch.place().offset) <= (place.file, place.offset)
        })
    }
}

/// A file of the copy that is being written.
struct Target {
    path: String,
    file: FileId,
    is_changed: bool,
}

impl Target {
    /// Puts bytes where they belong; whether something else stood there, which may be so or not.
    fn put<T: Disk>(
        &mut self,
        io: &mut Io<T>,
        at: u64,
        bytes: &[u8],
        may_differ: bool,
    ) -> Result<bool, Error> {
        let mut there = vec![0; bytes.len()];
        let read = io.read(self.file, &self.path, at, &mut there)?;
        if there == bytes && read == bytes.len() {
            return Ok(false);
        }
        if !may_differ {
            return Err(foreign(&format!("{} has other bytes at {at}", self.path)));
        }
        self.write(io, at, bytes.into())?;
        Ok(true)
    }

    fn write<T: Disk>(&mut self, io: &mut Io<T>, at: u64, bytes: Buffer) -> Result<(), Error> {
        self.is_changed = true;
        let write = Operation::Write { file: self.file, offset: at, bytes };
        io.run("cannot write", &self.path, write).map(drop)
    }

    /// Makes it durable.
    fn finish<T: Disk>(self, io: &mut Io<T>) -> Result<(), Error> {
        let synced = match self.is_changed {
            true => {
                io.run("cannot sync", &self.path, Operation::Sync { file: self.file }).map(drop)
            }
            false => Ok(()),
        };
        io.close(self.file);
        synced
    }
}

fn foreign(why: &str) -> Error {
    let what = format!(
        "this is a copy of another data directory, or of an earlier life of this one ({why}): \
         nothing was changed. Copy into an empty directory"
    );
    Error::new(ErrorKind::Conflict, what)
}
