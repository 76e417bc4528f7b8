//! The tests of the toolkit from outside, in one binary.
//!
//! - `conformance`: each promise of the toolkit, on every backend there is. `memory:` and
//!   `embedded:` always; servers where `LEVADA_TEST_URLS` names them (`cargo xtask toolkit` starts
//!   them and does).
//! - `paused`: the broker for tests.
//! - `telemetry`: what is measured.
//! - `world`: the backends, and what the tests share.

mod conformance;
mod paused;
mod telemetry;
mod world;
