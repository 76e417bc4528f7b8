//! That the loop goes round, told to whoever started the server, as often as they want to hear it.

use super::Server;
use crate::engine::Now;
use crate::settings::Moment;

impl Server {
    /// Microseconds until it is to be told again; `None` where nobody wants to hear it.
    pub(super) fn alive_left_us(&self, now: Now) -> Option<u64> {
        self.state.settings.alive_ms?;
        Some(self.said.alive_from_us.saturating_sub(now.monotonic_us))
    }

    /// Tells it, if it is time.
    pub(super) fn say_alive(&mut self, now: Now) {
        if let (Some(every_ms), Some(0)) = (self.state.settings.alive_ms, self.alive_left_us(now)) {
            let every_us = every_ms.saturating_mul(1_000);
            self.said.alive_from_us = now.monotonic_us.saturating_add(every_us);
            (self.state.settings.tell)(Moment::Alive);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::server::rig;

    #[test]
    fn a_silent_loop_wakes_up_to_say_that_it_lives() {
        static TOLD: AtomicUsize = AtomicUsize::new(0);
        let (mut server, _address, _rest) = rig::opened("alive");
        let at = |us: u64| Now { wall_ms: 0, monotonic_us: us };
        server.state.settings.tell = |moment| {
            TOLD.fetch_add(usize::from(moment == Moment::Alive), Ordering::Relaxed);
        };
        server.say_alive(at(1));
        assert_eq!(TOLD.load(Ordering::Relaxed), 0, "nobody wants to hear it");
        server.state.settings.alive_ms = Some(250);
        assert_eq!(server.timeout(at(7)), Duration::ZERO);
        server.say_alive(at(7));
        assert_eq!(server.timeout(at(100_007)), Duration::from_millis(150));
        server.say_alive(at(250_006));
        assert_eq!(TOLD.load(Ordering::Relaxed), 1, "too early");
        server.say_alive(at(250_007));
        assert_eq!(TOLD.load(Ordering::Relaxed), 2);
    }
}
