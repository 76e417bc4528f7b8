//! The parts of a local store put together: who gets which completion, and the steps of a
//! checkpoint.
//!
//! A checkpoint at L becomes durable in this order, each step waiting for the one before:
//!
//! 1. frames, every block handed over before it began, and the log up to L are written and synced;
//! 2. the directories that name new files are synced;
//! 3. the manifest is written under another name, synced, renamed, its directory synced;
//! 4. log files before L and files without a live block go.
//!
//! The first error is the last: after it every call that could change something fails.

use std::sync::Arc;

use levada_core::block::Block;

use super::{
    blocks::{self, BlockKey, Blocks, Frozen},
    checkpoint::{self, Writer},
    io::{Io, Purpose},
    log::writer::{Log, Position},
    manifest::{self, Manifest},
    open,
    settings::LocalSettings,
};
use crate::{
    disk::{Disk, FileId, Lane, Operation},
    error::{Error, ErrorKind},
    store::{
        CacheFacts, Fetch, Lsn, ObjectNumber, PieceChange, PieceId, Progress, Recovered, Scrubbed,
        Space, Store, Urgency,
    },
};

/// Bytes of the reserve for a manifest and names of files.
const MANIFEST_BYTES: u64 = 1 << 20;
/// Bytes by which a checkpoint file may outgrow twice its length after the last whole checkpoint.
const CHECKPOINT_SLACK: u64 = 16 << 20;

/// A store on a disk; see the module above.
pub struct LocalStore<D> {
    io: Io<D>,
    settings: LocalSettings,
    log: Log,
    blocks: Blocks,
    /// The one on disk.
    manifest: Manifest,
    next_checkpoint: u64,
    checkpoint: Option<Checkpoint>,
    /// Written and durable as last reported.
    reported: (Lsn, Lsn),
    space: Space,
    /// The first error.
    failed: Option<String>,
}

/// A checkpoint under way.
struct Checkpoint {
    position: Position,
    whole: bool,
    writer: Writer,
    frozen: Frozen,
    phase: Phase,
}

/// How far a checkpoint is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Pieces are being handed in.
    Pieces,
    /// All are; they and the blocks are on their way.
    Writing,
    /// The frames are written and being synced.
    Syncing,
    /// The frames are durable.
    Synced,
    /// The manifest is being written.
    Naming(FileId, Manifest),
}

impl<D: Disk> LocalStore<D> {
    /// Opens a store, creating it on an empty disk. An error of kind [`ErrorKind::Corrupt`] has
    /// changed nothing.
    pub fn open(disk: D, settings: LocalSettings) -> Result<(Self, Recovered), Error> {
        let mut io = Io::new(disk);
        io.adopt_reserve();
        let opened = open::open(&mut io, &settings)?;
        let store = Self {
            io,
            settings,
            reported: (opened.log.position().lsn, opened.log.durable()),
            log: opened.log,
            blocks: opened.blocks,
            next_checkpoint: opened.manifest.next_checkpoint,
            manifest: opened.manifest,
            checkpoint: None,
            space: Space::default(),
            failed: None,
        };
        Ok((store, opened.recovered))
    }

    /// The disk.
    pub fn disk(&self) -> &D {
        self.io.disk()
    }

    /// The disk, as it is now, with whatever is under way.
    pub fn into_disk(self) -> D {
        self.io.into_disk()
    }

    /// Blocks that failed their check since the store was opened, and how, for messages.
    pub fn damaged_blocks(&self) -> impl Iterator<Item = (ObjectNumber, u64, &str)> {
        self.blocks.damaged()
    }

    fn check(&self) -> Result<(), Error> {
        match &self.failed {
            None => Ok(()),
            Some(how) => Err(Error::new(
                ErrorKind::Closed,
                format!("the store has stopped after an error: {how}"),
            )),
        }
    }

    /// Notes the first error that is not the caller's.
    fn note<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result
            && error.kind != ErrorKind::Invalid
        {
            self.failed = Some(error.message.clone());
        }
        result
    }

    /// Does something unless the store has failed.
    fn attempt<T>(&mut self, what: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.check()?;
        let result = what(self);
        self.note(result)
    }

    /// Takes note of everything that has finished.
    fn finish_io(&mut self) -> Result<(), Error> {
        while let Some((purpose, result)) = self.io.next() {
            match purpose {
                Purpose::LogSync(number) => self.log.synced(&mut self.io, number, result)?,
                Purpose::Spare => self.log.files.prepared(&mut self.io, &result),
                Purpose::Reserve => self.io.reserve_grown(result.is_ok()),
                Purpose::RunWrite(sequence) => self.blocks.written(sequence, result)?,
                Purpose::Scrub(key, location) => {
                    self.blocks.scrubbed(key, location, &result);
                }
                Purpose::BlockRead(key, location) => {
                    self.blocks.read(&mut self.io, key, location, result);
                }
                Purpose::Rewrite(key, location) => {
                    self.blocks.reread(&mut self.io, key, location, result)?;
                }
                Purpose::SegmentSync(file, sequence) => {
                    self.blocks.synced(file, sequence, result)?;
                }
                Purpose::CheckpointWrite | Purpose::CheckpointSync | Purpose::ManifestWrite => {
                    self.checkpoint_io(purpose, result)?;
                }
            }
        }
        Ok(())
    }

    fn checkpoint_io(
        &mut self,
        purpose: Purpose,
        result: std::io::Result<Vec<u8>>,
    ) -> Result<(), Error> {
        let Some(mut checkpoint) = self.checkpoint.take() else {
            return Ok(());
        };
        let path = match purpose {
            Purpose::ManifestWrite => manifest::TEMPORARY.to_owned(),
            _ => checkpoint::path(checkpoint.writer.file().1.number),
        };
        result.map_err(|error| Error::io("cannot write", &path, &error))?;
        match (purpose, checkpoint.phase) {
            (Purpose::CheckpointWrite, _) => checkpoint.writer.written(),
            (Purpose::CheckpointSync, _) => checkpoint.phase = Phase::Synced,
            (_, Phase::Naming(file, manifest)) => {
                return self.switch(&checkpoint, file, manifest);
            }
            _ => {}
        }
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    /// Goes on with a checkpoint as far as finished I/O lets it.
    fn advance_checkpoint(&mut self) -> Result<(), Error> {
        let Some(mut checkpoint) = self.checkpoint.take() else {
            return Ok(());
        };
        let result = self.advance(&mut checkpoint);
        self.checkpoint = Some(checkpoint);
        result
    }

    fn advance(&mut self, checkpoint: &mut Checkpoint) -> Result<(), Error> {
        if matches!(checkpoint.phase, Phase::Pieces | Phase::Naming(..)) {
            return Ok(());
        }
        let (file, _) = checkpoint.writer.file();
        if matches!(checkpoint.phase, Phase::Writing) && checkpoint.writer.backlog_bytes() == 0 {
            let sync = Operation::Sync { file };
            self.io.begin(sync, Purpose::CheckpointSync);
            checkpoint.phase = Phase::Syncing;
        }
        self.log.want(&mut self.io, checkpoint.position.lsn)?;
        let blocks = self.blocks.sync_frozen(&mut self.io, &mut checkpoint.frozen)?;
        let log = self.log.durable() >= checkpoint.position.lsn;
        if blocks && log && matches!(checkpoint.phase, Phase::Synced) {
            self.name(checkpoint)?;
        }
        Ok(())
    }

    /// Everything that the manifest will name is durable: begins to write it.
    fn name(&mut self, checkpoint: &mut Checkpoint) -> Result<(), Error> {
        self.io.sync_directory(blocks::DIRECTORY)?;
        if checkpoint.whole {
            self.io.sync_directory(checkpoint::DIRECTORY)?;
        }
        let manifest = Manifest {
            shard: self.settings.shard,
            epoch: self.log.epoch(),
            position: checkpoint.position,
            durable: self.log.durable(),
            checkpoint: checkpoint.writer.file().1,
            next_log: self.log.files.next_number(),
            next_segment: self.blocks.next_file(),
            next_checkpoint: self.next_checkpoint,
        };
        let (file, write) = manifest.begin(&mut self.io)?;
        self.io.begin(write, Purpose::ManifestWrite);
        checkpoint.phase = Phase::Naming(file, manifest);
        Ok(())
    }

    /// The manifest is written: makes it the one, and lets go of what it does not name.
    fn switch(
        &mut self,
        checkpoint: &Checkpoint,
        file: FileId,
        manifest: Manifest,
    ) -> Result<(), Error> {
        Manifest::switch(&mut self.io, file)?;
        let before = std::mem::replace(&mut self.manifest, manifest);
        self.io.close(checkpoint.writer.file().0);
        let io = &mut self.io;
        self.log.files.recycle_before(io, manifest.position.file)?;
        self.blocks.thaw(io, &checkpoint.frozen)?;
        if checkpoint.whole && before.checkpoint.number != 0 {
            io.unlink(&checkpoint::path(before.checkpoint.number))?;
        }
        Ok(())
    }

    fn begin_checkpoint(&mut self) -> Result<bool, Error> {
        if self.checkpoint.is_some() {
            let what = "a checkpoint is under way already";
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        let base = self.manifest.checkpoint;
        // On a full disk a whole one, because it gives back the space of the one before.
        let long = base.len > 2 * base.whole_len + CHECKPOINT_SLACK;
        let whole = base.number == 0 || long || self.space.is_full;
        let number = whole.then_some(self.next_checkpoint);
        self.next_checkpoint += u64::from(whole);
        let position = self.log.position();
        let mut writer = Writer::begin(&mut self.io, base, number, position.lsn)?;
        let piece = |io: &mut Io<D>, id, change, bytes: &[u8]| writer.piece(io, id, change, bytes);
        let frozen = self.blocks.freeze(&mut self.io, whole, piece)?;
        self.checkpoint =
            Some(Checkpoint { position, whole, writer, frozen, phase: Phase::Pieces });
        Ok(whole)
    }

    /// Bytes that a checkpoint of everything may take, and what stands beside it.
    fn reserve_wanted(&self) -> u64 {
        let since = self.log.position().payload - self.manifest.position.payload;
        self.settings.reserve_bytes.max(self.manifest.checkpoint.len + since + MANIFEST_BYTES)
    }

    fn look(&mut self) -> Result<(), Error> {
        let free = self.io.disk.free_space();
        let free = free.map_err(|error| Error::io("cannot measure", "the disk", &error))?;
        self.io.feed(free);
        let wanted = self.reserve_wanted();
        let lacks = wanted.saturating_sub(self.io.reserve.len());
        let needed = self.settings.headroom_bytes + lacks + self.log.files.lacks();
        // It is over only when there is clearly more, or it would come and go with each trim.
        let margin = if self.space.is_full { self.settings.headroom_bytes / 4 } else { 0 };
        let is_full = self.io.is_starved() || free < needed + margin;
        self.io.want_reserve(wanted, free);
        self.log.files.allow_making(!is_full);
        if is_full {
            self.blocks.give_up_held();
        }
        self.space = Space { is_full, free_bytes: free, reserve_bytes: self.io.reserve.len() };
        Ok(())
    }

    /// Goes on with writing packs anew. On a full disk one at a time, in space that is free: it
    /// comes back with a checkpoint.
    fn rewrite(&mut self) -> Result<(), Error> {
        let live_bytes_max = match self.space.is_full {
            false => u64::MAX,
            true if self.blocks.has_dead() => 0,
            true => self.space.free_bytes / 2,
        };
        self.blocks.rewrite(&mut self.io, live_bytes_max)
    }

    /// Whether a checkpoint would give space back.
    fn frees_space(&self) -> bool {
        let since = self.log.position().payload - self.manifest.position.payload;
        let long = since > self.settings.reserve_bytes / 4;
        long || self.log.files.has_old() || self.blocks.has_dead()
    }

    /// The checkpoint whose pieces are being handed in, with the disk.
    fn open_checkpoint(&mut self) -> Result<(&mut Checkpoint, &mut Io<D>), Error> {
        match &mut self.checkpoint {
            Some(checkpoint) if matches!(checkpoint.phase, Phase::Pieces) => {
                Ok((checkpoint, &mut self.io))
            }
            _ => Err(Error::new(ErrorKind::Invalid, "no checkpoint is waiting for pieces")),
        }
    }
}

impl<D: Disk> Store for LocalStore<D> {
    fn commit(&mut self, now_ms: u64, effects: &[u8], urgency: Urgency) -> Result<Lsn, Error> {
        self.attempt(|store| store.log.append(&mut store.io, now_ms, effects, urgency))
    }

    fn batch_bytes_max(&self) -> usize {
        usize::try_from(self.settings.batch_bytes_max()).unwrap_or(usize::MAX)
    }

    fn written(&self) -> Lsn {
        self.log.position().lsn
    }

    fn durable(&self) -> Lsn {
        self.log.durable()
    }

    fn set_lane(&mut self, lane: Lane) {
        self.log.set_lane(lane);
    }

    fn set_syncs_max(&mut self, syncs: usize) {
        self.log.set_syncs_max(syncs);
    }

    fn sync_us_average(&self) -> Option<u64> {
        self.io.sync_us_average
    }

    fn is_congested(&self) -> bool {
        self.log.is_congested()
    }

    fn poll(&mut self) -> Result<Progress, Error> {
        self.attempt(Self::finish_io)?;
        self.attempt(Self::advance_checkpoint)?;
        if self.blocks.has_sparse() {
            self.attempt(Self::rewrite)?;
        }
        let now = (self.written(), self.durable());
        let committed = std::mem::replace(&mut self.reported, now) != now;
        Ok(Progress { fetched: self.blocks.report(), committed })
    }

    fn wait(&mut self) {
        self.io.wait();
    }

    fn is_idle(&self) -> bool {
        self.log.is_idle()
    }

    fn idle(&mut self, now_ms: u64) -> Result<Lsn, Error> {
        self.attempt(|store| store.log.idle(&mut store.io, now_ms))
    }

    fn put_block(
        &mut self,
        object: ObjectNumber,
        number: u64,
        block: Arc<Block>,
    ) -> Result<(), Error> {
        let key = BlockKey { object, number };
        self.attempt(|store| store.blocks.put(&mut store.io, key, block))
    }

    fn cached(&self, object: ObjectNumber, number: u64) -> Option<Arc<Block>> {
        self.blocks.cached(BlockKey { object, number })
    }

    fn fetch(&mut self, object: ObjectNumber, number: u64) -> Fetch {
        self.blocks.fetch(&mut self.io, BlockKey { object, number })
    }

    fn fetch_now(&mut self, object: ObjectNumber, number: u64) -> Fetch {
        let key = BlockKey { object, number };
        self.blocks.fetch_now(&mut self.io, key)
    }

    fn drop_before(&mut self, object: ObjectNumber, number: u64) {
        self.blocks.drop_before(object, number);
    }

    fn drop_object(&mut self, object: ObjectNumber) {
        self.blocks.drop_object(object);
    }

    fn hold(&mut self, object: ObjectNumber) {
        self.blocks.hold(object);
    }

    fn let_go(&mut self, object: ObjectNumber) {
        self.blocks.let_go(object);
    }

    fn lacks_files(&mut self) -> bool {
        self.io.lacks_files()
    }

    fn look_for_space(&mut self) -> Result<(), Error> {
        self.attempt(Self::look)
    }

    fn scrub(&mut self) -> usize {
        self.blocks.scrub(&mut self.io)
    }

    fn scrubbed(&self) -> Scrubbed {
        self.blocks.scrubbed_so_far()
    }

    fn cache_facts(&self) -> CacheFacts {
        self.blocks.cache_facts()
    }

    fn space(&self) -> Space {
        self.space
    }

    fn has_log_room(&self, effects: usize) -> bool {
        self.log.has_room(effects)
    }

    fn is_starved(&self) -> bool {
        self.io.is_starved() && !self.io.is_busy()
    }

    fn checkpoint_due(&self) -> Option<bool> {
        if self.checkpoint.is_some() {
            return None;
        }
        let (end, base) = (self.log.position(), self.manifest.position);
        Some(
            end.payload - base.payload >= self.settings.checkpoint_payload_bytes
                || end.bytes - base.bytes >= self.settings.checkpoint_ring_bytes
                || self.space.is_full && self.frees_space(),
        )
    }

    fn checkpoint_begin(&mut self) -> Result<bool, Error> {
        self.attempt(Self::begin_checkpoint)
    }

    fn checkpoint_piece(
        &mut self,
        id: PieceId,
        change: PieceChange,
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.attempt(|store| {
            if id.kind == 0 && change != PieceChange::RemoveObject {
                let what = "pieces of kind 0 are the store's own";
                return Err(Error::new(ErrorKind::Invalid, what));
            }
            let (checkpoint, io) = store.open_checkpoint()?;
            checkpoint.writer.piece(io, id, change, bytes)
        })
    }

    fn checkpoint_backlog_bytes(&self) -> usize {
        let backlog = |checkpoint: &Checkpoint| checkpoint.writer.backlog_bytes();
        self.checkpoint.as_ref().map_or(0, backlog)
    }

    fn checkpoint_end(&mut self) -> Result<(), Error> {
        self.attempt(|store| {
            let (checkpoint, io) = store.open_checkpoint()?;
            checkpoint.writer.end(io, checkpoint.whole)?;
            checkpoint.phase = Phase::Writing;
            Ok(())
        })
    }
}
