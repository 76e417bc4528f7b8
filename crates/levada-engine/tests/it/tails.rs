//! The memory of all tails: beyond their budget those that have rested longest are sealed.

use levada_core::command::{Command, Key, NewId, Xadd};
use levada_core::fields::Fields;
use levada_core::keyspace::KeyNumber;
use levada_engine::clock::Now;
use levada_engine::shard::{ClientId, Outcome, Shard, ShardSettings};
use levada_engine::store::{Recovered, memory::MemStore};

const MIB: u64 = 1 << 20;

struct Streams {
    shard: Shard<MemStore>,
    us: u64,
}

impl Streams {
    fn new(tail_bytes_max: u64) -> Self {
        let settings = ShardSettings { tail_bytes_max, ..ShardSettings::default() };
        let shard = Shard::recover(MemStore::default(), Recovered::default(), settings, 1);
        Self { shard: shard.expect("nothing is there"), us: 0 }
    }

    /// An entry of so many bytes for each of the streams of these numbers.
    fn add(&mut self, streams: std::ops::Range<u64>, bytes: usize) {
        let value = vec![b'v'; bytes];
        for n in streams {
            let name = n.to_string();
            let key = Key { database: 0, name: name.as_bytes() };
            let (id, fields) = (NewId::Auto, Fields::Arguments(&[b"field", &value]));
            let (must_exist, trim, idempotent) = (false, None, None);
            let add = Command::Xadd(Xadd { key, must_exist, trim, id, fields, idempotent });
            let now = self.now();
            let outcome = self.shard.execute(now, ClientId(1), &add);
            assert!(matches!(outcome, Outcome::Done(answer) if answer.result.is_ok()));
        }
    }

    /// Ends a turn; answers how many bytes of tails there are then.
    fn turn(&mut self) -> u64 {
        let now = self.now();
        self.shard.commit(now).expect("memory does not fail");
        self.shard.poll(now).expect("memory does not fail");
        self.shard.machine().tail_bytes()
    }

    fn now(&mut self) -> Now {
        self.us += 1;
        Now { wall_ms: 1_000_000, monotonic_us: self.us }
    }

    fn is_sealed(&self, stream: u64) -> bool {
        let key = Key { database: 0, name: &stream.to_string().into_bytes() };
        let key: KeyNumber = self.shard.machine().keys.number(key).expect("a stream");
        self.shard.machine().tail_bytes_of(key) == 0
    }
}

#[test]
fn the_tails_of_many_streams_are_sealed_some_a_turn() {
    let mut streams = Streams::new(4 * MIB);
    streams.add(0..50, 40_000);
    streams.turn();
    streams.add(50..110, 40_000);
    let held = streams.shard.machine().tail_bytes();
    assert!(held > 4 * MIB && held < 5 * MIB, "{held}");
    let after = streams.turn();
    assert!(after < held && after >= held - MIB - 50_000, "{held} -> {after}: all at once");
    assert!(streams.is_sealed(0) && !streams.is_sealed(60), "what rested longest goes first");
    let now = streams.now();
    let next_us = streams.shard.next_deadline_us(now).expect("there is more to do");
    assert!(next_us <= now.monotonic_us, "and it waits for nothing");
    let after = (0..3).map(|_| streams.turn()).last().expect("three turns");
    assert!(after <= 3 * MIB && after > 3 * MIB - 50_000, "{after}: three quarters");
    assert_eq!(streams.turn(), after, "that is enough");
}

#[test]
fn producers_do_not_outrun_the_sealing() {
    let mut streams = Streams::new(4 * MIB);
    for n in 0..4 {
        streams.add(n * 100..(n + 1) * 100, 40_000);
        let held = streams.turn();
        assert!(held <= 5 * MIB, "{held}");
    }
}
