//! What a stream *means*: ids, entries, blocks, groups, pending lists; `decide` and `apply`.
#![no_std]
#![deny(missing_docs)]
extern crate alloc;
#[cfg(test)]
extern crate std;
pub mod block;
pub mod fields;
pub mod id;
pub mod pending;
pub mod varint;
