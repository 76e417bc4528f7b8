//! How it is spoken: an incremental, sans-io RESP2 and RESP3 codec for servers.
//!
//! The server hands in the bytes that it has and gets back byte ranges, one per argument; it owns
//! the buffers and the sockets. Replies are appended to a plain `Vec<u8>`.
//!
//! ```
//! use levada_resp::{Decoder, Limits, Progress, Protocol, Writer};
//!
//! let mut decoder = Decoder::new(Limits::authenticated());
//! let mut args = Vec::new();
//! let input = b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n*1\r\n$4\r\nPI";
//!
//! let progress = decoder.decode(input, &mut args)?;
//! assert_eq!(progress, Progress::Request { consumed: 22 });
//! assert_eq!(&input[args[0].clone()], b"ECHO");
//!
//! let mut out = Vec::new();
//! Writer::new(&mut out, Protocol::Resp2).bulk(&input[args[1].clone()]);
//! assert_eq!(out, b"$2\r\nhi\r\n");
//!
//! // The second request waits for "NG\r\n".
//! assert_eq!(decoder.decode(&input[22..], &mut args)?, Progress::Incomplete { want: 4 });
//! # Ok::<(), levada_resp::ProtocolError>(())
//! ```
//!
//! # Guarantees
//!
//! - What a stream of bytes means does not depend on how it was cut into reads, errors included.
//! - The work over all calls is linear in the bytes received: a partial request is resumed, never
//!   scanned again.
//! - Memory follows the bytes received, never a length that was only announced. A request costs
//!   no allocation once the caller's vector of ranges has grown to its size.
//! - Requests are accepted and refused as `redis-server` 7.0.15 does, with its texts, except where
//!   [`decode`] says otherwise. Replies need no knowledge of the client beyond [`Protocol`].
//!
//! # Limits
//!
//! [`Limits`] bounds arguments, bytes per argument, lines and bytes per request. Replies are
//! parsed to a depth of [`reply::DEPTH_MAX`].
//!
//! # What it is not
//!
//! It is not a client: [`Reply`] parses whole replies for tests and tools and starts over when
//! more bytes arrive. It knows no command, no socket, no clock; it writes no attributes and no
//! streamed strings or aggregates.

#![deny(missing_docs)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod decode;
pub mod encode;
mod error;
mod inline;
mod limits;
mod number;
pub mod property;
pub mod reply;

pub use decode::{Decoder, Progress, peek};
pub use encode::{Protocol, Writer};
pub use error::ProtocolError;
pub use limits::Limits;
pub use reply::{Reply, ReplyError};
