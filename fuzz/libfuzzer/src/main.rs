//! One program for all targets: `LEVADA_FUZZ_TARGET` says which.
#![no_main]

use std::sync::OnceLock;

use levada_fuzz::{Target, target};

fn chosen() -> Target {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("LEVADA_FUZZ_TARGET").expect("LEVADA_FUZZ_TARGET names a target");
        target(&name).expect("LEVADA_FUZZ_TARGET is the name of a target")
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chosen()(bytes));
