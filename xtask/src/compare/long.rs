//! One long stream: what it costs in memory and on disk, and how long a server needs after
//! `kill -9` until it serves that stream again.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::Sample;
use super::bench;
use super::case::Run;
use super::rig::START_MAX;
use crate::kills::client::{Client, Reply};
use crate::kills::server::Server;

/// Fills, kills and starts a server that is empty and its own.
pub(super) fn run(program: &std::path::Path, server: &mut Server, entries: u64) -> Result<Sample> {
    let words: &'static str = match entries {
        10_000_000 => "fill --entries 10000000",
        1_000_000 => "fill --entries 1000000",
        _ => "fill --entries 3000",
    };
    let fill = Run {
        words,
        small: words,
        takes: &[("fill", "rate", "fill_rate"), ("fill", "cpu_us", "cpu_us")],
    };
    let mut sample = bench::run(program, server, &[fill], false)?;
    let before = ends(&mut server.client()?)?;
    ensure!(before.0 == i64::try_from(entries)?, "XLEN is {}, not {entries}", before.0);
    sample.push(("rss_bytes", float(server.rss()?)));
    sample.push(("disk_bytes", float(server.disk()?)));
    hand_over(&mut server.client()?)?;
    server.kill()?;
    let start = Instant::now();
    server.restart(START_MAX)?;
    let after = ends(&mut server.client()?)?;
    sample.push(("restart_ms", start.elapsed().as_secs_f64() * 1e3));
    sample.push(("rss_then_bytes", float(server.rss()?)));
    ensure!(after == before, "after kill -9 the stream is not as it was");
    Ok(sample)
}

/// Waits until the server has handed what it answered to the system: under `everysec` Redis keeps
/// it to itself while a sync takes long, a kill loses it, and it is the restart that is measured.
fn hand_over(client: &mut Client) -> Result<()> {
    let start = Instant::now();
    loop {
        let info = client.ask(&["INFO", "persistence"])?;
        let info = String::from_utf8_lossy(info.bytes());
        let kept = info.lines().find_map(|line| line.strip_prefix("aof_buffer_length:"));
        if kept.is_none_or(|bytes| bytes == "0") {
            return Ok(());
        }
        ensure!(start.elapsed() < START_MAX, "it keeps what it answered to itself: {info}");
    }
}

/// Length, first and last entry.
fn ends(client: &mut Client) -> Result<(i64, Reply, Reply)> {
    let length = client.ask(&["XLEN", "s"])?.integer().context("XLEN is no number")?;
    let first = client.ask(&["XRANGE", "s", "-", "+", "COUNT", "1"])?;
    let last = client.ask(&["XREVRANGE", "s", "+", "-", "COUNT", "1"])?;
    Ok((length, first, last))
}

#[expect(clippy::cast_precision_loss, reason = "a figure to read")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}
