//! A data directory of which one file is any bytes: it is looked at, opened and read. It may be
//! refused, in words; it never panics, and what `verify` calls sound opens.

use std::sync::OnceLock;

use levada_core::{
    command::{Command, Key, NewId, Xadd, XgroupCreate, Xrange},
    fields::Fields,
    id::StreamId,
};
use levada_engine::{
    clock::Now,
    disk::memory::MemoryDisk,
    error::Error,
    shard::{ClientId, Event, Outcome, Shard, ShardSettings},
    store::{
        Store as _,
        local::{LocalSettings, LocalStore, verify::verify},
    },
};

const NOW: Now = Now { wall_ms: 1_800_000_000_000, monotonic_us: 1_000_000 };
const STREAMS: [Key<'static>; 2] =
    [Key { database: 0, name: b"orders" }, Key { database: 1, name: b"alarms" }];
/// Turns until blocks are read: a memory disk reads at once.
const TURNS_MAX: usize = 16;

/// The log file that holds the batches.
pub(crate) fn log(bytes: &[u8]) {
    replaced("log", bytes);
}

/// The file of sealed blocks.
pub(crate) fn segment(bytes: &[u8]) {
    replaced("segment", bytes);
}

/// The file of pieces.
pub(crate) fn checkpoint(bytes: &[u8]) {
    replaced("checkpoint", bytes);
}

/// The file where everything begins.
pub(crate) fn manifest(bytes: &[u8]) {
    replaced("manifest", bytes);
}

/// The real file of a target, without the zeros at its end.
pub(crate) fn seed(name: &str) -> Option<Vec<u8>> {
    let bytes = template().bytes(&path(name)?)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    Some(bytes[..end].to_vec())
}

fn replaced(name: &str, bytes: &[u8]) {
    let path = path(name).expect("a file of the template");
    let mut disk = template().clone();
    let file = disk.bytes_mut(&path).expect("it is there");
    let len = file.len();
    file.clear();
    file.extend_from_slice(&bytes[..bytes.len().min(len)]);
    // A log file has its length from the beginning; the others are as long as they are.
    if name == "log" {
        file.resize(len, 0);
    }
    let is_sound = verify(disk.clone()).is_ok_and(|report| report.is_sound());
    let opened = use_it(disk);
    assert!(opened.is_ok() || !is_sound, "verify calls sound what does not open: {opened:?}");
}

/// Where a target's file stands in the template: the last of its kind.
fn path(name: &str) -> Option<String> {
    let (prefix, suffix) = match name {
        "log" => ("log/", ".log"),
        "segment" => ("segments/", ".seg"),
        "checkpoint" => ("checkpoint/", ".ckp"),
        "manifest" => ("manifest", ""),
        _ => return None,
    };
    let fits = |path: &&str| path.starts_with(prefix) && path.ends_with(suffix);
    template().paths().filter(fits).last().map(str::to_owned)
}

/// Two streams with a group, sealed blocks, a checkpoint, and batches behind it.
fn template() -> &'static MemoryDisk {
    static TEMPLATE: OnceLock<MemoryDisk> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let mut shard = open(MemoryDisk::new()).expect("an empty disk");
        for n in 0..12_u32 {
            for key in STREAMS {
                add(&mut shard, key, n);
            }
        }
        let create = XgroupCreate {
            key: STREAMS[0],
            group: b"billing",
            id: Some(StreamId::MIN),
            create_stream: false,
            entries_read: None,
        };
        run(&mut shard, &Command::XgroupCreate(create));
        shard.shut_down(NOW).expect("a sound disk");
        add(&mut shard, STREAMS[0], 100);
        add(&mut shard, STREAMS[1], 100);
        shard.settle(NOW).expect("a sound disk");
        shard.store_mut().idle(NOW.wall_ms).expect("a sound disk");
        shard.into_store().into_disk()
    })
}

/// Opens it, reads both streams, adds to one.
fn use_it(disk: MemoryDisk) -> Result<(), Error> {
    let mut shard = open(disk)?;
    for key in STREAMS {
        let (first, last) = (StreamId::MIN, StreamId::MAX);
        let range = Xrange { key, first, last, reverse: false, count: None };
        run(&mut shard, &Command::Xrange(range));
    }
    add(&mut shard, STREAMS[0], 200);
    shard.settle(NOW)
}

fn open(disk: MemoryDisk) -> Result<Shard<LocalStore<MemoryDisk>>, Error> {
    let local = LocalSettings {
        log_file_bytes: 64 << 10,
        pack_bytes: 0,
        cache_bytes: 0,
        reserve_bytes: 0,
        headroom_bytes: 0,
        ..LocalSettings::default()
    };
    // Tails leave memory at once, so that there are sealed blocks.
    let settings = ShardSettings { tail_bytes_max: 0, ..ShardSettings::default() };
    let (store, recovered) = LocalStore::open(disk, local)?;
    Shard::recover(store, recovered, settings, 1)
}

fn add(shard: &mut Shard<LocalStore<MemoryDisk>>, key: Key<'_>, n: u32) {
    let value = n.to_string();
    let fields: [&[u8]; 2] = [b"n", value.as_bytes()];
    run(
        shard,
        &Command::Xadd(Xadd {
            key,
            must_exist: false,
            trim: None,
            id: NewId::Auto,
            fields: Fields::Arguments(&fields),
            idempotent: None,
        }),
    );
}

/// Runs a command until it has its answer, whatever that is, and commits.
fn run(shard: &mut Shard<LocalStore<MemoryDisk>>, command: &Command<'_>) {
    for _ in 0..TURNS_MAX {
        let outcome = shard.execute(NOW, ClientId(1), command);
        let _ = shard.commit(NOW);
        if matches!(outcome, Outcome::Done(_)) {
            let _ = shard.poll(NOW);
            return;
        }
        while !matches!(shard.poll_event(), None | Some(Event::Retry { .. })) {}
        if shard.poll(NOW).is_err() {
            return;
        }
    }
    panic!("a command is never answered");
}
