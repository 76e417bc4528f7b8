//! What all files of a local store have in common: byte order, checksum, versions.
//!
//! Integers are little-endian. Every structure begins with a magic number, has its version and its
//! checksum at a place that no version will move, and a checksum covers, besides the bytes, the
//! number of the file and the offset at which they stand: bytes of another file or another place
//! fail like damaged ones.

use crate::{
    disk::PAGE_BYTES,
    error::{Error, ErrorKind},
};

/// The unit in which files are prepared and padded; a page that holds acknowledged bytes is never
/// written again.
pub(super) const PAGE: u64 = PAGE_BYTES as u64;
/// The version of every structure that this program writes; it reads no other.
pub(super) const VERSION: u32 = 1;

/// CRC-32C of the parts in order.
pub(super) fn checksum(parts: &[&[u8]]) -> u32 {
    parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part))
}

/// The next multiple of [`PAGE`].
pub(super) const fn page_up(offset: u64) -> u64 {
    offset.next_multiple_of(PAGE)
}

/// The integer at an offset, if there are bytes.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The integer at an offset, if there are bytes.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Puts bytes at an offset of a header that is known to hold them.
pub(super) fn put(header: &mut [u8], at: usize, bytes: &[u8]) {
    header[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The number of a file in names, as in `log/0000000000000001.log`.
pub(super) fn parse_number(hex: &str) -> Option<u64> {
    (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok())?
}

/// The refusal to touch what a newer program wrote.
pub(super) fn newer(path: &str, version: u32) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "{path} was written by a newer version of Levada (format {version}, this program \
             knows {VERSION}): start that version; nothing was changed"
        ),
    )
}

/// The refusal to start on damaged bytes.
pub(super) fn damaged(path: &str, offset: u64, what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "{path} is damaged at byte {offset}: {what}. Nothing was changed. `levada verify` says \
             what is affected; restore the data directory from a backup, bring this file back from \
             another copy, or keep what is whole with `levada verify --repair`"
        ),
    )
    .at(path, offset)
}
