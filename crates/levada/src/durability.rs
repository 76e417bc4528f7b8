//! How many copies of an event have to be there before a send is acknowledged.
//!
//! On servers that replicate without waiting (Redis, Valkey) this reduces what a failover loses; it
//! does not prevent it: a replica that has not the event may still be the one that is promoted.
//! `docs/topics.md` has the limits, and what was measured.

use std::time::Duration;

/// How long copies are waited for unless it is said.
const WITHIN: Duration = Duration::from_secs(1);
/// The longest wait: below what any answer is waited for.
const WITHIN_MAX: Duration = Duration::from_secs(10);

/// What a send waits for beyond the answer of the server that it goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Durability {
    pub(crate) copies: Copies,
    pub(crate) within: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Copies {
    /// What the server answers by itself.
    Leader,
    /// So many replicas have it in memory (WAIT).
    Replicas(u32),
    /// So many servers, the leader among them, have it on disk (WAITAOF).
    Synced(u32),
}

impl Default for Durability {
    fn default() -> Self {
        Self::leader()
    }
}

impl Durability {
    /// Nothing more: what the server answers by itself, which is all that is needed on Levada.
    pub const fn leader() -> Self {
        Self { copies: Copies::Leader, within: WITHIN }
    }

    /// So many replicas, beside the leader, have it in memory.
    pub const fn replicas(count: u32) -> Self {
        Self { copies: Copies::Replicas(count), within: WITHIN }
    }

    /// So many servers, the leader among them, have it in an append-only file that is synced.
    /// Needs Redis 7.2 or Valkey, with `appendonly yes`.
    pub const fn fsync(count: u32) -> Self {
        Self { copies: Copies::Synced(count), within: WITHIN }
    }

    /// How long they are waited for, 1 s unless it is said, at most 10 s; then the send fails with
    /// [`crate::Error::Unconfirmed`].
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        Self { within: time.min(WITHIN_MAX), ..self }
    }
}
