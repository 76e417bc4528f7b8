//! `cargo xtask toolkit-chaos`: workers and producers of the toolkit (`examples/chaos.rs` of the
//! crate) against a real server, while workers and the server are killed at random. The end is
//! compared exactly: every job has its effect once, in a real Postgres, and the dead letters are
//! the poison ones.

mod rig;
mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use stage::Postgres;
use xtask::ci::{self, Outcome};
use xtask::peers::{self, Version};
use xtask::workspace;

use self::rig::Rig;
use self::server::{Kind, Server};

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    /// How long jobs are produced and processes killed.
    load: Duration,
    seed: u64,
    only: Option<Kind>,
}

/// Runs the verb: `[--minutes M | --seconds S] [--seed S] [--server levada|valkey]`.
pub(crate) fn run(arguments: &[String]) -> Result<Outcome> {
    let options = parse(arguments)?;
    let Some(postgres) = Postgres::start()? else {
        return ci::lacking("postgresql-15 is not installed: cargo xtask peers");
    };
    workspace::build_examples(&["chaos"])?;
    let mut missing = None;
    for kind in [Kind::Levada, Kind::Valkey] {
        if options.only.is_some_and(|only| only != kind) {
            continue;
        }
        if kind == Kind::Valkey && peers::find(Version::Valkey91).is_none() {
            missing = Some("valkey 9.1 is not installed: cargo xtask peers");
            continue;
        }
        story(kind, &postgres, &options).with_context(|| format!("{kind:?}, {options:?}"))?;
    }
    missing.map_or(Ok(Outcome::Passed), ci::lacking)
}

fn parse(arguments: &[String]) -> Result<Options> {
    let seed = u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
    let mut options = Options { load: Duration::from_mins(10), seed, only: None };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let value = rest.next().with_context(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--minutes" => options.load = Duration::from_mins(value.parse()?),
            "--seconds" => options.load = Duration::from_secs(value.parse()?),
            "--seed" => options.seed = value.parse()?,
            "--server" => options.only = Some(Kind::parse(value)?),
            other => bail!("unknown option {other}"),
        }
    }
    Ok(options)
}

fn story(kind: Kind, postgres: &Postgres, options: &Options) -> Result<()> {
    println!("{kind:?}: {:?} of load, seed {}", options.load, options.seed);
    let tables = "DROP TABLE IF EXISTS levada_done, levada_outbox, effect; \
                  CREATE TABLE effect (name text NOT NULL)";
    postgres.query(tables)?;
    let server = Server::start(kind)?;
    let mut rig = Rig::new(server, postgres.address())?;
    let sent = rig.live(options.load, options.seed)?;
    rig.drain(postgres, sent.iter().sum())?;
    let line = compare(&rig, postgres, &sent)?;
    let (workers, servers) = rig.killed;
    println!("{kind:?}: {line}; {workers} workers and {servers} servers killed");
    Ok(())
}

/// Whether a job of this number has no effect, as `examples/chaos.rs` has it.
fn is_poison(n: u64) -> bool {
    matches!(n % 20, 7 | 13)
}

/// Compares what was sent with effects and dead letters; answers a line for people.
fn compare(rig: &Rig, postgres: &Postgres, sent: &[u64]) -> Result<String> {
    let mut effects = count(postgres.query("SELECT name FROM effect")?);
    let mut dead = count(rig.dead_letters()?);
    let mut wrong = Vec::new();
    let (mut jobs, mut poison, mut twice) = (0, 0, 0);
    for (producer, count) in sent.iter().enumerate() {
        for n in 0..*count {
            let name = format!("p{producer}-{n}");
            let found = (effects.remove(&name).unwrap_or(0), dead.remove(&name).unwrap_or(0));
            match (is_poison(n), found) {
                (false, (1, 0)) => jobs += 1,
                (true, (0, letters)) if letters > 0 => {
                    poison += 1;
                    twice += letters - 1;
                }
                _ => wrong.push(format!("{name}: {} effects, {} dead letters", found.0, found.1)),
            }
        }
    }
    wrong.extend(effects.into_keys().map(|name| format!("{name}: an effect that nobody sent")));
    wrong.extend(dead.into_keys().map(|name| format!("{name}: a dead letter that nobody sent")));
    ensure!(wrong.is_empty(), "{} are not as they should be:\n{}", wrong.len(), {
        wrong[..wrong.len().min(20)].join("\n")
    });
    let repeated = match twice {
        0 => String::new(),
        some => format!(" ({some} of them once more, told again behind a kill of the server)"),
    };
    Ok(format!("{jobs} jobs with one effect each, {poison} poison ones dead{repeated}"))
}

fn count(names: Vec<String>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}
