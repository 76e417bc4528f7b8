//! `levada janitor`: keeps the streams of a plain Redis or Valkey from growing for ever.
//!
//! The work is the toolkit's; here are the clock that repeats it, and what people and programs read
//! of it. On Levada it only reports: the server trims and ends consumers by itself.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use levada::{Broker, Janitor, Report};
use levada_core::schedule;

use crate::say;
use crate::table::{self, Cell, Column, Table, Tone};

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  every stream is within the thresholds (with --once; without it, it runs until it is ended)
  1  the server could not be reached, or refused
  2  wrong arguments
  3  some stream is beyond a threshold; the report says which";

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Given {
    /// The server: `redis://HOST`, `rediss://HOST`, `redis-sentinel://HOST/MASTER` or
    /// `redis-cluster://HOST,HOST`.
    #[arg(long, env = "LEVADA_URL", hide_env_values = true, value_name = "URL")]
    url: String,
    /// A stream, or a pattern of streams; may be given several times. Where a Levada keeps what is
    /// scheduled is left out, unless it is named.
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
    /// No colour, also on a terminal; `NO_COLOR` says the same.
    #[arg(long)]
    no_color: bool,
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
    if broker.capabilities().schedule {
        // What waits for its time has no groups, and nobody is to read it there.
        let is_schedule = |stream: &String| schedule::target_of(stream.as_bytes()).is_some();
        streams.retain(|stream| given.streams.contains(stream) || !is_schedule(stream));
    }
    let (mut reports, mut swept) = (Vec::new(), Ok(()));
    for stream in streams {
        match janitor.sweep(&stream).await {
            Ok(report) => {
                if given.json {
                    println!("{}", json(&report));
                }
                reports.push(report);
            }
            // What was swept before is told.
            Err(error) => {
                swept = Err(error).context(stream);
                break;
            }
        }
    }
    if !given.json {
        table::print(&text(&reports), given.no_color)?;
    }
    swept.map(|()| reports.iter().map(|report| report.alerts.len()).sum())
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

/// The streams of a sweep, and below them what is beyond a threshold.
fn text(reports: &[Report]) -> String {
    let mut table = Table::new([
        Column::Left("STREAM"),
        Column::Right("LEFT"),
        Column::Right("TRIMMED"),
        Column::Right("OLDEST"),
        Column::Left("GONE"),
    ]);
    let mut alerts = String::new();
    for report in reports {
        let stream = say::shown(report.stream.as_bytes());
        for alert in &report.alerts {
            let line = format!("ALERT {stream}: {}", say::shown(alert.as_bytes()));
            alerts = alerts + &Tone::Bad.paint(&line) + "\n";
        }
        let age = report.age.and_then(|age| age.as_millis().try_into().ok());
        table.push([
            Cell::from(stream).tone_if(!report.alerts.is_empty(), Tone::Bad),
            Cell::number(Some(report.len)),
            Cell::number(Some(report.trimmed)),
            Cell::age(age),
            match report.removed.as_slice() {
                [] => Cell::new("-", Tone::Dim),
                gone => say::shown(gone.join(" ").as_bytes()).into(),
            },
        ]);
    }
    table.text() + &alerts
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
