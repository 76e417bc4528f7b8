//! What an operator is told in words: things that a policy lets happen and nobody would see.
//!
//! A notice is made where an effect is applied for the first time, never by a replay. Whoever
//! drives the shard takes them; at the bound the oldest is forgotten.

use std::sync::Arc;

use levada_core::{
    effect::{Act, Effect},
    id::StreamId,
    keyspace::{KeyNumber, Object, Value},
    stream::Stream,
};

use super::Shard;
use crate::store::Store;

/// Most notices that are kept until somebody takes them.
const NOTICES_MAX: usize = 100;

/// What happened to a group; see the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// The stream.
    pub key: Arc<[u8]>,
    /// The group.
    pub group: Arc<[u8]>,
    /// What.
    pub what: Noticed,
}

/// What a [`Notice`] is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Noticed {
    /// Entries that the group was to have are held for it no more: it went, was set forward or
    /// began behind them.
    ReleasedUnread {
        /// How many.
        count: u64,
        /// Whether the group is still there.
        stays: bool,
    },
    /// The group asked for entries that were removed before it came.
    BeginsBehindRemoved {
        /// The first that is there; where it stands in a sealed block, the first of that block.
        first: StreamId,
    },
}

impl<S: Store> Shard<S> {
    /// Takes what is to be told since the last time, oldest first.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        self.notices.drain(..).collect()
    }

    /// Looks at an effect that is about to be applied.
    pub(super) fn notice(&mut self, effect: &Effect<'_>) {
        let notice = match effect {
            Effect::Policy { key, act: Act::ReleasedUnread { group, stays, count } } => {
                let what = Noticed::ReleasedUnread { count: *count, stays: *stays };
                self.stream(*key).and_then(|(key, stream)| {
                    let group = Arc::clone(stream.groups.name(*group)?);
                    Some(Notice { key: Arc::from(key), group, what })
                })
            }
            Effect::GroupCreated { key, name, last_id, .. } => {
                self.stream(*key).and_then(|(key, stream)| {
                    let first = removed_behind(stream, *last_id)?;
                    let what = Noticed::BeginsBehindRemoved { first };
                    Some(Notice { key: Arc::from(key), group: (*name).into(), what })
                })
            }
            _ => None,
        };
        if let Some(notice) = notice {
            if self.notices.len() >= NOTICES_MAX {
                self.notices.pop_front();
            }
            self.notices.push_back(notice);
        }
    }

    fn stream(&self, key: KeyNumber) -> Option<(&[u8], &Stream)> {
        let Object { name, value: Value::Stream(stream), .. } = self.machine.keys.get(key)? else {
            return None;
        };
        Some((name, stream))
    }
}

/// The first id that is there, where a policy removed some that a group from `last_id` on wanted.
fn removed_behind(stream: &Stream, last_id: StreamId) -> Option<StreamId> {
    let removed = stream.entries_added > stream.len() && stream.policy.removes();
    let first = match stream.first_place() {
        None => stream.last_id.next()?,
        Some((block, row)) if block == stream.tail_number() => stream.tail().row(row)?.id,
        // Of a block that is not in memory its beginning is near enough.
        Some((block, _)) => stream.id_range(block).0,
    };
    let is_behind = last_id.next().is_some_and(|wanted| wanted < first);
    (removed && is_behind).then_some(first)
}
