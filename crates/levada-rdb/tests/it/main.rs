//! The codec against what Redis wrote, and against anything else.
//!
//! - `redis`: payloads and files that Redis 7.0.15 and 8.6.3 wrote, in `tests/fixtures`
//! - `hostile`: bytes that claim to be RDB

mod hostile;
mod redis;
