//! `levada lag`: how far every group is behind, for people, for scripts, and as an alert without
//! Prometheus. Exact on Levada (XLAG); on a plain Redis what XINFO GROUPS can tell.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use redis::{Connection, Value, cmd};

use crate::facts::{self, Facts};
use crate::say;
use crate::table::{self, Cell, Column, Table, Tone};

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  every group is within the thresholds
  1  the server could not be reached, or refused
  2  wrong arguments
  3  some group is beyond a threshold, or how far it is cannot be told: also where a stream or
     group that is named is not there";

#[derive(Args)]
pub(crate) struct Given {
    /// A stream, or a pattern of streams; may be given several times.
    #[arg(value_name = "PATTERN", default_value = "*")]
    streams: Vec<String>,
    /// Only groups of this name.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Show it again every so many seconds, until it is ended, or beyond a threshold.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    watch: Option<u64>,
    /// End after it was shown so many times.
    #[arg(long, value_name = "TIMES", requires = "watch")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End with 3 if a group has more entries before it than this.
    #[arg(long, value_name = "ENTRIES")]
    fail_above: Option<u64>,
    /// End with 3 if the oldest entry before a group, or pending in it, is older than this.
    #[arg(long, value_name = "SECONDS")]
    fail_above_age: Option<u64>,
    #[command(flatten)]
    server: say::Server,
}

/// How far a group is behind; `None` where the server cannot tell.
#[derive(Debug, Default)]
struct Row {
    stream: String,
    group: String,
    lag: Option<u64>,
    /// Milliseconds.
    oldest_undelivered_ms: Option<u64>,
    pending: u64,
    oldest_pending_ms: Option<u64>,
    consumers: u64,
    dead_letters: Option<u64>,
}

/// Shows it; the exit code is one of [`EXIT_CODES`].
pub(crate) fn run(given: &Given) -> Result<ExitCode> {
    let mut connection = given.server.connect()?;
    let mut told = false;
    let mut left = given.count;
    loop {
        let (names, rows) = rows(given, &mut connection)?;
        let missing = given.missing(&names, &rows);
        if !told {
            missing.iter().for_each(|line| eprintln!("levada: {line}"));
            told = true;
        }
        let beyond = rows.iter().any(|row| given.is_beyond(row));
        // A name that is misspelt is no reason to be calm.
        let unknown = given.has_threshold() && !missing.is_empty();
        if !say::is_heard(show(given, &rows))? {
            return Ok(ExitCode::SUCCESS);
        }
        if beyond || unknown {
            return Ok(ExitCode::from(3));
        }
        left = left.map(|left| left - 1);
        let Some(seconds) = given.watch.filter(|_| left != Some(0)) else {
            return Ok(ExitCode::SUCCESS);
        };
        std::thread::sleep(Duration::from_secs(seconds));
    }
}

impl Given {
    fn has_threshold(&self) -> bool {
        self.fail_above.is_some() || self.fail_above_age.is_some()
    }

    /// What was asked for by its name, not by a pattern, and is not there.
    fn missing(&self, names: &[Vec<u8>], rows: &[Row]) -> Vec<String> {
        let mut missing = facts::missing(&self.streams, names);
        if let (Some(group), true, true) = (&self.group, rows.is_empty(), missing.is_empty()) {
            missing.push(format!("no stream has a group {}", say::shown(group.as_bytes())));
        }
        missing
    }

    fn is_beyond(&self, row: &Row) -> bool {
        self.is_behind(row.lag)
            || self.is_old(row.oldest_undelivered_ms)
            || self.is_old(row.oldest_pending_ms)
    }

    fn is_behind(&self, lag: Option<u64>) -> bool {
        self.fail_above.is_some_and(|max| lag.is_none_or(|lag| lag > max))
    }

    fn is_old(&self, ms: Option<u64>) -> bool {
        let beyond = |seconds: u64| ms.is_some_and(|ms| ms > seconds.saturating_mul(1_000));
        self.fail_above_age.is_some_and(beyond)
    }
}

/// The streams that were asked for, and their groups.
fn rows(given: &Given, connection: &mut Connection) -> Result<(Vec<Vec<u8>>, Vec<Row>)> {
    let names = facts::streams(connection, &given.streams)?;
    let mut rows = Vec::new();
    for name in &names {
        for facts in facts::groups(connection, name)? {
            let group: Vec<u8> = facts.of("name").unwrap_or_default();
            if given.group.as_ref().is_none_or(|wanted| wanted.as_bytes() == group) {
                rows.push(row(connection, name, &group, &facts)?);
            }
        }
    }
    Ok((names, rows))
}

fn row(connection: &mut Connection, stream: &[u8], group: &[u8], facts: &Facts) -> Result<Row> {
    let mut row = Row {
        stream: say::shown(stream),
        group: say::shown(group),
        lag: facts.of("lag"),
        pending: facts.of("pending").unwrap_or(0),
        consumers: facts.of("consumers").unwrap_or(0),
        ..Row::default()
    };
    let exact: Option<Value> =
        facts::own(connection, cmd("XLAG").arg(stream).arg(group)).context("XLAG")?;
    if let Some(exact) = exact {
        let exact = Facts::new(exact)?;
        row.lag = exact.of("entries");
        row.oldest_undelivered_ms = exact.of("oldest-undelivered-ms");
        row.oldest_pending_ms = exact.of("oldest-pending-ms");
        row.dead_letters = exact.of("dead-letters");
        return Ok(row);
    }
    // A plain Redis: the ids tell when entries were added, the first pending how old it is.
    let last: String = facts.of("last-delivered-id").unwrap_or_default();
    let mut next = cmd("XRANGE");
    next.arg(stream).arg(format!("({last}")).arg("+").arg("COUNT").arg(1);
    let found: Vec<(String, Value)> = next.query(connection).context("XRANGE")?;
    if let Some((id, _)) = found.first() {
        row.oldest_undelivered_ms = age_ms(id, facts::now_ms(connection)?);
    }
    let mut pending = cmd("XPENDING");
    pending.arg(stream).arg(group).arg("-").arg("+").arg(1);
    let found: Vec<(String, Vec<u8>, i64, u64)> = pending.query(connection).context("XPENDING")?;
    // -1 is what nobody holds, on a Redis that has XNACK.
    row.oldest_pending_ms = found.first().and_then(|(_, _, idle_ms, _)| (*idle_ms).try_into().ok());
    Ok(row)
}

/// How long ago an id was given out, if the server gave it by its clock.
fn age_ms(id: &str, now_ms: u64) -> Option<u64> {
    let ms: u64 = id.split('-').next()?.parse().ok()?;
    now_ms.checked_sub(ms)
}

fn show(given: &Given, rows: &[Row]) -> std::io::Result<()> {
    if given.server.json {
        let mut out = std::io::stdout().lock();
        for row in rows {
            writeln!(out, "{}", json(row))?;
        }
        return out.flush();
    }
    let mut out = std::io::stdout();
    if given.watch.is_some() && out.is_terminal() {
        // Home, and nothing below: this is no colour, and goes out without one too.
        write!(out, "\x1b[H\x1b[2J")?;
        out.flush()?;
    }
    table::print(&text(given, rows), given.server.no_color)
}

fn json(row: &Row) -> serde_json::Value {
    serde_json::json!({
        "stream": row.stream,
        "group": row.group,
        "lag": row.lag,
        "oldest_undelivered_ms": row.oldest_undelivered_ms,
        "pending": row.pending,
        "oldest_pending_ms": row.oldest_pending_ms,
        "consumers": row.consumers,
        "dead_letters": row.dead_letters,
    })
}

/// What is beyond a threshold stands out.
fn text(given: &Given, rows: &[Row]) -> String {
    let mut table = Table::new([
        Column::Left("STREAM"),
        Column::Left("GROUP"),
        Column::Right("LAG"),
        Column::Right("OLDEST"),
        Column::Right("PENDING"),
        Column::Right("OLDEST"),
        Column::Right("CONSUMERS"),
        Column::Right("DEAD"),
    ]);
    for row in rows {
        let age = |ms| Cell::age(ms).tone_if(given.is_old(ms), Tone::Bad);
        table.push([
            row.stream.clone().into(),
            row.group.clone().into(),
            Cell::number(row.lag).tone_if(given.is_behind(row.lag), Tone::Bad),
            age(row.oldest_undelivered_ms),
            Cell::number(Some(row.pending)),
            age(row.oldest_pending_ms),
            Cell::number(Some(row.consumers)),
            Cell::number(row.dead_letters)
                .tone_if(row.dead_letters.is_some_and(|dead| dead > 0), Tone::Warn),
        ]);
    }
    table.text()
}
