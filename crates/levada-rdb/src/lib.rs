//! How Redis keeps it: a codec of the RDB format, for strings and streams.
//!
//! [`decode`] reads a payload of DUMP; [`File`] reads a whole RDB file of any length in bounded
//! memory, and names the keys of types that we do not have; [`StreamWriter`] and [`encode_text`]
//! write payloads that Redis accepts.

#![deny(missing_docs)]

mod checksum;
mod error;
mod file;
mod kinds;
mod listpack;
mod lzf;
mod model;
mod node;
mod number;
mod payload;
mod source;
mod stream;

pub use error::{Error, Result};
pub use file::{File, FileKey, Item, STRING_BYTES_MAX};
pub use model::{Consumer, Group, Id, Idmp, Pending, Producer, StreamDump, StreamIds, Value};
pub use node::{Entry, Node};
pub use number::Text;
pub use payload::{VERSION, decode};
