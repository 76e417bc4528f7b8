//! How much a client may ask for. A limit is checked when a length is announced, before any of
//! the bytes behind it is awaited.

use crate::ProtocolError;

/// Above this a `*` count is invalid for everyone, as in Redis.
const COUNT_MAX: usize = i32::MAX as usize;
/// Above this a `$` length is invalid for everyone: Redis' default `proto-max-bulk-len`.
const LENGTH_MAX: usize = 512 << 20;

/// Bounds on one request. Sizes in bytes, all inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of a multibulk request. Inline requests are bounded by their bytes alone.
    pub args_max: usize,
    /// Bytes of one argument of a multibulk request.
    pub bulk_bytes_max: usize,
    /// Bytes of an inline request or of a `*` or `$` line, without its end of line. Values
    /// below 32 count as 32.
    pub inline_bytes_max: usize,
    /// Bytes of a whole multibulk request, headers included.
    pub request_bytes_max: usize,
    /// Chooses the error for too many or too long arguments: a client that has not authenticated
    /// is told that this is the reason.
    pub authenticated: bool,
}

impl Limits {
    /// For a client that still has to authenticate: 10 arguments of 16 KiB, lines of 64 KiB, as
    /// in Redis, and 1 MiB in all.
    pub const fn unauthenticated() -> Self {
        Self {
            args_max: 10,
            bulk_bytes_max: 16 << 10,
            inline_bytes_max: 64 << 10,
            request_bytes_max: 1 << 20,
            authenticated: false,
        }
    }

    /// For everyone else: 1,048,576 arguments of 16 MiB, lines of 64 KiB, and 1 GiB in all, the
    /// query buffer limit of Redis.
    pub const fn authenticated() -> Self {
        Self {
            args_max: 1 << 20,
            bulk_bytes_max: 16 << 20,
            inline_bytes_max: 64 << 10,
            request_bytes_max: 1 << 30,
            authenticated: true,
        }
    }

    /// Accepts an announced number of arguments, or says why not.
    pub(crate) fn admit_count(&self, count: usize) -> Result<(), ProtocolError> {
        if count <= self.args_max {
            Ok(())
        } else if self.authenticated || count > COUNT_MAX {
            Err(ProtocolError::InvalidMultibulkLength)
        } else {
            Err(ProtocolError::UnauthenticatedMultibulkLength)
        }
    }

    /// Accepts an announced argument of `length` bytes that starts `start` bytes into its
    /// request, or says why not.
    pub(crate) fn admit_bulk(&self, start: usize, length: usize) -> Result<(), ProtocolError> {
        if length > self.bulk_bytes_max {
            if self.authenticated || length > LENGTH_MAX {
                return Err(ProtocolError::InvalidBulkLength);
            }
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        // In this order nothing can overflow, whatever the limits are.
        let room = self.request_bytes_max.saturating_sub(start);
        if room < 2 || length > room - 2 {
            return Err(ProtocolError::TooBigRequest);
        }
        Ok(())
    }
}
