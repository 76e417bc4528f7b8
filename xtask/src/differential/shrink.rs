//! Makes a differing episode small: first fewer steps, then plainer settings, then shorter
//! commands, as long as some difference remains.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::episode::Episode;
use super::pair::{Difference, Pair};

/// Episodes that are played for one difference.
const TRIALS_MAX: u32 = 1500;
/// Longest time for it: a reply that never comes is waited for in each trial.
const TIME_MAX: Duration = Duration::from_mins(1);

/// The smallest episode found that still differs, and how.
pub(crate) fn shrink(
    pair: &mut Pair,
    episode: &Episode,
    difference: Difference,
) -> Result<(Episode, Difference)> {
    let mut search =
        Search { pair, best: episode.clone(), difference, trials: 0, start: Instant::now() };
    let end = search.best.steps.len().min(search.difference.at + 1);
    let mut cut = search.best.clone();
    cut.steps.truncate(end);
    search.keep(cut)?;
    loop {
        let before = search.best.clone();
        search.fewer_steps()?;
        search.plainer_settings()?;
        search.shorter_steps()?;
        if search.best == before || search.is_over() {
            return Ok((search.best, search.difference));
        }
    }
}

struct Search<'a> {
    pair: &'a mut Pair,
    best: Episode,
    difference: Difference,
    trials: u32,
    start: Instant,
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        self.trials >= TRIALS_MAX || self.start.elapsed() >= TIME_MAX
    }

    /// Keeps a candidate if it differs.
    fn keep(&mut self, candidate: Episode) -> Result<bool> {
        if self.is_over() || candidate.steps.is_empty() {
            return Ok(false);
        }
        self.trials += 1;
        let Some(difference) = self.pair.play(&candidate)?.difference else {
            return Ok(false);
        };
        self.best = candidate;
        self.difference = difference;
        Ok(true)
    }

    /// Leaves out runs of steps, long ones first.
    fn fewer_steps(&mut self) -> Result<()> {
        let mut size = self.best.steps.len().div_ceil(2);
        while size > 0 {
            let mut end = self.best.steps.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let mut candidate = self.best.clone();
                candidate.steps.drain(start..end);
                self.keep(candidate)?;
                end = start.min(self.best.steps.len());
            }
            size /= 2;
        }
        Ok(())
    }

    fn plainer_settings(&mut self) -> Result<()> {
        let best = self.best.clone();
        if best.resp3 {
            self.keep(Episode { resp3: false, ..best.clone() })?;
        }
        if !best.events.is_empty() {
            self.keep(Episode { events: String::new(), ..self.best.clone() })?;
        }
        if best.node_entries != 100 {
            self.keep(Episode { node_entries: 100, ..self.best.clone() })?;
        }
        Ok(())
    }

    /// Leaves out words.
    fn shorter_steps(&mut self) -> Result<()> {
        for at in 0..self.best.steps.len() {
            let mut word = self.best.steps[at].words.len();
            while word > 1 {
                word -= 1;
                let mut candidate = self.best.clone();
                candidate.steps[at].words.remove(word);
                if !self.keep(candidate)? && word > 1 {
                    // Options come with their values.
                    let mut candidate = self.best.clone();
                    candidate.steps[at].words.drain(word - 1..=word);
                    if self.keep(candidate)? {
                        word -= 1;
                    }
                }
            }
        }
        Ok(())
    }
}
