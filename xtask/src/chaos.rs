//! `cargo xtask chaos`: the guide's example workers (`examples/python`) against the real binary,
//! while workers and server are killed at random. Each story ends with a comparison that is exact.
//!
//! A worker that loses its connection ends, as a simple program does, and is started again, as a
//! supervisor does.

mod lease;
mod pipeline;
mod rig;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use xtask::clients;

use self::rig::{Options, Rig};

/// A story: what is set up and produced, and what must be true in the end.
trait Story {
    /// Its name on the command line.
    const NAME: &'static str;
    /// The program of its workers, in `examples/python`.
    const PROGRAM: &'static str;
    /// Creates streams, groups and policies.
    fn prepare(&mut self, rig: &mut Rig) -> Result<()>;
    /// The stream and group that must be empty in the end.
    fn group(&self) -> (&'static str, &'static str);
    /// The request that adds the job of this number.
    fn produce(&mut self, number: u64) -> Vec<String>;
    /// Compares what was asked for with what there is; answers a line for people.
    fn compare(&self, rig: &mut Rig, produced: u64) -> Result<String>;
}

/// Runs the verb with its arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut options = Options::new()?;
    let mut names = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--seconds" => options.load = Duration::from_secs(value()?.parse()?),
            "--seed" => options.seed = value()?.parse()?,
            flag if flag.starts_with('-') => bail!("unknown option {flag}"),
            name => names.push(name),
        }
    }
    let python = clients::python("redis-py-8.1.0")?;
    let mut told = 0;
    let mut wanted = |name: &str| {
        let wanted = names.is_empty() || names.contains(&name);
        told += u32::from(wanted);
        wanted
    };
    if wanted(lease::Lease::NAME) {
        rig::tell(&mut lease::Lease, &python, &options)?;
    }
    if wanted(pipeline::Pipeline::NAME) {
        rig::tell(&mut pipeline::Pipeline, &python, &options)?;
    }
    ensure!(told > 0, "no story is called {names:?}: lease, pipeline");
    Ok(())
}
