//! Any bytes from a client: `cargo fuzz run decode`.
#![no_main]

use levada_resp::property::decode_any;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decode_any(bytes));
