//! Values that do not compress: letters cut from a random pool, each from another place.

/// Length of the pool; a prime, so that neighbours have nothing in common that a compressor could
/// find within its window.
const POOL: u64 = 1_048_573;
/// Between the places of neighbours.
const STEP: u64 = 7919;

/// Values of one length.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pool: Vec<u8>,
    length: usize,
}

impl Values {
    /// Values of `length` bytes.
    pub(super) fn new(length: usize) -> Self {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        // Xorshift (Marsaglia, 2003): any sequence without short repeats does.
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let letter = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            LETTERS[usize::try_from(state >> 58).expect("six bits")]
        };
        Self { pool: (0..POOL + length as u64).map(letter).collect(), length }
    }

    /// The value of the entry of this number.
    pub(super) fn of(&self, number: u64) -> &[u8] {
        let from =
            usize::try_from(number.wrapping_mul(STEP) % POOL).expect("below the pool's length");
        &self.pool[from..from + self.length]
    }
}
