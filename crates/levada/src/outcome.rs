//! What a handler says of an event, and what follows from it.

use std::fmt;
use std::time::Duration;

use crate::message::MessageId;
use crate::retry::Retry;

/// What becomes of an event that was handled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is done.
    Ack,
    /// It comes again, after the rest of the worker's [`Retry`] or after this one; a dead letter
    /// behind the last attempt.
    Retry {
        /// Why.
        reason: String,
        /// A rest of its own.
        after: Option<Duration>,
    },
    /// It becomes a dead letter now: no further attempt would end otherwise.
    DeadLetter(String),
}

impl Outcome {
    /// It comes again.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self::Retry { reason: reason.to_string(), after: None }
    }

    /// It comes again after a rest.
    pub fn retry_after(rest: Duration, reason: impl fmt::Display) -> Self {
        Self::Retry { reason: reason.to_string(), after: Some(rest) }
    }

    /// It becomes a dead letter.
    pub fn dead_letter(reason: impl fmt::Display) -> Self {
        Self::DeadLetter(reason.to_string())
    }
}

/// A failure: any error becomes one with `?`, and is tried again. It says so where trying again is
/// of no use.
///
/// ```
/// use levada::Fault;
///
/// async fn charge(cents: u64) -> Result<(), Fault> {
///     if cents == 0 {
///         return Err(Fault::permanent("nothing to charge"));
///     }
///     std::fs::read("/dev/null")?; // Tried again.
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Fault(Outcome);

impl Fault {
    /// Worth another attempt.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(Outcome::retry(reason))
    }

    /// Worth another attempt after a rest of its own.
    pub fn after(rest: Duration, reason: impl fmt::Display) -> Self {
        Self(Outcome::retry_after(rest, reason))
    }

    /// Not worth another attempt: a dead letter at once.
    pub fn permanent(reason: impl fmt::Display) -> Self {
        Self(Outcome::dead_letter(reason))
    }
}

impl<E: std::error::Error> From<E> for Fault {
    /// With the texts of all its causes.
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::new(text)
    }
}

/// What a handler may return.
pub trait IntoOutcome {
    /// What it means.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Outcome::Ack
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl<T: IntoOutcome, E: Into<Fault>> IntoOutcome for Result<T, E> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(value) => value.into_outcome(),
            Err(error) => error.into().0,
        }
    }
}

/// What becomes of each event of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchOutcome {
    /// Of those that are not named.
    others: Outcome,
    named: Vec<(MessageId, Outcome)>,
}

impl BatchOutcome {
    /// All are done, but for those named with [`BatchOutcome::but`].
    pub fn ack() -> Self {
        Self::all(Outcome::Ack)
    }

    /// The same for all, but for those named with [`BatchOutcome::but`].
    pub fn all(outcome: Outcome) -> Self {
        Self { others: outcome, named: Vec::new() }
    }

    /// Another outcome for one of them.
    #[must_use]
    pub fn but(mut self, id: MessageId, outcome: impl IntoOutcome) -> Self {
        self.named.push((id, outcome.into_outcome()));
        self
    }

    /// Of one of them.
    pub(crate) fn of(&self, id: MessageId) -> &Outcome {
        let named = self.named.iter().find(|(named, _)| *named == id);
        named.map_or(&self.others, |(_, outcome)| outcome)
    }
}

/// What a batch handler may return.
pub trait IntoBatchOutcome {
    /// What it means.
    fn into_batch_outcome(self) -> BatchOutcome;
}

impl IntoBatchOutcome for BatchOutcome {
    fn into_batch_outcome(self) -> BatchOutcome {
        self
    }
}

impl IntoBatchOutcome for () {
    fn into_batch_outcome(self) -> BatchOutcome {
        BatchOutcome::ack()
    }
}

impl<T: IntoBatchOutcome, E: Into<Fault>> IntoBatchOutcome for Result<T, E> {
    /// An error is one of all of them.
    fn into_batch_outcome(self) -> BatchOutcome {
        match self {
            Ok(value) => value.into_batch_outcome(),
            Err(error) => BatchOutcome::all(error.into().0),
        }
    }
}

/// What follows from an outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Ack,
    Rest(Duration, String),
    Bury(String),
}

/// What follows from the outcome of an attempt, counted from 1, with a random number.
pub(crate) fn verdict(outcome: Outcome, attempt: u64, retry: &Retry, random: u64) -> Verdict {
    match outcome {
        Outcome::Ack => Verdict::Ack,
        Outcome::DeadLetter(reason) => Verdict::Bury(reason),
        Outcome::Retry { reason, .. } if retry.is_last(attempt) => Verdict::Bury(reason),
        Outcome::Retry { reason, after } => {
            Verdict::Rest(after.unwrap_or_else(|| retry.rest(attempt, random)), reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcome: impl IntoOutcome, attempt: u64, expected: &Verdict) {
        let retry = Retry::fixed(3, Duration::from_secs(7));
        assert_eq!(&verdict(outcome.into_outcome(), attempt, &retry, 0), expected);
    }

    #[test]
    fn what_a_handler_returns_decides() {
        let rest = |seconds| Verdict::Rest(Duration::from_secs(seconds), "x".into());
        let bury = || Verdict::Bury("x".into());
        check((), 9, &Verdict::Ack);
        check(Ok::<(), Fault>(()), 1, &Verdict::Ack);
        check(Err::<(), Fault>(Fault::new("x")), 1, &rest(7));
        check(Err::<(), Fault>(Fault::after(Duration::from_secs(1), "x")), 2, &rest(1));
        check(Err::<(), Fault>(Fault::new("x")), 3, &bury());
        check(Err::<(), Fault>(Fault::permanent("x")), 1, &bury());
        check(Err::<(), _>(fmt::Error), 3, &Verdict::Bury(fmt::Error.to_string()));
    }

    #[test]
    fn a_batch_may_fail_in_part() {
        let id = MessageId::at;
        let outcome = BatchOutcome::ack().but(id(2), Outcome::retry("x"));
        assert_eq!(outcome.of(id(1)), &Outcome::Ack);
        assert_eq!(outcome.of(id(2)), &Outcome::retry("x"));
        let failed = Err::<(), _>(Fault::permanent("y")).into_batch_outcome();
        assert_eq!(failed.of(id(1)), &Outcome::DeadLetter("y".into()));
    }
}
