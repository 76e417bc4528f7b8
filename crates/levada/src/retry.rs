//! When a failed delivery comes again, as arithmetic: attempts and randomness are arguments.

use std::time::Duration;

/// How often, and after which rests. The rest is kept by the server, not slept.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Retry {
    /// Deliveries in all, the first one included; at least 1. Behind the last failure the entry
    /// becomes a dead letter.
    pub max_attempts: u32,
    /// Rest behind the first failure.
    pub base: Duration,
    /// Each further rest is so many times the one before; at least 1.
    pub factor: f64,
    /// Longest rest.
    pub max: Duration,
    /// Share of the rest that is random, from 0 (none) to 1: what failed together should not come
    /// again together.
    pub jitter: f64,
}

impl Default for Retry {
    /// Five attempts, after about 1 s, 4 s, 16 s and 64 s.
    fn default() -> Self {
        Self {
            max_attempts: 5,
            base: Duration::from_secs(1),
            factor: 4.0,
            max: Duration::from_mins(5),
            jitter: 0.2,
        }
    }
}

impl Retry {
    /// Every failure is the last.
    pub fn never() -> Self {
        Self { max_attempts: 1, ..Self::default() }
    }

    /// So many attempts, each after the same rest.
    ///
    /// ```
    /// use std::time::Duration;
    /// let retry = levada::Retry::fixed(3, Duration::from_secs(10));
    /// assert_eq!(retry.rest(1, 0), Duration::from_secs(10));
    /// assert_eq!(retry.rest(2, u64::MAX), Duration::from_secs(10));
    /// ```
    pub fn fixed(max_attempts: u32, rest: Duration) -> Self {
        Self { max_attempts, base: rest, factor: 1.0, max: rest, jitter: 0.0 }
    }

    /// Whether an attempt, counted from 1, is the last.
    pub fn is_last(&self, attempt: u64) -> bool {
        attempt >= u64::from(self.max_attempts.max(1))
    }

    /// The rest behind an attempt, counted from 1. The random number takes off up to the share
    /// that is random, so that the rest is never longer than it says.
    pub fn rest(&self, attempt: u64, random: u64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let full = self.base.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        let full = full.min(self.max.as_secs_f64());
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share of the range is all that is wanted"
        )]
        let share = random as f64 / u64::MAX as f64 * self.jitter.clamp(0.0, 1.0);
        Duration::try_from_secs_f64(full * (1.0 - share)).unwrap_or(self.max)
    }

    /// The rests without randomness, for a server that keeps them itself.
    pub(crate) fn rests(&self) -> Vec<Duration> {
        /// More would be longer than any group runs; the last one repeats.
        const RESTS_MAX: u32 = 16;
        let failures = self.max_attempts.max(1) - 1;
        (1..=failures.min(RESTS_MAX)).map(|attempt| self.rest(u64::from(attempt), 0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(retry: &Retry, attempts: impl IntoIterator<Item = u64>) -> Vec<u64> {
        attempts.into_iter().map(|attempt| retry.rest(attempt, 0).as_secs()).collect()
    }

    #[test]
    fn rests_grow_up_to_the_longest() {
        let retry = Retry::default();
        assert_eq!(seconds(&retry, 1..=6), [1, 4, 16, 64, 256, 300]);
        assert_eq!(retry.rest(u64::MAX, 0), retry.max);
        assert_eq!(retry.rests().len(), 4);
    }

    #[test]
    fn jitter_only_takes_off() {
        let retry = Retry { jitter: 0.5, ..Retry::default() };
        assert_eq!(retry.rest(2, 0), Duration::from_secs(4));
        assert_eq!(retry.rest(2, u64::MAX), Duration::from_secs(2));
    }

    #[test]
    fn the_last_attempt_is_the_last() {
        let retry = Retry::fixed(3, Duration::ZERO);
        assert!(!retry.is_last(2) && retry.is_last(3) && retry.is_last(4));
        assert!(Retry { max_attempts: 0, ..retry }.is_last(1));
    }
}
