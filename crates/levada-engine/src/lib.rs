//! How it survives: write-ahead log, segments, checkpoints, recovery, group commit.
//!
//! [`Engine`] is the whole of it inside your process: durable streams with consumer groups, no
//! server. The server drives the same [`shard::Shard`] from its own loop.
//!
//! # Guarantees
//! What a call has returned is on disk: it survives a kill of the process and a power cut. A data
//! directory belongs to one process at a time. A failed write or sync ends the engine; it is never
//! retried.
//!
//! # Limits
//! Pending lists, strings and the last 64 KiB of every stream are in memory, everything else on
//! disk behind a cache of bounded size. An entry is at most 16 MiB.
//!
//! # What it is not
//! No replication, no queries, no ordering across streams beyond that of the calls.
#![deny(missing_docs)]

pub mod clock;
pub mod disk;
mod engine;
pub mod error;
pub mod shard;
#[cfg(test)]
mod shuttled;
pub mod store;
mod subscription;
mod threads;

pub use engine::{Answered, Call, Engine, FieldsOf, Turn};
pub use error::{Error, ErrorKind, Place};
pub use levada_core::{command, error as refusal, fields::Fields, id::StreamId, policy, reply};
pub use shard::Entry;
pub use subscription::{MESSAGE_BYTES, Message, QUEUE_BYTES_MAX, Subscription};
