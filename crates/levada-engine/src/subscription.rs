//! Listening to channels inside the process: the queue between the engine and one subscriber.
//!
//! The engine never waits for a subscriber. What is published and not yet taken is counted in
//! bytes; whoever falls behind by more than [`QUEUE_BYTES_MAX`] is closed and told so, as the
//! server does with a connection.

use std::time::Duration;

use super::threads::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    mpsc::{self, Receiver, RecvTimeoutError, Sender},
};
use crate::{
    error::{Error, ErrorKind},
    shard::Delivery,
};

/// Bytes that may be published to a subscriber and not taken yet, each message counted with
/// [`MESSAGE_BYTES`].
pub const QUEUE_BYTES_MAX: usize = 32 << 20;
/// What a message counts beside its channel and payload.
pub const MESSAGE_BYTES: usize = 128;

/// Something that was published to a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Where.
    pub channel: Arc<[u8]>,
    /// The pattern that matched, of [`crate::Engine::subscribe_patterns`].
    pub pattern: Option<Arc<[u8]>>,
    /// What.
    pub payload: Arc<[u8]>,
}

/// Messages for one subscriber, from [`crate::Engine::subscribe`] on until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    messages: Receiver<Message>,
    shared: Arc<Shared>,
}

/// What both sides of a queue see.
#[derive(Default, Debug)]
struct Shared {
    queued_bytes: AtomicUsize,
    /// The subscriber fell behind.
    overrun: AtomicBool,
}

/// The engine's side of a queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    messages: Sender<Message>,
    shared: Arc<Shared>,
}

impl Subscription {
    /// The two sides of a new queue.
    pub(crate) fn pair() -> (Queue, Self) {
        let (sender, messages) = mpsc::channel();
        let shared = Arc::<Shared>::default();
        (Queue { messages: sender, shared: Arc::clone(&shared) }, Self { messages, shared })
    }

    /// The next message; waits up to `timeout`, for ever without one. `None` when the time is over.
    /// An error of kind [`ErrorKind::Overrun`] behind the last message of a subscription that fell
    /// behind: subscribe again; of kind [`ErrorKind::Closed`] when the engine is gone.
    pub fn recv(&self, timeout: Option<Duration>) -> Result<Option<Message>, Error> {
        let received = match timeout {
            Some(timeout) => self.messages.recv_timeout(timeout),
            None => self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(message) => {
                self.shared.queued_bytes.fetch_sub(cost(&message), Ordering::Relaxed);
                Ok(Some(message))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.end()),
        }
    }

    fn end(&self) -> Error {
        match self.shared.overrun.load(Ordering::Acquire) {
            true => Error::new(
                ErrorKind::Overrun,
                "more than 32 MiB of messages were published and not taken: subscribe again",
            ),
            false => Error::new(ErrorKind::Closed, "the engine has stopped"),
        }
    }
}

impl Queue {
    /// Whether nobody will take a message any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        // The clones of the engine live in its own thread, for the time of one call.
        Arc::strong_count(&self.shared) == 1
    }

    /// Makes room for a message that will be sent; `false` closes the queue.
    pub(crate) fn reserve(&self, delivery: &Delivery) -> bool {
        if self.shared.overrun.load(Ordering::Relaxed) {
            return false;
        }
        let more = MESSAGE_BYTES + delivery.channel.len() + delivery.payload.len();
        let fits =
            self.shared.queued_bytes.fetch_add(more, Ordering::Relaxed) + more <= QUEUE_BYTES_MAX;
        if !fits {
            self.shared.overrun.store(true, Ordering::Release);
        }
        fits
    }

    /// Sends a message that there is room for.
    pub(crate) fn send(&self, delivery: Delivery) {
        let Delivery { channel, pattern, payload, .. } = delivery;
        // Whoever dropped the other side wants it no more.
        let _ = self.messages.send(Message { channel, pattern, payload });
    }
}

fn cost(message: &Message) -> usize {
    MESSAGE_BYTES + message.channel.len() + message.payload.len()
}
