//! How Redis keeps it: a codec of the RDB format, for strings and streams.
//!
//! [`decode`] reads a payload of DUMP; [`File`] reads a whole RDB file of any length in bounded
//! memory, and names the keys of types that we do not have; [`StreamWriter`] and [`encode_text`]
//! write payloads that Redis accepts.
//!
//! ```
//! use levada_rdb::{Id, StreamIds, StreamWriter, Value};
//!
//! let mut writer = StreamWriter::new(levada_rdb::VERSION);
//! writer.push(Id::new(5, 1), &[("name", "value")]);
//! let ids = StreamIds { last_id: Id::new(5, 1), entries_added: 1, ..StreamIds::default() };
//! let payload = writer.finish(&ids, &[], None);
//!
//! let Value::Stream(stream) = levada_rdb::decode(&payload, 1 << 20)? else { panic!("a stream") };
//! for node in &stream.nodes {
//!     for entry in node.entries() {
//!         assert_eq!((entry.id, &*entry.fields[0].1), (Id::new(5, 1), &b"value"[..]));
//!     }
//! }
//! # Ok::<(), levada_rdb::Error>(())
//! ```
//!
//! A file is an iterator. A stream in it is one value but comes in parts, so that it may be larger
//! than memory; parts of one stream belong to the last [`Item::StreamBegin`].
//!
//! ```
//! use levada_rdb::{File, Item};
//!
//! # let file: &[u8] = b"REDIS0013\xFE\x00\x00\x01k\x05value\xFF\0\0\0\0\0\0\0\0";
//! let mut skipped = Vec::new();
//! for item in File::open(file)? {
//!     match item? {
//!         Item::Text(key, value) => println!("SET {:?} {value:?}", key.name),
//!         Item::Unsupported(key, kind) => skipped.push((key, kind)),
//!         Item::StreamBegin(key) => println!("{:?} in {}", key.name, key.database),
//!         Item::Entries(node) => {
//!             for entry in node.entries() {
//!                 println!("XADD {}-{} {:?}", entry.id.ms, entry.id.seq, entry.fields);
//!             }
//!         }
//!         Item::Ids(ids) => println!("XSETID {ids:?}"),
//!         Item::Group(group) => println!("XGROUP CREATE {:?}, XCLAIM ...", group.name),
//!         Item::StreamEnd(idmp) => println!("XCFGSET {idmp:?}"),
//!     }
//! }
//! # Ok::<(), levada_rdb::Error>(())
//! ```
//!
//! # Guarantees
//!
//! - What is answered was checked: listpacks to their last byte, that ids increase, that counters
//!   fit the entries, that every pending entry has one consumer, that nothing follows. This is what
//!   Redis checks with `sanitize-dump-payload yes`, and more.
//! - Any bytes are read or refused; there is no panic, and no memory is set aside for a length that
//!   was only announced (1 MiB for a string of a file).
//! - What is written is accepted by Redis 5.0 and later, for the RDB version that is asked for.
//!
//! # Limits
//!
//! - A payload unpacks to no more bytes than its reader is told, and no string of a file is longer
//!   than 512 MiB unless told otherwise.
//! - Memory: a payload takes about its own size, pending entries 40 bytes each. A file takes 64 KiB
//!   and the item at hand: a string, a node (mostly 4 KiB), or a group.
//!
//! # What it is not
//!
//! It knows no key space, no clock, no socket. It does not unpack lists, sets, hashes, sorted sets
//! and values of modules, only passes over them. It packs nothing: payloads are plain, and longer
//! than those that Redis writes.

#![deny(missing_docs)]

mod checksum;
mod encode;
mod error;
mod file;
mod kinds;
mod listpack;
mod lzf;
mod model;
mod node;
mod number;
mod payload;
pub mod property;
mod source;
mod stream;

pub use encode::{StreamWriter, encode_text};
pub use error::{Error, Result};
pub use file::{File, FileKey, Item, STRING_BYTES_MAX};
pub use model::{Consumer, Group, Id, Idmp, Pending, Producer, StreamDump, StreamIds, Value};
pub use node::{Entry, Node};
pub use number::Text;
pub use payload::{VERSION, decode};
