//! Now and then: connections that have been silent for too long end.

use super::Server;
use crate::engine::Now;
use crate::settings::Moment;

/// How often, in milliseconds.
const EVERY_MS: u64 = 1_000;
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
        (self.state.settings.tell)(Moment::Alive);
        let failures = [
            self.state.acl.failures.tell(now_ms),
            self.handshakes_failed.tell(now_ms),
            self.peers_refused.tell(now_ms),
        ];
        failures.iter().flatten().for_each(|event| self.state.log(event));
        let timeout_ms = match self.state.config.number("timeout") {
            0 => u64::MAX,
            seconds => seconds.saturating_mul(1000),
        };
        let strangers_ms_max = self.state.settings.strangers_ms_max;
        let (mut ended, mut slow_ones) = (Vec::new(), Vec::new());
        let limits = self.state.limits.output;
        for connection in self.connections.iter_mut() {
            let limit = limits.of(&connection.session);
            let slow = connection.is_beyond_soft(limit, now_ms);
            let session = &connection.session;
            let silent_ms = now_ms.saturating_sub(session.active_ms);
            let half_sent = !connection.input.is_empty() && !connection.has_request;
            let late = connection.is_stranger()
                && now_ms.saturating_sub(session.created_ms) > strangers_ms_max;
            let listens =
                session.blocked.is_some() || session.subscriptions.any() || session.monitors;
            let idle = silent_ms > timeout_ms && !listens;
            if slow {
                self.state.stats.clients_beyond_limit += 1;
                slow_ones.push(connection.beyond_limit());
            }
            if late || slow || idle || half_sent && silent_ms > HALF_SENT_MS_MAX {
                ended.push(connection.token);
            }
        }
        slow_ones.iter().for_each(|event| self.state.log(event));
        for token in ended {
            self.close(token);
        }
    }
}
