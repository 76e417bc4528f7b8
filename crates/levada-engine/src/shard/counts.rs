//! What happened to streams and groups since the process began, counted for metrics.
//!
//! No part of the state: nothing depends on it, it is not stored, and a replay of the log counts
//! nothing. There is at most one figure for each stream and each group; they go together.

use std::collections::BTreeMap;

use levada_core::effect::{Effect, LeaseChange};
use levada_core::group::NOBODY;
use levada_core::keyspace::KeyNumber;
use levada_core::machine::Machine;

/// See the module.
#[derive(Default, Debug)]
pub struct Counts {
    rejected: BTreeMap<KeyNumber, u64>,
    redelivered: BTreeMap<(KeyNumber, u32), u64>,
}

impl Counts {
    /// Appends to a stream that were refused.
    pub fn rejected(&self, stream: KeyNumber) -> u64 {
        self.rejected.get(&stream).copied().unwrap_or(0)
    }

    /// Entries that a group delivered again.
    pub fn redelivered(&self, stream: KeyNumber, group: u32) -> u64 {
        self.redelivered.get(&(stream, group)).copied().unwrap_or(0)
    }

    /// An append to a stream was refused.
    pub(super) fn reject(&mut self, stream: KeyNumber) {
        *self.rejected.entry(stream).or_default() += 1;
    }

    /// Counts what an effect tells; to be called once it is applied.
    pub(super) fn note(&mut self, effect: &Effect<'_>, machine: &Machine) {
        match effect {
            // Who reads its own history, and who claims ids alone, is given nothing anew.
            Effect::Claimed { key, group, consumer, rows, lease: LeaseChange::More, .. }
                if *consumer != NOBODY =>
            {
                let again = rows.iter().filter(|(_, count)| *count > 1).count() as u64;
                if again > 0 {
                    *self.redelivered.entry((*key, *group)).or_default() += again;
                }
            }
            Effect::GroupDestroyed { key, group } => {
                self.redelivered.remove(&(*key, *group));
            }
            Effect::KeyRemoved { key } => {
                self.rejected.remove(key);
                let groups = (*key, 0)..=(*key, u32::MAX);
                self.redelivered.extract_if(groups, |_, _| true).for_each(drop);
            }
            Effect::Flushed { .. } => {
                self.rejected.retain(|key, _| machine.keys.get(*key).is_some());
                self.redelivered.retain(|(key, _), _| machine.keys.get(*key).is_some());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use levada_core::id::StreamId;

    use super::*;

    const STREAM: KeyNumber = KeyNumber(7);

    fn claimed(counts: &[u64], consumer: u32, lease: LeaseChange) -> Effect<'static> {
        let ids = (1..).map(|ms| StreamId::new(ms, 0));
        let rows = ids.zip(counts.iter().copied()).collect();
        Effect::Claimed { key: STREAM, group: 2, consumer, delivered_ms: 0, rows, lease }
    }

    #[test]
    fn what_is_given_to_somebody_again_is_counted_and_goes_with_its_group() {
        let (machine, mut counts) = (Machine::new(1), Counts::default());
        let check = |effect: &Effect<'_>, expect: u64, counts: &mut Counts| {
            counts.note(effect, &machine);
            assert_eq!(counts.redelivered(STREAM, 2), expect, "{effect:?}");
        };
        check(&claimed(&[1, 2, 3], 0, LeaseChange::More), 2, &mut counts);
        check(&claimed(&[4], 0, LeaseChange::Same), 2, &mut counts);
        check(&claimed(&[4], NOBODY, LeaseChange::More), 2, &mut counts);
        check(&claimed(&[5], 1, LeaseChange::More), 3, &mut counts);
        check(&Effect::GroupDestroyed { key: STREAM, group: 1 }, 3, &mut counts);
        check(&Effect::GroupDestroyed { key: STREAM, group: 2 }, 0, &mut counts);
        counts.note(&claimed(&[2], 0, LeaseChange::More), &machine);
        check(&Effect::KeyRemoved { key: KeyNumber(6) }, 1, &mut counts);
        check(&Effect::KeyRemoved { key: STREAM }, 0, &mut counts);
    }

    #[test]
    fn nothing_is_left_of_streams_that_are_gone() {
        let (machine, mut counts) = (Machine::new(1), Counts::default());
        counts.reject(STREAM);
        counts.reject(STREAM);
        assert_eq!((counts.rejected(STREAM), counts.rejected(KeyNumber(8))), (2, 0));
        counts.note(&claimed(&[2], 0, LeaseChange::More), &machine);
        counts.note(&Effect::Flushed { database: Some(3) }, &machine);
        assert!(counts.rejected.is_empty() && counts.redelivered.is_empty());
        counts.reject(STREAM);
        counts.note(&Effect::KeyRemoved { key: STREAM }, &machine);
        assert!(counts.rejected.is_empty());
    }
}
