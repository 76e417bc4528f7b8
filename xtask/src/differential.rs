//! `cargo xtask differential`: random commands go to Levada and to a real Redis, and each reply is
//! compared to the byte.
//!
//! The unit is an episode of some 240 commands on emptied servers, made from the seed and its
//! number alone. On a difference the episode is made as small as it gets and is written, in a form
//! that can be played again and pasted, to a file in the directory of temporary files. What is
//! compared how stands in `compare`; what is known to differ, and why, in `known`.

mod capability;
mod compare;
mod episode;
mod known;
mod make;
mod pair;
mod random;
mod shrink;
mod wire;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use self::capability::Capability;
use self::episode::{Episode, Step};
use self::known::KNOWN;
use self::pair::{Difference, Pair};
use self::shrink::shrink;
use crate::ci::{Outcome, lacking};
use crate::peer::Peer;
use crate::peers::{self, Version};
use crate::workspace;

/// Connections to each server.
pub(crate) const CLIENTS: usize = 3;
/// The one that listens to events and channels.
pub(crate) const LISTENER: usize = 2;
/// Differences that are made small before the run gives up.
const SHOWN_MAX: usize = 5;
/// Commands of the short run.
const SHORT: u64 = 20_000;
/// Compared steps between two lines of progress.
const PROGRESS: u64 = 100_000;

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    commands: u64,
    seed: u64,
    peer: String,
    replay: Option<PathBuf>,
    /// Number of the first episode.
    from: u64,
    /// Differences after which the run stops.
    most: usize,
}

/// What a run has counted.
#[derive(Debug, Default)]
struct Totals {
    compared: u64,
    episodes: u64,
    known: BTreeMap<usize, u64>,
    /// Episodes that differed once and not again: races with the clock.
    unsteady: Vec<u64>,
    /// By command and by what was said, names and numbers left out.
    differences: BTreeMap<String, u64>,
}

/// Runs the verb with its arguments. Fails on any difference that is not known.
pub fn run(arguments: &[String]) -> Result<()> {
    start(&parse(arguments)?)
}

/// A short run against the newest peer for `ci`: one seed that never changes, and one of the
/// commit.
pub fn short() -> Result<Outcome> {
    let Some(program) = peers::find(Version::Redis86) else {
        return lacking("redis-server 8.6 is not there: run `cargo xtask peers`");
    };
    let mut git = Command::new("git");
    let head = git.args(["rev-parse", "HEAD"]).current_dir(workspace::root()).output();
    let head = String::from_utf8(head.context("git rev-parse HEAD")?.stdout)?;
    let commit = u64::from_str_radix(head.get(..12).context("no commit")?, 16)?;
    for seed in [1, commit] {
        let peer = program.to_string_lossy().into_owned();
        let commands = SHORT / 2;
        start(&Options { commands, seed, peer, replay: None, from: 0, most: SHOWN_MAX })?;
    }
    Ok(Outcome::Passed)
}

/// Starts both servers and does what is asked.
fn start(options: &Options) -> Result<()> {
    let servers = [peer(&options.peer)?, Peer::levada()?];
    let mut pair = Pair::new(servers)?;
    match &options.replay {
        Some(file) => replay(&mut pair, file),
        None => explore(&mut pair, options),
    }
}

fn parse(arguments: &[String]) -> Result<Options> {
    let clock = std::time::UNIX_EPOCH.elapsed()?.as_secs();
    let mut options = Options {
        commands: 1_000_000,
        seed: clock,
        peer: "8.6".to_owned(),
        replay: None,
        from: 0,
        most: SHOWN_MAX,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let value = rest.next().with_context(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--commands" => options.commands = value.parse().context("--commands")?,
            "--seed" => options.seed = value.parse().context("--seed")?,
            "--peer" => options.peer.clone_from(value),
            "--replay" => options.replay = Some(value.into()),
            "--from" => options.from = value.parse().context("--from")?,
            "--most" => options.most = value.parse().context("--most")?,
            other => bail!("unknown option {other}"),
        }
    }
    Ok(options)
}

/// Starts the peer: a program, or the name of a version.
fn peer(name: &str) -> Result<Peer> {
    let program = match Version::parse(name) {
        Ok(version) => peers::find(version)
            .with_context(|| format!("{version} is not installed: cargo xtask peers"))?,
        Err(_) => PathBuf::from(name),
    };
    ensure!(program.is_file() || !name.contains('/'), "{name} is no program");
    Peer::redis_at(&program, &["--stream-node-max-bytes", "0", "--appendonly", "no"])
}

fn explore(pair: &mut Pair, options: &Options) -> Result<()> {
    let (seed, name) = (options.seed, pair.capability.name.clone());
    println!("differential: {} commands against {name}, seed {seed}", options.commands);
    let start = Instant::now();
    let mut totals = Totals::default();
    let mut shown = 0;
    while totals.compared < options.commands && totals.differences.len() < options.most {
        let number = options.from + totals.episodes;
        totals.episodes += 1;
        let episode = make::episode(seed, number, &pair.capability);
        let played = pair.play(&episode)?;
        totals.compared += played.compared;
        for (known, count) in played.known {
            *totals.known.entry(known).or_default() += count;
        }
        if let Some(difference) = played.difference {
            if let Some(again) = confirm(pair, &episode)? {
                let (small, difference) = shrink(pair, &episode, again)?;
                let met = totals.differences.entry(kind(&small, &difference)).or_default();
                *met += 1;
                if *met == 1 {
                    report(seed, number, &small, &difference)?;
                }
            } else {
                let step = episode.steps.get(difference.at).map(Step::command);
                let [theirs, ours] = &difference.said;
                let step = step.as_deref().unwrap_or("events");
                println!("episode {number} differed once: {step}\n{theirs}\n{ours}");
                totals.unsteady.push(number);
            }
        }
        if totals.compared / PROGRESS > shown {
            shown = totals.compared / PROGRESS;
            let seconds = start.elapsed().as_secs_f64();
            println!("{} commands, {seconds:.0} s", totals.compared);
        }
    }
    println!("{}", totals.report(start.elapsed().as_secs_f64(), &pair.capability));
    let kinds: Vec<_> = totals.differences.into_keys().collect();
    ensure!(kinds.is_empty(), "seed {seed}: replies differ from {name}: {}", kinds.join("; "));
    Ok(())
}

/// Plays an episode again, to tell what always differs from a race with the clock.
fn confirm(pair: &mut Pair, episode: &Episode) -> Result<Option<Difference>> {
    for _ in 0..3 {
        if let Some(difference) = pair.play(episode)?.difference {
            return Ok(Some(difference));
        }
    }
    Ok(None)
}

fn replay(pair: &mut Pair, file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let episode = Episode::parse(&text)?;
    let played = pair.play(&episode)?;
    println!("{} commands compared", played.compared);
    let Some(difference) = played.difference else { return Ok(()) };
    let (small, difference) = shrink(pair, &episode, difference)?;
    println!("{}", describe(&small, &difference));
    bail!("{}: replies differ from {}", file.display(), pair.capability.name)
}

/// What tells one difference from another: the command, and what was said without names and
/// numbers.
fn kind(episode: &Episode, difference: &Difference) -> String {
    let step = episode.steps.get(difference.at);
    let name = step.map_or_else(|| b"events".to_vec(), |step| step.lower(0));
    let plain = |text: &String| text.replace(|each: char| each.is_ascii_digit(), "");
    let mut said = difference.said.each_ref().map(plain).concat();
    for quote in ['"', '\''] {
        let outside = said.split(quote).step_by(2);
        said = outside.collect::<Vec<_>>().join("");
    }
    format!("{} {said}", String::from_utf8_lossy(&name))
}

/// Prints a difference that was made small, and writes it to a file.
fn report(seed: u64, number: u64, small: &Episode, difference: &Difference) -> Result<()> {
    let text = describe(small, difference);
    let file = std::env::temp_dir().join(format!("levada-differential-{seed}-{number}.txt"));
    std::fs::write(&file, format!("# seed {seed}, episode {number}\n{text}"))?;
    println!("seed {seed}, episode {number}, in {}:\n{text}", file.display());
    Ok(())
}

/// An episode with what differs in it, as comments: the text can be played again.
fn describe(episode: &Episode, difference: &Difference) -> String {
    let mut text = episode.to_text();
    let [theirs, ours] = &difference.said;
    if let Some(step) = episode.steps.get(difference.at) {
        let _ = writeln!(text, "# at {}> {}", step.client, step.command());
    }
    for (who, said) in [("peer  ", theirs), ("levada", ours)] {
        for line in said.lines() {
            let _ = writeln!(text, "# {who} {line}");
        }
    }
    text
}

impl Totals {
    fn report(&self, seconds: f64, peer: &Capability) -> String {
        let mut text = format!(
            "{} commands in {} episodes, {} differences, {} known, {} unsteady, {seconds:.0} s",
            self.compared,
            self.episodes,
            self.differences.values().sum::<u64>(),
            self.known.values().sum::<u64>(),
            self.unsteady.len()
        );
        for (kind, met) in &self.differences {
            let kind: String = kind.chars().take(100).collect();
            let _ = write!(text, "\n{met:>9}  DIFFERS: {}", kind.replace('\n', " "));
        }
        for (at, known) in KNOWN.iter().enumerate().filter(|(_, known)| (known.is_for)(peer)) {
            let met = self.known.get(&at).copied().unwrap_or_default();
            let _ = write!(text, "\n{met:>9}  {}: {}", known.name, known.why);
        }
        text
    }
}
