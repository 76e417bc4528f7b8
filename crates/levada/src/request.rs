//! Ask and wait: an event whose handler answers, with a time limit.
//!
//! The question stands in a stream and is as durable as any event. The answer is published to a
//! channel that only the asker listens to: an asker that has gone, or waited too long, never gets
//! it. A question may be handled, and so answered, more than once; the first answer counts.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::channel::Channel;
use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::handler::{BoxError, FromDelivery};
use crate::producer::Producer;
use crate::random;

/// The header that says where the answer goes.
const REPLY_TO: &str = "reply-to";

impl Producer {
    /// Sends an event and waits for the answer of its handler. [`Error::Timeout`] where none came
    /// in time: whether it was handled is unknown.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// use std::time::Duration;
    /// use levada::{Msg, Replies, Worker};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Double(u64);
    /// impl levada::Event for Double { const STREAM: &'static str = "double"; }
    ///
    /// async fn double(replies: Replies, Msg(Double(n)): Msg<Double>) -> levada::Result<()> {
    ///     replies.send(&(2 * n)).await
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levada::Result<()> {
    /// let broker = levada::connect("memory:").await?;
    /// let shutdown = tokio::time::sleep(Duration::from_millis(200));
    /// tokio::spawn(Worker::new(&broker, "math").handle(double).run(shutdown));
    /// let answer: u64 = broker.producer().request(&Double(21), Duration::from_secs(10)).await?;
    /// assert_eq!(answer, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn request<E: Event, R: Serialize + DeserializeOwned>(
        &self,
        event: &E,
        limit: Duration,
    ) -> Result<R> {
        let channel =
            format!("{}:reply:{:016x}{:016x}", E::STREAM, random::number(), random::number());
        let asking = async {
            // Listen first: the answer may be quicker than the return of the send.
            let replies = Channel::<R>::over(Arc::clone(self.backend()), &channel);
            let mut heard = replies.listen().await?;
            self.with_header(REPLY_TO, &channel).send(event).await?;
            heard.next().await
        };
        tokio::time::timeout(limit, asking).await.unwrap_or(Err(Error::Timeout(limit)))
    }
}

/// Answers to a question, as an argument of a handler. Where nobody asked, they go nowhere.
#[derive(Clone, Debug)]
pub struct Replies {
    producer: Producer,
    channel: Option<String>,
}

impl Replies {
    /// Whether somebody asked.
    pub fn are_wanted(&self) -> bool {
        self.channel.is_some()
    }

    /// Sends an answer.
    pub async fn send<R: Serialize + DeserializeOwned>(&self, answer: &R) -> Result<()> {
        let Some(channel) = &self.channel else {
            return Ok(());
        };
        let channel = Channel::<R>::over(Arc::clone(self.producer.backend()), channel);
        channel.publish(answer).await.map(drop)
    }
}

impl<S> FromDelivery<S> for Replies {
    fn from_delivery(delivery: &Delivery, _: &S) -> Result<Self, BoxError> {
        let channel = delivery.header(REPLY_TO).map(str::to_owned);
        Ok(Self { producer: delivery.producer.clone(), channel })
    }
}
