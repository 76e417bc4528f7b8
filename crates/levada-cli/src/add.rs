//! `levada add`: appends one entry, or one for each line of stdin, and prints their ids.
//!
//! Lines are sent as they come: those that one read brings go together, up to a bound, so that a
//! file goes fast and a line from a slow pipe does not wait for the next one. An id that is printed
//! is that of an entry that the server has accepted.

use std::fmt;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use redis::{Connection, ConnectionLike as _, Pipeline, Value, cmd};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::entry::Fields;
use crate::say;

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  all of it was added
  1  the server could not be reached, or refused; what has its id printed was added, and of what
     was under way when the connection broke nobody knows
  2  wrong arguments, or a line that is no JSON object: what stands before it was added
  3  --no-create was said, and the stream is not there";

/// Bytes of lines that are sent together, at most; a longer line goes alone.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// The longest line: more than a Levada takes in one request (18 MiB), in whatever form.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of one read of stdin.
const READ_BYTES: usize = 64 << 10;

#[derive(Args)]
pub(crate) struct Given {
    /// The stream.
    stream: String,
    /// Fields and values in turn. Without any, each line of stdin is a JSON object of them.
    #[arg(value_name = "FIELD VALUE", allow_negative_numbers = true)]
    fields: Vec<String>,
    /// The id of the one entry.
    #[arg(long, value_name = "ID", default_value = "*", requires = "fields")]
    id: String,
    /// Add only to a stream that is there.
    #[arg(long)]
    no_create: bool,
    /// Lines that are under way at once.
    #[arg(long, value_name = "LINES", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pipeline: u64,
    #[command(flatten)]
    server: say::Server,
}

/// Adds; the exit code is one of [`EXIT_CODES`].
pub(crate) fn run(given: &Given) -> Result<ExitCode> {
    if !given.fields.len().is_multiple_of(2) {
        return Ok(wrong("a field has no value: write FIELD VALUE [FIELD VALUE ...]"));
    }
    if given.fields.is_empty() && std::io::stdin().is_terminal() {
        return Ok(wrong("what is to be added? FIELD VALUE, or JSON objects on stdin, one a line"));
    }
    let mut connection = given.server.connect()?;
    let mut batch = Batch { given, commands: redis::pipe(), lines: Vec::new(), bytes: 0 };
    if given.fields.is_empty() {
        let input = BufReader::with_capacity(READ_BYTES, std::io::stdin().lock());
        return add_lines(input, &mut batch, &mut connection);
    }
    let pairs = given.fields.chunks_exact(2);
    let pairs = pairs.map(|pair| (pair[0].clone().into_bytes(), pair[1].clone().into_bytes()));
    batch.push(0, &pairs.collect());
    Ok(batch.send(&mut connection)?.unwrap_or(ExitCode::SUCCESS))
}

fn wrong(text: &str) -> ExitCode {
    eprintln!("levada: {text}");
    ExitCode::from(2)
}

/// Each line is an entry, until one is none or is refused.
fn add_lines<R: Read>(
    mut input: BufReader<R>,
    batch: &mut Batch<'_>,
    connection: &mut Connection,
) -> Result<ExitCode> {
    let mut bad = None;
    for number in 1_u64.. {
        let mut line = Vec::new();
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.context("cannot read stdin")? == 0 {
            break;
        }
        match entry(&line) {
            Ok(Some(fields)) => batch.push(number, &fields),
            Ok(None) => {}
            Err(why) => {
                bad = Some(format!("line {number} {why}"));
                break;
            }
        }
        let is_next_here = input.buffer().contains(&b'\n');
        if (batch.is_full() || !is_next_here)
            && let Some(code) = batch.send(connection)?
        {
            return Ok(code);
        }
    }
    let refused = batch.send(connection)?;
    let bad = bad.map(|text| wrong(&text));
    Ok(refused.or(bad).unwrap_or(ExitCode::SUCCESS))
}

/// What a line holds; nothing in one that is blank.
fn entry(line: &[u8]) -> Result<Option<Fields>, String> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    if line.len() as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
        return Err(format!("is longer than {} MiB", LINE_BYTES_MAX >> 20));
    }
    let Object(fields) =
        serde_json::from_slice(line).map_err(|error| format!("is no object of fields: {error}"))?;
    Ok(Some(fields))
}

/// Entries that are sent together.
struct Batch<'a> {
    given: &'a Given,
    commands: Pipeline,
    /// Which line each is from; 0 for the command line.
    lines: Vec<u64>,
    bytes: usize,
}

impl Batch<'_> {
    fn push(&mut self, line: u64, fields: &Fields) {
        let mut add = cmd("XADD");
        add.arg(&self.given.stream);
        if self.given.no_create {
            add.arg("NOMKSTREAM");
        }
        add.arg(&self.given.id);
        for (name, value) in fields {
            add.arg(name).arg(value);
            self.bytes += name.len() + value.len();
        }
        self.commands.add_command(add);
        self.lines.push(line);
    }

    fn is_full(&self) -> bool {
        self.lines.len() as u64 >= self.given.pipeline || self.bytes >= BATCH_BYTES_MAX
    }

    /// Sends them and prints their ids; an exit code where some were not added.
    fn send(&mut self, connection: &mut Connection) -> Result<Option<ExitCode>> {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() {
            return Ok(None);
        }
        let packed = self.commands.get_packed_pipeline();
        let replies = connection.req_packed_commands(&packed, 0, lines.len()).context("XADD")?;
        self.commands.clear();
        self.bytes = 0;
        let mut code = None;
        for (line, reply) in lines.into_iter().zip(replies) {
            match reply {
                Value::BulkString(id) => self.tell(&id)?,
                Value::Nil => code = Some(self.refused(line, "there is no such stream", 3)),
                Value::ServerError(error) => {
                    let error = redis::RedisError::from(error).to_string();
                    code = Some(self.refused(line, &error, 1));
                }
                other => code = Some(self.refused(line, &format!("{other:?} is no id"), 1)),
            }
        }
        Ok(code)
    }

    /// Prints an id. Who does not want to know the ids may still want the entries.
    fn tell(&self, id: &[u8]) -> Result<()> {
        let id = say::shown(id);
        let line = match self.given.server.json {
            true => serde_json::json!({ "stream": self.given.stream, "id": id }).to_string(),
            false => id,
        };
        say::is_heard(writeln!(std::io::stdout().lock(), "{line}")).map(drop)
    }

    fn refused(&self, line: u64, why: &str, code: u8) -> ExitCode {
        let stream = say::shown(self.given.stream.as_bytes());
        match line {
            0 => eprintln!("levada: not added to {stream}: {why}"),
            line => eprintln!("levada: line {line} was not added to {stream}: {why}"),
        }
        ExitCode::from(code)
    }
}

/// A JSON object as fields, in its order, with a name as often as it stands there.
struct Object(Fields);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object, A::Error> {
        let mut fields = Fields::new();
        while let Some((name, value)) = members.next_entry::<String, serde_json::Value>()? {
            let value = bytes(value).map_err(|why| {
                serde::de::Error::custom(format!("{} is {why}", say::shown(name.as_bytes())))
            })?;
            fields.push((name.into_bytes(), value));
        }
        match fields.is_empty() {
            true => Err(serde::de::Error::custom("it has no fields")),
            false => Ok(Object(fields)),
        }
    }
}

/// The value of a field: text as it is, `{"hex": "..."}` as the bytes that `--json` shows so, and
/// anything else as JSON writes it.
fn bytes(value: serde_json::Value) -> Result<Vec<u8>, &'static str> {
    use serde_json::Value;
    /// From here on not every whole number has a float of its own.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Null => Err("null, which no field can be"),
        Value::String(text) => Ok(text.into_bytes()),
        Value::Number(number)
            if number.is_f64() && number.as_f64().is_some_and(|it| it.abs() >= EXACT_MAX) =>
        {
            Err("a number that would lose digits: write it as a string")
        }
        Value::Object(members) if members.len() == 1 && members.contains_key("hex") => {
            members["hex"].as_str().and_then(unhex).ok_or("no even number of hexadecimal digits")
        }
        other => Ok(other.to_string().into_bytes()),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|it| it.is_ascii_hexdigit());
    let pairs = (0..text.len()).step_by(2).filter(|_| is_hex);
    let bytes: Vec<u8> =
        pairs.map_while(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect();
    is_hex.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_object_of_fields_in_its_order() {
        let check = |line: &str, expect: Result<&[(&str, &[u8])], &str>| {
            let found = entry(line.as_bytes());
            match expect {
                Ok(pairs) => {
                    let pairs =
                        pairs.iter().map(|(name, value)| (name.as_bytes().into(), (*value).into()));
                    assert_eq!(found.expect(line).unwrap_or_default(), pairs.collect::<Fields>());
                }
                Err(part) => {
                    let why = found.expect_err(line);
                    assert!(why.contains(part), "{line}: {why}");
                }
            }
        };
        check(r#"{"z":"1","a":"2","z":"3"}"#, Ok(&[("z", b"1"), ("a", b"2"), ("z", b"3")]));
        check(r#"{"n":7,"f":1.5,"t":true}"#, Ok(&[("n", b"7"), ("f", b"1.5"), ("t", b"true")]));
        check("{\"o\":{\"b\":[1, 2]}}\r\n", Ok(&[("o", b"{\"b\":[1,2]}")]));
        check(r#"{"b":{"hex":"ff00"}}"#, Ok(&[("b", b"\xff\x00")]));
        check(r#"{"b":{"hex":"ff0","more":1}}"#, Ok(&[("b", br#"{"hex":"ff0","more":1}"#)]));
        check("  \n", Ok(&[]));
        check("{}", Err("it has no fields"));
        check(r#"{"a":null}"#, Err("a is null"));
        check(r#"{"a":{"hex":"f"}}"#, Err("a is no even number"));
        check(r#"{"a":{"hex":"fg"}}"#, Err("a is no even number"));
        check(r#"{"a":{"hex":7}}"#, Err("a is no even number"));
        check(r#"{"a":123456789012345678901}"#, Err("lose digits"));
        check(r#"["a"]"#, Err("is no object of fields"));
        check("a b", Err("is no object of fields"));
        check(r#"{"a":1} {"b":2}"#, Err("is no object of fields"));
    }
}
