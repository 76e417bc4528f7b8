//! Values beside the streams: with a time to live, as locks and counters, told when they change.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::Backend;
use crate::broker::Broker;
use crate::channel::{Channel, Listening};
use crate::error::{Error, Result};
use crate::event::DecodeError;

/// Typed values under a prefix.
///
/// ```
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> levada::Result<()> {
/// let broker = levada::connect("memory:").await?;
/// let cache = levada::Cache::new(&broker, "rates");
/// cache.set("eur", &1.07, Some(Duration::from_secs(60))).await?;
/// assert_eq!(cache.get::<f64>("eur").await?, Some(1.07));
/// assert!(!cache.add("eur", &0.0, None).await?, "it is there");
/// assert_eq!(cache.incr("asked", 2).await?, 2);
/// cache.invalidate("eur").await?;
/// assert_eq!(cache.get::<f64>("eur").await?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cache {
    backend: Arc<dyn Backend>,
    prefix: Arc<str>,
}

impl Cache {
    /// The values under a prefix: keys are `PREFIX:KEY`.
    pub fn new(broker: &Broker, prefix: &str) -> Self {
        Self { backend: Arc::clone(broker.backend()), prefix: prefix.into() }
    }

    /// A value, if it is there and its time is not over.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let read = |bytes: Vec<u8>| {
            let bad = |error: serde_json::Error| DecodeError::Json(error.to_string());
            serde_json::from_slice(&bytes).map_err(bad)
        };
        Ok(self.backend.get(&self.key(key)).await?.map(read).transpose()?)
    }

    /// Sets a value, for a time or for good.
    pub async fn set<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        ttl: Option<Duration>,
    ) -> Result<()> {
        self.put(key, value, ttl, false).await.map(drop)
    }

    /// Sets a value where there is none; answers whether it did. Among many who try, one does.
    pub async fn add<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        self.put(key, value, ttl, true).await
    }

    /// Adds to a number; a missing one is 0. Answers the sum.
    pub async fn incr(&self, key: &str, by: i64) -> Result<i64> {
        self.backend.incr(&self.key(key), by).await
    }

    /// Removes a value, and tells those who hold copies of it ([`Cache::invalidations`]).
    pub async fn invalidate(&self, key: &str) -> Result<bool> {
        let was_there = self.backend.remove(&self.key(key)).await?;
        self.channel().publish(&key.to_owned()).await?;
        Ok(was_there)
    }

    /// Keys that are invalidated from now on, for whoever keeps copies in the process. Behind its
    /// end everything that is kept may be stale: drop it, and listen again.
    pub async fn invalidations(&self) -> Result<Listening<String>> {
        self.channel().listen().await
    }

    fn channel(&self) -> Channel<String> {
        Channel::over(Arc::clone(&self.backend), &format!("{}:invalidated", self.prefix))
    }

    async fn put<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        ttl: Option<Duration>,
        only_new: bool,
    ) -> Result<bool> {
        let bytes = serde_json::to_vec(value).map_err(|error| Error::Encode(error.to_string()))?;
        self.backend.set(&self.key(key), bytes, ttl, only_new).await
    }

    fn key(&self, key: &str) -> String {
        format!("{}:{key}", self.prefix)
    }
}
