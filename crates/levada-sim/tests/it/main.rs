//! Tests of the proving ground, in one binary.
//!
//! - `model_against_redis`: the reference model side by side with a real server.
//! - `peer`: starts that server and speaks to it.

mod model_against_redis;
mod peer;
