//! A small set of row numbers: the deleted rows of a block.

use alloc::vec::Vec;

/// Rows by number, below [`crate::limits::BLOCK_ROWS`]; grows to the highest one set.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    /// Whether `row` is in the set.
    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Adds `row`; whether it was new.
    pub fn insert(&mut self, row: u32) -> bool {
        let at = row as usize / 64;
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        let bit = 1 << (row % 64);
        let new = self.words[at] & bit == 0;
        self.words[at] |= bit;
        new
    }

    /// How many of the rows `first..end` are in the set.
    pub fn count(&self, first: u32, end: u32) -> u32 {
        let masked = |(at, word): (usize, &u64)| {
            let low = u32::try_from(at).unwrap_or(u32::MAX / 64) * 64;
            let from = first.saturating_sub(low).min(64);
            let to = end.saturating_sub(low).min(64);
            let below = |bits: u32| {
                if bits == 64 { u64::MAX } else { (1 << bits) - 1 }
            };
            (word & below(to) & !below(from)).count_ones()
        };
        if first >= end { 0 } else { self.words.iter().enumerate().map(masked).sum() }
    }

    /// The words of the set, lowest rows first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// A set from its words.
    pub fn from_words(words: Vec<u64>) -> Self {
        Self { words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_it_holds() {
        let mut bitmap = Bitmap::default();
        for row in [0, 1, 63, 64, 200] {
            assert!(bitmap.insert(row));
            assert!(!bitmap.insert(row));
        }
        let check = |first, end, expect| assert_eq!(bitmap.count(first, end), expect);
        check(0, 4096, 5);
        check(1, 64, 2);
        check(64, 65, 1);
        check(65, 200, 0);
        check(5, 5, 0);
        assert!(bitmap.contains(200) && !bitmap.contains(199) && !bitmap.contains(9999));
    }
}
