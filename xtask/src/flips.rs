//! `cargo xtask flips`: one bit flips at rest, thousands of times, in a data directory with
//! something in every kind of file. Nothing may be served wrongly, and what is damaged must be
//! named. The simulator does the work, in memory; this is its name among the verbs.

use anyhow::{Context as _, Result, bail, ensure};
use xtask::workspace;

/// Runs the verb with its arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut count: u64 = 10_000;
    let mut seed = u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
    let mut recorded = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--count" => count = value()?.parse().context("--count")?,
            "--seed" => seed = value()?.parse().context("--seed")?,
            "--record" => recorded = Some("--record"),
            other => bail!("unknown option {other}"),
        }
    }
    ensure!(count > 0, "--count must be at least 1");
    let (count, seed) = (count.to_string(), seed.to_string());
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--release", "-q", "-p", "levada-sim", "--", "flips", &count, &seed]);
    cargo.args(recorded);
    let status = cargo.status().context("cargo cannot be started")?;
    ensure!(status.success(), "seed {seed}: a flipped bit was served in silence, or not located");
    Ok(())
}
