//! How it survives: write-ahead log, segments, checkpoints, recovery, group commit.
pub mod clock;
pub mod disk;
pub mod error;
pub mod shard;
pub mod store;
