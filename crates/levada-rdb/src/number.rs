//! Integers and their decimal texts, of which Redis keeps the shorter.

use std::{fmt, ops::Deref};

/// The number that `text` spells, if exactly these bytes are its canonical text.
pub(crate) fn canonical(text: &[u8]) -> Option<i64> {
    // The shortest text comes first, so that most that are no number cost one look.
    if text.len() > 20 || !matches!(text.first()?, b'0'..=b'9' | b'-') {
        return None;
    }
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (*Text::of(number) == *text).then_some(number)
}

/// Bytes of a name or a value: borrowed, or the digits of an integer that was kept as such.
#[derive(Clone, Copy)]
pub struct Text<'a>(Kept<'a>);

#[derive(Clone, Copy)]
enum Kept<'a> {
    Bytes(&'a [u8]),
    Digits { digits: [u8; 20], start: u8 },
}

impl Text<'_> {
    /// The decimal digits of a number.
    pub(crate) fn of(number: i64) -> Self {
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut left = number.unsigned_abs();
        loop {
            start -= 1;
            digits[start] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        if number < 0 {
            start -= 1;
            digits[start] = b'-';
        }
        Self(Kept::Digits { digits, start: start.to_le_bytes()[0] })
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Kept::Bytes(bytes))
    }
}

impl Deref for Text<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kept::Bytes(bytes) => bytes,
            Kept::Digits { digits, start } => &digits[usize::from(*start)..],
        }
    }
}

impl AsRef<[u8]> for Text<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_texts_are_numbers() {
        for number in [0, 7, -7, 10, i64::MAX, i64::MIN] {
            assert_eq!(canonical(&Text::of(number)), Some(number));
        }
        for text in ["", "-", "-0", "00", "01", "+1", "1 ", "9223372036854775808", "1.5", "x"] {
            assert_eq!(canonical(text.as_bytes()), None, "{text}");
        }
    }
}
