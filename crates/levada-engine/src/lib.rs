//! How it survives: write-ahead log, segments, checkpoints, recovery, group commit.
pub mod disk;
pub mod error;
pub mod store;
