//! XADD by redis-benchmark, the neutral client.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Sample;
use super::case::Who;
use crate::kills::server::Server;

/// Length of an appended value, in bytes.
const VALUE: usize = 100;

/// One measurement of `count` requests, on an empty server.
pub(super) fn run(
    server: &Server,
    who: Who,
    (clients, pipeline): (u32, u32),
    count: u64,
) -> Result<Sample> {
    if who == Who::Interval {
        relax(server)?;
    }
    let before = server.cpu()?;
    let numbers = [
        server.address().port().to_string(),
        clients.to_string(),
        pipeline.to_string(),
        count.to_string(),
    ];
    let [port, c, p, requests] = &numbers;
    let output = Command::new("redis-benchmark")
        .args(["-p", port, "-c", c, "-P", p, "-n", requests, "-q", "--csv"])
        .args(["XADD", "s", "*", "f", &"x".repeat(VALUE)])
        .output()
        .context("redis-benchmark cannot be started")?;
    let cpu = server.cpu()?.saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    // The last line: "the command","requests per second","avg","min","p50","p95","p99","max"; all
    // times in milliseconds.
    let parts: Vec<&str> = text.lines().last().unwrap_or_default().split("\",\"").collect();
    let figure = |at: usize| {
        let found = parts.get(at).and_then(|part| part.trim_end_matches('"').parse::<f64>().ok());
        found.with_context(|| format!("redis-benchmark said {output:?}"))
    };
    let whole = u64::from(clients) * u64::from(pipeline);
    // The benchmark counts error replies as replies: ask the server whether all is there. It sends
    // whole pipelines, so it may end with more than it was asked for.
    let length = match who {
        Who::Null | Who::NullSyncs => count,
        _ => length(server)?,
    };
    ensure!(
        (count..=count + whole).contains(&length),
        "{count} were appended, but XLEN is {length}; {output:?}"
    );
    Ok(vec![
        ("rate", figure(1)?),
        ("cpu_us", each(cpu, length)),
        ("p50_us", figure(4)? * 1e3),
        ("p99_us", figure(6)? * 1e3),
    ])
}

/// Makes the stream, empty, and lets its replies run ahead of the sync.
pub(super) fn relax(server: &Server) -> Result<()> {
    let mut client = server.client()?;
    client.ask(&["XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"])?;
    client.ask(&["XGROUP", "DESTROY", "s", "g"])?;
    client.ask(&["XCFGSET", "s", "DURABILITY", "INTERVAL"])?;
    Ok(())
}

fn length(server: &Server) -> Result<u64> {
    let reply = server.client()?.ask(&["XLEN", "s"])?;
    Ok(u64::try_from(reply.integer().context("XLEN is no number")?)?)
}

/// Microseconds for each of `count`.
#[expect(clippy::cast_precision_loss, reason = "a figure to read")]
fn each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}
