//! Values of a shared cache, with copies in this process that are dropped when a value changes.
//!
//! Three things go wrong in most of these. A copy that is stored behind its own invalidation stays
//! for ever: here nothing is stored if anything was invalidated while it was read. Notices that
//! were missed leave stale copies: when listening ends all copies go, and none is stored until it
//! has begun again. And a reader that was slow may put an old value back into the shared cache:
//! that one a cache cannot close alone, so shared values have a time to live.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use levada::{Cache, Listening, Result};
use serde::{Serialize, de::DeserializeOwned};
use tokio::task::JoinHandle;

/// How long a shared value may be wrong.
const TTL: Duration = Duration::from_mins(1);
/// Copies at most; then all go.
const COPIES_MAX: usize = 10_000;
/// Between attempts to listen again.
const REST: Duration = Duration::from_millis(200);

/// A cache with copies. They end with it.
#[derive(Debug)]
pub(crate) struct Near<T> {
    cache: Cache,
    /// Held for no longer than a look.
    copies: Arc<Mutex<Copies<T>>>,
    listener: JoinHandle<()>,
}

#[derive(Debug)]
struct Copies<T> {
    values: HashMap<String, T>,
    /// Grows with each invalidation.
    generation: u64,
    is_listening: bool,
}

impl<T: Serialize + DeserializeOwned + Clone + Send + 'static> Near<T> {
    /// Listens, and begins without copies.
    pub(crate) async fn open(cache: Cache) -> Result<Self> {
        let heard = cache.invalidations().await?;
        let copies = Copies { values: HashMap::new(), generation: 0, is_listening: true };
        let copies = Arc::new(Mutex::new(copies));
        let listener = tokio::spawn(listen(cache.clone(), heard, Arc::clone(&copies)));
        Ok(Self { cache, copies, listener })
    }

    /// A value: the copy, else the shared one, else what `load` finds.
    pub(crate) async fn get<F>(&self, key: &str, load: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let generation = {
            let copies = look(&self.copies);
            if let Some(value) = copies.values.get(key) {
                return Ok(value.clone());
            }
            copies.generation
        };
        let value = if let Some(value) = self.cache.get(key).await? {
            value
        } else {
            let value = load().await?;
            self.cache.set(key, &value, Some(TTL)).await?;
            value
        };
        let mut copies = look(&self.copies);
        if copies.is_listening && copies.generation == generation {
            if copies.values.len() == COPIES_MAX {
                copies.values.clear();
            }
            copies.values.insert(key.to_owned(), value.clone());
        }
        Ok(value)
    }

    /// The value has changed: everybody forgets it.
    pub(crate) async fn invalidate(&self, key: &str) -> Result<()> {
        self.cache.invalidate(key).await.map(drop)
    }

    /// Whether there is a copy of a value.
    pub(crate) fn has_copy(&self, key: &str) -> bool {
        look(&self.copies).values.contains_key(key)
    }
}

impl<T> Drop for Near<T> {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn listen<T>(cache: Cache, mut heard: Listening<String>, copies: Arc<Mutex<Copies<T>>>) {
    loop {
        if let Ok(key) = heard.next().await {
            let mut copies = look(&copies);
            copies.generation += 1;
            copies.values.remove(&key);
            continue;
        }
        forget(&copies, false);
        heard = loop {
            match cache.invalidations().await {
                Ok(heard) => break heard,
                Err(_) => tokio::time::sleep(REST).await,
            }
        };
        forget(&copies, true);
    }
}

fn forget<T>(copies: &Mutex<Copies<T>>, is_listening: bool) {
    let mut copies = look(copies);
    copies.values.clear();
    copies.generation += 1;
    copies.is_listening = is_listening;
}

fn look<T>(copies: &Mutex<Copies<T>>) -> MutexGuard<'_, Copies<T>> {
    copies.lock().unwrap_or_else(PoisonError::into_inner)
}
