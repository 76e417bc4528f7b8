//! A URL becomes a broker: the handle from which producers, workers and the rest are made.

use std::fmt;
use std::sync::Arc;

use crate::backend::Backend;
use crate::capabilities::Capabilities;
use crate::error::{Error, Result};
use crate::producer::Producer;

/// A connected backend. Cheap to clone; all clones share its connections.
#[derive(Clone)]
pub struct Broker {
    backend: Arc<dyn Backend>,
}

/// Connects to what a URL names and finds out what it can do.
///
/// | URL | what |
/// |---|---|
/// | `memory:` | an engine in this process that keeps nothing (feature `embedded`) |
/// | `embedded:PATH` | an engine in this process, durable, in a directory (feature `embedded`) |
/// | `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]` | Levada, Redis or Valkey (feature `redis`) |
/// | `rediss://...` | the same over TLS, by the system's certificates |
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
        "redis" | "rediss" => Ok(Broker::over(crate::backend::redis::Redis::connect(url).await?)),
        _ => Err(unknown(url, rest)),
    }
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
        Self { backend: Arc::new(backend) }
    }

    /// What the server does by itself, and what is emulated or missing.
    pub fn capabilities(&self) -> &Capabilities {
        self.backend.capabilities()
    }

    /// A producer.
    pub fn producer(&self) -> Producer {
        Producer::new(Arc::clone(&self.backend))
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
