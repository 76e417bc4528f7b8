//! Entries that are appended later, and entries that are appended once.
//!
//! Where the server has XSCHED, it does both. Elsewhere a delayed entry is a member of a sorted
//! set beside its stream, by when it is due, and whoever tends the stream moves it in a
//! transaction that watches the set: it is in the set or in the stream, never in both or neither.

use std::time::Duration;

use redis::{Cmd, Value, cmd};

use super::copies::await_copies;
use super::group::milliseconds;
use super::link::Link;
use super::{Redis, arguments, parse};
use crate::backend::{Append, Due, MAKER, Once};
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::message::{Entry, Fields, MessageId};
use crate::{event, names, random};

/// Entries moved at a time.
const MOVED_MAX: usize = 100;
/// How long an appended event is remembered, where the server does not: Redis' own default.
const REMEMBERED_MS: u64 = 100_000;
/// How often a transaction is tried that others disturb.
const ATTEMPTS_MAX: u32 = 8;
/// Appends and remembers, or answers what is remembered. That is written then, so that a wait for
/// copies behind it covers the append.
const ONCE: &str = "\
local known = redis.call('GET', KEYS[1])
if known then
  redis.call('SET', KEYS[1], known, 'XX', 'KEEPTTL')
  return known
end
local id = redis.call('XADD', KEYS[2], '*', unpack(ARGV, 2))
redis.call('SET', KEYS[1], id, 'PX', ARGV[1])
return id";

impl Redis {
    pub(super) async fn remember_for(
        &self,
        stream: &str,
        window: Duration,
        events_max: u64,
    ) -> Result<()> {
        /// What Redis takes, for each producer.
        const REDIS_WINDOW_S_MAX: u64 = 86_400;
        const REDIS_EVENTS_MAX: u64 = 10_000;
        let window_ms = milliseconds(window);
        let less =
            |what| Err(Error::Unsupported { backend: self.capabilities.server.clone(), what });
        let mut set = cmd("XCFGSET");
        set.arg(stream);
        if self.capabilities.retention {
            set.arg("DEDUP-WINDOW").arg(window_ms).arg("DEDUP-MAX").arg(events_max);
        } else if self.capabilities.idempotent_append {
            let window_s = window_ms.div_ceil(1000);
            if window_s > REDIS_WINDOW_S_MAX || events_max > REDIS_EVENTS_MAX {
                return less("it remembers the last 10,000 events of a producer, for a day");
            }
            set.arg("IDMP-DURATION").arg(window_s).arg("IDMP-MAXSIZE").arg(events_max);
        } else if window_ms > REMEMBERED_MS {
            return less("where it is emulated, an event is remembered for 100 seconds");
        } else {
            return Ok(()); // A key for each event: there is no bound on how many.
        }
        match self.link.run(&set).await {
            Err(Error::NotFound(_)) => {
                self.make_stream(stream).await?;
                self.link.run(&set).await.map(drop)
            }
            done => done.map(drop),
        }
    }

    /// A group makes an empty stream, and need not stay.
    async fn make_stream(&self, stream: &str) -> Result<()> {
        let mut make = cmd("XGROUP");
        make.arg("CREATE").arg(stream).arg(MAKER).arg("$").arg("MKSTREAM");
        match self.link.run(&make).await {
            Ok(_) | Err(Error::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
        self.link.run(cmd("XGROUP").arg("DESTROY").arg(stream).arg(MAKER)).await.map(drop)
    }

    pub(super) async fn append_later(&self, entry: Append, due: Due) -> Result<String> {
        if self.capabilities.schedule {
            let mut add = cmd("XSCHED");
            add.arg("ADD").arg(&entry.stream);
            match due {
                Due::In(wait) => add.arg("IN").arg(milliseconds(wait)),
                Due::At(ms) => add.arg("AT").arg(ms),
            };
            if let Some(once) = &entry.once {
                add.arg("IDMP").arg(&once.producer).arg(&once.id);
            }
            arguments(&mut add, &entry.fields);
            let handle = self.link.run(&add).await?;
            return parse::text_of(&handle).ok_or_else(|| Error::protocol(handle));
        }
        self.needs_sorted_sets()?;
        let at = match due {
            Due::In(wait) => self.time().await?.saturating_add(milliseconds(wait)),
            Due::At(ms) => ms,
        };
        let handle = match &entry.once {
            Some(once) => format!("{}:{}", once.producer, once.id),
            None => format!("{:016x}", random::number()),
        };
        let mut add = cmd("ZADD");
        add.arg(names::delayed(&entry.stream)).arg("NX").arg(at).arg(pack(&handle, &entry.fields));
        self.link.run(&add).await?;
        Ok(handle)
    }

    pub(super) async fn cancel_later(&self, stream: &str, handle: &str) -> Result<bool> {
        if self.capabilities.schedule {
            let done = self.link.run(cmd("XSCHED").arg("CANCEL").arg(stream).arg(handle)).await?;
            return Ok(parse::count(&done)? > 0);
        }
        self.needs_sorted_sets()?;
        let key = names::delayed(stream);
        let mut cursor = String::from("0");
        loop {
            let pattern = format!("{}\n*", escaped(handle));
            let mut scan = cmd("ZSCAN");
            scan.arg(&key).arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1000);
            let mut page = parse::list(self.link.run(&scan).await?)?;
            let members = parse::list(page.pop().unwrap_or(Value::Nil))?;
            if let Some(member) = members.first().and_then(parse::bytes_of) {
                return Ok(self.count(cmd("ZREM").arg(&key).arg(member)).await? > 0);
            }
            cursor = page.pop().as_ref().and_then(parse::text_of).unwrap_or_else(|| "0".into());
            if cursor == "0" {
                return Ok(false);
            }
        }
    }

    fn needs_sorted_sets(&self) -> Result<()> {
        match self.capabilities.sorted_sets {
            true => Ok(()),
            false => Err(Error::Unsupported {
                backend: self.capabilities.server.clone(),
                what: "it can neither schedule entries nor keep a sorted set of them",
            }),
        }
    }

    /// Appends the delayed entries of a stream that are due, at most [`MOVED_MAX`].
    pub(super) async fn move_due(&self, stream: &str) -> Result<()> {
        let key = names::delayed(stream);
        let Some(now) = self.is_due(&key).await? else {
            return Ok(());
        };
        let mut range = cmd("ZRANGEBYSCORE");
        range.arg(&key).arg("-inf").arg(now).arg("LIMIT").arg(0).arg(MOVED_MAX);
        let link = self.watching.lock().await;
        self.expect_stream(&link, stream).await?;
        for _ in 0..ATTEMPTS_MAX {
            let watching = link.watch(&[&key]).await?;
            let members = parse::list(link.run(&range).await?)?;
            let mut commands = Vec::with_capacity(2 * members.len());
            for member in members.iter().filter_map(parse::bytes_of) {
                // What is no entry of ours is taken away: it would be in the way for ever.
                if let Some((_, fields)) = unpack(&member) {
                    commands.push(add(stream, &fields));
                }
                let mut remove = cmd("ZREM");
                remove.arg(&key).arg(member);
                commands.push(remove);
            }
            if link.run_atomic(watching, commands).await?.is_some() {
                return Ok(());
            }
        }
        Ok(()) // Others move them.
    }

    /// XADD that is remembered by a key beside the stream, without a script.
    pub(super) async fn append_once(
        &self,
        entry: &Append,
        durability: Durability,
    ) -> Result<MessageId> {
        let Some(once) = &entry.once else {
            return Err(Error::Invalid("an append without a mark cannot be recognised".into()));
        };
        let mark = names::once(&entry.stream, &once.producer, &once.id);
        let link = self.watching.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let watching = link.watch(&[&mark]).await?;
            let known = link.run(cmd("GET").arg(&mark)).await?;
            if let Some(text) = parse::text_of(&known) {
                link.run(&cmd("UNWATCH")).await?;
                let first = self.first_of(entry, &text).await?;
                if durability != Durability::leader() {
                    // A write of this connection, so that its wait covers all that came before.
                    self.note(&link, &mark, first).await?;
                    await_copies(&link, durability).await?;
                }
                return Ok(first);
            }
            let mut remember = cmd("SET");
            remember.arg(&mark).arg("").arg("PX").arg(REMEMBERED_MS);
            let appended = vec![remember, add(&entry.stream, &entry.fields)];
            let values = match link.run_atomic(watching, appended).await {
                Ok(Some(values)) => values,
                Ok(None) => continue,
                Err(error @ (Error::Refused(_) | Error::Full(_))) => {
                    // The mark may stand without its entry: the next attempt is to be a first one.
                    link.run(cmd("DEL").arg(&mark)).await?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            let id = values.last().map_or_else(|| Err(Error::protocol("EXEC")), parse::id)?;
            // The mark stands already; that it knows the id is a convenience for repetitions.
            self.note(&link, &mark, id).await?;
            await_copies(&link, durability).await?;
            return Ok(id);
        }
        Err(Error::Conflict(format!("{mark} is being written by others")))
    }

    async fn note(&self, link: &Link, mark: &str, id: MessageId) -> Result<()> {
        let mut note = cmd("SET");
        note.arg(mark).arg(id.to_string()).arg("XX").arg("KEEPTTL");
        link.run(&note).await.map(drop)
    }

    /// The id of an append that is remembered. Where its note was lost with a connection, the
    /// newest entry that is the same but for its trace is looked for.
    async fn first_of(&self, entry: &Append, noted: &str) -> Result<MessageId> {
        if !noted.is_empty() {
            return noted.parse();
        }
        let mut newest = cmd("XREVRANGE");
        newest.arg(&entry.stream).arg("+").arg("-").arg("COUNT").arg(1000);
        let entries = parse::entries(self.link.run(&newest).await?)?;
        let is_wanted = |it: &Entry| untraced(&it.fields).eq(untraced(&entry.fields));
        let found = entries.into_iter().find(is_wanted);
        found.map(|it| it.id).ok_or_else(|| {
            Error::Conflict(format!("{} was appended before; its id is not known", entry.stream))
        })
    }
}

/// The same in one step.
pub(super) fn add_once(entry: &Append, once: &Once) -> Cmd {
    let mut add = cmd("EVAL");
    add.arg(ONCE).arg(2).arg(names::once(&entry.stream, &once.producer, &once.id));
    add.arg(&entry.stream).arg(REMEMBERED_MS);
    arguments(&mut add, &entry.fields);
    add
}

/// The fields that a repetition has as well: each send has a trace of its own.
fn untraced(fields: &Fields) -> impl Iterator<Item = &(Vec<u8>, Vec<u8>)> {
    fields.0.iter().filter(|(name, _)| name != event::TRACEPARENT.as_bytes())
}

fn add(stream: &str, fields: &Fields) -> Cmd {
    let mut add = cmd("XADD");
    add.arg(stream).arg("*");
    arguments(&mut add, fields);
    add
}

/// A member of the sorted set: the handle, a line feed, and each field with its lengths before it.
fn pack(handle: &str, fields: &Fields) -> Vec<u8> {
    let mut member = Vec::from(handle.replace('\n', " "));
    member.push(b'\n');
    for bytes in fields.0.iter().flat_map(|(name, value)| [name, value]) {
        member.extend(format!("{}:", bytes.len()).bytes());
        member.extend(bytes);
    }
    member
}

fn unpack(member: &[u8]) -> Option<(String, Fields)> {
    let at = member.iter().position(|byte| *byte == b'\n')?;
    let handle = String::from_utf8(member[..at].to_vec()).ok()?;
    let (mut rest, mut flat) = (member.get(at + 1..)?, Vec::new());
    while !rest.is_empty() {
        let colon = rest.iter().position(|byte| *byte == b':')?;
        let len: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
        let end = (colon + 1).checked_add(len)?;
        flat.push(rest.get(colon + 1..end)?.to_vec());
        rest = &rest[end..];
    }
    let mut fields = Fields::default();
    let mut flat = flat.into_iter();
    while let Some(name) = flat.next() {
        fields.push(name, flat.next()?);
    }
    (!fields.0.is_empty()).then_some((handle, fields))
}

/// A handle as a pattern that matches nothing else.
fn escaped(handle: &str) -> String {
    let special = |letter: char| "*?[]\\".contains(letter).then_some('\\');
    handle.chars().flat_map(|letter| special(letter).into_iter().chain([letter])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_read_as_it_was_written() {
        let fields: Fields = [("data", "a:1\nb"), ("", "")].into_iter().collect();
        assert_eq!(unpack(&pack("h*", &fields)), Some(("h*".into(), fields)));
        for bad in [&b"no line"[..], b"h\n", b"h\n9:x", b"h\n1:x", b"h\nx"] {
            assert_eq!(unpack(bad), None);
        }
        assert_eq!(escaped("a*[b"), "a\\*\\[b");
    }
}
