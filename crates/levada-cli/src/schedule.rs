//! `levada schedule`: what a Levada will append when it is due, given to it, shown and taken back.
//! A plain Redis has no schedules, and that is said.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use levada::MessageId;
use levada_core::schedule;
use redis::{Connection, cmd};
use serde_json::json;

use crate::entry::{Entries, Fields, Form};
use crate::table::{self, Cell, Column, Table};
use crate::{facts, say, when};

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the server could not be reached, or refused
  2  wrong arguments
  3  the server is a plain Redis, which has no schedules; or what is to be cancelled is not there:
     it was appended already, or never scheduled";

/// Entries of one stream that the server shows at once.
const COUNT_MAX: u64 = 1_000;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Gives an entry to the server, to be appended when it is due, and prints its handle.
    Add(Add),
    /// Shows what is scheduled, the next first.
    List(List),
    /// Takes entries out of a schedule.
    Cancel(Cancel),
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("due").required(true))]
pub(crate) struct Add {
    /// The stream that it will be appended to.
    stream: String,
    /// Fields and values in turn.
    #[arg(value_name = "FIELD VALUE", required = true, allow_negative_numbers = true)]
    fields: Vec<String>,
    /// When: a time such as 2026-11-22T10:00:00Z, or unix milliseconds. One that is past is now.
    #[arg(long, value_name = "TIME", group = "due", value_parser = when::moment_ms)]
    at: Option<u64>,
    /// How long from now by the server's clock: 500ms, 30s, 15m, 2h or 7d.
    #[arg(long = "in", value_name = "SPAN", group = "due", value_parser = when::span)]
    within: Option<u64>,
    #[command(flatten)]
    server: say::Server,
}

#[derive(Args)]
pub(crate) struct List {
    /// The stream that it will be appended to, or a pattern of such; may be given several times.
    #[arg(value_name = "PATTERN", default_value = "*")]
    streams: Vec<String>,
    /// Entries to show of each stream.
    #[arg(long, value_name = "ENTRIES", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=COUNT_MAX))]
    count: u64,
    #[command(flatten)]
    server: say::Server,
}

#[derive(Args)]
pub(crate) struct Cancel {
    /// The stream that it would be appended to.
    stream: String,
    /// The handle of one, as `add`, `list` and XSCHED ADD tell it; may be given several times.
    #[arg(value_name = "HANDLE", required = true)]
    handles: Vec<String>,
    #[command(flatten)]
    server: say::Server,
}

/// An entry that waits.
#[derive(PartialEq, Eq, Debug)]
struct Scheduled {
    stream: Vec<u8>,
    handle: String,
    at_ms: u64,
    /// The producer and the id under which it is appended once.
    once: Option<(Vec<u8>, Vec<u8>)>,
    fields: Fields,
}

/// Does it; the exit code is one of [`EXIT_CODES`].
pub(crate) fn run(verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::Add(given) => add(given),
        Verb::List(given) => list(given),
        Verb::Cancel(given) => cancel(given),
    }
}

fn add(given: &Add) -> Result<ExitCode> {
    if !given.fields.len().is_multiple_of(2) {
        eprintln!("levada: a field has no value: write FIELD VALUE [FIELD VALUE ...]");
        return Ok(ExitCode::from(2));
    }
    let mut connection = given.server.connect()?;
    let mut add = cmd("XSCHED");
    add.arg("ADD").arg(&given.stream);
    match (given.at, given.within) {
        (Some(at_ms), _) => add.arg("AT").arg(at_ms),
        (None, within_ms) => add.arg("IN").arg(within_ms.unwrap_or(0)),
    };
    add.arg(&given.fields);
    let handle: Option<String> = facts::own(&mut connection, &add).context("XSCHED ADD")?;
    let Some(handle) = handle else {
        return Ok(none());
    };
    let said = match given.server.json {
        true => json!({ "stream": given.stream, "handle": handle }).to_string(),
        false => handle,
    };
    say::is_heard(writeln!(std::io::stdout(), "{said}"))?;
    Ok(ExitCode::SUCCESS)
}

fn list(given: &List) -> Result<ExitCode> {
    let mut connection = given.server.connect()?;
    let Some(targets) = targets(given, &mut connection)? else {
        return Ok(none());
    };
    let mut all = Vec::new();
    for target in targets {
        let mut list = cmd("XSCHED");
        list.arg("LIST").arg(&target).arg("COUNT").arg(given.count);
        let entries: Entries = list.query(&mut connection).context("XSCHED LIST")?;
        let entries = entries.into_iter();
        all.extend(entries.filter_map(|(handle, fields)| Scheduled::new(&target, handle, fields)));
    }
    let now_ms = facts::now_ms(&mut connection)?;
    let shown = match given.server.json {
        true => lines(&all),
        false => table::print(&text(&all, now_ms), given.server.no_color),
    };
    say::is_heard(shown)?;
    Ok(ExitCode::SUCCESS)
}

/// The streams for which something may be scheduled; `None` on a server without schedules.
fn targets(given: &List, connection: &mut Connection) -> Result<Option<Vec<Vec<u8>>>> {
    if !has_schedules(connection)? {
        return Ok(None);
    }
    // A schedule stands in a stream of its own, named after the one that it is for; where that
    // name is a pattern, so is this one.
    let names = |stream: &String| [format!("{stream}:sched"), format!("{{{stream}}}:sched")];
    let patterns: Vec<String> = given.streams.iter().flat_map(names).collect();
    let names = facts::streams(connection, &patterns)?;
    let targets = names.iter().filter_map(|name| schedule::target_of(name));
    Ok(Some(targets.map(<[u8]>::to_vec).collect()))
}

fn has_schedules(connection: &mut Connection) -> Result<bool> {
    let asked = facts::own::<redis::Value>(connection, cmd("XSCHED").arg("HELP"));
    Ok(asked.context("XSCHED HELP")?.is_some())
}

fn none() -> ExitCode {
    eprintln!("levada: this server has no schedules: they are Levada's (XSCHED)");
    ExitCode::from(3)
}

fn cancel(given: &Cancel) -> Result<ExitCode> {
    let handles: Vec<MessageId> =
        given.handles.iter().map(|handle| handle.parse()).collect::<Result<_, _>>()?;
    let mut connection = given.server.connect()?;
    if !has_schedules(&mut connection)? {
        return Ok(none());
    }
    let (mut cancelled, mut missing) = (0_u64, 0_u64);
    for handle in handles {
        let mut cancel = cmd("XSCHED");
        cancel.arg("CANCEL").arg(&given.stream).arg(handle.to_string());
        let gone: u64 = cancel.query(&mut connection).context("XSCHED CANCEL")?;
        cancelled += gone;
        if gone == 0 {
            missing += 1;
            let stream = say::shown(given.stream.as_bytes());
            eprintln!("levada: nothing is scheduled for {stream} under {handle}");
        }
    }
    let said = match given.server.json {
        true => json!({ "cancelled": cancelled, "missing": missing }).to_string(),
        false => format!("{cancelled} cancelled"),
    };
    say::is_heard(writeln!(std::io::stdout(), "{said}"))?;
    Ok(ExitCode::from(if missing > 0 { 3 } else { 0 }))
}

impl Scheduled {
    /// Takes an entry of the schedule apart: what the server adds stands behind its fields. `None`
    /// for one that somebody else has put there.
    fn new(stream: &[u8], handle: String, mut fields: Fields) -> Option<Self> {
        let mut take = |name: &str| {
            let (_, value) = fields.pop_if(|(last, _)| last == name.as_bytes())?;
            Some(value)
        };
        let at_ms = std::str::from_utf8(&take("x-sched-at")?).ok()?.parse().ok()?;
        let iid = take("x-sched-iid");
        let once = iid.and_then(|iid| Some((take("x-sched-pid")?, iid)));
        Some(Self { stream: stream.to_vec(), handle, at_ms, once, fields })
    }
}

fn lines(all: &[Scheduled]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for Scheduled { stream, handle, at_ms, once, fields } in all {
        let line = json!({
            "stream": say::shown(stream),
            "handle": handle,
            "at_ms": at_ms,
            "pid": once.as_ref().map(|(pid, _)| say::shown(pid)),
            "iid": once.as_ref().map(|(_, iid)| say::shown(iid)),
            "fields": Form::default().json(fields),
        });
        writeln!(out, "{line}")?;
    }
    out.flush()
}

fn text(all: &[Scheduled], now_ms: u64) -> String {
    let mut table = Table::new([
        Column::Left("STREAM"),
        Column::Left("HANDLE"),
        Column::Left("DUE"),
        Column::Right("IN"),
        Column::Left("FIELDS"),
    ]);
    for Scheduled { stream, handle, at_ms, fields, .. } in all {
        table.push([
            say::shown(stream).into(),
            handle.clone().into(),
            when::time(*at_ms).into(),
            Cell::age(Some(at_ms.saturating_sub(now_ms))),
            Form::default().text(fields).trim_start().to_owned().into(),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_adds_is_taken_off_from_behind() {
        let check = |given: &[(&str, &str)], expect: Option<&str>| {
            let bytes =
                |(name, value): &(&str, &str)| (name.as_bytes().into(), value.as_bytes().into());
            let found = Scheduled::new(b"s", "1-0".to_owned(), given.iter().map(bytes).collect());
            let found = found.map(|Scheduled { at_ms, once, fields, .. }| {
                let once = if once.is_some() { " once" } else { "" };
                format!("{at_ms}{once}{}", Form::default().text(&fields))
            });
            assert_eq!(found.as_deref(), expect, "{given:?}");
        };
        check(&[("a", "b"), ("x-sched-at", "7")], Some("7  a=b"));
        check(
            &[("x-sched-at", "1"), ("x-sched-pid", "p"), ("x-sched-iid", "i"), ("x-sched-at", "7")],
            Some("7 once  x-sched-at=1"),
        );
        check(&[("a", "b")], None);
        check(&[("x-sched-at", "soon")], None);
    }
}
