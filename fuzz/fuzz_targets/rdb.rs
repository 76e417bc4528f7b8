//! Any payload for RESTORE and any RDB file: `cargo fuzz run rdb`.
#![no_main]

use levada_rdb::property::{file_any, payload_any};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    payload_any(bytes);
    file_any(bytes);
});
