//! The engine as the server uses it: over files, driven by the server's own loop.

use levada_engine::disk::file::FileDisk;
use levada_engine::store::local::LocalStore;

pub(crate) use levada_engine::clock::Now;
pub(crate) use levada_engine::shard::{
    Answer, BlockAccess, BlockedRead, BlockedReadgroup, Checkpoints, ClientId, Delivery, Event,
    Events, Listening, NAME_BYTES, Outcome, Subscriptions, Wait,
};
pub(crate) use levada_engine::store::Lsn;

/// The shard of this process.
pub(crate) type Shard = levada_engine::shard::Shard<LocalStore<FileDisk>>;
