//! The state machine against the model: the same steps on both, every answer compared, and every
//! few steps the whole state, of the shard, of a replay of its log, and of checkpoints.

use crate::dump;
use crate::model::Model;
use crate::op::generate::{self, Generator};
use crate::op::{Op, Step};
use crate::pair::{Halt, Pair};
use crate::random::Random;
use crate::recording::Recording;
use crate::replica::Replica;
use crate::shrink::shrink;
use levada_engine::shard::{Shard, ShardSettings};
use levada_engine::store::Recovered;

/// The first wall clock reading; small, so that ids are near each other.
pub const START_MS: u64 = 1000;

/// A failure: what was wrong, and the steps that lead there.
#[derive(Debug)]
pub struct Failure {
    /// In words.
    pub what: String,
    /// All steps up to the one that failed.
    pub steps: Vec<Step>,
}

/// Runs one schedule of at most so many steps drawn from a seed.
pub fn run(seed: u64, steps: usize) -> Result<(), Failure> {
    let mut random = Random::new(seed);
    let mut course = Course::new(seed);
    let bursts = if seed.is_multiple_of(16) { 30 } else { 0 };
    let mut done = Vec::new();
    for _ in 0..steps {
        let model = &course.pair.model;
        let now_ms = course.pair.now_ms;
        let step = Generator { random: &mut random, model, now_ms, large: true, bursts }.step();
        done.push(step.clone());
        if let Err(what) = course.step(&step) {
            return Err(Failure { what, steps: done });
        }
    }
    Ok(())
}

/// Runs recorded steps, comparing everything after each turn if `thorough`, which changes when keys
/// expire and blocks are sealed; what was wrong, if anything was.
fn replay(seed: u64, steps: &[Step], thorough: bool) -> Result<(), String> {
    let mut course = Course::new(seed);
    course.thorough = thorough;
    steps.iter().try_for_each(|step| course.step(step))
}

/// Runs steps that were written down, comparing everything after each turn; what was wrong, if
/// anything was.
/// `tail_bytes_max` as in [`ShardSettings`]: a small one seals after every turn.
pub fn check(tail_bytes_max: u64, steps: &[Step]) -> Result<(), String> {
    let mut course = Course::new(0);
    let shard = &mut course.pair.shard;
    let settings = *shard.settings();
    shard.set_settings(ShardSettings { tail_bytes_max, ..settings });
    course.thorough = true;
    steps.iter().try_for_each(|step| course.step(step))
}

/// The fewest of these steps that still fail, and how they do.
pub fn shorten(seed: u64, failure: &Failure) -> (String, Vec<Step>) {
    let of = |kept: &[usize]| some_of(&failure.steps, kept);
    let all: Vec<_> = (0..failure.steps.len()).collect();
    let thorough = replay(seed, &failure.steps, true).is_err();
    let fails = |kept: &[usize]| replay(seed, &of(kept), thorough).is_err();
    if !fails(&all) {
        return (failure.what.clone(), failure.steps.clone());
    }
    let trace = of(&shrink(&all, fails));
    let what = replay(seed, &trace, thorough).expect_err("it fails still");
    (what, trace)
}

/// Some of the steps, at the times and in the turns in which they were.
fn some_of(steps: &[Step], kept: &[usize]) -> Vec<Step> {
    let mut out: Vec<Step> = Vec::new();
    let mut clock_ms = 0;
    for (at, step) in steps.iter().enumerate() {
        clock_ms += step.clock_ms;
        if kept.contains(&at) {
            out.push(Step { clock_ms: std::mem::take(&mut clock_ms), ..step.clone() });
        } else if let Some(last) = out.last_mut() {
            last.ends_turn |= step.ends_turn;
        }
    }
    out
}

/// What runs, with the chance that is not part of the steps: settings, checkpoints.
struct Course {
    pair: Pair<Recording>,
    replica: Replica,
    random: Random,
    /// Whether everything is compared after every turn.
    thorough: bool,
}

impl Course {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(!seed);
        let tail_bytes_max = *random.pick(&[60, 200, 1000, 1 << 20]);
        let settings = ShardSettings { tail_bytes_max, ..ShardSettings::default() };
        let delay = *random.pick(&[0, 0, 2]);
        let store = Recording::with_delay(delay);
        let shard = Shard::recover(store, Recovered::default(), settings, seed)
            .expect("nothing is there that could be damaged");
        let mut pair = Pair::new(Model::default(), shard, START_MS, START_MS)
            .expect("a store in memory does not fail");
        let limits = Op::Limits(generate::limits(&mut random));
        let once = Op::OnceLimits(generate::once_limits(&mut random));
        for op in [limits, once] {
            pair.step(&Step { clock_ms: 0, op, ends_turn: false }).expect("a setting cannot fail");
        }
        Self { pair, replica: Replica::default(), random, thorough: false }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let words = |halt| match halt {
            Halt::Wrong(what) | Halt::Damaged(what) => what,
            Halt::Store(error) => format!("the store failed: {error}"),
        };
        self.pair.step(step).map_err(words)?;
        if step.ends_turn {
            self.pair.end_turn().map_err(words)?;
        }
        for batch in self.pair.shard.store_mut().take_log() {
            self.replica.apply(&batch)?;
            self.replica.checkpoint(&mut self.random)?;
        }
        let compares = match self.thorough {
            true => step.ends_turn,
            false => self.random.chance(8),
        };
        if compares {
            self.pair.compare().map_err(words)?;
            self.compare_replica()?;
        }
        Ok(())
    }

    /// The replay of everything that was committed must be the shard's state.
    fn compare_replica(&mut self) -> Result<(), String> {
        let now = self.pair.now();
        self.pair.shard.commit(now).map_err(|error| error.message)?;
        for batch in self.pair.shard.store_mut().take_log() {
            self.replica.apply(&batch)?;
        }
        let now_ms = self.pair.now_ms;
        let (blocks, _) = crate::pair::all_blocks(&mut self.pair.shard);
        let expected = dump::of_machine(self.pair.shard.machine(), &blocks, now_ms);
        match dump::difference(&expected, &self.replica.dump(now_ms)) {
            None => Ok(()),
            Some(difference) => Err(format!("replayed: {difference}")),
        }
    }
}
