//! Many entries at once: what a delivery or an acknowledgement names goes in or out by chunks, one
//! copy and one look at the times for each, instead of a search and a move for each entry.

use alloc::vec::Vec;

use super::{CHUNK_ENTRIES, Pending, PendingList, chunk_len};
use crate::id::StreamId;

impl PendingList {
    /// Inserts entries of these ids, which ascend and are above the last one, in all else like
    /// `like`: what [`PendingList::set`] would do one by one.
    pub fn append(&mut self, position: u64, ids: &[StreamId], like: Pending) {
        debug_assert!(ids.is_sorted() && self.last() < ids.first().copied());
        let mut rest = ids;
        while let Some((first, others)) = rest.split_first() {
            let last = self.heads.len().checked_sub(1);
            let Some(at) = last.filter(|at| self.heads[*at].len() < CHUNK_ENTRIES) else {
                self.append_chunk(position, Pending { id: *first, ..like });
                rest = others;
                continue;
            };
            let room = CHUNK_ENTRIES - self.heads[at].len();
            let (here, more) = rest.split_at(room.min(rest.len()));
            self.edit(position, at, |chunk| chunk.extend(here, like));
            let head = &mut self.heads[at];
            head.len = chunk_len(head.chunk.len());
            head.note(&like);
            self.len += here.len() as u64;
            rest = more;
        }
    }

    /// Keeps of these ids, which ascend, those that are in the list.
    pub fn retain_held(&self, ids: &mut Vec<StreamId>) {
        let (mut at, mut index) = (usize::MAX, 0);
        ids.retain(|id| {
            let is_here = self.heads.get(at).is_some_and(|head| head.first <= *id)
                && self.heads.get(at + 1).is_none_or(|next| *id < next.first);
            if !is_here {
                let Some(found) = self.locate(*id) else {
                    return false;
                };
                (at, index) = (found, 0);
            }
            let chunk = &self.heads[at].chunk;
            index = chunk.seek(index, *id);
            index < chunk.len() && chunk.get(index).id == *id
        });
    }

    /// Takes out the entries of these ids, which ascend, and tells `gone` of each that was there:
    /// one change for each chunk that holds any.
    pub fn remove_all(&mut self, position: u64, ids: &[StreamId], mut gone: impl FnMut(Pending)) {
        let mut rest = ids;
        while let Some(at) = rest.first().and_then(|first| self.locate(*first)) {
            let next = self.heads.get(at + 1).map(|next| next.first);
            let end = next.map_or(rest.len(), |next| rest.partition_point(|id| *id < next));
            let (here, more) = rest.split_at(end);
            self.remove_within(position, at, here, &mut gone);
            rest = more;
        }
    }

    /// The same where all of them are in one chunk, if they are anywhere.
    fn remove_within(
        &mut self,
        position: u64,
        at: usize,
        ids: &[StreamId],
        gone: &mut impl FnMut(Pending),
    ) {
        let chunk = &self.heads[at].chunk;
        let found = |(n, id): (usize, &StreamId)| Some((n, chunk.search(*id).ok()?));
        let Some((first, index)) = ids.iter().enumerate().find_map(found) else {
            return;
        };
        let (mut oldest_ms, mut leased_ms) = (u64::MAX, u64::MAX);
        self.edit(position, at, |chunk| {
            chunk.remove_all(index, &ids[first..], |entry| {
                oldest_ms = oldest_ms.min(entry.delivered_ms);
                if entry.flags == 0 {
                    leased_ms = leased_ms.min(entry.delivered_ms);
                }
                gone(entry);
            });
        });
        let head = &mut self.heads[at];
        let len = chunk_len(head.chunk.len());
        self.len -= u64::from(head.len - len);
        head.len = len;
        if len == 0 {
            self.remove_head(at);
        } else {
            head.first = head.chunk.get(0).id;
            head.forget_times(oldest_ms, leased_ms);
            self.merge_next(position, at);
        }
        if let Some(before) = at.checked_sub(1) {
            self.merge_next(position, before);
        }
    }
}
