//! One flipped bit, found by the checksum that it broke.
//!
//! Every structure has its CRC-32C at bytes 8..12, over everything else and the place where it
//! stands. The code is linear: the difference between the checksum stored and the one computed is
//! that of the damage alone, and for a single bit it names the bit. Two flipped bits never pass for
//! one (the distance of the code is 4 at every length used here). Heavier damage may: with a chance
//! of one in `2^32 / bits`, below 1 in 2000 for the largest structure that is mended. So a mend is
//! proposed, and carried out only by whoever accepts a loss.

use super::super::format::{checksum, put, u32_at};

/// The largest structure that is mended.
const BYTES_MAX: usize = 256 << 10;
/// Where the checksum stands.
const CRC: usize = 8;
/// CRC-32C, lowest bit first.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// A byte as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mend {
    /// Offset in the structure.
    pub(super) at: usize,
    /// The byte.
    pub(super) byte: u8,
}

/// The byte in which one bit has flipped, of a structure whose checksum also covers `place`.
pub(super) fn mend(bytes: &[u8], place: &[u8]) -> Option<Mend> {
    if bytes.len() > BYTES_MAX {
        return None;
    }
    let stored = u32_at(bytes, CRC)?;
    let wrong = stored ^ sum(bytes, place)?;
    let flip = |at: usize, bit: usize| Some(Mend { at, byte: bytes.get(at)? ^ (1 << bit) });
    match wrong.count_ones() {
        0 => return None,
        1 => {
            let bit = wrong.trailing_zeros() as usize;
            return flip(CRC + bit / 8, bit % 8);
        }
        _ => {}
    }
    // What a flip does to the checksum, from the last bit back to the first.
    let covered = bytes.len() - 4;
    let mut effect = 1u32;
    for behind in 1..=8 * (covered + place.len()) {
        effect = (effect >> 1) ^ (POLYNOMIAL & (effect & 1).wrapping_neg());
        if effect == wrong {
            let bit = 8 * (covered + place.len()) - behind;
            let at = bit / 8;
            return if at < covered {
                flip(if at < CRC { at } else { at + 4 }, bit % 8)
            } else {
                None
            };
        }
    }
    None
}

/// The same where the bit may have been one of the length, a `u32` at `at`: `whole` finds the bytes
/// of the structure by its length.
pub(super) fn mend_length<'a>(
    header: &[u8],
    at: usize,
    place: &[u8],
    mut whole: impl FnMut(usize) -> Option<&'a [u8]>,
) -> Option<Mend> {
    let (len, stored) = (u32_at(header, at)?, u32_at(header, CRC)?);
    (0..32).find_map(|bit| {
        let right = len ^ (1 << bit);
        let mut bytes = whole(usize::try_from(right).ok()?)?.to_vec();
        put(&mut bytes, at, &right.to_le_bytes());
        let byte = at + bit / 8;
        (sum(&bytes, place)? == stored).then(|| Mend { at: byte, byte: bytes[byte] })
    })
}

fn sum(bytes: &[u8], place: &[u8]) -> Option<u32> {
    Some(checksum(&[bytes.get(..CRC)?, bytes.get(CRC + 4..)?, place]))
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // Small numbers of tests.
mod tests {
    use super::*;

    fn structure(len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len).map(|at| (at * 7 % 251) as u8).collect();
        put(&mut bytes, 4, &u32::try_from(len).expect("small").to_le_bytes());
        let crc = sum(&bytes, b"somewhere").expect("long enough");
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    #[test]
    fn every_flipped_bit_is_found() {
        for len in [12, 13, 40, 300] {
            let right = structure(len);
            assert_eq!(mend(&right, b"somewhere"), None, "nothing is wrong");
            for bit in 0..8 * len {
                let mut wrong = right.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                let found = mend(&wrong, b"somewhere").expect("one bit");
                assert_eq!((found.at, found.byte), (bit / 8, right[bit / 8]), "{len}: {bit}");
            }
        }
    }

    #[test]
    fn heavier_damage_is_left_alone() {
        let right = structure(300);
        for other in 1..8 * 300 {
            let mut wrong = right.clone();
            wrong[0] ^= 1;
            wrong[other / 8] ^= 1 << (other % 8);
            assert_eq!(mend(&wrong, b"somewhere"), None, "{other}");
        }
        let mut wrong = right.clone();
        wrong[100..200].fill(0);
        assert_eq!(mend(&wrong, b"somewhere"), None);
        assert_eq!(mend(&right, b"elsewhere"), None, "bytes of another place");
    }

    #[test]
    fn a_flipped_length_is_found() {
        let right = structure(300);
        let file: Vec<u8> = right.iter().copied().chain([9; 5000]).collect();
        for bit in 0..32 {
            let mut wrong = file.clone();
            wrong[4 + bit / 8] ^= 1 << (bit % 8);
            let whole = |len: usize| wrong.get(..len);
            let found = mend_length(&wrong, 4, b"somewhere", whole).expect("one bit");
            assert_eq!((found.at, found.byte), (4 + bit / 8, right[4 + bit / 8]));
        }
    }
}
