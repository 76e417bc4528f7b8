//! `cargo xtask compare`: throughput and server CPU beside Redis, by Redis' own benchmark as the
//! neutral client, and a consumer loop of ours, for which that benchmark has no command.
//!
//! Servers stand on core 0, clients on core 1. In every round each case visits all servers in
//! turn, on an empty data set, so that a disturbance of the machine meets all of them alike.

mod consume;
mod report;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use xtask::workspace;

use self::report::{Case, Report};
use crate::kills::server::{Kind, Server};

/// Longest wait for a start.
const START_MAX: Duration = Duration::from_secs(20);
/// The core of the servers, and the core of the clients.
const CORES: (u32, &str) = (0, "1");
/// What is measured, and how many requests the first, unmeasured run takes.
const CASES: [(Case, u64); 6] = [
    (Case::append(50, 1), 10_000),
    (Case::append(50, 16), 100_000),
    (Case::append(50, 128), 200_000),
    (Case::append(1, 1), 2_000),
    (Case::append(500, 1), 10_000),
    (Case::Consume, 20_000),
];
/// Most messages of one consumer run: they are appended before it, unmeasured.
const MESSAGES_MAX: u64 = 1_000_000;
/// Length of an appended value, in bytes.
const VALUE: usize = 100;

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Requests, or messages, in a second.
    rate: f64,
    /// Server CPU for each, in microseconds.
    cpu: f64,
}

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    rounds: usize,
    seconds: u32,
    servers: Vec<Kind>,
    load_max: f64,
    dry: bool,
}

/// Runs the verb with its arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = parse(arguments)?;
    let load = report::load()?;
    println!("load average of the last minute: {load}");
    ensure!(
        load <= options.load_max || options.dry,
        "the machine is not quiet: the load is above {}, so no figure is worth keeping \
         (--dry prints them all the same, --load-max moves the bound)",
        options.load_max
    );
    pin_client()?;
    let start = |kind: &Kind| Server::start(*kind, Some(CORES.0), START_MAX);
    let servers = options.servers.iter().map(start).collect::<Result<Vec<_>>>()?;
    let counts = calibrate(&servers, options.seconds)?;
    let mut report = Report::new(&options.servers, options.rounds, options.seconds, load);
    for round in 0..options.rounds {
        for (case, (what, _)) in CASES.iter().enumerate() {
            for (index, server) in servers.iter().enumerate() {
                let sample = measure(server, *what, counts[case][index])?;
                let name = options.servers[index].name();
                println!(
                    "round {} {what:<24} {name:<15} {:9.0}/s {:6.2} us",
                    round + 1,
                    sample.rate,
                    sample.cpu
                );
                report.record(*what, index, sample);
            }
        }
    }
    drop(servers);
    let text = report.markdown()?;
    println!("\n{text}");
    if !options.dry {
        std::fs::write(workspace::root().join("BENCHMARKS.md"), text)?;
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        rounds: 5,
        seconds: 3,
        servers: vec![Kind::Levada, Kind::REDIS_ALWAYS, Kind::REDIS_EVERYSEC],
        load_max: 2.0,
        dry: false,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse().context("--rounds")?,
            "--seconds" => options.seconds = value()?.parse().context("--seconds")?,
            "--servers" => {
                let names = value()?.split(',');
                options.servers = names.map(Kind::parse).collect::<Result<_>>()?;
            }
            "--load-max" => options.load_max = value()?.parse().context("--load-max")?,
            "--dry" => options.dry = true,
            other => bail!("unknown option {other}"),
        }
    }
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    ensure!(options.seconds > 0, "--seconds must be at least 1");
    Ok(options)
}

/// Puts this process, and with it every client that it starts, on its core.
fn pin_client() -> Result<()> {
    let process = std::process::id().to_string();
    let pinned = Command::new("taskset")
        .args(["-cp", CORES.1, &process])
        .output()
        .context("taskset cannot be started")?;
    ensure!(pinned.status.success(), "taskset: {pinned:?}");
    Ok(())
}

/// Runs every case once, unmeasured. Answers how many requests of each case each server can take
/// in the given time.
fn calibrate(servers: &[Server], seconds: u32) -> Result<Vec<Vec<u64>>> {
    let mut counts = Vec::new();
    for (case, first) in CASES {
        let mut row = Vec::new();
        for server in servers {
            let rate = measure(server, case, first)?.rate;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate is positive and far below 2^63"
            )]
            let count = (rate * f64::from(seconds)) as u64;
            row.push(match case {
                Case::Append { .. } => count.max(first),
                Case::Consume => count.clamp(first, MESSAGES_MAX),
            });
        }
        counts.push(row);
    }
    Ok(counts)
}

/// One measurement, on an empty data set.
fn measure(server: &Server, case: Case, count: u64) -> Result<Sample> {
    server.client()?.ask(&["FLUSHALL"])?;
    match case {
        Case::Append { clients, pipeline } => append(server, clients, pipeline, count),
        Case::Consume => consume::run(server, count),
    }
}

fn append(server: &Server, clients: u32, pipeline: u32, count: u64) -> Result<Sample> {
    let before = server.cpu()?;
    let whole = u64::from(clients) * u64::from(pipeline);
    let numbers = [
        server.address().port().to_string(),
        clients.to_string(),
        pipeline.to_string(),
        count.to_string(),
    ];
    let [port, clients, pipeline, requests] = &numbers;
    let output = Command::new("redis-benchmark")
        .args(["-p", port, "-c", clients, "-P", pipeline, "-n", requests])
        .args(["-q", "--csv", "XADD", "s", "*", "f", &"x".repeat(VALUE)])
        .output()
        .context("redis-benchmark cannot be started")?;
    let cpu = server.cpu()?.saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    // The last line: "the command","requests per second",...
    let rate = text.lines().last().and_then(|line| line.split("\",\"").nth(1));
    let rate = rate.and_then(|rate| rate.parse().ok());
    // The benchmark counts error replies as replies: ask the server whether all is there. It sends
    // whole pipelines, so it may end with more than it was asked for.
    let length = server.client()?.ask(&["XLEN", "s"])?.integer();
    let length = u64::try_from(length.context("XLEN is no number")?)?;
    ensure!(
        (count..=count + whole).contains(&length),
        "{count} were appended, but XLEN is {length}; {output:?}"
    );
    Ok(Sample {
        rate: rate.with_context(|| format!("redis-benchmark said {output:?}"))?,
        cpu: each(cpu, length),
    })
}

/// Microseconds for each of `count`.
#[expect(clippy::cast_precision_loss, reason = "a figure to read")]
fn each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}
