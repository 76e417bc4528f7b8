//! What was sent for later, and can be cancelled until then.

use std::fmt;
use std::sync::Arc;

use crate::backend::Backend;
use crate::error::Result;

/// An event that waits for its time.
#[derive(Clone)]
pub struct Scheduled {
    backend: Arc<dyn Backend>,
    stream: Arc<str>,
    handle: Arc<str>,
}

impl Scheduled {
    pub(crate) fn new(backend: Arc<dyn Backend>, stream: &str, handle: String) -> Self {
        Self { backend, stream: stream.into(), handle: handle.into() }
    }

    /// What was kept of [`Scheduled::handle`], perhaps by another process.
    pub fn from_handle(broker: &crate::Broker, stream: &str, handle: &str) -> Self {
        Self::new(Arc::clone(broker.backend()), stream, handle.to_owned())
    }

    /// Names it within its stream.
    pub fn handle(&self) -> &str {
        &self.handle
    }

    /// Takes it back; `false` where its time has come already, or it was cancelled before.
    pub async fn cancel(&self) -> Result<bool> {
        self.backend.cancel(&self.stream, &self.handle).await
    }
}

impl fmt::Debug for Scheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scheduled").field(&self.stream).field(&self.handle).finish()
    }
}
