//! A URL becomes a broker: the handle from which producers, workers and the rest are made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::capabilities::Capabilities;
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::producer::Producer;
use crate::topic::Topic;

/// A connected backend. Cheap to clone; all clones share its connections.
#[derive(Clone)]
pub struct Broker {
    backend: Arc<dyn Backend>,
    /// Streams that are partitioned.
    topics: Arc<[Topic]>,
    durability: Durability,
}

/// Connects to what a URL names and finds out what it can do.
///
/// | URL | what |
/// |---|---|
/// | `memory:` | an engine in this process that keeps nothing (feature `embedded`) |
/// | `embedded:PATH` | an engine in this process, durable, in a directory (feature `embedded`) |
/// | `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]` | Levada, Redis or Valkey (feature `redis`) |
/// | `redis-sentinel://[USER@]HOST[:PORT],.../MASTER[/DB]` | the master that sentinels name |
/// | `redis-cluster://[USER@]HOST[:PORT],...` | a cluster of Redis or Valkey |
/// | `rediss://...`, `rediss-cluster://...`, `rediss-sentinel://...` | the same over TLS |
///
/// TLS goes by the certificates of the system, or by `?ca=FILE` (PEM); `cert=FILE` and `key=FILE`
/// are what the client shows of itself. A certificate has to name what the URL names: in a cluster
/// and behind sentinels these are the addresses that the servers announce.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> levada::Result<()> {
/// let broker = levada::connect("memory:").await?;
/// assert!(broker.capabilities().leases);
/// # Ok(())
/// # }
/// ```
pub async fn connect(url: &str) -> Result<Broker> {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    match scheme {
        #[cfg(feature = "embedded")]
        "memory" if rest.is_empty() => {
            Ok(Broker::over(crate::backend::engine::Embedded::memory()?))
        }
        #[cfg(feature = "embedded")]
        "embedded" if !rest.is_empty() => {
            // Opening recovers: it reads files.
            let path = std::path::PathBuf::from(rest);
            let open = move || crate::backend::engine::Embedded::open(&path);
            let opened = tokio::task::spawn_blocking(open).await;
            Ok(Broker::over(opened.map_err(|error| Error::Closed(error.to_string()))??))
        }
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "redis-sentinel" | "rediss-sentinel" => {
            Ok(Broker::over(crate::backend::redis::Redis::connect(url).await?))
        }
        #[cfg(feature = "redis")]
        "redis-cluster" | "rediss-cluster" => {
            Ok(Broker::over(crate::backend::redis::cluster::Cluster::connect(url).await?))
        }
        _ => Err(unknown(url, rest)),
    }
}

/// A client of the redis crate, not connected yet, for the one server that a `redis://` or
/// `rediss://` URL names, with its certificates: for commands that the toolkit has no word for.
#[cfg(feature = "redis")]
pub fn client(url: &str) -> Result<redis::Client> {
    crate::backend::redis::client(url)
}

fn unknown(url: &str, rest: &str) -> Error {
    let why = match rest.is_empty() {
        true => "it needs a scheme and what the scheme asks for, such as redis://localhost",
        false => "the scheme is not known, or not compiled in (features embedded, redis)",
    };
    let shown = url.split_once('@').map_or(url, |(_, host)| host);
    Error::Url { url: shown.to_owned(), why: why.to_owned() }
}

impl Broker {
    /// A broker over a backend of one's own.
    pub fn over(backend: impl Backend) -> Self {
        let (topics, durability) = (Arc::default(), Durability::leader());
        Self { backend: Arc::new(backend), topics, durability }
    }

    /// The same broker, for which a stream is laid over so many partitions, 1 to
    /// [`crate::PARTITIONS_MAX`]: its producers send each event to the partition of its key, and
    /// its workers read all of them. The number is kept in the server when it is first said;
    /// later the kept one holds, see [`Broker::topic`], and [`Broker::grow`] to have more.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Paid { by: String }
    /// # impl levada::Event for Paid {
    /// #     const STREAM: &'static str = "payments";
    /// #     fn key(&self) -> Option<&str> { Some(&self.by) }
    /// # }
    /// use levada::Event;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levada::Result<()> {
    /// let broker = levada::connect("memory:").await?.partitioned(Paid::STREAM, 4).await?;
    /// broker.producer().send(&Paid { by: "eve".into() }).await?;
    /// let topic = broker.topic(Paid::STREAM).expect("just said");
    /// assert_eq!(broker.backend().len(&topic.stream_of(b"eve")).await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn partitioned(&self, stream: &str, partitions: u32) -> Result<Self> {
        Ok(self.with(&Topic::open(&*self.backend, stream, partitions).await?))
    }

    /// Begins another generation of a partitioned stream, with so many partitions: new events go
    /// there. Programs that are running learn of it when they are started again, workers best
    /// first; nothing is lost in any order.
    pub async fn grow(&self, stream: &str, partitions: u32) -> Result<Self> {
        let topic = self.topic(stream);
        let topic = topic.ok_or_else(|| Error::NotFound(format!("partitions of {stream}")))?;
        Ok(self.with(&topic.grow(&*self.backend, partitions).await?))
    }

    fn with(&self, topic: &Topic) -> Self {
        let others = self.topics.iter().filter(|it| it.name() != topic.name()).cloned();
        Self { topics: others.chain([topic.clone()]).collect(), ..self.clone() }
    }

    /// A partitioned stream, as it was when it was opened.
    pub fn topic(&self, stream: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name() == stream)
    }

    /// The same broker, whose producers wait for more copies of each event.
    #[must_use]
    pub fn durability(&self, durability: Durability) -> Self {
        Self { durability, ..self.clone() }
    }

    /// From now on the server removes by itself what every group of a stream has acknowledged, and
    /// nothing else; it is kept in the server, and is done for all partitions there are. The stream
    /// has to be there: [`Error::NotFound`]. Where the server has no such policy it is
    /// [`Error::Unsupported`], and [`crate::Janitor::sweep`] does it.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Mail { to: String }
    /// # impl levada::Event for Mail { const STREAM: &'static str = "mails"; }
    /// # async fn post(_: levada::Msg<Mail>) {}
    /// use levada::{Event, Worker};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levada::Result<()> {
    /// let broker = levada::connect("memory:").await?;
    /// broker.producer().send(&Mail { to: "ada".into() }).await?;
    /// broker.retain_acked(Mail::STREAM).await?;
    /// Worker::new(&broker, "post").handle(post).run_until_idle().await?;
    /// assert_eq!(broker.backend().len(Mail::STREAM).await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn retain_acked(&self, stream: &str) -> Result<()> {
        let Some(topic) = self.topic(stream) else {
            return self.backend.retain_acked(stream).await;
        };
        for stream in topic.streams().concat() {
            self.backend.retain_acked(&stream).await?;
        }
        Ok(())
    }

    /// From now on a second send of an event with an idempotency key is known for `window` behind
    /// the first, among the last `events_max` events of the stream that have one (Redis: of each
    /// producer); it is kept in the server, and is done for all partitions there are. A stream that
    /// is missing is made, so that this can come before the first event.
    ///
    /// Without it the window is the server's: 100 s, and 100 events of a producer. That is too
    /// little where a worker sends what it did in a handler: it may be killed behind the send, and
    /// its event comes again when the lease is over and others have sent on.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the server remembers less: Redis 8.6
    /// a day and 10,000 events of a producer at most, and where the append is emulated 100 s of any
    /// number.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Paid { order: String }
    /// # impl levada::Event for Paid {
    /// #     const STREAM: &'static str = "paid";
    /// #     fn idempotency_key(&self) -> Option<String> { Some(self.order.clone()) }
    /// # }
    /// # use levada::Event;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levada::Result<()> {
    /// let broker = levada::connect("memory:").await?;
    /// broker.dedup_window(Paid::STREAM, Duration::from_hours(24), 1_000_000).await?;
    /// # let producer = broker.producer();
    /// let id = producer.send(&Paid { order: "4711".into() }).await?;
    /// // A night and 999,999 other orders later:
    /// assert_eq!(producer.send(&Paid { order: "4711".into() }).await?, id);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn dedup_window(
        &self,
        stream: &str,
        window: Duration,
        events_max: u64,
    ) -> Result<()> {
        let Some(topic) = self.topic(stream) else {
            return self.backend.dedup_window(stream, window, events_max).await;
        };
        for stream in topic.streams().concat() {
            self.backend.dedup_window(&stream, window, events_max).await?;
        }
        Ok(())
    }

    /// What the server does by itself, and what is emulated or missing.
    pub fn capabilities(&self) -> &Capabilities {
        self.backend.capabilities()
    }

    /// A producer.
    pub fn producer(&self) -> Producer {
        Producer::new(Arc::clone(&self.backend), Arc::clone(&self.topics), self.durability)
    }

    /// The seam underneath, for what the toolkit has no word for.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Broker").field(&self.backend.capabilities().server).finish()
    }
}
