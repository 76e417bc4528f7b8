//! What is fuzzed. A target is a function that takes any bytes and panics where it must not: the
//! program in `libfuzzer/` calls it with what a fuzzer makes up (`cargo xtask fuzz TARGET`), the
//! tests with what is checked in below `corpus/TARGET`: seeds, and what brought earlier runs to new
//! code.

mod store;

use levada_core::effect::{Effect, decode_batch};

/// A target.
pub type Target = fn(&[u8]);

/// All targets, by the names of their corpora.
pub const TARGETS: [(&str, Target); 11] = [
    ("decode", levada_resp::property::decode_any),
    ("reply", levada_resp::property::reply_any),
    ("rdb", rdb),
    ("effects", effects),
    ("config", levada_server::property::config_any),
    ("acl", levada_server::property::acl_any),
    ("http", http),
    ("log", store::log),
    ("segment", store::segment),
    ("checkpoint", store::checkpoint),
    ("manifest", store::manifest),
];

/// The target of a name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// A seed of a target from a real file, where there is one that a fuzzer would not find.
pub fn seed(name: &str) -> Option<Vec<u8>> {
    store::seed(name)
}

/// Any payload for RESTORE, and any RDB file.
fn rdb(bytes: &[u8]) {
    levada_rdb::property::payload_any(bytes);
    levada_rdb::property::file_any(bytes);
}

/// What of a request for HTTP is read here: names of hosts, queries, forms, origins. Its head is
/// parsed by hyper, which is fuzzed where it is made.
fn http(bytes: &[u8]) {
    levada_server::property::host_any(bytes);
    levada_dashboard::property::query_any(bytes);
}

/// Any effects of a batch: what can be read is what was written.
fn effects(bytes: &[u8]) {
    let read: Vec<Effect<'_>> = decode_batch(bytes).map_while(|effect| effect).collect();
    let mut written = Vec::new();
    for effect in &read {
        effect.encode(&mut written);
    }
    let again: Vec<Effect<'_>> =
        decode_batch(&written).map(|effect| effect.expect("we wrote it")).collect();
    assert_eq!(again, read);
}
