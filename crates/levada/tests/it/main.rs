//! The tests of the toolkit from outside, in one binary.
//!
//! - `conformance`: each promise of the toolkit, on every backend there is. `memory:` and
//!   `embedded:` always; servers where `LEVADA_TEST_URLS` names them (`cargo xtask toolkit` starts
//!   them and does).
//! - `failing_servers`: clusters and sentinels whose masters die, TLS that is refused. Ignored
//!   but in `cargo xtask toolkit`, which starts them.
//! - `guide`: the examples of the guide, which compile.
//! - `paused`: the broker for tests.
//! - `telemetry`: what is measured.
//! - `world`: the backends, and what the tests share.

mod conformance;
#[cfg(unix)]
mod failing_servers;
mod guide;
mod paused;
mod telemetry;
mod world;
