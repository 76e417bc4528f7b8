//! `cargo xtask conformance`: the Tcl suite of Redis 8.6.3, from the source tree that `peers` has
//! fetched, against a Levada that is built for it.
//!
//! The gate is what the real Redis 8.6.3 passes with the same tests left out, counted by `--peer`:
//! Levada must pass as many, and fail none. What is left out stands in `tests/conformance/skip.txt`
//! with the reason of each; a name there that the suite does not have is an error. The counts go to
//! `tests/conformance/results.txt`, from which COMPAT.md is made. Nothing of the suite enters the
//! repository: it runs in a copy in a temporary directory.

mod outcome;
mod skips;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use self::outcome::Outcome as Suites;
use self::skips::Skips;
use crate::ci::{Outcome, lacking};
use crate::peer::Peer;
use crate::peers::{self, Version};
use crate::workspace;

/// A part of the suite, and how many of its tests Redis 8.6.3 passes.
struct Part {
    name: &'static str,
    /// With the tests that need DEBUG, and the slow ones.
    whole: usize,
    /// Without both.
    plain: usize,
}

const PARTS: [Part; 3] = [
    Part { name: "unit/type/stream", whole: 195, plain: 185 },
    Part { name: "unit/type/stream-cgroups", whole: 125, plain: 122 },
    Part { name: "unit/pubsub", whole: 42, plain: 42 },
];

/// Seconds without any progress after which the suite gives up.
const TIMEOUT: &str = "180";

/// What the command line asks for.
#[derive(Debug, Default)]
pub struct Options {
    /// Leaves out what needs DEBUG, and runs against a build without it.
    pub plain: bool,
    /// Runs against the real Redis, which is how the gate is counted.
    pub peer: bool,
    /// Only these tests, by their names; the gate is left alone then.
    pub only: Vec<String>,
}

impl Options {
    /// Reads the arguments of the verb.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--plain" => options.plain = true,
                "--peer" => options.peer = true,
                "--only" => {
                    options.only.push(rest.next().context("--only needs a name")?.clone());
                }
                other => bail!("unknown option {other}"),
            }
        }
        Ok(options)
    }
}

/// Runs the suite and compares its counts with the gate. Skipped where the suite or its Tcl is not
/// installed; that is a failure under `CI=true`.
pub fn run(options: &Options) -> Result<Outcome> {
    let Some(tree) = peers::suite() else {
        return lacking("the Tcl suite is not installed: cargo xtask peers");
    };
    if !peers::has(peers::TCLSH) {
        return lacking("tclsh8.6 is not installed: cargo xtask peers");
    }
    let directory = workspace::root().join("tests/conformance");
    let skips = Skips::parse(&std::fs::read_to_string(directory.join("skip.txt"))?)?;
    let server = match options.peer {
        true => redis()?,
        false => levada(!options.plain)?,
    };
    let suites = play(&tree, &server, &skips, options)?;
    println!("{}", suites.text());
    if !suites.failures().is_empty() {
        println!("the server said, at the end:\n{}", peers::tail(&server.said()));
        bail!("{} tests failed: {}", suites.failures().len(), suites.failures().join("; "));
    }
    if !options.only.is_empty() {
        return Ok(Outcome::Passed);
    }
    check(&suites, &skips, options)?;
    if !options.peer && !options.plain {
        std::fs::write(directory.join("results.txt"), results(&suites))?;
    }
    Ok(Outcome::Passed)
}

/// Whether every part has what the gate asks for, and the skips are all of the suite.
fn check(suites: &Suites, skips: &Skips, options: &Options) -> Result<()> {
    for part in &PARTS {
        let gate = if options.plain { part.plain } else { part.whole };
        let passed = suites.passed(part.name);
        ensure!(
            passed >= gate,
            "{}: {passed} tests passed, but Redis 8.6.3 passes {gate}",
            part.name
        );
    }
    let strangers: Vec<_> = skips.names().filter(|name| !suites.has_skipped(name)).collect();
    ensure!(strangers.is_empty(), "skip.txt names what the suite does not have: {strangers:?}");
    Ok(())
}

/// The counts, for COMPAT.md.
fn results(suites: &Suites) -> String {
    let mut text = "\
# Written by cargo xtask conformance: the part, tests that Levada passes, that the real Redis 8.6.3
# passes, and that are left out (skip.txt says why).
"
    .to_owned();
    for part in &PARTS {
        let (passed, skipped) = (suites.passed(part.name), suites.skipped(part.name));
        text += &[part.name, &passed.to_string(), &part.whole.to_string(), &skipped.to_string()]
            .join(" ");
        text.push('\n');
    }
    text
}

/// A levada for the suite, with DEBUG or without.
fn levada(has_debug: bool) -> Result<Peer> {
    if !has_debug {
        return Peer::levada();
    }
    // Put aside, so that no other verb finds a binary that has DEBUG.
    let aside = workspace::target_dir().join("with-debug");
    std::fs::create_dir_all(&aside)?;
    let built = workspace::build_with(&["levada"], &["levada-cli/debug-shim"])?;
    std::fs::copy(built.join("levada"), aside.join("levada"))?;
    workspace::build(&["levada"])?;
    Peer::program(&aside.join("levada"))
}

fn redis() -> Result<Peer> {
    let program = peers::find(Version::Redis86).context("redis 8.6 is not installed")?;
    let allow = ["--enable-debug-command", "yes", "--enable-protected-configs", "yes"];
    Peer::redis_at(&program, &[&["--appendonly", "no"], &allow[..]].concat())
}

/// Runs the suite against a server, in a copy of its own.
fn play(tree: &Path, server: &Peer, skips: &Skips, options: &Options) -> Result<Suites> {
    let copy = Scratch::new()?;
    for what in ["runtest", "tests"] {
        let copied =
            Command::new("cp").arg("-r").arg(tree.join(what)).arg(&copy.directory).status()?;
        ensure!(copied.success(), "{what} of the suite cannot be copied");
    }
    let skip_file = copy.directory.join("skip");
    std::fs::write(&skip_file, skips.names().collect::<Vec<_>>().join("\n"))?;
    let mut command = Command::new("./runtest");
    command.current_dir(&copy.directory).args(["--host", "127.0.0.1", "--port"]);
    command.arg(server.address.port().to_string());
    command.args(["--durable", "--timeout", TIMEOUT, "--skipfile"]).arg(&skip_file);
    if options.plain {
        command.args(["--tags", "-slow -needs:debug"]);
    }
    for part in &PARTS {
        command.args(["--single", part.name]);
    }
    for name in &options.only {
        command.args(["--only", name]);
    }
    let output = command.stdin(Stdio::null()).output().context("runtest cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = workspace::target_dir().join("conformance.log");
    std::fs::write(&log, &text).with_context(|| log.display().to_string())?;
    let suites = Suites::parse(&text);
    // With failed tests it fails too; otherwise something else went wrong.
    ensure!(
        output.status.success() || !suites.failures().is_empty(),
        "the suite did not end as it should, see {}:\n{}",
        log.display(),
        peers::tail(&text)
    );
    Ok(suites)
}

/// A temporary directory that goes when it is dropped.
struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    fn new() -> Result<Self> {
        let started = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        let name = format!("levada-conformance-{}-{started}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory)?;
        Ok(Self { directory })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // An error has nowhere to go, and the system clears what is left.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
