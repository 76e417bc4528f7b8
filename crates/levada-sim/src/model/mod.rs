//! The reference model: Redis' keys and streams, slow and obvious.
//!
//! Property tests and crash simulation compare the product with this. It shares no code and no
//! type with the product, keeps everything in ordered maps, and finds things by walking. Its
//! rules are those of Redis 8 (7.2 where nothing changed since); a test runs it side by side
//! with a real server.
//!
//! - [`Model`]: keys, strings, expiry, and every stream command as a method. Arguments are what a
//!   parser would hand over; each method takes the wall clock in ms, and nothing else is read.
//! - [`Stream`]: entries, trimming, logical nodes, lag.
//! - [`Group`]: consumer groups and their pending lists.
//! - [`Once`]: idempotent producers.
//!
//! An answer that is an error has changed nothing, but for keys that expired.

mod groups;
mod keyspace;
mod moves;
mod once;
mod reply;
mod stream;

pub use groups::{
    ClaimOptions, Consumer, Delivered, Group, GroupFrom, GroupStart, NOBODY, Nack, Pending,
    ReadMore,
};
pub use keyspace::{Key, Model, NewId, ReadFrom, Value};
pub use moves::{Payload, RESTORED};
pub use once::{Iid, Once, OnceLimits, TrackedIid};
pub use reply::{Answer, Entries, ErrorKind, Fields, Id, PendingRow, Reply};
pub use stream::{Node, NodeLimits, References, Stream, Threshold, Trim};
