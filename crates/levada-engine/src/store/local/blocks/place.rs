//! The names of blocks and of the files that they stand in.

use crate::store::ObjectNumber;

/// The directory of segments and packs.
pub(in super::super) const DIRECTORY: &str = "segments";

/// Names a block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in super::super) struct BlockKey {
    pub(in super::super) object: ObjectNumber,
    pub(in super::super) number: u64,
}

/// Where a block stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Location {
    pub(in super::super) file: SegmentId,
    pub(in super::super) offset: u32,
    /// Bytes, header included.
    pub(in super::super) len: u32,
}

/// A segment or pack file: its number times two, odd for a pack.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in super::super) struct SegmentId(pub(super) u64);

impl SegmentId {
    pub(super) fn new(number: u64, pack: bool) -> Self {
        Self(number << 1 | u64::from(pack))
    }

    pub(super) fn number(self) -> u64 {
        self.0 >> 1
    }

    pub(super) fn is_pack(self) -> bool {
        self.0 & 1 == 1
    }

    /// The path; a pack file belongs to no object.
    pub(super) fn path(self, object: ObjectNumber) -> String {
        let number = self.number();
        if self.is_pack() {
            format!("{DIRECTORY}/pack-{number:016x}.seg")
        } else {
            format!("{DIRECTORY}/{object:016x}-{number:08x}.seg")
        }
    }
}
