//! The store boundary: between the loop that owns the machine and whatever keeps bytes.
//!
//! The store never sees a command or a session; it sees atomic batches, sealed blocks and the
//! pieces of a checkpoint. Above it nobody sees a file. Positions are logical (log sequence number,
//! stream, block number); only a store maps them to places. A commit returns at once, and what it
//! wrote is durable when [`Store::durable`] says so, be that microseconds or a fifth of a second
//! later.

mod held;
pub mod local;
pub mod memory;

use std::{collections::BTreeMap, sync::Arc};

use levada_core::block::Block;

use crate::{disk::Lane, error::Error};

/// A position in the log: the number of a batch, from 1; 0 is before the first.
pub type Lsn = u64;

/// Names a stream (or any other object) to the store; never used twice.
pub type ObjectNumber = u64;

/// Whether a batch must become durable at once or may wait for the next one that must.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// Sync.
    Durable,
    /// Write only: a kill of the process loses nothing, a power cut may.
    Written,
}

/// A piece of a checkpoint: part of an object, addressed so that a later piece replaces an earlier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PieceId {
    /// The object that it belongs to; 0 is the machine itself.
    pub object: ObjectNumber,
    /// What kind of piece, as the machine numbers them; 0 is the store's own.
    pub kind: u8,
    /// Which of several.
    pub part: u64,
}

/// A change to the pieces of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PieceChange {
    /// This is the piece now.
    Put,
    /// These bytes follow the ones that are there.
    Extend,
    /// The piece is gone (no bytes).
    Remove,
    /// Every piece of the object is gone (no bytes; kind and part are ignored).
    RemoveObject,
}

/// Where a block is.
#[derive(Debug)]
pub enum Fetch {
    /// Here.
    Ready(Arc<Block>),
    /// Being read; [`Store::poll`] reports the block when it is here.
    Reading,
    /// The store has no such block.
    Missing,
    /// Its bytes failed their check, and it is never served; or the disk did not read them this
    /// time, and asking again reads again.
    Corrupt,
}

/// What [`Store::poll`] found finished.
#[derive(Default, Debug)]
pub struct Progress {
    /// Blocks whose fetch has ended, well or not: asking again answers at once.
    pub fetched: Vec<(ObjectNumber, u64)>,
    /// Whether [`Store::durable`] or [`Store::written`] moved.
    pub committed: bool,
}

/// Blocks in memory and read, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CacheFacts {
    /// How often a block was found in memory.
    pub hits: u64,
    /// Blocks that were read because somebody asked for them.
    pub misses: u64,
    /// Memory of the cache in bytes.
    pub bytes: u64,
}

/// What was read to see whether it is whole.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Scrubbed {
    /// Blocks.
    pub blocks: u64,
    /// Blocks that were not whole.
    pub errors: u64,
    /// How often all blocks were read.
    pub passes: u64,
    /// The last block that was not whole.
    pub damaged: Option<(ObjectNumber, u64)>,
}

/// Space on the device.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Space {
    /// Whether commands that need space are to be refused.
    pub is_full: bool,
    /// Bytes that can still be written.
    pub free_bytes: u64,
    /// Bytes kept for acknowledgements, deletions and checkpoints on a full disk.
    pub reserve_bytes: u64,
}

/// What an opened store holds.
#[derive(Default, Debug)]
pub struct Recovered {
    /// The pieces of the last checkpoint, changes applied.
    pub pieces: BTreeMap<PieceId, Vec<u8>>,
    /// The batch at which that checkpoint stands; 0 without one.
    pub lsn: Lsn,
    /// The batches behind it, in order.
    pub batches: Vec<Batch>,
    /// The clock of the last batch; none behind it has a lower one.
    pub now_ms: u64,
    /// Whether nothing was there and the store is new.
    pub created: bool,
    /// Batches at the end of the log that nobody was ever answered for, and that are gone now.
    pub discarded_batches: u64,
}

/// A batch of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Its number.
    pub lsn: Lsn,
    /// Its time.
    pub now_ms: u64,
    /// Its effects, encoded.
    pub effects: Vec<u8>,
}

/// Keeps batches, blocks and checkpoints. Every error is final for this store: the caller stops.
pub trait Store {
    /// Accepts one atomic batch of effects, in order, decided at `now_ms`. Returns its number, one
    /// above the last, before it is durable.
    fn commit(&mut self, now_ms: u64, effects: &[u8], urgency: Urgency) -> Result<Lsn, Error>;
    /// Most bytes of effects that one batch may hold.
    fn batch_bytes_max(&self) -> usize;
    /// Everything up to here survives a kill of the process.
    fn written(&self) -> Lsn;
    /// Everything up to here survives power loss. Only grows.
    fn durable(&self) -> Lsn;
    /// Who syncs from now on: the caller of [`Store::commit`] (best while the device is fast) or
    /// somebody else, while the caller goes on.
    fn set_lane(&mut self, lane: Lane);
    /// How many syncs of somebody else may be under way at once; 1 until this is called. Each makes
    /// durable what was written before it began, so that it never pays to have more than there are
    /// batches within the time of one.
    fn set_syncs_max(&mut self, _syncs: usize) {}
    /// The average time of a sync, in microseconds; `None` where nobody measures.
    fn sync_us_average(&self) -> Option<u64> {
        None
    }
    /// Whether no more batches should be handed in for now (too many bytes are under way).
    fn is_congested(&self) -> bool;
    /// Takes note of finished I/O and goes on with what waits for it.
    fn poll(&mut self) -> Result<Progress, Error>;
    /// Waits for I/O under way, if there is some, so that [`Store::poll`] has news.
    fn wait(&mut self);
    /// Whether [`Store::idle`] has nothing to do.
    fn is_idle(&self) -> bool;
    /// When nothing else is to be done: closes the window in which a damaged last batch could not
    /// be told from a torn one, by a batch without effects that carries the durable mark. Returns
    /// the number of the last batch.
    fn idle(&mut self, now_ms: u64) -> Result<Lsn, Error>;

    /// Takes over a sealed block. It stays readable from here on, whether or not it is on disk yet.
    fn put_block(
        &mut self,
        object: ObjectNumber,
        number: u64,
        block: Arc<Block>,
    ) -> Result<(), Error>;
    /// The block, if it is in memory: never reads.
    fn cached(&self, object: ObjectNumber, number: u64) -> Option<Arc<Block>>;
    /// The block, or the beginning of a read.
    fn fetch(&mut self, object: ObjectNumber, number: u64) -> Fetch;
    /// The block, read here and now if need be: never [`Fetch::Reading`].
    fn fetch_now(&mut self, object: ObjectNumber, number: u64) -> Fetch;
    /// Blocks of this object below `number` are gone for ever; their space returns some time later.
    fn drop_before(&mut self, object: ObjectNumber, number: u64);
    /// The object is gone for ever with all its blocks.
    fn drop_object(&mut self, object: ObjectNumber);
    /// Somebody reads the object: until [`Store::let_go`] is called as often, its blocks stay
    /// readable when they are dropped. Only on a full disk they are gone at once.
    fn hold(&mut self, object: ObjectNumber);
    /// The end of one [`Store::hold`].
    fn let_go(&mut self, object: ObjectNumber);

    /// Whether files are lacking: who can leave some to the store should.
    fn lacks_files(&mut self) -> bool {
        false
    }
    /// Looks how much space there is, and acts on it; to be called every now and then, and after
    /// blocks were handed over.
    fn look_for_space(&mut self) -> Result<(), Error> {
        Ok(())
    }
    /// Begins to read the next block that nobody asked for, to see whether it is whole; how many
    /// bytes that are, 0 where one is being read already or there is none.
    fn scrub(&mut self) -> usize {
        0
    }
    /// What [`Store::scrub`] has seen so far.
    fn scrubbed(&self) -> Scrubbed {
        Scrubbed::default()
    }
    /// How often what was asked for was in memory.
    fn cache_facts(&self) -> CacheFacts {
        CacheFacts::default()
    }
    /// How much space there was at the last look.
    fn space(&self) -> Space {
        Space::default()
    }
    /// Whether a batch of so many bytes can be written although the disk is full.
    fn has_log_room(&self, _effects: usize) -> bool {
        true
    }
    /// Whether something waits for space, and there is nothing else to wait for.
    fn is_starved(&self) -> bool {
        false
    }

    /// Whether the log has grown enough for a checkpoint; `None` while one is under way.
    fn checkpoint_due(&self) -> Option<bool>;
    /// Begins a checkpoint at the last committed batch. `whole` (the answer) says that every piece
    /// must be handed in, not only those changed since the last checkpoint.
    fn checkpoint_begin(&mut self) -> Result<bool, Error>;
    /// Hands in a piece of the state at that batch.
    fn checkpoint_piece(
        &mut self,
        id: PieceId,
        change: PieceChange,
        bytes: &[u8],
    ) -> Result<(), Error>;
    /// Bytes handed in and not yet on disk; the caller pauses while this is large.
    fn checkpoint_backlog_bytes(&self) -> usize;
    /// All pieces are handed in. The checkpoint takes effect some polls later, when it is durable.
    fn checkpoint_end(&mut self) -> Result<(), Error>;
}
