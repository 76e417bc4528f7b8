//! A nap before a commit that is not synced (ADR 25).
//!
//! Whoever waits for a sync shares it with all who come meanwhile. Under `DURABILITY INTERVAL`
//! nobody waits: a loop that comes round at once commits and answers one or two requests at a time,
//! and each pays for a write to the log and for a call for news of its own. Its clients pay, too:
//! they are answered one by one. So a loop that is busy with many clients, and has run little,
//! waits a moment for more before it commits.

use std::num::NonZeroU64;
use std::time::Duration;

use rustix::thread::set_current_timer_slack;

/// Microseconds of a nap.
const NAP_US: u64 = 30;
/// Turns of an iteration beyond which a commit is shared by enough.
const FEW_TURNS: usize = 3;
/// Microseconds that a loop which is busy waits for news at most.
const BUSY_US: u64 = 20;
/// Turns that are looked at together, and the connections that have to have them.
const WINDOW_TURNS: u32 = 64;
const CROWD: u32 = 8;

/// What is known of the last turns.
#[derive(Debug, Default)]
pub(super) struct Naps {
    /// The number of the window, from 1, its turns so far, and whose they were.
    window: u32,
    turns: u32,
    connections: u32,
    /// Whether the window before had a crowd.
    is_crowd: bool,
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
            self.is_crowd = self.connections >= CROWD;
            self.window = self.window.wrapping_add(1);
            (self.turns, self.connections) = (0, 0);
        }
        self.turns += 1;
        self.connections += u32::from(*window != self.window);
        *window = self.window;
        self.iteration_turns += 1;
    }

    /// Whether to wait for more: at most once in an iteration.
    pub(super) fn is_due(&mut self) -> bool {
        let few = (1..=FEW_TURNS).contains(&self.iteration_turns);
        std::mem::take(&mut self.is_busy) && self.is_crowd && few
    }

    /// Everything is answered.
    pub(super) fn end(&mut self, now_us: u64) {
        self.ended_us = now_us;
    }
}

/// Waits for what comes.
pub(super) fn nap() {
    std::thread::sleep(Duration::from_micros(NAP_US));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns of so many connections one after the other, each alone in an iteration that begins so
    /// many microseconds behind the one before; whether the last would wait for more.
    fn naps_after(connections: usize, gap_us: u64, turns: usize) -> bool {
        let mut naps = Naps::default();
        let mut windows = vec![0; connections];
        let mut is_due = false;
        for turn in 0..3 * WINDOW_TURNS as usize {
            let now_us = turn as u64 * 1_000;
            naps.begin(now_us + gap_us);
            for at in 0..turns {
                naps.note_turn(&mut windows[(turn * turns + at) % connections]);
            }
            is_due = naps.is_due();
            assert!(!naps.is_due(), "once in an iteration");
            naps.end(now_us + 1_000);
        }
        is_due
    }

    #[test]
    fn a_busy_loop_with_many_clients_and_little_to_do_waits() {
        assert!(naps_after(CROWD as usize, BUSY_US - 1, 1));
        assert!(naps_after(50, 0, FEW_TURNS));
    }

    #[test]
    fn others_do_not() {
        assert!(!naps_after(1, 0, 1), "a single client, however many are connected");
        assert!(!naps_after(CROWD as usize - 1, 0, 1), "few clients");
        assert!(!naps_after(50, BUSY_US, 1), "a loop that waits anyway");
        assert!(!naps_after(50, 0, FEW_TURNS + 1), "enough to do");
        assert!(!naps_after(50, 0, 0), "nothing to do");
    }
}
