//! Randomness for names, jitter and span ids: nothing that has to be secret.
//!
//! The only place that draws it; everything else is handed a number.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that differs from call to call and from process to process.
pub(crate) fn number() -> u64 {
    // Each RandomState has keys of its own, seeded by the operating system for each thread; the
    // counter separates calls of one thread.
    static CALLS: AtomicU64 = AtomicU64::new(0);
    RandomState::new().hash_one(CALLS.fetch_add(1, Ordering::Relaxed))
}
