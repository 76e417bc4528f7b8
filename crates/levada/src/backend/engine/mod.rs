//! The engine inside this process: `memory:` and `embedded:PATH`.
//!
//! Leases, rests, dead letters and idempotence are the engine's own, as on a Levada server. Calls
//! are handed in and answered by a closure on the engine's thread, so no thread waits for them.

mod group;
mod listen;
mod schedule;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use levada_engine::clock::Now;
use levada_engine::command::{
    Command, Compare, Idempotent, Key, NewId, ReadFrom, ReadMost, References, Set, SetExpiry,
    SetWhen, StreamOption, Trim, TrimKeep, Xadd, Xcfgset, XgroupCreate, Xrange, Xread,
};
use levada_engine::policy::Retention;
use levada_engine::reply::Reply;
use levada_engine::shard::{BlockedRead, Outcome};
use levada_engine::{Answered, Call, Engine, ErrorKind, StreamId, Turn};
use tokio::sync::oneshot;

use self::group::Reader;
use super::{
    Append, Backend, Delivered, Due, Failed, GroupFacts, GroupPolicy, GroupReader, Listener, MAKER,
    Pending, Seat, Start, TailReader,
};
use crate::capabilities::Capabilities;
use crate::error::{Error, Result};
use crate::message::{Entry, Fields, MessageId};

/// The engine, and what it can do.
#[derive(Debug, Clone)]
pub(crate) struct Embedded {
    engine: Arc<Engine>,
    capabilities: Capabilities,
    clock: Arc<Mutex<Now>>,
    /// Whether the clock stands still, for tests.
    paused: bool,
}

impl Embedded {
    /// Everything in memory, gone with the last handle.
    pub(crate) fn memory() -> Result<Self> {
        Ok(Self::new(Engine::in_memory().map_err(of)?, "memory", false))
    }

    /// A data directory, made where it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self::new(Engine::open(path).map_err(of)?, "embedded", true))
    }

    /// In memory, with a clock that stands still.
    pub(crate) fn paused(start: Now) -> Result<Self> {
        let clock = Arc::new(Mutex::new(start));
        let shown = Arc::clone(&clock);
        let read = move || *shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let engine = Engine::in_memory_at(read).map_err(of)?;
        Ok(Self { clock, paused: true, ..Self::new(engine, "memory", false) })
    }

    fn new(engine: Engine, name: &str, durable: bool) -> Self {
        let capabilities = Capabilities {
            durable,
            idempotent_append: true,
            leases: true,
            redrive: true,
            nack: true,
            ack_delete: true,
            claim_on_read: true,
            schedule: true,
            read_limit: true,
            retention: true,
            ..Capabilities::plain(name)
        };
        let clock = Arc::default();
        Self { engine: Arc::new(engine), capabilities, clock, paused: false }
    }

    /// Moves a clock that stands still.
    pub(crate) async fn advance(&self, by: Duration) -> Result<()> {
        assert!(self.paused, "only the clock of a broker for tests can be moved");
        {
            let mut now = self.clock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            now.wall_ms += u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            now.monotonic_us += u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        }
        // The engine looks at the clock in each turn, and does what is due behind the calls of a
        // turn: behind the answer to the second call that is done.
        for _ in 0..2 {
            self.number(|turn| turn.execute(&Command::Dbsize(0))).await?;
        }
        Ok(())
    }

    /// Unix milliseconds on the clock that stands still.
    pub(crate) fn paused_ms(&self) -> u64 {
        self.clock.lock().unwrap_or_else(std::sync::PoisonError::into_inner).wall_ms
    }

    async fn call(&self, call: Call) -> Result<Answered> {
        let (sender, receiver) = oneshot::channel();
        self.engine.submit(call, move |outcome| drop(sender.send(outcome))).map_err(of)?;
        let gone = || Error::Closed("the engine stopped after an error of its disk".into());
        receiver.await.map_err(|_| gone())?.map_err(of)
    }

    async fn reply(
        &self,
        run: impl FnMut(&mut Turn<'_>) -> Outcome + Send + 'static,
    ) -> Result<Reply> {
        match self.call(Call::new(run)).await? {
            Answered::Reply(reply) => Ok(reply),
            other => Err(Error::protocol(other)),
        }
    }

    async fn remember_for(&self, stream: &str, window: Duration, events_max: u64) -> Result<()> {
        let window_ms = milliseconds(window);
        let set = || {
            let stream = stream.to_owned();
            self.reply(move |turn| {
                turn.execute(&Command::Xcfgset(Xcfgset {
                    key: key(&stream),
                    idmp_duration_s: None,
                    idmp_iids_max: None,
                    options: vec![
                        StreamOption::DedupWindow(window_ms),
                        StreamOption::DedupMax(events_max),
                    ],
                }))
            })
        };
        match set().await {
            Err(Error::NotFound(_)) => {
                self.make_stream(stream).await?;
                set().await.map(drop)
            }
            done => done.map(drop),
        }
    }

    /// A group makes an empty stream, and need not stay.
    async fn make_stream(&self, stream: &str) -> Result<()> {
        let (made, gone) = (stream.to_owned(), stream.to_owned());
        let make = self.reply(move |turn| {
            turn.execute(&Command::XgroupCreate(XgroupCreate {
                key: key(&made),
                group: MAKER.as_bytes(),
                id: None,
                create_stream: true,
                entries_read: None,
            }))
        });
        match make.await {
            Ok(_) | Err(Error::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
        let destroy = self
            .reply(move |turn| turn.execute(&Command::XgroupDestroy(key(&gone), MAKER.as_bytes())));
        destroy.await.map(drop)
    }

    async fn number(
        &self,
        run: impl FnMut(&mut Turn<'_>) -> Outcome + Send + 'static,
    ) -> Result<u64> {
        match self.reply(run).await? {
            Reply::Integer(number) => Ok(u64::try_from(number).unwrap_or(0)),
            other => Err(Error::protocol(other)),
        }
    }

    async fn entries(&self, call: Call) -> Result<Vec<Entry>> {
        let entries = match self.call(call).await? {
            Answered::Entries(entries) => entries,
            Answered::Streams(streams) => streams.into_iter().flat_map(|(_, it)| it).collect(),
            Answered::Reply(Reply::NilList) => Vec::new(),
            Answered::Reply(other) => return Err(Error::protocol(other)),
        };
        let entry = |entry: levada_engine::Entry| {
            Some(Entry { id: own_id(entry.id), fields: Fields(entry.fields?) })
        };
        Ok(entries.into_iter().filter_map(entry).collect())
    }

    async fn append_one(&self, entry: Append) -> Result<MessageId> {
        let reply = self
            .reply(move |turn| {
                let flat: Vec<&[u8]> =
                    entry.fields.0.iter().flat_map(|(name, value)| [&name[..], value]).collect();
                let idempotent = entry.once.as_ref().map(|once| Idempotent {
                    pid: once.producer.as_bytes(),
                    iid: Some(once.id.as_bytes()),
                });
                turn.execute(&Command::Xadd(Xadd {
                    key: key(&entry.stream),
                    must_exist: false,
                    trim: None,
                    id: NewId::Auto,
                    fields: levada_engine::Fields::Arguments(&flat),
                    idempotent,
                }))
            })
            .await?;
        match reply {
            Reply::Id(id) => Ok(own_id(id)),
            other => Err(Error::protocol(other)),
        }
    }

    async fn append_all(&self, entries: Vec<Append>) -> Result<Vec<Result<MessageId>>> {
        let invalid = || Err(Error::Invalid("an entry needs at least one field".into()));
        // All are handed in before the first is waited for: they share a commit.
        let calls: Vec<_> = entries
            .into_iter()
            .map(|entry| async {
                match entry.fields.0.is_empty() {
                    true => invalid(),
                    false => self.append_one(entry).await,
                }
            })
            .collect();
        Ok(futures_util::future::join_all(calls).await)
    }

    fn wall_ms(&self) -> u64 {
        if self.paused {
            return self.paused_ms();
        }
        #[expect(clippy::disallowed_methods, reason = "this process is the server")]
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
    }

    async fn set_key(
        &self,
        name: String,
        value: Vec<u8>,
        ttl: Option<Duration>,
        only_new: bool,
    ) -> Result<bool> {
        let until = |ttl: Duration| self.wall_ms().saturating_add(milliseconds(ttl).max(1));
        let expiry = ttl.map_or(SetExpiry::Clear, |ttl| SetExpiry::At(until(ttl)));
        let when = SetWhen { exists: only_new.then_some(false), compare: None };
        let reply = self
            .reply(move |turn| {
                let key = key(&name);
                turn.execute(&Command::Set(Set { key, value: &value, when, expiry, get: false }))
            })
            .await?;
        Ok(reply != Reply::Nil)
    }
}

fn key(name: &str) -> Key<'_> {
    Key { database: 0, name: name.as_bytes() }
}

fn own_id(id: StreamId) -> MessageId {
    MessageId { ms: id.ms, seq: id.seq }
}

fn stream_id(id: MessageId) -> StreamId {
    StreamId { ms: id.ms, seq: id.seq }
}

fn stream_ids(ids: &[MessageId]) -> Vec<StreamId> {
    ids.iter().copied().map(stream_id).collect()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the caller should do about an error of the engine.
fn of(error: levada_engine::Error) -> Error {
    match error.kind {
        ErrorKind::NotFound => Error::NotFound(error.message),
        ErrorKind::Conflict | ErrorKind::Busy => Error::Conflict(error.message),
        ErrorKind::Full => Error::Full(error.message),
        ErrorKind::Invalid if error.message.contains("Limit(") => Error::Full(error.message),
        ErrorKind::Invalid => Error::Refused(error.message),
        _ => Error::Closed(error.message),
    }
}

/// A reader of a stream.
struct Tail(Embedded);

impl TailReader for Tail {
    fn read<'a>(
        &'a mut self,
        stream: &'a str,
        after: MessageId,
        count: usize,
        wait: Option<Duration>,
    ) -> Pending<'a, Vec<Entry>> {
        let (name, after) = (stream.to_owned(), stream_id(after));
        let (count, most) = (Some(count as u64), ReadMost::default());
        let streams = vec![(0, name.clone().into_bytes(), after)];
        let call = Call::new(move |turn| {
            let streams = vec![(key(&name), ReadFrom::After(after))];
            turn.execute(&Command::Xread(Xread { streams, count, most }))
        });
        let call = match wait {
            Some(wait) => call.or_wait(BlockedRead::Xread { streams, count, most }, Some(wait)),
            None => call,
        };
        Box::pin(self.0.entries(call))
    }
}

impl Backend for Embedded {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn append(&self, entries: Vec<Append>) -> Pending<'_, Vec<Result<MessageId>>> {
        Box::pin(self.append_all(entries))
    }

    fn range<'a>(
        &'a self,
        stream: &'a str,
        first: MessageId,
        last: MessageId,
        count: usize,
    ) -> Pending<'a, Vec<Entry>> {
        let name = stream.to_owned();
        let (first, last, count) = (stream_id(first), stream_id(last), Some(count as u64));
        Box::pin(self.entries(Call::new(move |turn| {
            let key = key(&name);
            turn.execute(&Command::Xrange(Xrange { key, first, last, reverse: false, count }))
        })))
    }

    fn len<'a>(&'a self, stream: &'a str) -> Pending<'a, u64> {
        let name = stream.to_owned();
        Box::pin(self.number(move |turn| turn.execute(&Command::Xlen(key(&name)))))
    }

    fn delete<'a>(&'a self, stream: &'a str, ids: &'a [MessageId]) -> Pending<'a, u64> {
        let (name, ids) = (stream.to_owned(), stream_ids(ids));
        Box::pin(self.number(move |turn| turn.execute(&Command::Xdel(key(&name), ids.clone()))))
    }

    fn trim_below<'a>(&'a self, stream: &'a str, id: MessageId) -> Pending<'a, u64> {
        let (name, keep) = (stream.to_owned(), TrimKeep::MinId(stream_id(id)));
        let references = Some(References::Keep);
        let trim = Trim { keep, approximate: false, limit: None, references };
        Box::pin(self.number(move |turn| turn.execute(&Command::Xtrim(key(&name), trim))))
    }

    fn dedup_window<'a>(
        &'a self,
        stream: &'a str,
        window: Duration,
        events_max: u64,
    ) -> Pending<'a, ()> {
        Box::pin(self.remember_for(stream, window, events_max))
    }

    fn retain_acked<'a>(&'a self, stream: &'a str) -> Pending<'a, ()> {
        let name = stream.to_owned();
        Box::pin(async move {
            let set = self.reply(move |turn| {
                turn.execute(&Command::Xcfgset(Xcfgset {
                    key: key(&name),
                    idmp_duration_s: None,
                    idmp_iids_max: None,
                    options: vec![StreamOption::Retention(Retention::Acked)],
                }))
            });
            set.await.map(drop)
        })
    }

    fn tail(&self) -> Pending<'_, Box<dyn TailReader>> {
        Box::pin(async move { Ok(Box::new(Tail(self.clone())) as Box<dyn TailReader>) })
    }

    fn join<'a>(
        &'a self,
        seat: &'a Seat,
        start: Start,
        policy: &'a GroupPolicy,
    ) -> Pending<'a, ()> {
        Box::pin(self.join_group(seat, start, policy))
    }

    fn reader(&self) -> Pending<'_, Box<dyn GroupReader>> {
        Box::pin(async move { Ok(Box::new(Reader(self.clone())) as Box<dyn GroupReader>) })
    }

    fn ack<'a>(&'a self, seat: &'a Seat, ids: &'a [MessageId]) -> Pending<'a, u64> {
        let (seat, ids) = (seat.clone(), stream_ids(ids));
        Box::pin(self.number(move |turn| {
            let (key, group) = (key(&seat.stream), seat.group.as_bytes());
            turn.execute(&Command::Xack(key, group, ids.clone()))
        }))
    }

    fn extend<'a>(&'a self, seat: &'a Seat, ids: &'a [MessageId]) -> Pending<'a, Vec<MessageId>> {
        Box::pin(self.extend_lease(seat, ids))
    }

    fn retry<'a>(&'a self, seat: &'a Seat, failed: &'a Failed, rest: Duration) -> Pending<'a, ()> {
        Box::pin(self.fail(seat, failed, rest))
    }

    fn hand_back<'a>(
        &'a self,
        seat: &'a Seat,
        entries: &'a [(MessageId, u64)],
        _lease: Duration,
    ) -> Pending<'a, ()> {
        Box::pin(self.release(seat, entries))
    }

    fn dead_letter<'a>(
        &'a self,
        seat: &'a Seat,
        failed: &'a Failed,
        _to: &'a str, // The group's policy names it.
    ) -> Pending<'a, ()> {
        Box::pin(self.bury(seat, failed))
    }

    fn redrive<'a>(
        &'a self,
        seat: &'a Seat,
        _from: &'a str, // The group's policy names it.
        letters: &'a [Entry],
    ) -> Pending<'a, u64> {
        Box::pin(self.give_again(seat, letters))
    }

    fn tend<'a>(
        &'a self,
        _seat: &'a Seat,
        _lease: Duration,
        _count: usize,
    ) -> Pending<'a, Vec<Delivered>> {
        Box::pin(async { Ok(Vec::new()) }) // The engine does so.
    }

    fn leave<'a>(&'a self, seat: &'a Seat) -> Pending<'a, ()> {
        Box::pin(self.leave_group(seat))
    }

    fn groups<'a>(&'a self, stream: &'a str) -> Pending<'a, Vec<GroupFacts>> {
        Box::pin(self.all_groups(stream))
    }

    fn now_ms<'a>(&'a self, _key: &'a str) -> Pending<'a, u64> {
        Box::pin(async { Ok(self.wall_ms()) })
    }

    fn schedule(&self, entry: Append, due: Due) -> Pending<'_, String> {
        Box::pin(self.append_later(entry, due))
    }

    fn cancel<'a>(&'a self, stream: &'a str, handle: &'a str) -> Pending<'a, bool> {
        Box::pin(self.cancel_later(stream, handle))
    }

    fn get<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Vec<u8>>> {
        let name = name.to_owned();
        Box::pin(async move {
            match self.reply(move |turn| turn.execute(&Command::Get(key(&name)))).await? {
                Reply::Bytes(bytes) => Ok(Some(bytes.to_vec())),
                Reply::Nil => Ok(None),
                other => Err(Error::protocol(other)),
            }
        })
    }

    fn set<'a>(
        &'a self,
        name: &'a str,
        value: Vec<u8>,
        ttl: Option<Duration>,
        only_new: bool,
    ) -> Pending<'a, bool> {
        Box::pin(self.set_key(name.to_owned(), value, ttl, only_new))
    }

    fn renew<'a>(
        &'a self,
        name: &'a str,
        value: &'a [u8],
        ttl: Option<Duration>,
    ) -> Pending<'a, bool> {
        let (name, value) = (name.to_owned(), value.to_vec());
        // What is to go has its time over at once.
        let at = self.wall_ms().saturating_add(ttl.map_or(0, |ttl| milliseconds(ttl).max(1)));
        Box::pin(async move {
            let set = self.reply(move |turn| {
                let when = SetWhen { exists: None, compare: Some(Compare::Equals(&value)) };
                let (key, expiry) = (key(&name), SetExpiry::At(at));
                turn.execute(&Command::Set(Set { key, value: &value, when, expiry, get: false }))
            });
            Ok(set.await? != Reply::Nil)
        })
    }

    fn incr<'a>(&'a self, name: &'a str, by: i64) -> Pending<'a, i64> {
        let name = name.to_owned();
        Box::pin(async move {
            match self.reply(move |turn| turn.execute(&Command::Incrby(key(&name), by))).await? {
                Reply::Integer(sum) => Ok(sum),
                other => Err(Error::protocol(other)),
            }
        })
    }

    fn remove<'a>(&'a self, name: &'a str) -> Pending<'a, bool> {
        let name = name.to_owned();
        Box::pin(async move {
            let del = self.number(move |turn| turn.execute(&Command::Del(vec![key(&name)])));
            Ok(del.await? > 0)
        })
    }

    fn publish<'a>(&'a self, channel: &'a str, payload: Vec<u8>) -> Pending<'a, u64> {
        let channel = channel.to_owned();
        Box::pin(self.number(move |turn| turn.publish(channel.as_bytes(), &payload)))
    }

    fn listen<'a>(&'a self, channels: &'a [String]) -> Pending<'a, Box<dyn Listener>> {
        Box::pin(listen::listen(&self.engine, channels))
    }
}
