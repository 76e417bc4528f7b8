//! Requests: bytes in, byte ranges out.
//!
//! ```text
//! multibulk   *2\r\n  $4\r\n ECHO \r\n  $2\r\n hi \r\n      count, then length and bytes each
//! inline      ECHO hi\n                                     anything that does not start with *
//! nothing     *0\r\n   *-1\r\n   \r\n   (blanks)\n          ignored without a reply
//! ```
//!
//! Invariants: between two calls `position` is a boundary inside the current request, all before
//! it has been understood and is never looked at again; `left` is zero exactly while the count is
//! not known; the ranges of a partial request wait in `parked`, not with the caller.
//!
//! As in Redis, a line of `*` or `$` ends at CR and *one byte of any value*, an argument is
//! followed by *two bytes of any value*, and an LF alone ends inline requests only.
//!
//! Where this decoder differs from Redis 7.0.15, which lets the size of its reads decide:
//! - a line above the limit is refused even if all of it arrived in one read;
//! - a NUL before the end of a line does not make the request wait for ever;
//! - the limits of [`Limits`] on arguments and bytes are lower than Redis' own.

use std::mem;
use std::ops::Range;

use memchr::memchr;

use crate::{Limits, ProtocolError, inline, number};

/// Ranges for which a caller's vector keeps its memory from one request to the next; 64 KiB.
const ARGS_KEPT: usize = 4096;

/// A line may always be as long as the longest valid header, so that short headers, which are
/// taken without a look at the limit, can never contradict it.
const LINE_BYTES_MIN: usize = 32;

/// What one call of [`Decoder::decode`] found at the head of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// A whole request; its arguments, at least one, are ranges of the input.
    Request {
        /// Bytes of the request, to be dropped from the input once the ranges are done with.
        consumed: usize,
    },
    /// A whole inline request; its arguments, at least one, are ranges of
    /// [`Decoder::inline_bytes`], because quoted words do not stand in the input as they are.
    Inline {
        /// Bytes of the request, to be dropped from the input.
        consumed: usize,
    },
    /// A request without arguments. It gets no reply; the next one may follow at once.
    Empty {
        /// Bytes of the request, to be dropped from the input.
        consumed: usize,
    },
    /// The request is not complete.
    Incomplete {
        /// Bytes still missing for the next step, at least 1: exact for an argument, else 1. It
        /// comes from the client and is at most `Limits::bulk_bytes_max` + 2: a hint for the
        /// size of the next read, no reason to reserve memory.
        want: usize,
    },
}

/// Reads the requests of one connection, in order.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// The words of the last inline request.
    inline: Vec<u8>,
    /// The arguments found so far of a request that is not complete.
    parked: Vec<Range<usize>>,
    /// Arguments still to come; zero until the count is known.
    left: usize,
    /// Bytes of the request that are understood.
    position: usize,
    /// Length of the argument at `position`, once its header is understood.
    bulk: Option<usize>,
    /// Bytes from `position` on in which there is no end of line.
    scanned: usize,
}

/// A line that starts at a known place, as far as it is there.
enum Line {
    /// Its end stands at this offset.
    Whole(usize),
    Partial,
    TooLong,
}

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            inline: Vec::new(),
            parked: Vec::new(),
            left: 0,
            position: 0,
            bulk: None,
            scanned: 0,
        }
    }

    /// Changes the limits, from the next announced length on. Requests sent behind an AUTH are
    /// judged by the limits at the time of their `decode`: run AUTH before decoding on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The limits now in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The words of the last [`Progress::Inline`], for its ranges. Valid until the next `decode`.
    pub fn inline_bytes(&self) -> &[u8] {
        &self.inline
    }

    /// Reads one request from the head of `input`, which must be all unconsumed bytes of the
    /// connection: after [`Progress::Incomplete`] the same bytes come again, with more behind.
    ///
    /// `args` is overwritten, and holds meaning only after `Request` and `Inline`; one vector may
    /// serve many connections. It grows with the arguments received (16 bytes for each, which
    /// cost the client at least 6; doubled while growing), not with those announced.
    ///
    /// After an error the connection must be closed; further calls repeat the error.
    ///
    /// # Panics
    ///
    /// If `input` is shorter than what an earlier call has already understood of this request.
    pub fn decode(
        &mut self,
        input: &[u8],
        args: &mut Vec<Range<usize>>,
    ) -> Result<Progress, ProtocolError> {
        assert!(
            input.len() >= self.position + self.scanned,
            "the input of the last call must come again"
        );
        args.clear();
        if args.capacity() > ARGS_KEPT {
            args.shrink_to(ARGS_KEPT);
        }
        if self.left == 0 {
            match input.first() {
                None => return Ok(Progress::Incomplete { want: 1 }),
                Some(b'*') => {}
                Some(_) => return self.decode_inline(input, args),
            }
            let Some((count, consumed)) = self.count(input)? else {
                return Ok(Progress::Incomplete { want: 1 });
            };
            self.scanned = 0;
            if count == 0 {
                return Ok(Progress::Empty { consumed });
            }
            self.left = count;
            self.position = consumed;
        } else if !self.parked.is_empty() {
            *args = mem::take(&mut self.parked);
        }
        self.decode_args(input, args)
    }

    /// Reads the arguments from `position` on, behind those that are in `args`.
    fn decode_args(
        &mut self,
        input: &[u8],
        args: &mut Vec<Range<usize>>,
    ) -> Result<Progress, ProtocolError> {
        while self.left > 0 {
            let length = match self.bulk {
                Some(length) => length,
                None => match self.header(input)? {
                    Some(length) => length,
                    None => return Ok(self.park(args, 1)),
                },
            };
            // Neither sum can overflow: the length was admitted below `request_bytes_max`.
            let end = self.position + length;
            if input.len() < end + 2 {
                self.bulk = Some(length);
                return Ok(self.park(args, end + 2 - input.len()));
            }
            args.push(self.position..end);
            self.bulk = None;
            self.position = end + 2;
            self.left -= 1;
        }
        Ok(Progress::Request { consumed: mem::take(&mut self.position) })
    }

    /// Puts the arguments of a partial request aside.
    fn park(&mut self, args: &mut Vec<Range<usize>>, want: usize) -> Progress {
        if !args.is_empty() {
            self.parked = mem::take(args);
        }
        Progress::Incomplete { want }
    }

    /// The count of arguments and the length of its line, if the line is complete. Zero and less
    /// is zero.
    fn count(&mut self, input: &[u8]) -> Result<Option<(usize, usize)>, ProtocolError> {
        if let Some((count, consumed)) = short_header(input, b'*') {
            self.limits.admit_count(count)?;
            return Ok(Some((count, consumed)));
        }
        let end = match self.line(input, b'\r') {
            Line::Whole(end) => end,
            Line::Partial => return Ok(None),
            Line::TooLong => return Err(ProtocolError::TooBigMultibulkCount),
        };
        let text = input.get(1..end).unwrap_or_default();
        let count = number::integer(text).ok_or(ProtocolError::InvalidMultibulkLength)?;
        let count = usize::try_from(count).unwrap_or(0);
        self.limits.admit_count(count)?;
        Ok(Some((count, end + 2)))
    }

    /// The length of the argument at `position`, if its header is complete; `position` moves
    /// behind the header.
    fn header(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let tail = input.get(self.position..).expect("the input of the last call comes again");
        if let Some((length, consumed)) = short_header(tail, b'$') {
            self.limits.admit_bulk(self.position + consumed, length)?;
            self.position += consumed;
            self.scanned = 0;
            return Ok(Some(length));
        }
        let end = match self.line(tail, b'\r') {
            Line::Whole(end) => end,
            Line::Partial => return Ok(None),
            Line::TooLong => return Err(ProtocolError::TooBigBulkCount),
        };
        let text = match tail {
            [b'$', text @ ..] => text.get(..end - 1).unwrap_or_default(),
            [got, ..] => return Err(ProtocolError::ExpectedBulk { got: *got }),
            [] => return Ok(None),
        };
        let length = number::integer(text).ok_or(ProtocolError::InvalidBulkLength)?;
        let length = usize::try_from(length).map_err(|_| ProtocolError::InvalidBulkLength)?;
        self.limits.admit_bulk(self.position + end + 2, length)?;
        self.position += end + 2;
        self.scanned = 0;
        Ok(Some(length))
    }

    fn decode_inline(
        &mut self,
        input: &[u8],
        args: &mut Vec<Range<usize>>,
    ) -> Result<Progress, ProtocolError> {
        let end = match self.line(input, b'\n') {
            Line::Whole(end) => end,
            Line::Partial => return Ok(Progress::Incomplete { want: 1 }),
            Line::TooLong => return Err(ProtocolError::TooBigInline),
        };
        let line = input.get(..end).unwrap_or_default();
        self.inline.clear();
        inline::split(line.strip_suffix(b"\r").unwrap_or(line), &mut self.inline, args)?;
        self.scanned = 0;
        let consumed = end + 1;
        if args.is_empty() {
            return Ok(Progress::Empty { consumed });
        }
        Ok(Progress::Inline { consumed })
    }

    /// Finds the end of the line at the head of `tail`. A CR counts once there is a byte behind.
    fn line(&mut self, tail: &[u8], end: u8) -> Line {
        // The window makes the answer independent of how many bytes arrived at once.
        let bytes_max = self.limits.inline_bytes_max.max(LINE_BYTES_MIN);
        let window = tail.get(..=bytes_max).unwrap_or(tail);
        let fresh = window.get(self.scanned..).unwrap_or_default();
        match memchr(end, fresh) {
            Some(offset) => {
                let offset = self.scanned + offset;
                if end == b'\r' && offset + 1 == tail.len() {
                    self.scanned = offset;
                    return Line::Partial;
                }
                Line::Whole(offset)
            }
            None if tail.len() > bytes_max => Line::TooLong,
            None => {
                self.scanned = tail.len();
                Line::Partial
            }
        }
    }
}

/// The second arguments, which of most commands are the key, of the whole requests at the head of
/// `input`, in order; empty where there is none. Ends at the first request that is not whole or
/// not written the short way: it is a look ahead at what [`Decoder::decode`] will find, which alone
/// says what is a request.
pub fn peek(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut input = input;
    std::iter::from_fn(move || {
        let (count, consumed) = short_header(input, b'*')?;
        let mut rest = input.get(consumed..)?;
        let mut second = &[][..];
        for argument in 0..count {
            let (length, consumed) = short_header(rest, b'$')?;
            let end = consumed + length;
            if argument == 1 {
                second = rest.get(consumed..end)?;
            }
            rest = rest.get(end + 2..)?;
        }
        input = rest;
        Some(second)
    })
}

/// The number and the length of a complete header line of one to four digits in the one spelling
/// that Redis accepts. Nearly all are; the others take the long way, which knows the errors.
#[inline]
fn short_header(tail: &[u8], mark: u8) -> Option<(usize, usize)> {
    let digit = |byte: &u8| usize::from(byte - b'0');
    let (first, value, consumed) = match tail {
        [first, a @ b'0'..=b'9', b'\r', _, ..] => (first, digit(a), 4),
        [first, a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] => {
            (first, digit(a) * 10 + digit(b), 5)
        }
        [first, a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', _, ..] => {
            (first, digit(a) * 100 + digit(b) * 10 + digit(c), 6)
        }
        [
            first,
            a @ b'1'..=b'9',
            b @ b'0'..=b'9',
            c @ b'0'..=b'9',
            d @ b'0'..=b'9',
            b'\r',
            _,
            ..,
        ] => (first, digit(a) * 1000 + digit(b) * 100 + digit(c) * 10 + digit(d), 7),
        _ => return None,
    };
    (*first == mark).then_some((value, consumed))
}

#[cfg(test)]
mod tests;
