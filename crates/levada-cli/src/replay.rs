//! `levada replay`: a part of a stream once more, for who looks, or for a group: which is then told
//! to go on from there. The same on Levada and on a plain Redis.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use levada::MessageId;
use redis::{Connection, Value, cmd};

use crate::entry::{Entries, Form, Show};
use crate::facts::{self, Facts};
use crate::say;
use crate::tail;
use crate::when::Moment;

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done; with --group and without --yes it is only said what would be done
  1  the server could not be reached, or refused
  2  wrong arguments
  3  the stream or the group is not there";

/// Entries of one read.
const PAGE: usize = 500;

#[derive(Args)]
pub(crate) struct Given {
    /// The stream.
    stream: String,
    /// Begin here: an id, a time (2026-11-22T10:00:00Z), or how long ago (30s, 15m, 2h, 7d).
    #[arg(long, value_name = "ID|TIME|SPAN", default_value = "-", value_parser = Moment::parse)]
    #[arg(allow_hyphen_values = true)]
    from: Moment,
    /// End here, this one included; else with the last that is there now.
    #[arg(long, value_name = "ID|TIME|SPAN", default_value = "+", value_parser = Moment::parse)]
    #[arg(allow_hyphen_values = true)]
    to: Moment,
    /// Entries to show at most.
    #[arg(long, value_name = "ENTRIES")]
    count: Option<usize>,
    #[command(flatten)]
    form: Form,
    /// Show nothing: give this group everything from --from on again, in place of where it is.
    #[arg(long, value_name = "GROUP", requires = "from")]
    #[arg(conflicts_with_all = ["to", "count", "filters", "fields", "decode_json"])]
    group: Option<String>,
    /// With --group: do it without asking.
    #[arg(long, requires = "group")]
    yes: bool,
    #[command(flatten)]
    server: say::Server,
}

/// Shows, or rewinds; the exit code is one of [`EXIT_CODES`].
pub(crate) fn run(given: &Given) -> Result<ExitCode> {
    let mut connection = given.server.connect()?;
    match &given.group {
        None => show(given, &mut connection),
        Some(group) => rewind(given, group, &mut connection),
    }
}

/// Shows what is there now: producers that go on do not make it endless.
fn show(given: &Given, connection: &mut Connection) -> Result<ExitCode> {
    let Some(newest) = tail::newest(&given.stream, connection)? else {
        return Ok(missing("there is no stream", &given.stream));
    };
    let now_ms = facts::now_ms(connection)?;
    let last = given.to.last(now_ms).min(newest.parse()?);
    let mut next = Some(given.from.first(now_ms));
    let (stream, form, json) = (given.stream.as_str(), &given.form, given.server.json);
    let mut show = Show { stream, form, json, left: given.count.unwrap_or(usize::MAX) };
    while let Some(first) = next.filter(|first| *first <= last) {
        let mut range = cmd("XRANGE");
        range.arg(stream).arg(first.to_string()).arg(last.to_string()).arg("COUNT").arg(PAGE);
        let entries: Entries = range.query(connection).context("XRANGE")?;
        if !show.all(&entries)? || entries.len() < PAGE {
            break;
        }
        let id = entries.last().map(|(id, _)| id.parse::<MessageId>()).transpose()?;
        next = id.and_then(MessageId::next);
    }
    Ok(ExitCode::SUCCESS)
}

fn missing(what: &str, name: &str) -> ExitCode {
    eprintln!("levada: {what} {}", say::shown(name.as_bytes()));
    ExitCode::from(3)
}

/// Where a group is, and where it is to go on.
#[derive(PartialEq, Eq, Debug)]
struct Rewind {
    was: MessageId,
    will: MessageId,
    pending: u64,
    /// The first entry that is still there.
    begins: Option<MessageId>,
}

/// Tells the group to go on from there, if that is wanted.
fn rewind(given: &Given, group: &str, connection: &mut Connection) -> Result<ExitCode> {
    let Some(facts) = facts::group(connection, &given.stream, group)? else {
        return Ok(missing(
            &format!("{} has no group", say::shown(given.stream.as_bytes())),
            group,
        ));
    };
    let newest = tail::newest(&given.stream, connection)?.context("the stream is gone")?.parse()?;
    let from = given.from.first(facts::now_ms(connection)?);
    let mut first = cmd("XRANGE");
    first.arg(&given.stream).arg("-").arg("+").arg("COUNT").arg(1);
    let begins: Vec<(String, Value)> = first.query(connection).context("XRANGE")?;
    let rewind = Rewind {
        was: facts.of::<String>("last-delivered-id").unwrap_or_default().parse()?,
        // Beyond what is there, what comes later would be passed over too.
        will: from.previous().unwrap_or(MessageId::MIN).min(newest),
        pending: facts.of("pending").unwrap_or(0),
        begins: begins.first().map(|(id, _)| id.parse()).transpose()?,
    };
    let (stream, name) = (say::shown(given.stream.as_bytes()), say::shown(group.as_bytes()));
    if !given.server.json {
        let text = rewind.text(&stream, &name);
        say::is_heard(writeln!(std::io::stdout(), "{text}"))?;
    }
    let is_wanted = given.yes || (!given.server.json && asked()?);
    let mut lag = None;
    if is_wanted {
        let mut set = cmd("XGROUP");
        set.arg("SETID").arg(&given.stream).arg(group).arg(rewind.will.to_string());
        set.query::<()>(connection).context("XGROUP SETID")?;
        let facts = facts::group(connection, &given.stream, group)?;
        lag = facts.and_then(|facts: Facts| facts.of::<u64>("lag"));
    }
    let behind = lag.map(|lag| format!(": {lag} entries before it")).unwrap_or_default();
    let said = match (given.server.json, is_wanted) {
        (true, _) => rewind.json(&stream, &name, is_wanted, lag).to_string(),
        (false, true) => format!("done{behind}"),
        (false, false) => "nothing was changed; say --yes".to_owned(),
    };
    say::is_heard(writeln!(std::io::stdout(), "{said}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether somebody who is there says yes.
fn asked() -> Result<bool> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Ok(false);
    }
    eprint!("Do it? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

impl Rewind {
    fn text(&self, stream: &str, group: &str) -> String {
        let Self { was, will, pending, begins } = self;
        let what = match will.cmp(was) {
            std::cmp::Ordering::Less => format!("what is behind {will} comes again"),
            std::cmp::Ordering::Equal => "nothing changes".to_owned(),
            std::cmp::Ordering::Greater => {
                format!("it goes FORWARD: what is between {was} and {will} is passed over unread")
            }
        };
        let first = format!("{group} of {stream} was given all up to {was}; {what}");
        let is_back = will < was;
        let pending = (is_back && *pending > 0).then(|| {
            format!(
                "{pending} entries are pending: those among them come again too, to whoever reads"
            )
        });
        let from = will.next().filter(|_| is_back && *will > MessageId::MIN);
        let begins = begins.filter(|begins| from.is_some_and(|from| *begins > from));
        let begins = begins.map(|id| format!("the first that is there is {id}"));
        [Some(first), pending, begins].into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    fn json(&self, stream: &str, group: &str, done: bool, lag: Option<u64>) -> serde_json::Value {
        serde_json::json!({
            "stream": stream,
            "group": group,
            "was": self.was.to_string(),
            "will_be": self.will.to_string(),
            "pending": self.pending,
            "done": done,
            "lag": lag,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_happen_is_said() {
        let check = |was, will, pending, begins, expect: &[&str], never: &[&str]| {
            let id = MessageId::at;
            let begins = Some(id(begins));
            let text = Rewind { was: id(was), will: id(will), pending, begins }.text("s", "g");
            assert!(expect.iter().all(|part| text.contains(part)), "{text}");
            assert!(!never.iter().any(|part| text.contains(part)), "{text}");
        };
        check(
            9,
            5,
            0,
            5,
            &["g of s", "behind 5-0 comes again"],
            &["pending", "that is there", "FORWARD"],
        );
        check(9, 5, 2, 7, &["2 entries are pending", "that is there is 7-0"], &["FORWARD"]);
        check(5, 9, 2, 1, &["FORWARD", "between 5-0 and 9-0"], &["pending", "that is there"]);
        check(5, 5, 2, 7, &["nothing changes"], &["pending", "that is there"]);
    }
}
