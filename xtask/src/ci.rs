//! The verbs that run other programs, and `ci`, which runs them all in order.
//!
//! A stage that cannot run because something is not installed is skipped loudly on a developer's
//! machine and fails under `CI=true`: there, a skip would hide a failure.

use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::clients::{self, Server};
use crate::conformance;
use crate::peer::Peer;
use crate::peers::{self, Version};
use crate::transcript::{self, Options, Target};
use crate::{tidy, workspace};

/// A server that transcripts can start for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerKind {
    /// A real one.
    Real(Version),
    /// Our own binary.
    Levada,
}

/// How a stage ended that did not fail.
#[derive(Debug)]
pub enum Outcome {
    /// It ran, and all was well.
    Passed,
    /// It could not run, for this reason.
    Skipped(String),
}

/// A stage of `ci`: its name in the table and what it does.
type Stage = (&'static str, fn(&mut Report) -> Result<Outcome>);

/// In order; each stage is one line.
const STAGES: &[Stage] = &[
    ("peers", |_| install_peers()),
    ("check", |_| check().map(|()| Outcome::Passed)),
    ("dependencies", |_| crate::deny::run()),
    ("test", |report| {
        report.tests = test()?;
        Ok(Outcome::Passed)
    }),
    ("transcripts 7.0", |_| transcripts(PeerKind::Real(Version::Redis70), &[], Options::default())),
    ("transcripts 8.6", |_| transcripts(PeerKind::Real(Version::Redis86), &[], Options::default())),
    ("transcripts levada", |_| transcripts(PeerKind::Levada, &[], Options::default())),
    ("clients 7.0", |_| clients::matrix(&Server::Peer(PeerKind::Real(Version::Redis70)), &[])),
    ("clients 8.6", |_| clients::matrix(&Server::Peer(PeerKind::Real(Version::Redis86)), &[])),
    ("clients levada", |_| clients::matrix(&Server::Peer(PeerKind::Levada), &[])),
    ("conformance", |_| conformance::run(&conformance::Options::default())),
    ("differential", |_| crate::differential::short()),
    ("crash schedules", |_| sim(&["run"])),
    ("crash points", |_| sim(&["exhaust", "1"])),
    ("policy schedules", |_| sim(&["policies", "--schedules", "2000"])),
    ("kill -9 loop", |_| verb(&["kills", "--rounds", "50"])),
    ("schedule", |_| verb(&["schedule", "--entries", "3000", "--seconds", "6", "--restarts", "2"])),
    ("power cuts", |_| faults("power-cut", "10")),
    ("failed syncs", |_| faults("sync-error", "5")),
    ("kills at a sync", |_| faults("sync-kill", "5")),
    ("slow syncs", |_| faults("slow-sync", "5")),
    ("failed writes", |_| faults("write-error", "5")),
    ("no space", |_| faults("no-space", "5")),
    ("chaos", |_| verb(&["chaos", "--seconds", "20"])),
    ("directory renamed", |_| faults("directory-renamed", "5")),
    ("directory removed", |_| faults("directory-removed", "5")),
    ("few open files", |_| faults("few-files", "5")),
    ("little memory", |_| faults("little-memory", "5")),
    ("full disk", |_| verb(&["full-disk"])),
    ("order by key", |_| {
        verb(&["order", "--entries", "50000", "--keys", "500", "--consumers", "8"])
    }),
    ("retention", |_| verb(&["retention", "--entries", "60000"])),
    ("bit flips", |_| sim(&["flips", "1000", "1"])),
    ("hostile clients", |_| {
        let few = ["--strangers", "200", "--insiders", "20", "--rounds", "1", "--seconds", "2"];
        verb(&[&["hostile"][..], &few].concat())
    }),
    ("dedup", |_| verb(&["dedup", "--appends", "100000"])),
    ("toolkit", |_| crate::toolkit::run(&[])),
    ("toolkit chaos", |_| verb(&["toolkit-chaos", "--seconds", "30"])),
    ("transfer", |_| verb(&["transfer", "--entries", "20000"])),
    ("benches", |_| verb(&["compare", "--smoke"])),
    ("flights", |_| {
        let demo = ["demo", "--records", "5000", "--language", "all"];
        cargo(&[&["run", "--release", "-p", "flights", "--"], &demo[..]].concat())
    }),
    ("guide", |_| crate::guide::run(&[])),
    ("packages", |_| crate::package::stage()),
    ("dashboard", |_| dashboard()),
    ("apps", |_| crate::apps::run()),
];

/// What stages leave for the end of the run.
#[derive(Debug, Default)]
struct Report {
    /// The summary lines of the test runner.
    tests: Vec<String>,
}

/// Runs every stage, also behind a failed one, prints the minutes of each and fails if any did.
pub fn run_all() -> Result<()> {
    let mut report = Report::default();
    let mut rows = Vec::new();
    let mut failed = 0;
    for (name, stage) in STAGES {
        println!("\n=== {name}");
        let start = Instant::now();
        let outcome = match stage(&mut report) {
            Ok(Outcome::Passed) => "passed".to_owned(),
            Ok(Outcome::Skipped(why)) => format!("SKIPPED: {why}"),
            Err(error) => {
                failed += 1;
                println!("{name} failed: {error:#}");
                // Said again under the table: who sees the end of a long run sees why it failed.
                format!("FAILED: {error:#}")
            }
        };
        rows.push(format!("{name:<20} {:>6.1}  {outcome}", start.elapsed().as_secs_f64() / 60.0));
    }
    println!("\n{:<20} {:>6}  outcome\n{}", "stage", "min", rows.join("\n"));
    for line in &report.tests {
        println!("{line}");
    }
    ensure!(failed == 0, "{failed} of {} stages failed", STAGES.len());
    Ok(())
}

/// A stage that is another verb, as a process of its own.
fn verb(arguments: &[&str]) -> Result<Outcome> {
    succeed(program().args(arguments)).map(|()| Outcome::Passed)
}

/// This program, where cargo puts it: the file that runs may have been built again by now.
fn program() -> Command {
    let mut program = Command::new(workspace::target_dir().join("debug/xtask"));
    program.current_dir(workspace::root());
    program
}

/// A stage that is a run of the simulator.
fn sim(arguments: &[&str]) -> Result<Outcome> {
    cargo(&[&["run", "--release", "-p", "levada-sim", "--"], arguments].concat())
}

/// A stage that is one call of cargo.
fn cargo(arguments: &[&str]) -> Result<Outcome> {
    succeed(workspace::cargo().args(arguments)).map(|()| Outcome::Passed)
}

/// What a machine cannot do, such as mounting: a stage that needs it is skipped, loudly.
#[derive(Debug)]
pub struct Unable(pub String);

impl Unable {
    /// How a verb ends that could not run: the number that test runners have for it.
    pub const EXIT_CODE: u8 = 77;
}

impl std::fmt::Display for Unable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "this machine cannot do it: {}", self.0)
    }
}

impl std::error::Error for Unable {}

/// A stage of faults under load.
fn faults(fault: &str, rounds: &str) -> Result<Outcome> {
    let mut kills = program();
    kills.args(["kills", "--fault", fault, "--rounds", rounds]).stdout(Stdio::inherit());
    let ended = kills.output()?;
    let said = String::from_utf8_lossy(&ended.stderr);
    eprint!("{said}");
    if ended.status.code() == Some(i32::from(Unable::EXIT_CODE)) {
        return Ok(Outcome::Skipped("this machine cannot do it, see above".to_owned()));
    }
    ensure!(ended.status.success(), "{fault}: {}", said.lines().last().unwrap_or_default());
    Ok(Outcome::Passed)
}

/// The dashboard in a browser. The verb stands in the program, so that a stage runs it as one does.
fn dashboard() -> Result<Outcome> {
    if !stage::Browser::is_installed() {
        return lacking("chromium-driver is not installed: cargo xtask peers");
    }
    verb(&["browse"])
}

/// Formatting, lints, tidy: what should pass before a commit.
pub fn check() -> Result<()> {
    succeed(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    succeed(workspace::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    tidy::check(&workspace::root())
}

/// Formats the source in place.
pub fn fmt() -> Result<()> {
    succeed(workspace::cargo().args(["fmt", "--all"]))
}

/// Runs all tests, documentation tests included. Answers the runner's summary lines.
pub fn test() -> Result<Vec<String>> {
    let has_nextest = workspace::cargo()
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_nextest {
        return succeed_with_summary(workspace::cargo().args(["test", "--workspace"]));
    }
    // nextest does not run documentation tests. They go first, so that its summary stands last.
    succeed(workspace::cargo().args(["test", "--workspace", "--doc", "--quiet"]))?;
    succeed_with_summary(workspace::cargo().args([
        "nextest",
        "run",
        "--workspace",
        "--no-fail-fast",
    ]))
}

/// Starts the peer and runs transcripts against it; no files means all of them.
pub fn transcripts(kind: PeerKind, files: &[PathBuf], options: Options) -> Result<Outcome> {
    let (name, running) = match kind {
        PeerKind::Levada => ("levada", Peer::levada()?),
        PeerKind::Real(version) => match Peer::real(version)? {
            Some(running) => (version.name(), running),
            None => return lacking(&format!("{version} is not installed: cargo xtask peers")),
        },
    };
    let target = Target { name: name.to_owned(), address: running.address };
    run_transcripts(&target, files, options).map(|()| Outcome::Passed)
}

/// Runs transcripts against a live server and prints the report; no files means all of them.
pub fn run_transcripts(target: &Target, files: &[PathBuf], options: Options) -> Result<()> {
    let all;
    let files = if files.is_empty() {
        all = transcript_files()?;
        &all
    } else {
        files
    };
    let summary = transcript::run(target, files, options)?;
    println!("{}", summary.report(target));
    ensure!(summary.failures.is_empty(), "transcripts differ from {}", target.name);
    Ok(())
}

/// All transcripts, in the order of their names.
pub fn transcript_files() -> Result<Vec<PathBuf>> {
    let directory = workspace::root().join("tests/transcripts");
    let entries = std::fs::read_dir(&directory).context("tests/transcripts")?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    ensure!(!files.is_empty(), "no transcripts in {}", directory.display());
    Ok(files)
}

/// Installs the real servers. What is still lacking fails here only under `CI=true`.
fn install_peers() -> Result<Outcome> {
    match peers::install() {
        Ok(()) => Ok(Outcome::Passed),
        Err(error) => lacking(&format!("{error:#}")),
    }
}

/// The outcome of what cannot run here: a skip, or a failure under `CI=true`.
pub fn lacking(what: &str) -> Result<Outcome> {
    ensure!(!in_ci(), "{what}");
    Ok(Outcome::Skipped(what.to_owned()))
}

/// Prints that a verb was skipped, and why, if it was.
pub fn say(outcome: &Outcome) {
    if let Outcome::Skipped(why) = outcome {
        println!("SKIPPED: {why}");
    }
}

/// Whether a skip would hide a failure.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?} cannot be started"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

/// Runs a test runner, passes its output on, and keeps the lines that sum it up.
fn succeed_with_summary(command: &mut Command) -> Result<Vec<String>> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?} cannot be started"))?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let stderr = child.stderr.take().context("stderr is piped")?;
    // Both pipes are drained at once: a full one would stop the runner.
    let errors = std::thread::spawn(move || pass_on(BufReader::new(stderr)));
    let mut summary = pass_on(BufReader::new(stdout))?;
    summary.extend(errors.join().map_err(|_| anyhow::anyhow!("reading the output failed"))??);
    let status = child.wait()?;
    if !status.success() {
        bail!("{command:?} failed\n{}", summary.join("\n"));
    }
    Ok(summary)
}

fn pass_on(source: impl BufRead) -> Result<Vec<String>> {
    let mut summary = Vec::new();
    for line in source.lines() {
        let line = line?;
        writeln!(std::io::stdout().lock(), "{line}")?;
        if line.contains("Summary [") || line.starts_with("test result:") {
            summary.push(line);
        }
    }
    Ok(summary)
}
