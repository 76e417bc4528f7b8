//! Policies through crashes, by seeds and at every crash point of short workloads, and proof that
//! the search finds a broken store. `levada-sim replay-policies SEED` shows
//! one step by step.

use crate::crash::{AckBeforeSync, Broken, Product, TearsSteps};
use crate::environment;
use levada_sim::crash::Extent;
use levada_sim::policies;

/// For debug builds: few of the ways in which a crash may turn out.
const FEW: Extent = Extent { ways_max: 16, samples: 4, ..Extent::SHORT };

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
    for theme in policies::themes() {
        let recovered = policies::exhaust_theme::<Product>(theme, FEW);
        let recovered = recovered.unwrap_or_else(|what| panic!("{what}"));
        assert!(recovered > 15, "{theme}: only {recovered} crashes");
    }
}

#[test]
fn the_steps_of_policies_find_an_engine_that_logs_one_as_two_records() {
    for theme in ["scheduled", "redriven", "in order"] {
        let found = policies::exhaust_theme::<Broken<Product, TearsSteps>>(theme, FEW);
        found.expect_err(theme);
    }
}

#[test]
fn finds_a_store_that_acknowledges_before_the_sync() {
    let is_found = |seed| policies::run::<Broken<Product, AckBeforeSync>>(seed, false).is_err();
    assert!((0..200).any(is_found));
}
