//! A block in a segment or pack file.
//!
//! ```text
//!  0  u32  magic "LVS1"
//!  4  u32  version
//!  8  u32  crc32c over bytes 0..8, 12..40, the rows, file number (u64), offset (u64)
//! 12  u32  flags: 0 (a compression would stand here)
//! 16  u64  object
//! 24  u64  number of the block
//! 32  u32  length of the bytes that follow
//! 36  u32  length of the rows that they hold; the same without compression
//! 40       rows
//! ```

use std::sync::Arc;

use levada_core::block::Block;

use super::{
    super::format::{VERSION, checksum, put, u32_at, u64_at},
    BlockKey,
};

/// Bytes before the rows.
pub(super) const HEADER: usize = 40;
const MAGIC: u32 = u32::from_le_bytes(*b"LVS1");

/// The bytes of a block at a place. The rows are below 4 GiB.
pub(super) fn encode(key: BlockKey, file: u64, offset: u64, rows: &[u8]) -> Arc<[u8]> {
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, HEADER + rows.len()).collect();
    let out = Arc::get_mut(&mut bytes).expect("nobody else has it yet");
    encode_in(out, key, file, offset, rows);
    bytes
}

/// The same into `out`, which is just as long.
pub(super) fn encode_in(out: &mut [u8], key: BlockKey, file: u64, offset: u64, rows: &[u8]) {
    let len = u32::try_from(rows.len()).expect("the caller has checked the length");
    put(out, 0, &MAGIC.to_le_bytes());
    put(out, 4, &VERSION.to_le_bytes());
    put(out, 12, &0u32.to_le_bytes());
    put(out, 16, &key.object.to_le_bytes());
    put(out, 24, &key.number.to_le_bytes());
    put(out, 32, &len.to_le_bytes());
    put(out, 36, &len.to_le_bytes());
    put(out, HEADER, rows);
    let crc = crc_of(out, file, offset);
    put(out, 8, &crc.to_le_bytes());
}

/// The block whose bytes these are, or what is wrong with them.
pub(super) fn decode(
    bytes: &[u8],
    key: BlockKey,
    file: u64,
    offset: u64,
) -> Result<Block, &'static str> {
    if bytes.len() < HEADER {
        return Err("the file ends before the block does");
    }
    if u32_at(bytes, 0) != Some(MAGIC) || u32_at(bytes, 8) != Some(crc_of(bytes, file, offset)) {
        return Err("the block fails its checksum");
    }
    if u32_at(bytes, 4) != Some(VERSION) || u32_at(bytes, 12) != Some(0) {
        return Err("the block was written by a newer version of Levada");
    }
    if u64_at(bytes, 16) != Some(key.object) || u64_at(bytes, 24) != Some(key.number) {
        return Err("another block stands here");
    }
    Block::decode(&bytes[HEADER..]).ok_or("the rows of the block make no sense")
}

fn crc_of(bytes: &[u8], file: u64, offset: u64) -> u32 {
    checksum(&[&bytes[..8], &bytes[12..], &file.to_le_bytes(), &offset.to_le_bytes()])
}

#[cfg(test)]
mod tests {
    use levada_core::{fields::Fields, id::StreamId};

    use super::*;

    const KEY: BlockKey = BlockKey { object: 5, number: 6 };

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mut block = Block::new();
        for n in 1..20 {
            let pairs: [&[u8]; 2] = [b"name", b"value"];
            block.append(StreamId::new(n, 0), &Fields::Arguments(&pairs), false);
        }
        let bytes = encode(KEY, 1, 4096, block.bytes());
        let back = decode(&bytes, KEY, 1, 4096).expect("its own bytes");
        assert_eq!(back.bytes(), block.bytes());
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(decode(&flipped, KEY, 1, 4096).is_err(), "bit {at}");
        }
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len], KEY, 1, 4096).is_err());
        }
        assert!(decode(&bytes, KEY, 2, 4096).is_err(), "another file");
        assert!(decode(&bytes, KEY, 1, 0).is_err(), "another place");
        let other = BlockKey { number: 7, ..KEY };
        assert!(decode(&bytes, other, 1, 4096).is_err(), "another block");
    }
}
