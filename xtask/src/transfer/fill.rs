//! A long stream with all that makes moving one hard: three groups at different places, pending
//! entries of several consumers, some claimed with times of long ago, some deleted since, and a
//! front that was trimmed away.

use anyhow::{Result, ensure};

use crate::kills::client::{Client, Reply};

/// Its name.
pub(crate) const KEY: &str = "transfer";
/// Requests under way at a time.
const PIPELINE: u64 = 1000;
/// Bytes of a value.
const VALUE: usize = 100;
/// Groups.
const GROUPS: u64 = 3;

/// Fills an empty server. Answers how many entries are pending in all groups.
pub(crate) fn fill(client: &mut Client, entries: u64) -> Result<u64> {
    let ids = (1..=entries + entries / 100).map(|number| (number, id(number)));
    send(client, ids, |client, (number, id)| {
        let value = value(number);
        client.push(&["XADD", KEY, &id, "number", &number.to_string(), "value", &value]);
    })?;
    for group in 0..GROUPS {
        let name = format!("group-{group}");
        client.ask(&["XGROUP", "CREATE", KEY, &name, "0"])?;
        read(client, &name, entries / 30 + 1, entries / 20)?;
    }
    // Long ago, and often: what no reading makes.
    let old = (entries / 50..entries / 40).step_by(3).map(|number| (number, id(number)));
    send(client, old, |client, (number, id)| {
        let (time, count) = (1_700_000_000_000 + number, (number % 9).to_string());
        let time = time.to_string();
        let tail = ["TIME", &time, "RETRYCOUNT", &count, "JUSTID"];
        let head = ["XCLAIM", KEY, "group-1", "consumer-of-old", "0", &id];
        client.push(&[&head[..], &tail[..]].concat());
    })?;
    // Pending, and gone.
    let gone = (entries / 60..entries).step_by(997).map(|number| (number, id(number)));
    send(client, gone, |client, (_, id)| client.push(&["XDEL", KEY, &id]))?;
    client.ask(&["XTRIM", KEY, "MINID", &id(entries / 100)])?;
    let mut pending = 0;
    for group in 0..GROUPS {
        let summary = client.ask(&["XPENDING", KEY, &format!("group-{group}")])?;
        let count = summary.items().first().and_then(Reply::integer).unwrap_or(0);
        pending += u64::try_from(count)?;
    }
    Ok(pending)
}

/// Reads so many entries that stay pending, after so many that are acknowledged.
fn read(client: &mut Client, group: &str, stay: u64, go: u64) -> Result<()> {
    let mut left = stay + go;
    let mut consumer = 0;
    while left > 0 {
        let count = left.min(PIPELINE);
        let (name, count) = (format!("consumer-{}", consumer % 5), count.to_string());
        let read = ["XREADGROUP", "GROUP", group, &name, "COUNT", &count, "STREAMS", KEY, ">"];
        let reply = client.ask(&read)?;
        let entries = reply.items().first().and_then(|stream| stream.items().get(1));
        let ids = entries.map(Reply::items).unwrap_or_default();
        ensure!(!ids.is_empty(), "{group} has nothing more to read");
        let ids = ids.iter().filter_map(|entry| entry.items().first());
        let ids = ids.map(|id| String::from_utf8_lossy(id.bytes()).into_owned());
        let taken = ids.collect::<Vec<_>>();
        left -= taken.len() as u64;
        // Those that go lie between those that stay.
        let share = usize::try_from(go * taken.len() as u64 / (stay + go))?;
        let mut acknowledge = vec!["XACK", KEY, group];
        acknowledge.extend(taken.iter().take(share).map(String::as_str));
        client.ask(&acknowledge)?;
        consumer += 1;
    }
    Ok(())
}

/// Sends a request for each item, many under way at a time.
fn send<T>(
    client: &mut Client,
    items: impl Iterator<Item = T>,
    mut push: impl FnMut(&mut Client, T),
) -> Result<()> {
    let mut items = items.peekable();
    while items.peek().is_some() {
        let mut sent = 0;
        for item in items.by_ref().take(usize::try_from(PIPELINE)?) {
            push(client, item);
            sent += 1;
        }
        client.flush()?;
        for _ in 0..sent {
            let reply = client.read()?;
            ensure!(!matches!(reply, Reply::Error(_)), "{reply:?}");
        }
    }
    Ok(())
}

/// Several entries share a millisecond.
fn id(number: u64) -> String {
    format!("{}-{}", 1_600_000_000_000 + number / 4, number % 4 + 1)
}

/// A value that says which one it is and does not compress well.
fn value(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut value = String::with_capacity(VALUE + 16);
    while value.len() < VALUE {
        // Xorshift (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend(format!("{state:016x}").chars());
    }
    value.truncate(VALUE);
    value
}
