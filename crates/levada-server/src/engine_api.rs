//! Stand-in for `levada_engine::shard`: the same types, so that the rest compiles.
#![allow(missing_docs, dead_code, clippy::unused_self, clippy::needless_pass_by_value)]



use levada_core::block::Block;
use levada_core::command::{Command, Key};
use levada_core::id::StreamId;
use levada_core::keyspace::KeyNumber;
use levada_core::reply::Reply;
use levada_engine::error::Error;

#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    pub wall_ms: u64,
    pub monotonic_ms: u64,
}
pub type Lsn = u64;
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ClientId(pub u64);
pub enum Outcome {
    Done(Answer),
    NeedBlocks,
}
pub struct Answer {
    pub result: Result<Reply, levada_core::error::Error>,
    pub wait: Wait,
}
#[derive(Clone, Copy)]
pub enum Wait {
    Nothing,
    Written(Lsn),
    Durable(Lsn),
}
pub enum BlockedRead {
    Xread {
        streams: Vec<(u8, Vec<u8>, StreamId)>,
        count: Option<u64>,
    },
    Xreadgroup {
        group: Vec<u8>,
        consumer: Vec<u8>,
        no_ack: bool,
        count: Option<u64>,
        streams: Vec<(u8, Vec<u8>)>,
    },
}
pub enum Event {
    Served { client: ClientId, answer: Answer },
    TimedOut { client: ClientId },
    Retry { client: ClientId },
}
pub enum BlockAccess<'a> {
    Here(&'a Block),
    Reading,
    Gone,
    Corrupt { first: StreamId, last: StreamId },
}
#[derive(Default)]
pub struct Facts {}
pub struct Shard {}
impl Shard {
    pub fn execute(&mut self, _: Now, _: ClientId, _: &Command<'_>) -> Outcome {
        Outcome::NeedBlocks
    }
    pub fn transaction_begin(&mut self) {}
    pub fn transaction_end(&mut self, _: Now) {}
    pub fn wait(&mut self, _: Now, _: ClientId, _: BlockedRead, _: Option<u64>) {}
    pub fn cancel_wait(&mut self, _: ClientId) -> bool {
        false
    }
    pub fn watch(&mut self, _: ClientId, _: Key<'_>) {}
    pub fn unwatch(&mut self, _: ClientId) {}
    pub fn is_watch_broken(&self, _: ClientId) -> bool {
        false
    }
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }
    pub fn block(&mut self, _: ClientId, _: KeyNumber, _: u64) -> BlockAccess<'_> {
        BlockAccess::Gone
    }
    pub fn commit(&mut self, _: Now) -> Result<(), Error> {
        Ok(())
    }
    pub fn poll(&mut self, _: Now) -> Result<(), Error> {
        Ok(())
    }
    pub fn next_deadline_monotonic_ms(&self) -> Option<u64> {
        None
    }
    pub fn durable(&self) -> Lsn {
        0
    }
    pub fn written(&self) -> Lsn {
        0
    }
    pub fn current(&self) -> Lsn {
        0
    }
    pub fn shutdown(&mut self, _: Now) -> Result<(), Error> {
        Ok(())
    }
    pub fn facts(&self) -> Facts {
        Facts {}
    }
    pub fn set_node_limits(&mut self, _entries: u64, _bytes: u64) {}
}
impl Facts {
    pub fn database(&self, _: u8) -> (u64, u64) {
        (0, 0)
    }
}
