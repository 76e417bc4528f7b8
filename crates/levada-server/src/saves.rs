//! What BGSAVE and its kin tell of checkpoints: when the last one ended, what has changed since.
//!
//! Nothing depends on a checkpoint but the time of the next start: what is acknowledged is in the
//! log. Tools that watch backups of Redis read these figures.

use crate::engine::{Checkpoints, Now};
use crate::stats::Stats;

/// See the module.
#[derive(Debug)]
pub(crate) struct Saves {
    /// As they were at the last look.
    pub(crate) checkpoints: Checkpoints,
    /// Unix second at which the last one ended; before the first, of the start.
    pub(crate) last_s: u64,
    /// Changes that the one under way covers.
    covered: u64,
}

impl Saves {
    pub(crate) fn new(started: Now) -> Self {
        let checkpoints = Checkpoints::default();
        Self { checkpoints, last_s: started.wall_ms / 1000, covered: 0 }
    }

    /// Takes note of checkpoints that began or ended; to be called in every iteration.
    pub(crate) fn note(&mut self, checkpoints: Checkpoints, stats: &mut Stats, now: Now) {
        let ended = checkpoints.finished > self.checkpoints.finished;
        if ended {
            stats.changes = stats.changes.saturating_sub(self.covered);
            self.last_s = now.wall_ms / 1000;
        }
        if checkpoints.in_progress && (ended || !self.checkpoints.in_progress) {
            self.covered = stats.changes;
        }
        self.checkpoints = checkpoints;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_during_a_checkpoint_stay() {
        let now = |wall_ms| Now { wall_ms, monotonic_us: 0 };
        let (mut saves, mut stats) = (Saves::new(now(5000)), Stats::new(0));
        let mut look = |finished, in_progress, stats: &mut Stats| {
            saves.note(Checkpoints { finished, in_progress }, stats, now(9000));
            saves.last_s
        };
        stats.changes = 7;
        assert_eq!(look(0, true, &mut stats), 5);
        stats.changes = 10;
        assert_eq!(look(0, true, &mut stats), 5);
        assert_eq!(look(1, true, &mut stats), 9);
        assert_eq!(stats.changes, 3, "changed while the first was written");
        look(2, false, &mut stats);
        assert_eq!(stats.changes, 0, "the second began at once and covers them");
    }
}
