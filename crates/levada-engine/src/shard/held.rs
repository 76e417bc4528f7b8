//! Batches that outlive their turn.
//!
//! While as many syncs are under way as may be, a batch that is written now is synced when one of
//! them ends. So is one that is written then, with whatever the turns until then change: a batch is
//! written for each sync, not for each turn, and nobody waits longer.
//!
//! Held is only what everybody waits for to be durable, and within one millisecond, as a batch has
//! one time: behind it the batch ends before anything else happens.

use super::Shard;
use crate::{
    clock::Now,
    error::Error,
    store::{Store, Urgency},
};

/// Bytes of a batch that is held: more would be written at once when the device has nothing to do.
const HELD_BYTES_MAX: usize = 256 << 10;

impl<S: Store> Shard<S> {
    /// Ends a turn as [`Shard::commit`] does, or holds its changes, which no sync could cover yet.
    /// The caller polls, and ends a turn, whenever the disk has news.
    pub fn end_turn(&mut self, now: Now) -> Result<(), Error> {
        self.choose_lane();
        self.is_held = self.failed.is_none()
            && !self.batch.is_empty()
            && self.batch.len() < HELD_BYTES_MAX
            && self.urgency == Urgency::Durable
            && !self.shows_written
            && now.wall_ms <= self.now_ms
            && !self.is_full()
            && self.store.is_syncing();
        if self.is_held { Ok(()) } else { self.commit(now) }
    }

    /// Whether the batch under construction has outlived its turn: it ends as it is when the clock
    /// goes on.
    pub fn is_holding(&self) -> bool {
        self.is_held && !self.in_transaction
    }

    /// Ends a batch that was held when its time is over.
    pub(super) fn end_stale_batch(&mut self, now: Now) {
        if self.is_holding() && now.wall_ms > self.now_ms {
            self.end_batch();
        }
    }
}

#[cfg(test)]
mod tests {
    use levada_core::command::{Command, Key, Set, SetExpiry, SetWhen};

    use super::*;
    use crate::{
        shard::{ClientId, Outcome, ShardSettings, Wait},
        store::{Recovered, memory::MemStore},
    };

    fn at(wall_ms: u64) -> Now {
        Now { wall_ms, monotonic_us: wall_ms * 1000 }
    }

    fn set(shard: &mut Shard<MemStore>, wall_ms: u64) -> Wait {
        let key = Key { database: 0, name: b"k" };
        let (when, expiry) = (SetWhen::default(), SetExpiry::Clear);
        let set = Set { key, value: b"v", when, expiry, get: false };
        match shard.execute(at(wall_ms), ClientId(1), &Command::Set(set)) {
            Outcome::Done(answer) => answer.wait,
            Outcome::NeedBlocks => unreachable!("a string needs none"),
        }
    }

    /// A shard with a sync under way that ends at the third poll.
    fn syncing() -> Shard<MemStore> {
        let (store, recovered) = (MemStore::with_delay(3), Recovered::default());
        let settings = ShardSettings::default();
        let mut shard = Shard::recover(store, recovered, settings, 1).expect("nothing is there");
        assert_eq!(set(&mut shard, 1), Wait::Durable(1));
        shard.end_turn(at(1)).expect("memory");
        assert_eq!((shard.current(), shard.is_holding()), (1, false));
        shard
    }

    #[test]
    fn turns_within_a_sync_are_one_batch() {
        let mut shard = syncing();
        for _ in 0..2 {
            assert_eq!(set(&mut shard, 1), Wait::Durable(2));
            shard.end_turn(at(1)).expect("memory");
            assert!(shard.is_holding() && shard.current() == 1);
            shard.poll(at(1)).expect("memory");
        }
        shard.poll(at(1)).expect("memory");
        shard.end_turn(at(1)).expect("memory");
        assert_eq!((shard.durable(), shard.current(), shard.is_holding()), (1, 2, false));
    }

    #[test]
    fn a_batch_has_one_time() {
        let mut shard = syncing();
        set(&mut shard, 1);
        shard.end_turn(at(1)).expect("memory");
        assert!(shard.is_holding());
        assert_eq!(set(&mut shard, 2), Wait::Durable(3), "what was held is a batch of its own");
        shard.end_turn(at(3)).expect("memory");
        assert_eq!((shard.current(), shard.is_holding()), (3, false), "its time is over too");
    }

    #[test]
    fn what_is_to_be_written_is_not_held() {
        let mut shard = syncing();
        shard.set_settings(ShardSettings { strings_interval: true, ..*shard.settings() });
        assert_eq!(set(&mut shard, 1), Wait::Written(2));
        shard.end_turn(at(1)).expect("memory");
        assert_eq!((shard.current(), shard.is_holding()), (2, false));
    }
}
