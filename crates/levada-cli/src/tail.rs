//! `levada tail`: the last entries of a stream, and those that come.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use redis::{Connection, Value, cmd};

use crate::entry::{Entries, Form, Show};
use crate::facts::{self, Facts};
use crate::say;

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  the end, or nobody reads the output any more; also where there is no such stream yet
  1  the server could not be reached, or refused
  2  wrong arguments";

/// Milliseconds that one read waits for entries.
const WAIT_MS: u64 = 5_000;
/// Entries of one read.
const PAGE: usize = 500;

#[derive(Args)]
pub(crate) struct Given {
    /// The stream.
    stream: String,
    /// Go on with what is added, until it is ended.
    #[arg(short, long)]
    follow: bool,
    /// Entries to begin with: the last so many.
    #[arg(short = 'n', long, value_name = "ENTRIES", default_value_t = 10)]
    count: usize,
    /// Begin behind this id instead; 0 begins with the first.
    #[arg(long, value_name = "ID", conflicts_with = "count")]
    after: Option<String>,
    #[command(flatten)]
    form: Form,
    /// End after so many entries were shown.
    #[arg(long, value_name = "ENTRIES")]
    stop_after: Option<usize>,
    #[command(flatten)]
    server: say::Server,
}

/// Shows entries until there are no more, or nobody listens.
pub(crate) fn run(given: &Given) -> Result<ExitCode> {
    let mut connection = given.server.connect()?;
    let left = given.stop_after.unwrap_or(usize::MAX);
    let (stream, form, json) = (given.stream.as_str(), &given.form, given.server.json);
    let mut show = Show { stream, form, json, left };
    let mut last = if let Some(id) = &given.after {
        id.clone()
    } else {
        let entries = last_entries(given, &mut connection)?;
        if !show.all(&entries)? {
            return Ok(ExitCode::SUCCESS);
        }
        match entries.last() {
            Some((id, _)) => id.clone(),
            None => newest(&given.stream, &mut connection)?.unwrap_or_else(|| {
                let stream = say::shown(given.stream.as_bytes());
                eprintln!("levada: there is no stream {stream} yet");
                "0-0".to_owned()
            }),
        }
    };
    while given.follow || given.after.is_some() {
        let entries = read(given, &mut connection, &last)?;
        if entries.is_empty() && !given.follow {
            break;
        }
        if let Some((id, _)) = entries.last() {
            last.clone_from(id);
        }
        if !show.all(&entries)? {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn last_entries(given: &Given, connection: &mut Connection) -> Result<Entries> {
    if given.count == 0 {
        return Ok(Vec::new());
    }
    let mut range = cmd("XREVRANGE");
    range.arg(&given.stream).arg("+").arg("-").arg("COUNT").arg(given.count);
    let mut entries: Entries = range.query(connection).context("XREVRANGE")?;
    entries.reverse();
    Ok(entries)
}

/// The last id that the stream gave out, so that nothing is shown twice or passed over; `None`
/// where there is no stream.
pub(crate) fn newest(stream: &str, connection: &mut Connection) -> Result<Option<String>> {
    let facts = cmd("XINFO").arg("STREAM").arg(stream).query::<Value>(connection);
    let Some(facts) = facts::there(facts).context("XINFO STREAM")? else {
        return Ok(None);
    };
    let last = Facts::new(facts)?.of("last-generated-id");
    last.context("XINFO STREAM tells no last id").map(Some)
}

fn read(given: &Given, connection: &mut Connection, last: &str) -> Result<Entries> {
    let mut read = cmd("XREAD");
    read.arg("COUNT").arg(PAGE);
    if given.follow {
        read.arg("BLOCK").arg(WAIT_MS);
    }
    read.arg("STREAMS").arg(&given.stream).arg(last);
    let found: Option<Vec<(String, Entries)>> = read.query(connection).context("XREAD")?;
    Ok(found.unwrap_or_default().into_iter().flat_map(|(_, entries)| entries).collect())
}
