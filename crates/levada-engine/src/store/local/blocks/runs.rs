//! Blocks on their way to their files: gathered, so that one write takes several.
//!
//! The next blocks of a file stand one behind the other, from the beginning of a page on: a run. It
//! is written when it has [`RUN_BYTES`], as the longest when all runs together have
//! [`GATHERED_BYTES_MAX`], and before a checkpoint. Until its write has completed its blocks are
//! pinned by the owner, and the log can make them again. What is dropped before it is written is
//! not written: zeros are in its place, and a run of which nothing is left costs nothing.

use std::{collections::BTreeMap, sync::Arc};

use levada_core::block::Block;

use super::{BlockKey, Location, SegmentId, format};
use crate::{
    disk::{Buffer, Memory},
    store::ObjectNumber,
};

/// Bytes of a run that is written. Beyond that a device gets little faster, and a sync of the log
/// waits behind it.
const RUN_BYTES: usize = 256 << 10;
/// Bytes that wait in all runs together.
const GATHERED_BYTES_MAX: usize = 4 << 20;

/// See the module.
#[derive(Default)]
pub(super) struct Runs {
    gathered: BTreeMap<SegmentId, Run>,
    gathered_bytes: usize,
    /// By the number of the write.
    under_way: BTreeMap<u64, Run>,
    memory: Arc<Memory>,
}

/// Blocks that stand one behind the other.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) file: SegmentId,
    pub(super) object: ObjectNumber,
    /// Where the first one begins.
    pub(super) offset: u64,
    len: usize,
    pub(super) blocks: Vec<(BlockKey, Location)>,
}

impl Runs {
    /// Takes note of the next block of a file.
    pub(super) fn add(&mut self, key: BlockKey, location: Location) {
        let run = self.gathered.entry(location.file).or_insert_with(|| Run {
            file: location.file,
            object: key.object,
            offset: u64::from(location.offset),
            len: 0,
            blocks: Vec::new(),
        });
        run.blocks.push((key, location));
        run.len += location.len as usize;
        self.gathered_bytes += location.len as usize;
    }

    /// The next run that is not to wait any longer, or any if none is to.
    pub(super) fn take_due(&mut self, all: bool) -> Option<Run> {
        let longest = self.gathered.values().max_by_key(|run| run.len)?;
        let due = all || longest.len >= RUN_BYTES || self.gathered_bytes >= GATHERED_BYTES_MAX;
        let run = due.then_some(longest.file).and_then(|file| self.gathered.remove(&file))?;
        self.gathered_bytes -= run.len;
        Some(run)
    }

    /// The bytes of a run, encoded when they are written; `block` gives each block, or says that
    /// it is dropped. Nothing where all are.
    pub(super) fn encode(
        &self,
        run: &Run,
        block: impl Fn(BlockKey, Location) -> Option<Arc<Block>>,
    ) -> Option<Buffer> {
        let blocks = run.blocks.iter();
        let blocks: Vec<_> =
            blocks.map(|(key, location)| (*key, *location, block(*key, *location))).collect();
        blocks.iter().any(|(_, _, block)| block.is_some()).then(|| {
            Buffer::later(run.len, &self.memory, move |mut rest| {
                for (key, location, block) in &blocks {
                    let (place, behind) = rest.split_at_mut(location.len as usize);
                    let (file, offset) = (location.file.number(), u64::from(location.offset));
                    match block {
                        Some(block) => format::encode_in(place, *key, file, offset, block.bytes()),
                        None => place.fill(0),
                    }
                    rest = behind;
                }
                rest.fill(0);
            })
        })
    }

    /// The write of a run begins.
    pub(super) fn begin(&mut self, write: u64, run: Run) {
        self.under_way.insert(write, run);
    }

    /// The write of a run has ended.
    pub(super) fn end(&mut self, write: u64) -> Option<Run> {
        self.under_way.remove(&write)
    }
}

#[cfg(test)]
mod tests {
    use levada_core::{fields::Fields, id::StreamId};

    use super::*;

    /// Adds blocks of so many bytes behind each other to a file.
    fn add(runs: &mut Runs, file: u64, lens: &[usize]) {
        let mut offset = 0;
        for (number, len) in lens.iter().enumerate() {
            let key = BlockKey { object: file, number: number as u64 };
            let len = u32::try_from(*len).expect("small");
            runs.add(key, Location { file: SegmentId::new(file, false), offset, len });
            offset += len;
        }
    }

    #[test]
    fn a_run_waits_until_it_is_long_or_a_checkpoint_comes() {
        let mut runs = Runs::default();
        add(&mut runs, 1, &[100_000, 100_000]);
        assert!(runs.take_due(false).is_none(), "200,000 bytes are not enough");
        add(&mut runs, 2, &[100_000, 100_000, 100_000]);
        let run = runs.take_due(false).expect("300,000 are");
        assert_eq!((run.object, run.blocks.len()), (2, 3));
        assert!(runs.take_due(false).is_none());
        assert_eq!(runs.take_due(true).expect("for a checkpoint").object, 1);
        assert!(runs.take_due(true).is_none());
        assert_eq!(runs.gathered_bytes, 0);
    }

    #[test]
    fn many_short_runs_give_way_the_longest_first() {
        let mut runs = Runs::default();
        for file in 1..=41 {
            add(&mut runs, file, &[100_000 + usize::from(file == 7)]);
        }
        assert!(runs.take_due(false).is_none(), "4,100,001 bytes may wait");
        add(&mut runs, 42, &[100_000]);
        assert_eq!(runs.take_due(false).expect("4,200,001 may not").object, 7);
        assert!(runs.take_due(false).is_none());
    }

    #[test]
    fn what_is_dropped_leaves_zeros_and_what_was_there_before_is_gone() {
        let mut block = Block::new();
        let pair: [&[u8]; 2] = [b"f", &[b'v'; 3000]];
        block.append(StreamId::new(1, 0), &Fields::Arguments(&pair), true);
        let block = Arc::new(block);
        let len = format::HEADER + block.bytes().len();
        let mut runs = Runs::default();
        let mut encode = |is_there: &dyn Fn(u64) -> bool| {
            add(&mut runs, 1, &[len, len]);
            let run = runs.take_due(true).expect("gathered");
            let there = |key: BlockKey, _| is_there(key.number).then(|| Arc::clone(&block));
            let bytes = runs.encode(&run, there)?;
            assert_eq!(bytes.len(), 8192);
            Some((run, bytes.to_vec()))
        };
        let decoded = |run: &Run, bytes: &[u8], at: usize| {
            let (key, location) = run.blocks[at];
            let offset = location.offset as usize;
            let bytes = &bytes[offset..][..len];
            format::decode(bytes, key, 1, offset as u64).ok()
        };
        let (run, whole) = encode(&|_| true).expect("both are there");
        assert!([0, 1].map(|at| decoded(&run, &whole, at)).iter().all(Option::is_some));
        assert!(whole[2 * len..].iter().all(|byte| *byte == 0));
        let (run, half) = encode(&|number| number == 1).expect("one is there");
        assert!(decoded(&run, &half, 1).is_some());
        assert!(half[..len].iter().all(|byte| *byte == 0));
        assert!(encode(&|_| false).is_none(), "nothing is worth a write");
        runs.begin(1, run);
        assert_eq!(runs.end(1).expect("begun").blocks.len(), 2);
        assert!(runs.end(1).is_none());
    }
}
