//! `levada dlq`: the dead letters of a group, looked at, given back, thrown away. The work is the
//! toolkit's, so that it is the same on Levada and on a plain Redis.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use levada::{DeadLetter, DeadLetters, MessageId};

use crate::entry::Form;
use crate::progress::{Progress, Unit};
use crate::say;
use crate::table::{self, Cell, Column, Table, Tone};

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done; redrive and purge say how many went
  1  the server could not be reached, or refused
  2  wrong arguments
  3  some of the letters that --id names are not there";

/// Letters that are asked for at once.
const PAGE: usize = 500;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Shows dead letters, oldest first.
    List(List),
    /// Gives dead letters back to the group that failed, and to no other.
    Redrive(Which),
    /// Throws dead letters away, for good.
    Purge(Purge),
}

/// Of which group.
#[derive(Args)]
struct Of {
    /// The stream that the entries stood in.
    stream: String,
    /// The group that gave them up.
    group: String,
    /// The stream that holds the dead letters, where DLQ names another one than {STREAM}:dlq:GROUP.
    #[arg(long, value_name = "STREAM")]
    within: Option<String>,
    #[command(flatten)]
    server: say::Server,
}

#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    of: Of,
    /// Letters to show.
    #[arg(long, value_name = "LETTERS", default_value_t = 100)]
    count: usize,
    /// Only those behind this id among the dead letters.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

/// Which of them.
#[derive(Args)]
pub(crate) struct Which {
    #[command(flatten)]
    of: Of,
    /// The id of one among the dead letters; may be given several times.
    #[arg(long = "id", value_name = "ID", required_unless_present_any = ["all", "count"])]
    ids: Vec<String>,
    /// All of them.
    #[arg(long, conflicts_with_all = ["ids", "count"])]
    all: bool,
    /// The oldest so many.
    #[arg(long, value_name = "LETTERS", conflicts_with = "ids")]
    count: Option<usize>,
}

#[derive(Args)]
pub(crate) struct Purge {
    #[command(flatten)]
    some: Which,
    /// Do it: without, it is said how many would go.
    #[arg(long)]
    yes: bool,
}

/// Does it; the exit code is one of [`EXIT_CODES`].
pub(crate) fn run(verb: &Verb) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match verb {
            Verb::List(list) => show(list).await,
            Verb::Redrive(some) => change(some, "redriven", true).await,
            Verb::Purge(Purge { some, yes }) => change(some, "purged", *yes).await,
        }
    })
}

impl Of {
    async fn open(&self) -> Result<DeadLetters> {
        let broker = levada::connect(&self.server.url).await?;
        let letters = DeadLetters::of_stream(&broker, &self.stream, &self.group);
        Ok(match &self.within {
            Some(stream) => letters.in_stream(stream),
            None => letters,
        })
    }
}

async fn show(given: &List) -> Result<ExitCode> {
    let letters = given.of.open().await?;
    let mut from = match &given.after {
        None => MessageId::MIN,
        Some(id) => behind(id)?,
    };
    let (mut left, mut any) = (given.count, false);
    while left > 0 {
        let page = letters.list_from(from, left.min(PAGE)).await?;
        any |= !page.is_empty();
        let shown = match given.of.server.json {
            true => lines(&page),
            false if page.is_empty() => Ok(()),
            false => table::print(&text(&page), given.of.server.no_color),
        };
        if !say::is_heard(shown)? {
            return Ok(ExitCode::SUCCESS);
        }
        left -= page.len();
        match page.last().and_then(|last| last.id.next()).filter(|_| page.len() == PAGE) {
            Some(next) => from = next,
            None => break,
        }
    }
    if !any {
        let (group, stream) = (given.of.group.as_bytes(), given.of.stream.as_bytes());
        eprintln!("levada: no dead letters of {} in {}", say::shown(group), say::shown(stream));
    }
    Ok(ExitCode::SUCCESS)
}

async fn change(given: &Which, done: &str, do_it: bool) -> Result<ExitCode> {
    let letters = given.of.open().await?;
    let wanted: Vec<MessageId> = given.ids.iter().map(|id| parse(id)).collect::<Result<_>>()?;
    let mut left = if given.all { usize::MAX } else { given.count.unwrap_or(wanted.len()) };
    let (mut went, mut met, mut from) = (0, 0, MessageId::MIN);
    let progress = Progress::new(Unit::Letters, given.of.server.json);
    progress.at(&say::shown(given.of.stream.as_bytes()));
    while left > 0 {
        let mut page = letters.list_from(from, PAGE).await?;
        let next = page.last().and_then(|last| last.id.next()).filter(|_| page.len() == PAGE);
        page.retain(|letter| wanted.is_empty() || wanted.contains(&letter.id));
        page.truncate(left);
        left -= page.len();
        met += page.len() as u64;
        went += match (do_it, done) {
            (false, _) => 0,
            (true, "redriven") => letters.redrive(&page).await?,
            (true, _) => letters.purge(&page).await?,
        };
        progress.advanced(page.len() as u64);
        let Some(next) = next else { break };
        from = next;
    }
    progress.end();
    match (given.of.server.json, do_it) {
        (true, _) => println!("{}", serde_json::json!({ done: went, "found": met })),
        (false, true) => println!("{went} {done}"),
        (false, false) => println!("{met} would be {done}; say --yes"),
    }
    let missing = wanted.len() as u64 > met;
    Ok(ExitCode::from(if missing { 3 } else { 0 }))
}

fn parse(id: &str) -> Result<MessageId> {
    Ok(id.parse()?)
}

fn behind(id: &str) -> Result<MessageId> {
    match parse(id)?.next() {
        Some(next) => Ok(next),
        None => bail!("nothing is behind {id}"),
    }
}

/// A page of letters: each page has a head of its own.
fn text(page: &[DeadLetter]) -> String {
    let mut table = Table::new([
        Column::Left("ID"),
        Column::Left("WAS"),
        Column::Right("DELIVERIES"),
        Column::Left("CONSUMER"),
        Column::Left("REASON"),
        Column::Left("FIELDS"),
    ]);
    for letter in page {
        let DeadLetter { id, source_id, consumer, deliveries, reason, fields, .. } = letter;
        table.push([
            id.to_string().into(),
            source_id.to_string().into(),
            Cell::number(Some(*deliveries)),
            say::shown(consumer.as_bytes()).into(),
            Cell::new(say::shown(reason.as_bytes()), Tone::Warn),
            Form::default().text(&fields.0).trim_start().to_owned().into(),
        ]);
    }
    table.text()
}

fn lines(page: &[DeadLetter]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    page.iter().try_for_each(|letter| writeln!(out, "{}", json(letter)))?;
    out.flush()
}

fn json(letter: &DeadLetter) -> String {
    let fields = letter.fields.0.iter();
    let fields = fields.map(|(name, value)| (say::shown(name), say::json(value)));
    serde_json::json!({
        "id": letter.id.to_string(),
        "source_id": letter.source_id.to_string(),
        "consumer": letter.consumer,
        "deliveries": letter.deliveries,
        "reason": letter.reason,
        "last_ms": letter.last_ms,
        "fields": fields.collect::<serde_json::Map<_, _>>(),
    })
    .to_string()
}
