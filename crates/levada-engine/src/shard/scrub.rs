//! Blocks that nobody asks for are read now and then, so that damage is found while a copy of the
//! data is still at hand. One block at a time, at a rate in bytes a second by the clock of turns.

use levada_core::{error::Error as Refused, keyspace::KeyNumber};

use super::Shard;
use crate::{clock::Now, store::Store};

/// Most bytes that a rest lets come together: a loop that slept does not make up for it at once.
const BYTES_MAX: u64 = 256 << 10;

/// How far it is.
#[derive(Default, Debug)]
pub(super) struct Scrubbing {
    /// Monotonic microseconds when `bytes` was counted.
    counted_us: u64,
    /// Bytes that may be read now; below 0 where the last block was longer.
    bytes: i64,
    /// Passes that were seen to end.
    passes: u64,
    passed_ms: Option<u64>,
    /// Blocks found damaged that were told of.
    told: u64,
}

impl Scrubbing {
    /// When all blocks had last been read, in unix milliseconds.
    pub(super) fn passed_ms(&self) -> Option<u64> {
        self.passed_ms
    }
}

impl<S: Store> Shard<S> {
    /// Reads the next block if the rate allows it.
    pub(super) fn go_on_with_scrub(&mut self, now: Now) {
        let rate = self.settings.scrub_bytes_per_second;
        let scrubbing = &mut self.scrubbing;
        let since_us = now.monotonic_us.saturating_sub(scrubbing.counted_us);
        let earned = u64::try_from(u128::from(rate) * u128::from(since_us) / 1_000_000);
        let earned = earned.unwrap_or(u64::MAX).min(BYTES_MAX);
        if earned > 0 {
            let bytes = scrubbing.bytes.saturating_add_unsigned(earned);
            scrubbing.bytes = bytes.min(BYTES_MAX.cast_signed());
            scrubbing.counted_us = now.monotonic_us;
        }
        if scrubbing.bytes > 0 {
            let read = self.store.scrub();
            self.scrubbing.bytes -= i64::try_from(read).unwrap_or(i64::MAX);
        }
        let passes = self.store.scrubbed().passes;
        if passes > self.scrubbing.passes {
            self.scrubbing.passes = passes;
            self.scrubbing.passed_ms = Some(now.wall_ms);
        }
    }

    /// The stream and the ids of the block that was last found damaged, unless it was told before.
    pub fn found_damaged(&mut self) -> Option<Refused> {
        let scrubbed = self.store.scrubbed();
        if scrubbed.errors == std::mem::replace(&mut self.scrubbing.told, scrubbed.errors) {
            return None;
        }
        let (object, number) = scrubbed.damaged?;
        Some(self.corrupt(KeyNumber(object), number))
    }
}
