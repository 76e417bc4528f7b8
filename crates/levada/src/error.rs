//! What can go wrong, by what the caller should do about it.

/// The result of a call of the toolkit.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the toolkit.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A URL that names no backend, or one that is not compiled in: mend it.
    #[error("{url:?} is no address of a stream server: {why}")]
    Url {
        /// What was given, without a password.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// An argument or setting is wrong: mend it. Nothing changed.
    #[error("{0}")]
    Invalid(String),
    /// The backend cannot do this; [`crate::Capabilities`] says so beforehand. Nothing changed.
    #[error("{backend} cannot do this: {what}")]
    Unsupported {
        /// Which backend.
        backend: String,
        /// What it lacks.
        what: &'static str,
    },
    /// No connection, or it broke before the answer: whether the call took effect is unknown. It
    /// may be made again where it is idempotent.
    #[error("the connection failed: {0}")]
    Connection(String),
    /// The server is a node of a cluster, and another node has this: connect by
    /// `redis-cluster://`. Nothing changed.
    #[error("another node of the cluster has this: {0}")]
    Moved(String),
    /// No answer in time: whether the call took effect is unknown.
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
    /// The event stands in the stream, but fewer copies of it were confirmed in time than
    /// [`crate::Durability`] asks for: a failover may lose it. It may be sent again where it is
    /// idempotent.
    #[error("{reached} of {wanted} copies were confirmed in time")]
    Unconfirmed {
        /// Copies that were confirmed.
        reached: u32,
        /// Copies that were asked for.
        wanted: u32,
    },
    /// The stream or group is not there (any more): create it and go on.
    #[error("not there: {0}")]
    NotFound(String),
    /// What was to be created is there, or the state has moved on: look and decide again.
    #[error("it has moved on: {0}")]
    Conflict(String),
    /// There is no room: a limit of the stream, the disk, memory, or a buffer of ours. Nothing
    /// changed; slow down or make room.
    #[error("no room: {0}")]
    Full(String),
    /// The server refused; nothing changed.
    #[error("refused: {0}")]
    Refused(String),
    /// An answer that is not what the command answers.
    #[error("the server answered something unexpected: {0}")]
    Protocol(String),
    /// A payload that cannot be written as JSON.
    #[error("the event cannot be encoded: {0}")]
    Encode(String),
    /// An entry that is no such event.
    #[error(transparent)]
    Decode(#[from] crate::event::DecodeError),
    /// The backend has stopped, or the producer was closed.
    #[error("closed: {0}")]
    Closed(String),
}

impl Error {
    /// Whether the same call may succeed if it is made again later, with nothing changed but time.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Connection(_) | Self::Timeout(_) | Self::Unconfirmed { .. } | Self::Full(_)
        )
    }

    pub(crate) fn protocol(what: impl std::fmt::Debug) -> Self {
        Self::Protocol(format!("{what:?}").chars().take(200).collect())
    }
}
