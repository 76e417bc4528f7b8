//! Any async function of extractors, the event last, is a handler.
//!
//! As in axum, the implementations are written out by arity; the last argument says which event,
//! and so which stream, the handler is for. An extractor that fails makes a dead letter: what does
//! not parse now will not parse later.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::Service;

use crate::delivery::{Delivery, Lease};
use crate::event::{self, Event};
use crate::message::MessageId;
use crate::outcome::{BatchOutcome, IntoBatchOutcome, IntoOutcome, Outcome};
use crate::producer::Producer;

/// What a service or an extractor may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A call under way.
pub type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Something that a handler can take as an argument.
pub trait FromDelivery<S>: Sized {
    /// Takes it out; the error becomes the reason of a dead letter.
    fn from_delivery(delivery: &Delivery, state: &S) -> Result<Self, BoxError>;
}

/// The event, the last argument.
#[derive(Clone, Debug)]
pub struct Msg<E>(pub E);

/// The state of the worker, [`crate::Worker::state`].
#[derive(Clone, Debug)]
pub struct State<S>(pub S);

/// The id of the entry.
#[derive(Clone, Copy, Debug)]
pub struct Id(pub MessageId);

/// Deliveries, this one included.
#[derive(Clone, Copy, Debug)]
pub struct Attempt(pub u64);

/// Headers of the event, by name.
#[derive(Clone, Debug)]
pub struct Headers(pub BTreeMap<String, String>);

/// Events that are handled together, the last argument of a batch handler. Those that do not parse
/// are dead letters and not among them.
#[derive(Clone, Debug)]
pub struct Batch<E>(pub Vec<(MessageId, E)>);

impl<S, E: Event> FromDelivery<S> for Msg<E> {
    fn from_delivery(delivery: &Delivery, _: &S) -> Result<Self, BoxError> {
        Ok(Self(delivery.event()?))
    }
}

impl<S: Clone> FromDelivery<S> for State<S> {
    fn from_delivery(_: &Delivery, state: &S) -> Result<Self, BoxError> {
        Ok(Self(state.clone()))
    }
}

impl<S> FromDelivery<S> for Id {
    fn from_delivery(delivery: &Delivery, _: &S) -> Result<Self, BoxError> {
        Ok(Self(delivery.id))
    }
}

impl<S> FromDelivery<S> for Attempt {
    fn from_delivery(delivery: &Delivery, _: &S) -> Result<Self, BoxError> {
        Ok(Self(delivery.attempt))
    }
}

impl<S> FromDelivery<S> for Headers {
    fn from_delivery(delivery: &Delivery, _: &S) -> Result<Self, BoxError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let header = |(name, value): &(Vec<u8>, Vec<u8>)| {
            Some((text(name.strip_prefix(event::HEADER.as_bytes())?), text(value)))
        };
        Ok(Self(delivery.fields.0.iter().filter_map(header).collect()))
    }
}

impl<S> FromDelivery<S> for Lease {
    fn from_delivery(delivery: &Delivery, _: &S) -> Result<Self, BoxError> {
        Ok(delivery.lease.clone())
    }
}

impl<S> FromDelivery<S> for Producer {
    fn from_delivery(delivery: &Delivery, _: &S) -> Result<Self, BoxError> {
        Ok(delivery.producer.clone())
    }
}

impl<S> FromDelivery<S> for Delivery {
    fn from_delivery(delivery: &Delivery, _: &S) -> Result<Self, BoxError> {
        Ok(delivery.clone())
    }
}

/// An async function whose last argument is [`Msg`].
pub trait Handler<Arguments, S>: Clone + Send + Sync + 'static {
    /// The event that it handles.
    type Event: Event;

    /// Handles a delivery.
    fn call(&self, delivery: Delivery, state: &S) -> Running<Outcome>;
}

/// An async function whose last argument is [`Batch`].
pub trait BatchHandler<Arguments, S>: Clone + Send + Sync + 'static {
    /// The event that it handles.
    type Event: Event;

    /// Handles events together, all of them well-formed. The first delivery lends its extractors.
    fn call(
        &self,
        first: &Delivery,
        batch: Vec<(MessageId, Self::Event)>,
        state: &S,
    ) -> Running<BatchOutcome>;
}

macro_rules! handlers {
    ($($argument:ident),*) => {
        impl<F, Fut, S, E, $($argument),*> Handler<($($argument,)* Msg<E>,), S> for F
        where
            F: Fn($($argument,)* Msg<E>,) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output: IntoOutcome> + Send + 'static,
            E: Event,
            $($argument: FromDelivery<S>,)*
        {
            type Event = E;

            #[expect(clippy::allow_attributes, reason = "not every arity needs it")]
            #[allow(non_snake_case, reason = "a type's name stands for its value")]
            fn call(&self, delivery: Delivery, state: &S) -> Running<Outcome> {
                let taken = || {
                    $(let $argument = $argument::from_delivery(&delivery, state)?;)*
                    let message = Msg::<E>::from_delivery(&delivery, state)?;
                    Ok::<_, BoxError>(($($argument,)* message,))
                };
                match taken() {
                    Ok(($($argument,)* message,)) => {
                        let running = self($($argument,)* message);
                        Box::pin(async move { running.await.into_outcome() })
                    }
                    Err(error) => {
                        let outcome = Outcome::dead_letter(error);
                        Box::pin(async move { outcome })
                    }
                }
            }
        }

        impl<F, Fut, S, E, $($argument),*> BatchHandler<($($argument,)* Batch<E>,), S> for F
        where
            F: Fn($($argument,)* Batch<E>,) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output: IntoBatchOutcome> + Send + 'static,
            E: Event,
            $($argument: FromDelivery<S>,)*
        {
            type Event = E;

            #[expect(clippy::allow_attributes, reason = "not every arity needs it")]
            #[allow(non_snake_case, unused_variables, reason = "arity 0 takes nothing")]
            fn call(
                &self,
                first: &Delivery,
                batch: Vec<(MessageId, E)>,
                state: &S,
            ) -> Running<BatchOutcome> {
                let taken = || {
                    $(let $argument = $argument::from_delivery(first, state)?;)*
                    Ok::<_, BoxError>(($($argument,)*))
                };
                match taken() {
                    Ok(($($argument,)*)) => {
                        let running = self($($argument,)* Batch(batch));
                        Box::pin(async move { running.await.into_batch_outcome() })
                    }
                    Err(error) => {
                        let outcome = BatchOutcome::all(Outcome::dead_letter(error));
                        Box::pin(async move { outcome })
                    }
                }
            }
        }
    };
}

handlers!();
handlers!(A);
handlers!(A, B);
handlers!(A, B, C);
handlers!(A, B, C, D);
handlers!(A, B, C, D, G);
handlers!(A, B, C, D, G, H);

/// A handler as a tower service, the innermost one: layers go around it.
pub struct HandlerService<H, Arguments, S> {
    handler: H,
    state: Arc<S>,
    arguments: PhantomData<fn() -> Arguments>,
}

impl<H, Arguments, S> HandlerService<H, Arguments, S> {
    pub(crate) fn new(handler: H, state: Arc<S>) -> Self {
        Self { handler, state, arguments: PhantomData }
    }
}

impl<H: Clone, Arguments, S> Clone for HandlerService<H, Arguments, S> {
    fn clone(&self) -> Self {
        Self::new(self.handler.clone(), Arc::clone(&self.state))
    }
}

impl<H, Arguments, S> fmt::Debug for HandlerService<H, Arguments, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandlerService")
    }
}

impl<H: Handler<Arguments, S>, Arguments, S> Service<Delivery> for HandlerService<H, Arguments, S> {
    type Response = Outcome;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Outcome, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let running = self.handler.call(delivery, &self.state);
        Box::pin(async move { Ok(running.await) })
    }
}
