//! `cargo xtask transfer`: a long stream with groups goes from a real Redis to Levada and back into
//! an empty one, and both must be equal.
//!
//! The import is killed half way and taken up again; another one reads the dump file of the same
//! Redis. The comparison is made here, apart from the one that the tool makes itself: every entry,
//! and XINFO STREAM FULL as far as it does not tell of time or memory.

mod fill;
mod tool;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::peer::Peer;
use xtask::peers::{self, Version};
use xtask::{ci, workspace};

use crate::kills::client::{Client, Reply};
use fill::{KEY, fill};
use tool::Tool;

/// Entries of a page of the comparison.
const PAGE: &str = "1000";
/// What two servers with the same stream may show differently.
const OWN: [&str; 5] =
    ["radix-tree-keys", "radix-tree-nodes", "seen-time", "active-time", "active-time-ms"];
/// Longest wait for a dump file.
const SAVE_MAX: Duration = Duration::from_mins(5);

/// Runs the verb with its arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut entries, mut redis) = (1_000_000, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--entries" => entries = value()?.parse().context("--entries")?,
            "--redis" => redis.push(PathBuf::from(value()?)),
            other => bail!("unknown option {other}"),
        }
    }
    ensure!(entries >= 1000, "--entries must be at least 1000");
    if redis.is_empty() {
        for peer in [Version::Redis70, Version::Redis86] {
            match (peers::find(peer), ci::lacking(&format!("{peer} is not installed"))) {
                (Some(program), _) => redis.push(program),
                (None, Ok(_)) => println!("SKIPPED: {peer} is not installed: cargo xtask peers"),
                (None, Err(error)) => return Err(error),
            }
        }
    }
    let levada = workspace::build_levada("release", None, &[])?;
    redis.iter().try_for_each(|program| prove(&levada, program, entries))
}

/// The whole way, with one Redis.
fn prove(levada: &Path, program: &Path, entries: u64) -> Result<()> {
    let (source, back) = (Peer::program(program)?, Peer::program(program)?);
    let ours = Peer::program(levada)?;
    let pending = fill(&mut Client::connect(source.address)?, entries)?;
    let version = version(source.address)?;
    println!("Redis {version}: {entries} entries, {pending} pending in 3 groups");

    let tool = Tool { program: levada.to_path_buf() };
    let (from, to) = (url(source.address), url(ours.address));
    // A short stream would go as one payload.
    let import = ["import", "--from", &from, "--to", &to, "--by-pages"];
    tool.kill_after("import, killed", &import, entries / 2)?;
    tool.run("import, taken up again", &import)?;
    tool.run("compare once more", &[&import[..], &["--verify-only"]].concat())?;
    let other = url(back.address);
    tool.run("export", &["export", "--from", &to, "--to", &other, "--by-pages"])?;
    let start = Instant::now();
    same(source.address, back.address)?;
    println!("{:>24}: equal, found in {:.1} s", "both Redis", start.elapsed().as_secs_f64());

    let file = save(source.address)?;
    Client::connect(ours.address)?.ask(&["FLUSHALL"])?;
    tool.run("import", &import)?;
    Client::connect(ours.address)?.ask(&["FLUSHALL"])?;
    let file = file.to_str().context("the path of the dump file")?;
    tool.run("import of the dump file", &["import", "--rdb", file, "--to", &to])?;
    tool.run("compare with the server", &[&import[..], &["--verify-only"]].concat())
}

fn url(address: SocketAddr) -> String {
    format!("redis://{address}")
}

fn version(address: SocketAddr) -> Result<String> {
    let info = Client::connect(address)?.ask(&["INFO", "server"])?;
    let info = String::from_utf8_lossy(info.bytes()).into_owned();
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    version.map(str::to_owned).context("INFO shows no version")
}

/// Writes a dump file. Answers its path.
fn save(address: SocketAddr) -> Result<PathBuf> {
    let mut client = Client::connect(address)?;
    let directory = client.ask(&["CONFIG", "GET", "dir"])?;
    let directory = directory.field("dir").context("CONFIG GET shows no dir")?;
    let path = PathBuf::from(String::from_utf8_lossy(directory.bytes()).into_owned());
    client.ask(&["BGSAVE"])?;
    let deadline = Instant::now() + SAVE_MAX;
    while Instant::now() < deadline {
        let info = client.ask(&["INFO", "persistence"])?;
        if String::from_utf8_lossy(info.bytes()).contains("rdb_bgsave_in_progress:0") {
            return Ok(path.join("dump.rdb"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("BGSAVE did not end")
}

/// Fails at the first difference.
fn same(one: SocketAddr, other: SocketAddr) -> Result<()> {
    let (mut one, mut other) = (Client::connect(one)?, Client::connect(other)?);
    // The longest pending list has fewer: it is shown whole.
    let full = ["XINFO", "STREAM", KEY, "FULL", "COUNT", "100000"];
    let (there, here) = (plain(one.ask(&full)?), plain(other.ask(&full)?));
    ensure!(there == here, "XINFO STREAM FULL differs: {}", first_difference(&there, &here));
    let mut from = "-".to_owned();
    loop {
        let page = ["XRANGE", KEY, &from, "+", "COUNT", PAGE];
        let (there, here) = (one.ask(&page)?, other.ask(&page)?);
        ensure!(there == here, "XRANGE from {from}: {}", first_difference(&there, &here));
        match there.items().last().and_then(|last| last.items().first()) {
            Some(id) => from = format!("({}", String::from_utf8_lossy(id.bytes())),
            None => return Ok(()),
        }
    }
}

/// Without what may differ.
fn plain(reply: Reply) -> Reply {
    let Reply::Array(items) = reply else {
        return reply;
    };
    let mut kept = Vec::new();
    let mut items = items.into_iter();
    while let Some(item) = items.next() {
        if OWN.iter().any(|own| item.bytes() == own.as_bytes()) {
            items.next();
        } else {
            kept.push(plain(item));
        }
    }
    Reply::Array(kept)
}

fn first_difference(one: &Reply, other: &Reply) -> String {
    let pair = one.items().iter().zip(other.items()).find(|(one, other)| one != other);
    match pair {
        Some((one, other)) if !one.items().is_empty() => first_difference(one, other),
        Some((one, other)) => format!("{one:?} there, {other:?} here"),
        None => format!("{} values there, {} here", one.items().len(), other.items().len()),
    }
}
