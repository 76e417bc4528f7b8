//! Messages of channels on their way into the buffers of those who listen.
//!
//! They are written between two replies, never inside one, and a publisher that listens to itself
//! sees its reply first. A listener that does not read is let go at the limit of its class
//! (`client-output-buffer-limit`): messages may be missed, memory may not be.

use levada_resp::Writer;

use super::Server;
use crate::connection::Connection;
use crate::engine::{Delivery, Listening};

impl Server {
    /// Hands out what was published. `own` is the connection that has its turn.
    pub(super) fn deliver(&mut self, mut own: Option<&mut Connection>) {
        while let Some(delivery) = self.shard.poll_message() {
            let client = delivery.client.0;
            let connection = match &mut own {
                Some(own) if own.session.id == client => &mut **own,
                _ => match self.connections.by_client(client) {
                    Some(connection) => connection,
                    None => continue,
                },
            };
            if connection.broken {
                continue;
            }
            self.touched.push(connection.token);
            connection.out.lend_buffer(&mut self.buffers);
            write(connection, &delivery);
            let limit = self.state.limits.output.of(&connection.session);
            let beyond = limit.is_beyond(connection.out.queued_bytes());
            if let Some(event) = self.state.memory.note(connection, beyond) {
                self.state.stats.clients_beyond_limit += 1;
                self.state.log(&event);
            }
        }
        self.relieve_memory();
    }
}

fn write(connection: &mut Connection, delivery: &Delivery) {
    let protocol = connection.session.protocol;
    let mut writer = Writer::new(connection.out.target(), protocol);
    let (parts, word): (usize, &[u8]) = match delivery.listening {
        Listening::Channel => (3, b"message"),
        Listening::Pattern => (4, b"pmessage"),
        Listening::Shard => (3, b"smessage"),
    };
    writer.push(parts);
    writer.bulk(word);
    if let Some(pattern) = &delivery.pattern {
        writer.bulk(pattern);
    }
    writer.bulk(&delivery.channel);
    writer.bulk(&delivery.payload);
    connection.out.mark(delivery.wait.into());
}
