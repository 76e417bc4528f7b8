//! `levada-sim`: crash-recover schedules by the thousand.
//!
//! ```text
//! levada-sim run [--schedules N | --cycles N] [--seed S] [--jobs T] [--record]
//! levada-sim replay SEED
//! levada-sim exhaust OPS CUTS
//! levada-sim flips COUNT SEED
//! ```

use levada_engine::store::local::LocalStore;
use levada_sim::crash::{self, Report};
use levada_sim::disk::SharedDisk;
use std::io::{self, Write as _};
use std::process::{Command, ExitCode};
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
        "levada-sim run [--schedules N | --cycles N] [--seed S] [--jobs T] [--record]\n\
         levada-sim replay SEED\nlevada-sim exhaust OPS CUTS\nlevada-sim flips COUNT SEED"
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
    fn of(options: &[&str]) -> Option<Self> {
        let mut run = Self { schedules: 10_000, cycles: u64::MAX, seed: 1, jobs: 2, record: false };
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
        if self.record
            && let Err(error) = record(self.seed, &sum, violations)
        {
            eprintln!("the record was not written: {error}");
            return ExitCode::FAILURE;
        }
        if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Takes seeds until there are no more; the sum of their reports, how many they were, and how
    /// many were wrong.
    fn work(&self, progress: &Progress) -> (Report, u64, u64) {
        let (mut sum, mut schedules, mut wrong) = (Report::default(), 0, 0);
        while progress.cycles.load(Ordering::Relaxed) < self.cycles {
            let at = progress.schedules.fetch_add(1, Ordering::Relaxed);
            if at >= self.schedules {
                break;
            }
            schedules += 1;
            match crash::run::<Product>(self.seed + at, false) {
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

/// Adds a row to the record at the end of RELIABILITY.md.
fn record(seed: u64, sum: &Report, violations: u64) -> io::Result<()> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let printed = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(root).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(io::Error::other(format!("{program} {arguments:?} fails"))),
        }
    };
    let date = printed("date", &["-u", "+%Y-%m-%d"])?;
    let commit = printed("git", &["rev-parse", "--short", "HEAD"])?;
    // The record itself changes with every run and is no change of what was tested.
    let changed = printed("git", &["status", "--porcelain", "--", ".", ":!RELIABILITY.md"])?;
    let commit = if changed.is_empty() { commit } else { commit + " and changes" };
    let page = std::path::Path::new(root).join("RELIABILITY.md");
    let mut page = std::fs::File::options().append(true).open(page)?;
    let cycles = sum.cycles();
    writeln!(page, "| {date} | {commit} | simulated crash | {seed} | {cycles} | {violations} |")
}
