//! The fields of an entry: pairs of name and value, in order, duplicates kept.
//!
//! They arrive as arguments of a command or as bytes of a log record; [`Fields`] hides which.
//! Values that are canonical decimal integers are stored as numbers ([`Value::Integer`]) and come
//! back as the same digits.

use alloc::vec::Vec;

use crate::varint::{self, Reader};

/// Fields on their way into a stream.
#[derive(Clone, Copy, Debug)]
pub enum Fields<'a> {
    /// `name, value, name, value ...`; an odd last name is ignored.
    Arguments(&'a [&'a [u8]]),
    /// As [`Fields::encode`] wrote them.
    Encoded(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// Number of pairs.
    pub fn len(&self) -> usize {
        match self {
            Self::Arguments(arguments) => arguments.len() / 2,
            Self::Encoded(bytes) => Reader::new(bytes).count().unwrap_or(0),
        }
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pairs in order.
    #[expect(clippy::iter_without_into_iter, reason = "a view, not a collection")]
    pub fn iter(&self) -> FieldsIter<'a> {
        match self {
            Self::Arguments(arguments) => FieldsIter::Arguments(arguments),
            Self::Encoded(bytes) => {
                let mut reader = Reader::new(bytes);
                let left = reader.count().unwrap_or(0);
                FieldsIter::Encoded(reader, left)
            }
        }
    }

    /// Sum of the bytes of names and values: what a logical node and MAX-BYTES count.
    pub fn bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Appends `count, (name, value) * count`, every string with its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Self::Encoded(bytes) = self {
            out.extend_from_slice(bytes);
            return;
        }
        varint::put_u64(out, self.len() as u64);
        for (name, value) in self.iter() {
            varint::put_bytes(out, name);
            varint::put_bytes(out, value);
        }
    }

    /// Takes encoded fields off a reader, checking that they are whole.
    pub fn decode(reader: &mut Reader<'a>, bytes: &'a [u8]) -> Option<Self> {
        let start = reader.position();
        for _ in 0..reader.count()? {
            reader.bytes()?;
            reader.bytes()?;
        }
        Some(Self::Encoded(bytes.get(start..reader.position())?))
    }
}

/// See [`Fields::iter`].
#[derive(Clone, Debug)]
pub enum FieldsIter<'a> {
    /// Left of the arguments.
    Arguments(&'a [&'a [u8]]),
    /// Cursor, and pairs left.
    Encoded(Reader<'a>, usize),
}

impl<'a> Iterator for FieldsIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Arguments(left) => {
                let ([name, value], rest) = left.split_first_chunk::<2>()?;
                *left = rest;
                Some((name, value))
            }
            Self::Encoded(reader, left) => {
                *left = left.checked_sub(1)?;
                Some((reader.bytes()?, reader.bytes()?))
            }
        }
    }
}

/// A value as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// Any bytes.
    Bytes(&'a [u8]),
    /// A canonical decimal integer; its text is the value.
    Integer(i64),
}

/// Integers up to this magnitude share one varint with the tag bit; larger ones stay text.
const INTEGER_MAX: i64 = 1 << 61;

impl<'a> Value<'a> {
    /// The stored form of some bytes.
    pub fn of(bytes: &'a [u8]) -> Self {
        canonical_integer(bytes).map_or(Self::Bytes(bytes), Self::Integer)
    }

    /// Appends tag and content: `len << 1` and the bytes, or `zigzag << 1 | 1`.
    pub fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => {
                varint::put_u64(out, (bytes.len() as u64) << 1);
                out.extend_from_slice(bytes);
            }
            Self::Integer(number) => varint::put_u64(out, varint::zigzag(number) << 1 | 1),
        }
    }

    /// The bytes that it stands for.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        bytes
    }

    /// Takes a value off a reader.
    #[inline]
    pub fn decode(reader: &mut Reader<'a>) -> Option<Self> {
        let tag = reader.u64()?;
        if tag & 1 == 1 {
            return Some(Self::Integer(varint::unzigzag(tag >> 1)));
        }
        Some(Self::Bytes(reader.take(usize::try_from(tag >> 1).ok()?)?))
    }

    /// Appends the value's bytes as its producer sent them.
    pub fn append_to(self, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::Integer(number) => append_decimal(out, number),
        }
    }
}

/// Appends the canonical decimal text of `number`.
pub fn append_decimal(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut left = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// The number that `bytes` spell, if exactly these bytes are its canonical text.
fn canonical_integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let canonical = match digits {
        [b'0'] => !negative,
        [b'1'..=b'9', ..] => digits.len() <= 18,
        _ => false,
    };
    if !canonical {
        return None;
    }
    let magnitude = i64::try_from(crate::id::parse_u64(digits)?).ok()?;
    (magnitude < INTEGER_MAX).then_some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_stored_only_where_the_text_comes_back() {
        let check = |text: &str, number: Option<i64>| {
            let value = Value::of(text.as_bytes());
            assert_eq!(matches!(value, Value::Integer(_)), number.is_some(), "{text}");
            let mut out = Vec::new();
            value.encode(&mut out);
            let mut back = Vec::new();
            Value::decode(&mut Reader::new(&out)).expect("whole").append_to(&mut back);
            assert_eq!(back, text.as_bytes());
        };
        for (text, number) in
            [("0", 0), ("7", 7), ("-7", -7), ("123456789012345678", 123_456_789_012_345_678)]
        {
            check(text, Some(number));
        }
        for text in ["", "-", "-0", "00", "01", "+1", "1 ", "9223372036854775807", "1.5", "x"] {
            check(text, None);
        }
    }

    #[test]
    fn fields_survive_the_log() {
        let arguments: [&[u8]; 4] = [b"a", b"1", b"a", b"\0\xff"];
        let fields = Fields::Arguments(&arguments);
        let mut out = Vec::new();
        fields.encode(&mut out);
        let back = Fields::decode(&mut Reader::new(&out), &out).expect("whole");
        assert_eq!(back.iter().collect::<Vec<_>>(), fields.iter().collect::<Vec<_>>());
        assert_eq!((back.len(), back.bytes()), (2, 5));
        assert!(!back.is_empty() && Fields::Arguments(&[]).is_empty());
        assert!(Fields::decode(&mut Reader::new(&out[..5]), &out[..5]).is_none());
    }
}
