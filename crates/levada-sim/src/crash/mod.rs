//! Crash and recovery of the whole engine: a shard over a store over the fault disk, led through
//! lives that end in power cuts, kills, and errors of the device, at any point, recovery included.
//!
//! After each recovery three things are checked:
//!
//! 1. The state is the one behind some batch of the log, exactly.
//! 2. That batch is not before anything that an answer has shown. What an answer shows is judged by
//!    the model (the batch that last changed the keys it names), not by what the product says that
//!    it waits for. After a power cut a reader's own delivery is excepted, unless strict.
//! 3. The engine goes on from there as the model does, step by step.
//!
//! Bits flipped in durable files, and writes that landed elsewhere or nowhere though the device
//! said they were done, must be refused by name, reported as damage where they are, or make no
//! difference but the loss of what was never written.
//!
//! # Which promises are checked where
//!
//! The numbers are those of the 40 invariants of the design.
//!
//! | Invariant | Checked by |
//! |---|---|
//! | 1, 4 to 6, 11, 15, 20, 22 | [`dump`]: all that a client can ask, against the model |
//! | 2, 3, 12 to 14, 16 to 19, 21, 23, 25, 29 | [`Pair`]: every answer is the model's |
//! | 7 to 10 | here: the state is that behind one batch, not before anything shown; [`history`] |
//! | 24, 27 | [`policies`]: in one place at every crash point, not removed while needed |
//! | 28 | [`policies`]: scheduled or appended, once, in order of time, never early, never late |
//! | 30 (an error changes nothing) | [`Pair`]: the model does not change either |
//! | 31 to 33 | [`Pair`] and [`policies`]: readers that wait; what one got who dies is pending |
//! | 34 | bits flipped at rest, here and in [`flips`]; misdirected and lost writes, here |
//! | 35 | recoveries that are interrupted, at random and ([`exhaust()`]) at every call |
//! | 36, 37 | what was shown after a failed sync or before a durable name does not survive |
//!
//! [`flips`]: crate::flips
//! [`history`]: crate::history
//! [`policies`]: crate::policies
//!
//! Not here: 26 and 38 to 40, which are of unlinked segments, of derived files, of versions and of
//! memory; 12 to 14 and 32 as far as `delivery-sync relaxed` excepts them.

mod exhaust;
mod lies;
mod report;
mod rot;

pub use exhaust::{Exhausted, Extent, exhaust};
pub use report::Report;

use crate::disk::{Fault, FaultDisk, FaultPlan, SharedDisk};
use crate::dump;
use crate::model::Model;
use crate::op::generate::{self, Generator};
use crate::op::{Step, subject};
use crate::pair::{self, Halt, Pair, Point, Promise};
use crate::random::Random;
use levada_engine::disk::Lane;
use levada_engine::shard::{Shard, ShardSettings};
use levada_engine::store::local::{LocalSettings, LocalStore};
use levada_engine::store::{Lsn, Recovered, Store};

/// A store that a simulated process opens on a disk that outlives it.
pub trait Restart: Store + Sized {
    /// Opens what is on the disk.
    fn open(
        disk: SharedDisk,
        settings: LocalSettings,
    ) -> Result<(Self, Recovered), levada_engine::Error>;
}

impl Restart for LocalStore<SharedDisk> {
    fn open(
        disk: SharedDisk,
        settings: LocalSettings,
    ) -> Result<(Self, Recovered), levada_engine::Error> {
        Self::open(disk, settings)
    }
}

/// Runs the schedule of a seed; what was wrong, in words, if anything was.
pub fn run<S: Restart>(seed: u64, trace: bool) -> Result<Report, String> {
    let mut world = World::new(seed, trace);
    let lives = 2 + world.random.below(4);
    for _ in 0..lives {
        world.live::<S>()?;
    }
    match world.random.chance(50) {
        true => world.check_flip::<S>()?,
        false => world.check_lie::<S>()?,
    }
    world.report.trace_hash = world.disk.with(|disk| disk.trace_hash()) ^ world.answers;
    world.disk.with(|disk| world.report.count_faults(disk.struck()));
    Ok(world.report)
}

/// What outlives a process.
#[derive(Clone)]
struct World {
    random: Random,
    disk: SharedDisk,
    local: LocalSettings,
    settings: ShardSettings,
    /// How many of 100 recoveries meet a fault.
    disturbance: u64,
    /// As in [`Generator`].
    bursts: u64,
    wall_ms: u64,
    /// The state behind every batch that may be on the disk.
    points: Vec<Point>,
    /// Batches that must be there after a power cut, and after a kill.
    durable: Lsn,
    written: Lsn,
    /// Whether the power was cut since the last recovery that got to its end.
    power_cut: bool,
    /// Whether a recovery was interrupted since then.
    reused: bool,
    report: Report,
    answers: u64,
    trace: bool,
    /// How often the device was found stopped.
    stops: usize,
}

/// A process that runs.
struct Life<S> {
    pair: Pair<S>,
    /// Answers that have not left yet.
    waiting: Vec<Promise>,
}

impl World {
    fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let disk = FaultDisk::new(Random::new(random.bits()));
        let settings = ShardSettings {
            tail_bytes_max: *random.pick(&[60, 300, 2000]),
            delivery_strict: random.chance(40),
            checkpoint_slice_bytes: *random.pick(&[1, 200, 1 << 20]),
            ..ShardSettings::default()
        };
        let local = local_settings(&mut random);
        let (limits, once) = (generate::limits(&mut random), generate::once_limits(&mut random));
        let model = Model { limits, once, ..Model::default() };
        Self {
            disturbance: *random.pick(&[10, 30, 80]),
            bursts: if random.chance(6) { 30 } else { 0 },
            random,
            disk: SharedDisk::new(disk),
            local,
            settings,
            wall_ms: crate::lockstep::START_MS,
            points: vec![Point { lsn: 0, model }],
            durable: 0,
            written: 0,
            power_cut: false,
            reused: false,
            report: Report::default(),
            answers: 0,
            trace,
            stops: 0,
        }
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{}", what());
        }
    }

    /// Recovers, lives for some steps, and ends.
    fn live<S: Restart>(&mut self) -> Result<(), String> {
        let mut life = self.recover::<S>()?;
        let plan = self.plan();
        self.disk.with(|disk| disk.set_plan(plan));
        if self.random.chance(8) {
            let space = self.random.below(200_000);
            self.disk.with(|disk| disk.set_capacity(Some(space)));
        }
        let struck = self.struck();
        let steps = 1 + self.random.below(70);
        for _ in 0..steps {
            match self.step(&mut life) {
                Ok(()) => {}
                Err(Halt::Store(error)) => {
                    self.tell(|| format!("the store failed: {error}"));
                    if self.struck() == struck {
                        return Err(format!("an error without a cause: {error}"));
                    }
                    break;
                }
                Err(Halt::Damaged(what)) if self.struck() == struck => {
                    return Err(format!("damage without a cause: {what}"));
                }
                Err(Halt::Damaged(_)) => break,
                Err(Halt::Wrong(what)) => return Err(what),
            }
        }
        self.report.checkpoints += life.pair.shard.facts().checkpoints;
        self.points.extend(life.pair.take_points());
        self.wall_ms = life.pair.wall_ms;
        self.end(true);
        Ok(())
    }

    /// Faults that struck; a device that has stopped is one that strikes ever again.
    fn struck(&mut self) -> usize {
        let (struck, stopped) = self.disk.with(|disk| (disk.struck().len(), disk.is_stopped()));
        self.stops += usize::from(stopped);
        struck + self.stops
    }

    /// What will go wrong in a life, if anything.
    fn plan(&mut self) -> FaultPlan {
        let n = 1 + self.random.below(150);
        match self.random.below(10) {
            0..4 => FaultPlan::new(),
            4..8 => FaultPlan::new().at(n, Fault::Stop),
            _ => {
                let faults = [
                    Fault::WriteError,
                    Fault::NoSpace,
                    Fault::ShortWrite,
                    Fault::SyncError,
                    Fault::DirectorySyncError,
                    Fault::ReadError,
                ];
                FaultPlan::new().at(1 + n / 4, *self.random.pick(&faults))
            }
        }
    }

    /// The process ends: the power is cut, or it is killed.
    fn end(&mut self, may_kill: bool) {
        self.disk.with(|disk| {
            disk.set_plan(FaultPlan::new());
            disk.set_capacity(None);
        });
        if may_kill && self.random.chance(35) {
            self.tell(|| "kill".into());
            self.report.kills += 1;
            self.disk.with(FaultDisk::kill);
        } else {
            self.tell(|| "power cut".into());
            self.report.cuts += 1;
            self.power_cut = true;
            self.disk.with(FaultDisk::crash);
        }
    }

    /// One step, and whatever answers may leave after it.
    fn step<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        if life.pair.shard.is_congested() {
            life.pair.shard.store_mut().wait();
            life.pair.end_turn()?;
        }
        let pair = &mut life.pair;
        let (model, now_ms) = (&pair.model, pair.now_ms);
        let step = Generator {
            random: &mut self.random,
            model,
            now_ms,
            large: false,
            bursts: self.bursts,
        }
        .step();
        self.tell(|| format!("{step:?}"));
        self.carry_out(life, &step)
    }

    /// One step as it is given.
    fn carry_out<S: Restart>(&mut self, life: &mut Life<S>, step: &Step) -> Result<(), Halt> {
        let promises = life.pair.step(step)?;
        // A transaction answers as a whole.
        let whole = promises.into_iter().reduce(|one, other| Promise {
            wait: if waits(other.wait) > waits(one.wait) { other.wait } else { one.wait },
            durable: one.durable.max(other.durable),
            written: one.written.max(other.written),
        });
        self.tell(|| format!("  {whole:?}"));
        life.waiting.extend(whole);
        self.take_served(life);
        if step.ends_turn {
            self.end_turn(life)?;
        }
        self.points.extend(life.pair.take_points());
        Ok(())
    }

    fn end_turn<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        life.pair.commit()?;
        self.release(life);
        if self.random.chance(10) {
            let lane = if self.random.chance(50) { Lane::Inline } else { Lane::Background };
            life.pair.shard.store_mut().set_lane(lane);
            life.pair.shard.store_mut().set_syncs_max(self.random.index(5));
        }
        if self.random.chance(30) {
            life.pair.shard.store_mut().wait();
        }
        life.pair.poll()?;
        self.take_served(life);
        self.release(life);
        life.pair.drain()?;
        if self.random.chance(6) {
            life.pair.compare()?;
        }
        Ok(())
    }

    fn take_served<S: Restart>(&mut self, life: &mut Life<S>) {
        let served = life.pair.take_served();
        self.report.served += served.len() as u64;
        life.waiting.extend(served);
    }

    /// Lets go every answer that need not wait any longer: from now on it binds.
    fn release<S: Restart>(&mut self, life: &mut Life<S>) {
        let shard = &life.pair.shard;
        for promise in std::mem::take(&mut life.waiting) {
            if shard.is_over(promise.wait) {
                self.tell(|| format!("  released at {}: {promise:?}", shard.durable()));
                self.durable = self.durable.max(promise.durable);
                self.written = self.written.max(promise.written);
                self.report.released += 1;
                self.answers = self.answers.rotate_left(5) ^ promise.written;
            } else {
                life.waiting.push(promise);
            }
        }
    }

    /// Starts processes until one has recovered, checks what it found, and returns it.
    fn recover<S: Restart>(&mut self) -> Result<Life<S>, String> {
        self.recover_disturbed(self.disturbance)
    }

    /// Likewise, with nothing going wrong.
    fn recover_undisturbed<S: Restart>(&mut self) -> Result<Life<S>, String> {
        self.recover_disturbed(0)
    }

    /// So many of 100 recoveries meet a fault.
    fn recover_disturbed<S: Restart>(&mut self, percent: u64) -> Result<Life<S>, String> {
        for attempt in 0.. {
            let before = self.struck();
            if attempt < 5 && self.random.chance(percent) {
                let fault =
                    *self.random.pick(&[Fault::Stop, Fault::Stop, Fault::Stop, Fault::ReadError]);
                let plan = FaultPlan::new().at(1 + self.random.below(25), fault);
                self.disk.with(|disk| disk.set_plan(plan));
            }
            if let Some(life) = self.attempt::<S>(before)? {
                self.disk.with(|disk| disk.set_plan(FaultPlan::new()));
                return Ok(life);
            }
            self.report.interrupted += 1;
            self.reused = true;
            self.end(true);
        }
        unreachable!("attempts have no end")
    }

    /// Starts a process and checks what it found. None if a fault struck since `before` of them.
    fn attempt<S: Restart>(&mut self, before: usize) -> Result<Option<Life<S>>, String> {
        let opened = S::open(self.disk.clone(), self.local.clone());
        let shard = opened.and_then(|(store, recovered)| {
            let clock = recovered.batches.last().map_or(0, |batch| batch.now_ms);
            let lsn = recovered.batches.last().map_or(recovered.lsn, |batch| batch.lsn);
            let clock = clock.max(recovered.now_ms);
            Ok((Shard::recover(store, recovered, self.settings, 3)?, lsn, clock))
        });
        match shard {
            Ok((shard, lsn, clock)) => match self.check(shard, lsn, clock)? {
                Some(_) if self.disk.with(|disk| disk.is_stopped()) => Ok(None),
                Some(life) => Ok(Some(life)),
                None if self.struck() == before => unreachable!("only a fault explains it"),
                None => Ok(None),
            },
            Err(error) if self.struck() == before => {
                Err(format!("a recovery failed without a cause: {error}"))
            }
            Err(_) => Ok(None),
        }
    }

    /// Compares what was recovered with what ought to be there. None if a fault struck meanwhile.
    fn check<S: Restart>(
        &mut self,
        mut shard: Shard<S>,
        lsn: Lsn,
        clock: u64,
    ) -> Result<Option<Life<S>>, String> {
        let needed = if self.power_cut { self.durable } else { self.written.max(self.durable) };
        let end = if self.power_cut { "power cut" } else { "kill" };
        self.tell(|| format!("recovered batch {lsn}, needed {needed} after a {end}"));
        if lsn < needed {
            return Err(format!(
                "after a {end} the log ends with batch {lsn}, but what batch {needed} did was shown"
            ));
        }
        let struck = self.struck();
        let Model { limits, once, .. } = self.points.last().expect("it begins with one").model;
        self.points.retain(|point| point.lsn <= lsn);
        if self.reused {
            self.forget_reused(&mut shard, needed, clock);
        }
        let point = self.points.last().expect("batch 0 is below all");
        let mut model = point.model.clone();
        (model.limits, model.once) = (limits, once);
        dump::take_earlier_seen(&mut model, shard.machine());
        subject::set_limits(&mut shard, limits);
        subject::set_once_limits(&mut shard, once);
        let begun = Pair::new(model, shard, clock, self.wall_ms).and_then(|mut pair| {
            pair.compare()?;
            Ok(pair)
        });
        match begun {
            Ok(pair) => {
                // What recovery found is durable, whatever it was before.
                (self.durable, self.written, self.power_cut) = (lsn, lsn, false);
                self.reused = false;
                Ok(Some(Life { pair, waiting: Vec::new() }))
            }
            Err(_) if self.struck() > struck => Ok(None),
            Err(Halt::Wrong(what) | Halt::Damaged(what)) => {
                Err(format!("recovered to batch {lsn}: {what}"))
            }
            Err(Halt::Store(error)) => Err(format!("recovered, then failed: {error}")),
        }
    }

    /// A recovery that was interrupted may have given numbers of batches that it discarded to
    /// batches without effects: forgets points that cannot be what was found, down to `needed`.
    fn forget_reused<S: Restart>(&mut self, shard: &mut Shard<S>, needed: Lsn, clock: u64) {
        let (blocks, lost) = pair::all_blocks(shard);
        if lost > 0 {
            // The device fails again, or it is damaged, which the comparison will tell.
            return;
        }
        let now_ms = clock.max(self.wall_ms);
        let found = dump::of_machine(shard.machine(), &blocks, now_ms);
        let is_found = |point: &Point| {
            let mut model = point.model.clone();
            model.expire_keys(now_ms);
            dump::take_earlier_seen(&mut model, shard.machine());
            dump::of_model(&model) == found
        };
        while self.points.last().is_some_and(|point| point.lsn > needed && !is_found(point)) {
            self.points.pop();
        }
    }
}

/// Sizes so small that files end, checkpoints come and caches are too small now and then.
pub(crate) fn local_settings(random: &mut Random) -> LocalSettings {
    LocalSettings {
        shard: 0,
        log_file_bytes: 64 << 10,
        segment_bytes: *random.pick(&[1 << 10, 4 << 10, 64 << 10]),
        pack_bytes: *random.pick(&[0, 300, 3000]),
        cache_bytes: *random.pick(&[0, 500, 4000]),
        open_files_max: 2,
        checkpoint_payload_bytes: *random.pick(&[200, 1000, 5000]),
        checkpoint_ring_bytes: 16 << 10,
        reserve_bytes: 16 << 10,
        headroom_bytes: 32 << 10,
        congested_bytes: 32 << 10,
    }
}

/// How long something waits, as a number to compare by.
fn waits(wait: levada_engine::shard::Wait) -> (u8, Lsn) {
    use levada_engine::shard::Wait;
    match wait {
        Wait::Nothing => (0, 0),
        Wait::Written(lsn) => (1, lsn),
        Wait::Durable(lsn) => (2, lsn),
    }
}
