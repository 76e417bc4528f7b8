//! `cargo xtask faults`: the same faults for Levada and for the servers that people compare it
//! with, and what each of them loses, as a table in RELIABILITY.md.
//!
//! All servers get the same load, the same moments and the same questions; none is asked for more
//! than it promises in the row's name. Acknowledgements count until just before the fault, so that
//! a server that has not noticed yet is given the benefit of the doubt.

mod flips;
mod full;
mod producers;

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use xtask::workspace;

use self::flips::Flips;
use self::full::Full;
use self::producers::{Producers, Verdict};
use crate::kills::fault::Fault;
use crate::kills::medium::Medium;
use crate::kills::server::{Kind, Server};
use crate::kills::value::Chance;

/// Longest wait for a start.
const START_MAX: Duration = Duration::from_secs(20);
/// Longest wait for a start on damaged files: who has not answered by then has refused.
const BUSY_MAX: Duration = Duration::from_secs(3);
/// Load before a fault, in milliseconds: at least this and up to as much again as the second.
const LOAD_MS: (u64, u64) = (700, 1500);
/// Between a power cut and the end of the process.
const AFTER_CUT: Duration = Duration::from_millis(300);
/// Longest wait for an injected error to be met, and for what the server makes of it.
const INJECTED_MAX: Duration = Duration::from_secs(4);
/// An injection fires at the first sync of a thread after this many.
const INJECTED_AT: u64 = 3;
/// Where the table stands.
const PAGE: &str = "RELIABILITY.md";
const BEGIN: &str = "<!-- begin: cargo xtask faults -->\n";
const END: &str = "<!-- end: cargo xtask faults -->\n";

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    rounds: u32,
    flips: u64,
    seed: u64,
    servers: Vec<Kind>,
    dry: bool,
}

/// Everything that was seen of one server.
#[derive(Debug)]
struct Row {
    name: String,
    kill: Verdict,
    cut: Verdict,
    sync_error: (Verdict, bool),
    full: Full,
    flips: Flips,
}

/// Runs the verb with its arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = parse(arguments)?;
    Fault::SyncError.check()?;
    let mut rows = Vec::new();
    for kind in &options.servers {
        let name = kind.name();
        println!("{name}");
        let mut chance = Chance::new(options.seed);
        let kill = rounds(*kind, Fault::Kill, options.rounds, &mut chance)?;
        println!("  kill -9: {kill:?}");
        let cut = rounds(*kind, Fault::PowerCut, options.rounds, &mut chance)?;
        println!("  power cut: {cut:?}");
        let sync_error = sync_error(*kind)?;
        println!("  one EIO at a sync: {:?}, ended: {}", sync_error.0, sync_error.1);
        let full = full::run(*kind)?;
        println!("  full disk: {full:?}");
        let flips = flips::run(*kind, options.flips, &mut chance)?;
        println!("  flipped bits: {flips:?}");
        rows.push(Row { name, kill, cut, sync_error, full, flips });
    }
    let table = table(&options, &rows)?;
    println!("\n{table}");
    if !options.dry {
        write(&table)?;
    }
    let ours = rows.iter().filter(|row| row.name == Kind::Levada.name());
    for row in ours {
        let lost = row.kill.lost + row.cut.lost + row.sync_error.0.lost;
        let lost = lost + row.full.lost.context("levada does not start after a full disk")?;
        ensure!(lost == 0 && row.flips.silent == 0, "levada lost or changed acknowledged work");
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        rounds: 10,
        flips: 100,
        seed: u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?,
        servers: Vec::new(),
        dry: false,
    };
    let mut names = "levada,redis-8.6-always,redis-8.6-everysec,valkey-9.1-always,\
                     valkey-9.1-everysec";
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse().context("--rounds")?,
            "--flips" => options.flips = value()?.parse().context("--flips")?,
            "--seed" => options.seed = value()?.parse().context("--seed")?,
            "--servers" => names = value()?,
            "--dry" => options.dry = true,
            other => bail!("unknown option {other}"),
        }
    }
    options.servers = names.split(',').map(Kind::parse).collect::<Result<_>>()?;
    Ok(options)
}

/// Rounds of one fault, each on an empty server.
fn rounds(kind: Kind, fault: Fault, rounds: u32, chance: &mut Chance) -> Result<Verdict> {
    let mut sum = Verdict::default();
    for _ in 0..rounds {
        let mut server = Server::new(kind, None)?;
        let mut medium = match fault {
            Fault::PowerCut => Some(Medium::new(server.directory())?),
            _ => None,
        };
        if let Some(medium) = &medium {
            server.set_data(medium.path().join("data"));
            std::fs::create_dir(medium.path().join("data"))?;
        }
        server.restart(START_MAX)?;
        let producers = Producers::start(server.address(), 0);
        std::thread::sleep(Duration::from_millis(LOAD_MS.0 + chance.below(LOAD_MS.1)));
        producers.stop_counting();
        if let Some(medium) = &medium {
            medium.cut()?;
            std::thread::sleep(AFTER_CUT);
        }
        server.end()?;
        let ledger = producers.join()?;
        if let Some(medium) = &mut medium {
            medium.restore()?;
        }
        server.restart(START_MAX)?;
        sum += ledger.check(&mut server.client()?)?;
        // The medium goes first, as it is mounted in the server's directory.
        server.end()?;
        drop(medium);
    }
    Ok(sum)
}

/// One sync fails. Whether the server ended by itself; then a kill, if it did not, and a restart.
fn sync_error(kind: Kind) -> Result<(Verdict, bool)> {
    let mut server = Server::start(kind, None, START_MAX)?;
    server.terminate()?;
    let trace = server.directory().join("trace");
    // A start syncs too: the injection is to meet the load, so it is tried later and later.
    for nth in [INJECTED_AT, 10, 30, 100] {
        server.set_wrapper(Fault::SyncError.wrapper(nth, &trace).unwrap_or_default());
        if !server.try_start(START_MAX)? {
            server.end()?;
            continue;
        }
        let producers = Producers::start(server.address(), u32::try_from(nth)? * 100);
        let ended = server.wait(INJECTED_MAX)?;
        producers.stop_counting();
        server.end()?;
        let ledger = producers.join()?;
        ensure!(Fault::SyncError.fired(&trace, ended)?, "the injected error was not met");
        server.set_wrapper(Vec::new());
        server.restart(START_MAX)?;
        return Ok((ledger.check(&mut server.client()?)?, ended));
    }
    bail!("{} does not start with a sync that fails at the 100th call", kind.name())
}

fn table(options: &Options, rows: &[Row]) -> Result<String> {
    let mut page = String::new();
    writeln!(
        page,
        "{} rounds of each fault, {} flipped bits, seed {}. 8 connections, one XADD under way on \
         each. Lost: acknowledged before the fault, gone after the restart.\n",
        options.rounds, options.flips, options.seed
    )?;
    writeln!(
        page,
        "| server | kill -9: lost of acked | power cut: lost of acked | one failed sync | full \
         disk: goes on | writes again after | flipped bits: refused / reported / same / \
         **silently wrong** |\n|---|---:|---:|---|---|---:|---|"
    )?;
    for row in rows {
        let of = |verdict: &Verdict| match verdict.wrong {
            0 => format!("{} of {}", verdict.lost, verdict.acknowledged),
            wrong => format!("{} of {}, {wrong} wrong", verdict.lost, verdict.acknowledged),
        };
        let (verdict, ended) = &row.sync_error;
        let after = if *ended { "ends" } else { "goes on" };
        // Of an error its code is enough.
        let refusal = match row.full.refusal.split_once(' ') {
            Some((code, _)) if !code.starts_with('(') => code,
            _ => row.full.refusal.as_str(),
        };
        let full = match row.full.go_on.len() {
            0 => format!("nothing; XADD: {refusal}"),
            all if all == row.full.tried => format!("all but XADD: {refusal}"),
            _ => format!("{}; XADD: {refusal}", row.full.go_on.join(", ")),
        };
        let full = match row.full.lost {
            Some(0) => full,
            Some(lost) => format!("{full}; {lost} lost"),
            None => format!("{full}; **does not start again**"),
        };
        let again = row.full.recovered_in;
        let again = again.map_or("never, or not within 10 s".to_owned(), |time| {
            format!("{} ms", time.as_millis())
        });
        let Flips { refused, reported, same, silent } = row.flips;
        writeln!(
            page,
            "| {} | {} | {} | {after}, {} | {full} | {again} | {refused} / {reported} / {same} / \
             **{silent}** |",
            row.name,
            of(&row.kill),
            of(&row.cut),
            of(verdict),
        )?;
    }
    Ok(page)
}

/// Puts the table into its place on the page.
fn write(table: &str) -> Result<()> {
    let path = workspace::root().join(PAGE);
    let page = std::fs::read_to_string(&path).with_context(|| format!("{PAGE} cannot be read"))?;
    let (before, rest) = page.split_once(BEGIN).context("the page has no place for the table")?;
    let (_, after) = rest.split_once(END).context("the place of the table does not end")?;
    Ok(std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}"))?)
}
