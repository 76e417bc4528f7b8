//! Every hand-off between threads, compiled a second time with the threads of `shuttle`, which
//! decides at each lock, channel and atomic who goes on: thousands of schedules, by seed, random
//! and PCT. A schedule in which nobody can go on fails as a deadlock.
//!
//! Two things are not as in earnest: a wait for a channel never times out (no time passes), and
//! atomics are sequentially consistent.

mod calls;
mod lanes;
mod late_disk;

/// What the files below are given in place of `crate::threads`.
mod threads {
    pub(crate) use shuttle::{
        sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic, mpsc},
        thread,
    };
}

#[path = "../disk/background.rs"]
#[allow(clippy::duplicate_mod, unreachable_pub, reason = "the same code is tested on its own")]
mod background;
#[path = "../engine.rs"]
#[allow(
    clippy::duplicate_mod,
    unreachable_pub,
    dead_code,
    unused_imports,
    reason = "as above; not all is used"
)]
mod engine;
#[path = "../subscription.rs"]
#[allow(clippy::duplicate_mod, unreachable_pub, dead_code, reason = "as above; not all is used")]
mod subscription;

use shuttle::{
    Config, FailurePersistence, Runner,
    scheduler::{PctScheduler, RandomScheduler},
};

/// Where the schedules begin: the same ones in every run.
const SEED: u64 = 20_261_121;
/// Changes of priority in a PCT schedule: it finds what needs so many to happen in one order.
const DEPTH: usize = 3;

/// Runs so many schedules of each kind.
fn schedules(count: usize, run: impl Fn() + Send + Sync + Clone + 'static) {
    let random = RandomScheduler::new_from_seed(SEED, count);
    Runner::new(random, config()).run(run.clone());
    let pct = PctScheduler::new_from_seed(SEED, DEPTH, count);
    Runner::new(pct, config()).run(run);
}

fn config() -> Config {
    let mut config = Config::new();
    // The engine's own frames are larger than those of a lock.
    config.stack_size = 1 << 20;
    config.failure_persistence = FailurePersistence::Print;
    config
}
