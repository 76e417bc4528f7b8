//! Tests of the proving ground, in one binary.
//!
//! - `model_against_redis`: the reference model side by side with a real server.
//! - `expected`: what the server should say, made from the model's answers.
//! - `peer`: starts that server and speaks to it.

mod expected;
mod model_against_redis;
mod peer;
