//! Commands about dead letters.

use alloc::vec::Vec;

use super::Key;
use crate::id::StreamId;

/// XDLQ.
#[derive(Clone, Debug)]
pub struct Xdlq<'a> {
    /// What to do.
    pub verb: XdlqVerb,
    /// The stream from which the letters came.
    pub key: Key<'a>,
    /// The group that failed.
    pub group: &'a [u8],
    /// Which letters; LEN counts all.
    pub letters: Letters,
    /// AFTER: only letters above this id of the dead-letter stream, for LEN and COUNT;
    /// [`StreamId::MIN`] for all.
    pub after: StreamId,
}

/// What XDLQ does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XdlqVerb {
    /// LEN: how many there are.
    Len,
    /// RANGE: shows them.
    Range,
    /// REDRIVE: gives them back to their group.
    Redrive,
    /// PURGE: removes them.
    Purge,
}

/// Which dead letters; never more than [`crate::decide::LETTERS_MAX`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Letters {
    /// COUNT: the oldest so many.
    First(u64),
    /// IDS: these, by their ids in the dead-letter stream. Others are passed over.
    Ids(Vec<StreamId>),
}
