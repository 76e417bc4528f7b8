//! Carries streams and strings from one server to another: `levada import` and `levada export` are
//! two faces of it.
//!
//! `run` goes through the keys, `key` decides what may be done to one, `stream` carries a stream in
//! steps, `writer` writes it so that any step can be cut short, `dump` carries a small one whole,
//! `policy` carries what the server does by itself, `compare` looks at both sides.
//! `source` is what can be read: a server (`live`) or an RDB file (`file`). Below them `pages`,
//! `peer`, `reply`, `id`; beside them `options`, `report`.

mod compare;
mod dump;
mod file;
mod id;
mod key;
mod live;
mod options;
mod pages;
mod peer;
mod policy;
mod reply;
mod report;
mod run;
mod source;
mod stream;
mod writer;

pub(crate) use options::Options;
pub(crate) use report::EXIT_CODES;
pub(crate) use run::{run, run_file};
