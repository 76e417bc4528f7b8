//! Any command as a call that does not wait: the door for callers that must not block, such as
//! asynchronous programs, and for commands that have no method of [`Engine`].

use std::{collections::BTreeMap, time::Duration};

use levada_core::{command::Command, reply::Reply};

use super::{Engine, Queue, Request, closed};
use crate::{
    clock::Now,
    error::Error,
    shard::{Answer, BlockedRead, ClientId, Entry, Listening, Outcome, Shard, Wait},
    store::Store,
};

/// What a call does, as often as it has to be done again.
pub(super) type Run = Box<dyn FnMut(&mut dyn Execute) -> Outcome + Send>;
/// Who is told the outcome of a call.
pub(super) type Caller = Box<dyn FnOnce(Result<Answered, Error>) + Send>;

/// What a call gets back.
#[derive(Debug)]
pub enum Answered {
    /// Anything but entries.
    Reply(Reply),
    /// Entries of one stream.
    Entries(Vec<Entry>),
    /// Entries of several: which of the streams asked for, and its entries.
    Streams(Vec<(usize, Vec<Entry>)>),
}

/// What a call does with the shard.
pub(super) trait Execute {
    fn execute(&mut self, command: &Command<'_>) -> Outcome;

    /// Answers how many messages that makes.
    fn publish(&mut self, channel: &[u8], payload: &[u8]) -> Outcome;

    /// Lets the caller listen; answers 1, or 0 where the names are too long.
    fn subscribe(&mut self, listening: Listening, names: &[Vec<u8>], queue: &Queue) -> Outcome;
}

/// The shard during a call.
pub struct Turn<'s>(&'s mut dyn Execute);

impl Turn<'_> {
    /// Carries out one command: the only one of its call.
    pub fn execute(&mut self, command: &Command<'_>) -> Outcome {
        self.0.execute(command)
    }

    /// Publishes to a channel; answers how many messages that makes.
    pub fn publish(&mut self, channel: &[u8], payload: &[u8]) -> Outcome {
        self.0.publish(channel, payload)
    }
}

impl std::fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Turn")
    }
}

/// A command on its way. Its closure runs again when blocks that it needed were read, so it must
/// build the same command each time.
pub struct Call {
    run: Run,
    blocked: Option<(BlockedRead, Option<Duration>)>,
}

impl Call {
    /// A call that executes one command.
    pub fn new(mut run: impl FnMut(&mut Turn<'_>) -> Outcome + Send + 'static) -> Self {
        Self { run: Box::new(move |shard| run(&mut Turn(shard))), blocked: None }
    }

    /// Where the read finds nothing, it waits up to `timeout` for entries; for ever without one.
    #[must_use]
    pub fn or_wait(self, read: BlockedRead, timeout: Option<Duration>) -> Self {
        Self { blocked: Some((read, timeout)), ..self }
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("blocked", &self.blocked).finish_non_exhaustive()
    }
}

impl Engine {
    /// Hands a call in and returns at once. `done` is told the outcome on the engine's own thread
    /// when it is durable, so it must not block nor call the engine; it is dropped untold when the
    /// engine stops after an error. An error where the engine has stopped before.
    ///
    /// ```
    /// use levada_engine::{Answered, Call, Engine, command::{Command, Key}, reply::Reply};
    ///
    /// # fn main() -> Result<(), levada_engine::Error> {
    /// let engine = Engine::in_memory()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let key = Key { database: 0, name: b"visits" };
    /// let call = Call::new(move |turn| turn.execute(&Command::Incrby(key, 1)));
    /// engine.submit(call, move |outcome| drop(sender.send(outcome)))?;
    /// let outcome = receiver.recv().expect("the engine runs");
    /// assert!(matches!(outcome?, Answered::Reply(Reply::Integer(1))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit(
        &self,
        call: Call,
        done: impl FnOnce(Result<Answered, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        let request = Request { run: call.run, blocked: call.blocked, answer: Box::new(done) };
        let requests = self.requests.as_ref().ok_or_else(closed)?;
        requests.send(request).map_err(|_| closed())
    }
}

/// The shard, for the time of a call.
pub(super) struct Bound<'s, S> {
    pub(super) shard: &'s mut Shard<S>,
    pub(super) subscribers: &'s mut BTreeMap<ClientId, Queue>,
    pub(super) now: Now,
    pub(super) client: ClientId,
}

fn done(count: u64) -> Outcome {
    let result = Ok(Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX)));
    Outcome::Done(Answer { result, wait: Wait::Nothing })
}

impl<S: Store> Execute for Bound<'_, S> {
    fn execute(&mut self, command: &Command<'_>) -> Outcome {
        self.shard.execute(self.now, self.client, command)
    }

    fn publish(&mut self, channel: &[u8], payload: &[u8]) -> Outcome {
        done(self.shard.publish(Listening::Channel, channel, payload))
    }

    fn subscribe(&mut self, listening: Listening, names: &[Vec<u8>], queue: &Queue) -> Outcome {
        // Those who left are found when somebody comes, so that there are never many of them.
        self.subscribers.retain(|client, queue| {
            let stays = !queue.is_abandoned();
            if !stays {
                self.shard.forget(*client);
            }
            stays
        });
        let client = self.client;
        if !names.iter().all(|name| self.shard.subscribe(client, listening, name)) {
            self.shard.forget(client);
            return done(0);
        }
        self.subscribers.insert(client, queue.clone());
        done(1)
    }
}
