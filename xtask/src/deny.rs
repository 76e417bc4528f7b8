//! `cargo xtask deny`: what other people's code may enter the build, by `deny.toml`: licences,
//! sources, crates that are not wanted, and advisories.
//!
//! Advisories stand in a database that is fetched anew each time. Where it cannot be reached the
//! rest is judged, and it is said that nobody looked at them: that is no failure of the code.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};

use crate::ci::{Outcome, lacking};
use crate::{peers, workspace};

/// What cargo-deny says when it has no database.
const UNREACHED: &str = "failed to fetch advisory database";

/// Runs the checks.
pub fn run() -> Result<Outcome> {
    let Some(program) = peers::cargo_deny() else {
        return lacking(
            "cargo-deny is not installed (cargo xtask peers): nobody looked at licences, sources \
             and advisories of what is linked",
        );
    };
    let said = check(&program, &["licenses", "bans", "sources"])?;
    ensure!(said.status.success(), "deny.toml does not allow what is linked:\n{}", text(&said));
    println!("licences, sources and crates are as deny.toml allows");
    let said = check(&program, &["advisories"])?;
    if said.status.success() {
        println!("no advisory is open");
        return Ok(Outcome::Passed);
    }
    ensure!(text(&said).contains(UNREACHED), "an advisory is open:\n{}", text(&said));
    Ok(Outcome::Skipped(
        "NOBODY LOOKED AT ADVISORIES: their database cannot be reached; licences, sources and \
         crates passed"
            .to_owned(),
    ))
}

fn check(program: &Path, what: &[&str]) -> Result<Output> {
    Command::new(program)
        .args(["--log-level", "error", "--locked", "check", "--hide-inclusion-graph"])
        .args(what)
        .current_dir(workspace::root())
        .output()
        .with_context(|| format!("{} cannot be started", program.display()))
}

fn text(said: &Output) -> String {
    String::from_utf8_lossy(&said.stderr).trim().to_owned()
}
