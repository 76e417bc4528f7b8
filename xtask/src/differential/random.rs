//! Chance of differential runs: a run is a pure function of its seed, on every machine.
//! The generator is splitmix64 (Steele, Lea and Flood, 2014); it is not for secrets.

/// A seeded generator; every seed is valid.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The generator of one episode: neighbouring seeds and episodes are unrelated.
    pub(crate) fn new(seed: u64, episode: u64) -> Self {
        let mut random = Self(seed);
        let mixed = random.bits() ^ episode.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        Self(mixed)
    }

    /// The next 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..n`; panics if `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let wide = u128::from(self.bits()) * n as u128;
        usize::try_from(wide >> 64).expect("the upper half is below n")
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One element; panics if there is none.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}
