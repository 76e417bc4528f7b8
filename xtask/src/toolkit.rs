//! `cargo xtask toolkit`: the promises of the toolkit, kept on every server there is.
//!
//! The ordinary test run keeps them on memory and on the embedded engine; here the same tests run
//! against our own binary and real servers, which are started for them on free ports.

use anyhow::{Context as _, Result, bail, ensure};

use crate::ci::{Outcome, in_ci};
use crate::peer::Peer;
use crate::peers::Version;
use crate::workspace;

/// Real servers, beside our own.
const REAL: [Version; 3] = [Version::Redis70, Version::Redis86, Version::Valkey91];

/// Runs the verb: `[--server NAME] [FILTER ...]`.
pub fn run(arguments: &[String]) -> Result<Outcome> {
    let (mut only, mut filters) = (None, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--server" => only = Some(rest.next().context("--server needs a name")?.as_str()),
            flag if flag.starts_with('-') => bail!("unknown option {flag}"),
            filter => filters.push(filter),
        }
    }
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
    if !missing.is_empty() {
        let missing = missing.join(", ");
        ensure!(!in_ci(), "{missing} not installed: cargo xtask peers");
        println!("NOT INSTALLED, so not shown: {missing}");
    }
    test(&peers, &filters)?;
    Ok(Outcome::Passed)
}

fn test(peers: &[(String, Peer)], filters: &[&str]) -> Result<()> {
    let url = |(name, peer): &(String, Peer)| format!("{name}=redis://{}", peer.address);
    let urls: Vec<String> = peers.iter().map(url).collect();
    let urls = urls.join(" ");
    println!("{urls}");
    let mut cargo = workspace::cargo();
    cargo.args(["test", "-p", "levada", "--test", "it", "--"]).args(filters);
    // One promise at a time: one of them cuts all connections of a server.
    let status = cargo.arg("--test-threads=1").env("LEVADA_TEST_URLS", urls).status()?;
    if !status.success() {
        for (name, peer) in peers {
            println!("{name} said:\n{}", peer.said());
        }
        bail!("a promise of the toolkit is not kept");
    }
    Ok(())
}
