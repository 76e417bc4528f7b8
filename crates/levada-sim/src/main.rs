//! `levada-sim`: crash-recover schedules by the thousand.
//!
//! ```text
//! levada-sim run [--schedules N | --cycles N] [--seed S] [--jobs T] [--record]
//! levada-sim policies [--schedules N | --cycles N] [--seed S] [--jobs T] [--record]
//! levada-sim replay SEED
//! levada-sim replay-policies SEED
//! levada-sim exhaust OPS [SAMPLES] [--record]
//! levada-sim flips COUNT SEED [--record]
//! ```
//!
//! `--record` adds a row to the record in RELIABILITY.md.

use levada_engine::store::local::LocalStore;
use levada_sim::crash::{self, Extent, Report};
use levada_sim::disk::SharedDisk;
use levada_sim::{policies, record};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

type Product = LocalStore<SharedDisk>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", options @ ..] => start(crash::run::<Product>, "simulated crash", options),
        ["policies", options @ ..] => {
            start(policies::run::<Product>, "simulated crash, policies", options)
        }
        ["replay", seed] => {
            seed.parse().map_or_else(|_| usage(), |seed| replay(crash::run::<Product>, seed))
        }
        ["replay-policies", seed] => {
            seed.parse().map_or_else(|_| usage(), |seed| replay(policies::run::<Product>, seed))
        }
        ["exhaust" | "flips", options @ .., "--record"] => once(words[0], options, true),
        ["exhaust" | "flips", options @ ..] => once(words[0], options, false),
        _ => usage(),
    }
}

/// What has no schedules.
fn once(verb: &str, options: &[&str], recorded: bool) -> ExitCode {
    let numbers: Option<Vec<u64>> = options.iter().map(|text| text.parse().ok()).collect();
    let run = match (verb, numbers.as_deref()) {
        ("exhaust", Some([ops])) => exhaust(*ops, None),
        ("exhaust", Some([ops, samples])) => exhaust(*ops, Some(*samples)),
        ("flips", Some([count, seed])) => Some(flips(*count, *seed)),
        _ => None,
    };
    run.map_or_else(usage, |run| close(&run, recorded))
}

/// Records a run that is over, if that is wanted.
fn close(run: &record::Run, recorded: bool) -> ExitCode {
    if recorded && let Err(error) = record::add(run) {
        eprintln!("the record was not written: {error}");
        return ExitCode::FAILURE;
    }
    if run.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Bits that flip at rest, one at a time.
fn flips(count: u64, seed: u64) -> record::Run {
    let begun = Instant::now();
    let report = levada_sim::flips::run(count, seed);
    let seconds = begun.elapsed().as_secs_f64();
    print!("{report}");
    println!("{count} flips from seed {seed} in {seconds:.1} s");
    let (what, violations) = ("single bits flipped at rest".to_owned(), report.violations.len());
    // Too little that is located, or nothing that mattered, is one as well.
    let violations = violations.max(usize::from(!report.is_good()));
    record::Run { what, seed: Some(seed), count, violations }
}

/// Every crash point of every workload of so many operations; `samples` where there are too many
/// ways to take them all. `None` where these are no numbers for that.
fn exhaust(ops: u64, samples: Option<u64>) -> Option<record::Run> {
    let begun = Instant::now();
    let samples = samples.map_or(Some(Extent::LONG.samples), |samples| samples.try_into().ok())?;
    let extent = Extent { ops: ops.try_into().ok()?, samples, ..Extent::LONG };
    let both = crash::exhaust::<Product>(extent)
        .and_then(|exhausted| Ok((exhausted, policies::exhaust::<Product>(extent)?)));
    let seconds = begun.elapsed().as_secs_f64();
    let what = format!("every crash point of up to {ops} operations");
    let run = |count, violations| Some(record::Run { what, seed: None, count, violations });
    match both {
        Ok((exhausted, of_policies)) => {
            println!(
                "{exhausted}; {of_policies} crashes with policies; {seconds:.1} s, 0 violations"
            );
            run(exhausted.crashes + of_policies, 0)
        }
        Err(what) => {
            println!("VIOLATION: {what}");
            run(0, 1)
        }
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "levada-sim run [--schedules N | --cycles N] [--seed S] [--jobs T] [--record]\n\
         levada-sim policies (the same options)\n\
         levada-sim replay SEED\nlevada-sim replay-policies SEED\n\
         levada-sim exhaust OPS [SAMPLES] [--record]\n\
         levada-sim flips COUNT SEED [--record]"
    );
    ExitCode::from(2)
}

/// A schedule of a seed, shown step by step or not.
type Schedule = fn(u64, bool) -> Result<Report, String>;

/// Schedules of a kind, as the options say.
fn start(schedule: Schedule, what: &'static str, options: &[&str]) -> ExitCode {
    Run::of(schedule, what, options).map_or_else(usage, |run| run.start())
}

/// Shows one schedule step by step.
fn replay(schedule: Schedule, seed: u64) -> ExitCode {
    match schedule(seed, true) {
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
    schedule: Schedule,
    /// For the record.
    what: &'static str,
    /// Schedules at most.
    schedules: u64,
    /// Crashes with a recovery at most, give or take what each job has under way.
    cycles: u64,
    seed: u64,
    jobs: u64,
    record: bool,
}

/// What the jobs share.
#[derive(Default)]
struct Progress {
    schedules: AtomicU64,
    cycles: AtomicU64,
}

impl Run {
    fn of(schedule: Schedule, what: &'static str, options: &[&str]) -> Option<Self> {
        let (schedules, cycles) = (10_000, u64::MAX);
        let mut run = Self { schedule, what, schedules, cycles, seed: 1, jobs: 2, record: false };
        let mut options = options.iter();
        while let Some(name) = options.next() {
            let mut number = || options.next().and_then(|text| text.parse().ok());
            match *name {
                "--schedules" => run.schedules = number()?,
                "--cycles" => (run.schedules, run.cycles) = (u64::MAX, number()?),
                "--seed" => run.seed = number()?,
                "--jobs" => run.jobs = number()?,
                "--record" => run.record = true,
                _ => return None,
            }
        }
        Some(run).filter(|run| run.jobs > 0)
    }

    fn start(&self) -> ExitCode {
        let begun = Instant::now();
        let progress = Progress::default();
        let parts: Vec<_> = std::thread::scope(|scope| {
            let jobs: Vec<_> =
                (0..self.jobs).map(|_| scope.spawn(|| self.work(&progress))).collect();
            jobs.into_iter().map(|job| job.join().expect("a job panicked")).collect()
        });
        let (mut sum, mut schedules, mut violations) = (Report::default(), 0, 0);
        for (report, here, wrong) in parts {
            sum.add(&report);
            schedules += here;
            violations += wrong;
        }
        let seconds = begun.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate to be read by people")]
        let rate = sum.cycles() as f64 / seconds;
        println!(
            "{schedules} schedules from seed {} in {seconds:.1} s, {rate:.0} cycles/s: {sum}; \
             {violations} violations",
            self.seed
        );
        let (what, seed, count) = (self.what.to_owned(), Some(self.seed), sum.cycles());
        close(&record::Run { what, seed, count, violations }, self.record)
    }

    /// Takes seeds until there are no more; the sum of their reports, how many they were, and how
    /// many were wrong.
    fn work(&self, progress: &Progress) -> (Report, u64, usize) {
        let (mut sum, mut schedules, mut wrong) = (Report::default(), 0, 0);
        while progress.cycles.load(Ordering::Relaxed) < self.cycles {
            let at = progress.schedules.fetch_add(1, Ordering::Relaxed);
            if at >= self.schedules {
                break;
            }
            schedules += 1;
            match (self.schedule)(self.seed + at, false) {
                Ok(report) => {
                    progress.cycles.fetch_add(report.cycles(), Ordering::Relaxed);
                    sum.add(&report);
                }
                Err(what) => {
                    wrong += 1;
                    println!("VIOLATION, seed {}: {what}", self.seed + at);
                }
            }
        }
        (sum, schedules, wrong)
    }
}
