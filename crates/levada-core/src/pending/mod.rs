//! What a group has delivered and nobody has acknowledged yet.
//!
//! - [`list`]: [`PendingList`], the entries in id order, found by id, by consumer and by age.
//! - `chunk`: up to 256 entries, about 20 bytes each, and their encoding for checkpoints.

mod chunk;
pub mod list;

pub use chunk::Pending;
pub use list::{ChunkRef, PendingList, Walk};
