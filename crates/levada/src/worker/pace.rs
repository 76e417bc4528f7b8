//! A rate that all workers of a group share: tokens in a counter on the server.
//!
//! The counter belongs to one span of time, ends by itself, and is only added to: `SET NX` with a
//! time to live and `INCRBY`, which every server has. Workers agree on the span as the clock of the
//! server says which it is; theirs may differ by anything.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::error::Result;

/// What a user asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rate {
    pub(super) events: u64,
    pub(super) per: Duration,
    /// The key of the counter, without the span.
    pub(super) key: String,
}

/// A worker's part of it.
pub(super) struct Pace {
    backend: Arc<dyn Backend>,
    rate: Rate,
    /// The span whose counter is there, as far as we know.
    known: Option<u64>,
}

/// Tokens that were taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tokens {
    pub(super) count: usize,
    /// The span that they belong to.
    span: u64,
    /// How long it lasts.
    pub(super) left: Duration,
}

impl Pace {
    pub(super) fn new(backend: Arc<dyn Backend>, rate: Rate) -> Self {
        Self { backend, rate, known: None }
    }

    /// Takes what is left for now, at most `wanted`.
    pub(super) async fn take(&mut self, wanted: usize) -> Result<Tokens> {
        let (span, left) = self.now().await?;
        let key = self.key(span);
        if self.known != Some(span) {
            // As long again as it is used, for those whose answer was on its way for long.
            let ttl = Some(self.rate.per * 2);
            self.backend.set(&key, b"0".to_vec(), ttl, true).await?;
            self.known = Some(span);
        }
        let asked = i64::try_from(wanted).unwrap_or(i64::MAX);
        let sum = self.backend.incr(&key, asked).await?;
        let count = granted(sum, asked, self.rate.events);
        let over = wanted - count;
        if over > 0 {
            self.backend.incr(&key, -i64::try_from(over).unwrap_or(i64::MAX)).await?;
        }
        Ok(Tokens { count, span, left })
    }

    /// Gives back what was not used, if that is of use to anybody still.
    pub(super) async fn give_back(&self, tokens: Tokens, unused: usize) -> Result<()> {
        if unused > 0 && self.now().await?.0 == tokens.span {
            let unused = i64::try_from(unused).unwrap_or(i64::MAX);
            self.backend.incr(&self.key(tokens.span), -unused).await?;
        }
        Ok(())
    }

    /// The span of now, and how long it lasts.
    async fn now(&self) -> Result<(u64, Duration)> {
        let now = self.backend.now_ms(&self.rate.key).await?;
        let per = u64::try_from(self.rate.per.as_millis()).unwrap_or(u64::MAX).max(1);
        Ok((now / per, Duration::from_millis(per - now % per)))
    }

    fn key(&self, span: u64) -> String {
        format!("{}:{span}", self.rate.key)
    }
}

/// How many of the tokens asked for are within the limit, when the counter stands at `sum` behind
/// the request.
fn granted(sum: i64, asked: i64, limit: u64) -> usize {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let within = limit.saturating_sub(sum.saturating_sub(asked)).clamp(0, asked);
    usize::try_from(within).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_is_granted() {
        assert_eq!(granted(3, 3, 5), 3);
        assert_eq!(granted(6, 3, 5), 2);
        assert_eq!(granted(8, 3, 5), 0);
        assert_eq!(granted(2, 3, 5), 3, "what was given back late is not lost");
    }

    #[cfg(feature = "embedded")]
    #[tokio::test]
    async fn two_workers_share_a_counter_and_a_clock() {
        let test = crate::testing::TestBroker::new().expect("a broker");
        let hour = Duration::from_hours(1);
        let rate = Rate { events: 5, per: hour, key: "rate".into() };
        let pace = || Pace::new(Arc::clone(test.backend()), rate.clone());
        let (mut one, mut other) = (pace(), pace());
        let first = one.take(3).await.expect("taken");
        let second = other.take(4).await.expect("taken");
        assert_eq!((first.count, second.count), (3, 2));
        one.give_back(first, 1).await.expect("given back");
        assert_eq!(other.take(4).await.expect("taken").count, 1);
        let none = one.take(1).await.expect("taken");
        assert_eq!((none.count, none.left), (0, hour), "the clock stands at the full hour");
        test.advance(none.left).await.expect("advanced");
        assert_eq!(one.take(6).await.expect("taken").count, 5, "the next span has begun");
        other.give_back(second, 2).await.expect("it is of no use any more");
        assert_eq!(other.take(1).await.expect("taken").count, 0);
    }
}
