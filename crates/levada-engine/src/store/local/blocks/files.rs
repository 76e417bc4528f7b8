//! Segment and pack files: which are open, which are not yet durable, which are no longer needed.
//!
//! Writes are numbered in the order of their submission. A sync covers the writes that had
//! completed when it was submitted; a file is clean when its last write is covered. A file that is
//! not clean stays open, because an error that its write-back meets is told only to whoever had
//! it open.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
};

use super::{
    super::{
        format::page_up,
        io::{Io, Purpose},
        settings::LocalSettings,
    },
    BlockKey, Location, SegmentId,
    locations::Locations,
};
use crate::{
    disk::{Disk, FileId, Open, Operation},
    error::Error,
    store::ObjectNumber,
};

/// Syncs of files that a checkpoint has under way at once.
const SYNCS_MAX: usize = 8;

/// What a checkpoint covers.
#[derive(Debug)]
pub(in super::super) struct Frozen {
    /// The last write at that moment.
    barrier: u64,
    /// Files that are not clean, with their last write: what is before the first of which that is
    /// not durable is.
    dirty: VecDeque<(SegmentId, u64)>,
    /// Files without a live block, with their objects.
    pub(super) dead: Vec<(SegmentId, ObjectNumber)>,
}

/// Where a block goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Home {
    /// To the blocks of others.
    Pack,
    /// Into a file of its object: that to which was appended last, or a new one behind so many
    /// bytes.
    Own { current: Option<SegmentId>, bytes_max: u64 },
}

/// See the module.
pub(super) struct SegmentFiles {
    files: BTreeMap<SegmentId, SegmentFile>,
    segment_bytes: u64,
    open_max: usize,
    next: u64,
    /// The pack file to which is appended.
    pack: Option<SegmentId>,
    /// Other packs of which less than half lives, and that were not written anew yet.
    sparse: BTreeSet<SegmentId>,
    open: usize,
    /// Open files that nothing is under way for, by their last use: what may be closed, and what
    /// has to be synced before.
    clean: BTreeMap<u64, SegmentId>,
    unclean: BTreeMap<u64, SegmentId>,
    /// Counts uses, for the order of closing; no two are alike.
    uses: u64,
    last_write: u64,
    /// Writes that have not completed.
    writes: BTreeSet<u64>,
    syncs: usize,
}

#[derive(Default)]
struct SegmentFile {
    /// Whose file it is; 0 for a pack.
    object: ObjectNumber,
    live: u64,
    live_bytes: u64,
    /// The blocks that were put into a pack; some may be gone.
    keys: Vec<BlockKey>,
    /// Where the next block goes.
    end: u64,
    open: Option<FileId>,
    used: u64,
    writes: u64,
    last_write: u64,
    /// The last write that a sync covers.
    synced: u64,
    syncing: bool,
    condemned: bool,
}

impl SegmentFiles {
    /// The files that blocks stand in, and those that exist of them.
    pub(super) fn load(
        settings: &LocalSettings,
        next: u64,
        locations: &mut Locations,
        names: &[String],
    ) -> Self {
        let mut files: BTreeMap<SegmentId, SegmentFile> = BTreeMap::new();
        for (key, location) in locations.iter() {
            let file = files.entry(location.file).or_default();
            match location.file.is_pack() {
                true => file.keys.push(key),
                false => file.object = key.object,
            }
            let end = u64::from(location.offset) + u64::from(location.len);
            file.end = file.end.max(page_up(end));
            file.live += 1;
            file.live_bytes += u64::from(location.len);
        }
        let mut pack = None;
        for (id, file) in &files {
            let path = id.path(file.object);
            let exists = names.iter().any(|name| path.ends_with(name.as_str()));
            if !exists || file.end >= settings.segment_bytes {
                continue;
            }
            if id.is_pack() {
                pack = Some(*id);
            } else {
                locations.set_current(file.object, *id);
            }
        }
        let last = files.keys().last().map_or(0, |id| id.number());
        let packs: Vec<_> = files.keys().copied().filter(|id| id.is_pack()).collect();
        let mut loaded = Self {
            files,
            segment_bytes: settings.segment_bytes,
            open_max: settings.open_files_max,
            next: next.max(last + 1),
            pack,
            sparse: BTreeSet::new(),
            open: 0,
            clean: BTreeMap::new(),
            unclean: BTreeMap::new(),
            uses: 0,
            last_write: 0,
            writes: BTreeSet::new(),
            syncs: 0,
        };
        for id in packs {
            loaded.note_sparse(id);
        }
        loaded
    }

    /// Goes on behind everything that was ever written to the pack: a place is written once, so
    /// that a copy of it stays true (`backup`). Blocks at its end may be gone, and the length is
    /// all that is left of them. Files of one object need no look: their last block goes last.
    pub(super) fn measure_pack<D: Disk>(&mut self, io: &mut Io<D>) -> Result<(), Error> {
        let Some(id) = self.pack else {
            return Ok(());
        };
        let path = id.path(0);
        let open = io.open(&path, Open::Existing)?;
        let len = io.len(open, &path);
        io.close(open);
        let end = page_up(len?);
        if let Some(file) = self.files.get_mut(&id) {
            file.end = file.end.max(end);
        }
        if end >= self.segment_bytes {
            self.pack = None;
            self.note_sparse(id);
        }
        Ok(())
    }

    /// Whether blocks stand in a file of this name.
    pub(super) fn knows(&self, name: &str) -> bool {
        let number = match name.strip_suffix(".seg").map(|stem| stem.split_once('-')) {
            Some(Some(("pack", number))) => (number, true),
            Some(Some((_, number))) => (number, false),
            _ => return false,
        };
        let Ok(parsed) = u64::from_str_radix(number.0, 16) else {
            return false;
        };
        let id = SegmentId::new(parsed, number.1);
        let path = |file: &SegmentFile| id.path(file.object);
        self.files.get(&id).is_some_and(|file| path(file).ends_with(&format!("/{name}")))
    }

    /// Whether there are files without a live block.
    pub(super) fn has_dead(&self) -> bool {
        self.files.values().any(|file| file.live == 0 && !file.condemned)
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next
    }

    /// Where the next block of `len` bytes goes: into the pack, or into the `current` file of its
    /// object unless that has `bytes_max`.
    pub(super) fn add<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        key: BlockKey,
        home: Home,
        len: u32,
    ) -> Result<Location, Error> {
        let (current, bytes_max) = match home {
            Home::Pack => (self.pack, self.segment_bytes),
            Home::Own { current, bytes_max } => (current, bytes_max.min(self.segment_bytes)),
        };
        let open = current.and_then(|id| {
            let file = self.files.get(&id)?;
            (file.end < bytes_max).then_some((id, file.end))
        });
        let pack = matches!(home, Home::Pack);
        let (id, end) = match open {
            Some(found) => found,
            None => (self.create(io, key.object, pack)?, 0),
        };
        if let Some(file) = self.files.get_mut(&id) {
            file.end += u64::from(len);
            file.live += 1;
            file.live_bytes += u64::from(len);
            if pack {
                file.keys.push(key);
            }
        }
        let offset = u32::try_from(end).expect("segment_bytes is validated");
        Ok(Location { file: id, offset, len })
    }

    /// What is added to a file from here on begins on a page of its own.
    pub(super) fn end_run(&mut self, id: SegmentId) {
        if let Some(file) = self.files.get_mut(&id) {
            file.end = page_up(file.end);
        }
    }

    /// A write of what was added to a file begins; returns its number.
    pub(super) fn writing(&mut self, id: SegmentId) -> u64 {
        self.last_write += 1;
        self.writes.insert(self.last_write);
        let last_write = self.last_write;
        self.change(id, |file| {
            file.writes += 1;
            file.last_write = last_write;
        });
        last_write
    }

    pub(super) fn written(&mut self, id: SegmentId, sequence: u64) {
        self.writes.remove(&sequence);
        self.change(id, |file| file.writes -= 1);
    }

    /// A block of a file is gone.
    pub(super) fn release(&mut self, location: Location) {
        if let Some(file) = self.files.get_mut(&location.file) {
            file.live -= 1;
            file.live_bytes -= u64::from(location.len);
        }
        self.note_sparse(location.file);
    }

    /// Whether there is a pack to be written anew.
    pub(super) fn has_sparse(&self) -> bool {
        !self.sparse.is_empty()
    }

    /// A pack to be written anew of which at most so many bytes live, and what was put into it. It
    /// is given out once.
    pub(super) fn take_sparse(
        &mut self,
        live_bytes_max: u64,
    ) -> Option<(SegmentId, Vec<BlockKey>)> {
        let fits =
            |id: &SegmentId| self.files.get(id).is_some_and(|it| it.live_bytes <= live_bytes_max);
        let id = self.sparse.iter().copied().find(fits)?;
        self.sparse.remove(&id);
        Some((id, std::mem::take(&mut self.files.get_mut(&id)?.keys)))
    }

    /// Writes of blocks that have not completed.
    pub(super) fn writes_under_way(&self) -> usize {
        self.writes.len()
    }

    /// Looks whether little of a pack lives. One that is not appended to was once as long as packs
    /// become; its end may not be known since the blocks there are gone.
    fn note_sparse(&mut self, id: SegmentId) {
        let is_sparse = |file: &SegmentFile| {
            let is_little = file.live_bytes < file.end.max(self.segment_bytes) / 2;
            file.live > 0 && !file.keys.is_empty() && is_little
        };
        if self.pack != Some(id) && self.files.get(&id).is_some_and(is_sparse) {
            self.sparse.insert(id);
        } else {
            self.sparse.remove(&id);
        }
    }

    /// The open file; others are closed to keep within the bound.
    pub(super) fn open<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        id: SegmentId,
        object: ObjectNumber,
    ) -> Result<FileId, Error> {
        if let Some(open) = self.files.get(&id).and_then(|file| file.open) {
            self.note_open(id, open);
            return Ok(open);
        }
        self.make_room(io);
        let open = io.open(&id.path(object), Open::Existing)?;
        self.note_open(id, open);
        Ok(open)
    }

    /// What a checkpoint that begins now covers.
    pub(super) fn freeze(&mut self) -> Frozen {
        let mut frozen =
            Frozen { barrier: self.last_write, dirty: VecDeque::new(), dead: Vec::new() };
        for (id, file) in &mut self.files {
            if file.live == 0 && !file.condemned {
                file.condemned = true;
                frozen.dead.push((*id, file.object));
            } else if file.last_write > file.synced {
                frozen.dirty.push_back((*id, file.last_write));
            }
        }
        if frozen.dead.iter().any(|(id, _)| self.pack == Some(*id)) {
            self.pack = None;
        }
        frozen
    }

    /// Goes on with syncing what is frozen; true when everything is durable, names included.
    pub(super) fn sync_frozen<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        frozen: &mut Frozen,
    ) -> Result<bool, Error> {
        let written = |first: &u64| *first > frozen.barrier;
        if !self.writes.first().is_none_or(written) {
            return Ok(false);
        }
        let is_durable = |files: &BTreeMap<_, SegmentFile>, (id, last_write): &(SegmentId, u64)| {
            files.get(id).is_none_or(|file| file.synced >= *last_write)
        };
        while frozen.dirty.pop_front_if(|first| is_durable(&self.files, first)).is_some() {}
        // Few are looked at beyond those under way: they end about as they began.
        for dirty in &frozen.dirty {
            if self.syncs >= SYNCS_MAX {
                break;
            }
            let Some(file) = self.files.get(&dirty.0) else {
                continue;
            };
            if !file.syncing && file.synced < dirty.1 {
                let object = file.object;
                self.open(io, dirty.0, object)?;
                self.begin_sync(io, dirty.0, frozen.barrier);
            }
        }
        Ok(frozen.dirty.is_empty())
    }

    pub(super) fn synced(
        &mut self,
        id: SegmentId,
        sequence: u64,
        result: io::Result<Vec<u8>>,
    ) -> Result<(), Error> {
        self.syncs -= 1;
        self.change(id, |file| {
            file.syncing = false;
            file.synced = file.synced.max(sequence);
        });
        if let Some(file) = self.files.get(&id) {
            let path = id.path(file.object);
            result.map_err(|error| Error::io("cannot sync", &path, &error))?;
        }
        Ok(())
    }

    /// Removes files.
    pub(super) fn unlink<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        dead: &[(SegmentId, ObjectNumber)],
    ) -> Result<(), Error> {
        for (id, object) in dead {
            self.close(io, *id);
            self.files.remove(id);
            io.unlink(&id.path(*object))?;
        }
        Ok(())
    }

    fn create<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        object: ObjectNumber,
        pack: bool,
    ) -> Result<SegmentId, Error> {
        self.make_room(io);
        let id = SegmentId::new(self.next, pack);
        self.next += 1;
        let object = if pack { 0 } else { object };
        let open = io.open(&id.path(object), Open::New)?;
        let file = SegmentFile { object, ..SegmentFile::default() };
        self.files.insert(id, file);
        self.note_open(id, open);
        if pack && let Some(full) = self.pack.replace(id) {
            self.note_sparse(full);
        }
        Ok(id)
    }

    fn note_open(&mut self, id: SegmentId, open: FileId) {
        self.uses += 1;
        let uses = self.uses;
        let mut opened = 0;
        self.change(id, |file| {
            opened = usize::from(file.open.is_none());
            file.open = Some(open);
            file.used = uses;
        });
        self.open += opened;
    }

    /// Changes a file, and keeps the lists of those at rest true.
    fn change(&mut self, id: SegmentId, change: impl FnOnce(&mut SegmentFile)) {
        let Some(file) = self.files.get_mut(&id) else {
            return;
        };
        let before = file.used;
        change(file);
        let at_rest = file.open.is_some() && file.writes == 0 && !file.syncing;
        let is_clean = file.last_write <= file.synced;
        for (list, is_its) in [(&mut self.clean, is_clean), (&mut self.unclean, !is_clean)] {
            if list.get(&before) == Some(&id) {
                list.remove(&before);
            }
            if at_rest && is_its {
                list.insert(file.used, id);
            }
        }
    }

    fn close<D: Disk>(&mut self, io: &mut Io<D>, id: SegmentId) {
        let mut open = None;
        self.change(id, |file| open = file.open.take());
        if let Some(open) = open {
            io.close(open);
            self.open -= 1;
        }
    }

    /// Closes clean files, those used longest ago first, while too many are open by our own measure
    /// or the system's; begins to clean one where none is.
    fn make_room<D: Disk>(&mut self, io: &mut Io<D>) {
        while self.open >= self.open_max || io.lacks_files() {
            if let Some(id) = self.clean.values().next().copied() {
                self.close(io, id);
                continue;
            }
            if self.syncs < SYNCS_MAX
                && let Some(id) = self.unclean.values().next().copied()
            {
                self.begin_sync(io, id, 0);
            }
            return;
        }
    }

    /// Begins a sync of an open file, of whose writes those up to `completed` have completed.
    fn begin_sync<D: Disk>(&mut self, io: &mut Io<D>, id: SegmentId, completed: u64) {
        let Some((open, covers)) = self.files.get(&id).and_then(|file| {
            let covers = if file.writes == 0 { file.last_write } else { completed };
            Some((file.open?, covers))
        }) else {
            return;
        };
        self.change(id, |file| file.syncing = true);
        self.syncs += 1;
        io.begin(Operation::Sync { file: open }, Purpose::SegmentSync(id, covers));
    }
}
