//! The end of an iteration: replies whose time has come leave, connections that ended go.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Lsn, Server, keep_buffer};
use crate::connection::Connection;
use crate::engine::{ClientId, Wait};
use crate::out::Release;

/// Connections whose first reply waits for the log, by the position it waits for. Only they are
/// looked at when the log moves.
#[derive(Default)]
pub(super) struct Waiting {
    written: BinaryHeap<Reverse<(Lsn, u64)>>,
    durable: BinaryHeap<Reverse<(Lsn, u64)>>,
}

impl Waiting {
    /// Enters a connection, once for each position: who is busy is flushed many times before the
    /// log has reached it.
    fn add(&mut self, connection: &mut Connection, reached: Release) {
        let wait = connection.out.waits_for(reached);
        let client = connection.session.id;
        match wait {
            Wait::Nothing => return,
            _ if wait == connection.entered => return,
            Wait::Written(lsn) => self.written.push(Reverse((lsn, client))),
            Wait::Durable(lsn) => self.durable.push(Reverse((lsn, client))),
        }
        connection.entered = wait;
    }

    /// The clients whose position is reached.
    fn take(&mut self, reached: Release, clients: &mut Vec<u64>) {
        let pairs =
            [(&mut self.written, reached.written()), (&mut self.durable, reached.durable())];
        for (heap, reached) in pairs {
            while let Some(Reverse((lsn, client))) = heap.peek().copied() {
                if lsn > reached {
                    break;
                }
                heap.pop();
                clients.push(client);
            }
        }
    }
}

impl Server {
    /// Sends what may leave, of the connections of this iteration and of those that waited.
    pub(super) fn flush(&mut self) {
        let reached = Release::reached(self.shard.written(), self.shard.durable());
        self.waiting.take(reached, &mut self.released);
        for client in self.released.drain(..) {
            self.touched.extend(self.connections.token(client));
        }
        let mut flushing = std::mem::take(&mut self.flushing);
        std::mem::swap(&mut flushing, &mut self.touched);
        for token in flushing.drain(..) {
            self.flush_one(token, reached);
        }
        self.flushing = flushing;
    }

    /// Sends what may leave of every connection, as much as its socket takes: the last thing before
    /// the end.
    pub(super) fn flush_released(&mut self) {
        let reached = Release::reached(self.shard.written(), self.shard.durable());
        for connection in self.connections.iter_mut() {
            loop {
                connection.send(reached);
                let takes_more = connection.writable && !connection.broken;
                if !takes_more || !connection.out.may_send(reached) {
                    break;
                }
            }
        }
    }

    fn flush_one(&mut self, token: usize, reached: Release) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        if !connection.broken && connection.writable {
            let before = connection.session.bytes_out;
            connection.send(reached);
            self.state.stats.bytes_out += connection.session.bytes_out - before;
        }
        let sent = connection.out.is_empty() && !connection.stream.is_pending();
        let ended = connection.closing && sent;
        if connection.broken || ended {
            self.close(token);
            return;
        }
        self.waiting.add(connection, reached);
        if let Some(buffer) = connection.out.take_buffer() {
            keep_buffer(&mut self.buffers, buffer);
        }
        self.state.memory.note(connection, false);
        if has_work(connection, reached) {
            self.wake(token);
        }
    }

    pub(super) fn close(&mut self, token: usize) {
        let Some(mut connection) = self.connections.take(token) else {
            return;
        };
        let session = &mut connection.session;
        if session.blocked.take().is_some() {
            self.state.blocked_clients -= 1;
        }
        if session.monitors {
            let id = session.id;
            self.state.monitors.retain(|monitor| *monitor != id);
        }
        self.state.heads.depart(session);
        self.shard.forget(ClientId(session.id));
        self.state.memory.forget(&connection);
        connection.stream.close(self.poll.registry());
        self.connections.forget(&connection);
    }
}

/// Whether a connection can go on without news from its socket.
fn has_work(connection: &Connection, reached: Release) -> bool {
    let draws = connection.out.may_draw() && !connection.awaits_blocks;
    let runs = connection.is_ready() && connection.has_request;
    let reads = connection.readable && !connection.closing && connection.may_read();
    let sends = connection.writable && connection.out.may_send(reached);
    draws || runs || reads || sends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::rig;

    #[test]
    fn who_is_flushed_often_waits_once() {
        let (mut server, _client, _rest) = rig::with_client("waits-once");
        let connection = server.connections.by_client(1).expect("it is there");
        let token = connection.token;
        let waits = [Wait::Durable(1_000), Wait::Durable(1_001), Wait::Written(2_000)];
        for wait in waits {
            connection.out.target().push(b'x');
            connection.out.mark(wait.into());
        }
        // How far the log is, and what waits for it to be written and durable.
        for (reached, entered) in [
            (Release::reached(1_001, 999), (0, 1)),
            (Release::reached(1_001, 1_000), (0, 1)),
            (Release::reached(1_001, 1_001), (1, 0)),
            (Release::reached(2_000, 1_001), (0, 0)),
        ] {
            let mut clients = Vec::new();
            server.waiting.take(reached, &mut clients);
            assert!(clients.len() <= 1, "{clients:?}");
            for _ in 0..100 {
                server.flush_one(token, reached);
            }
            let Waiting { written, durable } = &server.waiting;
            assert_eq!((written.len(), durable.len()), entered, "{reached:?}");
        }
        assert!(server.connections.by_client(1).expect("it is there").out.is_empty());
    }
}
