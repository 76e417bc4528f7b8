//! Events on their way into streams: one by one, together, in the background, later.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::backend::{Append, Backend, Due, Once};
use crate::buffer::{Buffer, BufferStats, Shed};
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::event::{self, Event};
use crate::message::MessageId;
use crate::schedule::Scheduled;
use crate::telemetry;
use crate::topic::Topic;
use crate::trace::TraceContext;

/// Who a producer says it is to the server, unless it is [`Producer::named`]: events of one
/// idempotency key are one event, whichever process sends them.
pub(crate) const NAME: &str = "levada";

/// Sends events. Cheap to clone.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Paid { order: String, cents: u64 }
/// # impl levada::Event for Paid {
/// #     const STREAM: &'static str = "payments";
/// #     fn idempotency_key(&self) -> Option<String> { Some(self.order.clone()) }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> levada::Result<()> {
/// let producer = levada::connect("memory:").await?.producer();
/// let paid = Paid { order: "A7".into(), cents: 1250 };
/// let id = producer.send(&paid).await?;
/// assert_eq!(producer.send(&paid).await?, id, "it has an idempotency key: sent once");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Producer {
    backend: Arc<dyn Backend>,
    topics: Arc<[Topic]>,
    durability: Durability,
    name: Arc<str>,
    headers: Arc<Vec<(String, String)>>,
    trace: Option<TraceContext>,
    buffer: Arc<OnceLock<Buffer>>,
}

impl Producer {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        topics: Arc<[Topic]>,
        durability: Durability,
    ) -> Self {
        let (name, headers, buffer) = (NAME.into(), Arc::default(), Arc::default());
        Self { backend, topics, durability, name, headers, trace: None, buffer }
    }

    /// The same producer under another name. Idempotency keys of different names are different.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self { name: name.into(), ..self.clone() }
    }

    /// The same producer, with one more header on each event.
    #[must_use]
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let mut headers = self.headers.to_vec();
        headers.push((name.to_owned(), value.to_owned()));
        Self { headers: Arc::new(headers), ..self.clone() }
    }

    /// The same producer, whose events belong to a trace that began elsewhere.
    #[must_use]
    pub fn with_trace(&self, trace: TraceContext) -> Self {
        Self { trace: Some(trace), ..self.clone() }
    }

    /// Sends an event and returns when it is acknowledged; on a backend that is durable, when it is
    /// on disk. After [`Error::Connection`] or [`Error::Timeout`] it may or may not be there:
    /// an event with an idempotency key can simply be sent again.
    pub async fn send<E: Event>(&self, event: &E) -> Result<MessageId> {
        let entry = self.entry(event)?;
        let mut ids = self.append(E::STREAM, vec![entry]).await?;
        ids.pop().unwrap_or_else(|| Err(Error::Protocol("no answer to an append".into())))
    }

    /// Sends events in one pipeline, in order. Each succeeds or fails for itself; the error is the
    /// first one, and which of the others are there it does not say: [`Producer::send_each`] does.
    /// Where one cannot be encoded none is sent.
    pub async fn send_all<E: Event>(&self, events: &[E]) -> Result<Vec<MessageId>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let entries = events.iter().map(|event| self.entry(event)).collect::<Result<_>>()?;
        self.append(E::STREAM, entries).await?.into_iter().collect()
    }

    /// The same, and answers for each event, in order: its id where it was accepted, or what became
    /// of it. By [`Error::Connection`], [`Error::Timeout`] and [`Error::Unconfirmed`] it may be
    /// there; by any other it is not. Those whose error [`Error::is_transient`] can be sent again.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Paid { cents: u64 }
    /// # impl levada::Event for Paid { const STREAM: &'static str = "payments"; }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levada::Result<()> {
    /// let broker = levada::connect("memory:").await?;
    /// let mut left = vec![Paid { cents: 1 }, Paid { cents: 2 }];
    /// while !left.is_empty() {
    ///     let outcomes = broker.producer().send_each(&left).await;
    ///     let mut outcomes = outcomes.into_iter();
    ///     left.retain(|_| matches!(outcomes.next(), Some(Err(error)) if error.is_transient()));
    /// }
    /// assert_eq!(broker.backend().len("payments").await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_each<E: Event>(&self, events: &[E]) -> Vec<Result<MessageId>> {
        let mut entries = Vec::with_capacity(events.len());
        let mut encoded = Vec::with_capacity(events.len());
        for event in events {
            encoded.push(self.entry(event).map(|entry| entries.push(entry)));
        }
        let count = entries.len();
        let answers = match count {
            0 => Ok(Vec::new()),
            _ => self.append(E::STREAM, entries).await,
        };
        let mut answers = answers.unwrap_or_else(|error| vec![Err(error); count]).into_iter();
        let mut next = || answers.next().unwrap_or_else(|| Err(Error::protocol("no answer")));
        encoded.into_iter().map(|encoded| encoded.and_then(|()| next())).collect()
    }

    /// Puts an event into a bounded buffer that is sent in the background, and never waits: for
    /// request paths that must not block. At the bound it is shed, and counted. The first call has
    /// to be made inside a tokio runtime.
    ///
    /// What is in the buffer is lost when the process dies: call [`Producer::flush`] before its
    /// end.
    pub fn try_enqueue<E: Event>(&self, event: &E) -> Result<(), Shed> {
        let entry = self.entry(event).map_err(Shed::Invalid)?;
        self.buffer
            .get_or_init(|| Buffer::start(Arc::clone(&self.backend), self.durability))
            .push(entry)
    }

    /// Waits until all that was put into the buffer before is sent or given up; answers its counts.
    pub async fn flush(&self) -> BufferStats {
        match self.buffer.get() {
            Some(buffer) => buffer.flush().await,
            None => BufferStats::default(),
        }
    }

    /// What became of the events of [`Producer::try_enqueue`], over all clones.
    pub fn buffer_stats(&self) -> BufferStats {
        self.buffer.get().map_or_else(BufferStats::default, Buffer::stats)
    }

    /// Sends an event after a while; it survives restarts as the server does.
    pub async fn send_in<E: Event>(&self, event: &E, wait: Duration) -> Result<Scheduled> {
        self.schedule(event, Due::In(wait)).await
    }

    /// Sends an event at a time; at once where that has passed.
    pub async fn send_at<E: Event>(&self, event: &E, at: SystemTime) -> Result<Scheduled> {
        let ms = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.schedule(event, Due::At(u64::try_from(ms).unwrap_or(u64::MAX))).await
    }

    async fn append(&self, stream: &str, entries: Vec<Append>) -> Result<Vec<Result<MessageId>>> {
        let count = entries.len();
        let answers = self.backend.append_held(entries, self.durability).await;
        let well = answers.as_ref().map_or(0, |ids| ids.iter().filter(|id| id.is_ok()).count());
        telemetry::sent(stream, well, count - well);
        answers
    }

    async fn schedule<E: Event>(&self, event: &E, due: Due) -> Result<Scheduled> {
        let entry = self.entry(event)?;
        let stream = entry.stream.clone();
        let handle = self.backend.schedule(entry, due).await?;
        Ok(Scheduled::new(Arc::clone(&self.backend), &stream, handle))
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub(crate) fn entry<E: Event>(&self, event: &E) -> Result<Append> {
        let mut entry = entry(event, &self.name, &self.headers, self.trace)?;
        if let Some(topic) = self.topics.iter().find(|topic| topic.name() == E::STREAM) {
            entry.stream = topic.place(&entry);
        }
        Ok(entry)
    }
}

/// The entry that an event is when a producer of this name sends it.
pub(crate) fn entry<E: Event>(
    event: &E,
    producer: &str,
    headers: &[(String, String)],
    trace: Option<TraceContext>,
) -> Result<Append> {
    let mut fields = event::encode(event)?;
    let trace = trace.unwrap_or_else(TraceContext::next);
    fields.push(event::TRACEPARENT, trace.to_string());
    for (name, value) in headers {
        fields.push(format!("{}{name}", event::HEADER), value.as_str());
    }
    let once = event.idempotency_key().filter(|id| !id.is_empty());
    let once = once.map(|id| Once { producer: producer.to_owned(), id });
    Ok(Append { stream: E::STREAM.to_owned(), fields, once })
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("name", &self.name).finish_non_exhaustive()
    }
}
