//! Transcripts: golden text of requests and exact replies, run against a live server.
//!
//! They exist so that expectations are recorded, not believed: the same file runs against Levada
//! and, unchanged, against a real Redis. The notation is described in
//! `tests/transcripts/README.md`. The layers, from text to socket:
//!
//! * `script` splits a file into sections and steps;
//! * `words` splits a request line the way `redis-cli` does;
//! * `pattern` reads the notation of a reply and matches it; `render` writes that notation;
//! * `reply` reads RESP2 and RESP3 from a byte stream; `connection` is one socket of it;
//! * `runner` plays sections, `record` fills in the replies that a file does not have yet.
//!
//! Nothing sleeps in order to synchronise: a blocked client is one that `INFO clients` counts.

pub(crate) mod connection;
mod pattern;
mod record;
pub(crate) mod render;
pub(crate) mod reply;
mod runner;
mod script;
pub(crate) mod words;

pub use runner::{Options, Summary, Target, run};
