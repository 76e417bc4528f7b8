//! XSCHED: entries that are appended later.

use alloc::vec::Vec;

use super::Key;
use crate::{fields::Fields, id::StreamId, schedule};

/// XSCHED.
#[derive(Clone, Debug)]
pub struct Xsched<'a> {
    /// The stream to which entries are appended.
    pub key: Key<'a>,
    /// The name of its schedule; see [`schedule::name_of`].
    name: Vec<u8>,
    /// HANDLE: the handle that ADD gives, above all that were given; `None` for a new one.
    pub handle: Option<StreamId>,
    /// What is asked.
    pub verb: SchedVerb<'a>,
}

/// What XSCHED is to do.
#[derive(Clone, Copy, Debug)]
pub enum SchedVerb<'a> {
    /// ADD: answers the handle.
    Add {
        /// When it is due, in unix milliseconds; what is past is due now.
        at_ms: u64,
        /// IDMP: producer and idempotent id.
        once: Option<(&'a [u8], &'a [u8])>,
        /// What is appended.
        fields: Fields<'a>,
    },
    /// CANCEL: answers 1, or 0 where nothing of this handle is scheduled.
    Cancel(StreamId),
    /// LIST: the next entries as they stand in the schedule, in order of their time; at most so
    /// many.
    List(u64),
    /// LEN: how many are scheduled.
    Len,
}

impl<'a> Xsched<'a> {
    /// The command about a key.
    pub fn new(key: Key<'a>, verb: SchedVerb<'a>) -> Self {
        Self { key, name: schedule::name_of(key.name), handle: None, verb }
    }

    /// The stream that holds what is scheduled.
    pub fn schedule(&self) -> Key<'_> {
        Key { database: self.key.database, name: &self.name }
    }
}
