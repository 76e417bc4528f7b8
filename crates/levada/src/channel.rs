//! Publish and subscribe, typed: for what only those need who listen now.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::{Backend, Listener};
use crate::broker::Broker;
use crate::error::{Error, Result};
use crate::event::DecodeError;

/// A channel of messages of one type. Nothing is kept of a message: who listens gets it, others
/// never do. What must not be lost belongs into a stream.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> levada::Result<()> {
/// let broker = levada::connect("memory:").await?;
/// let alarms = levada::Channel::<String>::new(&broker, "alarms");
/// let mut heard = alarms.listen().await?;
/// assert_eq!(alarms.publish(&"smoke".to_owned()).await?, 1);
/// assert_eq!(heard.next().await?, "smoke");
/// # Ok(())
/// # }
/// ```
pub struct Channel<T> {
    backend: Arc<dyn Backend>,
    name: String,
    messages: PhantomData<fn() -> T>,
}

/// Who listens to a [`Channel`], until it is dropped.
pub struct Listening<T> {
    listener: Box<dyn Listener>,
    messages: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Channel<T> {
    /// A channel by its name.
    pub fn new(broker: &Broker, name: &str) -> Self {
        Self::over(Arc::clone(broker.backend()), name)
    }

    pub(crate) fn over(backend: Arc<dyn Backend>, name: &str) -> Self {
        Self { backend, name: name.to_owned(), messages: PhantomData }
    }

    /// Publishes; answers how many listen, as far as the server they listen at knows.
    pub async fn publish(&self, message: &T) -> Result<u64> {
        let bytes =
            serde_json::to_vec(message).map_err(|error| Error::Encode(error.to_string()))?;
        self.backend.publish(&self.name, bytes).await
    }

    /// Listens from now on.
    pub async fn listen(&self) -> Result<Listening<T>> {
        let listener = self.backend.listen(std::slice::from_ref(&self.name)).await?;
        Ok(Listening { listener, messages: PhantomData })
    }
}

impl<T: DeserializeOwned> Listening<T> {
    /// The next message. [`Error::Closed`] where the connection broke or messages came faster than
    /// they were taken: listen again, and know that some were missed.
    pub async fn next(&mut self) -> Result<T> {
        let next = self.listener.next().await;
        let (_, bytes) = next.ok_or_else(|| Error::Closed("listening has ended".into()))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Decode(DecodeError::Json(error.to_string())))
    }
}

impl<T> fmt::Debug for Channel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel").field(&self.name).finish()
    }
}

impl<T> fmt::Debug for Listening<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listening")
    }
}
