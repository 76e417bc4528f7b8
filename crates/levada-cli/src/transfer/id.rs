//! Ids of entries, as this side of the wire needs them: read, write, order, and the next one.

use std::fmt;

use anyhow::{Context as _, Result};

/// The id of an entry. The fields are ordered as ids are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub(crate) struct Id {
    pub(crate) ms: u64,
    pub(crate) seq: u64,
}

impl Id {
    /// Below every entry.
    pub(crate) const MIN: Self = Self { ms: 0, seq: 0 };
    /// No entry is above it.
    pub(crate) const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The id right after this one; `None` after the last.
    pub(crate) fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => self.ms.checked_add(1).map(|ms| Self { ms, seq: 0 }),
        }
    }

    /// The id right before this one; `None` before the first.
    pub(crate) fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => self.ms.checked_sub(1).map(|ms| Self { ms, seq: u64::MAX }),
        }
    }

    /// Reads `ms-seq`, as servers write it.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let read = || {
            let (ms, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
            Some(Self { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
        };
        read().with_context(|| format!("{} is no id", text.escape_ascii()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_follow_each_other() {
        let id = |text: &str| Id::parse(text.as_bytes()).ok();
        assert_eq!(id("5-18446744073709551615").and_then(Id::next), id("6-0"));
        assert_eq!(id("5-6").and_then(Id::next), id("5-7"));
        assert_eq!(Id::MAX.next(), None);
        assert_eq!(id("5-6").map(|id| id.to_string()), Some("5-6".to_owned()));
        for bad in ["", "5", "5-", "-5", "x-1", "5-18446744073709551616"] {
            assert_eq!(id(bad), None, "{bad}");
        }
    }
}
