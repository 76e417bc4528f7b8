//! The only reader of the system's time. Everybody else is told.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks. Wall time names entries and expiries; monotonic time measures
/// waiting. They are never mixed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Now {
    /// Milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// Microseconds since the clock was made; never goes back.
    pub monotonic_us: u64,
}

impl Now {
    /// Milliseconds since the clock was made.
    pub fn monotonic_ms(&self) -> u64 {
        self.monotonic_us / 1000
    }
}

/// Measures what another thread carries out, where nobody can be told the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// One that runs from now on.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds so far.
    pub(crate) fn elapsed_us(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// The system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic time begins now.
    #[expect(clippy::new_without_default, reason = "a default that reads the time would surprise")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            monotonic_us: u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }
}
