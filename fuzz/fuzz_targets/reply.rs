//! Any bytes from a server: `cargo fuzz run reply`.
#![no_main]

use levada_resp::property::reply_any;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reply_any(bytes));
