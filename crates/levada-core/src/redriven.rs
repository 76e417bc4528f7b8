//! Entries of a stream that were given back to one group: no other group is ever given them.
//!
//! Such an entry is pending in its group from the moment at which it was appended, so that what is
//! kept here says one thing of it for all groups: a read of what is new passes it over. The id
//! before it is kept too: a group that has been given everything up to there has passed it.
//!
//! An id stays as long as its block may hold the entry, for a group that comes later, or goes back
//! with SETID, is not to be given it either. An id whose entry was deleted says nothing wrong: no
//! entry of it comes again, unless XSETID goes back, which drops what is above.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::ops::Bound::{Excluded, Unbounded};

use crate::{
    id::StreamId,
    varint::{Reader, put_id, put_u64},
};

/// Redriven entries that one stream remembers at most.
pub const REDRIVEN_MAX: usize = 100_000;

/// See the module.
#[derive(Clone, Default, Debug)]
pub struct Redriven {
    /// Each with the id that was the stream's last before it; `None` for none, as in most streams.
    ids: Option<Arc<BTreeMap<StreamId, StreamId>>>,
}

impl Redriven {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.as_ref().map_or(0, |ids| ids.len())
    }

    /// Whether this entry is one.
    pub fn contains(&self, id: StreamId) -> bool {
        self.ids.as_ref().is_some_and(|ids| ids.contains_key(&id))
    }

    /// Those above an id, in order, each with the id before it.
    pub fn above(&self, id: StreamId) -> impl Iterator<Item = (StreamId, StreamId)> + '_ {
        let above = self.ids.iter().flat_map(move |ids| ids.range((Excluded(id), Unbounded)));
        above.map(|(id, before)| (*id, *before))
    }

    /// How far a group has come that was given everything up to `id`: behind those that follow it
    /// at once.
    pub fn passed(&self, id: StreamId) -> StreamId {
        let mut passed = id;
        for (id, before) in self.above(id) {
            if before > passed {
                break;
            }
            passed = id;
        }
        passed
    }

    pub(crate) fn insert(&mut self, id: StreamId, before: StreamId) {
        Arc::make_mut(self.ids.get_or_insert_default()).insert(id, before);
    }

    /// Forgets those below an id.
    pub(crate) fn drop_below(&mut self, id: StreamId) {
        let Some(ids) = &mut self.ids else {
            return;
        };
        if ids.first_key_value().is_some_and(|(first, _)| *first < id) {
            let ids = Arc::make_mut(ids);
            *ids = ids.split_off(&id);
        }
    }

    /// Forgets those above an id.
    pub(crate) fn drop_above(&mut self, id: StreamId) {
        let end = id.next().filter(|_| self.above(id).next().is_some());
        if let (Some(end), Some(ids)) = (end, &mut self.ids) {
            Arc::make_mut(ids).split_off(&end);
        }
    }

    /// Appends the ids, each with the one before it.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.len() as u64);
        for (id, before) in self.ids.iter().flat_map(|ids| ids.iter()) {
            put_id(out, *id);
            put_id(out, *before);
        }
    }

    /// The inverse.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let ids = (0..reader.count()?).map(|_| Some((reader.id()?, reader.id()?)));
        let ids: BTreeMap<_, _> = ids.collect::<Option<_>>()?;
        Some(Self { ids: (!ids.is_empty()).then(|| Arc::new(ids)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    fn some() -> Redriven {
        let mut redriven = Redriven::default();
        for (at, before) in [(5, 4), (6, 5), (9, 8)] {
            redriven.insert(id(at), id(before));
        }
        redriven
    }

    #[test]
    fn a_group_passes_those_that_follow_at_once() {
        let redriven = some();
        let passed = [3, 4, 5, 7, 8, 20].map(|at| redriven.passed(id(at)).ms);
        assert_eq!(passed, [3, 6, 6, 7, 9, 20]);
    }

    #[test]
    fn ids_go_with_their_blocks_and_with_what_is_given_out_anew() {
        let mut redriven = some();
        redriven.drop_below(id(6));
        assert!(!redriven.contains(id(5)) && redriven.contains(id(6)));
        redriven.drop_above(id(6));
        assert_eq!(redriven.len(), 1);
        let mut bytes = Vec::new();
        some().encode(&mut bytes);
        let back = Redriven::decode(&mut Reader::new(&bytes)).expect("it was written");
        assert_eq!(back.ids, some().ids);
    }
}
