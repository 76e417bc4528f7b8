//! Replies, read back: for tests, transcripts, benches and command line tools.
//!
//! Parses one whole reply of either dialect into a tree. Incomplete input is not an error, but the
//! next call starts over: fine for replies of ordinary size, wrong for a fast client.
//! Memory grows with the values received (some 32 bytes for each, which cost the sender at least
//! 3), never with an announced length. Attributes and streamed types are refused.

use std::fmt;

use memchr::memchr;

use crate::number;

/// Aggregates may stand inside each other this many times; a deeper reply is refused.
pub const DEPTH_MAX: usize = 32;
/// Bytes of a line: a status, an error, a number or a header.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a byte string.
pub const BULK_BYTES_MAX: usize = 512 << 20;
/// Values of an array, set or push, pairs of a map.
pub const VALUES_MAX: usize = i32::MAX as usize;

/// One value as a server sent it.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `+`, a status.
    Simple(Vec<u8>),
    /// `-` or the RESP3 long form `!`: the code and the text.
    Error(Vec<u8>),
    /// `:`, a 64-bit integer.
    Integer(i64),
    /// `$`, a byte string.
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`, the absent value.
    Null,
    /// `*`, values in order.
    Array(Vec<Reply>),
    /// `%`, pairs in the order sent.
    Map(Vec<(Reply, Reply)>),
    /// `~`, values in the order sent.
    Set(Vec<Reply>),
    /// `>`, a message that was not asked for.
    Push(Vec<Reply>),
    /// `,`, a floating point number.
    Double(f64),
    /// `#`, a truth value.
    Boolean(bool),
    /// `=`, text with its format.
    Verbatim {
        /// Three letters: `txt` or `mkd`.
        format: [u8; 3],
        /// The text behind the format.
        text: Vec<u8>,
    },
    /// `(`, an integer beyond 64 bits: its digits with an optional minus.
    BigNumber(Vec<u8>),
}

/// Why bytes are no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyError {
    /// No value starts with this byte.
    UnknownType(u8),
    /// The content of a line does not fit its type: a length, a number or a truth value.
    InvalidLine,
    /// A line end or the end of a byte string is not CR LF.
    MissingEnd,
    /// Longer than the limits of this module.
    TooBig,
    /// More than [`DEPTH_MAX`] aggregates inside each other.
    TooDeep,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType(byte) => {
                write!(f, "no reply starts with '{}'", byte.escape_ascii())
            }
            Self::InvalidLine => f.write_str("the line does not fit the type of the reply"),
            Self::MissingEnd => f.write_str("CR LF is missing where the value ends"),
            Self::TooBig => f.write_str("the reply is longer than allowed"),
            Self::TooDeep => write!(f, "more than {DEPTH_MAX} aggregates inside each other"),
        }
    }
}

impl std::error::Error for ReplyError {}

impl Reply {
    /// Parses the reply at the head of `input`: the value and its length in bytes, or `None` if
    /// it is not complete. Bytes behind it are not looked at.
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, ReplyError> {
        let mut cursor = Cursor { rest: input };
        match cursor.value(0) {
            Ok(reply) => Ok(Some((reply, input.len() - cursor.rest.len()))),
            Err(Stop::Incomplete) => Ok(None),
            Err(Stop::Error(error)) => Err(error),
        }
    }
}

/// What is not parsed yet.
struct Cursor<'a> {
    rest: &'a [u8],
}

/// Why there is no value.
enum Stop {
    Incomplete,
    Error(ReplyError),
}

impl From<ReplyError> for Stop {
    fn from(error: ReplyError) -> Self {
        Self::Error(error)
    }
}

impl<'a> Cursor<'a> {
    /// Takes one value that stands inside `depth` aggregates.
    fn value(&mut self, depth: usize) -> Result<Reply, Stop> {
        let mark = *self.rest.first().ok_or(Stop::Incomplete)?;
        if !b"+-:$*_%~>,#=(!".contains(&mark) {
            return Err(ReplyError::UnknownType(mark).into());
        }
        let line = self.line()?;
        Ok(match mark {
            b'+' => Reply::Simple(line.to_vec()),
            b'-' => Reply::Error(line.to_vec()),
            b':' => Reply::Integer(number::integer(line).ok_or(ReplyError::InvalidLine)?),
            b'$' | b'*' if line == b"-1" => Reply::Null,
            b'_' if line.is_empty() => Reply::Null,
            b'$' => Reply::Bulk(self.bulk(line)?.to_vec()),
            b'!' => Reply::Error(self.bulk(line)?.to_vec()),
            b'=' => verbatim(self.bulk(line)?)?,
            b'*' => Reply::Array(self.values(line, depth)?),
            b'~' => Reply::Set(self.values(line, depth)?),
            b'>' => Reply::Push(self.values(line, depth)?),
            b'%' => Reply::Map(self.pairs(line, depth)?),
            b',' => Reply::Double(double(line)?),
            b'#' if line == b"t" => Reply::Boolean(true),
            b'#' if line == b"f" => Reply::Boolean(false),
            b'(' if is_digits(line) => Reply::BigNumber(line.to_vec()),
            _ => return Err(ReplyError::InvalidLine.into()),
        })
    }

    /// Takes the mark and the rest of its line.
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let window = self.rest.get(..=LINE_BYTES_MAX).unwrap_or(self.rest);
        let Some(end) = memchr(b'\n', window) else {
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(ReplyError::TooBig.into());
            }
            return Err(Stop::Incomplete);
        };
        match self.take(end + 1)? {
            [_, line @ .., b'\r', b'\n'] => Ok(line),
            _ => Err(ReplyError::MissingEnd.into()),
        }
    }

    /// Takes the byte string whose length is in `header`.
    fn bulk(&mut self, header: &[u8]) -> Result<&'a [u8], Stop> {
        let length = length(header, BULK_BYTES_MAX)?;
        match self.take(length + 2)? {
            [bytes @ .., b'\r', b'\n'] => Ok(bytes),
            _ => Err(ReplyError::MissingEnd.into()),
        }
    }

    /// Takes as many values as `header` says.
    fn values(&mut self, header: &[u8], depth: usize) -> Result<Vec<Reply>, Stop> {
        let count = nested(header, depth)?;
        // Grows as values arrive: the count is only a claim.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth + 1)?);
        }
        Ok(values)
    }

    /// Takes as many pairs as `header` says.
    fn pairs(&mut self, header: &[u8], depth: usize) -> Result<Vec<(Reply, Reply)>, Stop> {
        let count = nested(header, depth)?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((self.value(depth + 1)?, self.value(depth + 1)?));
        }
        Ok(pairs)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Stop> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Stop::Incomplete)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// The length in `header`, if it is at most `max`.
fn length(header: &[u8], max: usize) -> Result<usize, ReplyError> {
    let length = number::integer(header).ok_or(ReplyError::InvalidLine)?;
    let length = usize::try_from(length).map_err(|_| ReplyError::InvalidLine)?;
    if length > max { Err(ReplyError::TooBig) } else { Ok(length) }
}

/// The count of an aggregate inside `depth` others.
fn nested(header: &[u8], depth: usize) -> Result<usize, ReplyError> {
    if depth >= DEPTH_MAX {
        return Err(ReplyError::TooDeep);
    }
    length(header, VALUES_MAX)
}

fn verbatim(bytes: &[u8]) -> Result<Reply, ReplyError> {
    match bytes {
        [a, b, c, b':', text @ ..] => {
            Ok(Reply::Verbatim { format: [*a, *b, *c], text: text.to_vec() })
        }
        _ => Err(ReplyError::InvalidLine),
    }
}

fn double(line: &[u8]) -> Result<f64, ReplyError> {
    // Rust's parser also knows words such as `infinity`; on the wire there are three.
    let is_word = line.iter().any(u8::is_ascii_alphabetic)
        && !line.iter().any(u8::is_ascii_digit)
        && ![&b"inf"[..], b"-inf", b"nan"].contains(&line);
    if is_word {
        return Err(ReplyError::InvalidLine);
    }
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(ReplyError::InvalidLine)
}

fn is_digits(line: &[u8]) -> bool {
    let digits = line.strip_prefix(b"-").unwrap_or(line);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests;
