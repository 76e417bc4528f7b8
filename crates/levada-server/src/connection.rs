//! A socket with what it has received and what it has to send, and all of them together.

use std::collections::HashMap;
use std::io::{self, Read};

use levada_resp::Decoder;

use crate::engine::{Now, Wait};
use crate::out::{Out, Release};
use crate::server::Counted;
use crate::session::Session;
use crate::socket::Socket;

/// Bytes of one read.
pub(crate) const READ_BYTES: usize = 64 << 10;
/// Bytes that a turn of a patient connection sends; and bytes of replies not sent behind which
/// nothing more is run for it. Within one machine that is a packet, which 64 KiB are not.
pub(crate) const PATIENT_BYTES_MAX: usize = 60 << 10;
/// Bytes that a connection may have received and not run: behind it the socket is not read.
const INPUT_BYTES_MAX: usize = 1 << 20;
/// The same, and bytes of replies not sent behind which nothing more is run, before a client has
/// authenticated.
const STRANGER_INPUT_BYTES_MAX: usize = 64 << 10;
const STRANGER_OUTPUT_BYTES_MAX: usize = 1 << 10;

/// A connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that change apart from each other")]
pub(crate) struct Connection {
    pub(crate) token: usize,
    pub(crate) stream: Socket,
    pub(crate) session: Session,
    pub(crate) decoder: Decoder,
    /// Received and not run, the part of a request at least.
    pub(crate) input: Vec<u8>,
    pub(crate) out: Out,
    /// What its first reply waited for when it was last entered in `server::flush::Waiting`.
    pub(crate) entered: Wait,
    /// The socket may have more: epoll tells each change once only.
    pub(crate) readable: bool,
    /// The other side will send no more: what it has sent is answered, then the connection ends.
    pub(crate) half_closed: bool,
    /// `input` may hold a whole request.
    pub(crate) has_request: bool,
    /// The system says that the other side has closed; what it sent before is still to be read.
    pub(crate) peer_closed: bool,
    pub(crate) writable: bool,
    /// It is in the list of connections to look at.
    pub(crate) queued: bool,
    /// It asks for more than a turn gives, of bytes or of time.
    pub(crate) is_heavy: bool,
    /// The window of its last turn: see `server::nap`.
    pub(crate) window: u32,
    /// A command waits for blocks, or a reply does: nothing is run until the engine says so.
    pub(crate) awaits_blocks: bool,
    /// A command waits for the end of a pause.
    pub(crate) paused: bool,
    /// No more commands; the connection ends when all is sent.
    pub(crate) closing: bool,
    /// The connection ends now.
    pub(crate) broken: bool,
    pub(crate) counted: Counted,
}

impl Connection {
    /// Whether the next request may be run.
    pub(crate) fn is_ready(&self) -> bool {
        self.session.blocked.is_none()
            && !self.awaits_blocks
            && !self.paused
            && !self.closing
            && !self.broken
            && !self.out.is_drawing()
            && !self.out.is_full()
            && (!self.is_heavy || self.out.len() <= PATIENT_BYTES_MAX)
            && (self.session.authenticated || self.out.len() <= STRANGER_OUTPUT_BYTES_MAX)
    }

    /// Bytes of memory that its buffers take.
    pub(crate) fn memory_bytes(&self) -> usize {
        let queued = self.session.transaction.as_ref();
        self.input.capacity()
            + self.out.memory_bytes()
            + queued.map_or(0, |transaction| transaction.memory_bytes())
            + self.stream.memory_bytes()
    }

    /// Whether nobody has vouched for it yet.
    pub(crate) fn is_stranger(&self) -> bool {
        !self.session.authenticated || self.stream.is_handshaking()
    }

    /// Whether others go before it.
    pub(crate) fn is_patient(&self) -> bool {
        self.is_heavy || self.is_stranger()
    }

    /// Reads once, behind what is already there. `scratch` is lent for it.
    pub(crate) fn read(&mut self, scratch: &mut [u8], now: Now) -> io::Result<usize> {
        if !self.may_read() {
            return Ok(0);
        }
        match self.stream.read(scratch) {
            Ok(0) => {
                self.half_closed = true;
                self.readable = false;
                Ok(0)
            }
            Ok(count) => {
                // A short read means that the socket is drained; only its end would stay unseen.
                let whole = count == scratch.len() || self.stream.is_tls();
                self.readable = whole || self.peer_closed;
                self.has_request = true;
                self.session.active_ms = now.monotonic_ms();
                self.session.bytes_in += count as u64;
                self.input.extend_from_slice(&scratch[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(0)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Whether there is room for more input. A request that is longer than that is received whole:
    /// the decoder bounds it.
    pub(crate) fn may_read(&self) -> bool {
        let bytes_max = match self.session.authenticated {
            true => INPUT_BYTES_MAX,
            false => STRANGER_INPUT_BYTES_MAX,
        };
        self.input.len() < bytes_max || self.is_ready() && !self.has_request
    }

    /// Sends what may leave.
    pub(crate) fn send(&mut self, reached: Release) {
        let before = self.out.len();
        let bytes_max = if self.is_patient() { PATIENT_BYTES_MAX } else { usize::MAX };
        let sent = self.out.send(&mut self.stream, reached, bytes_max);
        match sent.and_then(|drained| Ok(self.stream.flush_pending()? && drained)) {
            Ok(drained) => self.writable = drained,
            Err(_) => self.broken = true,
        }
        self.session.bytes_out += (before - self.out.len()) as u64;
    }
}

/// All connections, by the token of their socket.
#[derive(Default, Debug)]
pub(crate) struct Connections {
    // Boxed, so that taking one out for its turn moves a pointer.
    #[allow(clippy::vec_box)]
    slots: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    tokens: HashMap<u64, usize>,
    /// The client that was let in beyond `maxclients`.
    pub(crate) reserved: Option<u64>,
}

impl Connections {
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// A token that nobody has.
    pub(crate) fn reserve(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        })
    }

    /// Gives a token back that was reserved and not used.
    pub(crate) fn release(&mut self, token: usize) {
        self.free.push(token);
    }

    /// Adds a connection under its reserved token.
    pub(crate) fn insert(&mut self, connection: Box<Connection>) {
        self.tokens.insert(connection.session.id, connection.token);
        let token = connection.token;
        self.slots[token] = Some(connection);
    }

    /// Takes a connection out for its turn; [`Connections::put_back`] must follow.
    pub(crate) fn take(&mut self, token: usize) -> Option<Box<Connection>> {
        self.slots.get_mut(token)?.take()
    }

    pub(crate) fn put_back(&mut self, connection: Box<Connection>) {
        let token = connection.token;
        self.slots[token] = Some(connection);
    }

    /// Forgets a connection that was taken out.
    pub(crate) fn forget(&mut self, connection: &Connection) {
        self.tokens.remove(&connection.session.id);
        self.reserved = self.reserved.filter(|client| *client != connection.session.id);
        self.free.push(connection.token);
    }

    pub(crate) fn get_mut(&mut self, token: usize) -> Option<&mut Connection> {
        self.slots.get_mut(token)?.as_deref_mut()
    }

    pub(crate) fn token(&self, client: u64) -> Option<usize> {
        self.tokens.get(&client).copied()
    }

    pub(crate) fn by_client(&mut self, client: u64) -> Option<&mut Connection> {
        let token = self.token(client)?;
        self.get_mut(token)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().flatten().map(Box::as_ref)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.slots.iter_mut().flatten().map(Box::as_mut)
    }
}
