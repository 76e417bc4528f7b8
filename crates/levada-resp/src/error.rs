//! Why a request cannot be read. Each of these ends the connection: after it nobody knows where
//! the next request starts. The texts are those that `redis-server` 7.0.15 sent when asked.

use std::borrow::Cow;
use std::fmt;

/// A violation of the protocol by the client. The connection must be closed after the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// The number after `*` is no number, or above what is allowed.
    InvalidMultibulkLength,
    /// The number after `$` is no number, negative, or above what is allowed.
    InvalidBulkLength,
    /// An argument starts with something else than `$`.
    ExpectedBulk {
        /// The byte that stood there.
        got: u8,
    },
    /// An inline request has no end of line within the limit.
    TooBigInline,
    /// A `*` line has no end within the limit.
    TooBigMultibulkCount,
    /// A `$` line has no end within the limit.
    TooBigBulkCount,
    /// An inline request has an open quote, or a closing quote without a space behind it.
    UnbalancedQuotes,
    /// More arguments than a client may send before it has authenticated.
    UnauthenticatedMultibulkLength,
    /// A longer argument than a client may send before it has authenticated.
    UnauthenticatedBulkLength,
    /// The arguments announced so far exceed `Limits::request_bytes_max`. Redis closes such a
    /// connection without a word; this text is ours.
    TooBigRequest,
}

impl ProtocolError {
    /// The text for people and logs, without the `ERR ` code. A byte outside ASCII is shown as
    /// the Latin-1 character; [`Writer::protocol_error`](crate::Writer::protocol_error) sends
    /// the byte itself.
    pub fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::InvalidMultibulkLength => "Protocol error: invalid multibulk length",
            Self::InvalidBulkLength => "Protocol error: invalid bulk length",
            Self::ExpectedBulk { got } => {
                let got = char::from(*got);
                return Cow::Owned(format!("Protocol error: expected '$', got '{got}'"));
            }
            Self::TooBigInline => "Protocol error: too big inline request",
            Self::TooBigMultibulkCount => "Protocol error: too big mbulk count string",
            Self::TooBigBulkCount => "Protocol error: too big bulk count string",
            Self::UnbalancedQuotes => "Protocol error: unbalanced quotes in request",
            Self::UnauthenticatedMultibulkLength => {
                "Protocol error: unauthenticated multibulk length"
            }
            Self::UnauthenticatedBulkLength => "Protocol error: unauthenticated bulk length",
            Self::TooBigRequest => "Protocol error: too big request",
        })
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for ProtocolError {}
