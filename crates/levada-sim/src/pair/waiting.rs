//! What happens beside the commands: readers that wait, keys that are watched, messages.
//!
//! Who is served when is the product's choice within bounds: the model answers the same read at the
//! moment at which the product says that it did, nobody overtakes an earlier reader of the same
//! group, and at rest nobody waits for what the model would give him (invariants 31 to 33).

use super::{Halt, Pair, Promise, agree, named};
use crate::model::{ErrorKind, GroupFrom, Key, ReadFrom, Reply, Value};
use crate::op::subject::{self, Refused};
use crate::op::{KeyAt, Op, model_key, reference};
use levada_core::error::Error as CoreError;
use levada_engine::shard::{Answer, ClientId, Event, Listening};
use levada_engine::store::Store;

/// Who listens to [`CHANNEL`].
const LISTENER: ClientId = ClientId(2);
const CHANNEL: &[u8] = b"channel";
/// Readers are numbered from here.
pub(super) const FIRST_READER: u64 = 10;
/// Readers that wait at the same time, at most.
const READERS_MAX: usize = 6;

/// A read that waits.
#[derive(Debug)]
pub(super) struct Reader {
    client: ClientId,
    op: Op,
    deadline_us: Option<u64>,
}

/// WATCH of some keys.
#[derive(Debug)]
pub(super) struct Watching {
    keys: Vec<KeyAt>,
    /// A command changed what is watched.
    changed: bool,
    /// Something happened that may count as a change.
    touched: bool,
}

impl<S: Store> Pair<S> {
    pub(super) fn listen(&mut self) {
        assert!(self.shard.subscribe(LISTENER, Listening::Channel, CHANNEL), "a short name");
    }

    /// PUBLISH: one message, which leaves when all that was changed before is durable.
    pub(super) fn publish(&mut self) -> Result<Promise, Halt> {
        let heard = self.shard.publish(Listening::Channel, CHANNEL, b"message");
        let message = self.shard.poll_message();
        let Some(message) = message.filter(|message| heard == 1 && message.client == LISTENER)
        else {
            return Err(Halt::Wrong(format!("a message was heard by {heard}")));
        };
        let durable = self.changed.values().map(|(_, entries)| *entries).max().unwrap_or(0);
        Ok(Promise { wait: message.wait, durable, written: durable })
    }

    /// Lets a read that was answered with nothing wait, if it asks for that.
    pub(super) fn block(&mut self, op: &Op) {
        let (Op::Xread { more, .. } | Op::Xreadgroup { more, .. }) = op else { return };
        let Some(block_ms) = more.block_ms.filter(|_| self.readers.len() < READERS_MAX) else {
            return;
        };
        let Some(op) = self.waitable(op) else { return };
        let deadline_us = (block_ms > 0).then(|| (self.now_ms + block_ms) * 1000);
        let client = ClientId(self.next_reader);
        self.next_reader += 1;
        self.shard.wait(client, subject::blocked_of(&op), deadline_us);
        self.readers.push(Reader { client, op, deadline_us });
    }

    /// The read with `$` resolved.
    fn waitable(&self, op: &Op) -> Option<Op> {
        let mut op = op.clone();
        match &mut op {
            Op::Xread { from, .. } => {
                for (key, from) in from {
                    let value = self.model.keys.get(&model_key(*key)).map(|key| &key.value);
                    *from = match (*from, value) {
                        (ReadFrom::After(id), _) => ReadFrom::After(id),
                        (ReadFrom::New, Some(Value::Stream(stream))) => {
                            ReadFrom::After(stream.last_id)
                        }
                        _ => return None,
                    };
                }
            }
            Op::Xreadgroup { from, .. } if from.iter().all(|(_, of)| *of == GroupFrom::New) => {}
            _ => return None,
        }
        Some(op)
    }

    /// Takes all news.
    pub fn drain(&mut self) -> Result<(), Halt> {
        while let Some(event) = self.shard.poll_event() {
            match event {
                Event::Retry { .. } => self.retry = true,
                Event::Served { client, answer } => self.serve(client, answer)?,
                Event::TimedOut { client } => self.time_out(client)?,
            }
        }
        Ok(())
    }

    fn serve(&mut self, client: ClientId, answer: Answer) -> Result<(), Halt> {
        let Some(at) = self.readers.iter().position(|reader| reader.client == client) else {
            return Err(Halt::Wrong(format!("{client:?} is served and does not wait")));
        };
        let Reader { op, .. } = self.readers.remove(at);
        if let Some(first) = self.readers[..at].iter().find(|reader| competes(&reader.op, &op)) {
            return Err(Halt::Wrong(format!("{op:?} is served before {first:?}")));
        }
        let Answer { result, wait } = answer;
        let seen = subject::told(&mut self.shard, result, &op);
        if let Err(Refused::Unexpected(CoreError::DiskFull)) = seen {
            return Ok(());
        }
        let keys = named(&op);
        let held = |pair: &Self, key: KeyAt| pair.model.keys.get(&model_key(key)).cloned();
        let before: Vec<_> = keys.iter().map(|key| held(self, *key)).collect();
        let expected = reference::apply(&mut self.model, self.now_ms, &op).remove(0);
        let what = || format!("waiting {op:?}\nshould be answered {expected:?}\nand got {seen:?}");
        match &seen {
            Err(Refused::Corrupt(..) | Refused::Lost(_)) => return Err(Halt::Damaged(what())),
            _ if expected == Ok(Reply::Nil) || !agree(&expected, &seen) => {
                return Err(Halt::Wrong(what()));
            }
            _ => {}
        }
        for (key, before) in keys.iter().zip(before) {
            if held(self, *key) != before {
                self.note_change(*key, self.is_relaxed(&op));
            }
        }
        let promise = self.promise(&op, &keys, wait);
        self.served.push(promise);
        Ok(())
    }

    fn time_out(&mut self, client: ClientId) -> Result<(), Halt> {
        let is_due = |reader: &Reader| {
            reader.client == client && reader.deadline_us.is_some_and(|at| at <= self.now_ms * 1000)
        };
        match self.readers.iter().position(is_due) {
            Some(at) => drop(self.readers.remove(at)),
            None => return Err(Halt::Wrong(format!("{client:?} waited too short"))),
        }
        Ok(())
    }

    /// Nobody waits for what is there, or longer than he wanted to.
    pub(super) fn check_waiting(&self) -> Result<(), Halt> {
        for reader in &self.readers {
            if reader.deadline_us.is_some_and(|at_us| at_us <= self.now_ms * 1000) {
                return Err(Halt::Wrong(format!("{reader:?} waits for too long")));
            }
            let answer = reference::apply(&mut self.model.clone(), self.now_ms, &reader.op);
            let waits = match (&answer[0], &reader.op) {
                (Ok(Reply::Nil), _) | (Err(ErrorKind::WrongType), Op::Xread { .. }) => true,
                // A full disk lets nothing be delivered.
                _ => self.shard.is_full(),
            };
            if !waits {
                return Err(Halt::Wrong(format!("{reader:?} waits, though there is {answer:?}")));
            }
        }
        Ok(())
    }

    /// The promises of the reads that waited and were answered since this was last called.
    pub fn take_served(&mut self) -> Vec<Promise> {
        std::mem::take(&mut self.served)
    }

    pub(super) fn watch(&mut self, keys: &[KeyAt]) {
        let now = self.now();
        keys.iter().for_each(|key| self.shard.watch(now, subject::CLIENT, subject::key_of(*key)));
        self.expire();
        let none = || Watching { keys: Vec::new(), changed: false, touched: false };
        self.watching.get_or_insert_with(none).keys.extend(keys);
    }

    /// What a command did to a key, seen by a WATCH.
    pub(super) fn note_watched(&mut self, key: KeyAt, before: Option<&Key>, after: Option<&Key>) {
        if let Some(watching) = self.watching.as_mut().filter(|w| w.keys.contains(&key)) {
            watching.touched = true;
            watching.changed |= !same_entries(before, after);
        }
    }

    /// Drops from the model what is over, which is a change to those who watch it.
    pub(super) fn expire(&mut self) {
        let Self { watching, model, now_ms, .. } = self;
        if let Some(watching) = watching {
            let keys = watching.keys.iter().filter_map(|key| model.keys.get(&model_key(*key)));
            let over = |key: &Key| key.expires_ms.is_some_and(|last| last < *now_ms);
            watching.changed |= keys.into_iter().any(over);
        }
        model.expire_keys(*now_ms);
    }

    /// Whether a transaction must not be carried out; the watch ends.
    pub(super) fn is_watch_broken(&mut self) -> Result<bool, Halt> {
        self.expire();
        let Some(Watching { keys, changed, touched }) = self.watching.take() else {
            return Ok(false);
        };
        let now = self.now();
        let broken = self.shard.is_watch_broken(now, subject::CLIENT);
        self.shard.unwatch(subject::CLIENT);
        match (changed, touched) {
            (true, _) if !broken => {
                Err(Halt::Wrong(format!("{keys:?} changed, and the transaction is carried out")))
            }
            (false, false) if broken => Err(Halt::Wrong(format!(
                "{keys:?} did not change, and the transaction is not done"
            ))),
            _ => Ok(broken),
        }
    }
}

/// Whether a read that waits must be served before another one, if there is anything for either.
fn competes(first: &Op, other: &Op) -> bool {
    match (first, other) {
        (
            Op::Xreadgroup { from, group, more, .. },
            Op::Xreadgroup { from: theirs, group: other, more: options, .. },
        ) => {
            let claims = more.claim_idle_ms.is_some() || options.claim_idle_ms.is_some();
            from.len() == 1 && from == theirs && group == other && !claims
        }
        _ => false,
    }
}

/// Whether two states of a key are the same to a WATCH: entries, or the string.
fn same_entries(one: Option<&Key>, other: Option<&Key>) -> bool {
    match (one.map(|key| &key.value), other.map(|key| &key.value)) {
        (None, None) => true,
        (Some(Value::Stream(one)), Some(Value::Stream(other))) => one.entries == other.entries,
        (Some(Value::Text(one)), Some(Value::Text(other))) => one == other,
        _ => false,
    }
}
