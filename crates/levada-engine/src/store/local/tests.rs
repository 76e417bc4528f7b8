//! A store against a model, over a disk that crashes; and what each rule of recovery is for.

mod crash_disk;
mod space;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use levada_core::{block::Block, fields::Fields, id::StreamId};

use self::crash_disk::{CrashDisk, Random};
use super::{LocalSettings, LocalStore};
use crate::{
    disk::{Disk, Lane, file::FileDisk, memory::MemoryDisk},
    error::{Error, ErrorKind},
    store::{CacheFacts, Fetch, Lsn, PieceChange, PieceId, Recovered, Store, Urgency},
};

const STATE: PieceId = PieceId { object: 1, kind: 1, part: 0 };
const LIST: PieceId = PieceId { object: 1, kind: 2, part: 0 };

fn small() -> LocalSettings {
    LocalSettings {
        log_file_bytes: 64 << 10,
        segment_bytes: 16 << 10,
        pack_bytes: 1 << 10,
        cache_bytes: 4 << 10,
        open_files_max: 3,
        ..LocalSettings::default()
    }
}

fn block(object: u64, number: u64) -> Arc<Block> {
    let mut block = Block::new();
    let value =
        vec![b'a' + (number % 26) as u8; 100 + (object * 700 + number * 130) as usize % 3000];
    let pairs: [&[u8]; 2] = [b"f", &value];
    block.append(StreamId::new(object + 1, number), &Fields::Arguments(&pairs), true);
    Arc::new(block)
}

/// What the batches so far say; an effect is a block that was sealed, or a drop, and filler.
#[derive(Clone, Default)]
struct Model {
    history: BTreeMap<Lsn, Vec<u8>>,
    durable: Lsn,
    written: Lsn,
    /// What must be there at the next opening.
    required: Lsn,
}

#[derive(Clone, Default, PartialEq, Debug)]
struct State {
    live: BTreeSet<(u64, u64)>,
    next: BTreeMap<u64, u64>,
}

impl State {
    fn apply(&mut self, effects: &[u8]) {
        match effects {
            [1, object, ..] => {
                let object = u64::from(*object);
                let next = self.next.entry(object).or_default();
                self.live.insert((object, *next));
                *next += 1;
            }
            [2, object, number, ..] => {
                let (object, number) = (u64::from(*object), u64::from(*number));
                self.live.retain(|(o, n)| *o != object || *n >= number);
            }
            _ => {}
        }
    }

    fn bytes(&self) -> Vec<u8> {
        format!("{self:?}").into_bytes()
    }
}

impl Model {
    fn state(&self, lsn: Lsn) -> State {
        let mut state = State::default();
        for effects in self.history.range(..=lsn).map(|(_, effects)| effects) {
            state.apply(effects);
        }
        state
    }

    fn list(&self, from: Lsn, to: Lsn) -> Vec<u8> {
        let lsns = self.history.range(..=to).map(|(lsn, _)| *lsn);
        let lsns = lsns.filter(|lsn| *lsn >= from);
        lsns.flat_map(Lsn::to_le_bytes).collect()
    }
}

/// A store, its model, and the last checkpoint that was begun.
struct Run {
    store: LocalStore<CrashDisk>,
    state: State,
    listed: Lsn,
    now_ms: u64,
}

impl Run {
    /// Opens, checks what came back against the model, and replays.
    fn open(disk: &CrashDisk, model: &mut Model) -> Result<Self, Error> {
        let (store, recovered) = LocalStore::open(disk.clone(), small())?;
        let end = recovered.lsn + recovered.batches.len() as u64;
        assert!(end >= model.required, "lost: {end} < {}", model.required);
        // An opening that did not finish may have put its mark where a lost batch was.
        let mark = |lsn: &Lsn| {
            let batch = lsn.checked_sub(recovered.lsn + 1);
            let batch = batch.and_then(|at| recovered.batches.get(at as usize));
            *lsn > model.required && batch.is_some_and(|batch| batch.effects.is_empty())
        };
        let first = model.history.keys().find(|lsn| mark(lsn)).copied();
        let end_known = first.map_or(end, |mark| mark - 1);
        model.history.retain(|lsn, _| *lsn <= end_known);
        let state = model.state(recovered.lsn);
        if recovered.lsn > 0 {
            let shown = |id| recovered.pieces.get(&id).map(Vec::as_slice);
            assert_eq!(shown(STATE), Some(&state.bytes()[..]));
            assert_eq!(shown(LIST).unwrap_or(&[]), model.list(0, recovered.lsn));
        }
        let mut run = Self { store, state, listed: recovered.lsn, now_ms: recovered.now_ms };
        run.blocks_are_there();
        run.replay(&recovered, model)?;
        run.blocks_are_there();
        model.durable = run.store.durable();
        model.written = run.store.written();
        Ok(run)
    }

    fn replay(&mut self, recovered: &Recovered, model: &Model) -> Result<(), Error> {
        let none = Vec::new();
        for (batch, lsn) in recovered.batches.iter().zip(recovered.lsn + 1..) {
            assert_eq!(batch.lsn, lsn);
            let expect = model.history.get(&lsn).unwrap_or(&none);
            assert!(batch.effects == *expect, "batch {lsn}");
            self.effect(&batch.effects)?;
        }
        Ok(())
    }

    /// Lets an effect act on state and store.
    fn effect(&mut self, effects: &[u8]) -> Result<(), Error> {
        match effects {
            [1, object, ..] => {
                let object = u64::from(*object);
                let number = self.state.next.get(&object).copied().unwrap_or(0);
                self.store.put_block(object, number, block(object, number))?;
            }
            [2, object, number, ..] => {
                self.store.drop_before(u64::from(*object), u64::from(*number));
            }
            _ => {}
        }
        self.state.apply(effects);
        Ok(())
    }

    fn blocks_are_there(&mut self) {
        for (object, number) in self.state.live.clone() {
            match self.store.fetch_now(object, number) {
                Fetch::Ready(found) => {
                    assert_eq!(found.bytes(), block(object, number).bytes());
                }
                // A disk that has stopped reads nothing, which is not damage.
                _ if self.store.disk().is_stopped() => return,
                other => panic!("block {number} of {object}: {other:?}"),
            }
        }
    }

    fn commit(&mut self, random: &mut Random, model: &mut Model) -> Result<(), Error> {
        let len = match random.below(10) {
            0 => 3 + random.below(40_000),
            _ => 3 + random.below(3000),
        };
        let mut effects = vec![random.below(256) as u8; len as usize];
        let object = random.below(3);
        let next = self.state.next.get(&object).copied().unwrap_or(0);
        effects[0] = [0, 0, 1, 1, 2][random.below(5) as usize];
        effects[1] = object as u8;
        effects[2] = random.below(next + 1) as u8;
        self.effect(&effects)?;
        let urgency = match random.below(3) {
            0 => Urgency::Written,
            _ => Urgency::Durable,
        };
        // The batch may reach the disk even where the call fails.
        let lsn = self.store.written() + 1;
        model.history.insert(lsn, effects.clone());
        self.now_ms += random.below(5);
        assert_eq!(self.store.commit(self.now_ms, &effects, urgency)?, lsn);
        Ok(())
    }

    fn checkpoint(&mut self, model: &Model) -> Result<(), Error> {
        if self.store.checkpoint_due().is_none() {
            return Ok(());
        }
        let lsn = self.store.written();
        let whole = self.store.checkpoint_begin()?;
        self.store.checkpoint_piece(STATE, PieceChange::Put, &self.state.bytes())?;
        let (change, from) =
            if whole { (PieceChange::Put, 0) } else { (PieceChange::Extend, self.listed + 1) };
        self.store.checkpoint_piece(LIST, change, &model.list(from, lsn))?;
        self.listed = lsn;
        self.store.checkpoint_end()
    }

    fn fetch(&mut self, random: &mut Random) -> Result<(), Error> {
        let nth = random.below(self.state.live.len() as u64 + 1) as usize;
        let Some((object, number)) = self.state.live.iter().nth(nth).copied() else {
            return Ok(());
        };
        for _ in 0..1000 {
            match self.store.fetch(object, number) {
                Fetch::Ready(found) => {
                    assert_eq!(found.bytes(), block(object, number).bytes());
                    return Ok(());
                }
                Fetch::Reading => {
                    self.store.wait();
                    self.store.poll()?;
                }
                _ if self.store.disk().is_stopped() => return Ok(()),
                other => panic!("block {number} of {object}: {other:?}"),
            }
        }
        panic!("a read never ends");
    }

    fn step(&mut self, random: &mut Random, model: &mut Model) -> Result<(), Error> {
        match random.below(12) {
            0..6 => self.commit(random, model)?,
            6 => {
                self.store.poll()?;
            }
            7 => {
                self.store.wait();
                self.store.poll()?;
            }
            8 => drop(self.store.idle(self.now_ms)?),
            9 => self.checkpoint(model)?,
            10 => {
                self.store.set_lane(match random.below(2) {
                    0 => Lane::Inline,
                    _ => Lane::Background,
                });
                self.store.set_syncs_max(random.below(5) as usize);
            }
            _ => self.fetch(random)?,
        }
        Ok(())
    }
}

/// Runs until the disk stops or the steps are done; true when it stopped.
fn run(disk: &CrashDisk, random: &mut Random, model: &mut Model, steps: u64) -> bool {
    let mut run = match Run::open(disk, model) {
        Ok(run) => run,
        Err(error) => {
            assert!(disk.is_stopped(), "{error}");
            return true;
        }
    };
    for _ in 0..steps {
        let result = run.step(random, model);
        // Also behind an error: what was said to be durable is.
        model.durable = run.store.durable();
        model.written = run.store.written();
        if let Err(error) = result {
            assert!(disk.is_stopped(), "{error}");
            return true;
        }
    }
    false
}

/// Names the seed when a test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}

#[test]
fn survives_power_cuts_at_random() {
    let seeds = if std::env::var_os("SLOW_TESTS").is_some() { 20_000 } else { 200 };
    for seed in 1..=seeds {
        let _named = Seed(seed);
        let mut random = Random::new(seed);
        let mut disk = CrashDisk::new(seed);
        let mut model = Model::default();
        for _ in 0..6 {
            disk.stop_after(1 + random.below(400));
            let steps = 10 + random.below(100);
            run(&disk, &mut random, &mut model, steps);
            if random.below(4) == 0 {
                disk = disk.kill();
                model.required = model.written.max(model.durable);
            } else {
                disk = disk.cut(random.below(1 << 40));
                model.written = model.durable;
                model.required = model.durable;
            }
        }
        run(&disk, &mut random, &mut model, 5);
    }
}

#[test]
fn survives_a_crash_at_every_operation() {
    for stop in 1.. {
        let mut random = Random::new(7);
        let disk = CrashDisk::new(7);
        let mut model = Model::default();
        disk.stop_after(stop);
        let stopped = run(&disk, &mut random, &mut model, 60);
        for seed in 0..3 {
            let mut model = model.clone();
            model.required = model.durable;
            let after = disk.cut(stop * 10 + seed);
            // A second crash, within the recovery.
            after.stop_after(1 + stop % 40);
            run(&after, &mut random.clone(), &mut model, 3);
            let after = after.cut(seed);
            model.required = model.durable;
            assert!(!run(&after, &mut random.clone(), &mut model, 3));
        }
        // A power cut soon after a kill: what the next process saw was not all durable.
        for seed in 0..3 {
            let mut model = model.clone();
            let after = disk.kill();
            model.required = model.written;
            assert!(!run(&after, &mut random.clone(), &mut model, 0));
            let after = after.cut(stop * 10 + seed);
            model.required = model.durable;
            assert!(!run(&after, &mut random.clone(), &mut model, 3));
        }
        if !stopped {
            return;
        }
    }
}

/// Polls until nothing is under way and a checkpoint, if any, is done.
fn settle<D: Disk>(store: &mut LocalStore<D>) {
    for _ in 0..200 {
        store.wait();
        store.poll().expect("a sound disk");
    }
    assert!(store.checkpoint_due().is_some(), "the checkpoint is done");
}

fn checkpoint<D: Disk>(store: &mut LocalStore<D>) {
    store.checkpoint_begin().expect("none under way");
    let state = b"state";
    store.checkpoint_piece(STATE, PieceChange::Put, state).expect("begun");
    store.checkpoint_end().expect("begun");
    settle(store);
}

fn filled(batches: u64) -> LocalStore<CrashDisk> {
    let (mut store, recovered) = LocalStore::open(CrashDisk::new(1), small()).expect("empty");
    assert!(recovered.created);
    for n in 0..batches {
        let effects = vec![n as u8; 5000];
        store.commit(n, &effects, Urgency::Durable).expect("a sound disk");
    }
    store
}

/// Whether a path is that of a kind of file.
fn has_end(path: &str, end: &str) -> bool {
    path.ends_with(end)
}

fn logs(disk: &CrashDisk) -> Vec<String> {
    let paths = disk.paths().into_iter();
    paths.filter(|path| has_end(path, ".log")).collect()
}

/// The refusal of a disk, which must be left as it was.
fn refusal(disk: &CrashDisk) -> Error {
    let before = disk.image();
    let refused = LocalStore::open(disk.clone(), small()).err();
    assert!(disk.image() == before, "nothing was touched");
    refused.expect("refused")
}

#[test]
fn rot_below_the_durable_mark_is_refused_by_name() {
    let disk = filled(30).into_disk().kill();
    let files = logs(&disk);
    assert!(files.len() >= 3, "{files:?}");
    // Batch 5 stands in the first file, behind the mark of the creation and three others.
    let offset = 4096 + 3 * 8192;
    disk.flip(&files[0], offset + 100, 3);
    let error = refusal(&disk);
    assert_eq!(error.kind, ErrorKind::Corrupt);
    let place = format!("{} is damaged at byte {offset}: batch 5", files[0]);
    assert!(error.message.contains(&place), "{error}");
    // The first batch of a later file.
    let disk = filled(30).into_disk().kill();
    disk.flip(&files[1], 20, 0);
    let error = refusal(&disk);
    let place = format!("{} is damaged at byte 0", files[1]);
    assert!(error.message.contains(&place), "{error}");
}

#[test]
fn a_sound_file_of_another_store_breaks_the_chain() {
    let disk = filled(30).into_disk().kill();
    let (mut other, _) = LocalStore::open(CrashDisk::new(1), small()).expect("empty");
    for n in 0..30 {
        other.commit(n, &[77; 5000], Urgency::Durable).expect("a sound disk");
    }
    let other = other.into_disk();
    let file = logs(&disk).remove(1);
    disk.set(&file, other.bytes(&file));
    assert_eq!(refusal(&disk).kind, ErrorKind::Corrupt);
}

#[test]
fn what_follows_a_checkpoint_begins_at_a_page() {
    let mut store = filled(1);
    store.put_block(5, 2, block(5, 2)).expect("a sound disk");
    checkpoint(&mut store);
    let segment = |disk: &CrashDisk| {
        let path = disk.paths().into_iter().find(|p| has_end(p, ".seg"));
        disk.bytes(&path.expect("one block"))
    };
    let before = segment(store.disk());
    assert_eq!(before.len() % 4096, 0);
    assert_eq!(before.last(), Some(&0), "the block ends before its page does");
    store.put_block(5, 3, block(5, 3)).expect("a sound disk");
    checkpoint(&mut store);
    let after = segment(store.disk());
    assert!(after[..before.len()] == before[..]);
    assert_eq!(after[before.len()..][..4], *b"LVS1");
}

#[test]
fn blocks_wait_for_each_other_and_what_is_dropped_meanwhile_is_not_written() {
    let mut store = filled(1);
    let segments = |disk: &CrashDisk| {
        let paths = disk.paths().into_iter().filter(|path| has_end(path, ".seg"));
        paths.map(|path| disk.bytes(&path)).filter(|bytes| !bytes.is_empty()).collect::<Vec<_>>()
    };
    for number in 2..6 {
        store.put_block(5, number, block(5, number)).expect("a sound disk");
    }
    settle(&mut store);
    assert!(segments(store.disk()).is_empty(), "there is nothing to write yet");
    let found = store.fetch(5, 3);
    assert!(matches!(found, Fetch::Ready(ready) if ready.bytes() == block(5, 3).bytes()));
    store.drop_before(5, 5);
    checkpoint(&mut store);
    let written = segments(store.disk());
    assert_eq!(written.len(), 1);
    let heads = written[0].windows(4).filter(|bytes| bytes == b"LVS1").count();
    assert_eq!(heads, 1, "one block was left");
    store.put_block(5, 6, block(5, 6)).expect("a sound disk");
    store.drop_object(5);
    checkpoint(&mut store);
    assert!(segments(store.disk()).is_empty(), "nothing was left");
}

#[test]
fn a_damaged_tail_above_the_mark_is_cut_until_idle_closes_the_window() {
    let mut store = filled(3);
    let disk = store.disk().kill();
    let file = logs(&disk).remove(0);
    let last = 4096 + 2 * 8192;
    disk.flip(&file, last + 100, 1);
    let (_, recovered) = LocalStore::open(disk, small()).expect("a torn tail is normal");
    assert_eq!(recovered.batches.len(), 3, "mark and two batches");
    let written = store.written();
    store.idle(3).expect("a sound disk");
    assert_eq!(store.written(), written + 1);
    store.idle(3).expect("a sound disk");
    assert_eq!(store.written(), written + 1, "a mark needs no mark");
    let disk = store.into_disk().kill();
    disk.flip(&file, last + 100, 1);
    assert_eq!(refusal(&disk).kind, ErrorKind::Corrupt);
}

#[test]
fn what_is_discarded_does_not_come_back() {
    let mut store = filled(1);
    for n in 0..3u8 {
        store.commit(1, &vec![n; 5000], Urgency::Written).expect("a sound disk");
    }
    let disk = store.into_disk().kill();
    let file = logs(&disk).remove(0);
    let whole = disk.bytes(&file);
    // Batch 3 is torn, 4 and 5 are whole: they go with it.
    disk.flip(&file, 4096 + 8192 + 100, 1);
    let (mut store, recovered) = LocalStore::open(disk.clone(), small()).expect("torn");
    assert_eq!((recovered.batches.len(), recovered.discarded_batches), (2, 2));
    let lsn = store.commit(2, b"another", Urgency::Durable).expect("a sound disk");
    assert_eq!(lsn, 4, "behind the mark of the new epoch");
    // Even where the page that was lost turns up again.
    let disk = store.into_disk().kill();
    disk.set(&file, whole);
    let (_, recovered) = LocalStore::open(disk, small()).expect("sound");
    let effects: Vec<_> = recovered.batches.iter().map(|b| &b.effects[..]).collect();
    assert_eq!(effects, [b"", &[0; 5000][..], b"", b"another"]);
}

#[test]
fn log_files_are_recycled_with_their_stale_bytes() {
    let mut store = filled(30);
    checkpoint(&mut store);
    let disk = store.disk().kill();
    let spares = disk.paths().into_iter().filter(|path| path.contains("spare"));
    assert_eq!(spares.count(), 2);
    assert_eq!(logs(&disk).len(), 1);
    for n in 0..10u8 {
        store.commit(99, &vec![n; 5000], Urgency::Durable).expect("a sound disk");
    }
    // The file after the rotation holds whole old batches behind the new ones.
    let (_, recovered) = LocalStore::open(store.into_disk().kill(), small()).expect("sound");
    assert_eq!(recovered.lsn, 31);
    assert_eq!(recovered.pieces[&STATE], b"state");
    let effects = recovered.batches.iter().map(|batch| batch.effects[0]);
    assert_eq!(effects.collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
}

#[test]
fn opening_again_and_again_does_not_fill_the_disk() {
    let mut disk = filled(12).into_disk();
    for round in 0..20 {
        disk = disk.kill();
        let (store, recovered) = LocalStore::open(disk.clone(), small()).expect("sound");
        assert_eq!(recovered.batches.len(), 13 + round);
        drop(store);
        assert!(logs(&disk).len() <= 4, "{:?}", disk.paths());
    }
}

#[test]
fn pipelined_commits_become_durable_in_order_across_files() {
    for syncs in 1..=4 {
        become_durable_in_order(syncs);
    }
}

fn become_durable_in_order(syncs: usize) {
    let mut store = filled(0);
    store.set_lane(Lane::Background);
    store.set_syncs_max(syncs);
    let mut before = store.durable();
    for n in 0..40 {
        let lsn = store.commit(n, &[1; 9000], Urgency::Durable).expect("a sound disk");
        assert_eq!(store.written(), lsn);
        store.poll().expect("a sound disk");
        assert!(store.durable() >= before);
        before = store.durable();
        // What is said to be durable is there after a power cut.
        let after = store.disk().cut(n);
        let (_, recovered) = LocalStore::open(after, small()).expect("a torn tail at most");
        assert!(recovered.batches.len() as u64 >= before);
    }
    settle(&mut store);
    assert_eq!(store.durable(), store.written());
}

#[test]
fn too_much_under_way_is_congested_and_too_large_is_refused() {
    let settings = LocalSettings { congested_bytes: 100_000, ..small() };
    let (mut store, _) = LocalStore::open(CrashDisk::new(1), settings).expect("empty");
    store.set_lane(Lane::Background);
    let largest = vec![0; store.batch_bytes_max()];
    store.commit(1, &largest, Urgency::Durable).expect("as large as a file with its header");
    settle(&mut store);
    let before = store.written();
    let error = store
        .commit(1, &[&largest[..], b"+"].concat(), Urgency::Durable)
        .expect_err("larger than a file with its header");
    assert_eq!((error.kind, store.written()), (ErrorKind::Invalid, before));
    while !store.is_congested() {
        store.commit(1, &[0; 8000], Urgency::Written).expect("a sound disk");
    }
    settle(&mut store);
    assert!(!store.is_congested(), "also batches that nobody waits for");
}

#[test]
fn what_may_wait_is_synced_when_it_is_half_of_what_may_be_under_way() {
    let settings = LocalSettings { congested_bytes: 100_000, ..small() };
    let (mut store, _) = LocalStore::open(CrashDisk::new(1), settings).expect("empty");
    let before = store.durable();
    for _ in 0..6 {
        store.commit(1, &[0; 8000], Urgency::Written).expect("a sound disk");
        assert_eq!(store.durable(), before, "nobody waits for it");
    }
    store.commit(1, &[0; 8000], Urgency::Written).expect("a sound disk");
    assert_eq!(store.durable(), store.written(), "seven times 8 KiB are more than half");
}

/// A second of what may wait was synced while the caller stood still.
#[test]
fn what_takes_long_to_sync_is_synced_by_others() {
    let settings = LocalSettings { log_file_bytes: 4 << 20, ..small() };
    for (batches, at_once) in [(3, true), (4, false)] {
        let (mut store, _) = LocalStore::open(CrashDisk::new(1), settings.clone()).expect("empty");
        for _ in 0..batches {
            store.commit(1, &vec![0; 64 << 10], Urgency::Written).expect("a sound disk");
        }
        let end = store.commit(1, &[], Urgency::Durable).expect("a sound disk");
        assert_eq!(store.durable() == end, at_once, "{batches} batches");
        settle(&mut store);
        assert_eq!(store.durable(), end);
    }
}

#[test]
fn the_first_error_is_the_last() {
    let mut store = filled(2);
    let (durable, disk) = (store.durable(), store.disk().clone());
    disk.stop_after(1);
    let error = store.commit(1, b"x", Urgency::Durable).expect_err("the disk has stopped");
    assert_eq!(error.kind, ErrorKind::Io);
    disk.stop_after(u64::MAX);
    let again = store.commit(1, b"x", Urgency::Durable).expect_err("stopped");
    assert_eq!(again.kind, ErrorKind::Closed);
    assert!(store.poll().is_err() && store.idle(1).is_err());
    assert!(store.checkpoint_begin().is_err());
    assert_eq!(store.durable(), durable);
}

#[test]
fn a_block_that_cannot_be_written_is_an_error_and_no_full_disk() {
    let mut store = filled(2);
    let disk = store.disk().clone();
    store.put_block(1, 0, block(1, 0)).expect("nothing is written yet");
    store.checkpoint_begin().expect("its write is under way only");
    disk.stop_after(0);
    let failed = (0..100).any(|_| {
        store.wait();
        store.poll().is_err()
    });
    assert!(failed && !store.space().is_full);
}

#[test]
fn log_files_and_spares_have_their_length_from_the_beginning() {
    let (mut store, _) = LocalStore::open(MemoryDisk::new(), small()).expect("a new directory");
    // A spare is made once half of a file is used.
    store.commit(1, &vec![7; 40_000], Urgency::Durable).expect("a sound disk");
    settle(&mut store);
    let disk = store.into_disk();
    let len = |path| disk.bytes(path).map_or(0, <[u8]>::len);
    let (spares, logs): (Vec<_>, Vec<_>) = disk
        .paths()
        .filter(|path| path.starts_with("log/"))
        .partition(|path| path.contains("spare"));
    assert_eq!((spares.len(), logs.len()), (1, 1));
    assert!(spares.into_iter().chain(logs).all(|path| len(path) == 64 << 10));
}

#[test]
fn on_a_full_disk_a_checkpoint_is_due_where_it_gives_space_back() {
    let settings = LocalSettings { reserve_bytes: 32 << 10, headroom_bytes: 32 << 10, ..small() };
    let mut disk = MemoryDisk::new();
    // The log file and a manifest, and less behind them than the headroom.
    disk.set_capacity(Some(96 << 10));
    let (mut store, _) = LocalStore::open(disk, settings).expect("there is room for that");
    store.commit(1, b"effects", Urgency::Durable).expect("there is room in the log");
    store.look_for_space().expect("a sound disk");
    assert!(store.space().is_full);
    assert_eq!(store.checkpoint_due(), Some(false), "the log is short");
    store.commit(1, &vec![7; 20_000], Urgency::Durable).expect("there is room in the log");
    assert_eq!(store.checkpoint_due(), Some(true));
}

#[test]
fn what_is_found_in_memory_and_what_is_read_are_counted() {
    let mut store = filled(1);
    store.put_block(5, 0, block(5, 0)).expect("a sound disk");
    checkpoint(&mut store);
    let (mut store, _) = LocalStore::open(store.into_disk().kill(), small()).expect("sound");
    assert_eq!(store.cache_facts(), CacheFacts::default());
    for _ in 0..3 {
        assert!(matches!(store.fetch_now(5, 0), Fetch::Ready(_)));
    }
    let facts = store.cache_facts();
    assert_eq!((facts.hits, facts.misses), (2, 1));
    assert!(facts.bytes > 0);
}

#[test]
fn a_damaged_block_is_never_served() {
    let mut store = filled(1);
    for number in 0..6 {
        store.put_block(5, number, block(5, number)).expect("a sound disk");
    }
    checkpoint(&mut store);
    let disk = store.into_disk().kill();
    let segments: Vec<_> = disk.paths().into_iter().filter(|p| has_end(p, ".seg")).collect();
    assert_eq!(segments.len(), 2, "a pack and a segment");
    for path in &segments {
        disk.flip(path, 60, 2);
    }
    let (mut store, _) = LocalStore::open(disk, small()).expect("blocks are read later");
    for number in 0..6 {
        let damaged = number == 0 || number == 2;
        assert!(store.cached(5, number).is_none());
        let mut fetched = store.fetch(5, number);
        while matches!(fetched, Fetch::Reading) {
            store.wait();
            let progress = store.poll().expect("a damaged block is no failure");
            if progress.fetched.contains(&(5, number)) {
                fetched = store.fetch(5, number);
            }
        }
        assert_eq!(matches!(fetched, Fetch::Corrupt), damaged, "{fetched:?}");
        assert_eq!(matches!(store.fetch_now(5, number), Fetch::Corrupt), damaged);
    }
    let damaged: Vec<_> = store.damaged_blocks().map(|(o, n, _)| (o, n)).collect();
    assert_eq!(damaged, [(5, 0), (5, 2)]);
    assert!(matches!(store.fetch(5, 6), Fetch::Missing));
    store.put_block(5, 2, block(5, 2)).expect("a sound disk");
    assert!(matches!(store.fetch(5, 2), Fetch::Ready(_)), "put again");
}

#[test]
fn a_block_that_the_scrub_could_not_read_is_not_condemned() {
    let mut store = filled(1);
    store.put_block(5, 0, block(5, 0)).expect("a sound disk");
    checkpoint(&mut store);
    let (mut store, _) = LocalStore::open(store.into_disk().kill(), small()).expect("sound");
    let disk = store.disk().clone();
    disk.stop_after(0);
    assert!(store.scrub() > 0, "there is a block to read");
    store.wait();
    disk.stop_after(u64::MAX);
    store.poll().expect("what nobody asked for is no failure");
    assert_eq!((store.scrubbed().errors, store.scrubbed().damaged), (1, Some((5, 0))));
    assert!(matches!(store.fetch_now(5, 0), Fetch::Ready(_)), "the device answers again");
}

#[test]
fn files_go_only_when_a_durable_checkpoint_no_longer_names_them() {
    let mut store = filled(1);
    for number in 2..40 {
        store.put_block(5, number, block(5, number)).expect("a sound disk");
    }
    checkpoint(&mut store);
    let segments = |disk: &CrashDisk| disk.paths().iter().filter(|p| has_end(p, ".seg")).count();
    let before = segments(store.disk());
    assert!(before > 2);
    store.drop_before(5, 39);
    settle(&mut store);
    assert!(matches!(store.fetch(5, 38), Fetch::Missing));
    assert_eq!(segments(store.disk()), before);
    // A drop during a checkpoint is not in it.
    store.checkpoint_begin().expect("none under way");
    store.drop_object(5);
    store.checkpoint_end().expect("begun");
    settle(&mut store);
    assert_eq!(segments(store.disk()), 1);
    let (mut again, _) = LocalStore::open(store.disk().kill(), small()).expect("sound");
    assert!(matches!(again.fetch_now(5, 39), Fetch::Ready(_)));
    checkpoint(&mut store);
    assert_eq!(segments(store.disk()), 0);
}

#[test]
fn what_is_missing_is_said() {
    let mut store = filled(3);
    store.put_block(5, 0, block(5, 0)).expect("a sound disk");
    checkpoint(&mut store);
    let sound = store.into_disk();
    for path in sound.paths() {
        let disk = sound.kill();
        disk.remove(&path);
        if has_end(&path, ".seg") {
            let (mut store, _) = LocalStore::open(disk, small()).expect("blocks are read later");
            assert!(matches!(store.fetch_now(5, 0), Fetch::Corrupt));
        } else {
            let error = refusal(&disk);
            assert!(error.message.contains(&path), "{path}: {error}");
        }
    }
    let other = LocalSettings { shard: 1, ..small() };
    let error = LocalStore::open(sound.kill(), other).err().expect("refused");
    assert_eq!(error.kind, ErrorKind::Invalid);
}

#[test]
fn no_flipped_bit_is_served() {
    let mut store = filled(3);
    for number in 0..6 {
        store.put_block(5, number, block(5, number)).expect("a sound disk");
    }
    checkpoint(&mut store);
    store.commit(9, b"behind", Urgency::Durable).expect("a sound disk");
    store.idle(9).expect("a sound disk");
    let sound = store.into_disk();
    let mut random = Random::new(11);
    let (mut refused, mut damaged) = (0, 0);
    for round in 0..1000 {
        let disk = sound.kill();
        let mut paths = disk.paths();
        paths.retain(|path| !disk.bytes(path).is_empty());
        let path = &paths[round % paths.len()];
        // Most of a log file is unused: flip where something stands.
        let len = disk.bytes(path).len().min(40_000) as u64;
        disk.flip(path, random.below(len) as usize, random.below(8) as u8);
        let (mut store, recovered) = match LocalStore::open(disk, small()) {
            Ok(opened) => opened,
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Corrupt);
                assert!(error.message.contains(path.as_str()), "{path}: {error}");
                refused += 1;
                continue;
            }
        };
        assert_eq!(recovered.pieces.len(), 1);
        assert_eq!(recovered.pieces[&STATE], b"state");
        assert_eq!(recovered.batches[0].effects, b"behind", "{path}");
        for number in 0..6 {
            match store.fetch_now(5, number) {
                Fetch::Ready(found) => assert_eq!(found.bytes(), block(5, number).bytes()),
                Fetch::Corrupt => damaged += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(refused > 50 && damaged > 50, "{refused} {damaged}");
}

#[test]
fn every_image_of_a_memory_disk_opens_with_what_was_acknowledged() {
    let (mut store, _) = LocalStore::open(MemoryDisk::new(), small()).expect("empty");
    for n in 0..60u64 {
        store.commit(n, &vec![n as u8; 3000], Urgency::Durable).expect("memory");
        if n % 20 == 19 {
            store.checkpoint_begin().expect("none under way");
            store.checkpoint_end().expect("begun");
        }
        store.poll().expect("memory");
        let image = store.disk().clone();
        let (_, recovered) = LocalStore::open(image, small()).expect("an image");
        let end = recovered.lsn + recovered.batches.len() as u64;
        assert_eq!(end, store.durable());
        assert_eq!(recovered.now_ms, n);
    }
}

#[test]
fn the_same_calls_make_the_same_bytes() {
    let bytes = |seed| {
        let disk = CrashDisk::new(seed);
        let mut model = Model::default();
        run(&disk, &mut Random::new(seed), &mut model, 200);
        disk.image()
    };
    assert!(bytes(3) == bytes(3));
    assert!(bytes(3) != bytes(4));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for settings in [
        LocalSettings { log_file_bytes: 60 << 10, ..small() },
        LocalSettings { log_file_bytes: (64 << 10) + 1, ..small() },
        LocalSettings { segment_bytes: 2 << 30, ..small() },
        LocalSettings { open_files_max: 0, ..small() },
    ] {
        let refused = LocalStore::open(MemoryDisk::new(), settings).err();
        assert_eq!(refused.expect("refused").kind, ErrorKind::Invalid);
    }
}

#[test]
fn works_on_real_files() {
    let directory = std::env::temp_dir().join(format!("levada-store-{}", std::process::id()));
    let open = || {
        let disk = FileDisk::open(&directory).expect("a fresh directory");
        LocalStore::open(disk, small()).expect("its own files")
    };
    let until = |store: &mut LocalStore<FileDisk>, done: &dyn Fn(&LocalStore<FileDisk>) -> bool| {
        while !done(store) {
            store.wait();
            store.poll().expect("a sound disk");
        }
    };
    let (mut store, _) = open();
    store.set_lane(Lane::Background);
    for n in 0..40u64 {
        store.put_block(5, n, block(5, n)).expect("a sound disk");
        store.commit(n, &[n as u8; 5000], Urgency::Durable).expect("a sound disk");
        if n == 30 {
            store.checkpoint_begin().expect("none under way");
            store.checkpoint_end().expect("begun");
        }
    }
    until(&mut store, &|store| store.durable() == store.written());
    until(&mut store, &|store| store.checkpoint_due().is_some());
    drop(store);
    let (mut store, recovered) = open();
    assert_eq!(recovered.lsn, 32, "the mark of the creation and 31 batches");
    let effects = recovered.batches.iter().map(|batch| batch.effects[0]);
    assert_eq!(effects.collect::<Vec<_>>(), (31..40).collect::<Vec<_>>());
    for n in 0..31 {
        assert!(matches!(store.fetch_now(5, n), Fetch::Ready(_)));
    }
    drop(store);
    std::fs::remove_dir_all(&directory).expect("all files are closed");
}
