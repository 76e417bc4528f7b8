//! Blocked reads that have their answer.
//!
//! Readers who waited for the same entries get the same bytes: they are encoded once, and each
//! connection holds a pointer to them until its socket has taken all.

use std::sync::Arc;

use levada_core::reply::Reply;
use levada_resp::Protocol;

use super::turns::draw;
use super::{Blocks, Server, end_reply, keep_buffer};
use crate::engine::{Answer, ClientId, Now};
use crate::out::{Out, Progress};
use crate::output::Output;
use crate::session::{Blocked, Replies};
use crate::spec::{NameList, Names, Run};
use crate::wire_error::WireError;

/// A reply that several readers may get.
pub(super) struct Shared {
    protocol: Protocol,
    /// Names of the keys that were asked for: the reply tells them.
    keys: Vec<Vec<u8>>,
    reply: Reply,
    /// `None` where it is too long to be encoded at once.
    bytes: Option<Arc<[u8]>>,
}

impl Server {
    /// A blocked read has its answer.
    pub(super) fn served(&mut self, client: ClientId, answer: Answer, now: Now) {
        let Some(connection) = self.connections.by_client(client.0) else {
            return;
        };
        let Some(blocked) = connection.session.blocked.take() else {
            return;
        };
        let token = connection.token;
        let (protocol, replies) = (connection.session.protocol, connection.session.replies);
        self.state.blocked_clients -= 1;
        let shared = match &answer.result {
            Ok(reply) if replies == Replies::On => {
                self.shared(client, reply, &blocked, protocol, now)
            }
            _ => None,
        };
        match shared {
            Some(bytes) => {
                if let Some(connection) = self.connections.by_client(client.0) {
                    connection.out.push_shared(&bytes, answer.wait.into());
                }
            }
            None => self.answer_blocked(client, answer, &blocked, now),
        }
        self.wake(token);
        self.touched.push(token);
    }

    /// The bytes of an answer that others get too, or may.
    fn shared(
        &mut self,
        client: ClientId,
        reply: &Reply,
        blocked: &Blocked,
        protocol: Protocol,
        now: Now,
    ) -> Option<Arc<[u8]>> {
        // What a group gives to one reader it gives to nobody else.
        let Run::Engine(_, write) = blocked.spec.run else {
            return None;
        };
        if blocked.spec.name != "xread" || !matches!(reply, Reply::Streams(_)) {
            return None;
        }
        let is_same = |held: &&Shared| {
            held.protocol == protocol && held.reply == *reply && held.keys == blocked.keys
        };
        if let Some(held) = self.shared.iter().find(is_same) {
            return held.bytes.clone();
        }
        if !self.shard.has_events() {
            return None;
        }
        let mut out = Out::default();
        out.lend_buffer(&mut self.buffers);
        let keys = NameList::Owned(&blocked.keys);
        write(&mut Output::new(&mut out, protocol), reply.clone(), &Names { keys, now });
        let mut blocks = Blocks { shard: &mut self.shard, client };
        let whole = out.draw(protocol, &mut blocks) == Progress::Done;
        let buffer = out.into_buffer();
        let bytes = whole.then(|| Arc::from(buffer.as_slice()));
        keep_buffer(&mut self.buffers, buffer);
        self.shared.retain(|held| held.protocol != protocol);
        let (keys, reply) = (blocked.keys.clone(), reply.clone());
        self.shared.push(Shared { protocol, keys, reply, bytes: bytes.clone() });
        bytes
    }

    /// Writes an answer into the buffer of its connection.
    fn answer_blocked(&mut self, client: ClientId, answer: Answer, blocked: &Blocked, now: Now) {
        let Some(connection) = self.connections.by_client(client.0) else {
            return;
        };
        let start = connection.out.position();
        connection.out.lend_buffer(&mut self.buffers);
        let mut output = Output::new(&mut connection.out, connection.session.protocol);
        match (answer.result, blocked.spec.run) {
            (Ok(reply), Run::Engine(_, write)) => {
                let keys = NameList::Owned(&blocked.keys);
                write(&mut output, reply, &Names { keys, now });
            }
            (Ok(_), _) => unreachable!("only reads are served"),
            (Err(error), _) => {
                let error = WireError::Core(error, blocked.spec.name);
                self.state.stats.command_mut(blocked.number).failed += 1;
                self.state.stats.error(&error.text());
                output.error(&error);
            }
        }
        end_reply(&mut connection.out, &mut connection.session.replies, start, answer.wait.into());
        // At once: the next command may remove what this one was given.
        draw(connection, &mut self.shard);
    }
}
