//! Who may speak to it: sockets, sessions, the command table.
//!
//! [`run`] serves the Redis protocol on listeners that it is given, from one thread: bytes become
//! requests, requests become commands of the engine, and replies leave when the engine says that
//! what they tell of is durable. It maps RESP onto the engine and decides nothing about data.
//!
//! [`command_table`] is what every list of commands is made from.

mod acl;
mod client_limits;
mod command;
mod config;
mod connection;
mod context;
#[cfg(feature = "debug-shim")]
mod debug_shim;
mod describe_client;
mod dispatch;
mod engine;
mod entries;
mod head_count;
mod http;
mod key_access;
mod log_event;
mod metrics;
#[cfg(feature = "null")]
mod null;
mod number;
mod observe;
mod out;
mod output;
mod policies;
#[doc(hidden)]
pub mod property;
mod read_arguments;
mod registry;
mod saves;
mod server;
mod session;
mod settings;
mod socket;
mod spec;
mod stats;
mod stream_arguments;
mod tls;
mod transaction;
mod usage;
mod values;
mod wire_error;

pub use command::table as command_table;
pub use http::{Pages, serve_pages};
pub use log_event::{LogEvent, LogLevel, LogName, LogValue};
pub use metrics::{Kind as MetricKind, Metric, TABLE as METRICS};
pub use policies::{Fault, Policies};
pub use server::run;
pub use settings::{Moment, Settings};
pub use spec::{Channels, CommandSpec, Groups, Keys, access, category, flag};
pub use tls::{AuthClients, AuthClientsUser, TlsSettings};

/// The version of Redis whose replies these are.
pub const REDIS_VERSION: &str = "8.6.3";
