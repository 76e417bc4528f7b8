//! Producers and workers over streams that are right by default.
//!
//! ```
//! use levada::{Event, Fault, Msg, Worker, connect};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Click {
//!     code: String,
//! }
//!
//! impl Event for Click {
//!     const STREAM: &'static str = "clicks";
//! }
//!
//! async fn count(Msg(click): Msg<Click>) -> Result<(), Fault> {
//!     println!("{}", click.code);
//!     Ok(())
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> levada::Result<()> {
//!     let broker = connect("memory:").await?; // Or redis://localhost, or embedded:./data
//!     broker.producer().send(&Click { code: "a".into() }).await?;
//!     let shutdown = tokio::time::sleep(std::time::Duration::from_millis(50)); // Or ctrl_c()
//!     Worker::new(&broker, "analytics").handle(count).run(shutdown).await?;
//!     Ok(())
//! }
//! ```
//!
//! # The shape
//! - [`connect`] makes a [`Broker`] of a URL; under it is one dyn-safe trait,
//!   [`backend::Backend`], with an implementation for the engine in this process and one for
//!   servers. [`Capabilities`] says what a server does by itself.
//! - [`Producer`] sends what implements [`Event`]: at once, together, in the background, later.
//! - [`Worker`] reads a group, hands each [`Delivery`] to a handler (any async function of
//!   extractors, a `tower::Service<Delivery>` underneath), and turns its [`Outcome`] into an ack,
//!   a rest, or a dead letter.
//! - [`Broker::partitioned`] lays a stream over partitions, on one server or a cluster;
//!   [`Worker::exclusive`] gives each partition to one worker. See `docs/topics.md`.
//! - [`Worker::idempotent`] keeps effects to one, by [`Marks`] on any backend or, with the feature
//!   `postgres`, in the transaction of the effect; that one has an outbox, too.
//! - Beside them: [`Reader`] replays and follows, [`DeadLetters`] lists and redrives, [`Channel`]
//!   and [`Cache`] are what stands beside a queue, [`Producer::request`] waits for an answer,
//!   [`Scheduled`] can be cancelled, [`Janitor`] trims; [`testing`] has a broker with a paused
//!   clock.
//!
//! # Guarantees
//! - An event is handled at least once: it ends as acknowledged or as a dead letter, also when
//!   workers die. Handlers have to be idempotent; the id of the entry is the key for that.
//! - No more is read than can be handled; every queue here has a bound.
//! - A failure is retried after a rest that the server keeps, not a task that sleeps; the
//!   exception is [`Worker::ordered_by_key`], where those behind it have to wait anyway.
//! - At a shutdown, what runs is finished and what was not begun is given back.
//!
//! # Limits
//! Where a server has no leases (Redis, Valkey) the toolkit keeps them from the client side: see
//! [`Capabilities::emulated`]. If a group vanishes it is made again and begins with the oldest
//! entry. A program built with `panic = "abort"` cannot catch the panic of a handler.
//!
//! # What it is not
//! No exactly-once delivery: effects can happen once, deliveries cannot. No workflow engine, no
//! scheduler of its own, no payloads but JSON.
#![deny(missing_docs)]

pub mod backend;
mod broker;
mod buffer;
mod cache;
mod capabilities;
mod channel;
mod control;
mod dead_letter;
mod delivery;
mod durability;
pub mod error;
pub mod event;
mod extensions;
pub mod handler;
pub mod idempotency;
mod janitor;
mod message;
mod names;
mod outcome;
#[cfg(feature = "postgres")]
pub mod postgres;
mod producer;
mod random;
mod reader;
mod request;
mod retry;
mod schedule;
#[cfg(unix)]
mod signals;
mod telemetry;
#[cfg(feature = "embedded")]
pub mod testing;
mod topic;
mod trace;
mod worker;

#[cfg(feature = "redis")]
pub use self::broker::client;
pub use self::broker::{Broker, connect};
pub use self::buffer::{BUFFER_BYTES_MAX, BUFFER_EVENTS_MAX, BufferStats, Shed};
pub use self::cache::Cache;
pub use self::capabilities::Capabilities;
pub use self::channel::{Channel, Listening};
pub use self::control::Control;
pub use self::dead_letter::{DeadLetter, DeadLetters};
pub use self::delivery::{Delivery, Lease};
pub use self::durability::Durability;
pub use self::error::{Error, Result};
pub use self::event::Event;
pub use self::extensions::Extensions;
pub use self::handler::{Attempt, Batch, Headers, Id, Msg, State};
pub use self::idempotency::Marks;
pub use self::janitor::{Janitor, Report};
pub use self::message::{Entry, Fields, MessageId};
pub use self::outcome::{BatchOutcome, Fault, Outcome};
pub use self::producer::Producer;
pub use self::reader::Reader;
pub use self::request::Replies;
pub use self::retry::Retry;
pub use self::schedule::Scheduled;
#[cfg(unix)]
pub use self::signals::terminated;
pub use self::topic::{PARTITIONS_MAX, Topic};
pub use self::trace::TraceContext;
pub use self::worker::{CONCURRENCY_MAX, Drained, Route, Worker};
