//! What happened, as one number: two runs with one trace hash did the same in the same order.

use levada_engine::disk::Operation;

/// How much was asked of a disk since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Calls of every kind that reached the device, reads included.
    pub operations: u64,
    /// Writes carried out, those that failed included.
    pub writes: u64,
    /// Syncs of files carried out, those that failed included.
    pub syncs: u64,
    /// Syncs of directories, those that failed included.
    pub directory_syncs: u64,
    /// Bytes of all writes that were carried out in full.
    pub bytes_written: u64,
    /// Power cuts and kills.
    pub restarts: u64,
}

/// Mixes eight bytes at a time, for a run writes many zeros; nobody chooses what goes
/// in, and 64 bits are enough to compare runs.
#[derive(Clone, Debug)]
pub(super) struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Trace {
    pub(super) fn hash(&self) -> u64 {
        self.0
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        // The length keeps neighbouring fields apart.
        self.number(bytes.len() as u64);
        self.mix(bytes);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.mix(&number.to_le_bytes());
    }

    pub(super) fn operation(&mut self, operation: &Operation) {
        let (kind, file, number, bytes): (_, _, _, &[u8]) = match operation {
            Operation::Write { file, offset, bytes } => ("write", file, *offset, bytes),
            Operation::Sync { file } => ("sync", file, 0, &[]),
            Operation::WriteSync { file, offset, bytes } => ("write sync", file, *offset, bytes),
            Operation::Read { file, offset, len } => {
                self.number(*len as u64);
                ("read", file, *offset, &[])
            }
        };
        self.bytes(kind.as_bytes());
        self.number(u64::from(file.0));
        self.number(number);
        self.bytes(bytes);
    }

    fn mix(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix_word(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.mix_word(u64::from_le_bytes(word));
        }
    }

    fn mix_word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
    }
}

#[cfg(test)]
mod tests {
    use super::Trace;

    #[test]
    fn every_byte_and_every_length_counts() {
        let hash = |parts: &[&[u8]]| {
            let mut trace = Trace::default();
            parts.iter().for_each(|part| trace.bytes(part));
            trace.hash()
        };
        let texts: [&[u8]; 7] =
            [b"", b"\0", b"\0\0", b"12345678", b"12345678\0", b"12345679", b"1234567890abcdef"];
        for (at, text) in texts.iter().enumerate() {
            let others = texts[..at].iter().chain(&texts[at + 1..]);
            assert!(others.into_iter().all(|other| hash(&[other]) != hash(&[text])), "{text:?}");
        }
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
    }
}
