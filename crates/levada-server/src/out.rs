//! What a connection still has to send, in order.
//!
//! ```text
//! buffer   [ sent | may leave | must wait for the log ........ ]
//! marks           ^ end, release   ^ end, release
//! pieces   entries and long strings not yet written, and the bytes between and behind them
//! head     a reply that others get too, before all that is in the buffer
//! ```
//!
//! Invariants: bytes leave in order; bytes below a mark leave only when the log has reached the
//! mark's release; while there are pieces the connection runs no further command, so that all of
//! them belong to one request. At most about [`BUFFERED_BYTES_MAX`] are written ahead, and of what
//! is drawn [`DRAWN_BYTES_MAX`]: a reply may be longer than memory.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use levada_core::reply::Entries;
use levada_resp::{Protocol, Writer};

use crate::engine::{ClientId, Lsn, Shard, Wait};
use crate::entries::{Cursor, Drawn, Limit, Source};
use crate::values::{AT_ONCE_BYTES_MAX, Values};
use crate::wire_error::WireError;

/// Bytes above which a connection's pieces and further commands wait for the socket: two turns'
/// worth. Whoever reads gets no less for it, and who does not read costs less of it.
pub(crate) const BUFFERED_BYTES_MAX: usize = 256 << 10;
/// Bytes and entries of a long reply that are written in one turn: others wait for it meanwhile.
const DRAWN_BYTES_MAX: usize = 32 << 10;
const DRAWN_ROWS_MAX: usize = 256;
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
    Values(Values),
}

/// A reply of which only the pointer is this connection's own.
#[derive(Debug)]
struct Head {
    bytes: Arc<[u8]>,
    sent: usize,
}

impl Head {
    fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }
}

/// How far [`Out::draw`] came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// Nothing is left to be drawn.
    Done,
    /// The buffer is full, or enough is written for now: go on when the socket has taken some.
    Full,
    /// A block is being read: go on at the engine's word.
    Reading,
    /// The rest cannot be written any more: close the connection.
    Broken,
}

/// See the module.
#[derive(Default, Debug)]
pub(crate) struct Out {
    head: Option<Head>,
    buffer: Vec<u8>,
    sent: usize,
    /// Position of `buffer[0]` in all that the connection ever wrote.
    base: u64,
    marks: VecDeque<Mark>,
    pieces: VecDeque<Piece>,
    pieces_release: Release,
    /// Whether what the pieces name is held.
    pub(crate) holds: bool,
}

impl Out {
    /// Whether there is nothing left to send or to draw.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0 && self.pieces.is_empty()
    }

    /// Whether entries are still to be drawn.
    pub(crate) fn is_drawing(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Holds what is still to be drawn, whatever the next command removes.
    pub(crate) fn hold(&mut self, shard: &mut Shard, client: ClientId) {
        self.holds = true;
        for piece in &self.pieces {
            if let Piece::Entries { cursor, .. } = piece {
                shard.hold(client, cursor.key(), cursor.blocks());
            }
        }
    }

    /// Whether entries can be drawn: some are left, and the socket took what was drawn before.
    pub(crate) fn may_draw(&self) -> bool {
        self.is_drawing() && self.len() <= DRAWN_BYTES_MAX
    }

    /// Bytes written and not sent.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.sent + self.head.as_ref().map_or(0, |head| head.unsent().len())
    }

    /// The position of the first byte that is not sent.
    fn sent_position(&self) -> u64 {
        match &self.head {
            Some(head) => self.base - head.unsent().len() as u64,
            None => self.base + self.sent as u64,
        }
    }

    /// Bytes written and not sent, and those that stand behind entries to be drawn.
    pub(crate) fn queued_bytes(&self) -> usize {
        let behind = self.pieces.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Entries { .. } | Piece::Values(_) => 0,
        });
        self.len() + behind.sum::<usize>()
    }

    /// Bytes of memory that are taken for it.
    pub(crate) fn memory_bytes(&self) -> usize {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.capacity(),
            // Strings are shared with what holds them.
            Piece::Entries { .. } | Piece::Values(_) => 0,
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

    /// A whole reply that others get too, and which leaves when `release` is met.
    pub(crate) fn push_shared(&mut self, bytes: &Arc<[u8]>, release: Release) {
        if self.is_empty() && self.buffer.is_empty() {
            self.base += bytes.len() as u64;
            self.head = Some(Head { bytes: Arc::clone(bytes), sent: 0 });
        } else {
            self.target().extend_from_slice(bytes);
        }
        self.mark(release);
    }

    /// Strings or nulls, without an array header: at once where that is little, else as the socket
    /// takes them.
    pub(crate) fn push_values(&mut self, values: Vec<Option<Arc<[u8]>>>, protocol: Protocol) {
        let bytes: usize = values.iter().flatten().map(|value| value.len()).sum();
        if bytes > AT_ONCE_BYTES_MAX {
            return self.pieces.push_back(Piece::Values(Values::new(values)));
        }
        let mut writer = Writer::new(self.target(), protocol);
        for value in values {
            match value {
                Some(bytes) => writer.bulk(&bytes),
                None => writer.null(),
            }
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
        let limit = Limit { bytes_max: DRAWN_BYTES_MAX, rows_max: DRAWN_ROWS_MAX };
        let progress = self.draw_up_to(limit, protocol, source);
        self.mark_drawn(release);
        if progress == Progress::Done {
            self.pieces_release = Release::default();
        }
        progress
    }

    /// Writes entries of a reply that is not marked yet, inside EXEC: what the next command removes
    /// is in the buffer by then. What is longer, or cannot be read, is left to [`Out::draw`].
    pub(crate) fn draw_ahead(&mut self, protocol: Protocol, source: &mut dyn Source) {
        let limit = Limit { bytes_max: AHEAD_BYTES_MAX, rows_max: usize::MAX };
        self.draw_up_to(limit, protocol, source);
    }

    fn draw_up_to(
        &mut self,
        limit: Limit,
        protocol: Protocol,
        source: &mut dyn Source,
    ) -> Progress {
        loop {
            if self.len() > limit.bytes_max {
                return Progress::Full;
            }
            // What was sent may still stand in the buffer.
            let end = self.sent + limit.bytes_max;
            match self.pieces.front_mut() {
                None => return Progress::Done,
                Some(Piece::Bytes(bytes)) => {
                    self.buffer.append(bytes);
                    self.pieces.pop_front();
                }
                Some(Piece::Values(values)) => {
                    if values.draw(&mut self.buffer, protocol, end) {
                        self.pieces.pop_front();
                    }
                }
                Some(Piece::Entries { cursor, reply_start }) => {
                    let reply_start = *reply_start;
                    let limit = Limit { bytes_max: end, ..limit };
                    match cursor.draw(&mut self.buffer, protocol, limit, source) {
                        Drawn::All => drop(self.pieces.pop_front()),
                        Drawn::Some => return Progress::Full,
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
        let unsent = |start: &u64| *start >= self.sent_position();
        let Some(start) = start.filter(unsent) else {
            return false;
        };
        self.discard_from(start);
        Writer::new(&mut self.buffer, protocol).error(error.text());
        true
    }

    /// Sends what may leave, and no more than `bytes_max` of what is this connection's alone.
    /// Whether the socket took all of that.
    pub(crate) fn send(
        &mut self,
        to: &mut impl Write,
        reached: Release,
        bytes_max: usize,
    ) -> io::Result<bool> {
        let end = self.releasable(reached);
        let mut drained = true;
        // A head leaves whole or not at all: it is one reply, and marks stand at ends of replies.
        while let Some(head) = self.head.as_mut().filter(|_| end >= self.base && drained) {
            match write_some(to, head.unsent())? {
                Some(count) => head.sent += count,
                None => drained = false,
            }
            if head.unsent().is_empty() {
                self.head = None;
            }
        }
        let end = usize::try_from(end.saturating_sub(self.base)).expect("it stands in the buffer");
        let end = end.min(self.sent.saturating_add(bytes_max));
        while self.sent < end && drained {
            match write_some(to, &self.buffer[self.sent..end])? {
                Some(count) => self.sent += count,
                None => drained = false,
            }
        }
        self.forget_sent();
        Ok(drained)
    }

    /// Lets go of what was sent, whole or a large part, so that a long reply to a slow reader takes
    /// no more memory than its unsent bytes.
    fn forget_sent(&mut self) {
        if self.head.is_some() {
            return;
        }
        if self.sent == self.buffer.len() {
            self.base += self.sent as u64;
            self.buffer.clear();
            self.sent = 0;
            self.marks.clear();
        } else if self.sent > BUFFERED_BYTES_MAX.max(self.buffer.len() / 2) {
            self.base += self.sent as u64;
            self.buffer.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// The position up to which what is here may leave.
    fn releasable(&mut self, reached: Release) -> u64 {
        let start = self.sent_position();
        let mut end = start;
        while let Some(mark) = self.marks.front() {
            if !mark.release.is_met(reached) {
                break;
            }
            end = mark.end.max(end);
            self.marks.pop_front();
        }
        if end > start {
            // What has left its mark behind and was not sent yet must be found again.
            self.marks.push_front(Mark { end, release: Release::default() });
        }
        end
    }

    /// What the first bytes wait for that may not leave: of two positions what is durable, first.
    pub(crate) fn waits_for(&self, reached: Release) -> Wait {
        match self.next_release() {
            Some(Release { durable, .. }) if durable > reached.durable => Wait::Durable(durable),
            Some(Release { written, .. }) if written > reached.written => Wait::Written(written),
            _ => Wait::Nothing,
        }
    }

    /// Whether something is left that may leave.
    pub(crate) fn may_send(&self, reached: Release) -> bool {
        self.next_release().is_some_and(|release| release.is_met(reached))
    }

    /// What the first bytes wait for that are not sent.
    fn next_release(&self) -> Option<Release> {
        let first = self.marks.iter().find(|mark| mark.end > self.sent_position())?;
        Some(first.release)
    }

    /// Gives the empty buffer away, for others to use.
    pub(crate) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        let idle = self.is_empty() && self.buffer.capacity() > 0;
        idle.then(|| std::mem::take(&mut self.buffer))
    }

    /// What is written, whatever it waits for.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Takes a buffer to write into, where it has none.
    pub(crate) fn lend_buffer(&mut self, pool: &mut Vec<Vec<u8>>) {
        if self.buffer.capacity() == 0 {
            self.buffer = pool.pop().unwrap_or_default();
        }
    }
}

/// Writes once; `None` where the socket takes nothing now.
fn write_some(to: &mut impl Write, bytes: &[u8]) -> io::Result<Option<usize>> {
    loop {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
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
    use crate::engine::BlockAccess;

    fn durable(lsn: Lsn) -> Release {
        Wait::Durable(lsn).into()
    }

    /// Replies, and what each waits for.
    fn written(replies: &[(&str, Release)]) -> Out {
        let mut out = Out::default();
        for (text, release) in replies {
            out.target().extend_from_slice(text.as_bytes());
            out.mark(*release);
        }
        out
    }

    fn sent(out: &mut Out, lsn: Lsn) -> String {
        let mut bytes = Vec::new();
        out.send(&mut bytes, Release::reached(lsn, lsn), usize::MAX).expect("a vector takes all");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn replies_leave_in_order_when_they_are_durable() {
        let mut out =
            written(&[("a", durable(0)), ("b", durable(5)), ("c", durable(0)), ("d", durable(7))]);
        assert_eq!(sent(&mut out, 4), "a");
        assert_eq!(out.waits_for(Release::reached(4, 4)), Wait::Durable(5));
        assert_eq!(sent(&mut out, 5), "bc");
        assert_eq!(sent(&mut out, 6), "");
        assert_eq!(sent(&mut out, 7), "d");
        assert!(out.is_empty());
    }

    #[test]
    fn what_may_leave_leaves_in_parts() {
        let mut out = written(&[("abc", durable(1)), ("de", durable(2)), ("f", durable(9))]);
        let reached = Release::reached(2, 2);
        for part in ["ab", "cd", "e"] {
            assert!(out.may_send(reached), "{part}");
            let mut bytes = Vec::new();
            assert!(out.send(&mut bytes, reached, 2).expect("a vector takes all"));
            assert_eq!(String::from_utf8_lossy(&bytes), part);
        }
        assert!(!out.may_send(reached));
        assert_eq!(out.waits_for(reached), Wait::Durable(9));
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
        let mut out = written(&[("ab", durable(1)), ("cd", durable(2)), ("ef", durable(9))]);
        let mut to = Narrow(Vec::new(), false);
        for _ in 0..20 {
            out.send(&mut to, Release::reached(2, 2), usize::MAX).expect("blocks at worst");
        }
        assert_eq!(to.0, b"abcd");
        assert_eq!(out.waits_for(Release::reached(2, 2)), Wait::Durable(9));
        for _ in 0..20 {
            out.send(&mut to, Release::reached(9, 9), usize::MAX).expect("blocks at worst");
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
            out.send(&mut to, Release::reached(1, 1), usize::MAX).expect("blocks at worst");
        }
        assert!(out.buffer.len() < 4 * BUFFERED_BYTES_MAX, "{} bytes", out.buffer.len());
    }

    #[test]
    fn a_shared_reply_leaves_in_its_turn() {
        let shared: Arc<[u8]> = Arc::from(&b"shared"[..]);
        for before in ["", "before"] {
            let mut out = Out::default();
            if !before.is_empty() {
                out.target().extend_from_slice(before.as_bytes());
                out.mark(durable(1));
            }
            out.push_shared(&shared, durable(2));
            out.target().extend_from_slice(b"behind");
            out.mark(durable(3));
            assert_eq!(out.len(), before.len() + 12);
            assert_eq!(sent(&mut out, 1), before);
            assert_eq!(out.waits_for(Release::reached(1, 1)), Wait::Durable(2));
            let mut to = Narrow(Vec::new(), false);
            for _ in 0..20 {
                out.send(&mut to, Release::reached(2, 2), usize::MAX).expect("blocks at worst");
            }
            assert_eq!(to.0, b"shared");
            assert_eq!(out.waits_for(Release::reached(2, 2)), Wait::Durable(3));
            assert_eq!(sent(&mut out, 3), "behind");
            assert!(out.is_empty());
            out.push_shared(&shared, durable(4));
            assert_eq!((sent(&mut out, 3), sent(&mut out, 4)), (String::new(), "shared".into()));
        }
    }

    struct Nowhere;

    impl Source for Nowhere {
        fn block(&mut self, _: levada_core::keyspace::KeyNumber, _: u64) -> BlockAccess<'_> {
            BlockAccess::Gone
        }
    }

    #[test]
    fn long_strings_take_no_memory_until_the_socket_takes_them() {
        let long: Arc<[u8]> = vec![b'x'; 3 << 20].into();
        let mut out = Out::default();
        out.push_values(vec![Some(long); 10], Protocol::Resp2);
        out.target().extend_from_slice(b"end");
        out.mark(durable(1));
        let (mut all, mut largest) = (0, 0);
        while out.draw(Protocol::Resp2, &mut Nowhere) != Progress::Done || !out.is_empty() {
            largest = largest.max(out.buffer.capacity());
            // Some of it, so that what was sent stays in the buffer for a while.
            let mut to = Slow(100_000);
            all += out.len().min(100_000);
            out.send(&mut to, Release::reached(1, 1), usize::MAX).expect("blocks at worst");
        }
        assert_eq!(all, 10 * ("$3145728\r\n\r\n".len() + (3 << 20)) + 3);
        assert!(largest <= 4 * BUFFERED_BYTES_MAX, "{largest}");
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
