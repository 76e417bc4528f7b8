//! What streams hold: ids, fields, entries.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// The id of an entry: milliseconds and a sequence number, ordered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct MessageId {
    /// Unix milliseconds, as the server saw them.
    pub ms: u64,
    /// Counts entries of one millisecond.
    pub seq: u64,
}

impl MessageId {
    /// Below every entry.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// Above every entry.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The first id of a millisecond: where a replay by time begins.
    pub const fn at(unix_ms: u64) -> Self {
        Self { ms: unix_ms, seq: 0 }
    }

    /// The next id, none behind the largest.
    pub const fn next(self) -> Option<Self> {
        match (self.seq.checked_add(1), self.ms.checked_add(1)) {
            (Some(seq), _) => Some(Self { ms: self.ms, seq }),
            (None, Some(ms)) => Some(Self { ms, seq: 0 }),
            (None, None) => None,
        }
    }

    /// The id before, none before the smallest.
    pub const fn previous(self) -> Option<Self> {
        match (self.seq.checked_sub(1), self.ms.checked_sub(1)) {
            (Some(seq), _) => Some(Self { ms: self.ms, seq }),
            (None, Some(ms)) => Some(Self { ms, seq: u64::MAX }),
            (None, None) => None,
        }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for MessageId {
    type Err = Error;

    /// `ms-seq`, or `ms` alone for its first id.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad =
            || Error::Invalid(format!("{text:?} is no id of an entry, such as 1718000000000-0"));
        let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
        let number = |part: &str| part.parse::<u64>().map_err(|_| bad());
        Ok(Self { ms: number(ms)?, seq: number(seq)? })
    }
}

/// Names and values of an entry, in order.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Fields(pub Vec<(Vec<u8>, Vec<u8>)>);

impl Fields {
    /// The value of the first field of a name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(field, _)| field == name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    /// The same as text, if it is any.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Appends a field.
    pub fn push(&mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push((name.into(), value.into()));
    }
}

impl<N: Into<Vec<u8>>, V: Into<Vec<u8>>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// An entry of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its id.
    pub id: MessageId,
    /// What it holds.
    pub fields: Fields,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for text in ["0-0", "1718000000000-7", "18446744073709551615-18446744073709551615"] {
            assert_eq!(text.parse::<MessageId>().expect(text).to_string(), text);
        }
        assert_eq!("5".parse::<MessageId>().expect("an id"), MessageId::at(5));
        assert!("x-1".parse::<MessageId>().is_err());
    }

    #[test]
    fn neighbours_carry_over() {
        let last = MessageId { ms: 1, seq: u64::MAX };
        assert_eq!(last.next(), Some(MessageId::at(2)));
        assert_eq!(MessageId::at(2).previous(), Some(last));
        assert_eq!(MessageId::MAX.next(), None);
        assert_eq!(MessageId::MIN.previous(), None);
    }
}
