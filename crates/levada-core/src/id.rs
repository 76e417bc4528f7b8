//! Stream ids: 64 bits of milliseconds, 64 bits of sequence, ordered as one 128-bit number.
//!
//! Source: the Redis streams introduction and the XADD and XRANGE command pages. Parsing is strict
//! (digits only), because the text of an id is also its identity.

use core::fmt;

/// The id of an entry. `0-0` is never the id of an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct StreamId {
    /// Milliseconds, usually since the Unix epoch.
    pub ms: u64,
    /// Sequence number within the millisecond.
    pub seq: u64,
}

impl StreamId {
    /// `0-0`, below every entry.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The largest id; a stream whose last id this is accepts no more entries.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// An id from its parts.
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The id right after this one, or `None` after [`StreamId::MAX`].
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => self.ms.checked_add(1).map(|ms| Self { ms, seq: 0 }),
        }
    }

    /// The id right before this one, or `None` before [`StreamId::MIN`].
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => self.ms.checked_sub(1).map(|ms| Self { ms, seq: u64::MAX }),
        }
    }

    /// Parses `ms` or `ms-seq`; where the sequence is missing, `seq_missing` takes its place.
    /// `None` where the text is anything else.
    pub fn parse(text: &[u8], seq_missing: u64) -> Option<Self> {
        match text.iter().position(|&b| b == b'-') {
            Some(dash) => Some(Self {
                ms: parse_u64(text.get(..dash)?)?,
                seq: parse_u64(text.get(dash + 1..)?)?,
            }),
            None => Some(Self { ms: parse_u64(text)?, seq: seq_missing }),
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Parses a decimal number without sign or superfluous zeros, as Redis' `string2ull` accepts it.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    let (most, last) = text.split_at(text.len().min(19));
    let mut sum = 0_u64;
    for byte in most {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Nineteen digits cannot overflow.
        sum = sum.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    match last {
        [] => Some(sum),
        [digit @ b'0'..=b'9', ..] => sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// Nineteen of them: the most that cannot overflow.
    const NINES: u64 = 9_999_999_999_999_999_999;

    #[test]
    fn parses_and_prints() {
        let check = |text: &str, expect: Option<StreamId>| {
            assert_eq!(StreamId::parse(text.as_bytes(), 7), expect, "{text}");
        };
        check("1-2", Some(StreamId::new(1, 2)));
        check("5", Some(StreamId::new(5, 7)));
        check("18446744073709551615-18446744073709551615", Some(StreamId::MAX));
        check("18446744073709551616-0", None);
        check("9999999999999999999-09999999999999999999", Some(StreamId::new(NINES, NINES)));
        check("99999999999999999999", None);
        check("1844674407370955161x", None);
        for bad in ["", "-", "1-", "-1", "a-1", "1-a", "1-2-3", "+1", " 1", "1 "] {
            check(bad, None);
        }
        assert_eq!(StreamId::new(12, 34).to_string(), "12-34");
    }

    #[test]
    fn neighbours_cross_the_millisecond() {
        assert_eq!(StreamId::new(1, u64::MAX).next(), Some(StreamId::new(2, 0)));
        assert_eq!(StreamId::new(2, 0).previous(), Some(StreamId::new(1, u64::MAX)));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.previous(), None);
    }
}
