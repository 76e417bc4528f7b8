//! What a server tells of its streams and groups, as the subcommands that show it need it: names
//! and values in turn or as a map, the streams behind patterns, and what a plain Redis does not
//! know.

use anyhow::{Context as _, Error, Result};
use redis::{Cmd, Connection, FromRedisValue, RedisResult, Value, cmd};

use crate::say;

/// Names asked for in one SCAN.
const SCAN_COUNT: usize = 1_000;

/// Names and values.
#[derive(Debug, Default)]
pub(crate) struct Facts(pub(crate) Vec<(String, Value)>);

impl Facts {
    /// Those that a server gives in turn, or as a map.
    pub(crate) fn new(value: Value) -> Result<Self> {
        Ok(Self(Vec::<(String, Value)>::from_redis_value(value)?))
    }

    /// One of them; `None` where it is missing or nil.
    pub(crate) fn of<T: FromRedisValue>(&self, name: &str) -> Option<T> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Option::<T>::from_redis_value(value.clone()).ok().flatten()
    }
}

/// The streams of these names and patterns, in order, each once.
pub(crate) fn streams(connection: &mut Connection, patterns: &[String]) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for pattern in patterns {
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
    Ok(names)
}

/// What was asked for by its name, not by a pattern, and is not among these: a line for each.
pub(crate) fn missing(patterns: &[String], names: &[Vec<u8>]) -> Vec<String> {
    let is_name = |wanted: &&String| !wanted.contains(['*', '?', '[', '\\']);
    let is_missing = |wanted: &&String| !names.iter().any(|name| name == wanted.as_bytes());
    let streams = patterns.iter().filter(is_name).filter(is_missing);
    streams.map(|name| format!("there is no stream {}", say::shown(name.as_bytes()))).collect()
}

/// The groups of a stream; none where it went meanwhile.
pub(crate) fn groups(connection: &mut Connection, stream: &[u8]) -> Result<Vec<Facts>> {
    let groups = there(cmd("XINFO").arg("GROUPS").arg(stream).query(connection));
    let Some(groups) = groups.context("XINFO GROUPS")? else {
        return Ok(Vec::new());
    };
    Vec::<Value>::from_redis_value(groups)?.into_iter().map(Facts::new).collect()
}

/// One group; `None` where there is no such group, or no such stream.
pub(crate) fn group(
    connection: &mut Connection,
    stream: &str,
    group: &str,
) -> Result<Option<Facts>> {
    let is_it =
        |facts: &Facts| facts.of::<Vec<u8>>("name").is_some_and(|it| it == group.as_bytes());
    Ok(groups(connection, stream.as_bytes())?.into_iter().find(is_it))
}

/// What of an answer is there: `None` where the key or the group is not.
pub(crate) fn there<T>(answer: RedisResult<T>) -> RedisResult<Option<T>> {
    unless(answer, |error| error.contains("no such key") || error.contains("NOGROUP"))
}

/// Asks what only Levada knows; `None` from a plain Redis.
pub(crate) fn own<T: FromRedisValue>(
    connection: &mut Connection,
    command: &Cmd,
) -> RedisResult<Option<T>> {
    unless(command.query(connection), |error| {
        let error = error.to_lowercase();
        error.contains("unknown command") || error.contains("unknown subcommand")
    })
}

/// An answer, or `None` in place of an error that only says that there is none.
fn unless<T>(answer: RedisResult<T>, says_none: fn(&str) -> bool) -> RedisResult<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if says_none(&error.to_string()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The server's clock in unix milliseconds: ids are given out by it, not by the one here.
pub(crate) fn now_ms(connection: &mut Connection) -> Result<u64> {
    let (seconds, micros): (u64, u64) = cmd("TIME").query(connection).context("TIME")?;
    let ms = seconds.checked_mul(1_000).and_then(|ms| ms.checked_add(micros / 1_000));
    ms.ok_or_else(|| Error::msg("TIME is beyond all times"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_never_missing_and_names_may_be() {
        let asked = ["orders", "gone", "no*", "[x]", "esc\u{1b}"].map(str::to_owned);
        let lines = missing(&asked, &[b"orders".to_vec()]);
        assert_eq!(lines, ["there is no stream gone", "there is no stream esc\\u{1b}"]);
    }

    #[test]
    fn facts_are_read_from_both_protocols() {
        let text = |text: &str| Value::BulkString(text.into());
        let flat = Value::Array(vec![text("lag"), Value::Int(7), text("oldest"), Value::Nil]);
        let map = Value::Map(vec![(text("lag"), Value::Int(7)), (text("oldest"), Value::Nil)]);
        for value in [flat, map] {
            let facts = Facts::new(value).expect("facts");
            assert_eq!(facts.of::<u64>("lag"), Some(7));
            assert_eq!((facts.of::<u64>("oldest"), facts.of::<u64>("other")), (None, None));
        }
    }
}
