//! Workers: they read events of a group, run handlers, and see to it that each event ends as done
//! or as a dead letter.
//!
//! `mod` is what a user sets up; `run` is its life: a task that reads, one that extends leases, one
//! for each event that is handled, and a loop that hands events from the first to the last.

mod guard;
mod pace;
mod partitions;
mod reading;
mod run;
mod settle;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt as _};

use self::pace::Rate;
use crate::backend::{Seat, Start};
use crate::broker::Broker;
use crate::control::Control;
use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::event::Event as _;
use crate::handler::{BatchHandler, BoxError, Handler, HandlerService, Running};
use crate::idempotency::{Idempotency, OnlyOnce};
use crate::outcome::{BatchOutcome, Outcome};
use crate::retry::Retry;
use crate::{names, random};

/// A handler with its layers.
pub type Route = BoxCloneSyncService<Delivery, Outcome, BoxError>;

/// Events handled at the same time, at most.
pub const CONCURRENCY_MAX: usize = 10_000;

/// Reads the events of a group and handles them.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Paid { cents: u64 }
/// # impl levada::Event for Paid { const STREAM: &'static str = "payments"; }
/// use levada::{Attempt, Fault, Msg, Retry, State, Worker};
///
/// #[derive(Clone)]
/// struct Bank;
///
/// async fn book(State(_bank): State<Bank>, Attempt(n): Attempt, Msg(paid): Msg<Paid>)
/// -> Result<(), Fault> {
///     println!("attempt {n}: {} cents", paid.cents);
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> levada::Result<()> {
/// let broker = levada::connect("memory:").await?;
/// broker.producer().send(&Paid { cents: 5 }).await?;
/// let worker = Worker::new(&broker, "books")
///     .state(Bank)
///     .handle(book)
///     .concurrency(16)
///     .retry(Retry::default());
/// let shutdown = tokio::time::sleep(std::time::Duration::from_millis(100));
/// let drained = worker.run(shutdown).await?;
/// assert_eq!(drained.acked, 1);
/// # Ok(())
/// # }
/// ```
pub struct Worker<S = ()> {
    broker: Broker,
    state: Arc<S>,
    setup: Setup,
}

/// What does not depend on the type of the state.
struct Setup {
    group: Arc<str>,
    consumer: Arc<str>,
    start: Start,
    tracks: Vec<Track>,
    layers: Vec<Arc<dyn Fn(Route) -> Route + Send + Sync>>,
    once: Option<Arc<dyn Idempotency>>,
    concurrency: usize,
    ordered: bool,
    exclusive: bool,
    retry: Retry,
    lease: Duration,
    timeout: Option<Duration>,
    drain: Duration,
    poll: Duration,
    dead_letters: Option<String>,
    rate: Option<Rate>,
    control: Control,
}

/// A stream and what handles its events.
#[derive(Clone)]
struct Track {
    stream: Arc<str>,
    work: Work,
    /// Which handler it is: partitions of one stream share it, and take turns.
    topic: usize,
    /// Of its partition, from 0.
    generation: usize,
}

#[derive(Clone)]
enum Work {
    Each(Route),
    Together { max: usize, linger: Duration, run: Together },
}

/// A batch handler: deliveries in, an outcome for each out.
type Together = Arc<dyn Fn(Vec<Delivery>) -> Running<BatchOutcome> + Send + Sync>;

/// How a worker ended.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Drained {
    /// Events that are done.
    pub acked: u64,
    /// Failed attempts whose events come again.
    pub retried: u64,
    /// Events that became dead letters.
    pub dead: u64,
    /// Events given back unfinished: others get them.
    pub handed_back: u64,
}

impl Worker<()> {
    /// A worker of a group. All workers of a group share its events; each group gets all.
    pub fn new(broker: &Broker, group: &str) -> Self {
        let consumer = format!("{}-{:08x}", std::process::id(), random::number() >> 32);
        let setup = Setup {
            group: group.into(),
            consumer: consumer.into(),
            start: Start::Oldest,
            tracks: Vec::new(),
            layers: Vec::new(),
            once: None,
            concurrency: 16,
            ordered: false,
            exclusive: false,
            retry: Retry::default(),
            lease: Duration::from_secs(30),
            timeout: None,
            drain: Duration::from_secs(30),
            poll: Duration::from_millis(500),
            dead_letters: None,
            rate: None,
            control: Control::new(),
        };
        Self { broker: broker.clone(), state: Arc::new(()), setup }
    }
}

impl<S: Send + Sync + 'static> Worker<S> {
    /// What handlers that are added from now on get as [`crate::State`].
    pub fn state<T: Clone + Send + Sync + 'static>(self, state: T) -> Worker<T> {
        Worker { broker: self.broker, state: Arc::new(state), setup: self.setup }
    }

    /// Handles events one by one. The stream is that of the handler's event. A worker may have
    /// handlers for several streams; those that are added first go first whenever there is a
    /// choice: that is priority.
    #[must_use]
    pub fn handle<H: Handler<A, S>, A: 'static>(self, handler: H) -> Self {
        let service = HandlerService::new(handler, Arc::clone(&self.state));
        self.service(H::Event::STREAM, service)
    }

    /// Handles the deliveries of a stream by a tower service.
    #[must_use]
    pub fn service<T>(mut self, stream: &str, service: T) -> Self
    where
        T: Service<Delivery, Response = Outcome> + Clone + Send + Sync + 'static,
        T::Error: Into<BoxError>,
        T::Future: Send + 'static,
    {
        self.setup.add(stream, Work::Each(boxed(service)));
        self
    }

    /// Handles events together: at most `max` at a time, and none waits for others longer than
    /// `linger`. Layers, the order by key and [`Worker::timeout`] are for handlers of single
    /// events; a batch is taken as it comes.
    #[must_use]
    pub fn batch<H: BatchHandler<A, S>, A: 'static>(
        mut self,
        max: usize,
        linger: Duration,
        handler: H,
    ) -> Self {
        let state = Arc::clone(&self.state);
        let run: Together = Arc::new(move |deliveries: Vec<Delivery>| {
            let (handler, state) = (handler.clone(), Arc::clone(&state));
            Box::pin(async move { run_batch(&handler, deliveries, &*state).await })
        });
        let work = Work::Together { max: max.max(1), linger, run };
        self.setup.add(H::Event::STREAM, work);
        self
    }

    /// Puts a tower layer around each handler of single events, those added later included; the
    /// last layer is the outermost. An error of a layer is a failure that is tried again.
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Send + Sync + 'static,
        L::Service: Service<Delivery, Response = Outcome> + Clone + Send + Sync + 'static,
        <L::Service as Service<Delivery>>::Error: Into<BoxError>,
        <L::Service as Service<Delivery>>::Future: Send + 'static,
    {
        self.setup.layers.push(Arc::new(move |route| boxed(layer.layer(route))));
        self
    }

    /// Does not call handlers for events that were done before, as a store remembers: an
    /// idempotency key, or the id of the entry, for each group. It is the innermost layer. For
    /// handlers of single events: with a batch handler the worker does not start.
    #[must_use]
    pub fn idempotent(mut self, store: impl Idempotency) -> Self {
        self.setup.once = Some(Arc::new(store));
        self
    }

    /// Events handled at the same time, and so the most that are read ahead: 1 to
    /// [`CONCURRENCY_MAX`], 16 unless it is said.
    #[must_use]
    pub fn concurrency(mut self, events: usize) -> Self {
        self.setup.concurrency = events.clamp(1, CONCURRENCY_MAX);
        self
    }

    /// Handles events of one key one after the other, in the order of the stream, within this
    /// worker. A failed one is tried again in place while those of its key wait, until it is done
    /// or a dead letter; events of other keys go on. Events without a key are not ordered.
    #[must_use]
    pub fn ordered_by_key(mut self) -> Self {
        self.setup.ordered = true;
        self
    }

    /// Has each partition of its streams for itself while it holds it, so that events of one key
    /// are handled in order by all workers of the group together: it is
    /// [`Worker::ordered_by_key`] too. Workers share partitions out among themselves; there may be
    /// more workers than partitions, and those then wait. All workers of the group have to be so.
    ///
    /// When a worker dies its partitions rest for up to [`Worker::lease`] before others have them.
    /// A worker that is stopped for longer than that and then goes on may handle what another has.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.setup.exclusive = true;
        self.setup.ordered = true;
        self
    }

    /// How often a failed event comes again, and after which rests.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.setup.retry = retry;
        self
    }

    /// How long an event stays ours without a sign of life, 30 s unless it is said; at least 1 s.
    /// While a handler runs the worker extends it, so this is how soon the events of a worker that
    /// died go to another, not how long a handler may take.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.setup.lease = lease.max(Duration::from_secs(1));
        self
    }

    /// How long a handler may take; then it is dropped and its event has failed. None unless said.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.setup.timeout = Some(timeout);
        self
    }

    /// How long running handlers may go on after the shutdown has begun, 30 s unless it is said.
    #[must_use]
    pub fn drain(mut self, drain: Duration) -> Self {
        self.setup.drain = drain;
        self
    }

    /// Where dead letters go instead of `{STREAM}:dlq:GROUP`.
    #[must_use]
    pub fn dead_letter(mut self, stream: &str) -> Self {
        self.setup.dead_letters = Some(stream.to_owned());
        self
    }

    /// Where the group begins if this worker has to create it: with the oldest event unless it is
    /// said.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.setup.start = start;
        self
    }

    /// The name of this consumer in the group, unique among the workers that run; unless it is
    /// said, one is made up.
    #[must_use]
    pub fn consumer(mut self, name: &str) -> Self {
        self.setup.consumer = name.into();
        self
    }

    /// How long a read waits, and so how soon a shutdown and, on a server without leases, an event
    /// that is due is noticed: half a second unless it is said; at least 10 ms.
    #[must_use]
    pub fn poll(mut self, poll: Duration) -> Self {
        self.setup.poll = poll.max(Duration::from_millis(10));
        self
    }

    /// At most so many events in each span of time (at least 10 ms), by all workers of the group
    /// together that ask for a rate, over all their streams. The spans follow each other without a
    /// gap, so two of them may meet in twice as many. They are counted on the server and told apart
    /// by its clock. What is read is what counts: an event that comes again counts again.
    /// [`Worker::run_until_idle`] has no rate.
    #[must_use]
    pub fn rate_limit(mut self, events: u64, per: Duration) -> Self {
        let per = per.max(Duration::from_millis(10));
        self.setup.rate = Some(Rate { events: events.max(1), per, key: String::new() });
        self
    }

    /// What pauses this worker and lets it go on.
    pub fn control(&self) -> Control {
        self.setup.control.clone()
    }

    /// Works until `shutdown` is over; then it reads no more, lets running handlers finish and
    /// gives the rest back. An error where it cannot begin, or the server refuses for good.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<Drained> {
        let setup = self.setup.checked(&self.broker)?;
        run::run(self.broker, setup, shutdown).await
    }

    /// Works until there is nothing to do now: everything that can be read is handled. For tests.
    pub async fn run_until_idle(self) -> Result<Drained> {
        let setup = self.setup.checked(&self.broker)?;
        run::run_until_idle(self.broker, setup).await
    }
}

impl Setup {
    fn add(&mut self, stream: &str, work: Work) {
        let topic = self.tracks.len();
        self.tracks.push(Track { stream: stream.into(), work, topic, generation: 0 });
    }

    fn checked(mut self, broker: &Broker) -> Result<Self> {
        let invalid = |what: &str| Err(Error::Invalid(what.to_owned()));
        if self.tracks.is_empty() {
            return invalid("a worker needs a handler");
        }
        if self.group.is_empty() || self.consumer.is_empty() {
            return invalid("a group and a consumer need a name");
        }
        for (number, track) in self.tracks.iter().enumerate() {
            if self.tracks[..number].iter().any(|other| other.stream == track.stream) {
                return invalid("a stream has two handlers in one group: use two groups");
            }
        }
        if let (Some(rate), Some(first)) = (&mut self.rate, self.tracks.first()) {
            rate.key = names::rate(&first.stream, &self.group);
        }
        for track in &mut self.tracks {
            match (&mut track.work, &self.once) {
                (Work::Each(route), once) => {
                    let inner = match once {
                        Some(store) => boxed(OnlyOnce::new(Arc::clone(store), route.clone())),
                        None => route.clone(),
                    };
                    *route = self.layers.iter().fold(inner, |route, layer| layer(route));
                }
                (Work::Together { .. }, Some(_)) => {
                    return invalid("an idempotency store is for handlers of single events");
                }
                (Work::Together { .. }, None) => {}
            }
        }
        self.tracks = self.tracks.iter().flat_map(|track| track.partitions(broker)).collect();
        Ok(self)
    }

    fn seat(&self, stream: &str) -> Seat {
        let (group, consumer) = (Arc::clone(&self.group), Arc::clone(&self.consumer));
        Seat { stream: stream.into(), group, consumer }
    }

    fn dead_letters(&self, stream: &str) -> String {
        let default = || names::dead_letters(stream, &self.group);
        self.dead_letters.clone().unwrap_or_else(default)
    }
}

impl Track {
    /// One for each partition, or itself where its stream has none.
    fn partitions(&self, broker: &Broker) -> Vec<Self> {
        let Some(topic) = broker.topic(&self.stream) else {
            return vec![self.clone()];
        };
        let streams = topic.streams().into_iter().enumerate();
        let streams = streams.flat_map(|(number, all)| all.into_iter().map(move |it| (number, it)));
        let track = |(generation, stream): (usize, String)| Self {
            stream: stream.into(),
            generation,
            ..self.clone()
        };
        streams.map(track).collect()
    }
}

fn boxed<T>(service: T) -> Route
where
    T: Service<Delivery, Response = Outcome> + Clone + Send + Sync + 'static,
    T::Error: Into<BoxError>,
    T::Future: Send + 'static,
{
    BoxCloneSyncService::new(service.map_err(Into::into))
}

/// Runs a batch handler on what parses; the rest becomes dead letters.
async fn run_batch<H: BatchHandler<A, S>, A, S>(
    handler: &H,
    deliveries: Vec<Delivery>,
    state: &S,
) -> BatchOutcome {
    let mut events = Vec::with_capacity(deliveries.len());
    let mut broken = Vec::new();
    for delivery in &deliveries {
        match delivery.event() {
            Ok(event) => events.push((delivery.id, event)),
            Err(error) => broken.push((delivery.id, Outcome::dead_letter(error))),
        }
    }
    let outcome = match (deliveries.first(), events.is_empty()) {
        (Some(first), false) => handler.call(first, events, state).await,
        _ => BatchOutcome::ack(),
    };
    broken.into_iter().fold(outcome, |outcome, (id, dead)| outcome.but(id, dead))
}

impl<S> fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Worker");
        shown.field("group", &self.setup.group).field("consumer", &self.setup.consumer);
        shown.finish_non_exhaustive()
    }
}
