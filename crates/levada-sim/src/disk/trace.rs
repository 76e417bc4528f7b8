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

/// FNV-1a with 64 bits (Fowler, Noll and Vo, 1991): short, and good enough to compare runs.
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
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Trace;

    #[test]
    fn published_value() {
        let mut trace = Trace::default();
        trace.mix(b"foobar");
        assert_eq!(trace.hash(), 0x8594_4171_F739_67E8);
    }
}
