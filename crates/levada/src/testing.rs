//! A broker for tests: the real engine in memory, with a clock that stands still.
//!
//! Nothing is a mock: leases, rests and dead letters are the engine's. Time moves only with
//! [`TestBroker::advance`], so a test of a retry after an hour takes no time at all.
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize)] struct Paid { cents: u64 }
//! # impl levada::Event for Paid { const STREAM: &'static str = "payments"; }
//! use std::time::Duration;
//! use levada::testing::TestBroker;
//! use levada::{Attempt, Fault, Msg, Retry, Worker};
//!
//! async fn book(Attempt(attempt): Attempt, Msg(_): Msg<Paid>) -> Result<(), Fault> {
//!     if attempt == 1 { Err(Fault::new("busy")) } else { Ok(()) }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> levada::Result<()> {
//! let test = TestBroker::new()?;
//! let hour = Duration::from_secs(3600);
//! let worker = || Worker::new(&test, "books").handle(book).retry(Retry::fixed(3, hour));
//!
//! test.push(&Paid { cents: 5 }).await?;
//! test.drain(worker()).await?;
//! test.assert_retried(1);
//! test.advance(hour).await?;
//! test.drain(worker()).await?;
//! test.assert_acked(1);
//! test.assert_dead(0);
//! # Ok(())
//! # }
//! ```

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use levada_engine::clock::Now;

use crate::backend::engine::Embedded;
use crate::broker::Broker;
use crate::error::Result;
use crate::event::Event;
use crate::message::MessageId;
use crate::worker::{Drained, Worker};

/// Where the clock begins: 2026-01-01T00:00:00Z.
const BEGIN: Now = Now { wall_ms: 1_767_225_600_000, monotonic_us: 1_000_000 };

/// A [`Broker`] whose clock stands still.
#[derive(Debug)]
pub struct TestBroker {
    broker: Broker,
    engine: Embedded,
    drained: Mutex<Drained>,
}

impl TestBroker {
    /// A broker of its own: tests do not see each other.
    pub fn new() -> Result<Self> {
        let engine = Embedded::paused(BEGIN)?;
        let broker = Broker::over(engine.clone());
        Ok(Self { broker, engine, drained: Mutex::default() })
    }

    /// Sends an event.
    pub async fn push<E: Event>(&self, event: &E) -> Result<MessageId> {
        self.broker.producer().send(event).await
    }

    /// Lets a worker handle all that can be handled now, and remembers what became of it.
    pub async fn drain<S: Send + Sync + 'static>(&self, worker: Worker<S>) -> Result<Drained> {
        let drained = worker.run_until_idle().await?;
        let mut all = self.drained.lock().unwrap_or_else(PoisonError::into_inner);
        all.acked += drained.acked;
        all.retried += drained.retried;
        all.dead += drained.dead;
        all.handed_back += drained.handed_back;
        Ok(drained)
    }

    /// Moves the clock; what is due by then is done when it returns.
    pub async fn advance(&self, by: Duration) -> Result<()> {
        self.engine.advance(by).await
    }

    /// Unix milliseconds on the clock.
    pub fn now_ms(&self) -> u64 {
        self.engine.paused_ms()
    }

    /// What became of events in all drains.
    pub fn drained(&self) -> Drained {
        *self.drained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails unless so many events were acknowledged in all drains.
    #[track_caller]
    pub fn assert_acked(&self, events: u64) {
        assert_eq!(self.drained().acked, events, "events acknowledged");
    }

    /// Fails unless so many attempts were followed by another, in all drains.
    #[track_caller]
    pub fn assert_retried(&self, attempts: u64) {
        assert_eq!(self.drained().retried, attempts, "attempts to be tried again");
    }

    /// Fails unless so many events became dead letters in all drains.
    #[track_caller]
    pub fn assert_dead(&self, events: u64) {
        assert_eq!(self.drained().dead, events, "dead letters");
    }
}

impl Deref for TestBroker {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}
