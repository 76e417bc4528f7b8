//! Blocks as they stand on disk, for those who look after a data directory: what is sound, what is
//! not, and where.

use std::sync::Arc;

use levada_core::block::Block;

use super::{BlockKey, Blocks, DIRECTORY, format};
use crate::{
    disk::Disk,
    error::Place,
    store::{ObjectNumber, local::io::Io},
};

/// A block that is not what it should be.
#[derive(Debug)]
pub(in super::super) struct Unsound {
    /// Where it stands, or should.
    pub(in super::super) place: Place,
    /// What is wrong.
    pub(in super::super) what: String,
    /// The bytes that stand there, as far as there are some.
    pub(in super::super) bytes: Vec<u8>,
    /// What its checksum covers besides.
    pub(in super::super) key: Vec<u8>,
}

impl Blocks {
    /// The block as it stands on disk, whatever is in memory.
    pub(in super::super) fn examine<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        key: BlockKey,
    ) -> Result<Block, Unsound> {
        let place = self.place(key);
        let Some(location) = self.locations.get(key) else {
            let what = "the checkpoint does not say where the block stands".to_owned();
            return Err(Unsound { place, what, bytes: Vec::new(), key: Vec::new() });
        };
        let (number, offset) = (location.file.number(), u64::from(location.offset));
        let read = self.files.open(io, location.file, key.object).and_then(|file| {
            let mut bytes = vec![0; location.len as usize];
            let read = io.read(file, &place.path, offset, &mut bytes)?;
            bytes.truncate(read);
            Ok(bytes)
        });
        let (bytes, what) = match read {
            Err(error) => (Vec::new(), error.message),
            Ok(bytes) => match format::decode(&bytes, key, number, offset) {
                Ok(block) => return Ok(block),
                Err(what) => (bytes, what.to_owned()),
            },
        };
        let key = [number.to_le_bytes(), offset.to_le_bytes()].concat();
        Err(Unsound { place, what, bytes, key })
    }

    /// The same as the bytes that stand on disk.
    pub(in super::super) fn sound_bytes<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        key: BlockKey,
    ) -> Result<Arc<[u8]>, Unsound> {
        let block = self.examine(io, key)?;
        let Some(location) = self.locations.get(key) else {
            unreachable!("the block was read from there");
        };
        let (number, offset) = (location.file.number(), u64::from(location.offset));
        Ok(format::encode(key, number, offset, block.bytes()))
    }

    /// All blocks.
    pub(in super::super) fn keys(&self) -> impl Iterator<Item = BlockKey> {
        self.locations.iter().map(|(key, _)| key)
    }

    /// Where a block stands.
    pub(in super::super) fn place(&self, key: BlockKey) -> Place {
        match self.locations.get(key) {
            None => Place { path: DIRECTORY.to_owned(), offset: 0 },
            Some(at) => Place { path: at.file.path(key.object), offset: u64::from(at.offset) },
        }
    }

    /// Blocks that failed their check, and how.
    pub(in super::super) fn damaged(&self) -> impl Iterator<Item = (ObjectNumber, u64, &str)> {
        self.damaged.iter().map(|(key, how)| (key.object, key.number, how.as_str()))
    }
}
