//! The record of long runs at the end of RELIABILITY.md: it only grows. Also for the rigs that run
//! the real server.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

/// The root of the workspace, from where this crate was built.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// Where the record stands: at the end of this page.
const PAGE: &str = "RELIABILITY.md";

/// A run that is over.
#[derive(Debug)]
pub struct Run {
    /// Which fault, and whose.
    pub what: String,
    /// With which it can be repeated, where anything is random.
    pub seed: Option<u64>,
    /// Faults injected, or crashes recovered.
    pub count: u64,
    /// What the checker found.
    pub violations: usize,
}

/// Adds a row with the date and the commit.
///
/// # Errors
///
/// If these cannot be told, or the page cannot be written.
pub fn add(run: &Run) -> io::Result<()> {
    let date = printed("date", &["-u", "+%Y-%m-%d"])?;
    let commit = printed("git", &["rev-parse", "--short", "HEAD"])?;
    // The record itself changes with every run and is no change of what was tested.
    let changed = printed("git", &["status", "--porcelain", "--", ".", ":!RELIABILITY.md"])?;
    let commit = if changed.is_empty() { commit } else { commit + " and changes" };
    let Run { what, seed, count, violations } = run;
    let seed = seed.map_or_else(|| "-".to_owned(), |seed| seed.to_string());
    let mut page = std::fs::File::options().append(true).open(Path::new(ROOT).join(PAGE))?;
    writeln!(page, "| {date} | {commit} | {what} | {seed} | {count} | {violations} |")
}

fn printed(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).current_dir(ROOT).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(io::Error::other(format!("{program} {arguments:?} fails: {output:?}"))),
    }
}
