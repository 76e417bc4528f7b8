//! The slot of a key, as every Redis and Valkey cluster computes it: CRC-16/XMODEM over the hash
//! tag, or over the whole key where it has none, modulo 16384.

/// Slots of a cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key.
pub(crate) fn slot_of(key: &str) -> u16 {
    let inside = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let tag = inside.map(|(tag, _)| tag).filter(|tag| !tag.is_empty());
    crc16(tag.unwrap_or(key).as_bytes()) % SLOTS
}

/// Polynomial 0x1021, from 0, nothing reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_a_real_cluster() {
        // The check value of the algorithm, and what CLUSTER KEYSLOT answers.
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of("foo"), 12_182);
        assert_eq!(slot_of("somekey"), 11_058);
        assert_eq!(slot_of("foo{hash_tag}"), 2_515);
        assert_eq!(slot_of("{orders}:dlq:g"), slot_of("orders"));
        assert_eq!(slot_of("orders:{3}:dlq:g"), slot_of("orders:{3}"));
        assert_eq!(slot_of("a{}b"), crc16(b"a{}b") % SLOTS);
    }
}
