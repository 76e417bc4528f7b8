//! What the demo sees of a run: it asks the server, like any operator would.

use anyhow::{Context, Result, ensure};
use redis::{Client, Connection, TypedCommands};

use crate::client::{self, GROUP, STREAM};

/// The state of stream and group at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Entries in the stream.
    pub(crate) produced: u64,
    /// Number of the last record that was handed to a consumer.
    pub(crate) delivered: u64,
    /// Entries handed out and not acknowledged.
    pub(crate) pending: u64,
    /// Consumers that have read at least once.
    pub(crate) consumers: usize,
}

impl Snapshot {
    /// Records that a worker has counted and acknowledged.
    pub(crate) fn processed(&self) -> u64 {
        self.delivered.saturating_sub(self.pending)
    }
}

/// A connection of the demo's own.
pub(crate) struct Observer {
    connection: Connection,
}

impl Observer {
    /// Connects to a server that is up.
    pub(crate) fn new(url: &str) -> Result<Observer> {
        let connection = client::attempt(&Client::open(url)?)?;
        Ok(Observer { connection })
    }

    /// Asks for the state; all zero before a worker has created the group.
    pub(crate) fn snapshot(&mut self) -> Result<Snapshot> {
        if !self.connection.exists(STREAM)? {
            return Ok(Snapshot::default());
        }
        let produced = self.connection.xlen(STREAM)? as u64;
        let groups = self.connection.xinfo_groups(STREAM)?.groups;
        let Some(group) = groups.into_iter().find(|group| group.name == GROUP) else {
            return Ok(Snapshot { produced, ..Snapshot::default() });
        };
        let (delivered, _) =
            group.last_delivered_id.split_once('-').context("the last delivered id has no dash")?;
        Ok(Snapshot {
            produced,
            delivered: delivered.parse()?,
            pending: group.pending as u64,
            consumers: group.consumers,
        })
    }

    /// Pending entries by consumer name.
    pub(crate) fn pending(&mut self) -> Result<Vec<(String, usize)>> {
        let reply = self.connection.xinfo_consumers(STREAM, GROUP)?;
        Ok(reply.consumers.into_iter().map(|c| (c.name, c.pending)).collect())
    }

    /// Pending entries of one consumer.
    pub(crate) fn pending_of(&mut self, consumer: &str) -> Result<usize> {
        let pending = self.pending()?.into_iter().find(|(name, _)| name == consumer);
        Ok(pending.with_context(|| format!("the group does not know {consumer}"))?.1)
    }

    /// Returns when the server has done what reached it before this call: it serves a command
    /// only after it has read the sockets that were ready when the one before was served.
    pub(crate) fn barrier(&mut self) -> Result<()> {
        for _ in 0..2 {
            let pong = self.connection.ping()?;
            ensure!(pong == "PONG", "PING was answered by {pong}");
        }
        Ok(())
    }
}
