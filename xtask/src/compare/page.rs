//! BENCHMARKS.md, from the raw file.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use xtask::workspace;

use super::case::{CASES, Case, Figure, How, Run, Who};
use super::gate::{BOUNDS, GATES};
use super::picture;
use super::raw::Raw;

/// Where the raw figures are, from the root.
pub(super) const RAW: &str = "docs/bench/raw.csv";
const PAGE: &str = "BENCHMARKS.md";
const PICTURE: &str = "docs/bench/rates.svg";
/// What others have measured by their own commands, and why: it ends the page as it stands.
const BESIDE: &str = "docs/bench/beside.md";

/// Writes the page and its picture.
pub(super) fn write(raw: &Raw) -> Result<()> {
    let beside = std::fs::read_to_string(workspace::root().join(BESIDE)).context(BESIDE)?;
    std::fs::write(workspace::root().join(PICTURE), picture::svg(raw)).context(PICTURE)?;
    std::fs::write(workspace::root().join(PAGE), text(raw, &beside)).context(PAGE)
}

fn text(raw: &Raw, beside: &str) -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str(&versions(raw));
    page.push_str(GATES_INTRODUCTION);
    page.push_str(&gates(raw));
    for case in CASES {
        page.push_str(&table(case, raw));
    }
    page.push_str("\n## The machine meanwhile\n\n");
    page.push_str(&weather(raw));
    page.push_str(beside);
    page
}

/// The gates, as a table.
pub(super) fn gates(raw: &Raw) -> String {
    let head = "| gate | ours | best of theirs | null | disk | null + disk | ratio | must be | |\n\
                |---|---:|---:|---:|---:|---:|---:|---:|---|\n";
    let mut text = head.to_owned();
    let (mut passed, mut failed) = (0, 0);
    for gate in GATES {
        let verdict = gate.judge(raw);
        let word = match verdict.passes {
            Some(true) => "pass".to_owned(),
            Some(false) => match verdict.bound {
                Some(who) => format!("**FAIL**, and so does {}", who.name()),
                None => "**FAIL**".to_owned(),
            },
            None => "not measured".to_owned(),
        };
        passed += u32::from(verdict.passes == Some(true));
        failed += u32::from(verdict.passes == Some(false));
        line(&mut text, format_args!("| {} | {word} |", verdict.words.join(" | ")));
    }
    line(&mut text, format_args!("\n{passed} of {} gates pass, {failed} fail.", GATES.len()));
    text
}

/// One table of a case, with a row for each server.
fn table(case: &Case, raw: &Raw) -> String {
    let servers = raw.servers(case.name);
    let servers: Vec<&str> = servers.into_iter().filter(|name| *name != "machine").collect();
    if servers.is_empty() {
        return String::new();
    }
    let figures: Vec<&Figure> = case.figures.iter().map(|name| Figure::of(name)).collect();
    let mut text =
        format!("\n## {}\n\n`{}`: {}\n\n| server |", case.title, case.name, command(case));
    for figure in &figures {
        write!(text, " {} |", figure.title).expect("a string takes all");
    }
    line(&mut text, format_args!(" spread |\n|---|{}", "---:|".repeat(figures.len() + 1)));
    for server in servers {
        let is_bound = BOUNDS.iter().any(|who| who.name() == server);
        let is_peer = !server.starts_with("levada") && !is_bound;
        let cell = |figure: &&Figure| {
            let ours = raw.median(case.name, &Who::Levada.name(), figure.name);
            let Some(value) = raw.median(case.name, server, figure.name) else {
                return String::new();
            };
            let beats = is_peer && ours.is_some_and(|ours| figure.is_better(value, ours));
            let bold = if beats { "**" } else { "" };
            format!("{bold}{}{bold}", figure.show(value))
        };
        let cells: Vec<String> = figures.iter().map(cell).collect();
        let bold = if cells.iter().any(|cell| cell.starts_with('*')) { "**" } else { "" };
        let spread = spread(&raw.values(case.name, server, figures[0].name));
        let cells = cells.join(" | ");
        line(&mut text, format_args!("| {bold}{server}{bold} | {cells} | {spread:.0} % |"));
    }
    text
}

fn command(case: &Case) -> String {
    match case.how {
        How::Append { clients, pipeline } => format!(
            "`redis-benchmark -c {clients} -P {pipeline} -n N -q --csv XADD s '*' f <100 bytes>`, \
             N for about two seconds."
        ),
        How::Bench(runs) => benches(runs) + ".",
        How::Slow(runs) => {
            benches(runs) + " on servers of their own below `strace`, which delays every sync."
        }
        How::Long { entries } => format!(
            "`levada bench --flush fill --entries {entries}`; then `kill -9` and a start, measured \
             until length, first and last entry were answered."
        ),
    }
}

fn benches(runs: &[Run]) -> String {
    let one = |run: &Run| format!("`levada bench --flush {}`", run.words);
    runs.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// (highest - lowest) / median, in percent.
fn spread(values: &[f64]) -> f64 {
    let (lowest, highest) = values
        .iter()
        .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    let median = super::raw::median(values.to_vec()).unwrap_or(1.0);
    if values.is_empty() { 0.0 } else { (highest - lowest) * 100.0 / median }
}

/// Machine and programs, as the latest case saw them.
fn versions(raw: &Raw) -> String {
    let mut text = String::new();
    let mut seen: Vec<(String, String)> = Vec::new();
    for case in CASES {
        if let Some(machine) = raw.fact(case.name, "machine", "machine") {
            seen.push(("Machine".to_owned(), machine.to_owned()));
        }
        for server in raw.servers(case.name) {
            if let Some(version) = raw.fact(case.name, server, "version") {
                let program = server.rsplit_once(' ').map_or(server, |(program, _)| program);
                seen.push((program.to_owned(), version.to_owned()));
            }
        }
    }
    seen.sort();
    seen.dedup();
    for (program, version) in seen {
        line(&mut text, format_args!("- {program}: {version}"));
    }
    text
}

/// What else the machine did, by case.
fn weather(raw: &Raw) -> String {
    let mut text = WEATHER_INTRODUCTION.to_owned();
    for case in CASES {
        let (name, fact) = (case.name, |what| raw.fact(case.name, "machine", what).unwrap_or("-"));
        let (busy, sync) =
            (raw.values(name, "machine", "busy"), raw.values(name, "machine", "sync_us"));
        if busy.is_empty() {
            continue;
        }
        let (date, commit, rounds) = (fact("date"), fact("commit"), busy.len());
        let most = |values: &[f64]| values.iter().copied().fold(f64::MIN, f64::max);
        let least = sync.iter().copied().fold(f64::MAX, f64::min);
        let median = |figure| raw.median(name, "machine", figure).unwrap_or(f64::NAN);
        line(
            &mut text,
            format_args!(
                "| {name} | {date} | {commit} | {rounds} | {:.0} % | {:.0} % | {least:.0} \
                 | {:.0} | {:.0} |",
                median("busy") * 100.0,
                most(&busy) * 100.0,
                median("sync_us"),
                most(&sync)
            ),
        );
    }
    text
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    writeln!(text, "{words}").expect("a string takes all");
}

const GATES_INTRODUCTION: &str = "
![Rates](docs/bench/rates.svg)

## Gates

Ours divided by the best of Redis 8.6, Redis 8.2 and Valkey 9.1, by the medians. Where null fails,
too, the machine and the client are the bound, and no engine behind our loop could pass; where the
disk does, no server that makes one sync after the other; where null + disk does, no log behind our
loop that syncs in it.

";

const WEATHER_INTRODUCTION: &str = "\
Before each round, while our servers idle: the share of all processors that others use, and the time
of a page's write and fdatasync.

| case | date | commit | rounds | busy, median | most | sync us, least | median | most |
|---|---|---|---:|---:|---:|---:|---:|---:|
";

const INTRODUCTION: &str = "\
# Benchmarks

Written by `cargo xtask compare` from [the raw rounds](docs/bench/raw.csv). Medians; figures of
others that beat ours are bold. [docs/bench.md](docs/bench.md) describes the cases of `levada bench`
and how to repeat a run.

- levada as it is by default: a reply means that the entry is on disk. Peers with `--appendonly yes
  --save \"\"` and `appendfsync always` (the same promise) or `everysec` (a power cut loses up to
  about a second of acknowledged entries). All else is default, their allocator too: one that was
  built without jemalloc gets it by LD_PRELOAD.
- null is `levada serve --null`: our loop and parser without an engine, the ceiling of the machine.
- null + disk is the same, and before replies leave it writes a page and syncs it, as our log does,
  for all of them together: the ceiling of who is durable and has this loop.
- disk is no server: syncs of a page one after the other on the servers' core (`levada bench
  --disk`), and in the open loop what messages would wait for them that nobody parses or sends.
- All servers of a case run all the time, on core 0; the client is on core 1. Rounds are
  interleaved, another server begins each; before each measurement the server is emptied and idle,
  and the disk synced. Cases of memory and of long streams are measured once, on fresh servers.
- CPU: user and system time of the server from `/proc/PID/stat`, for each request or entry.
- spread: (highest - lowest) / median of the first figure. A difference smaller than it says
  nothing. A shared or virtual disk moves every figure that waits for a flush.

";
