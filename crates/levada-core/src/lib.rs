//! What a stream *means*: ids, entries, blocks, groups, pending lists; `decide` and `apply`.
#![no_std]
#![deny(missing_docs)]
extern crate alloc;
#[cfg(test)]
extern crate std;
pub mod bitmap;
pub mod block;
pub mod command;
pub mod error;
pub mod fields;
pub mod id;
pub mod keyspace;
pub mod limits;
pub mod reply;
pub mod varint;
pub mod index;
pub mod registry;
pub mod effect;
