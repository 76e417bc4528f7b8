//! One interface over three needs for which people run three systems: an event log, a task queue,
//! and notification. The parts are the toolkit's; what is said here is which of them is for what.
//!
//! | need | here | what it promises |
//! |---|---|---|
//! | event log | [`Messaging::log`] | kept, replayable, each group gets all of it |
//! | task queue | [`Messaging::tasks`] | one worker each, at least once, urgent first, results |
//! | notification | [`Messaging::notices`] | who listens now gets it, nothing is kept |
//! | copies in processes | [`Messaging::near`] | dropped when the value changes |
//! | question and answer | [`Messaging::ask`] | an answer or a timeout |

use std::time::Duration;

use levada::{Broker, Cache, Channel, Event, Result};
use serde::{Serialize, de::DeserializeOwned};

use crate::log::EventLog;
use crate::near::Near;
use crate::tasks::Tasks;

/// The interface. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Messaging {
    broker: Broker,
}

impl Messaging {
    pub(crate) fn new(broker: &Broker) -> Self {
        Self { broker: broker.clone() }
    }

    /// The log of one kind of event.
    pub(crate) fn log<E: Event>(&self) -> EventLog<E> {
        EventLog::new(&self.broker)
    }

    /// The queue of tasks.
    pub(crate) fn tasks(&self) -> Tasks {
        Tasks::new(&self.broker)
    }

    /// A channel for what only those need who listen now.
    pub(crate) fn notices<T: Serialize + DeserializeOwned>(&self, name: &str) -> Channel<T> {
        Channel::new(&self.broker, name)
    }

    /// Values under a prefix, with copies in this process.
    pub(crate) async fn near<T>(&self, prefix: &str) -> Result<Near<T>>
    where
        T: Serialize + DeserializeOwned + Clone + Send + 'static,
    {
        Near::open(Cache::new(&self.broker, prefix)).await
    }

    /// Asks, and waits so long for the answer.
    pub(crate) async fn ask<E: Event, R: Serialize + DeserializeOwned>(
        &self,
        question: &E,
        limit: Duration,
    ) -> Result<R> {
        self.broker.producer().request(question, limit).await
    }
}
