//! `levada-sim`: crash-recover schedules by the thousand.
//!
//! ```text
//! levada-sim run [--schedules N] [--seed S] [--threads T]
//! levada-sim replay SEED
//! levada-sim exhaust OPS CUTS
//! levada-sim flips COUNT SEED
//! ```

use levada_engine::store::local::LocalStore;
use levada_sim::crash::{self, Report};
use levada_sim::disk::SharedDisk;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

type Product = LocalStore<SharedDisk>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", options @ ..] => match Run::of(options) {
            Some(run) => run.start(),
            None => usage(),
        },
        ["replay", seed] => seed.parse().map_or_else(|_| usage(), replay),
        ["exhaust", ops, cuts] => match (ops.parse(), cuts.parse()) {
            (Ok(ops), Ok(cuts)) => exhaust(ops, cuts),
            _ => usage(),
        },
        ["flips", count, seed] => match (count.parse(), seed.parse()) {
            (Ok(count), Ok(seed)) => flips(count, seed),
            _ => usage(),
        },
        _ => usage(),
    }
}

/// Bits that flip at rest, one at a time.
fn flips(count: u64, seed: u64) -> ExitCode {
    let begun = Instant::now();
    let report = levada_sim::flips::run(count, seed);
    let seconds = begun.elapsed().as_secs_f64();
    print!("{report}");
    println!("{count} flips from seed {seed} in {seconds:.1} s");
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every crash point of every workload of so many operations.
fn exhaust(ops: u32, cuts: u64) -> ExitCode {
    let begun = Instant::now();
    match crash::exhaust::<Product>(ops, cuts) {
        Ok(recovered) => {
            let seconds = begun.elapsed().as_secs_f64();
            println!("{recovered} crashes in {seconds:.1} s; 0 violations");
            ExitCode::SUCCESS
        }
        Err(what) => {
            println!("VIOLATION: {what}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "levada-sim run [--schedules N] [--seed S] [--threads T]\nlevada-sim replay SEED\n\
         levada-sim exhaust OPS CUTS\nlevada-sim flips COUNT SEED"
    );
    ExitCode::from(2)
}

/// Shows one schedule step by step.
fn replay(seed: u64) -> ExitCode {
    match crash::run::<Product>(seed, true) {
        Ok(report) => {
            println!("{report:?}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            println!("VIOLATION, seed {seed}: {what}");
            ExitCode::FAILURE
        }
    }
}

/// What to run.
struct Run {
    schedules: u64,
    seed: u64,
    threads: u64,
}

impl Run {
    fn of(options: &[&str]) -> Option<Self> {
        let mut run = Self { schedules: 10_000, seed: 1, threads: 2 };
        for option in options.chunks(2) {
            let [name, value] = option else { return None };
            let value = value.parse().ok()?;
            match *name {
                "--schedules" => run.schedules = value,
                "--seed" => run.seed = value,
                "--threads" => run.threads = value,
                _ => return None,
            }
        }
        Some(run).filter(|run| run.threads > 0)
    }

    fn start(&self) -> ExitCode {
        let begun = Instant::now();
        let next = AtomicU64::new(0);
        let parts: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.threads).map(|_| scope.spawn(|| self.work(&next))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a worker panicked")).collect()
        });
        let mut sum = Report::default();
        let mut violations = 0;
        for (report, wrong) in parts {
            sum.cuts += report.cuts;
            sum.kills += report.kills;
            sum.interrupted += report.interrupted;
            sum.faults += report.faults;
            sum.released += report.released;
            sum.checkpoints += report.checkpoints;
            sum.flips += report.flips;
            violations += wrong;
        }
        let seconds = begun.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate to be read by people")]
        let rate = |n: u64| n as f64 / seconds;
        println!(
            "{} schedules from seed {} in {seconds:.1} s ({:.0} schedules/s, {:.0} recoveries/s): \
             {} power cuts, {} kills, {} interrupted recoveries, {} faults, {} checkpoints, \
             {} flips, {} answers released; {violations} violations",
            self.schedules,
            self.seed,
            rate(self.schedules),
            rate(sum.cuts + sum.kills),
            sum.cuts,
            sum.kills,
            sum.interrupted,
            sum.faults,
            sum.checkpoints,
            sum.flips,
            sum.released,
        );
        if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Takes seeds until there are no more; the sum of their reports, and how many were wrong.
    fn work(&self, next: &AtomicU64) -> (Report, u64) {
        let (mut sum, mut wrong) = (Report::default(), 0);
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= self.schedules {
                return (sum, wrong);
            }
            match crash::run::<Product>(self.seed + at, false) {
                Ok(report) => {
                    sum.cuts += report.cuts;
                    sum.kills += report.kills;
                    sum.interrupted += report.interrupted;
                    sum.faults += report.faults;
                    sum.released += report.released;
                    sum.checkpoints += report.checkpoints;
                    sum.flips += report.flips;
                }
                Err(what) => {
                    wrong += 1;
                    println!("VIOLATION, seed {}: {what}", self.seed + at);
                }
            }
        }
    }
}
