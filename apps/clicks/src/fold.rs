//! Clicks that there was no room for, as numbers: under overload a click loses what it could
//! tell, but it is not lost for the count.
//!
//! Instead of each click by itself, one goes into the stream that says how many it stands for.
//! Bounded by the number of links, not of clicks.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Links whose clicks can be folded at the same time.
const LINKS_MAX: usize = 10_000;

/// Numbers of clicks by link, until somebody takes them.
#[derive(Debug, Default)]
pub(crate) struct Folds(Mutex<HashMap<String, u32>>);

impl Folds {
    /// Adds a click of a link; `false` where there are too many links.
    pub(crate) fn add(&self, code: &str) -> bool {
        let mut folds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = folds.get_mut(code) {
            *count = count.saturating_add(1);
            return true;
        }
        let has_room = folds.len() < LINKS_MAX;
        if has_room {
            folds.insert(code.to_owned(), 1);
        }
        has_room
    }

    /// Takes all there are.
    pub(crate) fn take(&self) -> Vec<(String, u32)> {
        let mut folds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        folds.drain().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_click_is_in_one_number() {
        let folds = Folds::default();
        for code in ["a", "b", "a", "a"] {
            assert!(folds.add(code));
        }
        let mut taken = folds.take();
        taken.sort();
        assert_eq!(taken, [("a".to_owned(), 3), ("b".to_owned(), 1)]);
        assert!(folds.take().is_empty());
    }

    #[test]
    fn links_are_bounded() {
        let folds = Folds::default();
        for number in 0..LINKS_MAX {
            assert!(folds.add(&number.to_string()));
        }
        assert!(!folds.add("one more"));
        assert!(folds.add("0"), "a link that is there goes on");
    }
}
