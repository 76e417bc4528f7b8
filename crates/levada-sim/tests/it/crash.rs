//! Crash and recovery of the whole engine by seeds, and proof that the search finds what it must:
//! engines that are broken on purpose.
//!
//! `LEVADA_SEED` sets the first seed and `LEVADA_SCHEDULES` how many follow it; a seed is shown
//! step by step by `levada-sim replay SEED`.

use crate::environment;
use levada_core::block::Block;
use levada_core::effect::Effect;
use levada_core::varint::Reader;
use levada_engine::Error;
use levada_engine::disk::{Completion, Disk, FileId, Lane, Open, Operation, Ticket};
use levada_engine::store::local::{LocalSettings, LocalStore};
use levada_engine::store::{
    Fetch, Lsn, ObjectNumber, PieceChange, PieceId, Progress, Recovered, Store, Urgency,
};
use levada_sim::crash::{self, Extent, Restart};
use levada_sim::disk::SharedDisk;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

pub(crate) type Product = LocalStore<SharedDisk>;

#[test]
fn the_engine_recovers_what_it_showed() {
    let first = environment("LEVADA_SEED", 1);
    for seed in first..first + environment("LEVADA_SCHEDULES", 500) {
        if let Err(what) = crash::run::<Product>(seed, false) {
            panic!("LEVADA_SEED={seed}: {what}");
        }
    }
}

#[test]
fn every_crash_point_of_every_short_workload() {
    let exhausted =
        crash::exhaust::<Product>(Extent::SHORT).unwrap_or_else(|what| panic!("{what}"));
    assert!(exhausted.whole * 2 > exhausted.points, "mostly samples: {exhausted}");
    assert!(exhausted.recovered > 100, "only {exhausted}");
}

#[test]
fn every_call_of_the_recoveries_of_the_shortest_workloads() {
    let extent = Extent { ops: 1, letters: 1, ops_recovered: 1, ..Extent::SHORT };
    let exhausted = crash::exhaust::<Product>(extent).unwrap_or_else(|what| panic!("{what}"));
    assert!(exhausted.points_of_recovery > 40, "only {exhausted}");
}

#[test]
fn the_short_workloads_find_broken_stores() {
    let extent = Extent { ops: 2, ..Extent::SHORT };
    let passes = "a broken store passes";
    crash::exhaust::<Broken<Product, AckBeforeSync>>(extent).expect_err(passes);
    crash::exhaust::<Broken<LocalStore<Lazy>, Sound>>(extent).expect_err(passes);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let run = || crash::run::<Product>(seed, false).unwrap_or_else(|what| panic!("{what}"));
        assert_eq!(run(), run(), "seed {seed}");
    }
}

#[test]
fn finds_a_store_that_acknowledges_before_the_sync() {
    assert!((0..40).any(|seed| crash::run::<Broken<Product, AckBeforeSync>>(seed, false).is_err()));
}

#[test]
fn finds_a_store_that_does_not_sync_directories() {
    assert!(
        (0..200).any(|seed| crash::run::<Broken<LocalStore<Lazy>, Sound>>(seed, false).is_err())
    );
}

#[test]
fn finds_a_store_that_loses_what_a_piece_grew_by() {
    assert!(
        (0..40).any(|seed| crash::run::<Broken<Product, LosesExtensions>>(seed, false).is_err())
    );
}

/// A store that is broken in one way.
pub(crate) struct Broken<S, B>(S, PhantomData<B>);

/// What is broken; nothing unless overridden.
pub(crate) trait Breakage {
    /// What is reported durable.
    fn durable(durable: Lsn, _written: Lsn) -> Lsn {
        durable
    }
    /// Where the effects of a batch are torn into two.
    fn tears(_effects: &[u8]) -> Option<usize> {
        None
    }
    /// Whether a piece of a checkpoint is kept.
    fn keeps(_change: PieceChange) -> bool {
        true
    }
}

/// Says that what is written is durable.
pub(crate) struct AckBeforeSync;

impl Breakage for AckBeforeSync {
    fn durable(_: Lsn, written: Lsn) -> Lsn {
        written
    }
}

/// Logs the last effect of every step as a record of its own.
pub(crate) struct TearsSteps;

impl Breakage for TearsSteps {
    fn tears(effects: &[u8]) -> Option<usize> {
        let mut reader = Reader::new(effects);
        let mut last = 0;
        while !reader.is_empty() {
            last = reader.position();
            Effect::decode(&mut reader, effects).expect("the engine wrote it");
        }
        Some(last).filter(|last| *last > 0)
    }
}

/// Does not put into a checkpoint by what a piece grew.
struct LosesExtensions;

impl Breakage for LosesExtensions {
    fn keeps(change: PieceChange) -> bool {
        change != PieceChange::Extend
    }
}

/// Nothing: what is broken is the disk.
struct Sound;

impl Breakage for Sound {}

impl<B: Breakage> Restart for Broken<Product, B> {
    fn open(disk: SharedDisk, settings: LocalSettings) -> Result<(Self, Recovered), Error> {
        let (store, recovered) = Product::open(disk, settings)?;
        Ok((Self(store, PhantomData), recovered))
    }
}

impl Restart for Broken<LocalStore<Lazy>, Sound> {
    fn open(disk: SharedDisk, settings: LocalSettings) -> Result<(Self, Recovered), Error> {
        let (store, recovered) = LocalStore::open(Lazy(disk), settings)?;
        Ok((Self(store, PhantomData), recovered))
    }
}

impl<S: Store, B: Breakage> Store for Broken<S, B> {
    fn commit(&mut self, now_ms: u64, effects: &[u8], urgency: Urgency) -> Result<Lsn, Error> {
        match B::tears(effects) {
            Some(at) => {
                self.0.commit(now_ms, &effects[..at], urgency)?;
                self.0.commit(now_ms, &effects[at..], urgency)
            }
            None => self.0.commit(now_ms, effects, urgency),
        }
    }
    fn batch_bytes_max(&self) -> usize {
        self.0.batch_bytes_max()
    }

    fn written(&self) -> Lsn {
        self.0.written()
    }
    fn durable(&self) -> Lsn {
        B::durable(self.0.durable(), self.0.written())
    }
    fn set_lane(&mut self, lane: Lane) {
        self.0.set_lane(lane);
    }

    fn set_syncs_max(&mut self, syncs: usize) {
        self.0.set_syncs_max(syncs);
    }
    fn is_congested(&self) -> bool {
        self.0.is_congested()
    }
    fn poll(&mut self) -> Result<Progress, Error> {
        self.0.poll()
    }
    fn wait(&mut self) {
        self.0.wait();
    }
    fn is_idle(&self) -> bool {
        self.0.is_idle()
    }
    fn idle(&mut self, now_ms: u64) -> Result<Lsn, Error> {
        self.0.idle(now_ms)
    }
    fn put_block(
        &mut self,
        object: ObjectNumber,
        number: u64,
        block: Arc<Block>,
    ) -> Result<(), Error> {
        self.0.put_block(object, number, block)
    }
    fn cached(&self, object: ObjectNumber, number: u64) -> Option<Arc<Block>> {
        self.0.cached(object, number)
    }
    fn fetch(&mut self, object: ObjectNumber, number: u64) -> Fetch {
        self.0.fetch(object, number)
    }
    fn fetch_now(&mut self, object: ObjectNumber, number: u64) -> Fetch {
        self.0.fetch_now(object, number)
    }
    fn drop_before(&mut self, object: ObjectNumber, number: u64) {
        self.0.drop_before(object, number);
    }
    fn drop_object(&mut self, object: ObjectNumber) {
        self.0.drop_object(object);
    }

    fn hold(&mut self, object: ObjectNumber) {
        self.0.hold(object);
    }

    fn let_go(&mut self, object: ObjectNumber) {
        self.0.let_go(object);
    }
    fn checkpoint_due(&self) -> Option<bool> {
        self.0.checkpoint_due()
    }
    fn checkpoint_begin(&mut self) -> Result<bool, Error> {
        self.0.checkpoint_begin()
    }
    fn checkpoint_piece(
        &mut self,
        id: PieceId,
        change: PieceChange,
        bytes: &[u8],
    ) -> Result<(), Error> {
        match B::keeps(change) {
            true => self.0.checkpoint_piece(id, change, bytes),
            false => Ok(()),
        }
    }
    fn checkpoint_backlog_bytes(&self) -> usize {
        self.0.checkpoint_backlog_bytes()
    }
    fn checkpoint_end(&mut self) -> Result<(), Error> {
        self.0.checkpoint_end()
    }
}

/// A disk whose directories are never synced.
struct Lazy(SharedDisk);

impl Disk for Lazy {
    fn open(&mut self, path: &str, how: Open) -> io::Result<FileId> {
        self.0.open(path, how)
    }
    fn close(&mut self, file: FileId) {
        self.0.close(file);
    }
    fn len(&mut self, file: FileId) -> io::Result<u64> {
        self.0.len(file)
    }
    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.0.set_len(file, len)
    }
    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(file, offset, buffer)
    }
    fn submit(&mut self, operation: Operation, lane: Lane) -> Ticket {
        self.0.submit(operation, lane)
    }
    fn poll_completed(&mut self) -> Option<Completion> {
        self.0.poll_completed()
    }
    fn wait_completed(&mut self) {
        self.0.wait_completed();
    }
    fn list(&mut self, directory: &str) -> io::Result<Vec<String>> {
        self.0.list(directory)
    }
    fn sync_directory(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn unlink(&mut self, path: &str) -> io::Result<()> {
        self.0.unlink(path)
    }
    fn free_space(&mut self) -> io::Result<u64> {
        self.0.free_space()
    }
}
