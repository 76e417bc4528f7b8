//! A keyed hash of 16 bytes: SipHash-2-4 with 128 bits of output, as its authors define it.
//!
//! Whoever does not know the key cannot find two inputs with the same hash, so that no producer can
//! make the append of another one look like a repetition.

/// The key of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Secret(pub [u8; 16]);

/// What stands for a producer id and an idempotent id.
pub type Digest = [u8; 16];

impl Secret {
    /// The key of the stream of this number, made at this time: nobody can tell it who does not
    /// know the entropy.
    pub fn derived(entropy: u64, key: u64, now_ms: u64) -> Self {
        let mut state = State::new(entropy, entropy.rotate_left(32));
        state.update(&key.to_le_bytes());
        state.update(&now_ms.to_le_bytes());
        Self(state.finish())
    }

    /// The hash of an iid of a producer. The length of the pid goes first, so that no other pair
    /// makes the same bytes.
    pub fn digest(&self, pid: &[u8], iid: &[u8]) -> Digest {
        let (low, high) = halves(&self.0);
        let mut state = State::new(low, high);
        state.update(&(pid.len() as u64).to_le_bytes());
        state.update(pid);
        state.update(iid);
        state.finish()
    }
}

/// A hash under way.
struct State {
    v: [u64; 4],
    /// Bytes that do not fill a word yet, lowest first, and how many were taken in all.
    word: u64,
    taken: usize,
}

impl State {
    fn new(low: u64, high: u64) -> Self {
        let v = [
            low ^ 0x736f_6d65_7073_6575,
            high ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            low ^ 0x6c79_6765_6e65_7261,
            high ^ 0x7465_6462_7974_6573,
        ];
        Self { v, word: 0, taken: 0 }
    }

    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.word |= u64::from(*byte) << (8 * (self.taken % 8));
            self.taken += 1;
            if self.taken.is_multiple_of(8) {
                let word = core::mem::take(&mut self.word);
                self.compress(word);
            }
        }
    }

    fn finish(mut self) -> [u8; 16] {
        self.compress(self.word | (self.taken as u64) << 56);
        let mut out = [0; 16];
        for (half, mark) in out.chunks_exact_mut(8).zip([(2, 0xee), (1, 0xdd)]) {
            self.v[mark.0] ^= mark.1;
            (0..4).for_each(|_| self.round());
            let [a, b, c, d] = self.v;
            half.copy_from_slice(&(a ^ b ^ c ^ d).to_le_bytes());
        }
        out
    }

    fn compress(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.round();
        self.v[0] ^= word;
    }

    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.v;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32).wrapping_add(d);
        c = c.wrapping_add(b);
        d = d.rotate_left(21) ^ a;
        b = b.rotate_left(17) ^ c;
        self.v = [a, b, c.rotate_left(32), d];
    }
}

/// A hash or a key as two numbers.
pub(super) fn halves(bytes: &[u8; 16]) -> (u64, u64) {
    let half = |from: usize| u64::from_le_bytes(core::array::from_fn(|n| bytes[from + n]));
    (half(0), half(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_siphash_with_128_bits() {
        let key: [u8; 16] = core::array::from_fn(|n| u8::try_from(n).expect("small"));
        let check = |len: u8, expect: u128| {
            let (low, high) = halves(&key);
            let mut state = State::new(low, high);
            (0..len).for_each(|byte| state.update(&[byte]));
            assert_eq!(u128::from_be_bytes(state.finish()), expect, "{len}");
        };
        // By `openssl mac -macopt size:16 SIPHASH` of OpenSSL 3.
        check(0, 0xA381_7F04_BA25_A8E6_6DF6_7214_C755_0293);
        check(15, 0x5493_E999_33B0_A811_7E08_EC0F_97CF_C3D9);
    }

    #[test]
    fn the_length_of_the_pid_counts() {
        let secret = Secret::derived(7, 1, 5);
        assert_eq!(secret.digest(b"a", b"bc"), secret.digest(b"a", b"bc"));
        assert_ne!(secret.digest(b"a", b"bc"), secret.digest(b"ab", b"c"));
        assert_ne!(secret.digest(b"a", b"bc"), Secret::derived(7, 2, 5).digest(b"a", b"bc"));
        assert_ne!(Secret::derived(7, 1, 5), Secret::derived(8, 1, 5));
    }
}
