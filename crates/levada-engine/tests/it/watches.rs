//! WATCH of keys that expire: what was over when it was watched is missing and stays so, what is
//! over since has changed. In either case the key may still wait to be removed.

use levada_core::command::{Command, Set, SetExpiry, SetWhen};
use levada_engine::{clock::Now, disk::memory::MemoryDisk, shard::ClientId};

use crate::copies::{Local, NOW, SOURCE, open, reply};

const WATCHER: ClientId = ClientId(8);
/// The clock once the key is over.
const OVER: Now = Now { wall_ms: 2_000, monotonic_us: 2_000_000 };

/// A shard with a key that is over at [`OVER`].
fn expiring() -> Local {
    let mut shard = open(MemoryDisk::new());
    let (when, expiry) = (SetWhen::default(), SetExpiry::At(1_500));
    reply(&mut shard, &Command::Set(Set { key: SOURCE, value: b"v", when, expiry, get: false }));
    shard.commit(NOW).expect("a sound disk");
    shard
}

#[test]
fn a_key_that_was_over_when_it_was_watched_stays_missing() {
    let mut shard = expiring();
    shard.watch(OVER, WATCHER, SOURCE);
    assert!(!shard.is_watch_broken(OVER, WATCHER));
    shard.poll(OVER).expect("a sound disk");
    assert!(!shard.is_watch_broken(OVER, WATCHER), "it was removed, and was missing before");
}

#[test]
fn a_key_that_is_over_since_it_was_watched_has_changed() {
    let mut shard = expiring();
    shard.watch(NOW, WATCHER, SOURCE);
    assert!(!shard.is_watch_broken(NOW, WATCHER));
    assert!(shard.is_watch_broken(OVER, WATCHER), "before a turn removes it");
}
