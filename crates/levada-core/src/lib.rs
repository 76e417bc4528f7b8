//! What a stream *means*: ids, entries, blocks, groups, pending lists; `decide` and `apply`.
//!
//! The core is a state machine without I/O, clock, randomness or threads. [`machine::Machine`] is
//! the state. [`decide`](decide::decide) answers a command and says what would change, or names the
//! blocks that it needs to know first; [`Machine::apply`](machine::Machine::apply) is the only way
//! that state changes and never needs a block that is not in memory. Whoever drives it (the engine,
//! the simulator) logs the effects between the two, so that a replay of the log is the same calls
//! of `apply`.
//!
//! What it is not: it neither knows RESP (`levada-resp`) nor files (`levada-engine`), and it keeps
//! no payload of a sealed block.
#![no_std]
#![deny(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bitmap;
pub mod block;
pub mod command;
pub mod decide;
pub mod dedup;
pub mod defaults;
pub mod effect;
pub mod error;
pub mod extended;
pub mod fields;
pub mod glob;
pub mod group;
pub mod id;
pub mod idempotence;
pub mod index;
pub mod keyspace;
pub mod limits;
pub mod machine;
mod objects;
pub mod order;
pub mod pending;
pub mod policy;
pub mod redriven;
pub mod registry;
pub mod reply;
pub mod restored;
pub mod schedule;
pub mod snapshot;
pub mod stream;
pub mod varint;
