//! Sealed blocks: in memory until written, then on disk and, lately used, in a cache.
//!
//! A block is written in the background, unsynced, together with those beside it; the checkpoint
//! that names its place syncs it first. Until then the log can make it again. Rules:
//!
//! - A block is pinned in memory until its write has completed: it can always be read.
//! - What comes from disk is checked before anything else sees it; what fails is never cached.
//! - A file goes away only when no block in it was live at a checkpoint that is durable. What is
//!   dropped later may be asked for again by a recovery that does not know of the drop.

mod cache;
mod files;
mod format;
mod inspect;
mod locations;
mod place;
mod rewrite;
mod runs;
mod scrub;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use levada_core::block::Block;

use self::{
    cache::Cache,
    files::{Home, SegmentFiles},
    locations::Locations,
    rewrite::Rewriting,
    runs::Runs,
    scrub::Scrub,
};
use super::{
    checkpoint::Pieces,
    io::{Io, Purpose},
    settings::LocalSettings,
};
use crate::{
    disk::{Disk, Operation},
    error::{Error, ErrorKind},
    store::{CacheFacts, Fetch, ObjectNumber, PieceChange, PieceId, held::Held},
};

pub(super) use self::{
    files::Frozen,
    inspect::Unsound,
    place::{BlockKey, DIRECTORY, Location, SegmentId},
};

/// See the module.
pub(super) struct Blocks {
    locations: Locations,
    files: SegmentFiles,
    runs: Runs,
    /// Bytes in blocks from which on an object has files of its own.
    pack_bytes: u64,
    rewriting: Option<Rewriting>,
    cache: Cache,
    /// How often a block was found in memory.
    found: Cell<u64>,
    /// Blocks read because somebody asked for them.
    missed: u64,
    /// Blocks whose write has not completed.
    pinned: BTreeMap<BlockKey, (Location, Arc<Block>)>,
    reading: BTreeSet<BlockKey>,
    /// Reads that ended since the last report, and those of the last report: they are held until
    /// the next, so that whoever asked finds the block whatever else passes through the cache.
    arriving: Vec<(BlockKey, Arrival)>,
    arrived: Vec<(BlockKey, Arrival)>,
    /// What is dropped and still read.
    held: Held<Location>,
    /// Blocks that failed their check, and how.
    damaged: BTreeMap<BlockKey, String>,
    scrub: Scrub,
}

/// The end of a read; nothing where the device failed.
type Arrival = Option<Arc<Block>>;

impl Blocks {
    /// The blocks that a checkpoint names; the pieces of kind 0 are taken out of `pieces`.
    pub(super) fn load<D: Disk>(
        io: &mut Io<D>,
        settings: &LocalSettings,
        next_file: u64,
        pieces: &mut Pieces,
    ) -> Result<Self, Error> {
        let mut locations = Locations::default();
        let own = pieces.extract_if(.., |id, _| id.kind == 0);
        for (id, bytes) in own {
            locations.load(id.object, &bytes).ok_or_else(|| {
                Error::new(
                    ErrorKind::Corrupt,
                    format!(
                        "the checkpoint's places of blocks of object {} make no sense",
                        id.object
                    ),
                )
            })?;
        }
        let names = io.list(DIRECTORY)?;
        let files = SegmentFiles::load(settings, next_file, &mut locations, &names);
        Ok(Self {
            locations,
            files,
            runs: Runs::default(),
            pack_bytes: settings.pack_bytes,
            rewriting: None,
            cache: Cache::new(settings.cache_bytes),
            found: Cell::new(0),
            missed: 0,
            pinned: BTreeMap::new(),
            reading: BTreeSet::new(),
            arriving: Vec::new(),
            arrived: Vec::new(),
            held: Held::default(),
            damaged: BTreeMap::new(),
            scrub: Scrub::default(),
        })
    }

    /// To be called before the first [`Blocks::put`]; who only reads has no need of it.
    pub(super) fn prepare_to_put<D: Disk>(&mut self, io: &mut Io<D>) -> Result<(), Error> {
        self.files.measure_pack(io)
    }

    /// Removes files that no checkpoint names.
    pub(super) fn sweep<D: Disk>(&self, io: &mut Io<D>) -> Result<(), Error> {
        for name in io.list(DIRECTORY)? {
            if !self.files.knows(&name) {
                io.unlink(&format!("{DIRECTORY}/{name}"))?;
            }
        }
        Ok(())
    }

    /// Whether there are files without a live block.
    pub(super) fn has_dead(&self) -> bool {
        self.files.has_dead()
    }

    /// The number of the next file.
    pub(super) fn next_file(&self) -> u64 {
        self.files.next_number()
    }

    /// Takes a block over, and begins the writes that are due.
    pub(super) fn put<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        key: BlockKey,
        block: Arc<Block>,
    ) -> Result<(), Error> {
        let bytes = self.locations.bytes(key.object);
        let home = if bytes < self.pack_bytes {
            Home::Pack
        } else {
            let current = self.locations.current(key.object);
            Home::Own { current, bytes_max: bytes }
        };
        self.put_into(io, key, block, home)
    }

    fn put_into<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        key: BlockKey,
        block: Arc<Block>,
        home: Home,
    ) -> Result<(), Error> {
        let len = format::HEADER + block.bytes().len();
        let len = u32::try_from(len)
            .map_err(|_| Error::new(ErrorKind::Invalid, "a block must be below 4 GiB"))?;
        let location = self.files.add(io, key, home, len)?;
        if !location.file.is_pack() {
            self.locations.set_current(key.object, location.file);
        }
        if let Some(replaced) = self.locations.put(key, location) {
            self.files.release(replaced);
            self.cache.remove(key);
            self.damaged.remove(&key);
        }
        self.pinned.insert(key, (location, block));
        self.runs.add(key, location);
        self.write_runs(io, false)
    }

    /// Begins the writes of the runs that are due, or of all.
    fn write_runs<D: Disk>(&mut self, io: &mut Io<D>, all: bool) -> Result<(), Error> {
        while let Some(run) = self.runs.take_due(all) {
            let pinned = &self.pinned;
            let bytes = self.runs.encode(&run, |key, location| {
                // It may have been dropped, or replaced, meanwhile.
                let block = pinned.get(&key).filter(|(at, _)| *at == location);
                block.map(|(_, block)| Arc::clone(block))
            });
            self.files.end_run(run.file);
            if let Some(bytes) = bytes {
                let file = self.files.open(io, run.file, run.object)?;
                let sequence = self.files.writing(run.file);
                let write = Operation::Write { file, offset: run.offset, bytes };
                io.begin(write, Purpose::RunWrite(sequence));
                self.runs.begin(sequence, run);
            }
        }
        Ok(())
    }

    /// The write of a run has ended.
    pub(super) fn written(
        &mut self,
        sequence: u64,
        result: io::Result<Vec<u8>>,
    ) -> Result<(), Error> {
        let Some(run) = self.runs.end(sequence) else {
            return Ok(());
        };
        let path = run.file.path(run.object);
        result.map_err(|error| Error::io("cannot write", &path, &error))?;
        self.files.written(run.file, sequence);
        for (key, location) in run.blocks {
            // It may have been dropped, or replaced, meanwhile.
            if self.pinned.get(&key).is_some_and(|(at, _)| *at == location)
                && let Some((_, block)) = self.pinned.remove(&key)
            {
                self.cache.insert(key, block);
            }
        }
        Ok(())
    }

    /// The block, if it is in memory.
    pub(super) fn cached(&self, key: BlockKey) -> Option<Arc<Block>> {
        let found = self.in_memory(key);
        self.found.update(|count| count + u64::from(found.is_some()));
        found
    }

    fn in_memory(&self, key: BlockKey) -> Option<Arc<Block>> {
        let pinned = self.pinned.get(&key).map(|(_, block)| block);
        pinned.cloned().or_else(|| self.cache.get(key))
    }

    /// How often what was asked for was in memory.
    pub(super) fn cache_facts(&self) -> CacheFacts {
        let (hits, misses) = (self.found.get(), self.missed);
        CacheFacts { hits, misses, bytes: self.cache.bytes() as u64 }
    }

    /// The block, or the beginning of a read.
    pub(super) fn fetch<D: Disk>(&mut self, io: &mut Io<D>, key: BlockKey) -> Fetch {
        let location = match self.look(key) {
            Ok(location) => location,
            Err(answer) => return answer,
        };
        if self.reading.contains(&key) {
            return Fetch::Reading;
        }
        // A file that does not open is gone: nothing can bring the block back.
        if self.begin_read(io, key, location, Purpose::BlockRead).is_err() {
            return Fetch::Corrupt;
        }
        self.reading.insert(key);
        self.missed += 1;
        Fetch::Reading
    }

    /// Begins to read what stands at a place.
    fn begin_read<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        key: BlockKey,
        location: Location,
        purpose: impl FnOnce(BlockKey, Location) -> Purpose,
    ) -> Result<(), Error> {
        let file = self.files.open(io, location.file, key.object)?;
        let (offset, len) = (u64::from(location.offset), location.len as usize);
        io.begin(Operation::Read { file, offset, len }, purpose(key, location));
        Ok(())
    }

    /// The block, read now if need be.
    pub(super) fn fetch_now<D: Disk>(&mut self, io: &mut Io<D>, key: BlockKey) -> Fetch {
        let location = match self.look(key) {
            Ok(location) => location,
            Err(answer) => return answer,
        };
        let path = location.file.path(key.object);
        let Ok(file) = self.files.open(io, location.file, key.object) else {
            return Fetch::Corrupt;
        };
        let mut bytes = vec![0; location.len as usize];
        self.missed += 1;
        let Ok(read) = io.read(file, &path, u64::from(location.offset), &mut bytes) else {
            return Fetch::Corrupt;
        };
        bytes.truncate(read);
        match self.check(key, location, &bytes) {
            Some(block) => {
                self.cache.insert(key, Arc::clone(&block));
                Fetch::Ready(block)
            }
            None => Fetch::Corrupt,
        }
    }

    /// A read has ended.
    pub(super) fn read<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        key: BlockKey,
        location: Location,
        result: io::Result<Vec<u8>>,
    ) {
        self.reading.remove(&key);
        if self.location(key) != Some(location) {
            // Dropped or replaced meanwhile: the answer is that of now.
            match self.fetch(io, key) {
                Fetch::Reading => {}
                Fetch::Ready(block) => self.arriving.push((key, Some(block))),
                Fetch::Missing | Fetch::Corrupt => self.arriving.push((key, None)),
            }
            return;
        }
        let block = result.ok().and_then(|bytes| self.check(key, location, &bytes));
        if let Some(block) = &block {
            self.cache.insert(key, Arc::clone(block));
        }
        self.arriving.push((key, block));
    }

    /// Blocks whose read ended since the last call.
    pub(super) fn report(&mut self) -> Vec<(ObjectNumber, u64)> {
        self.arrived = std::mem::take(&mut self.arriving);
        let key = |(key, _): &(BlockKey, Arrival)| (key.object, key.number);
        self.arrived.iter().map(key).collect()
    }

    /// Forgets the blocks of an object below a number.
    pub(super) fn drop_before(&mut self, object: ObjectNumber, number: u64) {
        for (number, location) in self.locations.drop_before(object, number) {
            self.forget(BlockKey { object, number }, location);
        }
    }

    /// Forgets an object.
    pub(super) fn drop_object(&mut self, object: ObjectNumber) {
        for (number, location) in self.locations.drop_object(object) {
            self.forget(BlockKey { object, number }, location);
        }
    }

    /// Keeps what is dropped of an object readable.
    pub(super) fn hold(&mut self, object: ObjectNumber) {
        self.held.hold(object);
    }

    /// The end of one [`Blocks::hold`].
    pub(super) fn let_go(&mut self, object: ObjectNumber) {
        for ((object, number), location) in self.held.let_go(object) {
            self.release(BlockKey { object, number }, location);
        }
    }

    /// Lets all go that is only read.
    pub(super) fn give_up_held(&mut self) {
        for ((object, number), location) in self.held.give_up() {
            self.release(BlockKey { object, number }, location);
        }
    }

    /// Freezes what a checkpoint will cover, and says where its blocks stand.
    pub(super) fn freeze<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        whole: bool,
        mut piece: impl FnMut(&mut Io<D>, PieceId, PieceChange, &[u8]) -> Result<(), Error>,
    ) -> Result<Frozen, Error> {
        self.write_runs(io, true)?;
        let frozen = self.files.freeze();
        self.locations.forget_current(&frozen.dead);
        self.locations.pieces(whole, |id, change, bytes| piece(io, id, change, bytes))?;
        Ok(frozen)
    }

    /// Goes on with making frozen blocks durable; true when they are.
    pub(super) fn sync_frozen<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        frozen: &mut Frozen,
    ) -> Result<bool, Error> {
        self.files.sync_frozen(io, frozen)
    }

    /// A sync of a file has ended.
    pub(super) fn synced(
        &mut self,
        file: SegmentId,
        sequence: u64,
        result: io::Result<Vec<u8>>,
    ) -> Result<(), Error> {
        self.files.synced(file, sequence, result)
    }

    /// The checkpoint is durable: removes the files that it does not name.
    pub(super) fn thaw<D: Disk>(&mut self, io: &mut Io<D>, frozen: &Frozen) -> Result<(), Error> {
        self.files.unlink(io, &frozen.dead)
    }

    /// Where a block stands that can be read.
    fn location(&self, key: BlockKey) -> Option<Location> {
        self.locations.get(key).or_else(|| self.held.get(key.object, key.number).copied())
    }

    /// Where to read, or the answer.
    fn look(&self, key: BlockKey) -> Result<Location, Fetch> {
        if let Some(block) = self.cached(key) {
            return Err(Fetch::Ready(block));
        }
        let Some(location) = self.location(key) else {
            return Err(Fetch::Missing);
        };
        if self.damaged.contains_key(&key) {
            return Err(Fetch::Corrupt);
        }
        let arrivals = self.arriving.iter().chain(&self.arrived);
        match arrivals.rev().find(|(arrived, _)| *arrived == key) {
            Some((_, Some(block))) => Err(Fetch::Ready(Arc::clone(block))),
            Some((_, None)) => Err(Fetch::Corrupt),
            None => Ok(location),
        }
    }

    fn check(&mut self, key: BlockKey, location: Location, bytes: &[u8]) -> Option<Arc<Block>> {
        let (number, offset) = (location.file.number(), u64::from(location.offset));
        match format::decode(bytes, key, number, offset) {
            Ok(block) => Some(Arc::new(block)),
            Err(what) => {
                let path = location.file.path(key.object);
                let how = format!("{path}, byte {offset}: {what}");
                self.damaged.insert(key, how);
                None
            }
        }
    }

    /// A block that is dropped.
    fn forget(&mut self, key: BlockKey, location: Location) {
        if let Err(location) = self.held.keep(key.object, key.number, location) {
            self.release(key, location);
        }
    }

    fn release(&mut self, key: BlockKey, location: Location) {
        self.files.release(location);
        self.pinned.remove(&key);
        self.cache.remove(key);
        self.damaged.remove(&key);
    }
}
