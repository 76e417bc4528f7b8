//! The log: every batch of effects, in order, in a ring of files of one length.
//!
//! - [`batch`]: how a batch stands in a file.
//! - [`files`]: the ring, its spare files, their recycling.
//! - [`writer`]: appending, syncing, and what is durable.
//! - [`recovery`]: what a crash left, and the new epoch that every opening begins.

pub(super) mod batch;
pub(super) mod files;
pub(super) mod recovery;
pub(super) mod writer;
