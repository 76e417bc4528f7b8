//! CLIENT PAUSE: connections whose command waits, and the end of their wait.

use super::Server;
use crate::engine::Now;

impl Server {
    /// Microseconds until somebody may go on; `None` where nobody waits.
    pub(super) fn pause_left_us(&self, now: Now) -> Option<u64> {
        let until_ms = self.state.pause.map_or(0, |pause| pause.until_ms);
        let waits = !self.paused.is_empty();
        waits.then(|| until_ms.saturating_mul(1000).saturating_sub(now.monotonic_us))
    }

    /// Lets commands go on behind a pause.
    pub(super) fn end_pause(&mut self, now: Now) {
        if self.state.pause.is_some_and(|pause| pause.until_ms > now.monotonic_ms()) {
            return;
        }
        self.state.pause = None;
        for token in std::mem::take(&mut self.paused) {
            if let Some(connection) = self.connections.get_mut(token) {
                connection.paused = false;
            }
            self.wake(token);
        }
    }
}
