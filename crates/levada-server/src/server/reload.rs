//! DEBUG RELOAD and LOADAOF: the store is closed and recovered from disk, in the running process.
//!
//! To connections it is a restart: all end but the one that asked, which keeps its name and its
//! database but nothing that it watched or listened to.

use levada_engine::error::Error;

use super::{Server, recover};

/// What a recovery starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reload {
    /// A checkpoint of everything.
    Checkpoint,
    /// The last checkpoint there was, and the log behind it.
    Log,
}

impl Server {
    /// Recovers from disk if a command has asked for it. Its reply has not left yet.
    pub(super) fn reload_if_asked(mut self) -> Result<Self, Error> {
        let Some((reload, client)) = self.state.reload.take() else {
            return Ok(self);
        };
        let others = self.connections.iter().filter(|connection| connection.session.id != client);
        let others: Vec<_> = others.map(|connection| connection.token).collect();
        for token in others {
            self.close(token);
        }
        let now = self.state.clock.now();
        match reload {
            Reload::Checkpoint => self.shard.shut_down(now)?,
            Reload::Log => self.shard.settle(now)?,
        }
        let settings = *self.shard.settings();
        // The directory belongs to one store at a time.
        drop(self.shard);
        self.shard = recover(&self.waker, &self.state.settings, settings)?;
        Ok(self)
    }
}
