//! Schedules with policies: leases, rests, dead letters, retention, limits, consumers that go,
//! through power cuts and kills at any call of the disk.
//!
//! There is no model of what a policy decides, and nothing of the product's decisions is used. What
//! must be true whatever it decides is checked, by the [history](crate::history) and here:
//!
//! - an entry that was acknowledged to its producer is at every crash point in exactly one of: not
//!   reached, pending, acknowledged, dead letter, and is never removed while a retaining group
//!   needs it (invariants 24 and 27);
//! - it is not delivered again before its lease and its rest are over, and not more often than
//!   MAX-DELIVER; nothing dies that no limit and no FATAL killed;
//! - MAX-LEN, MAX-BYTES and MAX-PENDING are kept; an append that was refused is nowhere;
//! - what is scheduled is in its schedule or in the stream, comes once, in order of its time and
//!   never before it by the wall's clock, and not if it is cancelled (28);
//! - what goes back from the dead letters is a letter or an entry, and no group but the one that
//!   failed is given it (27);
//! - of each key of a group in order one entry is under way, and they come in order; what is parked
//!   is nowhere else, and is retained (24);
//! - no reader waits while there is something for it, nor is served before one that came first
//!   (31, 33);
//! - what is due happens: once the clock is far ahead, consumers that read and acknowledge get to
//!   the end of everything, and retention leaves nothing.
//!
//! The clock steps forward and back, by days too; ids rise all the same.

mod answers;
mod client;
mod delivery;
mod exhaust;
mod lanes;
mod letters;
mod names;
mod policy;
mod scheduled;
mod state;
mod waiting;

pub use exhaust::{exhaust, exhaust_theme, themes};

use crate::books;
use crate::crash::{Report, Restart};
use crate::disk::{Fault, FaultDisk, FaultPlan, SharedDisk};
use crate::history::{self, Counter, Id, Journal, Ledger, Violation};
use crate::random::Random;
use answers::Held;
use lanes::Lanes;
use letters::Back;
use levada_engine::clock::Now;
use levada_engine::disk::Lane;
use levada_engine::shard::{Shard, ShardSettings};
use levada_engine::store::local::LocalSettings;
use names::Names;
use policy::{Other, Policy};
use scheduled::Plan;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use waiting::{News, Reader};

/// The first wall clock reading.
const START_MS: u64 = 1_000_000_000;
/// A group that comes when all is over.
const LATE: &[u8] = b"late";

/// Runs the schedule of a seed; what was wrong, in words, if anything was.
pub fn run<S: Restart>(seed: u64, trace: bool) -> Result<Report, String> {
    let mut world = World::new(seed, trace);
    for _ in 0..=world.random.below(4) {
        world.live::<S>()?;
    }
    world.drain::<S>()?;
    world.report.trace_hash = world.disk.with(|disk| disk.trace_hash());
    Ok(world.report)
}

/// What outlives a process.
#[derive(Clone)]
struct World {
    random: Random,
    disk: SharedDisk,
    local: LocalSettings,
    settings: ShardSettings,
    policy: Policy,
    wall_ms: u64,
    /// As `wall_ms`, but never going back.
    now_ms: u64,
    counter: Arc<Counter>,
    journal: Journal,
    ledger: Ledger,
    /// Values written so far.
    number: u32,
    /// What consumers hold, as their replies showed it.
    held: Vec<Id>,
    /// For each delivered entry the earliest time of another delivery, and deliveries since the
    /// last crash.
    leases: BTreeMap<Id, Lease>,
    /// Whether FATAL was ever asked for.
    fatal: bool,
    names: Names,
    /// What is scheduled, as far as the last recovery had not found it appended.
    plans: Vec<Plan>,
    /// What was on its way back from the dead letters when the process ended.
    backs: Vec<Back>,
    /// Dead letters that were given back or removed, by their entries.
    left: BTreeSet<Id>,
    lanes: Lanes,
    power_cut: bool,
    report: Report,
    trace: bool,
}

#[derive(Clone, Copy, Default)]
struct Lease {
    due_ms: u64,
    deliveries: u64,
}

/// A process that runs.
struct Life<S> {
    shard: Shard<S>,
    /// Answers that have not left yet.
    waiting: Vec<Held>,
    /// Readers that wait, in the order in which they came.
    readers: Vec<Reader>,
    /// Readers so far.
    clients: u64,
    /// What readers were told, until it is taken note of.
    news: Vec<News>,
    /// How much of it was heard before the last request was carried out.
    early: usize,
    /// Whether something was carried out of which no answer is held yet: what it showed is looked
    /// at first, and the process may end there.
    is_unheld: bool,
}

/// Why a life ended.
#[derive(Debug)]
enum Halt {
    /// The product is wrong; in words.
    Wrong(String),
    /// The device failed.
    Failed(String),
}

impl From<levada_engine::Error> for Halt {
    fn from(error: levada_engine::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl World {
    fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let disk = SharedDisk::new(FaultDisk::new(Random::new(random.bits())));
        let settings = ShardSettings {
            tail_bytes_max: *random.pick(&[200, 1000, 4000]),
            delivery_strict: random.chance(40),
            checkpoint_slice_bytes: *random.pick(&[1, 200, 1 << 20]),
            order_window: *random.pick(&[0, 1, 3, 10_000]),
            ..ShardSettings::default()
        };
        let local = crate::crash::local_settings(&mut random);
        let policy = Policy::draw(&mut random);
        Self {
            random,
            disk,
            local,
            settings,
            ledger: policy.ledger(),
            policy,
            wall_ms: START_MS,
            now_ms: START_MS,
            counter: Arc::default(),
            journal: Journal::default(),
            number: 0,
            held: Vec::new(),
            leases: BTreeMap::new(),
            fatal: false,
            names: Names::default(),
            plans: Vec::new(),
            backs: Vec::new(),
            left: BTreeSet::new(),
            lanes: Lanes::default(),
            power_cut: false,
            report: Report::default(),
            trace,
        }
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{}", what());
        }
    }

    fn now(&self) -> Now {
        Now { wall_ms: self.wall_ms, monotonic_us: self.now_ms * 1000 }
    }

    /// Recovers, lives for some steps, and ends.
    fn live<S: Restart>(&mut self) -> Result<(), String> {
        let mut life = self.recover::<S>(true)?;
        let plan = match self.random.chance(70) {
            true => FaultPlan::new().at(1 + self.random.below(200), Fault::Stop),
            false => FaultPlan::new(),
        };
        self.disk.with(|disk| disk.set_plan(plan));
        let steps = 1 + self.random.below(100);
        for _ in 0..steps {
            match self.step(&mut life) {
                Ok(()) => {}
                Err(Halt::Wrong(what)) => return Err(what),
                Err(Halt::Failed(_)) if self.disk.with(|disk| disk.is_stopped()) => break,
                Err(Halt::Failed(what)) => return Err(format!("an error without cause: {what}")),
            }
        }
        self.end(life);
        self.report.cuts += u64::from(self.power_cut);
        self.report.kills += u64::from(!self.power_cut);
        Ok(())
    }

    /// The process ends; what was not answered is unknown from now on.
    fn end<S>(&mut self, life: Life<S>) {
        self.disk.with(|disk| disk.set_plan(FaultPlan::new()));
        self.power_cut = self.random.chance(65);
        self.settle_unknown(life);
        let cut = self.power_cut;
        self.tell(|| if cut { "power cut".into() } else { "kill".into() });
        self.disk.with(|disk| if cut { disk.crash() } else { disk.kill() });
    }

    /// Forgets what an unanswered request, or a power cut, may have changed.
    fn settle_unknown<S>(&mut self, life: Life<S>) {
        if life.is_unheld || !life.waiting.is_empty() {
            self.leases.clear();
        }
        self.forget_undone();
        for held in life.waiting {
            self.lose(held);
        }
        self.leases.values_mut().for_each(|lease| lease.deliveries = 0);
    }

    /// Forgets deliveries that a power cut may have undone.
    fn forget_undone(&mut self) {
        if self.power_cut && !self.settings.delivery_strict {
            self.leases.clear();
        }
    }

    /// Starts processes until one has recovered, and checks what it found.
    fn recover<S: Restart>(&mut self, disturbed: bool) -> Result<Life<S>, String> {
        for attempt in 0.. {
            if disturbed && attempt < 3 && self.random.chance(30) {
                let plan = FaultPlan::new().at(1 + self.random.below(25), Fault::Stop);
                self.disk.with(|disk| disk.set_plan(plan));
            }
            match self.start::<S>() {
                Ok(life) => return Ok(life),
                Err(Halt::Wrong(what)) => return Err(what),
                Err(Halt::Failed(_)) if self.disk.with(|disk| disk.is_stopped()) => {}
                Err(Halt::Failed(what)) => return Err(format!("a recovery failed: {what}")),
            }
            self.report.interrupted += 1;
            let cut = self.random.chance(65);
            self.power_cut |= cut;
            self.forget_undone();
            self.disk.with(|disk| {
                disk.set_plan(FaultPlan::new());
                if cut { disk.crash() } else { disk.kill() }
            });
        }
        unreachable!("attempts have no end")
    }

    fn start<S: Restart>(&mut self) -> Result<Life<S>, Halt> {
        let (store, recovered) = S::open(self.disk.clone(), self.local.clone())?;
        // A clock that stepped back stands, in a new process, where the log left it.
        let logged_ms = recovered.batches.last().map_or(recovered.now_ms, |batch| batch.now_ms);
        self.now_ms = self.wall_ms.max(logged_ms);
        self.note_time();
        let shard = Shard::recover(store, recovered, self.settings, 3)?;
        let (waiting, readers, news) = (Vec::new(), Vec::new(), Vec::new());
        let mut life =
            Life { shard, waiting, readers, clients: 0, news, early: 0, is_unheld: false };
        self.set_up(&mut life)?;
        let (state, rows) = self.read_all(&mut life)?;
        self.turn(&mut life)?;
        if self.disk.with(|disk| disk.is_stopped()) {
            return Err(Halt::Failed("the device has stopped".into()));
        }
        self.disk.with(|disk| disk.set_plan(FaultPlan::new()));
        // A group in order waits for the record of every delivery.
        self.ledger.relaxed =
            self.power_cut && !self.settings.delivery_strict && !self.policy.ordered;
        let mut found = self.ledger.absorb(std::mem::take(&mut self.journal));
        let states = [self.name_recovered(state).map_err(Halt::Wrong)?];
        self.note_gone(&rows);
        // What has just got a name, and what will get none.
        found.extend(self.ledger.absorb(std::mem::take(&mut self.journal)));
        found.extend(history::check(&self.ledger, &states));
        self.judge(&found)?;
        let [state] = &states;
        self.settle_backs(state)?;
        self.settle_lanes(state)?;
        self.ledger.settle(&states);
        let [state] = states;
        self.held = state.pending.iter().map(|row| row.id).collect();
        self.settle_plans(&rows)?;
        // A turn has gone by since they were read, in which what was due came, by this clock.
        self.note_time();
        self.power_cut = false;
        Ok(life)
    }

    fn judge(&self, found: &[Violation]) -> Result<(), Halt> {
        if found.is_empty() {
            return Ok(());
        }
        let words: Vec<_> = found.iter().map(ToString::to_string).collect();
        Err(Halt::Wrong(format!("{:?}: {}", self.policy, words.join("; "))))
    }

    /// Ends a turn twice, for the first poll may find something due.
    fn turn<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        self.now_ms = self.now_ms.max(self.wall_ms);
        for _ in 0..2 {
            if self.random.chance(10) {
                let lane = *self.random.pick(&[Lane::Inline, Lane::Background]);
                life.shard.store_mut().set_lane(lane);
                life.shard.store_mut().set_syncs_max(self.random.index(5));
            }
            life.shard.commit(self.now())?;
            if self.random.chance(40) {
                life.shard.store_mut().wait();
            }
            self.note_time();
            life.shard.poll(self.now())?;
            self.hear_news(life)?;
            self.take_news(life)?;
        }
        life.shard.commit(self.now())?;
        books::check(life.shard.machine()).map_err(Halt::Wrong)?;
        self.release(life);
        Ok(())
    }

    /// The clock runs far ahead and consumers read and acknowledge: all must come to its end.
    fn drain<S: Restart>(&mut self) -> Result<(), String> {
        let mut life = self.recover::<S>(false)?;
        let words = |halt| match halt {
            Halt::Wrong(what) | Halt::Failed(what) => format!("at rest: {what}"),
        };
        let far_ms = self.plans.iter().map(|plan| plan.at_ms).max().unwrap_or(0);
        self.wall_ms = self.now_ms.max(far_ms);
        let mut rests = false;
        for _ in 0..300 {
            self.wall_ms += 10_000;
            self.read_and_acknowledge(&mut life).map_err(words)?;
            rests = self.rests(&mut life).map_err(words)?;
            if rests {
                break;
            }
        }
        self.wall_ms += 1_000_000;
        for _ in 0..5 {
            self.turn(&mut life).map_err(words)?;
        }
        self.release(&mut life);
        let (after, rows) = self.read_all(&mut life).map_err(words)?;
        let after = self.name_state(after)?;
        if !rests || !after.pending.is_empty() {
            return Err(format!("{:?}: does not come to its end: {after:?}", self.policy));
        }
        if self.policy.empties() && !after.entries.is_empty() && !is_held_by_deleted(&life) {
            return Err(format!("{:?}: acknowledged entries stay: {after:?}", self.policy));
        }
        self.judge_plans(&rows, true).map_err(words)?;
        self.note_gone(&rows);
        let mut found = self.ledger.absorb(std::mem::take(&mut self.journal));
        let states = [after];
        found.extend(history::check(&self.ledger, &states));
        found.extend(history::check_drained(&self.ledger, &states));
        self.judge(&found).map_err(words)?;
        // Nor is a group that comes now given what came back to another one.
        self.create_group(&mut life, LATE).map_err(words)?;
        let given = self.read_as_other(&mut life, LATE, 10_000).map_err(words)?;
        let [state] = states;
        let live = state.entries.iter().map(|(id, _)| *id);
        match live.filter(|id| !state.redriven.contains(id)).eq(given.iter().copied()) {
            true => Ok(()),
            false => Err(format!("a group that comes late is given {given:?} of {state:?}")),
        }
    }

    /// Whether everything was delivered and acknowledged, and nothing is under way.
    fn rests<S: Restart>(&mut self, life: &mut Life<S>) -> Result<bool, Halt> {
        let (state, rows) = self.read_all(life)?;
        let state = self.name_state(state).map_err(Halt::Wrong)?;
        let is_left =
            |(id, _): &(Id, _)| *id > state.last_delivered && !state.redriven.contains(id);
        // Behind a limit that refuses, what another group holds back never goes.
        let stays = self.policy.rejects() && self.policy.other == Other::HoldsBack;
        let waits = !stays && !rows.is_empty();
        Ok(!state.entries.iter().any(is_left)
            && state.parked.is_empty()
            && state.pending.is_empty()
            && life.waiting.is_empty()
            && !waits)
    }
}

/// Whether the last block stays because its newest entry was deleted before every group had come by
/// it: whole blocks go, and there is nothing that would bring the group past it.
fn is_held_by_deleted<S: Restart>(life: &Life<S>) -> bool {
    life.shard.machine().stream(client::KEY).is_some_and(|(_, stream)| {
        let is_last = stream.first_block() + 1 == stream.tail_number();
        let is_deleted = stream.max_deleted_id == stream.last_id;
        let is_behind = stream.groups.iter().any(|(_, _, group)| group.last_id < stream.last_id);
        is_last && stream.tail().count() == 0 && is_deleted && is_behind
    })
}
