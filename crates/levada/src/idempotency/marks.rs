//! Marks in keys that end by themselves, on every backend.
//!
//! A mark is `busy` under the entry that is being handled, then `done`. It is a step of its own
//! beside the effect, and the gap between both is what this store cannot close.

use std::sync::Arc;
use std::time::Duration;

use super::{Idempotency, Mark, Undertaking};
use crate::backend::{Backend, Pending};
use crate::broker::Broker;
use crate::error::Result;
use crate::names;

/// The value of a mark of what was done.
const DONE: &[u8] = b"done";
/// Before the name of who is at it.
const BUSY: &str = "busy ";
/// Rests between looks at what somebody else is at: the first, doubled up to the longest.
const REST_MIN: Duration = Duration::from_millis(20);
const REST_MAX: Duration = Duration::from_secs(1);

/// Marks in the keys of a broker, each for a time.
///
/// # What it cannot give
/// The mark is written behind the effect, not with it. A worker that dies between the two leaves an
/// effect without a mark, and the event is handled again; so it is if the mark is older than it is
/// kept for, if the server loses it (Redis without `appendfsync always`), or if a handler runs
/// longer than [`Marks::busy`] while the same event stands in the stream twice. For an effect in
/// Postgres there is the store of the feature `postgres`, which has no such gap.
///
/// ```
/// # use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
/// # use std::time::Duration;
/// # use serde::{Deserialize, Serialize};
/// use levada::{Marks, Msg, State, Worker};
///
/// #[derive(Serialize, Deserialize)]
/// struct Paid { order: String }
/// impl levada::Event for Paid {
///     const STREAM: &'static str = "payments";
/// }
///
/// async fn mail(State(sent): State<Arc<AtomicU32>>, Msg(_): Msg<Paid>) {
///     sent.fetch_add(1, Ordering::Relaxed);
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> levada::Result<()> {
/// let broker = levada::connect("memory:").await?;
/// broker.producer().send(&Paid { order: "A7".into() }).await?;
/// let sent = Arc::default();
/// let worker = Worker::new(&broker, "mail").state(Arc::clone(&sent)).handle(mail);
/// let marks = Marks::new(&broker, Duration::from_hours(24));
/// worker.idempotent(marks).run_until_idle().await?;
/// assert_eq!(sent.load(Ordering::Relaxed), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Marks {
    backend: Arc<dyn Backend>,
    keep: Duration,
    busy: Duration,
}

impl Marks {
    /// Marks that are kept for a time: longer than an event can come again, a day for instance.
    pub fn new(broker: &Broker, keep: Duration) -> Self {
        Self { backend: Arc::clone(broker.backend()), keep, busy: Duration::from_mins(5) }
    }

    /// How long another entry with the same idempotency key waits for a handler that gives no sign
    /// of its end, 5 minutes unless it is said. Longer than any handler should take.
    #[must_use]
    pub fn busy(self, busy: Duration) -> Self {
        Self { busy, ..self }
    }

    async fn try_begin(&self, mark: &Mark) -> Result<Option<Box<dyn Undertaking>>> {
        let key = names::done(mark);
        // The delivery that holds the lease may go on where one before it ended without a word.
        let busy = format!("{BUSY}{}", mark.entry).into_bytes();
        let mut rest = REST_MIN;
        loop {
            let set = self.backend.set(&key, busy.clone(), Some(self.busy), true).await?;
            let found = match set {
                true => None,
                false => self.backend.get(&key).await?,
            };
            match found {
                Some(value) if value == DONE => return Ok(None),
                Some(value) if value != busy => {
                    tokio::time::sleep(rest).await;
                    rest = (rest * 2).min(REST_MAX);
                }
                // It ended just now.
                None if !set => {}
                _ => {
                    let (backend, keep) = (Arc::clone(&self.backend), self.keep);
                    return Ok(Some(Box::new(Begun { backend, key, keep })));
                }
            }
        }
    }
}

impl Idempotency for Marks {
    fn begin<'a>(&'a self, mark: &'a Mark) -> Pending<'a, Option<Box<dyn Undertaking>>> {
        Box::pin(self.try_begin(mark))
    }
}

struct Begun {
    backend: Arc<dyn Backend>,
    key: String,
    keep: Duration,
}

impl Undertaking for Begun {
    fn finish(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            self.backend.set(&self.key, DONE.to_vec(), Some(self.keep), false).await.map(drop)
        })
    }

    fn abandon(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move { self.backend.remove(&self.key).await.map(drop) })
    }
}
