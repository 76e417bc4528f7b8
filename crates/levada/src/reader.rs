//! Reading a stream without a group: replay from an id or a time, then follow.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::backend::TailReader;
use crate::broker::Broker;
use crate::error::{Error, Result};
use crate::event::{self, DecodeError, Event};
use crate::message::{Entry, MessageId};

/// Entries read at a time.
const PAGE: usize = 256;
/// How long a read waits before it is made anew.
const WAIT: Duration = Duration::from_secs(5);
/// Rests behind failed reads: the first, doubled up to the longest.
const REST_MIN: Duration = Duration::from_millis(50);
const REST_MAX: Duration = Duration::from_secs(5);

/// Reads a stream from some place on. Nothing is acknowledged, and nobody else is disturbed: keep
/// [`Reader::position`] to go on later.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Debug)] struct Paid { cents: u64 }
/// # impl levada::Event for Paid { const STREAM: &'static str = "payments"; }
/// use levada::Reader;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> levada::Result<()> {
/// let broker = levada::connect("memory:").await?;
/// broker.producer().send_all(&[Paid { cents: 1 }, Paid { cents: 2 }]).await?;
/// let mut reader = Reader::from_start::<Paid>(&broker).await?;
/// let (_, first) = reader.next_event::<Paid>().await?;
/// assert_eq!(first?.cents, 1);
/// assert_eq!(reader.replay().await?.len(), 1); // What else is there now.
/// # Ok(())
/// # }
/// ```
pub struct Reader {
    tail: Box<dyn TailReader>,
    stream: String,
    position: MessageId,
    /// Read and not taken yet, the next one last.
    read: Vec<Entry>,
}

impl Reader {
    /// From the oldest entry that is there.
    pub async fn from_start<E: Event>(broker: &Broker) -> Result<Self> {
        Self::behind(broker, E::STREAM, MessageId::MIN).await
    }

    /// From the first entry of a time on.
    pub async fn from_time<E: Event>(broker: &Broker, time: SystemTime) -> Result<Self> {
        let ms = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let first = MessageId::at(u64::try_from(ms).unwrap_or(u64::MAX));
        let before = first.previous().unwrap_or(MessageId::MIN);
        Self::behind(broker, E::STREAM, before).await
    }

    /// Behind an entry: what [`Reader::position`] said.
    pub async fn from_id<E: Event>(broker: &Broker, id: MessageId) -> Result<Self> {
        Self::behind(broker, E::STREAM, id).await
    }

    /// Behind an entry of any stream.
    pub async fn behind(broker: &Broker, stream: &str, id: MessageId) -> Result<Self> {
        let (tail, stream) = (broker.backend().tail().await?, stream.to_owned());
        Ok(Self { tail, stream, position: id, read: Vec::new() })
    }

    /// The last entry that was taken.
    pub fn position(&self) -> MessageId {
        self.position
    }

    /// The next entry; waits for it as long as it takes, also over lost connections. It may be
    /// dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Result<Entry> {
        let mut rest = REST_MIN;
        loop {
            if let Some(entry) = self.take() {
                return Ok(entry);
            }
            match self.read(Some(WAIT)).await {
                Ok(()) => rest = REST_MIN,
                Err(error) if error.is_transient() => {
                    tracing::warn!(stream = self.stream, %error, "reading failed; trying again");
                    tokio::time::sleep(rest).await;
                    rest = (rest * 2).min(REST_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The next entry as an event, with its id. What does not parse is passed to the caller, and
    /// the reader goes on behind it.
    pub async fn next_event<E: Event>(&mut self) -> Result<(MessageId, Result<E, DecodeError>)> {
        let entry = self.next().await?;
        Ok((entry.id, event::decode(&entry.fields)))
    }

    /// All entries from here to the end as it is now, at most [`Reader::PAGE_MAX`]: call again
    /// until it answers none.
    pub async fn replay(&mut self) -> Result<Vec<Entry>> {
        if self.read.is_empty() {
            self.read(None).await?;
        }
        Ok(std::iter::from_fn(|| self.take()).collect())
    }

    /// Entries that [`Reader::replay`] answers at most.
    pub const PAGE_MAX: usize = PAGE;

    fn take(&mut self) -> Option<Entry> {
        let entry = self.read.pop()?;
        self.position = entry.id;
        Some(entry)
    }

    async fn read(&mut self, wait: Option<Duration>) -> Result<()> {
        let found = self.tail.read(&self.stream, self.position, PAGE, wait).await;
        self.read = match found {
            Err(Error::NotFound(_)) => Vec::new(), // It was deleted while we waited.
            found => found?,
        };
        self.read.reverse();
        Ok(())
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Reader");
        shown.field("stream", &self.stream).field("position", &self.position);
        shown.finish_non_exhaustive()
    }
}
