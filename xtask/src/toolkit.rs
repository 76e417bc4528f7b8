//! `cargo xtask toolkit`: the promises of the toolkit, kept on every server there is.
//!
//! The ordinary test run keeps them on memory and on the embedded engine; here the same tests run
//! against our own binary and real servers, which are started for them on free ports. Behind them
//! come tests that need more than a server: a real PostgreSQL, and programs that they kill.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::ci::{Outcome, in_ci};
use crate::peer::Peer;
use crate::peers::{self, Version};
use crate::postgres::Postgres;
use crate::workspace;

/// Real servers, beside our own.
const REAL: [Version; 3] = [Version::Redis70, Version::Redis86, Version::Valkey91];

/// What the command line asks for.
#[derive(Debug, Default)]
struct Options<'a> {
    server: Option<&'a str>,
    /// Names of tests, or parts of them.
    filters: Vec<&'a str>,
}

/// Runs the verb: `[--server NAME] [FILTER ...]`.
pub fn run(arguments: &[String]) -> Result<Outcome> {
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--server" => {
                options.server = Some(rest.next().context("--server needs a name")?.as_str())
            }
            flag if flag.starts_with('-') => bail!("unknown option {flag}"),
            filter => options.filters.push(filter),
        }
    }
    let (peers, mut missing) = start(&options)?;
    let urls: Vec<String> =
        peers.iter().map(|(name, peer)| format!("{name}=redis://{}", peer.address)).collect();
    let urls = urls.join(" ");
    println!("{urls}");
    let kept = promises(&urls, &options)
        .and_then(|()| postgres(&urls, &options, &mut missing))
        .and_then(|()| days(&options, &mut missing));
    if let Err(error) = kept {
        for (name, peer) in &peers {
            println!("{name} said:\n{}", peer.said());
        }
        return Err(error);
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        ensure!(!in_ci(), "{missing} not installed: cargo xtask peers");
        println!("NOT INSTALLED, so not shown: {missing}");
    }
    Ok(Outcome::Passed)
}

/// The servers, by name, and those that are not installed.
fn start(options: &Options<'_>) -> Result<(Vec<(String, Peer)>, Vec<String>)> {
    let only = options.server;
    let (mut peers, mut missing) = (Vec::new(), Vec::new());
    if only.is_none_or(|name| name == "levada") {
        peers.push(("levada".to_owned(), Peer::levada()?));
    }
    for version in REAL.into_iter().filter(|it| only.is_none_or(|name| name == it.name())) {
        match Peer::real(version)? {
            Some(peer) => peers.push((version.name().to_owned(), peer)),
            None => missing.push(version.to_string()),
        }
    }
    ensure!(
        !peers.is_empty(),
        "no server to keep promises on: missing {missing:?}, asked {only:?}"
    );
    Ok((peers, missing))
}

/// The conformance suite.
fn promises(urls: &str, options: &Options<'_>) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "-p", "levada", "--test", "it", "--"]).args(&options.filters);
    // One promise at a time: one of them cuts all connections of a server.
    let status = cargo.arg("--test-threads=1").env("LEVADA_TEST_URLS", urls).status()?;
    ensure!(status.success(), "a promise of the toolkit is not kept");
    Ok(())
}

/// Effects and events in the transactions of a database.
fn postgres(urls: &str, options: &Options<'_>, missing: &mut Vec<String>) -> Result<()> {
    let Some(postgres) = Postgres::start()? else {
        missing.push("postgresql-15".to_owned());
        return Ok(());
    };
    let mut cargo = workspace::cargo();
    cargo.args(["test", "-p", "levada", "--features", "postgres", "--test", "postgres", "--"]);
    // One at a time: they share streams.
    let status = cargo
        .args(&options.filters)
        .arg("--test-threads=1")
        .env("LEVADA_TEST_URLS", urls)
        .env("LEVADA_TEST_POSTGRES", postgres.address())
        .status()?;
    ensure!(status.success(), "a promise of the toolkit with a database is not kept");
    Ok(())
}

/// Bad days: servers and workers that are killed by the tests themselves.
fn days(options: &Options<'_>, missing: &mut Vec<String>) -> Result<()> {
    let wanted = |name: &str| options.server.is_none_or(|only| only == name);
    let mut programs = Vec::new();
    let mut add = |name: &str, program: PathBuf| {
        if wanted(name) {
            programs.push(format!("{name}={}", program.display()));
        }
    };
    // The servers above have built it.
    add("levada", workspace::target_dir().join("debug/levada"));
    match peers::find(Version::Valkey91) {
        Some(program) => add("valkey", program),
        None => missing.push(Version::Valkey91.to_string()),
    }
    if programs.is_empty() {
        return Ok(());
    }
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet", "-p", "levada", "--example", "patient"]);
    ensure!(cargo.status()?.success(), "the example programs do not build");
    let mut cargo = workspace::cargo();
    cargo.args(["test", "-p", "levada", "--test", "days", "--", "--ignored"]);
    let status = cargo
        .args(&options.filters)
        .env("LEVADA_TEST_PROGRAMS", programs.join(" "))
        .env("LEVADA_TEST_EXAMPLES", workspace::target_dir().join("debug/examples"))
        .status()?;
    ensure!(status.success(), "a bad day was too much for the toolkit");
    Ok(())
}
