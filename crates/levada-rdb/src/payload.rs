//! What DUMP answers and RESTORE takes: one value.
//!
//! ```text
//! u8      type
//! ...     value; see `stream`, `kinds`, and `source` for strings
//! u16 le  RDB version of the writer
//! u64 le  checksum of all before; 0 where there is none
//! ```
//!
//! Source: `cluster.c` of Redis 8.6.3.

use crate::{
    checksum,
    error::{Error, Result},
    kinds,
    model::{StreamDump, Value},
    source::{Slice, Source},
    stream::{Part, Parts, kind},
};

/// The latest RDB version that is understood: that of Redis 8.6.
pub const VERSION: u16 = 13;
/// Bytes of version and checksum.
const TRAILER_BYTES: usize = 10;

/// Reads a payload. All lengths in it are checked against what is there, and what is packed may
/// unpack to `unpack_bytes_max` bytes in all; the value takes about as much memory as the payload
/// and what is unpacked, pending entries twice.
///
/// Fails with [`Error::Trailer`] where version or checksum are wrong, with others where the value
/// is.
pub fn decode(payload: &[u8], unpack_bytes_max: u64) -> Result<Value> {
    let body = check_trailer(payload)?;
    let mut source = Slice::new(body, unpack_bytes_max);
    let value = match source.u8()? {
        0 => Value::Text(source.string()?),
        kind if kind::is_stream(kind) => Value::Stream(stream(&mut source, kind)?),
        kind => Value::Unsupported(kinds::skip(&mut source, kind)?),
    };
    if !source.is_at_end() {
        return Err(Error::Corrupt("there is something behind the value"));
    }
    Ok(value)
}

/// The payload without its trailer, which has to be right.
fn check_trailer(payload: &[u8]) -> Result<&[u8]> {
    let (body, trailer) = payload
        .len()
        .checked_sub(TRAILER_BYTES)
        .and_then(|at| payload.split_at_checked(at))
        .ok_or(Error::Trailer)?;
    let (version, sum) = trailer.split_at(2);
    let version = u16::from_le_bytes([version[0], version[1]]);
    let mut expected = [0; 8];
    expected.copy_from_slice(sum);
    let expected = u64::from_le_bytes(expected);
    let summed = &payload[..payload.len() - 8];
    if version > VERSION || (expected != 0 && expected != checksum::of(summed)) {
        return Err(Error::Trailer);
    }
    Ok(body)
}

fn stream(source: &mut Slice<'_>, kind: u8) -> Result<StreamDump> {
    let mut parts = Parts::new(kind);
    let mut stream = StreamDump::default();
    loop {
        match parts.next(source)? {
            Part::Node(node) => stream.nodes.push(node),
            Part::Ids(ids) => stream.ids = ids,
            Part::Group(group) => stream.groups.push(group),
            Part::End(idmp) => {
                stream.idmp = idmp;
                return Ok(stream);
            }
        }
    }
}
