//! `levada pending`: who holds which entries of a group, for how long, and how often they were
//! delivered. The same on Levada and on a plain Redis: XPENDING.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use redis::{Connection, cmd, pipe};
use serde_json::json;

use crate::table::{self, Cell, Column, Table, Tone};
use crate::{facts, say, when};

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the server could not be reached, or refused
  2  wrong arguments
  3  the stream or the group is not there";

/// Entries, or consumers, that are asked for at once.
const PAGE: usize = 500;
/// Entries that are shown at most: they are in memory, for their columns to be aligned.
const COUNT_MAX: u64 = 100_000;

#[derive(Args)]
pub(crate) struct Given {
    /// The stream.
    stream: String,
    /// The group.
    group: String,
    /// Only what this consumer holds.
    #[arg(long, value_name = "CONSUMER")]
    consumer: Option<String>,
    /// Only what was delivered so long ago: 500ms, 30s, 15m, 2h, 7d.
    #[arg(long, value_name = "SPAN", value_parser = when::span)]
    idle: Option<u64>,
    /// Entries to show, the oldest first.
    #[arg(long, value_name = "ENTRIES", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=COUNT_MAX))]
    count: u64,
    #[command(flatten)]
    server: say::Server,
}

/// An entry that is pending.
#[derive(Debug)]
struct Entry {
    id: String,
    consumer: Vec<u8>,
    /// `None` where nobody holds it: it waits for the next who reads.
    idle_ms: Option<u64>,
    deliveries: u64,
}

/// What a consumer holds.
#[derive(Debug)]
struct Holder {
    consumer: Vec<u8>,
    pending: u64,
    /// Of the entries with the smallest id.
    first: Option<Entry>,
}

/// As XPENDING answers it.
type Row = (String, Vec<u8>, i64, u64);
/// How many, from which, to which, by consumer.
type Summary = (u64, Option<String>, Option<String>, Option<Vec<(Vec<u8>, String)>>);

/// Shows them; the exit code is one of [`EXIT_CODES`].
pub(crate) fn run(given: &Given) -> Result<ExitCode> {
    let mut connection = given.server.connect()?;
    let Some((pending, holders)) = summary(given, &mut connection)? else {
        let (stream, group) = (given.stream.as_bytes(), given.group.as_bytes());
        eprintln!("levada: {} has no group {}", say::shown(stream), say::shown(group));
        return Ok(ExitCode::from(3));
    };
    let entries = entries(given, &mut connection)?;
    let shown = match given.server.json {
        true => lines(given, pending, &holders, &entries),
        false => table::print(&text(given, pending, &holders, &entries), given.server.no_color),
    };
    say::is_heard(shown)?;
    Ok(ExitCode::SUCCESS)
}

/// How much is pending, and who holds it, the oldest first; `None` where there is no such group.
fn summary(given: &Given, connection: &mut Connection) -> Result<Option<(u64, Vec<Holder>)>> {
    let Given { stream, group, .. } = given;
    // A stream that is not there has no groups: XPENDING would say NOGROUP, too.
    let summary = cmd("XPENDING").arg(stream).arg(group).query::<Summary>(connection);
    let Some((pending, _, _, consumers)) = facts::there(summary).context("XPENDING")? else {
        return Ok(None);
    };
    let mut holders = Vec::new();
    for consumers in consumers.unwrap_or_default().chunks(PAGE) {
        let mut pipe = pipe();
        for (consumer, _) in consumers {
            pipe.cmd("XPENDING").arg(stream).arg(group).arg("-").arg("+").arg(1).arg(consumer);
        }
        let firsts: Vec<Vec<Row>> = pipe.query(connection).context("XPENDING")?;
        for ((consumer, pending), first) in consumers.iter().zip(firsts) {
            let pending = pending.parse().context("XPENDING counts no entries")?;
            let first = first.into_iter().next().map(Entry::new);
            holders.push(Holder { consumer: consumer.clone(), pending, first });
        }
    }
    let id = |holder: &Holder| {
        holder.first.as_ref().and_then(|first| first.id.parse::<levada::MessageId>().ok())
    };
    holders.sort_by_key(|holder| id(holder).unwrap_or(levada::MessageId::MAX));
    Ok(Some((pending, holders)))
}

/// The entries that are asked for, page by page.
fn entries(given: &Given, connection: &mut Connection) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut left = usize::try_from(given.count)?;
    let mut from = "-".to_owned();
    while left > 0 {
        let mut pending = cmd("XPENDING");
        pending.arg(&given.stream).arg(&given.group);
        if let Some(idle_ms) = given.idle {
            pending.arg("IDLE").arg(idle_ms);
        }
        let asked = left.min(PAGE);
        pending.arg(&from).arg("+").arg(asked).arg(given.consumer.as_deref());
        let page: Vec<Row> = pending.query(connection).context("XPENDING")?;
        left = if page.len() < asked { 0 } else { left - asked };
        entries.extend(page.into_iter().map(Entry::new));
        if let Some(last) = entries.last() {
            from = format!("({}", last.id);
        }
    }
    Ok(entries)
}

impl Entry {
    fn new((id, consumer, idle_ms, deliveries): Row) -> Self {
        Self { id, consumer, idle_ms: u64::try_from(idle_ms).ok(), deliveries }
    }
}

fn lines(
    given: &Given,
    pending: u64,
    holders: &[Holder],
    entries: &[Entry],
) -> std::io::Result<()> {
    let holders = holders.iter().map(|holder| {
        json!({
            "consumer": say::shown(&holder.consumer),
            "pending": holder.pending,
            "first_id": holder.first.as_ref().map(|first| &first.id),
            "first_idle_ms": holder.first.as_ref().and_then(|first| first.idle_ms),
        })
    });
    let summary = json!({
        "stream": given.stream,
        "group": given.group,
        "pending": pending,
        "consumers": holders.collect::<Vec<_>>(),
    });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{summary}")?;
    for Entry { id, consumer, idle_ms, deliveries } in entries {
        let entry = json!({
            "id": id,
            "consumer": say::shown(consumer),
            "idle_ms": idle_ms,
            "deliveries": deliveries,
        });
        writeln!(out, "{entry}")?;
    }
    out.flush()
}

/// Who holds what, and below it the entries.
fn text(given: &Given, pending: u64, holders: &[Holder], entries: &[Entry]) -> String {
    let mut summary = Table::new([
        Column::Left("CONSUMER"),
        Column::Right("PENDING"),
        Column::Left("FIRST ID"),
        Column::Right("IDLE"),
    ]);
    for holder in holders {
        summary.push([
            name(&holder.consumer),
            Cell::number(Some(holder.pending)),
            holder.first.as_ref().map_or_else(String::new, |first| first.id.clone()).into(),
            Cell::age(holder.first.as_ref().and_then(|first| first.idle_ms)),
        ]);
    }
    let mut list = Table::new([
        Column::Left("ID"),
        Column::Left("CONSUMER"),
        Column::Right("IDLE"),
        Column::Right("DELIVERIES"),
    ]);
    for Entry { id, consumer, idle_ms, deliveries } in entries {
        let again = Cell::number(Some(*deliveries)).tone_if(*deliveries > 1, Tone::Warn);
        list.push([id.clone().into(), name(consumer), Cell::age(*idle_ms), again]);
    }
    let (stream, group) = (say::shown(given.stream.as_bytes()), say::shown(given.group.as_bytes()));
    let mut text = format!("{pending} pending in {group} of {stream}\n");
    if !holders.is_empty() {
        text = text + "\n" + &summary.text();
    }
    if !entries.is_empty() {
        text = text + "\n" + &list.text();
    }
    text
}

fn name(consumer: &[u8]) -> Cell {
    match consumer {
        [] => Cell::new("(nobody)", Tone::Dim),
        consumer => say::shown(consumer).into(),
    }
}
