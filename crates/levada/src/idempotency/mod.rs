//! Effects that happen once although events come at least once.
//!
//! A worker that is [`crate::Worker::idempotent`] asks a store before each handler whether the
//! event was done before, and tells it afterwards. How much that promises depends on where the
//! mark is kept: beside the effect, in its own transaction (`postgres`, a feature), or anywhere
//! else ([`Marks`]).

mod marks;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::Service;

pub use self::marks::Marks;
use crate::backend::Pending;
use crate::delivery::Delivery;
use crate::event;
use crate::extensions::Extensions;
use crate::handler::BoxError;
use crate::outcome::Outcome;
use crate::worker::Route;

/// What is remembered of an event.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Mark {
    /// The group: each group has effects of its own.
    pub group: String,
    /// The stream.
    pub stream: String,
    /// [`crate::Event::idempotency_key`], or the id of the entry where it has none.
    pub id: String,
    /// The stream and id of the entry, whatever its key: who is at it.
    pub entry: String,
}

impl Mark {
    /// The mark of a delivery.
    ///
    /// Without an idempotency key an event is its entry. One that is given back from the dead
    /// letters is another entry, with a new id, on every backend, and so another mark: it is
    /// handled also where the first entry became a dead letter behind its effect (a worker that
    /// died between both again and again). Where that matters, events need a key.
    pub fn of(delivery: &Delivery) -> Self {
        let group = delivery.group().to_owned();
        let (stood, id) = (&delivery.seat.stream, delivery.id.to_string());
        let entry = format!("{stood} {id}");
        match delivery.fields.text(event::ID) {
            Some(key) => {
                Self { group, stream: delivery.stream.to_string(), id: key.to_owned(), entry }
            }
            None => Self { group, stream: stood.to_string(), id, entry },
        }
    }
}

/// A store that knows what was done.
pub trait Idempotency: fmt::Debug + Send + Sync + 'static {
    /// Begins what a mark stands for; `None` where it was done before. Where somebody else is at
    /// it, waits for their end.
    fn begin<'a>(&'a self, mark: &'a Mark) -> Pending<'a, Option<Box<dyn Undertaking>>>;
}

/// Something that was begun. Dropped, it counts as abandoned.
pub trait Undertaking: Send {
    /// Lends the handler what it works with.
    fn lend(&self, extensions: &mut Extensions) {
        let _ = extensions;
    }

    /// It is done, and will be known as done.
    fn finish(self: Box<Self>) -> Pending<'static, ()>;

    /// It is not done.
    fn abandon(self: Box<Self>) -> Pending<'static, ()>;
}

/// A handler that is not called for what was done before.
#[derive(Clone)]
pub(crate) struct OnlyOnce {
    store: Arc<dyn Idempotency>,
    inner: Route,
}

impl OnlyOnce {
    pub(crate) fn new(store: Arc<dyn Idempotency>, inner: Route) -> Self {
        Self { store, inner }
    }
}

impl Service<Delivery> for OnlyOnce {
    type Response = Outcome;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        // The one that is ready goes along; a fresh clone stays.
        let fresh = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, fresh);
        Box::pin(once(Arc::clone(&self.store), inner, delivery))
    }
}

async fn once(
    store: Arc<dyn Idempotency>,
    mut inner: Route,
    mut delivery: Delivery,
) -> Result<Outcome, BoxError> {
    let mark = Mark::of(&delivery);
    let Some(undertaking) = store.begin(&mark).await? else {
        tracing::debug!(id = %delivery.id, mark = mark.id, "it was done before");
        return Ok(Outcome::Ack);
    };
    undertaking.lend(&mut delivery.extensions);
    match inner.call(delivery).await {
        Ok(Outcome::Ack) => {
            undertaking.finish().await?;
            Ok(Outcome::Ack)
        }
        other => {
            if let Err(error) = undertaking.abandon().await {
                tracing::debug!(%error, mark = mark.id, "it ends when it is forgotten");
            }
            other
        }
    }
}
