//! `cargo xtask kills`: `kill -9` at random moments under load, and a ledger of all that was
//! acknowledged. It finds wiring errors, above all a reply that runs ahead of its commit; it says
//! nothing about a power cut, because the page cache survives a kill.
//!
//! One data directory serves all rounds, so that later rounds recover from what earlier ones left.
//! Between rounds, while nobody else is connected, old entries are trimmed and acknowledged: their
//! outcome is certain, and the ledger stays small.

mod check;
pub(crate) mod client;
mod consume;
mod journal;
mod ledger;
mod load;
mod observe;
pub(crate) mod server;
#[cfg(test)]
mod tests;
mod value;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use self::client::{Client, Reply};
use self::journal::{CONSUMERS, GROUP, STREAMS, show_id};
use self::ledger::Ledger;
use self::load::Load;
use self::observe::State;
use self::server::{Kind, Server};
use self::value::Chance;

/// Longest wait for a recovery.
const RECOVERY_MAX: Duration = Duration::from_secs(20);
/// Load before the kill, in milliseconds: at least this and up to as much again as the second.
const LOAD_MS: (u64, u64) = (150, 300);
/// Entries that a stream keeps from one round to the next.
const KEEP: usize = 2000;
/// Violations that are printed; the others are counted.
const SHOWN_MAX: usize = 20;
/// Most ids in one XACK.
const ACKS_MAX: usize = 1000;

/// What the command line asks for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    rounds: u32,
    seed: u64,
    kind: Kind,
    canary: bool,
}

/// What a run has counted.
#[derive(Debug, Default)]
struct Totals {
    rounds: u32,
    kills: u32,
    terminated: u32,
    acknowledged: u64,
    unknown: u64,
    longest_recovery: Duration,
    violations: Vec<String>,
}

/// Runs the verb with its arguments. Fails on any violation, or, with `--canary`, on none.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = parse(arguments)?;
    println!(
        "kills: {} rounds against {}, seed {}",
        options.rounds,
        options.kind.name(),
        options.seed
    );
    let start = Instant::now();
    let mut server = Server::start(options.kind, None, RECOVERY_MAX)?;
    let mut totals = Totals::default();
    let outcome = rounds(&options, &mut server, &mut totals);
    println!(
        "{} rounds, {} kills, {} SIGTERM, {} acknowledged, {} unknown, {} violations, {:.1} s, \
         longest recovery {} ms",
        totals.rounds,
        totals.kills,
        totals.terminated,
        totals.acknowledged,
        totals.unknown,
        totals.violations.len(),
        start.elapsed().as_secs_f64(),
        totals.longest_recovery.as_millis()
    );
    for violation in totals.violations.iter().take(SHOWN_MAX) {
        println!("  {violation}");
    }
    let seed = options.seed;
    outcome.with_context(|| format!("seed {seed}"))?;
    match (options.canary, totals.violations.is_empty()) {
        (false, true) => Ok(()),
        (true, false) => {
            println!("canary: the checker noticed the entry that was withheld");
            Ok(())
        }
        (true, true) => bail!("canary: an acknowledged entry was withheld and nobody noticed"),
        (false, false) => {
            let kept = server.keep().display();
            bail!("seed {seed}: acknowledged work is not as it was; the data is in {kept}")
        }
    }
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        rounds: 100,
        seed: u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?,
        kind: Kind::Levada,
        canary: false,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse().context("--rounds")?,
            "--seed" => options.seed = value()?.parse().context("--seed")?,
            "--server" => options.kind = Kind::parse(value()?)?,
            "--canary" => options.canary = true,
            other => bail!("unknown option {other}"),
        }
    }
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    Ok(options)
}

/// Runs rounds until one has violations.
fn rounds(options: &Options, server: &mut Server, totals: &mut Totals) -> Result<()> {
    let mut chance = Chance::new(options.seed);
    let mut ledger = Ledger::new();
    let withhold_in = options.canary.then(|| chance.index(options.rounds as usize));
    create_groups(&mut server.client()?)?;
    for round in 0..options.rounds {
        let load = Load::start(server.address(), round, &mut chance);
        let length = Duration::from_millis(LOAD_MS.0 + chance.below(LOAD_MS.1));
        std::thread::sleep(length);
        let ended = end(server, &mut chance, totals);
        // Joined in any case: the connections end with the server, however it ended.
        let journal = load.join();
        ended?;
        totals.rounds += 1;
        totals.acknowledged += journal.acknowledged;
        totals.unknown += journal.unknown;

        let recovery = server.restart(RECOVERY_MAX)?;
        totals.longest_recovery = totals.longest_recovery.max(recovery);
        let mut client = server.client()?;
        let mut states = Vec::new();
        for stream in 0..STREAMS.len() {
            states.push(State::read(&mut client, stream)?);
        }
        totals.violations = ledger.absorb(journal);
        if withhold_in == Some(round as usize) {
            withhold(&ledger, &mut states, &mut chance)?;
        }
        totals.violations.extend(check::check(&ledger, &states));
        if !totals.violations.is_empty() {
            return Ok(());
        }
        ledger.settle(&states);
        retire(&mut client, &mut ledger, &states)?;
    }
    Ok(())
}

fn create_groups(client: &mut Client) -> Result<()> {
    for stream in STREAMS {
        client.ask(&["XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM"])?;
        for consumer in CONSUMERS {
            client.ask(&["XGROUP", "CREATECONSUMER", stream, GROUP, consumer])?;
        }
    }
    Ok(())
}

/// Ends the server: mostly by a kill, at times followed by another within the recovery, now and
/// then by SIGTERM.
fn end(server: &mut Server, chance: &mut Chance, totals: &mut Totals) -> Result<()> {
    if chance.one_in(10) {
        totals.terminated += 1;
        return server.terminate();
    }
    totals.kills += 1;
    server.kill()?;
    if chance.one_in(5) {
        totals.kills += 1;
        server.launch()?;
        std::thread::sleep(Duration::from_millis(chance.below(25)));
        server.kill()?;
    }
    Ok(())
}

/// Takes one acknowledged entry out of what was read back, to see whether the checker misses it.
fn withhold(ledger: &Ledger, states: &mut [State], chance: &mut Chance) -> Result<()> {
    let entries = &mut states[0].entries;
    let acknowledged: Vec<usize> = (0..entries.len())
        .filter(|index| !ledger.streams[0].unknown.contains(&entries[*index].1))
        .collect();
    ensure!(!acknowledged.is_empty(), "nothing to withhold");
    entries.remove(acknowledged[chance.index(acknowledged.len())]);
    Ok(())
}

/// Trims each stream to its newest entries and acknowledges what was pending before them.
fn retire(client: &mut Client, ledger: &mut Ledger, states: &[State]) -> Result<()> {
    for (stream, state) in ledger.streams.iter_mut().zip(states) {
        let Some(surplus) = state.entries.len().checked_sub(KEEP) else {
            continue;
        };
        let floor = state.entries[surplus].0;
        for ids in stream.pending_below(floor).chunks(ACKS_MAX) {
            let mut command = vec!["XACK".to_owned(), stream.name.to_owned(), GROUP.to_owned()];
            command.extend(ids.iter().map(|id| show_id(*id)));
            let removed = client.ask(&command)?;
            ensure_removed("XACK", &removed, ids.len())?;
        }
        let trimmed = client.ask(&["XTRIM", stream.name, "MAXLEN", &KEEP.to_string()])?;
        ensure_removed("XTRIM", &trimmed, surplus)?;
        stream.retire(floor);
    }
    Ok(())
}

fn ensure_removed(command: &str, reply: &Reply, expected: usize) -> Result<()> {
    let expected = i64::try_from(expected)?;
    ensure!(
        *reply == Reply::Integer(expected),
        "{command} answers {reply:?}, but {expected} were there"
    );
    Ok(())
}
