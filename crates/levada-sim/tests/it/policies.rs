//! Policies through crashes, by seeds and at every crash point of short workloads, and proof that
//! the search finds a broken store. `levada-sim replay-policies SEED` shows
//! one step by step.

use crate::crash::{AckBeforeSync, Broken, Product};
use crate::environment;
use levada_sim::crash::Extent;
use levada_sim::policies;

#[test]
fn policies_keep_their_promises_through_crashes() {
    let first = environment("LEVADA_SEED", 1);
    for seed in first..first + environment("LEVADA_SCHEDULES", 100) {
        if let Err(what) = policies::run::<Product>(seed, false) {
            panic!("LEVADA_SEED={seed}: {what}");
        }
    }
}

#[test]
fn an_entry_is_in_one_place_at_every_crash_point() {
    let recovered =
        policies::exhaust::<Product>(Extent::SHORT).unwrap_or_else(|what| panic!("{what}"));
    assert!(recovered > 100, "only {recovered} crashes");
}

#[test]
fn finds_a_store_that_acknowledges_before_the_sync() {
    let is_found = |seed| policies::run::<Broken<Product, AckBeforeSync>>(seed, false).is_err();
    assert!((0..200).any(is_found));
}
