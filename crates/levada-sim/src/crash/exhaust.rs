//! Short workloads at every crash point and in every way the crash may turn out: most crash bugs of
//! file systems need no more than three operations around a sync (Mohan et al., OSDI 2018).
//!
//! A crash point is a call of the disk that changes something. At each one the process is killed
//! and the power is cut in all the ways in which the unsynced sectors, lengths and names may have
//! persisted; where these are more than [`Extent::ways_max`], which a new file of zeros brings
//! about, so many as [`Extent::samples`] are drawn, and counted as such. Equal disks of which the
//! same is demanded are recovered once.

use super::{Restart, World, rot};
use crate::disk::{Fault, FaultPlan, SharedDisk, Ways};
use crate::model::{
    Fields, GroupFrom, GroupStart, Id, NewId, ReadMore, References, Threshold, Trim,
};
use crate::op::{Op, Step};
use crate::pair::Halt;
use crate::random::Random;
use levada_engine::store::Lsn;
use std::collections::BTreeSet;
use std::fmt;

/// How far to search.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Ops of a workload, at most.
    pub ops: u32,
    /// Letters of the alphabet that are used, at most [`Extent::LETTERS`].
    pub letters: u64,
    /// Workloads of so many ops, at most, are also stopped at every call of each recovery.
    pub ops_recovered: u32,
    /// Of each such crash point, so many of the disks that it may leave, spread evenly.
    pub disks_recovered: usize,
    /// Up to so many ways a crash is searched whole.
    pub ways_max: usize,
    /// Likewise a crash within a recovery.
    pub ways_recovered_max: usize,
    /// Beyond that so many are drawn; at least the two extremes.
    pub samples: usize,
}

/// What a search came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exhausted {
    /// Workloads, each in every division into turns.
    pub workloads: u64,
    /// Calls at which a workload was stopped, and its end.
    pub points: u64,
    /// Disks of which the recovery was stopped at each of its calls.
    pub disks: u64,
    /// These calls.
    pub points_of_recovery: u64,
    /// Points of either kind at which every way was taken; at the others, samples.
    pub whole: u64,
    /// Ways that were drawn where there were too many.
    pub sampled: u64,
    /// Power cuts and kills, all ways counted.
    pub crashes: u64,
    /// Of these, those that left another disk than the others of the workload: recovered.
    pub recovered: u64,
}

impl Extent {
    /// Letters of the alphabet: appends, a delivery, an acknowledgement, removals, a transaction
    /// with a trim, a rename.
    pub const LETTERS: u64 = 7;
    /// For tests that are run often.
    pub const SHORT: Self = Self {
        ops: 1,
        letters: Self::LETTERS,
        ops_recovered: 0,
        disks_recovered: 1,
        ways_max: 64,
        ways_recovered_max: 2,
        samples: 4,
    };
    /// Three operations around a sync, and every call of the recoveries of the shortest.
    pub const LONG: Self = Self {
        ops: 3,
        letters: Self::LETTERS,
        ops_recovered: 1,
        disks_recovered: 4,
        ways_max: 1024,
        ways_recovered_max: 8,
        samples: 8,
    };
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workloads, points, disks, points_of_recovery, .. } = self;
        let Self { whole, sampled, crashes, recovered, .. } = self;
        let partly = points + points_of_recovery - whole;
        write!(
            f,
            "{workloads} workloads, {points} crash points and {points_of_recovery} within the \
             recoveries of {disks} disks, {whole} of them in every way and {partly} in {sampled} \
             ways that were drawn; {crashes} crashes, {recovered} of them with different disks \
             and recovered"
        )
    }
}

/// Searches every workload of a small alphabet, after a setup that is durable. What it came to, or
/// what was wrong.
pub fn exhaust<S: Restart>(extent: Extent) -> Result<Exhausted, String> {
    let mut sum = Exhausted::default();
    for length in 1..=extent.ops {
        for workload in 0..extent.letters.pow(length) {
            for turns in 0..1 << (length - 1) {
                let steps = steps(extent.letters, length, workload, turns);
                let seed = workload * 4 + turns;
                let recoveries = length <= extent.ops_recovered;
                Search {
                    extent,
                    recoveries,
                    sum: &mut sum,
                    random: Random::new(seed),
                    seen: BTreeSet::new(),
                }
                .workload::<S>(seed, &steps)?;
            }
        }
    }
    Ok(sum)
}

/// The ops of a workload by its number; a turn ends after each whose bit in `turns` is 0, and at
/// the end.
fn steps(letters: u64, length: u32, workload: u64, turns: u64) -> Vec<Step> {
    let step = |place| {
        let digit = workload / letters.pow(place) % letters;
        let ends_turn = turns & (1 << place) == 0;
        Step { clock_ms: 1, op: letter(digit), ends_turn }
    };
    (0..length).map(step).collect()
}

/// One op of the alphabet.
fn letter(n: u64) -> Op {
    let fields: Fields = [(b"field".to_vec(), vec![b'v'; 600])].into();
    let add =
        |trim| Op::Xadd { key: 0, create: true, trim, id: NewId::Auto, fields: fields.clone() };
    let keep_one =
        Trim { to: Threshold::MaxLen(1), approx: false, limit: None, references: References::Keep };
    match n {
        0 => add(None),
        1 => Op::Xreadgroup {
            group: 0,
            consumer: 0,
            from: vec![(0, GroupFrom::New)],
            count: 1,
            noack: false,
            more: ReadMore::default(),
        },
        2 => Op::Xack(0, 0, vec![Id(1001, 0), Id(1002, 0)]),
        3 => Op::Xdel(0, vec![Id(1001, 0)]),
        4 => Op::Multi(vec![add(Some(keep_one)), Op::Incr(1)]),
        5 => Op::Rename { from: 0, to: 1, only_new: false },
        _ => Op::Del(vec![0, 1]),
    }
}

/// The search of one workload.
struct Search<'a> {
    extent: Extent,
    /// Whether recoveries are stopped too.
    recoveries: bool,
    sum: &'a mut Exhausted,
    random: Random,
    /// Disks that were recovered, with what they had to hold.
    seen: BTreeSet<(u64, Lsn, Lsn, bool)>,
}

impl Search<'_> {
    fn workload<S: Restart>(&mut self, seed: u64, steps: &[Step]) -> Result<(), String> {
        self.sum.workloads += 1;
        for point in 1.. {
            let at = |what| format!("{steps:?} stopped at {point}: {what}");
            let (world, stopped) = World::short::<S>(seed, steps, point).map_err(at)?;
            self.sum.points += 1;
            let forks = self.crashes(&world, self.extent.ways_max);
            let every = forks.len().div_ceil(self.extent.disks_recovered).max(1);
            for (number, mut fork) in forks.into_iter().enumerate() {
                if self.recoveries && number % every == 0 {
                    self.sum.disks += 1;
                    self.recovery::<S>(&fork).map_err(at)?;
                }
                fork.recover_undisturbed::<S>().map_err(at)?;
            }
            if !stopped {
                return Ok(());
            }
        }
        unreachable!("a workload ends")
    }

    /// The recovery of a crash, stopped at each of its calls.
    fn recovery<S: Restart>(&mut self, crashed: &World) -> Result<(), String> {
        for point in 1.. {
            let at = |what| format!("recovery stopped at {point}: {what}");
            let mut world = crashed.copy();
            let before = world.struck();
            world.disk.with(|disk| disk.set_plan(FaultPlan::new().at(point, Fault::Stop)));
            if world.attempt::<S>(before).map_err(at)?.is_some() {
                return Ok(());
            }
            self.sum.points_of_recovery += 1;
            world.reused = true;
            for mut fork in self.crashes(&world, self.extent.ways_recovered_max) {
                fork.recover_undisturbed::<S>().map_err(at)?;
            }
        }
        unreachable!("a recovery ends")
    }

    /// The worlds behind the crashes that may happen here, each disk once.
    fn crashes(&mut self, world: &World, ways_max: usize) -> Vec<World> {
        let (cuts, kills) = world.copy().disk.with(|disk| {
            let kills = disk.kills();
            (disk.cuts(), kills)
        });
        let (cuts, all) = self.choices(&cuts, ways_max);
        let (kills, all_kills) = self.choices(&kills, ways_max);
        self.sum.whole += u64::from(all && all_kills);
        let mut forks = Vec::new();
        for choice in cuts {
            let fork = world.ended(true);
            let hash = fork.disk.with(|disk| {
                // Carried out first: the choice counts these writes too.
                disk.cuts();
                disk.cut_to(&choice);
                disk.durable_hash()
            });
            if self.seen.insert((hash, fork.durable, fork.written, fork.reused)) {
                forks.push(fork);
            }
        }
        for choice in kills {
            let fork = world.ended(false);
            fork.disk.with(|disk| disk.kill_to(&choice));
            forks.push(fork);
        }
        self.sum.recovered += forks.len() as u64;
        forks
    }

    fn choices(&mut self, ways: &Ways, ways_max: usize) -> (Vec<Vec<usize>>, bool) {
        let (choices, all) = ways.choices(ways_max, self.extent.samples, &mut self.random);
        self.sum.crashes += choices.len() as u64;
        self.sum.sampled += if all { 0 } else { choices.len() as u64 };
        (choices, all)
    }
}

impl World {
    /// A durable stream with a group, then steps until they end or the device stops, which is told.
    fn short<S: Restart>(seed: u64, steps: &[Step], point: u64) -> Result<(Self, bool), String> {
        let mut world = Self::new(seed, false);
        let mut life = world.recover_undisturbed::<S>()?;
        let start = GroupStart::After(Id::MIN);
        let (key, group) = (0, 0);
        let create = Op::GroupCreate { key, group, start, create: true, entries_read: None };
        for op in [create, letter(0), letter(0), letter(1)] {
            let step = Step { clock_ms: 1, op, ends_turn: true };
            world.carry_out(&mut life, &step).map_err(|halt| format!("{halt:?}"))?;
        }
        rot::settle(&mut life)?;
        world.disk.with(|disk| disk.set_plan(FaultPlan::new().at(point, Fault::Stop)));
        for step in steps {
            match world.carry_out(&mut life, step) {
                Ok(()) => {}
                Err(Halt::Wrong(what)) => return Err(what),
                Err(_) if world.disk.with(|disk| disk.is_stopped()) => break,
                Err(halt) => return Err(format!("{halt:?}")),
            }
        }
        world.points.extend(life.pair.take_points());
        world.wall_ms = life.pair.wall_ms;
        let stopped = world.disk.with(|disk| disk.is_stopped());
        Ok((world, stopped))
    }

    /// The same world once more, on a device of its own.
    fn copy(&self) -> Self {
        Self { disk: SharedDisk::new(self.disk.with(|disk| disk.clone())), ..self.clone() }
    }

    /// A copy in which the process has ended; the device is for the caller to end.
    fn ended(&self, power_cut: bool) -> Self {
        let mut ended = self.copy();
        ended.disk.with(|disk| disk.set_plan(FaultPlan::new()));
        ended.power_cut |= power_cut;
        ended
    }
}
