//! Connections that nobody has vouched for yet: they have not authenticated, or not agreed on keys.
//!
//! So many at once and no more: behind that the oldest gives way, as who is honest is through
//! within moments. Those that came just now are spared, and who comes then waits in the queue of
//! the system.

use std::collections::VecDeque;
use std::io;

use levada_resp::Writer;

use super::turns::limits;
use super::{Server, accept};
use crate::acl::log::Refusal;
use crate::acl::revoke::Refused;
use crate::command::shown_name;
use crate::connection::Connection;
use crate::describe_client::Described;
use crate::engine::Now;
use crate::out::Release;

/// How long a stranger is spared, in milliseconds.
const SPARED_MS: u64 = 1_000;

/// See the module.
#[derive(Default)]
pub(super) struct Strangers {
    /// Clients, oldest first; those that are no strangers any more are taken out when it is full.
    clients: VecDeque<u64>,
    /// Until then there is no room: looking costs as much as there are strangers.
    full_until_us: u64,
}

impl Server {
    /// Whether one more may come now, for which the oldest would go.
    pub(super) fn may_strangers_come(&mut self, now: Now) -> bool {
        let strangers_max = self.state.settings.strangers_max;
        let Self { strangers, connections, .. } = self;
        if strangers.clients.len() < strangers_max {
            return true;
        }
        if now.monotonic_us < strangers.full_until_us {
            return false;
        }
        strangers.clients.retain(|client| {
            connections.by_client(*client).is_some_and(|connection| connection.is_stranger())
        });
        let oldest = strangers.clients.front().and_then(|client| connections.by_client(*client));
        let spared =
            |oldest: &mut Connection| now.monotonic_ms() < oldest.session.created_ms + SPARED_MS;
        let full = strangers.clients.len() >= strangers_max && oldest.is_some_and(spared);
        if full {
            strangers.full_until_us = now.monotonic_us + accept::RETRY_US;
        }
        !full
    }

    /// One more has come: the oldest goes where there are too many.
    pub(super) fn add_stranger(&mut self, client: u64) {
        self.strangers.clients.push_back(client);
        while self.strangers.clients.len() > self.state.settings.strangers_max {
            let oldest = self.strangers.clients.pop_front();
            let oldest = oldest.and_then(|client| self.connections.by_client(client));
            if let Some(token) = oldest.filter(|oldest| oldest.is_stranger()).map(|it| it.token) {
                self.state.stats.strangers_dropped += 1;
                self.close(token);
            }
        }
    }

    /// A connection has just agreed on keys: with `tls-auth-clients-user CN` it is the user whom
    /// its certificate names. Where there is none, or it is off, it stays who it was, which ACL LOG
    /// tells; where that user has enough connections it ends.
    pub(super) fn introduce(&mut self, connection: &mut Connection, now: Now) {
        if self.state.config.get("tls-auth-clients-user") != "CN" {
            return;
        }
        let Some(name) = connection.stream.peer_name() else {
            return;
        };
        let Some(user) = self.state.acl.vouched(&name) else {
            let (refusal, object) = (Refusal::Certificate, &b""[..]);
            let address = connection.session.address;
            let last = format!("of {} by certificate from {address}", shown_name(&name));
            self.state.acl.failures.note(last);
            let client = Described::of(connection).line(&self.state, now);
            let refused = Refused { refusal, in_transaction: false, object, user: name, client };
            self.state.note_refusal(refused, now.wall_ms);
            return;
        };
        match self.state.log_in(&mut connection.session, user) {
            Ok(()) => connection.decoder.set_limits(limits(true)),
            Err(error) => {
                self.state.stats.connections_refused += 1;
                let protocol = connection.session.protocol;
                Writer::new(connection.out.target(), protocol).error(error.text());
                connection.out.mark(Release::default());
                connection.closing = true;
            }
        }
    }

    /// A connection could not be read: it ends. If it was to speak TLS, the log says why.
    pub(super) fn note_read_error(&mut self, connection: &mut Connection, error: &io::Error) {
        connection.broken = true;
        if connection.stream.is_handshaking() {
            self.state.stats.handshakes_failed += 1;
            let address = connection.session.address;
            self.handshakes_failed.note(format!("from {address}: {error}"));
        }
    }
}
