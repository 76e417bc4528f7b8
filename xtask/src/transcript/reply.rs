//! A reply as a client sees it, and the reader that takes it off the wire.
//!
//! The reader accepts both protocol versions at once and keeps every distinction that the wire
//! makes (null bulk, null array and RESP3 null are three values), because transcripts are exact.
//! (`levada_resp::reply` reads all three as one, and wants the whole reply in memory first.)
//! It trusts the peer's sizes only up to [`BULK_BYTES_MAX`] and [`DEPTH_MAX`].

use std::io::{self, BufRead, Read};

/// Longest bulk string that is accepted from a peer, in bytes.
const BULK_BYTES_MAX: u64 = 64 << 20;
/// Deepest nesting that is accepted from a peer.
const DEPTH_MAX: usize = 16;

/// One value of a reply, RESP2 or RESP3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `+text`
    Simple(Vec<u8>),
    /// `-text`
    Error(Vec<u8>),
    /// `:number`
    Integer(i64),
    /// `$n`
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`, RESP3 only
    Null,
    /// `#t` or `#f`, RESP3 only
    Boolean(bool),
    /// `,number`, RESP3 only, kept as text
    Double(Vec<u8>),
    /// `=n` with its three-letter format, RESP3 only
    Verbatim(Vec<u8>),
    /// `*n`
    Array(Vec<Reply>),
    /// `~n`, RESP3 only
    Set(Vec<Reply>),
    /// `>n`, RESP3 only
    Push(Vec<Reply>),
    /// `%n`, RESP3 only
    Map(Vec<(Reply, Reply)>),
}

impl Reply {
    /// The text of a bulk, verbatim or simple string; `None` for anything else.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(text) | Self::Verbatim(text) | Self::Simple(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is an error whose text begins so.
    pub(crate) fn is_error(&self, start: &str) -> bool {
        matches!(self, Self::Error(text) if text.starts_with(start.as_bytes()))
    }

    /// Reads exactly one reply. End of stream is [`io::ErrorKind::UnexpectedEof`]; bytes that are
    /// no RESP are [`io::ErrorKind::InvalidData`].
    pub(crate) fn read(source: &mut impl BufRead) -> io::Result<Self> {
        read_value(source, 0)
    }
}

fn read_value(source: &mut impl BufRead, depth: usize) -> io::Result<Reply> {
    if depth > DEPTH_MAX {
        return Err(invalid("reply nested too deeply".to_owned()));
    }
    let line = read_line(source)?;
    let (&kind, rest) = line.split_first().ok_or_else(|| invalid("empty line".to_owned()))?;
    Ok(match kind {
        b'+' => Reply::Simple(rest.to_vec()),
        b'-' => Reply::Error(rest.to_vec()),
        b':' => Reply::Integer(number(rest)?),
        b',' => Reply::Double(rest.to_vec()),
        b'#' => Reply::Boolean(rest == b"t"),
        b'_' => Reply::Null,
        b'$' if rest == b"-1" => Reply::NullBulk,
        b'*' if rest == b"-1" => Reply::NullArray,
        b'$' => Reply::Bulk(read_bulk(source, number(rest)?)?),
        b'=' => Reply::Verbatim(read_verbatim(source, number(rest)?)?),
        b'!' => Reply::Error(read_bulk(source, number(rest)?)?),
        b'*' => Reply::Array(read_values(source, number(rest)?, depth)?),
        b'~' => Reply::Set(read_values(source, number(rest)?, depth)?),
        b'>' => Reply::Push(read_values(source, number(rest)?, depth)?),
        b'%' => Reply::Map(read_pairs(source, number(rest)?, depth)?),
        other => {
            return Err(invalid(format!("unknown reply type {:?}", char::from(other))));
        }
    })
}

fn read_values(source: &mut impl BufRead, count: i64, depth: usize) -> io::Result<Vec<Reply>> {
    (0..count).map(|_| read_value(source, depth + 1)).collect()
}

fn read_pairs(
    source: &mut impl BufRead,
    count: i64,
    depth: usize,
) -> io::Result<Vec<(Reply, Reply)>> {
    (0..count)
        .map(|_| Ok((read_value(source, depth + 1)?, read_value(source, depth + 1)?)))
        .collect()
}

fn read_bulk(source: &mut impl BufRead, length: i64) -> io::Result<Vec<u8>> {
    let length = u64::try_from(length).map_err(|_| invalid(format!("bulk of {length} bytes")))?;
    if length > BULK_BYTES_MAX {
        return Err(invalid(format!("bulk of {length} bytes")));
    }
    let mut bytes = Vec::new();
    source.by_ref().take(length + 2).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length + 2 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !bytes.ends_with(b"\r\n") {
        return Err(invalid("bulk does not end where it said".to_owned()));
    }
    bytes.truncate(bytes.len() - 2);
    Ok(bytes)
}

/// The payload of a verbatim string starts with its format and a colon, which are dropped.
fn read_verbatim(source: &mut impl BufRead, length: i64) -> io::Result<Vec<u8>> {
    let bytes = read_bulk(source, length)?;
    match bytes.get(4..) {
        Some(text) if bytes.starts_with(b"txt:") => Ok(text.to_vec()),
        _ => Err(invalid("verbatim string is not of format txt".to_owned())),
    }
}

fn read_line(source: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    source.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !line.ends_with(b"\r\n") {
        return Err(invalid("line does not end in CR LF".to_owned()));
    }
    line.truncate(line.len() - 2);
    Ok(line)
}

fn number(text: &[u8]) -> io::Result<i64> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| invalid(format!("bad number {:?}", String::from_utf8_lossy(text))))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut wire: &[u8], expect: &Reply) {
        assert_eq!(&Reply::read(&mut wire).unwrap(), expect);
        assert!(wire.is_empty(), "the reader left {} bytes", wire.len());
    }

    #[test]
    fn the_three_nulls_are_told_apart() {
        check(b"$-1\r\n", &Reply::NullBulk);
        check(b"*-1\r\n", &Reply::NullArray);
        check(b"_\r\n", &Reply::Null);
    }

    #[test]
    fn aggregates_nest() {
        let inner = Reply::Array(vec![Reply::Integer(-7), Reply::Bulk(b"a\r\nb".to_vec())]);
        check(b"%1\r\n+k\r\n*2\r\n:-7\r\n$4\r\na\r\nb\r\n", &{
            Reply::Map(vec![(Reply::Simple(b"k".to_vec()), inner)])
        });
        check(b"=7\r\ntxt:abc\r\n", &Reply::Verbatim(b"abc".to_vec()));
    }

    #[test]
    fn damage_is_an_error() {
        for wire in [&b"?\r\n"[..], b"$3\r\nabcd\r\n", b":x\r\n", b"+OK\n", b"$5\r\nab", b""] {
            assert!(Reply::read(&mut &wire[..]).is_err(), "{wire:?} was accepted");
        }
    }
}
