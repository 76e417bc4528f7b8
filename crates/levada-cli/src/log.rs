//! The log of `levada serve`: an event a line on stderr, for people or for programs.
//!
//! ```text
//! 2026-11-22T11:43:19.123Z warning disk_full: The disk is full (12 MiB free, ...
//! {"time":"2026-11-22T11:43:19.123Z","level":"warning","event":"disk_full","message":"...",...}
//! ```
//!
//! A line is a line: what could end it, or steer a terminal, is escaped. Nobody waits for it to be
//! read, but that a pipe that is full holds the writer up, as it does everybody who writes to one.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Result, bail};
use levada_engine::clock::Clock;
use levada_server::{LogEvent, LogValue};
use rustix::fs::fstat;

use crate::{say, when};

/// How events are written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Text,
    Json,
}

impl Format {
    /// As `log-format` says it.
    pub(crate) fn parse(word: &str) -> Result<Self> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => bail!("log-format is {word}: it must be text or json"),
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Where the events of this process go.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    /// As the server takes it: the event, and Unix milliseconds.
    pub(crate) write: fn(&LogEvent, u64),
    clock: Clock,
}

impl Log {
    pub(crate) fn open(format: Format) -> Self {
        let write: fn(&LogEvent, u64) = match format {
            Format::Json => |event, at_ms| write(&json(event, at_ms)),
            Format::Text if is_journal() => |event, _| write(&text(event, None)),
            Format::Text => |event, at_ms| write(&text(event, Some(at_ms))),
        };
        Self { write, clock: Clock::new() }
    }

    /// Writes an event of now.
    pub(crate) fn say(&self, event: &LogEvent) {
        (self.write)(event, self.clock.now().wall_ms);
    }
}

/// A line at once, so that no other comes between. Whether anybody takes it changes nothing.
fn write(line: &str) {
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Whether stderr is the journal of systemd, which has times of its own: `JOURNAL_STREAM` names
/// the device and the inode of what a service writes to, and is inherited by whom it starts.
fn is_journal() -> bool {
    let Some(named) = std::env::var("JOURNAL_STREAM").ok() else {
        return false;
    };
    fstat(std::io::stderr())
        .is_ok_and(|stderr| named == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

fn text(event: &LogEvent, at_ms: Option<u64>) -> String {
    let LogEvent { name, message, .. } = event;
    let time = at_ms.map(|ms| when::time(ms) + " ").unwrap_or_default();
    let message = say::shown(message.as_bytes());
    format!("{time}{} {}: {message}\n", name.level().word(), name.text())
}

fn json(event: &LogEvent, at_ms: u64) -> String {
    let LogEvent { name, message, fields } = event;
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut line = format!(
        "{{\"time\":\"{}\",\"level\":\"{}\",\"event\":\"{}\",\"message\":{}",
        when::time(at_ms),
        name.level().word(),
        name.text(),
        quoted(message)
    );
    for (field, value) in fields {
        let value = match value {
            LogValue::Number(number) => number.to_string(),
            LogValue::Text(text) => quoted(text),
        };
        write!(line, ",\"{field}\":{value}").expect("a string takes all");
    }
    line + "}\n"
}

#[cfg(test)]
mod tests {
    use levada_server::LogName;

    use super::*;

    /// 22 November 2026, 11:43:19.023.
    const AT_MS: u64 = 1_795_347_799_023;

    fn event() -> LogEvent {
        LogEvent::new(LogName::DiskFull, "say \"no\"\nand \u{1b}[2J")
            .number("free_bytes", 7)
            .text("stream", "caf\u{e9}\\n\"")
    }

    #[test]
    fn a_line_for_people_has_time_level_name_and_one_line() {
        let line = text(&event(), Some(AT_MS));
        let rest = "error disk_full: say \"no\"\\nand \\u{1b}[2J\n";
        assert_eq!(line, format!("2026-11-22T11:43:19.023Z {rest}"));
        assert_eq!(text(&event(), None), rest);
    }

    #[test]
    fn a_line_for_programs_is_an_object_with_the_facts_behind_the_message() {
        let line = json(&event(), AT_MS);
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).expect("an object");
        let expect = serde_json::json!({
            "time": "2026-11-22T11:43:19.023Z",
            "level": "error",
            "event": "disk_full",
            "message": event().message,
            "free_bytes": 7,
            "stream": "caf\u{e9}\\n\"",
        });
        assert_eq!(read, expect);
        assert!(line.starts_with("{\"time\":\"2026-"), "people look at it, too: {line}");
    }
}
