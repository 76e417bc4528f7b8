//! The record of long runs at the end of RELIABILITY.md: it only grows.

use std::io::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::workspace;

/// Where the record stands: at the end of this page.
const PAGE: &str = "RELIABILITY.md";

/// A run that is over.
#[derive(Debug)]
pub struct Run {
    /// Which fault, and whose.
    pub what: String,
    /// With which it can be repeated.
    pub seed: u64,
    /// Faults injected.
    pub count: u64,
    /// What the checker found.
    pub violations: usize,
}

/// Adds a row with the date and the commit.
pub fn add(run: &Run) -> Result<()> {
    let date = printed("date", &["-u", "+%Y-%m-%d"])?;
    let commit = printed("git", &["rev-parse", "--short", "HEAD"])?;
    // The record itself changes with every run and is no change of what was tested.
    let changed = printed("git", &["status", "--porcelain", "--", ".", ":!RELIABILITY.md"])?;
    let commit = if changed.is_empty() { commit } else { commit + " and changes" };
    let Run { what, seed, count, violations } = run;
    let path = workspace::root().join(PAGE);
    let mut page = std::fs::File::options().append(true).open(path).context(PAGE)?;
    writeln!(page, "| {date} | {commit} | {what} | {seed} | {count} | {violations} |")?;
    Ok(())
}

fn printed(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(workspace::root()).output();
    let output = output.with_context(|| format!("{program} cannot be started"))?;
    ensure!(output.status.success(), "{program} fails: {output:?}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
