//! What every backend does: one small trait, dyn-safe, in terms of streams and groups.
//!
//! [`Backend`] is the seam under [`crate::Producer`] and [`crate::Worker`]. A method returns when
//! its effect is as durable as the backend makes it. What a server does by itself and what the
//! backend does from the client side is its own affair; [`Backend::capabilities`] tells which.
//! Nothing here retries: callers do, as they know what is idempotent.

#[cfg(feature = "embedded")]
pub(crate) mod engine;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::capabilities::Capabilities;
use crate::durability::{Copies, Durability};
use crate::error::{Error, Result};
use crate::message::{Entry, Fields, MessageId};

/// A call under way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// The group that makes a stream which has to be there before its first entry.
const MAKER: &str = "levada:maker";

/// A stream, a group of it, and who reads in the group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seat {
    /// The stream.
    pub stream: Arc<str>,
    /// The group.
    pub group: Arc<str>,
    /// The consumer: unique among the workers of the group.
    pub consumer: Arc<str>,
}

/// An entry on its way into a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// The stream, created where it is missing.
    pub stream: String,
    /// What the entry holds, at least one field.
    pub fields: Fields,
    /// Within the server's window a second append with the same mark adds nothing.
    pub once: Option<Once>,
}

/// What makes an append recognisable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Once {
    /// Who appends, not empty.
    pub producer: String,
    /// What, not empty.
    pub id: String,
}

/// Where a new group begins.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Start {
    /// With the first entry that is there.
    #[default]
    Oldest,
    /// With what is appended later.
    New,
    /// Above an id.
    After(MessageId),
}

/// What becomes of entries that are not acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupPolicy {
    /// A pending entry that nobody extends is delivered again after so long.
    pub lease: Duration,
    /// Deliveries in all.
    pub max_attempts: u32,
    /// Rest before each redelivery; the last repeats.
    pub rests: Vec<Duration>,
    /// Where entries over the limit go.
    pub dead_letters: String,
    /// Field by whose value entries are delivered in order, where the server can do so.
    pub order_by: Option<String>,
}

impl GroupPolicy {
    /// The limit that a server with leases is told; 0 where it cannot count so far, and the workers
    /// count alone.
    pub(crate) fn server_limit(&self) -> u32 {
        /// The largest that Levada takes.
        const MAX_DELIVER_MAX: u32 = 255;
        if self.max_attempts > MAX_DELIVER_MAX { 0 } else { self.max_attempts }
    }
}

/// An entry that was delivered to a consumer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// Which of the seats of the read.
    pub seat: usize,
    /// Its id.
    pub id: MessageId,
    /// What it holds; `None` where it was deleted while pending.
    pub fields: Option<Fields>,
    /// Deliveries, this one included.
    pub attempt: u64,
}

/// A delivery that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// Which entry.
    pub id: MessageId,
    /// Deliveries so far.
    pub attempt: u64,
    /// What it held.
    pub fields: Fields,
    /// Why.
    pub reason: String,
}

/// A group, as its stream sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupFacts {
    /// Its name.
    pub name: String,
    /// Number of consumers.
    pub consumers: u64,
    /// Entries delivered and not acknowledged.
    pub pending: u64,
    /// The last that was delivered.
    pub last_delivered: MessageId,
    /// Lowest pending id.
    pub first_pending: Option<MessageId>,
    /// Entries not delivered yet, where the server knows.
    pub lag: Option<u64>,
}

/// A consumer, as its group sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerFacts {
    /// Its name.
    pub name: String,
    /// Entries delivered to it and not acknowledged.
    pub pending: u64,
    /// Time since it last asked for something.
    pub idle: Duration,
}

/// When an entry is appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// After so long.
    In(Duration),
    /// At this time, in unix milliseconds.
    At(u64),
}

/// One reader of groups; what blocks has a connection of its own.
pub trait GroupReader: Send + Sync {
    /// New entries of the seats, at most `count` in all, those of earlier seats first; waits up to
    /// `wait` for the first one. [`crate::Error::NotFound`] where a stream or group is missing.
    fn read<'a>(
        &'a mut self,
        seats: &'a [Seat],
        count: usize,
        wait: Option<Duration>,
    ) -> Pending<'a, Vec<Delivered>>;
}

/// One reader of a stream without a group.
pub trait TailReader: Send + Sync {
    /// Entries above an id, at most `count`; waits up to `wait` for the first one.
    fn read<'a>(
        &'a mut self,
        stream: &'a str,
        after: MessageId,
        count: usize,
        wait: Option<Duration>,
    ) -> Pending<'a, Vec<Entry>>;
}

/// A message on its way: its channel and payload, or the end.
pub type Heard<'a> = Pin<Box<dyn Future<Output = Option<(String, Vec<u8>)>> + Send + 'a>>;

/// Who listens to channels.
pub trait Listener: Send + Sync {
    /// The next message: its channel and payload. `None` when it has ended: the connection broke,
    /// or messages came faster than they were taken.
    fn next(&mut self) -> Heard<'_>;
}

/// Streams, groups, and what stands beside them.
pub trait Backend: Debug + Send + Sync + 'static {
    /// What it does by itself.
    fn capabilities(&self) -> &Capabilities;

    /// Appends entries, in order, in one pipeline; each succeeds or fails for itself.
    fn append(&self, entries: Vec<Append>) -> Pending<'_, Vec<Result<MessageId>>>;

    /// The same, and each is acknowledged only when so many copies of it are there; with fewer in
    /// time it is [`Error::Unconfirmed`].
    fn append_held(
        &self,
        entries: Vec<Append>,
        durability: Durability,
    ) -> Pending<'_, Vec<Result<MessageId>>> {
        match durability.copies {
            Copies::Leader => self.append(entries),
            Copies::Synced(1) if self.capabilities().durable => self.append(entries),
            Copies::Replicas(_) | Copies::Synced(_) => {
                let backend = self.capabilities().server.clone();
                Box::pin(async { Err(Error::Unsupported { backend, what: "it has no replicas" }) })
            }
        }
    }

    /// Entries from `first` to `last`, both included, at most `count`.
    fn range<'a>(
        &'a self,
        stream: &'a str,
        first: MessageId,
        last: MessageId,
        count: usize,
    ) -> Pending<'a, Vec<Entry>>;

    /// Number of entries; 0 where the stream is missing.
    fn len<'a>(&'a self, stream: &'a str) -> Pending<'a, u64>;

    /// Deletes entries; answers how many were there.
    fn delete<'a>(&'a self, stream: &'a str, ids: &'a [MessageId]) -> Pending<'a, u64>;

    /// Deletes the entries below an id; answers how many.
    fn trim_below<'a>(&'a self, stream: &'a str, id: MessageId) -> Pending<'a, u64>;

    /// From now on the server knows a repeated [`Once`] for so long, among so many of the latest of
    /// the stream. Makes the stream where it is missing; [`Error::Unsupported`] where the server
    /// remembers less than that.
    fn dedup_window<'a>(
        &'a self,
        stream: &'a str,
        window: Duration,
        events_max: u64,
    ) -> Pending<'a, ()>;

    /// From now on the server removes by itself what every group of a stream has acknowledged, and
    /// nothing else. [`Error::NotFound`] where the stream is missing, [`Error::Unsupported`] where
    /// [`Capabilities::retention`] is not given.
    fn retain_acked<'a>(&'a self, stream: &'a str) -> Pending<'a, ()> {
        let _ = stream;
        let backend = self.capabilities().server.clone();
        Box::pin(async { Err(Error::Unsupported { backend, what: "it does not trim by itself" }) })
    }

    /// A reader of a stream.
    fn tail(&self) -> Pending<'_, Box<dyn TailReader>>;

    /// Creates the group of a seat, and the stream, where they are missing, and sets its policy
    /// where the server has one.
    fn join<'a>(&'a self, seat: &'a Seat, start: Start, policy: &'a GroupPolicy)
    -> Pending<'a, ()>;

    /// A reader of groups.
    fn reader(&self) -> Pending<'_, Box<dyn GroupReader>>;

    /// Acknowledges entries; answers how many were pending.
    fn ack<'a>(&'a self, seat: &'a Seat, ids: &'a [MessageId]) -> Pending<'a, u64>;

    /// Begins the lease of entries anew; answers those that the seat still held.
    fn extend<'a>(&'a self, seat: &'a Seat, ids: &'a [MessageId]) -> Pending<'a, Vec<MessageId>>;

    /// Lets an entry come again after a rest.
    fn retry<'a>(&'a self, seat: &'a Seat, failed: &'a Failed, rest: Duration) -> Pending<'a, ()>;

    /// Gives entries back that were not begun: others get them at once, and this delivery does not
    /// count. Each with its attempt.
    fn hand_back<'a>(
        &'a self,
        seat: &'a Seat,
        entries: &'a [(MessageId, u64)],
        lease: Duration,
    ) -> Pending<'a, ()>;

    /// Moves an entry to the dead letters of its group.
    fn dead_letter<'a>(
        &'a self,
        seat: &'a Seat,
        failed: &'a Failed,
        to: &'a str,
    ) -> Pending<'a, ()>;

    /// Gives dead letters, as they stand in the stream `from`, back to the group of the seat and to
    /// no other; answers how many went.
    fn redrive<'a>(
        &'a self,
        seat: &'a Seat,
        from: &'a str,
        letters: &'a [Entry],
    ) -> Pending<'a, u64>;

    /// What a server without leases leaves to its clients: moves delayed entries that are due, and
    /// takes entries whose rest or lease is over, at most `count`, for the seat. Their `seat` is 0.
    fn tend<'a>(
        &'a self,
        seat: &'a Seat,
        lease: Duration,
        count: usize,
    ) -> Pending<'a, Vec<Delivered>>;

    /// Deletes the consumer of a seat if nothing is pending for it.
    fn leave<'a>(&'a self, seat: &'a Seat) -> Pending<'a, ()>;

    /// The groups of a stream, by name; none where it is missing.
    fn groups<'a>(&'a self, stream: &'a str) -> Pending<'a, Vec<GroupFacts>>;

    /// The streams whose names match a pattern of the server (`orders*`), in order.
    fn streams<'a>(&'a self, pattern: &'a str) -> Pending<'a, Vec<String>> {
        let _ = pattern;
        let backend = self.capabilities().server.clone();
        Box::pin(async {
            Err(Error::Unsupported { backend, what: "it does not list its streams" })
        })
    }

    /// The consumers of a group. A backend that ends them by itself need not know.
    fn consumers<'a>(&'a self, stream: &'a str, group: &'a str) -> Pending<'a, Vec<ConsumerFacts>> {
        let _ = (stream, group);
        let backend = self.capabilities().server.clone();
        Box::pin(async { Err(Error::Unsupported { backend, what: "it does not list consumers" }) })
    }

    /// Hands what has been pending for a consumer for at least `idle` to another, as idle as it is,
    /// and deletes the consumer if nothing is pending for it then. Answers whether it was deleted.
    fn remove_consumer<'a>(
        &'a self,
        seat: &'a Seat,
        heir: Option<&'a str>,
        idle: Duration,
    ) -> Pending<'a, bool> {
        let _ = (seat, heir, idle);
        let backend = self.capabilities().server.clone();
        Box::pin(async { Err(Error::Unsupported { backend, what: "it removes no consumers" }) })
    }

    /// Unix milliseconds by the clock of the server that has a key. Ages, and what is due, are told
    /// by this clock and never by that of the machine we are on: it is the one that all agree on.
    fn now_ms<'a>(&'a self, key: &'a str) -> Pending<'a, u64>;

    /// Appends an entry later; answers what it can be cancelled by.
    fn schedule(&self, entry: Append, due: Due) -> Pending<'_, String>;

    /// Cancels it; `false` where it is not waiting any more.
    fn cancel<'a>(&'a self, stream: &'a str, handle: &'a str) -> Pending<'a, bool>;

    /// The value of a key.
    fn get<'a>(&'a self, key: &'a str) -> Pending<'a, Option<Vec<u8>>>;

    /// Sets a key, for a time if one is given; with `only_new` only where it is missing. Answers
    /// whether it was set.
    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Option<Duration>,
        only_new: bool,
    ) -> Pending<'a, bool>;

    /// Begins the time of a key anew if it has this value, in one step; without a time it goes.
    /// Answers whether it had it: whether what it stands for is still ours.
    fn renew<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        ttl: Option<Duration>,
    ) -> Pending<'a, bool>;

    /// Adds to a number; a missing one is 0. Answers the sum.
    fn incr<'a>(&'a self, key: &'a str, by: i64) -> Pending<'a, i64>;

    /// Removes a key of any type; `false` where it was missing.
    fn remove<'a>(&'a self, key: &'a str) -> Pending<'a, bool>;

    /// Publishes to who listens now; answers how many that are.
    fn publish<'a>(&'a self, channel: &'a str, payload: Vec<u8>) -> Pending<'a, u64>;

    /// Listens to channels from now on.
    fn listen<'a>(&'a self, channels: &'a [String]) -> Pending<'a, Box<dyn Listener>>;
}
