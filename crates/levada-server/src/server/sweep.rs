//! Now and then: connections that have been silent for too long end.

use super::Server;
use crate::engine::Now;

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
        let failures = [
            self.state.acl.failures.tell(now_ms),
            self.handshakes_failed.tell(now_ms),
            self.peers_refused.tell(now_ms),
            self.state.heads.tell(now_ms),
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
        ended.extend(self.idle_in_reserve(now));
        for token in ended {
            self.close(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::server::rig;

    fn at(ms: u64) -> Now {
        Now { wall_ms: 0, monotonic_us: ms * 1_000 }
    }

    /// Looks at a moment, whenever it looked last. Clients that are left, by id.
    fn left(server: &mut Server, ms: u64) -> Vec<u64> {
        server.last_sweep_ms = 0;
        server.sweep(at(ms));
        server.connections.iter().map(|connection| connection.session.id).collect()
    }

    #[test]
    fn who_is_idle_goes_after_its_time_and_who_waits_stays() {
        let (mut server, address, _rest) = rig::opened("idle");
        let [mut idle, mut sleeper, mut listener] = [0, 1, 2].map(|_| rig::client(address));
        server.run_until(|server| server.connections.len() == 3);
        idle.write_all(b"PING\r\n").expect("sent");
        sleeper.write_all(b"XREAD BLOCK 0 STREAMS s $\r\n").expect("sent");
        listener.write_all(b"SUBSCRIBE a\r\n").expect("sent");
        server.run_until(|server| server.connections.iter().all(|it| it.session.commands > 0));
        let active_ms = server.connections.iter().map(|it| it.session.active_ms).max();
        let active_ms = active_ms.expect("three");
        assert_eq!(left(&mut server, active_ms + 3_600_000).len(), 3, "timeout is 0");
        server.state.config.set(&[b"timeout", b"7"]).expect("a number");
        let idle_ms = server.connections.by_client(1).expect("it is there").session.active_ms;
        assert_eq!(left(&mut server, idle_ms + 7_000), [1, 2, 3]);
        assert_eq!(left(&mut server, idle_ms + 7_001), [2, 3]);
        let mut said = String::new();
        idle.read_to_string(&mut said).expect("a clean end");
        assert_eq!(said, "+PONG\r\n");
    }

    #[test]
    fn who_sends_half_a_request_and_no_more_goes_after_half_a_minute() {
        let (mut server, address, _rest) = rig::opened("half-sent");
        let [mut half, mut whole] = [0, 1].map(|_| rig::client(address));
        server.run_until(|server| server.connections.len() == 2);
        half.write_all(b"*1\r\n$4\r\nPI").expect("sent");
        whole.write_all(b"*1\r\n$4\r\nPING\r\n").expect("sent");
        server.run_until(|server| server.connections.iter().all(|it| it.session.bytes_in > 0));
        let half_ms = server.connections.by_client(1).expect("it is there").session.active_ms;
        assert_eq!(left(&mut server, half_ms + HALF_SENT_MS_MAX), [1, 2]);
        assert_eq!(left(&mut server, half_ms + HALF_SENT_MS_MAX + 1), [2]);
        let mut said = String::new();
        half.read_to_string(&mut said).expect("a clean end");
        assert_eq!(said, "", "there is nothing to answer");
    }
}
