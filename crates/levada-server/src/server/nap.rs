//! A nap before a commit that is not synced (ADR 25).
//!
//! Whoever waits for a sync shares it with all who come meanwhile. Under `DURABILITY INTERVAL`
//! nobody waits: a loop that comes round at once commits and answers one or two requests at a time,
//! and each pays for a write to the log and for a call for news of its own. Its clients pay, too:
//! they are answered one by one. So a loop that is busy with many clients, and has run little,
//! waits a moment for more before it commits: the longer, the more clients there are to come.

use std::num::NonZeroU64;
use std::time::Duration;

use rustix::thread::set_current_timer_slack;

/// Microseconds of a nap for each connection of the crowd.
const NAP_US: u64 = 1;
/// One in so many of the crowd shares a commit: then it is shared by enough.
const SHARE: usize = 8;
/// Microseconds that a loop which is busy waits for news at most.
const BUSY_US: u64 = 20;
/// Turns that are looked at together, and the connections that have to have them.
const WINDOW_TURNS: u32 = 64;
const CROWD_MIN: u32 = 12;

/// What is known of the last turns.
#[derive(Debug, Default)]
pub(super) struct Naps {
    /// The number of the window, from 1, its turns so far, and whose they were.
    window: u32,
    turns: u32,
    connections: u32,
    /// The connections of the window before.
    crowd: u32,
    /// Turns of this iteration.
    iteration_turns: usize,
    is_busy: bool,
    /// When the last iteration ended, in microseconds.
    ended_us: u64,
}

impl Naps {
    /// Lets the calling thread sleep for as short as it says; by itself the system adds 50 us.
    pub(super) fn prepare() {
        // Without it naps are longer, and pay less.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
    }

    /// There is news.
    pub(super) fn begin(&mut self, now_us: u64) {
        self.is_busy = now_us.saturating_sub(self.ended_us) < BUSY_US;
        self.iteration_turns = 0;
    }

    /// A connection has a turn; `window` is that of its last one.
    pub(super) fn note_turn(&mut self, window: &mut u32) {
        if self.turns.is_multiple_of(WINDOW_TURNS) {
            self.crowd = self.connections;
            self.window = self.window.wrapping_add(1);
            (self.turns, self.connections) = (0, 0);
        }
        self.turns += 1;
        self.connections += u32::from(*window != self.window);
        *window = self.window;
        self.iteration_turns += 1;
    }

    /// How long to wait for more: at most once in an iteration.
    pub(super) fn due(&mut self) -> Option<Duration> {
        let few = (1..=self.crowd as usize / SHARE).contains(&self.iteration_turns);
        let is_due = std::mem::take(&mut self.is_busy) && self.crowd >= CROWD_MIN && few;
        is_due.then(|| Duration::from_micros(u64::from(self.crowd) * NAP_US))
    }

    /// Everything is answered.
    pub(super) fn end(&mut self, now_us: u64) {
        self.ended_us = now_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns of so many connections one after the other, each alone in an iteration that begins so
    /// many microseconds behind the one before; how long the last would wait for more.
    fn nap_after(connections: usize, gap_us: u64, turns: usize) -> Option<Duration> {
        let mut naps = Naps::default();
        let mut windows = vec![0; connections];
        let mut due = None;
        for turn in 0..3 * WINDOW_TURNS as usize {
            let now_us = turn as u64 * 1_000;
            naps.begin(now_us + gap_us);
            for at in 0..turns {
                naps.note_turn(&mut windows[(turn * turns + at) % connections]);
            }
            due = naps.due();
            assert!(naps.due().is_none(), "once in an iteration");
            naps.end(now_us + 1_000);
        }
        due
    }

    #[test]
    fn a_busy_loop_waits_the_longer_the_more_clients_there_are() {
        let us = |us| Some(Duration::from_micros(us));
        assert_eq!(nap_after(CROWD_MIN as usize, BUSY_US - 1, 1), us(12));
        assert_eq!(nap_after(50, 0, 1), us(50));
        assert_eq!(nap_after(50, 0, 6), us(50));
        assert_eq!(nap_after(5_000, 0, 1), us(64), "no longer than for a window of turns");
    }

    #[test]
    fn others_do_not() {
        assert!(nap_after(1, 0, 1).is_none(), "a single client, however many are connected");
        assert!(nap_after(CROWD_MIN as usize - 1, 0, 1).is_none(), "few clients");
        assert!(nap_after(50, BUSY_US, 1).is_none(), "a loop that waits anyway");
        assert!(nap_after(50, 0, 7).is_none(), "enough to do");
        assert!(nap_after(50, 0, 0).is_none(), "nothing to do");
    }
}
