//! Tests of the proving ground, in one binary.
//!
//! - `crash`: crash and recovery of the whole engine, and that it finds broken ones.
//! - `durability`: DURABILITY INTERVAL at kills and power cuts.
//! - `model_against_redis`: the reference model side by side with a real server.
//! - `expected`: what the server should say, made from the model's answers.
//! - `policies`: leases, dead letters and retention through crashes.
//! - `peer`: starts that server and speaks to it.
//! - `regressions`: what the search found, written down.
//! - `state_machine`: the product's state machine side by side with the model.

mod crash;
mod durability;
mod expected;
mod model_against_redis;
mod peer;
mod policies;
mod regressions;
mod state_machine;

/// A number from the environment, or what is used without it.
fn environment(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name);
    text.map_or(otherwise, |text| text.parse().expect("a number is expected in the environment"))
}
