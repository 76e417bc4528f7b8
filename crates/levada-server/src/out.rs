//! What a connection still has to send, in order.
//!
//! ```text
//! buffer   [ sent | may leave | must wait for the log ........ ]
//! marks           ^ end, release   ^ end, release
//! pieces   entries not yet written, and the bytes between and behind them
//! ```
//!
//! Invariants: bytes leave in order; bytes below a mark leave only when the log has reached the
//! mark's release; while there are pieces the connection runs no further command, so that all of
//! them belong to one request. At most about [`BUFFERED_BYTES_MAX`] are written ahead: a reply may
//! be longer than memory.

use std::collections::VecDeque;
use std::io::{self, Write};

use levada_core::reply::Entries;
use levada_resp::{Protocol, Writer};

use crate::engine::{Lsn, Wait};
use crate::entries::{Cursor, Drawn, Source};
use crate::wire_error::WireError;

/// Bytes above which a connection's pieces and further commands wait for the socket.
pub(crate) const BUFFERED_BYTES_MAX: usize = 1 << 20;
/// The same for the replies inside EXEC: what one command shows must not be lost to the next one.
const AHEAD_BYTES_MAX: usize = 32 << 20;

/// Bytes that may wait for a connection that listens or looks on, behind which it is let go: Redis'
/// `client-output-buffer-limit pubsub 32mb`.
pub(crate) const QUEUED_BYTES_MAX: usize = 32 << 20;

/// How far the log must be before something leaves.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Release {
    written: Lsn,
    durable: Lsn,
}

impl Release {
    /// The stricter of two.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { written: self.written.max(other.written), durable: self.durable.max(other.durable) }
    }

    fn is_met(self, reached: Self) -> bool {
        self.written <= reached.written && self.durable <= reached.durable
    }

    /// What is reached when the log is written and durable up to here.
    pub(crate) fn reached(written: Lsn, durable: Lsn) -> Self {
        Self { written, durable }
    }
}

impl From<Wait> for Release {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Nothing => Self::default(),
            Wait::Written(written) => Self { written, durable: 0 },
            Wait::Durable(durable) => Self { written: 0, durable },
        }
    }
}

/// Bytes up to `end` leave when `release` is met.
#[derive(Clone, Copy, Debug)]
struct Mark {
    end: u64,
    release: Release,
}

/// What is not yet in the buffer.
#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    /// `reply_start` is where their reply begins, if an error may take its place.
    Entries {
        cursor: Cursor,
        reply_start: Option<u64>,
    },
}

/// How far [`Out::draw`] came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// Nothing is left to be drawn.
    Done,
    /// The buffer is full: go on when the socket has taken some.
    Full,
    /// A block is being read: go on at the engine's word.
    Reading,
    /// The rest cannot be written any more: close the connection.
    Broken,
}

/// See the module.
#[derive(Default, Debug)]
pub(crate) struct Out {
    buffer: Vec<u8>,
    sent: usize,
    /// Position of `buffer[0]` in all that the connection ever wrote.
    base: u64,
    marks: VecDeque<Mark>,
    pieces: VecDeque<Piece>,
    pieces_release: Release,
}

impl Out {
    /// Whether there is nothing left to send or to draw.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.buffer.len() && self.pieces.is_empty()
    }

    /// Whether entries are still to be drawn.
    pub(crate) fn is_drawing(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Bytes written and not sent.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// Bytes written and not sent, and those that stand behind entries to be drawn.
    pub(crate) fn queued_bytes(&self) -> usize {
        let behind = self.pieces.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Entries { .. } => 0,
        });
        self.len() + behind.sum::<usize>()
    }

    /// Bytes of memory that are taken for it.
    pub(crate) fn memory_bytes(&self) -> usize {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.capacity(),
            Piece::Entries { .. } => 0,
        });
        self.buffer.capacity() + pieces.sum::<usize>()
    }

    /// Whether the socket should take some before more is written.
    pub(crate) fn is_full(&self) -> bool {
        self.len() > BUFFERED_BYTES_MAX
    }

    /// Where the next byte will stand.
    pub(crate) fn position(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    /// Where bytes of the current reply go: behind the last entries that wait to be drawn.
    pub(crate) fn target(&mut self) -> &mut Vec<u8> {
        if self.pieces.is_empty() {
            return &mut self.buffer;
        }
        if !matches!(self.pieces.back(), Some(Piece::Bytes(_))) {
            self.pieces.push_back(Piece::Bytes(Vec::new()));
        }
        match self.pieces.back_mut() {
            Some(Piece::Bytes(bytes)) => bytes,
            _ => unreachable!("bytes were just put there"),
        }
    }

    /// Queues the entries of a reply that begins at `reply_start`, without their array header.
    pub(crate) fn push_entries(&mut self, entries: Entries, reply_start: Option<u64>) {
        if entries.count > 0 {
            let cursor = Cursor::new(entries);
            self.pieces.push_back(Piece::Entries { cursor, reply_start });
        }
    }

    /// Ends a reply: all of it leaves when `release` is met.
    pub(crate) fn mark(&mut self, release: Release) {
        let end = self.position();
        if self.is_drawing() {
            self.pieces_release = self.pieces_release.and(release);
        }
        match self.marks.back_mut() {
            Some(last) if last.release == release => last.end = end,
            _ => self.marks.push_back(Mark { end, release }),
        }
    }

    /// Takes back what was written from `start` on, drawn or not: a reply that nobody wants.
    pub(crate) fn discard_from(&mut self, start: u64) {
        self.pieces.clear();
        self.pieces_release = Release::default();
        let keep = usize::try_from(start.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.buffer.truncate(keep.max(self.sent));
        let end = self.position();
        while self.marks.back().is_some_and(|mark| mark.end > end) {
            let mark = self.marks.pop_back();
            let below = self.marks.back().map_or(self.base, |mark| mark.end);
            if let Some(mark) = mark.filter(|_| below < end) {
                self.marks.push_back(Mark { end, ..mark });
            }
        }
    }

    /// Writes entries into the buffer until it is full or a block is missing.
    pub(crate) fn draw(&mut self, protocol: Protocol, source: &mut dyn Source) -> Progress {
        let release = self.pieces_release;
        let progress = self.draw_up_to(BUFFERED_BYTES_MAX, protocol, source);
        self.mark_drawn(release);
        if progress == Progress::Done {
            self.pieces_release = Release::default();
        }
        progress
    }

    /// Writes entries of a reply that is not marked yet, inside EXEC: what the next command removes
    /// is in the buffer by then. What is longer, or cannot be read, is left to [`Out::draw`].
    pub(crate) fn draw_ahead(&mut self, protocol: Protocol, source: &mut dyn Source) {
        self.draw_up_to(AHEAD_BYTES_MAX, protocol, source);
    }

    fn draw_up_to(
        &mut self,
        bytes_max: usize,
        protocol: Protocol,
        source: &mut dyn Source,
    ) -> Progress {
        loop {
            if self.len() > bytes_max {
                return Progress::Full;
            }
            match self.pieces.front_mut() {
                None => return Progress::Done,
                Some(Piece::Bytes(bytes)) => {
                    self.buffer.append(bytes);
                    self.pieces.pop_front();
                }
                Some(Piece::Entries { cursor, reply_start }) => {
                    let reply_start = *reply_start;
                    match cursor.draw(&mut self.buffer, protocol, bytes_max, source) {
                        Drawn::All => drop(self.pieces.pop_front()),
                        Drawn::Some => {}
                        Drawn::Reading => return Progress::Reading,
                        Drawn::Gone => return Progress::Broken,
                        Drawn::Corrupt(first, last) => {
                            let error = WireError::Corrupt(first, last);
                            if !self.replace_reply(reply_start, protocol, &error) {
                                return Progress::Broken;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Marks what was drawn since the last mark.
    fn mark_drawn(&mut self, release: Release) {
        let end = self.position();
        match self.marks.back_mut() {
            Some(last) if last.release == release => last.end = end,
            _ => self.marks.push_back(Mark { end, release }),
        }
    }

    /// Puts an error in the place of a reply of which nothing has left; whether that was so.
    fn replace_reply(&mut self, start: Option<u64>, protocol: Protocol, error: &WireError) -> bool {
        let unsent = |start: &u64| *start >= self.base + self.sent as u64;
        let Some(start) = start.filter(unsent) else {
            return false;
        };
        self.discard_from(start);
        Writer::new(&mut self.buffer, protocol).error(error.text());
        true
    }

    /// Sends what may leave. Whether the socket took all of it.
    pub(crate) fn send(&mut self, to: &mut impl Write, reached: Release) -> io::Result<bool> {
        let end = self.releasable(reached);
        let mut drained = true;
        while self.sent < end && drained {
            match to.write(&self.buffer[self.sent..end]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => drained = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.forget_sent();
        Ok(drained)
    }

    /// Lets go of what was sent, whole or a large part, so that a long reply to a slow reader takes
    /// no more memory than its unsent bytes.
    fn forget_sent(&mut self) {
        if self.sent == self.buffer.len() {
            self.base += self.sent as u64;
            self.buffer.clear();
            self.sent = 0;
            self.marks.clear();
        } else if self.sent > BUFFERED_BYTES_MAX {
            self.base += self.sent as u64;
            self.buffer.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Up to where the buffer may leave.
    fn releasable(&mut self, reached: Release) -> usize {
        let mut end = self.base + self.sent as u64;
        while let Some(mark) = self.marks.front() {
            if !mark.release.is_met(reached) {
                break;
            }
            end = mark.end.max(end);
            self.marks.pop_front();
        }
        let end = usize::try_from(end - self.base).expect("it stands in the buffer");
        if end > self.sent {
            // What has left its mark behind and was not sent yet must be found again.
            self.marks
                .push_front(Mark { end: self.base + end as u64, release: Release::default() });
        }
        end
    }

    /// What the first bytes that may not leave wait for; `None` where nothing waits.
    pub(crate) fn waits_for(&self, reached: Release) -> Option<Release> {
        let first = self.marks.iter().find(|mark| mark.end > self.base + self.sent as u64)?;
        (!first.release.is_met(reached)).then_some(first.release)
    }

    /// Gives the empty buffer away, for others to use.
    pub(crate) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        let idle = self.is_empty() && self.buffer.capacity() > 0;
        idle.then(|| std::mem::take(&mut self.buffer))
    }

    /// Takes a buffer to write into, where it has none.
    pub(crate) fn lend_buffer(&mut self, pool: &mut Vec<Vec<u8>>) {
        if self.buffer.capacity() == 0 {
            self.buffer = pool.pop().unwrap_or_default();
        }
    }
}

/// Parts of a [`Release`] for ordering.
impl Release {
    /// The position that must be durable.
    pub(crate) fn durable(self) -> Lsn {
        self.durable
    }

    /// The position that must be written.
    pub(crate) fn written(self) -> Lsn {
        self.written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durable(lsn: Lsn) -> Release {
        Wait::Durable(lsn).into()
    }

    fn sent(out: &mut Out, lsn: Lsn) -> String {
        let mut bytes = Vec::new();
        out.send(&mut bytes, Release::reached(lsn, lsn)).expect("a vector takes all");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn replies_leave_in_order_when_they_are_durable() {
        let mut out = Out::default();
        for (text, release) in
            [("a", durable(0)), ("b", durable(5)), ("c", durable(0)), ("d", durable(7))]
        {
            out.target().extend_from_slice(text.as_bytes());
            out.mark(release);
        }
        assert_eq!(sent(&mut out, 4), "a");
        assert_eq!(out.waits_for(Release::reached(4, 4)), Some(durable(5)));
        assert_eq!(sent(&mut out, 5), "bc");
        assert_eq!(sent(&mut out, 6), "");
        assert_eq!(sent(&mut out, 7), "d");
        assert!(out.is_empty());
    }

    /// Takes one byte, then blocks.
    struct Narrow(Vec<u8>, bool);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if !self.1 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.0.extend_from_slice(&bytes[..1]);
            Ok(1)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_socket_loses_nothing() {
        let mut out = Out::default();
        for (text, release) in [("ab", durable(1)), ("cd", durable(2)), ("ef", durable(9))] {
            out.target().extend_from_slice(text.as_bytes());
            out.mark(release);
        }
        let mut to = Narrow(Vec::new(), false);
        for _ in 0..20 {
            out.send(&mut to, Release::reached(2, 2)).expect("blocks at worst");
        }
        assert_eq!(to.0, b"abcd");
        assert_eq!(out.waits_for(Release::reached(2, 2)), Some(durable(9)));
        for _ in 0..20 {
            out.send(&mut to, Release::reached(9, 9)).expect("blocks at worst");
        }
        assert_eq!(to.0, b"abcdef");
    }

    /// Takes so much, then blocks.
    struct Slow(usize);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = std::mem::take(&mut self.0).min(bytes.len());
            if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_reader_of_much_takes_little_memory() {
        let mut out = Out::default();
        for _ in 0..100 {
            while !out.is_full() {
                out.target().extend(std::iter::repeat_n(b'x', 64 << 10));
                out.mark(durable(0));
            }
            let mut to = Slow(BUFFERED_BYTES_MAX / 2);
            out.send(&mut to, Release::reached(1, 1)).expect("blocks at worst");
        }
        assert!(out.buffer.len() < 4 * BUFFERED_BYTES_MAX, "{} bytes", out.buffer.len());
    }

    #[test]
    fn a_discarded_reply_leaves_the_others() {
        let mut out = Out::default();
        out.target().extend_from_slice(b"keep");
        out.mark(durable(1));
        let start = out.position();
        out.target().extend_from_slice(b"drop");
        out.mark(durable(9));
        out.discard_from(start);
        assert_eq!(sent(&mut out, 1), "keep");
        assert!(out.is_empty());
    }
}
