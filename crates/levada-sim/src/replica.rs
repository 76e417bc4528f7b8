//! The log, replayed: whatever a shard commits is applied to a second machine, which must come to
//! the same state; so must one that is loaded from snapshots of that machine, taken in pieces while
//! it goes on.

use crate::books;
use crate::dump::{self, Dump, SealedBlocks};
use crate::random::Random;
use levada_core::effect;
use levada_core::machine::{Applied, At, Machine};
use levada_core::snapshot::{self, Change, PieceId, Snapshot};
use levada_engine::store::Batch;
use std::collections::BTreeMap;

/// A machine that follows a log, and a checkpoint that follows the machine.
#[derive(Debug)]
pub struct Replica {
    machine: Machine,
    blocks: SealedBlocks,
    last: Batch,
    /// Pieces of the last checkpoint that ended.
    pieces: BTreeMap<PieceId, Vec<u8>>,
    /// Where the last snapshot was taken; nothing is in the checkpoint yet at 0.
    position: u64,
    under_way: Option<Frozen>,
}

/// A snapshot whose pieces are still being encoded, and what they must amount to.
#[derive(Debug)]
struct Frozen {
    snapshot: Snapshot,
    pieces: BTreeMap<PieceId, Vec<u8>>,
    expected: Dump,
    blocks: SealedBlocks,
    now_ms: u64,
}

impl Default for Replica {
    fn default() -> Self {
        Self {
            machine: Machine::new(1),
            blocks: SealedBlocks::default(),
            last: Batch { lsn: 0, now_ms: 0, effects: Vec::new() },
            pieces: BTreeMap::new(),
            position: 0,
            under_way: None,
        }
    }
}

impl Replica {
    /// Applies a batch as recovery does.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), String> {
        let at = At { position: batch.lsn, now_ms: batch.now_ms };
        for effect in effect::decode_batch(&batch.effects) {
            let effect = effect.ok_or("a batch that was logged cannot be read")?;
            match self.machine.apply(&effect, at) {
                Applied::Done => {}
                Applied::Sealed(key, number, block) => {
                    self.blocks.0.insert((key, number), block);
                }
                Applied::Filled(key, blocks) => {
                    let blocks = blocks.into_iter();
                    self.blocks.0.extend(blocks.map(|(number, block)| ((key, number), block)));
                }
                Applied::Dropped(key, below) => {
                    self.blocks.0.retain(|(of, number), _| *of != key || *number >= below);
                }
                Applied::Removed(keys) => {
                    self.blocks.0.retain(|(of, _), _| !keys.contains(of));
                }
            }
        }
        self.last = batch.clone();
        Ok(())
    }

    /// The state, at a time.
    pub fn dump(&self, now_ms: u64) -> Dump {
        dump::of_machine(&self.machine, &self.blocks, now_ms)
    }

    /// Goes on with checkpoints by chance: begins one, encodes some pieces, ends it. At its end
    /// loads it and compares, and now and then goes on from what was loaded, as after a restart.
    pub fn checkpoint(&mut self, random: &mut Random) -> Result<(), String> {
        let Some(frozen) = &mut self.under_way else {
            if random.chance(30) {
                self.freeze(random.chance(10));
            }
            return Ok(());
        };
        let mut bytes = Vec::new();
        for _ in 0..random.below(12) {
            let Some((id, change)) = frozen.snapshot.next_piece(&mut bytes) else {
                return self.end_checkpoint(random);
            };
            match change {
                Change::Put => _ = frozen.pieces.insert(id, bytes.clone()),
                Change::Extend => frozen.pieces.entry(id).or_default().extend(&bytes),
                Change::RemoveObject => frozen.pieces.retain(|(object, ..), _| *object != id.0),
            }
        }
        Ok(())
    }

    fn freeze(&mut self, whole: bool) {
        let whole = whole || self.position == 0;
        let now_ms = self.last.now_ms;
        self.under_way = Some(Frozen {
            snapshot: self.machine.snapshot(self.position, whole),
            pieces: if whole { BTreeMap::new() } else { self.pieces.clone() },
            expected: self.dump(now_ms),
            blocks: self.blocks.clone(),
            now_ms,
        });
        self.position = self.last.lsn;
    }

    fn end_checkpoint(&mut self, random: &mut Random) -> Result<(), String> {
        let Some(frozen) = self.under_way.take() else { return Ok(()) };
        self.pieces = frozen.pieces;
        let loaded = snapshot::load(&self.pieces, 2).ok_or("a checkpoint cannot be loaded")?;
        let found = dump::of_machine(&loaded, &frozen.blocks, frozen.now_ms);
        if let Some(difference) = dump::difference(&frozen.expected, &found) {
            return Err(format!("loaded from a checkpoint: {difference}"));
        }
        books::check(&loaded).map_err(|what| format!("loaded from a checkpoint: {what}"))?;
        if self.position == self.last.lsn && random.chance(50) {
            self.machine = loaded;
        }
        Ok(())
    }
}
