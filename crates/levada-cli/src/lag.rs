//! `levada lag`: how far every group is behind, for people, for scripts, and as an alert without
//! Prometheus. Exact on Levada (XLAG); on a plain Redis what XINFO GROUPS can tell.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::Args;
use redis::{Connection, FromRedisValue as _, Value, cmd};

use crate::say;

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  every group is within the thresholds
  1  the server could not be reached, or refused
  2  wrong arguments
  3  some group is beyond a threshold, or how far it is cannot be told: also where a stream or
     group that is named is not there";

/// Names asked for in one SCAN.
const SCAN_COUNT: usize = 1_000;

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
        let Some(seconds) = given.watch else {
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
        let is_name = |wanted: &&String| !wanted.contains(['*', '?', '[', '\\']);
        let is_missing = |wanted: &&String| !names.iter().any(|name| name == wanted.as_bytes());
        let streams = self.streams.iter().filter(is_name).filter(is_missing);
        let mut missing: Vec<_> = streams
            .map(|name| format!("there is no stream {}", say::shown(name.as_bytes())))
            .collect();
        if let (Some(group), true, true) = (&self.group, rows.is_empty(), missing.is_empty()) {
            missing.push(format!("no stream has a group {}", say::shown(group.as_bytes())));
        }
        missing
    }

    fn is_beyond(&self, row: &Row) -> bool {
        let old = |ms: Option<u64>, seconds: u64| ms.is_some_and(|ms| ms > seconds * 1_000);
        let lag = self.fail_above.is_some_and(|max| row.lag.is_none_or(|lag| lag > max));
        let age = self.fail_above_age.is_some_and(|seconds| {
            old(row.oldest_undelivered_ms, seconds) || old(row.oldest_pending_ms, seconds)
        });
        lag || age
    }
}

/// The streams that were asked for, and their groups.
fn rows(given: &Given, connection: &mut Connection) -> Result<(Vec<Vec<u8>>, Vec<Row>)> {
    let mut names = Vec::new();
    for pattern in &given.streams {
        let mut cursor = 0_u64;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_COUNT);
            scan.arg("TYPE").arg("stream");
            let (next, page): (u64, Vec<Vec<u8>>) = scan.query(connection).context("SCAN")?;
            names.extend(page);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    let mut rows = Vec::new();
    for name in &names {
        let groups: Value = match cmd("XINFO").arg("GROUPS").arg(name).query(connection) {
            Ok(groups) => groups,
            // It went meanwhile.
            Err(error) if error.to_string().contains("no such key") => continue,
            Err(error) => return Err(error).context("XINFO GROUPS"),
        };
        for facts in Vec::<Value>::from_redis_value(groups)? {
            let facts = pairs(facts)?;
            let group: Vec<u8> = of(&facts, "name").unwrap_or_default();
            if given.group.as_ref().is_none_or(|wanted| wanted.as_bytes() == group) {
                rows.push(row(connection, name, &group, &facts)?);
            }
        }
    }
    Ok((names, rows))
}

fn row(
    connection: &mut Connection,
    stream: &[u8],
    group: &[u8],
    facts: &[(String, Value)],
) -> Result<Row> {
    let mut row = Row {
        stream: say::shown(stream),
        group: say::shown(group),
        lag: of(facts, "lag"),
        pending: of(facts, "pending").unwrap_or(0),
        consumers: of(facts, "consumers").unwrap_or(0),
        ..Row::default()
    };
    let exact: Result<Value, _> = cmd("XLAG").arg(stream).arg(group).query(connection);
    match exact {
        Ok(exact) => {
            let exact = pairs(exact)?;
            row.lag = of(&exact, "entries");
            row.oldest_undelivered_ms = of(&exact, "oldest-undelivered-ms");
            row.oldest_pending_ms = of(&exact, "oldest-pending-ms");
            row.dead_letters = of(&exact, "dead-letters");
        }
        // A plain Redis: the ids tell when entries were added, the first pending how old it is.
        Err(error) if error.to_string().to_lowercase().contains("unknown command") => {
            let last: String = of(facts, "last-delivered-id").unwrap_or_default();
            let mut next = cmd("XRANGE");
            next.arg(stream).arg(format!("({last}")).arg("+").arg("COUNT").arg(1);
            let found: Vec<(String, Value)> = next.query(connection).context("XRANGE")?;
            row.oldest_undelivered_ms = found.first().and_then(|(id, _)| age_ms(id));
            let mut pending = cmd("XPENDING");
            pending.arg(stream).arg(group).arg("-").arg("+").arg(1);
            let found: Vec<(String, String, u64, u64)> =
                pending.query(connection).context("XPENDING")?;
            row.oldest_pending_ms = found.first().map(|(_, _, idle_ms, _)| *idle_ms);
        }
        Err(error) => return Err(error).context("XLAG"),
    }
    Ok(row)
}

/// How long ago an id was given out, if the server gave it.
fn age_ms(id: &str) -> Option<u64> {
    let ms: u64 = id.split('-').next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(now.as_millis()).ok()?.checked_sub(ms)
}

/// Names and values that a server gives in turn, or as a map.
fn pairs(value: Value) -> Result<Vec<(String, Value)>> {
    Ok(Vec::<(String, Value)>::from_redis_value(value)?)
}

/// One of them; `None` where it is missing or nil.
fn of<T: redis::FromRedisValue>(facts: &[(String, Value)], name: &str) -> Option<T> {
    let (_, value) = facts.iter().find(|(known, _)| known == name)?;
    Option::<T>::from_redis_value(value.clone()).ok().flatten()
}

fn show(given: &Given, rows: &[Row]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if given.server.json {
        for row in rows {
            writeln!(out, "{}", json(row))?;
        }
        return out.flush();
    }
    if given.watch.is_some() && out.is_terminal() {
        // Home, and nothing below.
        write!(out, "\x1b[H\x1b[2J")?;
    }
    out.write_all(table(rows).as_bytes())?;
    out.flush()
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

/// Columns as wide as what is in them.
fn table(rows: &[Row]) -> String {
    let number = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |it| it.to_string());
    let mut lines = vec![
        ["STREAM", "GROUP", "LAG", "OLDEST", "PENDING", "OLDEST", "CONSUMERS", "DEAD"]
            .map(str::to_owned),
    ];
    lines.extend(rows.iter().map(|row| {
        [
            row.stream.clone(),
            row.group.clone(),
            number(row.lag),
            age(row.oldest_undelivered_ms),
            row.pending.to_string(),
            age(row.oldest_pending_ms),
            row.consumers.to_string(),
            number(row.dead_letters),
        ]
    }));
    let mut widths = [0; 8];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        for (at, (cell, width)) in line.iter().zip(widths).enumerate() {
            let _ = match at {
                0 => write!(text, "{cell:width$}"),
                1 => write!(text, "  {cell:width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

/// A time in its largest whole unit.
fn age(ms: Option<u64>) -> String {
    let Some(ms) = ms else {
        return "-".to_owned();
    };
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.iter().find(|(unit, _)| ms >= *unit) {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let row = Row { stream: "orders".into(), group: "g".into(), pending: 12, ..Row::default() };
        let row = Row { lag: Some(7), oldest_pending_ms: Some(61_000), ..row };
        assert_eq!(
            table(&[row]),
            "STREAM  GROUP  LAG  OLDEST  PENDING  OLDEST  CONSUMERS  DEAD\n\
             orders  g        7       -       12      1m          0     ?\n"
        );
    }
}
