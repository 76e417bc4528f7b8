//! `levada janitor`: keeps the streams of a plain Redis or Valkey from growing for ever.
//!
//! The work is the toolkit's; here are the clock that repeats it, and what people and programs read
//! of it. On Levada it only reports: the server trims and ends consumers by itself.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use levada::{Broker, Janitor, Report};

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  every stream is within the thresholds (with --once; without it, it runs until it is ended)
  1  the server could not be reached, or refused
  2  wrong arguments
  3  some stream is beyond a threshold; the report says which";

#[derive(Args)]
pub(crate) struct Given {
    /// The server: `redis://HOST`, `rediss://HOST`, `redis-sentinel://HOST/MASTER` or
    /// `redis-cluster://HOST,HOST`.
    #[arg(long, value_name = "URL")]
    url: String,
    /// A stream, or a pattern of streams; may be given several times.
    #[arg(long = "stream", value_name = "PATTERN", default_value = "*")]
    streams: Vec<String>,
    /// A group that every stream will have: nothing is removed before it has joined. May be given
    /// several times.
    #[arg(long = "expect-group", value_name = "GROUP")]
    expected: Vec<String>,
    /// Sweep once and end.
    #[arg(long)]
    once: bool,
    /// Seconds between sweeps.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, conflicts_with = "once")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Change nothing, and report what is there.
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object for each stream instead of text.
    #[arg(long)]
    json: bool,
    /// Entries that may be left in a stream.
    #[arg(long, value_name = "ENTRIES", default_value_t = 1_000_000)]
    max_length: u64,
    /// Entries that may be pending in a group.
    #[arg(long, value_name = "ENTRIES", default_value_t = 100_000)]
    max_pending: u64,
    /// Age in seconds that the oldest entry may have that some group needs.
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<u64>,
    /// Remove consumers that have asked for nothing for so many seconds, when what was pending for
    /// them is handed to one that is alive.
    #[arg(long, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    remove_consumers_after: Option<u64>,
}

/// Sweeps; the exit code is one of [`EXIT_CODES`].
pub(crate) fn run(given: &Given) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(sweep_all(given))
}

async fn sweep_all(given: &Given) -> Result<ExitCode> {
    let broker = levada::connect(&given.url).await?;
    let janitor = given.janitor(&broker);
    loop {
        match sweep(given, &broker, &janitor).await {
            Ok(alerts) if given.once => return Ok(ExitCode::from(if alerts > 0 { 3 } else { 0 })),
            Ok(_) => {}
            Err(error) if given.once => return Err(error),
            // The next sweep may find it well again.
            Err(error) => eprintln!("levada: {error:#}"),
        }
        tokio::time::sleep(Duration::from_secs(given.every)).await;
    }
}

/// One sweep of all streams; answers how many alerts there are.
async fn sweep(given: &Given, broker: &Broker, janitor: &Janitor) -> Result<usize> {
    let mut streams = Vec::new();
    for pattern in &given.streams {
        let found = broker.backend().streams(pattern).await;
        streams.extend(found.with_context(|| format!("the streams {pattern}"))?);
    }
    streams.sort_unstable();
    streams.dedup();
    let mut alerts = 0;
    for stream in streams {
        let report = janitor.sweep(&stream).await.with_context(|| stream.clone())?;
        alerts += report.alerts.len();
        println!("{}", if given.json { json(&report) } else { text(&report) });
    }
    Ok(alerts)
}

impl Given {
    fn janitor(&self, broker: &Broker) -> Janitor {
        let mut janitor =
            Janitor::new(broker).alert_above(self.max_length).alert_pending(self.max_pending);
        for group in &self.expected {
            janitor = janitor.expect_group(group);
        }
        if let Some(seconds) = self.max_age {
            janitor = janitor.alert_age(Duration::from_secs(seconds));
        }
        if let Some(seconds) = self.remove_consumers_after {
            janitor = janitor.remove_consumers_after(Duration::from_secs(seconds));
        }
        if self.dry_run { janitor.dry_run() } else { janitor }
    }
}

fn text(report: &Report) -> String {
    let first = format!("{}: {} left, {} trimmed", report.stream, report.len, report.trimmed);
    let age = report.age.map(|age| format!(", the oldest needed is {} s old", age.as_secs()));
    let gone = match report.removed.as_slice() {
        [] => String::new(),
        removed => format!(", consumers gone: {}", removed.join(" ")),
    };
    let alerts: Vec<String> = report.alerts.iter().map(|it| format!("\n  ALERT {it}")).collect();
    first + &age.unwrap_or_default() + &gone + &alerts.concat()
}

fn json(report: &Report) -> String {
    let groups = report.groups.iter().map(|group| {
        serde_json::json!({
            "name": group.name,
            "consumers": group.consumers,
            "pending": group.pending,
            "last_delivered": group.last_delivered.to_string(),
            "lag": group.lag,
        })
    });
    serde_json::json!({
        "stream": report.stream,
        "length": report.len,
        "trimmed": report.trimmed,
        "removed_consumers": report.removed,
        "oldest_needed_s": report.age.map(|age| age.as_secs()),
        "watermark": report.watermark.map(|id| id.to_string()),
        "groups": groups.collect::<Vec<_>>(),
        "alerts": report.alerts,
    })
    .to_string()
}
