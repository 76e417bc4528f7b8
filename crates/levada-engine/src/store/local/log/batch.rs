//! A batch in a log file: one header, the effects, zeros up to the next page.
//!
//! ```text
//!  0  u32  magic "LVB1"
//!  4  u32  length of the effects in bytes
//!  8  u32  crc32c over bytes 0..8, 12..56, the effects, file number (u64), offset (u64)
//! 12  u32  crc of the batch before (0 before the first)
//! 16  u32  shard
//! 20  u32  version
//! 24  u64  epoch: grows by one or more with every opening
//! 32  u64  lsn
//! 40  u64  durable lsn: the highest known durable when this batch was sealed
//! 48  u64  now_ms at which the effects were decided
//! 56       effects, then zeros to the next multiple of 4096
//! ```
//!
//! A batch begins at a page and never spans files. File number and offset are in the checksum but
//! not in the bytes: stale bytes in a recycled file and misdirected writes fail it.

use super::super::format::{PAGE, VERSION, checksum, page_up, put, u32_at, u64_at};
use crate::{disk::Buffer, store::Lsn};

/// Bytes before the effects.
pub(in super::super) const HEADER: usize = 56;
/// Where the length of the effects stands.
pub(in super::super) const LEN_AT: usize = 4;
const MAGIC: u32 = u32::from_le_bytes(*b"LVB1");

/// Where a batch stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Place {
    /// Number of the log file.
    pub(in super::super) file: u64,
    /// Offset in it.
    pub(in super::super) offset: u64,
}

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Header {
    pub(in super::super) previous_crc: u32,
    pub(in super::super) shard: u32,
    pub(in super::super) epoch: u64,
    pub(in super::super) lsn: Lsn,
    pub(in super::super) durable: Lsn,
    pub(in super::super) now_ms: u64,
}

/// What stands at a page.
#[derive(Debug)]
pub(in super::super) enum Decoded<'a> {
    /// A whole batch.
    Valid { header: Header, crc: u32, effects: &'a [u8] },
    /// A whole batch of a format that this program does not know.
    Newer(u32),
    /// Anything else.
    Nothing,
}

/// Bytes that a batch takes in the file.
pub(in super::super) const fn padded(effects: usize) -> u64 {
    page_up((HEADER + effects) as u64)
}

/// The bytes of a batch, padded, and its checksum. The effects are shorter than 4 GiB.
pub(in super::super) fn encode(header: &Header, effects: &[u8], place: Place) -> (Buffer, u32) {
    encode_in(None, header, effects, place)
}

/// The same in the memory of `last`, as far as it fits.
pub(in super::super) fn encode_in(
    last: Option<Buffer>,
    header: &Header,
    effects: &[u8],
    place: Place,
) -> (Buffer, u32) {
    let len = u32::try_from(effects.len()).expect("a batch is bounded by the length of a file");
    let total = usize::try_from(padded(effects.len())).expect("it is in memory");
    let mut bytes = Buffer::pages(total, last);
    let out = bytes.get_mut().expect("nobody else has it");
    out[HEADER + effects.len()..].fill(0);
    put(out, 0, &MAGIC.to_le_bytes());
    put(out, LEN_AT, &len.to_le_bytes());
    put(out, 12, &header.previous_crc.to_le_bytes());
    put(out, 16, &header.shard.to_le_bytes());
    put(out, 20, &VERSION.to_le_bytes());
    put(out, 24, &header.epoch.to_le_bytes());
    put(out, 32, &header.lsn.to_le_bytes());
    put(out, 40, &header.durable.to_le_bytes());
    put(out, 48, &header.now_ms.to_le_bytes());
    put(out, HEADER, effects);
    let crc = crc_of(&out[..HEADER + effects.len()], place);
    put(out, 8, &crc.to_le_bytes());
    (bytes, crc)
}

/// Bytes that the batch at the beginning of `bytes` says to have, unchecked; 0 where there is none.
pub(in super::super) fn announced(bytes: &[u8]) -> usize {
    match (u32_at(bytes, 0), u32_at(bytes, LEN_AT)) {
        (Some(MAGIC), Some(len)) => usize::try_from(len).map_or(0, |len| HEADER + len),
        _ => 0,
    }
}

/// The batch at the beginning of `bytes`, which stand at `place` and hold what is [`announced`] or
/// reach to the end of the file. Batches up to `floor` are passed over unchecked: they are what a
/// recycled file had before.
pub(in super::super) fn decode(bytes: &[u8], place: Place, floor: Lsn) -> Decoded<'_> {
    parse(bytes, place, floor).unwrap_or(Decoded::Nothing)
}

fn parse(bytes: &[u8], place: Place, floor: Lsn) -> Option<Decoded<'_>> {
    if u32_at(bytes, 0)? != MAGIC || u64_at(bytes, 32)? <= floor {
        return None;
    }
    let whole = bytes.get(..announced(bytes))?;
    let crc = u32_at(whole, 8)?;
    if crc_of(whole, place) != crc {
        return None;
    }
    let version = u32_at(whole, 20)?;
    if version != VERSION {
        return Some(Decoded::Newer(version));
    }
    let header = Header {
        previous_crc: u32_at(whole, 12)?,
        shard: u32_at(whole, 16)?,
        epoch: u64_at(whole, 24)?,
        lsn: u64_at(whole, 32)?,
        durable: u64_at(whole, 40)?,
        now_ms: u64_at(whole, 48)?,
    };
    let effects = &whole[HEADER..];
    Some(Decoded::Valid { header, crc, effects })
}

fn crc_of(whole: &[u8], place: Place) -> u32 {
    checksum(&[&whole[..8], &whole[12..], &place.file.to_le_bytes(), &place.offset.to_le_bytes()])
}

const _: () = assert!((HEADER as u64) < PAGE);

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { file: 3, offset: 8192 };

    fn header() -> Header {
        Header { previous_crc: 1, shard: 2, epoch: 3, lsn: 40, durable: 39, now_ms: 6 }
    }

    #[test]
    fn comes_back_where_it_was_written_and_nowhere_else() {
        for effects in [&b""[..], b"x", &[7; 4040], &[7; 4041], &vec![9; 100_000]] {
            let (bytes, crc) = encode(&header(), effects, PLACE);
            assert_eq!(bytes.len() % 4096, 0);
            match decode(&bytes, PLACE, 39) {
                Decoded::Valid { header: back, crc: sum, effects: same } => {
                    assert_eq!((back, sum, same), (header(), crc, effects));
                }
                other => panic!("{other:?}"),
            }
            let elsewhere = Place { file: 4, ..PLACE };
            assert!(matches!(decode(&bytes, elsewhere, 0), Decoded::Nothing));
            let elsewhere = Place { offset: 0, ..PLACE };
            assert!(matches!(decode(&bytes, elsewhere, 0), Decoded::Nothing));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let (bytes, _) = encode(&header(), b"some effects", PLACE);
        let end = HEADER + 12;
        for at in 0..end * 8 {
            let mut flipped = bytes.to_vec();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(matches!(decode(&flipped, PLACE, 0), Decoded::Nothing), "bit {at}");
        }
        for len in 0..end {
            assert!(matches!(decode(&bytes[..len], PLACE, 0), Decoded::Nothing));
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let (bytes, _) = encode(&header(), b"x", PLACE);
        let mut newer = bytes.to_vec();
        put(&mut newer, 20, &2u32.to_le_bytes());
        assert!(matches!(decode(&newer, PLACE, 0), Decoded::Nothing));
        let crc = crc_of(&newer[..=HEADER], PLACE);
        put(&mut newer, 8, &crc.to_le_bytes());
        assert!(matches!(decode(&newer, PLACE, 0), Decoded::Newer(2)));
    }
}
