//! Now and then: connections that have been silent for too long end.

use super::Server;
use crate::engine::Now;

/// How often, in milliseconds.
const EVERY_MS: u64 = 1_000;
/// How long a connection may take to authenticate.
const AUTHENTICATE_MS_MAX: u64 = 10_000;
/// How long a request may stay half sent.
const HALF_SENT_MS_MAX: u64 = 30_000;

impl Server {
    /// Ends silent connections, if it is time to look.
    pub(super) fn sweep(&mut self, now: Now) {
        let now_ms = now.monotonic_ms();
        if now_ms < self.last_sweep_ms + EVERY_MS {
            return;
        }
        self.last_sweep_ms = now_ms;
        if let Some(line) = self.state.acl.failures.tell(now_ms) {
            (self.state.settings.log)(&line);
        }
        let timeout_ms = match self.state.config.number("timeout") {
            0 => u64::MAX,
            seconds => seconds.saturating_mul(1000),
        };
        let mut ended = Vec::new();
        for connection in self.connections.iter() {
            let session = &connection.session;
            let silent_ms = now_ms.saturating_sub(session.active_ms);
            let half_sent = !connection.input.is_empty() && !connection.has_request;
            let late = !session.authenticated
                && now_ms.saturating_sub(session.created_ms) > AUTHENTICATE_MS_MAX;
            let listens =
                session.blocked.is_some() || session.subscriptions.any() || session.monitors;
            let idle = silent_ms > timeout_ms && !listens;
            if late || idle || half_sent && silent_ms > HALF_SENT_MS_MAX {
                ended.push(connection.token);
            }
        }
        for token in ended {
            self.close(token);
        }
    }
}
