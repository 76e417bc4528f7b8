//! What a server does by itself, and what the toolkit therefore has to do from the client side.

use std::fmt;

/// What a backend can do by itself; found out when it is connected.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[non_exhaustive]
pub struct Capabilities {
    /// What it is, with its version: `Levada 0.1.0`, `Redis 7.0.15`, `memory`.
    pub server: String,
    /// An acknowledged write is on disk. On Redis that is a matter of its configuration, which the
    /// toolkit does not look into.
    pub durable: bool,
    /// Idempotent append (XADD IDMP).
    pub idempotent_append: bool,
    /// The server itself ends leases, waits between attempts and dead-letters (XGROUP CFGSET).
    pub leases: bool,
    /// Dead letters can be given back to the group that failed and to no other (XDLQ).
    pub redrive: bool,
    /// Pending entries can be released (XNACK).
    pub nack: bool,
    /// Acknowledge and delete in one step (XACKDEL).
    pub ack_delete: bool,
    /// XREADGROUP CLAIM. Known but not used: it would take entries whose rest is longer than the
    /// lease.
    pub claim_on_read: bool,
    /// Entries that are appended later (XSCHED).
    pub schedule: bool,
    /// Sorted sets and transactions, with which delays can be emulated.
    pub sorted_sets: bool,
    /// Scripts (EVAL), for what has to be done in one step; our user may run them. A server with
    /// [`Capabilities::leases`] is not asked: it needs none.
    pub scripts: bool,
    /// A bound on what a read over several streams answers (MAXCOUNT).
    pub read_limit: bool,
    /// Order by key across all workers of a group (ORDER-BY).
    pub order_by: bool,
    /// Trimming that leaves what groups still need (RETENTION ACKED).
    pub retention: bool,
}

impl Capabilities {
    /// Nothing but what Redis 5 had.
    pub(crate) fn plain(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            durable: false,
            idempotent_append: false,
            leases: false,
            redrive: false,
            nack: false,
            ack_delete: false,
            claim_on_read: false,
            schedule: false,
            sorted_sets: false,
            scripts: false,
            read_limit: false,
            order_by: false,
            retention: false,
        }
    }

    /// Whether [`crate::Producer::send_in`] works.
    pub fn delays(&self) -> bool {
        self.schedule || self.sorted_sets
    }

    /// What the toolkit does from the client side, in words.
    pub fn emulated(&self) -> Vec<&'static str> {
        let all = [
            (
                self.leases,
                "leases, waits between attempts and dead letters (workers poll for them)",
            ),
            (self.redrive, "redrive to one group (a stream beside, which its workers read)"),
            (self.idempotent_append, "idempotent append (a key beside each event)"),
            (
                self.schedule || !self.sorted_sets,
                "delayed events (a sorted set; a worker moves them)",
            ),
            (
                self.scripts || self.leases,
                "steps in one (no scripts may be run: transactions that watch, one at a time; \
                 consumers that are gone keep their names)",
            ),
            (self.retention, "trimming below what every group has acknowledged (run a janitor)"),
        ];
        all.into_iter().filter(|(native, _)| !native).map(|(_, what)| what).collect()
    }

    /// What it cannot give, in words.
    pub fn missing(&self) -> Vec<&'static str> {
        let all = [
            (self.durable, "the promise that an acknowledged event survives power loss"),
            (self.delays(), "delayed events"),
            (self.order_by, "order by key across workers (it holds within one worker)"),
        ];
        all.into_iter().filter(|(given, _)| !given).map(|(_, what)| what).collect()
    }
}

impl fmt::Display for Capabilities {
    /// The message that a worker logs at its start.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.server)?;
        for (title, list) in [("emulated", self.emulated()), ("not given", self.missing())] {
            if !list.is_empty() {
                write!(f, "; {title}: {}", list.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_message_says_what_is_emulated_and_what_is_missing() {
        let plain = Capabilities { sorted_sets: true, ..Capabilities::plain("Redis 7.0.15") };
        let text = plain.to_string();
        assert!(text.starts_with("Redis 7.0.15; emulated: leases"), "{text}");
        assert!(text.contains("not given: the promise"), "{text}");
        assert!(!text.contains("delayed events, order"), "{text}");
        assert!(text.contains("no scripts may be run"), "{text}");
        let usual = Capabilities { scripts: true, ..plain };
        assert!(!usual.to_string().contains("scripts"), "{usual}");
    }
}
