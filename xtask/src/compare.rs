//! `cargo xtask compare`: speed and size beside Redis and Valkey, and what must hold of these.
//!
//! Servers stand on core 0, clients on core 1. In every round each server has its turn, on an empty
//! data set, so that a disturbance of the machine meets all of them alike. Figures go into the raw
//! file when a case is over; BENCHMARKS.md and its picture are made from that file alone, so that a
//! run can be taken up again, and parts of it repeated.

mod append;
mod bench;
mod case;
mod gate;
mod long;
mod machine;
mod page;
mod picture;
mod raw;
mod rig;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::workspace;

use self::case::{CASES, Case, How, Who};
use self::machine::Weather;
use self::raw::Raw;
use self::rig::{Rig, START_MAX};
use crate::kills::fault::Fault;
use crate::kills::server::Server;

/// The figures of one measurement.
type Sample = Vec<(&'static str, f64)>;

/// Entries of the long stream of `--smoke`.
const SMALL: u64 = 3000;

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    only: Vec<String>,
    rounds: usize,
    /// Of load, for each measurement that is not bound by a count.
    seconds: f64,
    waits: bool,
    /// Leaves out what the raw file has of this commit.
    resumes: bool,
    mode: Mode,
}

/// What becomes of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// They are kept.
    Keep,
    /// They are printed.
    Dry,
    /// They mean nothing: everything is tiny.
    Smoke,
    /// Nothing is measured, the page is made from those that are kept.
    Render,
}

/// Runs the verb with its arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = parse(arguments)?;
    let mut raw = Raw::load(&raw_path())?;
    if options.mode == Mode::Render {
        return page::write(&raw);
    }
    warn(Weather::look()?);
    // As it is packaged; to see that all of this works, any will do.
    let mut rig = Rig::new(if options.mode == Mode::Smoke { "release" } else { "dist" })?;
    let commit = machine::commit()?;
    let mut failed = Vec::new();
    let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    for case in CASES {
        let is_asked = options.only.is_empty() || options.only.iter().any(|name| name == case.name);
        let is_there = raw.fact(case.name, "machine", "commit") == Some(&commit);
        if !is_asked || (options.resumes && is_there) {
            continue;
        }
        println!("\n{}: {}", case.name, case.title);
        let able = matches!(case.how, How::Slow(_)).then(|| Fault::SlowSync.check());
        if let Some(Err(error)) = able {
            println!("left out: {error:#}");
            continue;
        }
        match measure(case, &options, &mut rig) {
            Ok(measured) => raw.replace(measured, &names),
            Err(error) => {
                println!("{} failed: {error:#}", case.name);
                failed.push(case.name);
                // Whoever caused it may be in no state to go on.
                rig.clear();
                continue;
            }
        }
        if options.mode == Mode::Keep {
            raw.save(&raw_path())?;
            page::write(&raw)?;
        }
    }
    if options.mode != Mode::Smoke {
        println!("\n{}", page::gates(&raw));
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn raw_path() -> PathBuf {
    workspace::root().join(page::RAW)
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        only: Vec::new(),
        rounds: 5,
        seconds: 2.0,
        waits: false,
        resumes: false,
        mode: Mode::Keep,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
            "--rounds" => options.rounds = value()?.parse().context("--rounds")?,
            "--seconds" => options.seconds = value()?.parse().context("--seconds")?,
            "--wait-quiet" => options.waits = true,
            "--resume" => options.resumes = true,
            "--render" => options.mode = Mode::Render,
            "--smoke" => options.mode = Mode::Smoke,
            "--dry" => options.mode = Mode::Dry,
            other => bail!("unknown option {other}"),
        }
    }
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    ensure!(options.seconds > 0.0, "--seconds must be positive");
    for name in &options.only {
        let known = || CASES.iter().map(|case| case.name).collect::<Vec<_>>().join(", ");
        ensure!(CASES.iter().any(|case| case.name == name), "no case {name:?}: {}", known());
    }
    if options.mode == Mode::Smoke {
        options.rounds = 1;
    }
    Ok(options)
}

/// All rounds of a case.
fn measure(case: &Case, options: &Options, rig: &mut Rig) -> Result<Raw> {
    let mut raw = Raw::default();
    machine::describe(&mut raw, case.name)?;
    if case.once {
        rig.clear();
    }
    let mut turns = Vec::new();
    for who in case.servers {
        if *who == Who::Interval && !relaxes(rig)? {
            println!("{} is left out: this levada has no DURABILITY INTERVAL", who.name());
            continue;
        }
        raw.add(case.name, &who.name(), 0, "version", &rig.version(who.kind())?);
        turns.push((*who, calibrate(case, *who, rig, options)?));
    }
    let rounds = if case.once { 1 } else { options.rounds };
    for round in 1..=rounds {
        if options.waits {
            machine::wait_until_quiet()?;
        }
        let Weather { load, busy, sync_us } = Weather::look()?;
        for (figure, value) in [("load", load), ("busy", busy), ("sync_us", sync_us)] {
            raw.add(case.name, "machine", round, figure, &value);
        }
        // Another one begins in each round: nobody is always behind the same one.
        turns.rotate_left(usize::from(round > 1));
        for (who, count) in &turns {
            let sample = sample(case, *who, rig, (*count, options.mode == Mode::Smoke));
            let sample = sample.with_context(|| who.name())?;
            print(round, *who, &sample);
            for (figure, value) in sample {
                raw.add(case.name, &who.name(), round, figure, &value);
            }
        }
    }
    Ok(raw)
}

/// Whether our server has DURABILITY INTERVAL.
fn relaxes(rig: &mut Rig) -> Result<bool> {
    let server = rig.server(Who::Interval.kind())?;
    rig::settle(server)?;
    Ok(append::relax(server).is_ok())
}

/// Where requests are counted, how many of them the server can take in the given time, by a run
/// that is not measured.
fn calibrate(case: &Case, who: Who, rig: &mut Rig, options: &Options) -> Result<u64> {
    let How::Append { clients, pipeline } = case.how else {
        return Ok(0);
    };
    if who == Who::Disk {
        return Ok(0);
    }
    let whole = u64::from(clients) * u64::from(pipeline);
    if options.mode == Mode::Smoke {
        return Ok(whole * 3);
    }
    let first = sample(case, who, rig, ((whole * 40).clamp(2_000, 200_000), false));
    let first = first.with_context(|| who.name())?;
    let rate = first.iter().find(|(figure, _)| *figure == "rate").map_or(0.0, |(_, rate)| *rate);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive and far below 2^63"
    )]
    let count = (rate * options.seconds) as u64;
    Ok(count.max(whole))
}

/// One measurement; a server that stays is empty before and after it.
fn sample(case: &Case, who: Who, rig: &mut Rig, (count, small): (u64, bool)) -> Result<Sample> {
    if who == Who::Disk {
        return bench::disk(rig, case, small);
    }
    if let How::Slow(runs) = case.how {
        return bench::slow(rig, who.kind(), runs, small);
    }
    let program = rig.bench().to_owned();
    if case.once {
        let mut server = rig.idle(who.kind())?;
        server.restart(START_MAX)?;
        return load(case, who, &program, &mut server, (count, small));
    }
    let server = rig.server(who.kind())?;
    rig::settle(server)?;
    let sample = load(case, who, &program, server, (count, small))?;
    rig::settle(server)?;
    Ok(sample)
}

fn load(
    case: &Case,
    who: Who,
    program: &Path,
    server: &mut Server,
    (count, small): (u64, bool),
) -> Result<Sample> {
    match case.how {
        How::Append { clients, pipeline } => append::run(server, who, (clients, pipeline), count),
        How::Bench(runs) | How::Slow(runs) => bench::run(program, server, runs, small),
        How::Long { entries } => long::run(program, server, if small { SMALL } else { entries }),
    }
}

fn print(round: usize, who: Who, sample: &Sample) {
    let figure = |(name, value): &(&str, f64)| format!("{name} {value:.2}");
    let figures: Vec<String> = sample.iter().map(figure).collect();
    println!("round {round} {:<22} {}", who.name(), figures.join("  "));
}

fn warn(weather: Weather) {
    let Weather { load, busy, sync_us } = weather;
    println!(
        "load {load}, others use {:.0} % of the processors, a sync takes {sync_us:.0} us",
        busy * 100.0
    );
    if !weather.is_quiet() {
        println!("WARNING: the machine is not quiet, so no ratio is worth keeping");
    }
}
