//! The state machine against the model, with its log replayed and its snapshots loaded.
//!
//! `LEVADA_SEED` sets the first seed and `LEVADA_SCHEDULES` how many follow it.

use crate::environment;
use levada_sim::lockstep;

const STEPS: usize = 300;

#[test]
fn the_machine_does_what_the_model_does() {
    let first = environment("LEVADA_SEED", 1);
    for seed in first..first + environment("LEVADA_SCHEDULES", 160) {
        let Err(failure) = lockstep::run(seed, STEPS) else { continue };
        let (what, trace) = lockstep::shorten(seed, &failure);
        let trace: Vec<_> = trace.iter().map(|step| format!("{step:?}")).collect();
        panic!(
            "LEVADA_SEED={seed}, step {}: {what}\n\nshortest trace:\n{}",
            failure.steps.len(),
            trace.join("\n")
        );
    }
}
