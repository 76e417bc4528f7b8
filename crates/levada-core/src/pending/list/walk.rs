//! A walk over a list by id that passes over many entries at once where the directory tells that
//! none of them is wanted.

use super::{Pending, PendingList};
use crate::id::StreamId;

/// See the module; [`PendingList::walk`] begins one.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    list: &'a PendingList,
    /// Chunk and place in it; the chunk behind the last is the end.
    at: usize,
    index: usize,
}

/// Entries that stand together.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The id of the first.
    pub first: StreamId,
    /// The id of the last.
    pub last: StreamId,
    /// How many, at least one.
    pub len: u64,
    /// None of them was delivered before this time.
    pub oldest_ms: u64,
}

impl PendingList {
    /// Begins at the first entry at or above an id.
    pub fn walk(&self, from: StreamId) -> Walk<'_> {
        let at = self.locate(from).unwrap_or(0);
        let index = self.heads.get(at).map_or(0, |head| head.chunk.seek(0, from));
        let mut walk = Walk { list: self, at, index };
        walk.step(0);
        walk
    }
}

impl Walk<'_> {
    /// What stands here and further on in the same chunk; `None` at the end.
    pub fn run(&self) -> Option<Run> {
        let head = self.list.heads.get(self.at)?;
        let id = |index| head.chunk.get(index).id;
        let (first, last) = (id(self.index), id(head.len() - 1));
        let len = (head.len() - self.index) as u64;
        Some(Run { first, last, len, oldest_ms: head.oldest_ms })
    }

    /// Whether no chunk is behind the one that it stands in; also at the end.
    pub fn is_in_last_chunk(&self) -> bool {
        self.at + 1 >= self.list.heads.len()
    }

    /// Passes over the rest of this chunk and over the chunks behind it, up to the first that may
    /// hold an entry which was delivered at or before a time, or an id at or above `below`.
    pub fn pass_younger(&mut self, delivered_at_most_ms: u64, below: StreamId) {
        let heads = &self.list.heads;
        let is_passed = |at: usize| {
            let is_below = match heads.get(at + 1) {
                Some(next) => next.first <= below,
                None => self.list.last() < Some(below),
            };
            heads.get(at).is_some_and(|head| head.oldest_ms > delivered_at_most_ms && is_below)
        };
        let from = self.at;
        while is_passed(self.at) {
            self.at += 1;
        }
        if self.at > from {
            self.index = 0;
        }
    }

    /// Passes over so many entries of a [`Walk::run`], at most all of it.
    pub fn pass(&mut self, entries: u64) {
        self.step(usize::try_from(entries).unwrap_or(usize::MAX));
    }

    fn step(&mut self, entries: usize) {
        self.index = self.index.saturating_add(entries);
        if self.list.heads.get(self.at).is_some_and(|head| self.index >= head.len()) {
            (self.at, self.index) = (self.at + 1, 0);
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Pending;

    fn next(&mut self) -> Option<Pending> {
        let entry = self.list.heads.get(self.at)?.chunk.get(self.index);
        self.step(1);
        Some(entry)
    }
}
