//! Which block stands where, and how a checkpoint keeps that.
//!
//! The store's own piece of an object (kind 0, part 0) is a list of records, in order:
//!
//! ```text
//! record := 0 varint(number) varint(file number * 2 + pack) varint(offset) varint(length)
//!         | 1 varint(number)                 blocks below this number are gone
//! ```
//!
//! A checkpoint that is not whole extends the list by the changes since the one before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use levada_core::varint::{self, Reader};

use super::{BlockKey, Location, SegmentId};
use crate::{
    error::Error,
    store::{ObjectNumber, PieceChange, PieceId},
};

/// Persisted numbers of records, never to be renumbered.
const BLOCK: u8 = 0;
const DROP_BEFORE: u8 = 1;

/// See the module.
#[derive(Default)]
pub(super) struct Locations {
    objects: BTreeMap<ObjectNumber, Object>,
    changed: BTreeSet<ObjectNumber>,
    /// Objects dropped since the last checkpoint.
    dropped: Vec<ObjectNumber>,
}

#[derive(Default)]
struct Object {
    /// Ascending by number.
    blocks: VecDeque<(u64, Location)>,
    /// Bytes of all of them.
    bytes: u64,
    /// The file to which its blocks are appended.
    current: Option<SegmentId>,
    /// Records since the last checkpoint.
    changes: Vec<u8>,
}

impl Locations {
    /// Takes an object's piece of a checkpoint in.
    pub(super) fn load(&mut self, object: ObjectNumber, bytes: &[u8]) -> Option<()> {
        let entry = self.objects.entry(object).or_default();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            match reader.u8()? {
                BLOCK => {
                    let number = reader.u64()?;
                    let location = Location {
                        file: SegmentId(reader.u64()?),
                        offset: reader.u32()?,
                        len: reader.u32()?,
                    };
                    entry.put(number, location);
                }
                DROP_BEFORE => {
                    let number = reader.u64()?;
                    entry.drop_before(number);
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// All blocks.
    pub(super) fn iter(&self) -> impl Iterator<Item = (BlockKey, Location)> {
        self.objects.iter().flat_map(|(object, entry)| {
            entry.blocks.iter().map(|(number, location)| {
                let key = BlockKey { object: *object, number: *number };
                (key, *location)
            })
        })
    }

    /// The first block behind another one, or of all.
    pub(super) fn after(&self, last: Option<BlockKey>) -> Option<(BlockKey, Location)> {
        let from = last.map_or(0, |last| last.object);
        self.objects.range(from..).find_map(|(object, entry)| {
            let start = match last.filter(|last| last.object == *object) {
                None => 0,
                Some(last) => {
                    let (Ok(at) | Err(at)) = entry.find(last.number.saturating_add(1));
                    at
                }
            };
            let (number, location) = entry.blocks.get(start)?;
            Some((BlockKey { object: *object, number: *number }, *location))
        })
    }

    pub(super) fn get(&self, key: BlockKey) -> Option<Location> {
        let entry = self.objects.get(&key.object)?;
        let at = entry.find(key.number).ok()?;
        entry.blocks.get(at).map(|(_, location)| *location)
    }

    /// Sets the place of a block; returns the one that it had.
    pub(super) fn put(&mut self, key: BlockKey, location: Location) -> Option<Location> {
        let entry = self.objects.entry(key.object).or_default();
        put_block(&mut entry.changes, key.number, location);
        self.changed.insert(key.object);
        entry.put(key.number, location)
    }

    /// Forgets blocks below a number; returns them.
    pub(super) fn drop_before(
        &mut self,
        object: ObjectNumber,
        number: u64,
    ) -> Vec<(u64, Location)> {
        let Some(entry) = self.objects.get_mut(&object) else {
            return Vec::new();
        };
        let gone = entry.drop_before(number);
        if !gone.is_empty() {
            entry.changes.push(DROP_BEFORE);
            varint::put_u64(&mut entry.changes, number);
            self.changed.insert(object);
        }
        gone
    }

    /// Forgets an object; returns its blocks.
    pub(super) fn drop_object(&mut self, object: ObjectNumber) -> VecDeque<(u64, Location)> {
        let Some(entry) = self.objects.remove(&object) else {
            return VecDeque::new();
        };
        self.changed.remove(&object);
        self.dropped.push(object);
        entry.blocks
    }

    /// Bytes of an object's blocks.
    pub(super) fn bytes(&self, object: ObjectNumber) -> u64 {
        self.objects.get(&object).map_or(0, |entry| entry.bytes)
    }

    /// The file to which an object's blocks are appended.
    pub(super) fn current(&self, object: ObjectNumber) -> Option<SegmentId> {
        self.objects.get(&object)?.current
    }

    pub(super) fn set_current(&mut self, object: ObjectNumber, file: SegmentId) {
        self.objects.entry(object).or_default().current = Some(file);
    }

    /// Appends to none of these files any more.
    pub(super) fn forget_current(&mut self, files: &[(SegmentId, ObjectNumber)]) {
        for (file, object) in files {
            if let Some(entry) = self.objects.get_mut(object)
                && entry.current == Some(*file)
            {
                entry.current = None;
            }
        }
    }

    /// Hands in the pieces of a checkpoint.
    pub(super) fn pieces(
        &mut self,
        whole: bool,
        mut piece: impl FnMut(PieceId, PieceChange, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let id = |object| PieceId { object, kind: 0, part: 0 };
        for object in std::mem::take(&mut self.dropped) {
            if !whole {
                piece(id(object), PieceChange::Remove, &[])?;
            }
        }
        let changed = std::mem::take(&mut self.changed);
        if whole {
            for (object, entry) in &mut self.objects {
                entry.changes.clear();
                let mut bytes = Vec::new();
                for (number, location) in &entry.blocks {
                    put_block(&mut bytes, *number, *location);
                }
                if !bytes.is_empty() {
                    piece(id(*object), PieceChange::Put, &bytes)?;
                }
            }
            return Ok(());
        }
        for object in changed {
            if let Some(entry) = self.objects.get_mut(&object) {
                let bytes = std::mem::take(&mut entry.changes);
                piece(id(object), PieceChange::Extend, &bytes)?;
            }
        }
        Ok(())
    }
}

impl Object {
    fn find(&self, number: u64) -> Result<usize, usize> {
        self.blocks.binary_search_by_key(&number, |(number, _)| *number)
    }

    fn put(&mut self, number: u64, location: Location) -> Option<Location> {
        self.bytes += u64::from(location.len);
        match self.find(number) {
            Ok(at) => {
                let replaced = std::mem::replace(&mut self.blocks[at].1, location);
                self.bytes -= u64::from(replaced.len);
                Some(replaced)
            }
            Err(at) => {
                self.blocks.insert(at, (number, location));
                None
            }
        }
    }

    fn drop_before(&mut self, number: u64) -> Vec<(u64, Location)> {
        let (Ok(end) | Err(end)) = self.find(number);
        let gone: Vec<_> = self.blocks.drain(..end).collect();
        self.bytes -= gone.iter().map(|(_, location)| u64::from(location.len)).sum::<u64>();
        gone
    }
}

fn put_block(out: &mut Vec<u8>, number: u64, location: Location) {
    out.push(BLOCK);
    varint::put_u64(out, number);
    varint::put_u64(out, location.file.0);
    varint::put_u64(out, u64::from(location.offset));
    varint::put_u64(out, u64::from(location.len));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(offset: u32) -> Location {
        Location { file: SegmentId::new(7, true), offset, len: 9 }
    }

    fn key(object: u64, number: u64) -> BlockKey {
        BlockKey { object, number }
    }

    fn bytes_of(locations: &mut Locations, whole: bool) -> Vec<(u64, PieceChange, Vec<u8>)> {
        let mut out = Vec::new();
        let take = |id: PieceId, change, bytes: &[u8]| {
            out.push((id.object, change, bytes.to_vec()));
            Ok(())
        };
        locations.pieces(whole, take).expect("nothing fails");
        out
    }

    #[test]
    fn changes_add_up_to_the_whole() {
        let mut locations = Locations::default();
        let mut pieces: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for round in 0..5u32 {
            for number in 0..4 {
                locations.put(key(1, u64::from(round * 3 + number)), location(round));
                locations.put(key(u64::from(10 + round), 1), location(number));
            }
            locations.drop_before(1, u64::from(round) * 2);
            locations.drop_object(u64::from(8 + round));
            for (object, change, bytes) in bytes_of(&mut locations, false) {
                match change {
                    PieceChange::Extend => pieces.entry(object).or_default().extend(bytes),
                    PieceChange::Remove => drop(pieces.remove(&object)),
                    other => panic!("{other:?}"),
                }
            }
            let mut loaded = Locations::default();
            for (object, bytes) in &pieces {
                loaded.load(*object, bytes).expect("its own bytes");
            }
            let all: Vec<_> = locations.iter().collect();
            let in_one = all.iter().filter(|(key, _)| key.object == 1).count() as u64;
            assert_eq!((locations.bytes(1), loaded.bytes(1)), (in_one * 9, in_one * 9));
            assert_eq!(loaded.iter().collect::<Vec<_>>(), all);
            let mut whole = Locations::default();
            for (object, _, bytes) in bytes_of(&mut loaded, true) {
                whole.load(object, &bytes).expect("its own bytes");
            }
            assert_eq!(whole.iter().collect::<Vec<_>>(), all);
        }
        assert_eq!(locations.get(key(1, 14)), Some(location(4)));
        assert_eq!(locations.get(key(1, 2)), None);
    }

    #[test]
    fn malformed_records_are_refused() {
        let mut locations = Locations::default();
        assert!(locations.load(1, &[BLOCK, 1]).is_none());
        assert!(locations.load(1, &[9]).is_none());
    }
}
