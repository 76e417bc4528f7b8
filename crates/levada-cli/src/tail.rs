//! `levada tail`: the last entries of a stream, and those that come.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use redis::{Connection, Value, cmd};

use crate::say;

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
    /// Only entries whose field has this value; all that are given must hold.
    #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = filter)]
    filters: Vec<(String, String)>,
    /// Only these fields.
    #[arg(long = "field", value_name = "FIELD")]
    fields: Vec<String>,
    /// Show values that are JSON as JSON, not as text.
    #[arg(long)]
    decode_json: bool,
    /// End after so many entries were shown.
    #[arg(long, value_name = "ENTRIES")]
    stop_after: Option<usize>,
    #[command(flatten)]
    server: say::Server,
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;
type Entries = Vec<(String, Fields)>;

/// Shows entries until there are no more, or nobody listens.
pub(crate) fn run(given: &Given) -> Result<ExitCode> {
    let mut connection = given.server.connect()?;
    let mut show = Show { given, left: given.stop_after.unwrap_or(usize::MAX) };
    let mut last = if let Some(id) = &given.after {
        id.clone()
    } else {
        let entries = last_entries(given, &mut connection)?;
        if !show.all(&entries)? {
            return Ok(ExitCode::SUCCESS);
        }
        match entries.last() {
            Some((id, _)) => id.clone(),
            None => newest(&given.stream, &mut connection)?,
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

fn filter(text: &str) -> Result<(String, String), &'static str> {
    let (field, value) = text.split_once('=').ok_or("it has no =")?;
    Ok((field.to_owned(), value.to_owned()))
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

/// The last id that the stream gave out, so that nothing is shown twice or passed over.
fn newest(stream: &str, connection: &mut Connection) -> Result<String> {
    let facts: redis::RedisResult<std::collections::HashMap<String, Value>> =
        cmd("XINFO").arg("STREAM").arg(stream).query(connection);
    match facts {
        Ok(mut facts) => {
            let id = facts.remove("last-generated-id").context("XINFO STREAM tells no last id")?;
            Ok(redis::from_redis_value(id)?)
        }
        Err(error) if error.to_string().contains("no such key") => {
            eprintln!("levada: there is no stream {} yet", say::shown(stream.as_bytes()));
            Ok("0-0".to_owned())
        }
        Err(error) => Err(error).context("XINFO STREAM"),
    }
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

/// What is shown of entries, and how many more.
struct Show<'a> {
    given: &'a Given,
    left: usize,
}

impl Show<'_> {
    /// Shows what passes; `false` when that was enough.
    fn all(&mut self, entries: &Entries) -> Result<bool> {
        let mut out = std::io::stdout().lock();
        for (id, fields) in entries {
            if self.left == 0 {
                return Ok(false);
            }
            if !self.passes(fields) {
                continue;
            }
            let line = match self.given.server.json {
                true => self.json(id, fields),
                false => self.text(id, fields),
            };
            if !say::is_heard(writeln!(out, "{line}"))? {
                return Ok(false);
            }
            self.left -= 1;
        }
        Ok(self.left > 0 && say::is_heard(out.flush())?)
    }

    fn passes(&self, fields: &Fields) -> bool {
        let is = |(name, value): &(String, String)| {
            let wanted = (name.as_bytes(), value.as_bytes());
            fields.iter().any(|(name, value)| (name.as_slice(), value.as_slice()) == wanted)
        };
        self.given.filters.iter().all(is)
    }

    /// The fields that are asked for.
    fn asked<'f>(&self, fields: &'f Fields) -> impl Iterator<Item = &'f (Vec<u8>, Vec<u8>)> {
        let wanted = &self.given.fields;
        fields.iter().filter(move |(name, _)| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted.as_bytes() == name.as_slice())
        })
    }

    fn value(&self, value: &[u8]) -> serde_json::Value {
        let decoded = self.given.decode_json.then(|| serde_json::from_slice(value).ok());
        decoded.flatten().unwrap_or_else(|| say::json(value))
    }

    fn text(&self, id: &str, fields: &Fields) -> String {
        let mut line = id.to_owned();
        for (name, value) in self.asked(fields) {
            let value = match self.value(value) {
                serde_json::Value::String(_) => say::shown(value),
                other if self.given.decode_json => other.to_string(),
                _ => say::shown(value),
            };
            write!(line, "  {}={value}", say::shown(name)).expect("a string takes all");
        }
        line
    }

    fn json(&self, id: &str, fields: &Fields) -> String {
        let fields = self.asked(fields).map(|(name, value)| (say::shown(name), self.value(value)));
        serde_json::json!({
            "stream": self.given.stream,
            "id": id,
            "fields": fields.collect::<serde_json::Map<_, _>>(),
        })
        .to_string()
    }
}
