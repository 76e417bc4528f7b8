//! The engine inside your process: a thread that owns a shard, and a handle to it.
//!
//! Calls of all threads are gathered while the last batch is on its way to disk and share the next
//! one: that is group commit. A call returns when what it did is durable.

// Named by its path, for the tests compile this file a second time: see `shuttled`.
#[path = "engine/call.rs"]
mod call;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    path::Path,
    time::Duration,
};

use levada_core::{
    command::{
        Command, Idempotent, Key, NewId, ReadFrom, ReadMost, References, Trim, TrimKeep, Xadd,
        XgroupCreate, Xrange, Xread, Xreadgroup,
    },
    error::Error as Refused,
    fields::Fields,
    id::StreamId,
    reply::Reply,
};

pub use self::call::{Answered, Call, Turn};
use self::call::{Caller, Execute, Run};
use super::{
    subscription::{Queue, Subscription},
    threads::{
        mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError},
        thread::{self, JoinHandle},
    },
};
use crate::{
    clock::{Clock, Now},
    disk::file::FileDisk,
    error::{Error, ErrorKind},
    shard::{
        Answer, BlockedRead, BlockedReadgroup, ClientId, Delivery, Entry, Event, Listening,
        Outcome, Shard, ShardSettings, Wait,
    },
    store::{
        Recovered, Store,
        local::{LocalSettings, LocalStore},
        memory::MemStore,
    },
};

/// Names and values of an entry.
pub type FieldsOf<'a> = &'a [(&'a str, &'a [u8])];

/// A durable stream engine in this process. Dropping the last handle shuts it down cleanly.
///
/// ```
/// use levada_engine::Engine;
///
/// # fn main() -> Result<(), levada_engine::Error> {
/// # let dir = std::env::temp_dir().join(format!("levada-doc-{}", std::process::id()));
/// let engine = Engine::open(&dir)?;
/// engine.create_group("orders", "billing")?;
/// let id = engine.add("orders", &[("total", b"12.50")])?; // On disk when this returns.
///
/// let batch = engine.read_group("orders", "billing", "worker-1", 10, None)?;
/// assert_eq!(batch[0].id, id);
/// assert_eq!(engine.ack("orders", "billing", &[id])?, 1);
/// # drop(engine);
/// # let _ = std::fs::remove_dir_all(&dir);
/// # Ok(())
/// # }
/// ```
pub struct Engine {
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

/// Where the driver reads the time.
type ReadClock = Box<dyn FnMut() -> Now + Send>;

/// A call on its way: run until it has an outcome, then answered when durable.
struct Request {
    run: Run,
    blocked: Option<(BlockedRead, Option<Duration>)>,
    answer: Caller,
}

impl Engine {
    /// Opens a data directory, creating it where it is missing, and recovers what it holds. An
    /// error of kind [`ErrorKind::Busy`] where another process has it open.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, Error> {
        let disk = FileDisk::open(directory.as_ref())?;
        let (store, recovered) = LocalStore::open(disk, LocalSettings::default())?;
        Self::start(store, recovered, ShardSettings::default(), Self::system_clock())
    }

    /// An engine that keeps everything in memory and loses it when it is dropped.
    pub fn in_memory() -> Result<Self, Error> {
        Self::in_memory_at_clock(Self::system_clock())
    }

    /// The same with a clock of one's own, for tests. It must never go back. The engine looks at
    /// it in each turn: after time has leapt, any call makes it look.
    pub fn in_memory_at(clock: impl FnMut() -> Now + Send + 'static) -> Result<Self, Error> {
        Self::in_memory_at_clock(Box::new(clock))
    }

    fn in_memory_at_clock(clock: ReadClock) -> Result<Self, Error> {
        let recovered = Recovered::default();
        Self::start(MemStore::default(), recovered, ShardSettings::default(), clock)
    }

    /// The clock of this machine.
    pub(crate) fn system_clock() -> ReadClock {
        let clock = Clock::new();
        Box::new(move || clock.now())
    }

    /// Recovers a store and starts the thread that owns it.
    pub(crate) fn start<S: Store + Send + 'static>(
        store: S,
        recovered: Recovered,
        settings: ShardSettings,
        mut clock: ReadClock,
    ) -> Result<Self, Error> {
        let seed = clock().wall_ms;
        let shard = Shard::recover(store, recovered, settings, seed)?;
        let (requests, inbox) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("levada-engine".into())
            .spawn(move || Driver::new(shard, clock, inbox).run())
            .map_err(|error| Error::io("starting the thread of", "the engine", &error))?;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Appends an entry to a stream, creating it where it is missing. Returns its id when it is
    /// durable.
    pub fn add(&self, stream: &str, fields: FieldsOf<'_>) -> Result<StreamId, Error> {
        self.append(stream, None, fields)
    }

    /// The same, but only once: while `iid` of the producer `pid` is tracked (100 s, the last 100
    /// of each producer), a repetition adds nothing and returns the id of the first. Neither may be
    /// empty.
    pub fn add_once(
        &self,
        stream: &str,
        (pid, iid): (&str, &[u8]),
        fields: FieldsOf<'_>,
    ) -> Result<StreamId, Error> {
        if pid.is_empty() || iid.is_empty() {
            let message = "refused, nothing changed: an idempotent append needs a producer and an \
                           id that are not empty";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        self.append(stream, Some((pid.as_bytes().to_vec(), iid.to_vec())), fields)
    }

    fn append(
        &self,
        stream: &str,
        once: Option<(Vec<u8>, Vec<u8>)>,
        fields: FieldsOf<'_>,
    ) -> Result<StreamId, Error> {
        let stream = stream.as_bytes().to_vec();
        let fields: Vec<(Vec<u8>, Vec<u8>)> =
            fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
        let reply = self.call(move |shard| {
            let flat: Vec<&[u8]> =
                fields.iter().flat_map(|(name, value)| [name.as_slice(), value]).collect();
            shard.execute(&Command::Xadd(Xadd {
                key: key(&stream),
                must_exist: false,
                trim: None,
                id: NewId::Auto,
                fields: Fields::Arguments(&flat),
                idempotent: once
                    .as_ref()
                    .map(|(pid, iid)| Idempotent { pid, iid: Some(iid.as_slice()) }),
            }))
        })?;
        match reply {
            Reply::Id(id) => Ok(id),
            _ => Err(unexpected()),
        }
    }

    /// Number of entries in a stream; 0 where it is missing.
    pub fn len(&self, stream: &str) -> Result<u64, Error> {
        let stream = stream.as_bytes().to_vec();
        count(&self.call(move |shard| shard.execute(&Command::Xlen(key(&stream))))?)
    }

    /// Entries from `first` to `last`, both included, at most `count`.
    pub fn range(
        &self,
        stream: &str,
        first: StreamId,
        last: StreamId,
        count: u64,
    ) -> Result<Vec<Entry>, Error> {
        let stream = stream.as_bytes().to_vec();
        let count = Some(count);
        self.entries(None, move |shard| {
            let key = key(&stream);
            shard.execute(&Command::Xrange(Xrange { key, first, last, reverse: false, count }))
        })
    }

    /// Entries above `after`, at most `count`; waits for the first one up to `timeout`.
    pub fn read(
        &self,
        stream: &str,
        after: StreamId,
        count: u64,
        timeout: Option<Duration>,
    ) -> Result<Vec<Entry>, Error> {
        let stream = stream.as_bytes().to_vec();
        let (count, most) = (Some(count), ReadMost::default());
        let streams = Vec::from([(0, stream.clone(), after)]);
        let blocked =
            timeout.map(|timeout| (BlockedRead::Xread { streams, count, most }, Some(timeout)));
        self.entries(blocked, move |shard| {
            let streams = Vec::from([(key(&stream), ReadFrom::After(after))]);
            shard.execute(&Command::Xread(Xread { streams, count, most }))
        })
    }

    /// Creates a group that reads a stream from its beginning, and the stream where it is missing.
    /// Nothing happens where the group is there.
    pub fn create_group(&self, stream: &str, group: &str) -> Result<(), Error> {
        let (stream, group) = (stream.as_bytes().to_vec(), group.as_bytes().to_vec());
        let done = self.answer(None, move |shard| {
            shard.execute(&Command::XgroupCreate(XgroupCreate {
                key: key(&stream),
                group: &group,
                id: Some(StreamId::MIN),
                create_stream: true,
                entries_read: None,
            }))
        });
        match done {
            Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
            done => done.map(|_| ()),
        }
    }

    /// Entries that no consumer of the group has had, at most `count`; waits for the first one up
    /// to `timeout`. They are pending for the consumer until [`Engine::ack`].
    pub fn read_group(
        &self,
        stream: &str,
        group: &str,
        consumer: &str,
        count: u64,
        timeout: Option<Duration>,
    ) -> Result<Vec<Entry>, Error> {
        let read = BlockedReadgroup {
            group: group.as_bytes().to_vec(),
            consumer: consumer.as_bytes().to_vec(),
            count: Some(count),
            most: ReadMost::default(),
            claim_idle_ms: None,
            no_ack: false,
            streams: Vec::from([(0, stream.as_bytes().to_vec())]),
        };
        let blocked = timeout.map(|timeout| (BlockedRead::Xreadgroup(read.clone()), Some(timeout)));
        self.entries(blocked, move |shard| {
            let streams = read.streams.iter().map(|(_, name)| (key(name), None)).collect();
            shard.execute(&Command::Xreadgroup(Xreadgroup {
                group: &read.group,
                consumer: &read.consumer,
                count: read.count,
                most: read.most,
                claim_idle_ms: None,
                no_ack: false,
                streams,
            }))
        })
    }

    /// Acknowledges entries; returns how many were pending.
    pub fn ack(&self, stream: &str, group: &str, ids: &[StreamId]) -> Result<u64, Error> {
        let (stream, group) = (stream.as_bytes().to_vec(), group.as_bytes().to_vec());
        let ids = ids.to_vec();
        count(
            &self.call(move |shard| {
                shard.execute(&Command::Xack(key(&stream), &group, ids.clone()))
            })?,
        )
    }

    /// Deletes entries; returns how many were there.
    pub fn delete(&self, stream: &str, ids: &[StreamId]) -> Result<u64, Error> {
        let (stream, ids) = (stream.as_bytes().to_vec(), ids.to_vec());
        count(&self.call(move |shard| shard.execute(&Command::Xdel(key(&stream), ids.clone())))?)
    }

    /// Keeps the newest `len` entries; returns how many went.
    pub fn trim(&self, stream: &str, len: u64) -> Result<u64, Error> {
        let stream = stream.as_bytes().to_vec();
        let keep = TrimKeep::MaxLen(len);
        let references = References::Keep;
        let trim = Trim { keep, approximate: false, limit: None, references: Some(references) };
        count(&self.call(move |shard| shard.execute(&Command::Xtrim(key(&stream), trim)))?)
    }

    /// Publishes to a channel; returns how many messages that makes. Nothing is kept of it: only
    /// who listens now gets it, behind everything that was changed before.
    pub fn publish(&self, channel: &str, payload: &[u8]) -> Result<u64, Error> {
        let (channel, payload) = (channel.as_bytes().to_vec(), payload.to_vec());
        count(&self.call(move |shard| shard.publish(&channel, &payload))?)
    }

    /// Listens to channels from now on. Messages wait in a queue of bounded size; see
    /// [`Subscription::recv`].
    ///
    /// ```
    /// use levada_engine::Engine;
    ///
    /// # fn main() -> Result<(), levada_engine::Error> {
    /// let engine = Engine::in_memory()?;
    /// let alarms = engine.subscribe(&["alarms"])?;
    /// assert_eq!(engine.publish("alarms", b"smoke")?, 1);
    /// let message = alarms.recv(None)?.expect("it was published before");
    /// assert_eq!(&*message.payload, b"smoke");
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe(&self, channels: &[&str]) -> Result<Subscription, Error> {
        self.listen(Listening::Channel, channels)
    }

    /// Listens to all channels whose name matches one of the patterns (`*`, `?`, `[a-z]`).
    pub fn subscribe_patterns(&self, patterns: &[&str]) -> Result<Subscription, Error> {
        self.listen(Listening::Pattern, patterns)
    }

    fn listen(&self, listening: Listening, names: &[&str]) -> Result<Subscription, Error> {
        let names: Vec<_> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (queue, subscription) = Subscription::pair();
        match count(&self.call(move |shard| shard.subscribe(listening, &names, &queue))?)? {
            0 => Err(Error::new(ErrorKind::Invalid, "more than 16 MiB of names to listen to")),
            _ => Ok(subscription),
        }
    }

    fn call(
        &self,
        run: impl FnMut(&mut dyn Execute) -> Outcome + Send + 'static,
    ) -> Result<Reply, Error> {
        match self.answer(None, run)? {
            Answered::Reply(reply) => Ok(reply),
            Answered::Entries(_) | Answered::Streams(_) => Err(unexpected()),
        }
    }

    fn entries(
        &self,
        blocked: Option<(BlockedRead, Option<Duration>)>,
        run: impl FnMut(&mut dyn Execute) -> Outcome + Send + 'static,
    ) -> Result<Vec<Entry>, Error> {
        match self.answer(blocked, run)? {
            Answered::Entries(entries) => Ok(entries),
            Answered::Streams(streams) => {
                Ok(streams.into_iter().flat_map(|(_, entries)| entries).collect())
            }
            Answered::Reply(_) => Ok(Vec::new()),
        }
    }

    fn answer(
        &self,
        blocked: Option<(BlockedRead, Option<Duration>)>,
        run: impl FnMut(&mut dyn Execute) -> Outcome + Send + 'static,
    ) -> Result<Answered, Error> {
        let (answer, inbox) = mpsc::sync_channel(1);
        // The caller may have gone; its outcome stands all the same.
        let answer: Caller = Box::new(move |answered| drop(answer.send(answered)));
        let request = Request { run: Box::new(run), blocked, answer };
        let requests = self.requests.as_ref().ok_or_else(closed)?;
        requests.send(request).map_err(|_| closed())?;
        inbox.recv().map_err(|_| closed())?
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn key(name: &[u8]) -> Key<'_> {
    Key { database: 0, name }
}

fn count(reply: &Reply) -> Result<u64, Error> {
    match reply {
        Reply::Integer(count) => Ok(u64::try_from(*count).unwrap_or(0)),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Error {
    Error::new(ErrorKind::Closed, "the engine answered with another type than was asked for")
}

fn closed() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the engine stopped after an error of its disk; whether the call took effect is unknown",
    )
}

/// The error of a call that changed nothing.
fn refused(refused: &Refused) -> Error {
    let kind = match refused {
        Refused::GroupExists | Refused::IdTooSmall => ErrorKind::Conflict,
        Refused::NoSuchKey | Refused::KeyRequired | Refused::NoGroup { .. } => ErrorKind::NotFound,
        Refused::Corrupt { .. } => ErrorKind::Corrupt,
        Refused::DiskFull => ErrorKind::Full,
        _ => ErrorKind::Invalid,
    };
    Error::new(kind, format!("refused, nothing changed: {refused:?}"))
}

/// The thread's side.
struct Driver<S> {
    shard: Shard<S>,
    clock: ReadClock,
    inbox: Receiver<Request>,
    /// Calls that have no outcome yet, by the client number that stands for them.
    open: BTreeMap<ClientId, Request>,
    /// Calls whose outcome is not durable yet, in order.
    waiting: Vec<(Wait, Caller, Result<Answered, Error>)>,
    subscribers: BTreeMap<ClientId, Queue>,
    /// Messages that are not durable yet, or rather what was changed before them; in order.
    messages: VecDeque<Delivery>,
    /// Subscribers that fell behind: they go when the messages before that are sent.
    closed: Vec<ClientId>,
    next_client: u64,
}

/// Calls that are taken into one turn at most.
const CALLS_MAX: usize = 1024;

impl<S: Store> Driver<S> {
    fn new(shard: Shard<S>, clock: ReadClock, inbox: Receiver<Request>) -> Self {
        let (open, subscribers) = (BTreeMap::new(), BTreeMap::new());
        let (waiting, messages) = (Vec::new(), VecDeque::new());
        Self {
            shard,
            clock,
            inbox,
            open,
            waiting,
            subscribers,
            messages,
            closed: Vec::new(),
            next_client: 0,
        }
    }

    /// Turns until the last handle is gone or the disk fails; callers whose answer was not durable
    /// then see [`ErrorKind::Closed`].
    fn run(mut self) {
        while let Ok(true) = self.turn() {}
        self.waiting.clear();
        let Self { mut shard, mut clock, inbox, .. } = self;
        let _ = shard.shut_down(clock());
        drop(shard);
        // Calls that came meanwhile learn of it when they are dropped, and the receiver goes at
        // once behind them. Nothing is documented of what a channel does with what is in it then.
        inbox.try_iter().for_each(drop);
    }

    /// One turn; `false` when every handle is gone.
    fn turn(&mut self) -> Result<bool, Error> {
        match self.next_request() {
            Ok(request) => self.begin(request),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(false),
        }
        for request in self.inbox.try_iter().take(CALLS_MAX).collect::<Vec<_>>() {
            self.begin(request);
        }
        let before = (self.clock)();
        self.shard.commit(before)?;
        self.shard.poll((self.clock)())?;
        self.drain_events();
        self.release();
        if !self.owes_nothing() {
            self.shard.store_mut().wait();
        }
        Ok(true)
    }

    /// The next call; waits for one as long as there is nothing else to do.
    fn next_request(&mut self) -> Result<Request, TryRecvError> {
        if !self.owes_nothing() {
            return self.inbox.try_recv();
        }
        let now = (self.clock)();
        let deadline = self.shard.next_deadline_us(now);
        let patience = deadline.map_or(1_000_000, |at| at.saturating_sub(now.monotonic_us));
        let waited = self.inbox.recv_timeout(Duration::from_micros(patience));
        waited.map_err(|error| match error {
            RecvTimeoutError::Timeout => TryRecvError::Empty,
            RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
        })
    }

    fn owes_nothing(&self) -> bool {
        self.waiting.is_empty() && self.messages.is_empty()
    }

    fn begin(&mut self, request: Request) {
        let client = ClientId(self.next_client);
        self.next_client += 1;
        self.go_on(client, request);
        self.drain_events();
    }

    /// Carries a call out, or leaves it open until its blocks are here or entries come.
    fn go_on(&mut self, client: ClientId, mut request: Request) {
        let now = (self.clock)();
        let Self { shard, subscribers, .. } = self;
        let outcome = (request.run)(&mut call::Bound { shard, subscribers, now, client });
        let Outcome::Done(answer) = outcome else {
            self.open.insert(client, request);
            return;
        };
        match (&answer.result, request.blocked.take()) {
            (Ok(Reply::NilList), Some((read, timeout))) => {
                let micros =
                    |timeout: Duration| u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
                let deadline =
                    timeout.map(|timeout| now.monotonic_us.saturating_add(micros(timeout)));
                self.shard.wait(client, read, deadline);
                self.open.insert(client, request);
            }
            _ => self.answered(request, answer),
        }
    }

    fn drain_events(&mut self) {
        self.drain_messages();
        while let Some(event) = self.shard.poll_event() {
            match event {
                Event::Retry { client } => {
                    if let Some(request) = self.open.remove(&client) {
                        self.go_on(client, request);
                    }
                }
                Event::Served { client, answer } => {
                    if let Some(request) = self.open.remove(&client) {
                        self.answered(request, answer);
                    }
                }
                Event::TimedOut { client } => {
                    if let Some(request) = self.open.remove(&client) {
                        let empty = Answer { result: Ok(Reply::NilList), wait: Wait::Nothing };
                        self.answered(request, empty);
                    }
                }
            }
        }
    }

    /// Counts messages for their subscribers, and ends those that fell behind.
    fn drain_messages(&mut self) {
        while let Some(message) = self.shard.poll_message() {
            let client = message.client;
            match self.subscribers.get(&client).map(|queue| queue.reserve(&message)) {
                Some(true) => self.messages.push_back(message),
                Some(false) => {
                    // What was counted before still comes, then its end.
                    self.shard.forget(client);
                    self.closed.push(client);
                }
                None => {}
            }
        }
    }

    /// Errors wait like anything else: they too show state.
    fn answered(&mut self, request: Request, answer: Answer) {
        let answered = match answer.result {
            Ok(Reply::Entries(found)) => self.shard.entries(&found).map(Answered::Entries),
            Ok(Reply::Streams(streams)) => {
                let mut read = |(stream, found)| Ok((stream, self.shard.entries(&found)?));
                streams.into_iter().map(&mut read).collect::<Result<_, _>>().map(Answered::Streams)
            }
            Ok(reply) => Ok(Answered::Reply(reply)),
            Err(error) => Err(error),
        };
        let answered = answered.map_err(|error| refused(&error));
        self.waiting.push((answer.wait, request.answer, answered));
    }

    /// Answers the calls whose outcome is durable, and sends messages.
    fn release(&mut self) {
        while let Some(message) = self.messages.pop_front() {
            if !self.shard.is_over(message.wait) {
                self.messages.push_front(message);
                break;
            }
            if let Some(queue) = self.subscribers.get(&message.client) {
                queue.send(message);
            }
        }
        if self.messages.is_empty() {
            for client in self.closed.drain(..) {
                self.subscribers.remove(&client);
            }
        }
        for (wait, sender, answered) in std::mem::take(&mut self.waiting) {
            if self.shard.is_over(wait) {
                sender(answered);
            } else {
                self.waiting.push((wait, sender, answered));
            }
        }
    }
}
