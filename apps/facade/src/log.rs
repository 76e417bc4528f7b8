//! The event log: what has happened, kept, and read by anybody from anywhere.

use std::marker::PhantomData;
use std::time::SystemTime;

use levada::event::{self, DecodeError};
use levada::{Broker, Event, MessageId, Reader, Result};

/// Where a replay begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    Start,
    /// Behind an entry.
    Behind(MessageId),
    Time(SystemTime),
}

/// An entry of a log: an event, or why it is none.
pub(crate) type Found<E> = (MessageId, Result<E, DecodeError>);

/// The log of one kind of event.
#[derive(Debug)]
pub(crate) struct EventLog<E> {
    broker: Broker,
    events: PhantomData<fn() -> E>,
}

impl<E: Event> EventLog<E> {
    pub(crate) fn new(broker: &Broker) -> Self {
        Self { broker: broker.clone(), events: PhantomData }
    }

    /// Appends events, in order; they are on disk when this returns.
    pub(crate) async fn append(&self, events: &[E]) -> Result<Vec<MessageId>> {
        self.broker.producer().send_all(events).await
    }

    /// All that is there from a place on. What does not parse is handed on as such: a log has more
    /// writers than its readers know.
    pub(crate) async fn replay(&self, from: From) -> Result<Vec<Found<E>>> {
        let mut reader = match from {
            From::Start => Reader::from_start::<E>(&self.broker).await?,
            From::Behind(id) => Reader::from_id::<E>(&self.broker, id).await?,
            From::Time(time) => Reader::from_time::<E>(&self.broker, time).await?,
        };
        let mut found = Vec::new();
        loop {
            let entries = reader.replay().await?;
            if entries.is_empty() {
                return Ok(found);
            }
            found.extend(entries.iter().map(|entry| (entry.id, event::decode(&entry.fields))));
        }
    }
}
