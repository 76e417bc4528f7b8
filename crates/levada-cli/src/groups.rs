//! `levada groups`: the groups of streams, how far each is, and what its server does for it; or
//! their consumers. On a plain Redis what XINFO can tell.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use redis::{Connection, FromRedisValue as _, Value, cmd};
use serde_json::json;

use crate::facts::{self, Facts};
use crate::say;
use crate::table::{self, Cell, Column, Table, Tone};

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the server could not be reached, or refused
  2  wrong arguments
  3  a stream that is named is not there";

#[derive(Args)]
pub(crate) struct Given {
    /// A stream, or a pattern of streams; may be given several times.
    #[arg(value_name = "PATTERN", default_value = "*")]
    streams: Vec<String>,
    /// Show the consumers of the groups instead.
    #[arg(long)]
    consumers: bool,
    #[command(flatten)]
    server: say::Server,
}

/// A group; `None` where the server cannot tell.
struct Group {
    stream: String,
    name: String,
    last_id: String,
    lag: Option<u64>,
    pending: u64,
    parked: Option<u64>,
    consumers: u64,
    policy: Option<Vec<(String, Value)>>,
}

/// A consumer of a group.
struct Consumer {
    stream: String,
    group: String,
    name: String,
    pending: u64,
    /// Milliseconds since it asked for something.
    idle_ms: Option<u64>,
    /// Milliseconds since it got something; `None` where it never did.
    inactive_ms: Option<u64>,
}

/// Shows them; the exit code is one of [`EXIT_CODES`].
pub(crate) fn run(given: &Given) -> Result<ExitCode> {
    let mut connection = given.server.connect()?;
    let names = facts::streams(&mut connection, &given.streams)?;
    let missing = facts::missing(&given.streams, &names);
    missing.iter().for_each(|line| eprintln!("levada: {line}"));
    let (mut groups, mut consumers) = (Vec::new(), Vec::new());
    for stream in &names {
        for facts in facts::groups(&mut connection, stream)? {
            let name: Vec<u8> = facts.of("name").unwrap_or_default();
            match given.consumers {
                true => consumers.extend(consumers_of(&mut connection, stream, &name)?),
                false => groups.push(group(&mut connection, stream, &name, &facts)?),
            }
        }
    }
    let shown = match (given.server.json, given.consumers) {
        (true, true) => lines(consumers.iter().map(Consumer::json)),
        (true, false) => lines(groups.iter().map(Group::json)),
        (false, true) => table::print(&consumers_table(&consumers), given.server.no_color),
        (false, false) => table::print(&groups_table(&groups), given.server.no_color),
    };
    say::is_heard(shown)?;
    Ok(ExitCode::from(if missing.is_empty() { 0 } else { 3 }))
}

fn lines(objects: impl Iterator<Item = serde_json::Value>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for object in objects {
        writeln!(out, "{object}")?;
    }
    out.flush()
}

fn group(connection: &mut Connection, stream: &[u8], name: &[u8], facts: &Facts) -> Result<Group> {
    let mut group = Group {
        stream: say::shown(stream),
        name: say::shown(name),
        last_id: facts.of("last-delivered-id").unwrap_or_default(),
        lag: facts.of("lag"),
        pending: facts.of("pending").unwrap_or(0),
        parked: None,
        consumers: facts.of("consumers").unwrap_or(0),
        policy: None,
    };
    let exact = facts::own::<Value>(connection, cmd("XLAG").arg(stream).arg(name));
    // It may go between two questions: then what was known is shown.
    let Some(Some(exact)) = facts::there(exact).context("XLAG")? else {
        return Ok(group);
    };
    let exact = Facts::new(exact)?;
    group.lag = exact.of("entries");
    group.parked = exact.of("parked");
    let mut policy = cmd("XGROUP");
    policy.arg("CFGGET").arg(stream).arg(name);
    let policy = facts::there(policy.query::<Value>(connection)).context("XGROUP CFGGET")?;
    group.policy = policy.map(Facts::new).transpose()?.map(|facts| facts.0);
    Ok(group)
}

fn consumers_of(connection: &mut Connection, stream: &[u8], group: &[u8]) -> Result<Vec<Consumer>> {
    let found = cmd("XINFO").arg("CONSUMERS").arg(stream).arg(group).query(connection);
    let Some(found) = facts::there::<Value>(found).context("XINFO CONSUMERS")? else {
        return Ok(Vec::new());
    };
    let consumer = |value| {
        let facts = Facts::new(value)?;
        // -1 is never.
        let ms = |name| facts.of::<i64>(name).and_then(|ms| u64::try_from(ms).ok());
        Ok(Consumer {
            stream: say::shown(stream),
            group: say::shown(group),
            name: say::shown(&facts.of::<Vec<u8>>("name").unwrap_or_default()),
            pending: facts.of("pending").unwrap_or(0),
            idle_ms: ms("idle"),
            inactive_ms: ms("inactive"),
        })
    };
    Vec::<Value>::from_redis_value(found)?.into_iter().map(consumer).collect()
}

impl Group {
    fn json(&self) -> serde_json::Value {
        let policy = self.policy.as_ref().map(|policy| {
            let pair = |(name, value): &(String, Value)| (name.replace('-', "_"), word(value));
            policy.iter().map(pair).collect::<serde_json::Map<_, _>>()
        });
        json!({
            "stream": self.stream,
            "group": self.name,
            "last_delivered_id": self.last_id,
            "lag": self.lag,
            "pending": self.pending,
            "parked": self.parked,
            "consumers": self.consumers,
            "policy": policy,
        })
    }

    /// What of the policy is not as without one, in the words that set it.
    fn policy_text(&self) -> String {
        let usual = format!(":dlq:{}", self.name);
        let words = self.policy.iter().flatten().filter_map(|(name, value)| {
            let text = match value {
                Value::Int(0) => return None,
                Value::Array(items) if items.is_empty() => return None,
                Value::Array(items) => {
                    let items: Vec<_> = items.iter().map(|item| word(item).to_string()).collect();
                    format!("{} {}", items.len(), items.join(" "))
                }
                other => match word(other) {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                },
            };
            let is_usual = match name.as_str() {
                "dlq" => text.ends_with(&usual),
                "retain" => text == "YES",
                _ => text.is_empty(),
            };
            (!is_usual).then(|| format!("{} {text}", name.to_uppercase()))
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

impl Consumer {
    fn json(&self) -> serde_json::Value {
        json!({
            "stream": self.stream,
            "group": self.group,
            "consumer": self.name,
            "pending": self.pending,
            "idle_ms": self.idle_ms,
            "inactive_ms": self.inactive_ms,
        })
    }
}

/// A value of a policy: a number, a word, or several.
fn word(value: &Value) -> serde_json::Value {
    match value {
        Value::Int(number) => (*number).into(),
        Value::Array(items) => items.iter().map(word).collect(),
        Value::BulkString(text) => say::shown(text).into(),
        Value::SimpleString(text) => say::shown(text.as_bytes()).into(),
        _ => serde_json::Value::Null,
    }
}

fn groups_table(groups: &[Group]) -> String {
    let mut table = Table::new([
        Column::Left("STREAM"),
        Column::Left("GROUP"),
        Column::Left("LAST ID"),
        Column::Right("LAG"),
        Column::Right("PENDING"),
        Column::Right("PARKED"),
        Column::Right("CONSUMERS"),
        Column::Left("POLICY"),
    ]);
    for group in groups {
        let policy = match (&group.policy, group.policy_text()) {
            (None, _) => Cell::new("?", Tone::Dim),
            (_, text) if text.is_empty() => Cell::new("-", Tone::Dim),
            (_, text) => text.into(),
        };
        table.push([
            group.stream.clone().into(),
            group.name.clone().into(),
            group.last_id.clone().into(),
            Cell::number(group.lag),
            Cell::number(Some(group.pending)),
            Cell::number(group.parked),
            Cell::number(Some(group.consumers)),
            policy,
        ]);
    }
    table.text()
}

fn consumers_table(consumers: &[Consumer]) -> String {
    let mut table = Table::new([
        Column::Left("STREAM"),
        Column::Left("GROUP"),
        Column::Left("CONSUMER"),
        Column::Right("PENDING"),
        Column::Right("IDLE"),
        Column::Right("INACTIVE"),
    ]);
    for consumer in consumers {
        table.push([
            consumer.stream.clone().into(),
            consumer.group.clone().into(),
            consumer.name.clone().into(),
            Cell::number(Some(consumer.pending)),
            Cell::age(consumer.idle_ms),
            Cell::age(consumer.inactive_ms),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_told_in_the_words_that_set_it() {
        let text = |text: &str| Value::BulkString(text.into());
        let check = |pairs: &[(&str, Value)], expect: &str| {
            let policy = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            let group = Group {
                stream: "s".to_owned(),
                name: "g".to_owned(),
                last_id: String::new(),
                lag: None,
                pending: 0,
                parked: None,
                consumers: 0,
                policy: Some(policy.collect()),
            };
            assert_eq!(group.policy_text(), expect);
        };
        let none = [
            ("ack-wait", Value::Int(0)),
            ("backoff", Value::Array(Vec::new())),
            ("dlq", text("{s}:dlq:g")),
            ("order-by", text("")),
            ("retain", text("YES")),
        ];
        check(&none, "");
        let some = [
            ("ack-wait", Value::Int(30_000)),
            ("backoff", Value::Array(vec![Value::Int(10), Value::Int(20)])),
            ("dlq", text("dead")),
            ("order-by", text("who")),
            ("retain", text("NO")),
        ];
        check(&some, "ACK-WAIT 30000 BACKOFF 2 10 20 DLQ dead ORDER-BY who RETAIN NO");
    }
}
