//! Listpacks: byte strings and integers back to back, readable from either end.
//!
//! ```text
//! u32 le  bytes of the whole, this header and the end included
//! u16 le  number of elements; 65535 where there are that many or more
//! element *:
//!   0xxxxxxx                        integer 0..=127
//!   10llllll  bytes                 string of l bytes
//!   110vvvvv vvvvvvvv               integer, 13 bits, signed
//!   1110llll llllllll  bytes        string of l bytes
//!   11110000 u32 le    bytes        string of so many bytes
//!   11110001 i16 le | 11110010 i24 le | 11110011 i32 le | 11110100 i64 le
//!   then the length of what stands above, 7 bits to a byte, most significant first;
//!   all bytes of it but the first have the top bit
//! 0xFF
//! ```
//!
//! Source: Redis' listpack description and `listpack.c` of 8.6.3.

use crate::error::{Error, Result};

/// Bytes before the first element.
const HEADER_BYTES: usize = 6;
/// The last byte.
const END: u8 = 0xFF;
/// The number of elements that means "look yourself".
const COUNT_UNKNOWN: usize = u16::MAX as usize;

/// An element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Element<'a> {
    /// A byte string.
    Bytes(&'a [u8]),
    /// An integer, which stands for its decimal text.
    Integer(i64),
}

/// Walks the elements of a listpack whose frame was checked.
#[derive(Clone, Debug)]
pub(crate) struct Elements<'a> {
    left: &'a [u8],
}

/// Checks the frame: the length in the header is the length, and the end is where it belongs.
/// Elements are checked as they are read.
pub(crate) fn elements(bytes: &[u8]) -> Result<Elements<'_>> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES).ok_or(FRAME)?;
    let total = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    if total as usize != bytes.len() {
        return Err(FRAME);
    }
    match body.split_last() {
        Some((&END, left)) => Ok(Elements { left }),
        _ => Err(FRAME),
    }
}

/// How many elements the header announces; `None` where it does not say.
pub(crate) fn announced(bytes: &[u8]) -> Option<usize> {
    let count = usize::from(u16::from_le_bytes([*bytes.get(4)?, *bytes.get(5)?]));
    (count != COUNT_UNKNOWN).then_some(count)
}

const FRAME: Error = Error::Corrupt("a listpack has another length than it says");
const ELEMENT: Error = Error::Corrupt("an element of a listpack is malformed");

impl<'a> Elements<'a> {
    /// The next element; an error behind the last or where it is malformed.
    pub(crate) fn next(&mut self) -> Result<Element<'a>> {
        let (element, len) = parse(self.left).ok_or(ELEMENT)?;
        let (_, rest) = self.left.split_at_checked(len).ok_or(ELEMENT)?;
        let mut expect = [0; 5];
        let back = back_length(len, &mut expect);
        self.left = rest.strip_prefix(back).ok_or(ELEMENT)?;
        Ok(element)
    }

    /// The next element, which has to be an integer.
    pub(crate) fn integer(&mut self) -> Result<i64> {
        match self.next()? {
            Element::Integer(number) => Ok(number),
            Element::Bytes(_) => Err(Error::Corrupt("a listpack has text for a number")),
        }
    }

    /// The next element, which has to be an integer that counts something.
    pub(crate) fn count(&mut self) -> Result<u64> {
        u64::try_from(self.integer()?).map_err(|_| Error::Corrupt("a count is negative"))
    }

    /// Bytes left, which bounds the elements left.
    pub(crate) fn left(&self) -> usize {
        self.left.len()
    }
}

/// The element at the front and its length without the length that stands behind it.
fn parse(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let text = |header: usize, len: usize| {
        let end = header.checked_add(len)?;
        Some((Element::Bytes(bytes.get(header..end)?), end))
    };
    let first = *bytes.first()?;
    match first {
        0..=0x7F => Some((Element::Integer(i64::from(first)), 1)),
        0x80..=0xBF => text(1, usize::from(first & 0x3F)),
        0xC0..=0xDF => {
            let number = i64::from(first & 0x1F) << 8 | i64::from(*bytes.get(1)?);
            // The sign is bit 12 of 13.
            Some((Element::Integer(number << 51 >> 51), 2))
        }
        0xE0..=0xEF => text(2, usize::from(first & 0x0F) << 8 | usize::from(*bytes.get(1)?)),
        0xF0 => {
            let len = u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?);
            text(5, len as usize)
        }
        0xF1 => signed(bytes, 2),
        0xF2 => signed(bytes, 3),
        0xF3 => signed(bytes, 4),
        0xF4 => signed(bytes, 8),
        _ => None,
    }
}

/// A little-endian integer of `len` bytes behind the first.
fn signed(bytes: &[u8], len: usize) -> Option<(Element<'_>, usize)> {
    let mut wide = [0; 8];
    wide[..len].copy_from_slice(bytes.get(1..=len)?);
    let shift = 64 - 8 * len;
    Some((Element::Integer(i64::from_le_bytes(wide) << shift >> shift), len + 1))
}

/// The bytes that stand behind an element of `len` bytes.
fn back_length(len: usize, out: &mut [u8; 5]) -> &[u8] {
    // The bounds of Redis: one less than fits, but for the first.
    let count = match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    let out = &mut out[..count];
    let mut left = len;
    for byte in out.iter_mut().rev() {
        *byte = left.to_le_bytes()[0] | 0x80;
        left >>= 7;
    }
    out[0] &= 0x7F;
    out
}

/// Builds the elements of a listpack; see [`finish`].
#[derive(Clone, Default, Debug)]
pub(crate) struct Builder {
    elements: Vec<u8>,
    count: usize,
}

impl Builder {
    /// Adds an integer.
    pub(crate) fn integer(&mut self, number: i64) {
        let start = self.elements.len();
        let out = &mut self.elements;
        let bytes = number.to_le_bytes();
        if (0..128).contains(&number) {
            out.push(bytes[0]);
        } else if (-4096..4096).contains(&number) {
            out.extend([0xC0 | bytes[1] & 0x1F, bytes[0]]);
        } else {
            let (head, len) = match number {
                -0x8000..=0x7FFF => (0xF1, 2),
                -0x80_0000..=0x7F_FFFF => (0xF2, 3),
                -0x8000_0000..=0x7FFF_FFFF => (0xF3, 4),
                _ => (0xF4, 8),
            };
            out.push(head);
            out.extend_from_slice(&bytes[..len]);
        }
        self.end(start);
    }

    /// Adds a byte string, as an integer where it is the text of one.
    pub(crate) fn text(&mut self, text: &[u8]) {
        if let Some(number) = crate::number::canonical(text) {
            return self.integer(number);
        }
        let start = self.elements.len();
        let out = &mut self.elements;
        let len = u32::try_from(text.len()).expect("the writer bounds what an entry holds");
        let bytes = len.to_le_bytes();
        match len {
            0..64 => out.push(0x80 | bytes[0]),
            64..4096 => out.extend([0xE0 | bytes[1], bytes[0]]),
            _ => {
                out.push(0xF0);
                out.extend_from_slice(&bytes);
            }
        }
        out.extend_from_slice(text);
        self.end(start);
    }

    /// Bytes of the elements so far.
    pub(crate) fn len(&self) -> usize {
        self.elements.len()
    }

    fn end(&mut self, start: usize) {
        let len = self.elements.len() - start;
        self.elements.extend_from_slice(back_length(len, &mut [0; 5]));
        self.count += 1;
    }
}

/// A listpack of the elements of `head`, then of `body`.
pub(crate) fn finish(head: &Builder, body: &Builder) -> Vec<u8> {
    let total = HEADER_BYTES + head.elements.len() + body.elements.len() + 1;
    let bytes = u32::try_from(total).expect("the writer bounds a node");
    let count = (head.count + body.count).min(COUNT_UNKNOWN);
    let count = u16::try_from(count).expect("cut to 16 bits");
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&bytes.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&head.elements);
    out.extend_from_slice(&body.elements);
    out.push(END);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_of_element_comes_back() {
        let mut body = Builder::default();
        let numbers = [
            0,
            1,
            127,
            128,
            -1,
            4095,
            4096,
            -4096,
            -4097,
            32_767,
            32_768,
            -32_769,
            8_388_607,
            8_388_608,
            -8_388_609,
            2_147_483_647,
            2_147_483_648,
            i64::MAX,
            i64::MIN,
        ];
        numbers.iter().for_each(|number| body.integer(*number));
        let lens = [0, 1, 63, 64, 126, 127, 4095, 4096, 16_376, 16_381, 2_097_150, 2_097_200];
        let texts: Vec<Vec<u8>> = lens.iter().map(|len| vec![b'x'; *len]).collect();
        texts.iter().for_each(|text| body.text(text));
        body.text(b"-17");

        let bytes = finish(&Builder::default(), &body);
        assert_eq!(announced(&bytes), Some(numbers.len() + texts.len() + 1));
        let mut elements = elements(&bytes).expect("a frame");
        for number in numbers {
            assert_eq!(elements.integer().expect("a number"), number);
        }
        for text in &texts {
            assert_eq!(elements.next().expect("a text"), Element::Bytes(text));
        }
        assert_eq!(elements.next().expect("the last"), Element::Integer(-17));
        assert_eq!(elements.left(), 0);
        assert!(elements.next().is_err());
    }

    #[test]
    fn a_wrong_frame_or_back_length_is_refused() {
        let mut body = Builder::default();
        body.text(b"abc");
        let bytes = finish(&Builder::default(), &body);
        for at in [0, bytes.len() - 1] {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert!(elements(&wrong).is_err(), "byte {at}");
        }
        let mut wrong = bytes.clone();
        wrong[bytes.len() - 2] ^= 1;
        assert!(elements(&wrong).expect("a frame").next().is_err());
    }
}
