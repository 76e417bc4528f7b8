//! The checksum of payloads and files: CRC-64 with the polynomial of Jones, reflected, beginning
//! with 0 ("CRC-64/REDIS" in the catalogue of CRCs).

use crc::{CRC_64_REDIS, Crc, Table};

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The checksum of some bytes.
pub(crate) fn of(bytes: &[u8]) -> u64 {
    CRC.checksum(bytes)
}

/// A checksum that grows.
#[derive(Default)]
pub(crate) struct Running(u64);

impl Running {
    /// Counts more bytes in.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let mut digest = CRC.digest_with_initial(reversed(self.0));
        digest.update(bytes);
        self.0 = digest.finalize();
    }

    /// The checksum of all so far.
    pub(crate) fn value(&self) -> u64 {
        self.0
    }
}

/// How the library takes a state to go on from: the algorithm's initial value, not reflected.
fn reversed(state: u64) -> u64 {
    state.reverse_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_one_of_redis() {
        assert_eq!(of(b"123456789"), 0xE9C6_D914_C4B8_D9CA);
        let mut running = Running::default();
        running.add(b"1234");
        running.add(b"");
        running.add(b"56789");
        assert_eq!(running.value(), of(b"123456789"));
    }
}
