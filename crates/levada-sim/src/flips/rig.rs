//! A data directory with something in every kind of file, and commands to ask it.

use levada_core::command::{
    Command, Key, Mset, NewId, ReadMost, SetExpiry, Xadd, XgroupCreate, Xreadgroup,
};
use levada_core::fields::Fields;
use levada_core::reply::Reply;
use levada_engine::clock::Now;
use levada_engine::disk::memory::MemoryDisk;
use levada_engine::error::Error;
use levada_engine::shard::{Answer, ClientId, Outcome, Shard, ShardSettings};
use levada_engine::store::Store;
use levada_engine::store::local::{LocalSettings, LocalStore};

use crate::random::Random;

/// The product on a disk in memory.
pub(super) type Local = Shard<LocalStore<MemoryDisk>>;

/// Streams, of which the last has no sealed block.
pub(super) const STREAMS: [Key<'_>; 4] = [
    Key { database: 0, name: b"orders" },
    Key { database: 0, name: b"clicks" },
    Key { database: 3, name: b"orders" },
    Key { database: 0, name: b"short" },
];
/// Strings.
pub(super) const STRINGS: [Key<'_>; 2] =
    [Key { database: 0, name: b"text" }, Key { database: 5, name: b"count" }];
/// The groups of every stream.
pub(super) const GROUPS: [&[u8]; 2] = [b"billing", b"audit"];
const CLIENT: ClientId = ClientId(1);

pub(super) fn settings() -> LocalSettings {
    LocalSettings {
        log_file_bytes: 128 << 10,
        segment_bytes: 100 << 10,
        pack_bytes: 4 << 10,
        cache_bytes: 0,
        ..LocalSettings::default()
    }
}

pub(super) fn open(disk: MemoryDisk) -> Result<Local, Error> {
    let (store, recovered) = LocalStore::open(disk, settings())?;
    Shard::recover(store, recovered, ShardSettings::default(), 1)
}

/// A time; nothing here depends on it but ids and delivery times.
fn now(ms: u64) -> Now {
    Now { wall_ms: 1_700_000_000_000 + ms, monotonic_us: 1_000_000 + ms * 1000 }
}

/// Asks as a client does, however often blocks have to be waited for.
pub(super) fn ask(shard: &mut Local, at_ms: u64, command: &Command<'_>) -> Answer {
    loop {
        if let Outcome::Done(answer) = shard.execute(now(at_ms), CLIENT, command) {
            return answer;
        }
        shard.store_mut().wait();
        shard.poll(now(at_ms)).expect("reads do not end the store");
        while shard.poll_event().is_some() {}
    }
}

/// A directory as a kill leaves it when nothing was under way.
pub(super) fn filled(random: &mut Random) -> MemoryDisk {
    let mut shard = open(MemoryDisk::new()).expect("an empty disk");
    for key in STREAMS {
        for group in GROUPS {
            let create =
                XgroupCreate { key, group, id: None, create_stream: true, entries_read: None };
            done(&mut shard, 0, &Command::XgroupCreate(create));
        }
    }
    let mut clock = 1;
    for round in 0..360_u64 {
        clock += 1;
        let streams = if round.is_multiple_of(40) { &STREAMS[..] } else { &STREAMS[..3] };
        for key in streams {
            step(&mut shard, clock, *key, round, random);
        }
        shard.commit(now(clock)).expect("memory takes everything");
        if round == 180 || round == 320 {
            shard.checkpoint_now().expect("memory takes everything");
        }
    }
    shard.store_mut().idle(now(clock).wall_ms).expect("memory takes everything");
    shard.into_store().into_disk()
}

/// An entry, at times a delivery, an acknowledgement, a deletion, a string.
fn step(shard: &mut Local, clock: u64, key: Key<'_>, round: u64, random: &mut Random) {
    let bytes = 300 + random.below(800);
    let value = random.bytes(usize::try_from(bytes).expect("small"));
    let number = round.to_string();
    let pairs: [&[u8]; 4] = [b"n", number.as_bytes(), b"payload", &value];
    let fields = Fields::Arguments(&pairs);
    let add =
        Xadd { key, must_exist: false, trim: None, idempotent: None, id: NewId::Auto, fields };
    let Reply::Id(id) = done(shard, clock, &Command::Xadd(add)) else {
        panic!("XADD answers an id");
    };
    match random.below(6) {
        0 => {
            let group = *random.pick(&GROUPS);
            let consumer: &[u8] = random.pick(&[b"one", b"two"]).as_slice();
            let streams = vec![(key, None)];
            let (count, most) = (Some(3), ReadMost::default());
            let (claim_idle_ms, no_ack) = (None, false);
            let read = Xreadgroup { group, consumer, count, most, claim_idle_ms, no_ack, streams };
            done(shard, clock, &Command::Xreadgroup(read));
        }
        1 => _ = done(shard, clock, &Command::Xack(key, GROUPS[0], vec![id])),
        2 if round.is_multiple_of(9) => {
            done(shard, clock, &Command::Xdel(key, vec![id]));
        }
        3 => {
            let text = random.bytes(40);
            let pairs = vec![(STRINGS[0], text.as_slice())];
            let mset = Mset { pairs, exists: None, expiry: SetExpiry::Clear };
            done(shard, clock, &Command::Mset(mset));
            done(shard, clock, &Command::Incrby(STRINGS[1], 1));
        }
        _ => {}
    }
}

fn done(shard: &mut Local, at_ms: u64, command: &Command<'_>) -> Reply {
    ask(shard, at_ms, command).result.expect("it is allowed")
}
