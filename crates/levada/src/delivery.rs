//! One delivery of an event to a handler, and what a handler can take out of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backend::{Backend, Seat};
use crate::error::{Error, Result};
use crate::event::{self, DecodeError, Event};
use crate::extensions::Extensions;
use crate::message::{Fields, MessageId};
use crate::producer::Producer;
use crate::trace::TraceContext;

/// One delivery: the request of the tower service that a handler is.
#[derive(Clone)]
pub struct Delivery {
    /// The id of the entry.
    pub id: MessageId,
    /// The stream that it was sent to.
    pub stream: Arc<str>,
    /// Deliveries, this one included; 1 at first.
    pub attempt: u64,
    /// What the entry holds.
    pub fields: Arc<Fields>,
    /// How long it is ours.
    pub lease: Lease,
    /// Sends events that belong to the same trace.
    pub producer: Producer,
    /// What layers lend to the handler.
    pub extensions: Extensions,
    /// Where it is pending.
    pub(crate) seat: Arc<Seat>,
}

impl Delivery {
    /// What the event is about, if it says so.
    pub fn key(&self) -> Option<&[u8]> {
        self.fields.get(event::KEY)
    }

    /// A header that its producer gave it.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.fields.text(&format!("{}{name}", event::HEADER))
    }

    /// The trace that it belongs to.
    pub fn trace(&self) -> Option<TraceContext> {
        TraceContext::parse(self.fields.text(event::TRACEPARENT)?)
    }

    /// The group that it was delivered in.
    pub fn group(&self) -> &str {
        &self.seat.group
    }

    /// The event.
    pub fn event<E: Event>(&self) -> Result<E, DecodeError> {
        event::decode(&self.fields)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Delivery");
        shown.field("stream", &self.stream).field("id", &self.id);
        shown.field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

/// The time for which a delivery is ours. While a handler runs the worker extends it; it ends if
/// the server cannot be reached for longer than it lasts.
#[derive(Clone)]
pub struct Lease {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) id: MessageId,
    pub(crate) lost: Arc<AtomicBool>,
}

impl Lease {
    /// Whether nobody else has the event, as far as this worker knows. What cannot be undone is
    /// best done right behind an [`Lease::extend`] that succeeded.
    pub fn is_held(&self) -> bool {
        !self.lost.load(Ordering::Acquire)
    }

    /// Begins the lease anew now; [`Error::Conflict`] where it is over and somebody else has the
    /// event.
    pub async fn extend(&self) -> Result<()> {
        let held = self.backend.extend(&self.seat, &[self.id]).await?;
        if held.is_empty() {
            self.lost.store(true, Ordering::Release);
            return Err(Error::Conflict(format!("the lease of {} is over", self.id)));
        }
        Ok(())
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &self.id)
            .field("held", &self.is_held())
            .finish_non_exhaustive()
    }
}
