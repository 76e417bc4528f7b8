//! Databases, names and numbers of keys.

/// The number of a key: given at its creation, kept through RENAME, never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct KeyNumber(pub u64);
