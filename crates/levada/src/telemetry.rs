//! Metrics through the `metrics` facade, and the span around a handler through `tracing`: what is
//! named here is what users see. Without a recorder all of it costs next to nothing.
//!
//! Labels are the names of streams and groups and an outcome, never an id or a key, so their number
//! is bounded by the program.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::backend::GroupFacts;
use crate::delivery::Delivery;

/// Ends of deliveries; label `outcome`: `acked`, `retried`, `dead`, `handed_back`.
const EVENTS: &str = "levada_events_total";
/// How long handlers run, in seconds, whatever comes of it.
const HANDLE: &str = "levada_handle_seconds";
/// Deliveries that this worker holds now.
const HELD: &str = "levada_held_events";
/// Entries that the group was not delivered yet, where the server knows.
const LAG: &str = "levada_group_lag_entries";
/// Entries that the group was delivered and has not settled.
const PENDING: &str = "levada_group_pending_entries";
/// Events that producers sent; label `outcome`: `sent`, `failed`.
const SENT: &str = "levada_sent_total";

/// How often a worker asks how its groups stand.
pub(crate) const GROUPS_EVERY: Duration = Duration::from_secs(15);

/// What a worker reports of one of its streams.
pub(crate) struct Meters {
    pub(crate) acked: Counter,
    pub(crate) retried: Counter,
    pub(crate) dead: Counter,
    pub(crate) handed_back: Counter,
    pub(crate) seconds: Histogram,
    pub(crate) held: Gauge,
    pub(crate) lag: Gauge,
    pub(crate) pending: Gauge,
}

impl Meters {
    /// Those of a stream and group.
    pub(crate) fn of(stream: &str, group: &str) -> Self {
        let labels = || [("stream", stream.to_owned()), ("group", group.to_owned())];
        let ended = |outcome: &'static str| {
            let [stream, group] = labels();
            counter!(EVENTS, &[stream, group, ("outcome", outcome.to_owned())])
        };
        Self {
            acked: ended("acked"),
            retried: ended("retried"),
            dead: ended("dead"),
            handed_back: ended("handed_back"),
            seconds: histogram!(HANDLE, &labels()),
            held: gauge!(HELD, &labels()),
            lag: gauge!(LAG, &labels()),
            pending: gauge!(PENDING, &labels()),
        }
    }
}

impl Meters {
    /// Reports how the group stands.
    #[expect(clippy::cast_precision_loss, reason = "nobody reads a gauge to its last digit")]
    pub(crate) fn groups(&self, facts: &GroupFacts) {
        self.pending.set(facts.pending as f64);
        if let Some(lag) = facts.lag {
            self.lag.set(lag as f64);
        }
    }
}

/// Counts events on their way into a stream.
pub(crate) fn sent(stream: &str, well: usize, failed: usize) {
    for (outcome, count) in [("sent", well), ("failed", failed)] {
        if count > 0 {
            let labels = [("stream", stream.to_owned()), ("outcome", outcome.to_owned())];
            counter!(SENT, &labels).increment(count as u64);
        }
    }
}

/// The span `levada.handle`, in which a handler of single events runs.
pub(crate) fn span(delivery: &Delivery) -> tracing::Span {
    let trace = delivery.trace().map(|trace| format!("{:032x}", trace.trace));
    tracing::info_span!(
        "levada.handle",
        stream = &*delivery.stream,
        group = delivery.group(),
        id = %delivery.id,
        attempt = delivery.attempt,
        trace
    )
}
