//! One file: what reads see, what the medium is sure to hold, and the changes between the two.
//!
//! Invariants: the changes, applied in order to the durable image, give the live one; none of them
//! is older than what the durable image holds of its sector. Writes are kept in pieces of one
//! sector, because a sector is what persists or does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use levada_engine::disk::Buffer;

use crate::random::Random;

/// What the medium writes whole or not at all, in bytes.
pub(super) const SECTOR: usize = 512;

/// See the module.
#[derive(Clone, Default, Debug)]
pub(super) struct Image {
    live: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    changes: Vec<Change>,
    /// Which sectors take space: those ever written, not those only within the length.
    allocated: BTreeSet<usize>,
}

/// Something that has completed and is not durable.
#[derive(Clone, Debug)]
struct Change {
    /// Position in the order of completion; the pieces of one write share it.
    number: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// The file has this length from here on; new bytes are zero.
    Length(usize),
    Piece(Piece),
}

/// The part of a write that lies in one sector.
#[derive(Clone, Debug)]
struct Piece {
    start: usize,
    bytes: Buffer,
    range: Range<usize>,
    /// A failed sync has claimed it: no later sync writes it for its own sake.
    clean: bool,
}

/// How a power cut treats unsynced writes, drawn once for all files, so that the extremes (all
/// lost, all there) are as frequent as the mixtures. In percent.
pub(super) struct Temper {
    survive: u64,
    tear: u64,
    garbage: u64,
}

/// What becomes of a write in a power cut.
enum Fate {
    Whole,
    Lost,
    /// This many sectors from its start.
    Prefix(usize),
    /// Any of its sectors.
    Torn,
}

impl Image {
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// Bytes that the file takes on the device.
    pub(super) fn space(&self) -> u64 {
        (self.allocated.len() * SECTOR) as u64
    }

    /// Bytes that the device must still have for this range.
    pub(super) fn space_wanted(&self, range: Range<usize>) -> u64 {
        let missing = sectors(&range).filter(|sector| !self.allocated.contains(sector));
        (missing.count() * SECTOR) as u64
    }

    pub(super) fn set_len(&mut self, number: u64, len: usize) {
        if len != self.live.len() {
            Arc::make_mut(&mut self.live).resize(len, 0);
            self.allocated.split_off(&len.div_ceil(SECTOR));
            let what = What::Length(len);
            self.changes.push(Change { number, what });
        }
    }

    /// Writes the first `len` of `bytes`.
    pub(super) fn write(&mut self, number: u64, offset: usize, bytes: &Buffer, len: usize) {
        let end = offset + len;
        if len > 0 && end > self.live.len() {
            self.set_len(number, end);
        }
        let live = Arc::make_mut(&mut self.live);
        let mut start = offset;
        while start < end {
            let stop = end.min((start / SECTOR + 1) * SECTOR);
            let piece = Piece {
                start,
                bytes: bytes.clone(),
                range: start - offset..stop - offset,
                clean: false,
            };
            piece.apply(live);
            self.allocated.insert(start / SECTOR);
            let what = What::Piece(piece);
            self.changes.push(Change { number, what });
            start = stop;
        }
    }

    /// Makes durable what had completed at `mark`.
    pub(super) fn sync(&mut self, mark: u64) {
        // What is written is whole sectors: a clean piece goes along with a dirty one beside it.
        let dirty: BTreeSet<usize> = self.pieces_to_sync(mark).map(Piece::sector).collect();
        let durable = Arc::make_mut(&mut self.durable);
        let mut kept: Vec<Change> = Vec::new();
        for change in self.changes.drain(..) {
            match &change.what {
                What::Length(len) if change.number <= mark => {
                    durable.resize(*len, 0);
                    for earlier in &mut kept {
                        earlier.clip(*len);
                    }
                }
                What::Piece(piece) if change.number <= mark && dirty.contains(&piece.sector()) => {
                    piece.apply(durable);
                }
                _ => kept.push(change),
            }
        }
        self.changes = kept;
    }

    /// A sync that fails: what it should have written counts as clean.
    pub(super) fn fail_sync(&mut self, mark: u64) {
        for change in &mut self.changes {
            if let What::Piece(piece) = &mut change.what
                && change.number <= mark
            {
                piece.clean = true;
            }
        }
    }

    /// The power cut.
    pub(super) fn crash(&mut self, temper: &Temper, random: &mut Random) {
        let versions = self.surviving_versions(temper, random);
        let lengths_left = surviving_lengths(self.lengths(), random);
        let synced = self.durable.len();
        let lost = self.keep(&versions, lengths_left);
        let image = Arc::make_mut(&mut self.durable);
        for piece in lost {
            let end = (piece.start + piece.range.len()).min(image.len());
            if random.chance(temper.garbage) && piece.start.max(synced) < end {
                let start = piece.start.max(synced);
                image[start..end].copy_from_slice(&random.bytes(end - start));
            }
        }
        self.live = Arc::clone(&self.durable);
    }

    /// In how many ways each thing that is not durable may be found after a power cut: the length
    /// first, if it changed, then each sector that was written, in order.
    pub(super) fn outcomes(&self) -> Vec<usize> {
        let lengths = Some(self.lengths() + 1).filter(|ways| *ways > 1);
        let sectors = self.unsynced().into_values().map(|versions| versions.len() + 1);
        lengths.into_iter().chain(sectors).collect()
    }

    /// The power cut, with one of [`Image::outcomes`] for each; no garbage.
    pub(super) fn crash_to(&mut self, outcomes: &[usize]) {
        let mut outcomes = outcomes.iter().copied();
        let lengths_left = if self.lengths() > 0 { outcomes.next().unwrap_or(0) } else { 0 };
        let chosen = self.unsynced().into_iter().zip(outcomes);
        let versions = chosen.filter_map(|((sector, versions), outcome)| {
            Some((sector, *versions.get(outcome.checked_sub(1)?)?))
        });
        let versions = versions.collect();
        self.keep(&versions, lengths_left);
        self.live = Arc::clone(&self.durable);
    }

    /// Changes one bit (0 to 7) of a byte, on the medium and for readers.
    pub(super) fn flip(&mut self, at: usize, bit: u32) {
        for image in [&mut self.live, &mut self.durable] {
            if let Some(byte) = Arc::make_mut(image).get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
    }

    /// Overwrites what there is at a place, on the medium and for readers; never grows the file.
    pub(super) fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        for image in [&mut self.live, &mut self.durable] {
            let image = Arc::make_mut(image);
            let len = bytes.len().min(image.len().saturating_sub(at));
            if len > 0 {
                image[at..at + len].copy_from_slice(&bytes[..len]);
            }
        }
    }

    fn lengths(&self) -> usize {
        self.changes.iter().filter(|change| matches!(change.what, What::Length(_))).count()
    }

    /// Each sector with writes that are not durable and make a difference, and their numbers in
    /// order: zeros over zeros make none.
    fn unsynced(&self) -> BTreeMap<usize, Vec<u64>> {
        let mut sectors: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for change in &self.changes {
            let What::Piece(piece) = &change.what else {
                continue;
            };
            let sector = piece.sector();
            let is_idle = || piece.is_zero() && is_zero(sector_of(&self.durable, sector));
            if !sectors.contains_key(&sector) && is_idle() {
                continue;
            }
            let versions = sectors.entry(sector).or_default();
            if versions.last() != Some(&change.number) {
                versions.push(change.number);
            }
        }
        sectors
    }

    /// Makes so many lengths durable, and of each sector what was written up to its version; what
    /// of a sector without one is lost.
    fn keep(&mut self, versions: &BTreeMap<usize, u64>, mut lengths_left: usize) -> Vec<Piece> {
        let image = Arc::make_mut(&mut self.durable);
        let mut lost = Vec::new();
        for change in self.changes.drain(..) {
            match change.what {
                What::Length(len) if lengths_left > 0 => {
                    lengths_left -= 1;
                    image.resize(len, 0);
                }
                What::Length(_) => {}
                What::Piece(piece) => match versions.get(&piece.sector()) {
                    Some(version) if change.number <= *version => piece.apply(image),
                    Some(_) => {}
                    None => lost.push(piece),
                },
            }
        }
        self.allocated.split_off(&image.len().div_ceil(SECTOR));
        lost
    }

    fn pieces_to_sync(&self, mark: u64) -> impl Iterator<Item = &Piece> {
        self.changes.iter().filter_map(move |change| match &change.what {
            What::Piece(piece) if change.number <= mark && !piece.clean => Some(piece),
            _ => None,
        })
    }

    /// For each sector of which something survives, the number of its last write that does.
    fn surviving_versions(&self, temper: &Temper, random: &mut Random) -> BTreeMap<usize, u64> {
        let mut versions = BTreeMap::new();
        let mut current: Option<(u64, usize, Fate)> = None;
        for change in &self.changes {
            let What::Piece(piece) = &change.what else {
                continue;
            };
            let sector = piece.sector();
            let (_, first, fate) = match current.take() {
                Some(same) if same.0 == change.number => current.insert(same),
                _ => {
                    let count = sectors(&(piece.start..piece.start + piece.bytes.len())).len();
                    current.insert((change.number, sector, temper.fate(count, random)))
                }
            };
            let survives = match fate {
                Fate::Whole => true,
                Fate::Lost => false,
                Fate::Prefix(count) => sector - *first < *count,
                Fate::Torn => random.chance(50),
            };
            if survives {
                versions.insert(sector, change.number);
            }
        }
        versions
    }
}

impl Change {
    /// Forgets what lies behind a later, durable end of the file.
    fn clip(&mut self, len: usize) {
        if let What::Piece(piece) = &mut self.what {
            let left = len.saturating_sub(piece.start).min(piece.range.len());
            piece.range.end = piece.range.start + left;
        }
    }
}

impl Piece {
    fn sector(&self) -> usize {
        self.start / SECTOR
    }

    fn is_zero(&self) -> bool {
        is_zero(&self.bytes[self.range.clone()])
    }

    /// Puts the bytes into an image, as far as it reaches.
    fn apply(&self, image: &mut [u8]) {
        let len = self.range.len().min(image.len().saturating_sub(self.start));
        if len > 0 {
            let bytes = &self.bytes[self.range.start..self.range.start + len];
            image[self.start..self.start + len].copy_from_slice(bytes);
        }
    }
}

impl Temper {
    pub(super) fn draw(random: &mut Random) -> Self {
        Self {
            survive: *random.pick(&[0, 10, 50, 90, 100]),
            tear: *random.pick(&[0, 0, 20, 60]),
            garbage: *random.pick(&[0, 0, 0, 50]),
        }
    }

    /// The fate of a write to so many sectors.
    fn fate(&self, sectors: usize, random: &mut Random) -> Fate {
        if sectors > 1 && random.chance(self.tear) {
            if random.chance(50) { Fate::Torn } else { Fate::Prefix(1 + random.index(sectors - 1)) }
        } else if random.chance(self.survive) {
            Fate::Whole
        } else {
            Fate::Lost
        }
    }
}

/// How many of so many changes of length persist: they do so in order.
fn surviving_lengths(count: usize, random: &mut Random) -> usize {
    match random.below(4) {
        0 => 0,
        1 => random.index(count + 1),
        _ => count,
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// What an image holds of a sector, as far as it reaches.
fn sector_of(image: &[u8], sector: usize) -> &[u8] {
    let start = (sector * SECTOR).min(image.len());
    &image[start..(start + SECTOR).min(image.len())]
}

/// The sectors that a range touches; an empty one touches none.
fn sectors(range: &Range<usize>) -> Range<usize> {
    let first = range.start / SECTOR;
    first..if range.is_empty() { first } else { range.end.div_ceil(SECTOR) }
}
