//! What the buffers of clients take, of each and of all together, and who goes when it is too much.
//!
//! A connection is counted when it had its turn, when it was sent something, and when a message
//! was put into its buffer: nothing else makes its buffers grow. The figures are those of the last
//! time.

use super::Server;
use crate::client_limits::OutputLimit;
use crate::connection::Connection;
use crate::log_event::{LogEvent, LogName};

/// Bytes that all strangers may take together.
const STRANGERS_BYTES_MAX: usize = 24 << 20;
/// Bytes that one may take whatever the others do.
const STRANGER_BYTES_SPARED: usize = 20 << 10;

/// See the module.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ClientsMemory {
    /// Of all connections.
    pub(crate) bytes: usize,
    strangers_bytes: usize,
}

/// What was last counted of a connection.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counted {
    bytes: usize,
    is_stranger: bool,
    /// Since when it is beyond its soft limit, in monotonic milliseconds.
    beyond_since_ms: Option<u64>,
}

impl ClientsMemory {
    /// Counts a connection anew; it ends if it takes too much for a stranger, or beyond its hard
    /// limit. What is to be said of that.
    pub(super) fn note(&mut self, connection: &mut Connection, beyond: bool) -> Option<LogEvent> {
        self.count(connection);
        let is_news = beyond && !connection.broken;
        connection.broken |= beyond;
        let Counted { bytes, is_stranger, .. } = connection.counted;
        let is_crowded =
            self.strangers_bytes > STRANGERS_BYTES_MAX && bytes > STRANGER_BYTES_SPARED;
        if is_stranger && is_crowded {
            // It ends when all have had their turns, and each of them may bring as much.
            (connection.broken, connection.closing) = (true, true);
            connection.input = Vec::new();
            self.count(connection);
        }
        is_news.then(|| connection.beyond_limit())
    }

    fn count(&mut self, connection: &mut Connection) {
        self.forget(connection);
        let (bytes, is_stranger) = (connection.memory_bytes(), connection.is_stranger());
        connection.counted = Counted { bytes, is_stranger, ..connection.counted };
        self.bytes += bytes;
        self.strangers_bytes += if is_stranger { bytes } else { 0 };
    }

    /// A connection goes.
    pub(super) fn forget(&mut self, connection: &Connection) {
        let Counted { bytes, is_stranger, .. } = connection.counted;
        self.bytes -= bytes;
        self.strangers_bytes -= if is_stranger { bytes } else { 0 };
    }
}

impl Connection {
    /// What the log says when it ends because it does not read.
    pub(super) fn beyond_limit(&self) -> LogEvent {
        let (session, queued_bytes) = (&self.session, self.out.queued_bytes() as u64);
        let (id, address) = (session.id, session.address);
        let message = format!(
            "Client {id} of {address} ends: {queued_bytes} bytes wait and it does not read"
        );
        LogEvent::new(LogName::ClientBeyondLimit, message)
            .number("client", id)
            .text("address", &address)
            .number("queued_bytes", queued_bytes)
    }

    /// Whether it has been beyond its soft limit for longer than it may.
    pub(super) fn is_beyond_soft(&mut self, limit: OutputLimit, now_ms: u64) -> bool {
        let beyond = limit.is_beyond_soft(self.out.queued_bytes());
        let since_ms = self.counted.beyond_since_ms.filter(|_| beyond);
        self.counted.beyond_since_ms = since_ms.or(beyond.then_some(now_ms));
        since_ms
            .is_some_and(|since| now_ms.saturating_sub(since) > limit.soft_s.saturating_mul(1_000))
    }
}

impl Server {
    /// Counts a connection that has its turn.
    pub(super) fn count_memory(&mut self, connection: &mut Connection) {
        let limit = self.state.limits.output.of(&connection.session);
        let beyond = limit.is_beyond(connection.out.queued_bytes());
        if let Some(event) = self.state.memory.note(connection, beyond) {
            self.state.stats.clients_beyond_limit += 1;
            self.state.log(&event);
        }
    }

    /// Lets those go that take most, until all together are within `maxmemory-clients`.
    pub(super) fn relieve_memory(&mut self) {
        let bytes_max = self.state.limits.clients_bytes_max;
        if bytes_max == 0 || self.state.memory.bytes as u64 <= bytes_max {
            return;
        }
        let may_go = |connection: &&Connection| !connection.session.no_evict;
        let taken = |connection: &Connection| (connection.counted.bytes, connection.token);
        let mut takers: Vec<_> = self.connections.iter().filter(may_go).map(taken).collect();
        takers.sort_unstable();
        while self.state.memory.bytes as u64 > bytes_max {
            let Some((bytes @ 1.., token)) = takers.pop() else {
                return;
            };
            self.state.stats.clients_evicted += 1;
            if let Some(connection) = self.connections.get_mut(token) {
                let event = evicted(connection, bytes as u64);
                self.state.log(&event);
            }
            self.close(token);
        }
    }
}

/// What the log says of a client that gives way.
fn evicted(connection: &Connection, bytes: u64) -> LogEvent {
    let (id, address) = (connection.session.id, connection.session.address);
    let message = format!(
        "Client {id} of {address} ends: it takes {bytes} bytes, the most of all, and all together \
         take more than maxmemory-clients"
    );
    LogEvent::new(LogName::ClientEvicted, message)
        .number("client", id)
        .text("address", &address)
        .number("bytes", bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use mio::Events;

    use super::*;
    use crate::connection::READ_BYTES;
    use crate::server::{rig, turns};

    const STRANGERS: usize = 250;

    #[test]
    fn strangers_take_little_together_however_many_have_their_turns_at_once() {
        let (mut server, address, _rest) = rig::opened("strangers");
        let mut strangers: Vec<_> = (0..STRANGERS).map(|_| rig::client(address)).collect();
        server.run_until(|server| server.connections.len() == STRANGERS);
        for connection in server.connections.iter_mut() {
            connection.session.authenticated = false;
            connection.decoder.set_limits(turns::limits(false));
        }
        let value = [&b"$16384\r\n"[..], &[b'x'; 16 << 10], b"\r\n"].concat();
        let unfinished = [b"*10\r\n".to_vec(), value.repeat(9)].concat();
        assert!(STRANGERS * unfinished.len() > STRANGERS_BYTES_MAX + (8 << 20));
        for stranger in &mut strangers {
            stranger.write_all(&unfinished).expect("the system takes it");
        }
        // Whoever is too much is sent away by a flush: there is none between.
        let mut events = Events::with_capacity(STRANGERS);
        let mut most = 0;
        while most < STRANGERS_BYTES_MAX - (1 << 20) {
            server.iterate(&mut events).expect("runs");
            most = most.max(server.state.memory.bytes);
        }
        for _ in 0..4 {
            server.was_woken = true;
            server.iterate(&mut events).expect("runs");
            most = most.max(server.state.memory.bytes);
        }
        // The one that is too much was counted before it was let go.
        assert!(most <= STRANGERS_BYTES_MAX + 4 * READ_BYTES, "{most} bytes");
    }
}
