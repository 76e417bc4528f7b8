//! Checkpoints, a slice per turn.
//!
//! The machine is frozen at one log position by cloning pointers; its pieces are then encoded a
//! slice at a time, as fast as the store takes them. The machine goes on meanwhile.

use levada_core::snapshot::{Change, Snapshot};

use super::Shard;
use crate::{
    error::Error,
    store::{Lsn, PieceChange, PieceId, Store},
};

/// Bytes on their way to disk at which encoding pauses.
const BACKLOG_BYTES_MAX: usize = 4 << 20;

/// How far a checkpoint is.
#[derive(Default, Debug)]
pub(super) struct Checkpointing {
    /// Pieces still to be encoded.
    snapshot: Option<Snapshot>,
    /// Whether all are handed in and the store makes them durable.
    ending: bool,
    /// Changes up to here are in the last checkpoint.
    position: Lsn,
    finished: u64,
    /// One was asked for.
    wanted: bool,
    piece: Vec<u8>,
}

impl Checkpointing {
    /// After recovery: everything up to here is in the checkpoint that was loaded.
    pub(super) fn at(position: Lsn) -> Self {
        Self { position, ..Self::default() }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.snapshot.is_some()
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn facts(&self) -> Checkpoints {
        let in_progress = self.snapshot.is_some() || self.ending || self.wanted;
        Checkpoints { finished: self.finished, in_progress }
    }

    pub(super) fn finished(&self) -> u64 {
        self.finished
    }
}

/// How checkpoints stand.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Checkpoints {
    /// How many were finished since the start.
    pub finished: u64,
    /// Whether one is asked for, being written, or on its way to disk.
    pub in_progress: bool,
}

impl<S: Store> Shard<S> {
    /// Asks for a checkpoint, which begins at the next poll between two batches, behind one that is
    /// under way already.
    pub fn want_checkpoint(&mut self) {
        self.checkpointing.wanted = true;
    }

    /// How checkpoints stand.
    pub fn checkpoints(&self) -> Checkpoints {
        self.checkpointing.facts()
    }

    /// Begins a checkpoint if one is due, or goes on with the one under way.
    pub(super) fn go_on_with_checkpoint(&mut self) -> Result<(), Error> {
        if self.checkpointing.snapshot.is_some() {
            return self.checkpoint_slice();
        }
        match self.store.checkpoint_due() {
            None => {}
            Some(due) => {
                if std::mem::take(&mut self.checkpointing.ending) {
                    self.checkpointing.finished += 1;
                }
                if (due || self.checkpointing.wanted) && self.batch.is_empty() {
                    self.checkpointing.wanted = false;
                    self.begin_checkpoint()?;
                }
            }
        }
        Ok(())
    }

    /// Begins a checkpoint at the last batch.
    pub(super) fn begin_checkpoint(&mut self) -> Result<(), Error> {
        assert!(self.batch.is_empty(), "a checkpoint stands between two batches");
        let whole = self.store.checkpoint_begin()?;
        let since = std::mem::replace(&mut self.checkpointing.position, self.last_lsn);
        self.checkpointing.snapshot = Some(self.machine.snapshot(since, whole));
        Ok(())
    }

    fn checkpoint_slice(&mut self) -> Result<(), Error> {
        let mut bytes = 0;
        while bytes < self.settings.checkpoint_slice_bytes
            && self.store.checkpoint_backlog_bytes() < BACKLOG_BYTES_MAX
        {
            let Checkpointing { snapshot, piece, .. } = &mut self.checkpointing;
            let Some(((object, kind, part), change)) =
                snapshot.as_mut().and_then(|snapshot| snapshot.next_piece(piece))
            else {
                self.checkpointing.snapshot = None;
                self.checkpointing.ending = true;
                return self.store.checkpoint_end();
            };
            let change = match change {
                Change::Put => PieceChange::Put,
                Change::Extend => PieceChange::Extend,
                Change::RemoveObject => PieceChange::RemoveObject,
            };
            bytes += piece.len() + 64;
            self.store.checkpoint_piece(PieceId { object, kind, part }, change, piece)?;
        }
        Ok(())
    }

    /// A checkpoint of everything, waited for: the end of a clean shutdown, which makes the next
    /// start as fast as it can be.
    pub fn checkpoint_now(&mut self) -> Result<(), Error> {
        self.store.look_for_space()?;
        if self.end_checkpoint()? {
            self.begin_checkpoint()?;
            self.end_checkpoint()?;
        }
        Ok(())
    }

    /// Waits for the checkpoint under way, if there is one; false where it will not end, because
    /// the disk is full and the reserve spent. Then the log holds what it would.
    fn end_checkpoint(&mut self) -> Result<bool, Error> {
        while self.checkpointing.snapshot.is_some() || self.store.checkpoint_due().is_none() {
            if self.store.is_starved() {
                return Ok(false);
            }
            self.turn_of_checkpoint()?;
        }
        Ok(true)
    }

    fn turn_of_checkpoint(&mut self) -> Result<(), Error> {
        self.store.poll()?;
        if self.checkpointing.snapshot.is_some() {
            self.checkpoint_slice()?;
        }
        if self.store.checkpoint_due().is_none() {
            self.store.wait();
        }
        Ok(())
    }
}
