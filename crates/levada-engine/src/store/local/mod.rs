//! The store on a local disk: a log, segments of sealed blocks, checkpoints, one manifest.
//!
//! ```text
//! lock                         held by the process that has the directory
//! manifest                     where everything else begins
//! log/0000000000000007.log     batches of effects, in order: a ring of files of one length
//! log/spare-0000000000000003   a log file in waiting
//! segments/OBJECT-NUMBER.seg   sealed blocks of one object
//! segments/pack-NUMBER.seg     first blocks of many objects
//! checkpoint/NUMBER.ckp        pieces of the state, appended as they change
//! reserve                      space for what must go on when the disk is full
//! ```
//!
//! What is promised: a batch that [`Store::durable`](super::Store::durable) covers is there after
//! any crash; what is there after a crash is a prefix of what was committed; damage is told from a
//! torn end, and refused rather than served. `docs/format.md` draws every byte and names what is
//! assumed of the medium.
//!
//! One thread, no clock, no randomness: the same calls and completions make the same bytes.
//!
//! - `settings`: sizes.
//! - `backup`, `verify`: looking at a directory, and copying it.
//! - `store`: the parts put together; `open`: what comes before; `checkpoint`: frames of pieces.
//! - `manifest`, `log`, `blocks`: one kind of file each.
//! - `format`: what all files have in common; `io`: the disk with names for what is under way.

pub mod backup;
mod blocks;
mod checkpoint;
mod format;
mod io;
mod log;
mod manifest;
mod open;
mod reserve;
pub mod settings;
mod store;
pub mod verify;

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // Small numbers of tests.
mod tests;

pub use self::{settings::LocalSettings, store::LocalStore};
