//! Levada, Redis or Valkey over the network.
//!
//! One connection is shared by everything that does not block; each reader has one of its own, and
//! so have transactions that watch keys. What the server cannot do is done here as far as it can
//! be: `group` for leases and dead letters, `delay` for entries that are appended later. `place` is
//! what a URL names, `sentinel` finds a master, `cluster` is many of these behind one face.

mod channels;
pub(crate) mod cluster;
mod copies;
mod delay;
mod group;
mod keep;
mod letters;
mod link;
mod parse;
mod place;
mod probe;
mod sentinel;

use std::time::Duration;

use redis::{Cmd, Pipeline, Value, cmd};

use self::group::{Reader, milliseconds};
use self::link::{Link, Target};
use self::place::{Kind, Place};
use super::{
    Append, Backend, ConsumerFacts, Delivered, Due, Failed, GroupFacts, GroupPolicy, GroupReader,
    Listener, Pending, Seat, Start, TailReader,
};
use crate::capabilities::Capabilities;
use crate::durability::{Copies, Durability};
use crate::error::{Error, Result};
use crate::message::{Entry, Fields, MessageId};

/// A server.
#[derive(Debug)]
pub(crate) struct Redis {
    link: Link,
    /// For what waits until it is copied, and holds up what comes behind it.
    copying: Link,
    /// For WATCH: one transaction at a time.
    watching: tokio::sync::Mutex<Link>,
    capabilities: Capabilities,
}

/// A client of the redis crate for the one server that a URL names.
pub(crate) fn client(url: &str) -> Result<redis::Client> {
    provide_tls();
    let place = Place::parse(url)?;
    match place.kind() {
        Kind::Server => place.client(&place.hosts()[0]),
        Kind::Sentinel | Kind::Cluster => Err(Error::Url {
            url: place.hosts().join(","),
            why: "this asks one server, which redis:// or rediss:// names".to_owned(),
        }),
    }
}

impl Redis {
    /// Connects and finds out what the server can do.
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        provide_tls();
        let place = Place::parse(url)?;
        let target = match place.kind() {
            Kind::Sentinel => Target::Watched(Box::new(place)),
            Kind::Server | Kind::Cluster => Target::Server(place.client(&place.hosts()[0])?),
        };
        Self::over(target).await
    }

    async fn over(target: Target) -> Result<Self> {
        let link = Link::shared(target.clone());
        link.connect().await?;
        let info = probe::info_text(&link.run(cmd("INFO").arg("server")).await?);
        let commands = link.run(cmd("COMMAND").arg("INFO").arg(&probe::COMMANDS)).await?;
        let mut capabilities = probe::capabilities(&info, &commands);
        if !capabilities.leases {
            let script = link.run(cmd("EVAL").arg("return 1").arg(0)).await;
            capabilities.scripts = !script.is_err_and(|error| is_no_script(&error));
        }
        Ok(Self {
            copying: link.another(false),
            watching: tokio::sync::Mutex::new(Link::blocking(target)),
            capabilities,
            link,
        })
    }

    /// Unix milliseconds by the server's clock. It is asked each time: an offset to ours would be
    /// wrong as soon as one of both is set, or another server takes the place of this one.
    async fn time(&self) -> Result<u64> {
        parse::unix_ms(self.link.run(&cmd("TIME")).await?)
    }

    /// What the clock of the server says where the earliest member of a sorted set is due by it.
    async fn is_due(&self, key: &str) -> Result<Option<u64>> {
        let mut both = Pipeline::with_capacity(2);
        both.cmd("ZRANGE").arg(key).arg(0).arg(0).arg("WITHSCORES").cmd("TIME");
        let mut answers = self.link.run_all(&both).await?.into_iter();
        let (Some(first), Some(now)) = (answers.next(), answers.next()) else {
            return Err(Error::protocol("nothing"));
        };
        let (first, now) = (parse::first_score(first?)?, parse::unix_ms(now?)?);
        Ok(first.filter(|due| *due <= now).map(|_| now))
    }

    /// XADD, idempotent where the server can be; a script that is where it cannot.
    fn add(&self, entry: &Append) -> Cmd {
        if let (Some(once), true) = (&entry.once, self.is_emulated(entry)) {
            return delay::add_once(entry, once);
        }
        let mut add = cmd("XADD");
        add.arg(&entry.stream);
        if let Some(once) = &entry.once {
            add.arg("IDMP").arg(&once.producer).arg(&once.id);
        }
        add.arg("*");
        arguments(&mut add, &entry.fields);
        add
    }

    async fn append_all(&self, entries: Vec<Append>) -> Result<Vec<Result<MessageId>>> {
        if self.needs_turns(&entries) {
            return self.append_each(entries, Durability::leader()).await;
        }
        let answers = if let [entry] = entries.as_slice() {
            vec![self.link.run(&self.add(entry)).await]
        } else {
            let mut pipeline = Pipeline::with_capacity(entries.len());
            for entry in &entries {
                pipeline.add_command(self.add(entry));
            }
            self.link.run_all(&pipeline).await?
        };
        let mut ids = Vec::with_capacity(entries.len());
        for (entry, answer) in entries.iter().zip(answers) {
            ids.push(match self.needs_transaction(entry, &answer) {
                true => self.append_once(entry, Durability::leader()).await,
                false => answer.and_then(|id| parse::id(&id)),
            });
        }
        Ok(ids)
    }

    /// Whether what [`Redis::add`] makes could not be carried out as a script, or found the mark of
    /// a transaction that was not finished.
    fn needs_transaction(&self, entry: &Append, answer: &Result<Value>) -> bool {
        self.is_emulated(entry)
            && match answer {
                Ok(id) => parse::text_of(id).is_some_and(|id| id.is_empty()),
                Err(error) => is_no_script(error),
            }
    }

    /// Whether it is to be recognised, and the server does not do so by itself.
    fn is_emulated(&self, entry: &Append) -> bool {
        entry.once.is_some() && !self.capabilities.idempotent_append
    }

    /// Whether some of them need a transaction each: there is no script that would do it.
    fn needs_turns(&self, entries: &[Append]) -> bool {
        !self.capabilities.scripts && entries.iter().any(|entry| self.is_emulated(entry))
    }

    /// An error where a key is of another type: in a transaction what comes behind a command that
    /// fails is carried out all the same.
    async fn expect_stream(&self, link: &Link, key: &str) -> Result<()> {
        link.run(cmd("XLEN").arg(key)).await.map(drop)
    }

    /// The groups of a stream, each with its first pending id.
    async fn all_groups(&self, stream: &str) -> Result<Vec<GroupFacts>> {
        let groups = match self.link.run(cmd("XINFO").arg("GROUPS").arg(stream)).await {
            Err(Error::NotFound(_)) => return Ok(Vec::new()),
            groups => groups?,
        };
        let mut groups = parse::groups(groups)?;
        let mut pipeline = Pipeline::new();
        for group in &groups {
            pipeline.cmd("XPENDING").arg(stream).arg(&group.name).arg("-").arg("+").arg(1);
        }
        for (group, rows) in groups.iter_mut().zip(self.link.run_all(&pipeline).await?) {
            group.first_pending = parse::pending_rows(rows?)?.first().map(|row| row.id);
        }
        Ok(groups)
    }

    async fn leave_group(&self, seat: &Seat) -> Result<()> {
        let mut pending = cmd("XPENDING");
        pending.arg(&*seat.stream).arg(&*seat.group).arg("-").arg("+").arg(1).arg(&*seat.consumer);
        if !parse::pending_rows(self.link.run(&pending).await?)?.is_empty() {
            return Ok(());
        }
        let mut delete = cmd("XGROUP");
        delete.arg("DELCONSUMER").arg(&*seat.stream).arg(&*seat.group).arg(&*seat.consumer);
        self.link.run(&delete).await.map(drop)
    }

    async fn count(&self, command: &Cmd) -> Result<u64> {
        parse::count(&self.link.run(command).await?)
    }
}

/// Whether a script was refused and changed nothing: its user may run none, there is no such
/// command, or it has more arguments than a script can hold.
fn is_no_script(error: &Error) -> bool {
    let Error::Refused(why) = error else {
        return false;
    };
    let why = why.strip_prefix("ERR ").unwrap_or(why);
    why.starts_with("NOPERM")
        || why.starts_with("unknown command")
        || why.contains("too many results to unpack")
}

/// One provider for TLS, whatever else is linked; an error says that there is one already.
fn provide_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The fields of an entry, as arguments.
fn arguments(command: &mut Cmd, fields: &Fields) {
    for (name, value) in &fields.0 {
        command.arg(name).arg(value);
    }
}

/// `COMMAND key id ...`
fn with_ids(command: &str, keys: &[&str], ids: &[MessageId]) -> Cmd {
    let mut cmd = cmd(command);
    for key in keys {
        cmd.arg(key);
    }
    for id in ids {
        cmd.arg(id.to_string());
    }
    cmd
}

/// A reader of a stream, with a connection of its own.
struct Tail(Link);

impl TailReader for Tail {
    fn read<'a>(
        &'a mut self,
        stream: &'a str,
        after: MessageId,
        count: usize,
        wait: Option<Duration>,
    ) -> Pending<'a, Vec<Entry>> {
        Box::pin(async move {
            let mut read = cmd("XREAD");
            read.arg("COUNT").arg(count);
            if let Some(wait) = wait {
                read.arg("BLOCK").arg(milliseconds(wait).max(1));
            }
            read.arg("STREAMS").arg(stream).arg(after.to_string());
            let value = self.0.run_blocking(&read, wait.unwrap_or_default()).await?;
            match parse::streams(value)?.pop() {
                Some((_, entries)) => parse::entries(entries),
                None => Ok(Vec::new()),
            }
        })
    }
}

impl Backend for Redis {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn append(&self, entries: Vec<Append>) -> Pending<'_, Vec<Result<MessageId>>> {
        Box::pin(self.append_all(entries))
    }

    fn append_held(
        &self,
        entries: Vec<Append>,
        durability: Durability,
    ) -> Pending<'_, Vec<Result<MessageId>>> {
        match durability.copies {
            Copies::Leader => self.append(entries),
            Copies::Replicas(_) | Copies::Synced(_) => {
                Box::pin(self.append_copied(entries, durability))
            }
        }
    }

    fn range<'a>(
        &'a self,
        stream: &'a str,
        first: MessageId,
        last: MessageId,
        count: usize,
    ) -> Pending<'a, Vec<Entry>> {
        Box::pin(async move {
            let mut range = with_ids("XRANGE", &[stream], &[first, last]);
            parse::entries(self.link.run(range.arg("COUNT").arg(count)).await?)
        })
    }

    fn len<'a>(&'a self, stream: &'a str) -> Pending<'a, u64> {
        Box::pin(async move { self.count(&with_ids("XLEN", &[stream], &[])).await })
    }

    fn delete<'a>(&'a self, stream: &'a str, ids: &'a [MessageId]) -> Pending<'a, u64> {
        Box::pin(async move { self.count(&with_ids("XDEL", &[stream], ids)).await })
    }

    fn trim_below<'a>(&'a self, stream: &'a str, id: MessageId) -> Pending<'a, u64> {
        Box::pin(async move {
            self.count(cmd("XTRIM").arg(stream).arg("MINID").arg("=").arg(id.to_string())).await
        })
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
        Box::pin(async move {
            if !self.capabilities.retention {
                let backend = self.capabilities.server.clone();
                return Err(Error::Unsupported { backend, what: "it does not trim by itself" });
            }
            let mut set = cmd("XCFGSET");
            set.arg(stream).arg("RETENTION").arg("ACKED");
            self.link.run(&set).await.map(drop)
        })
    }

    fn tail(&self) -> Pending<'_, Box<dyn TailReader>> {
        Box::pin(async move { Ok(Box::new(Tail(self.link.another(true))) as Box<dyn TailReader>) })
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
        Box::pin(async move { Ok(Box::new(Reader::new(self)) as Box<dyn GroupReader>) })
    }

    fn ack<'a>(&'a self, seat: &'a Seat, ids: &'a [MessageId]) -> Pending<'a, u64> {
        Box::pin(
            async move { self.count(&with_ids("XACK", &[&*seat.stream, &*seat.group], ids)).await },
        )
    }

    fn extend<'a>(&'a self, seat: &'a Seat, ids: &'a [MessageId]) -> Pending<'a, Vec<MessageId>> {
        Box::pin(self.extend_lease(seat, ids))
    }

    fn retry<'a>(&'a self, seat: &'a Seat, failed: &'a Failed, rest: Duration) -> Pending<'a, ()> {
        Box::pin(self.rest(seat, failed, rest))
    }

    fn hand_back<'a>(
        &'a self,
        seat: &'a Seat,
        entries: &'a [(MessageId, u64)],
        lease: Duration,
    ) -> Pending<'a, ()> {
        Box::pin(self.give_back(seat, entries, lease))
    }

    fn dead_letter<'a>(
        &'a self,
        seat: &'a Seat,
        failed: &'a Failed,
        to: &'a str,
    ) -> Pending<'a, ()> {
        Box::pin(self.bury(seat, failed, to))
    }

    fn redrive<'a>(
        &'a self,
        seat: &'a Seat,
        from: &'a str,
        letters: &'a [Entry],
    ) -> Pending<'a, u64> {
        Box::pin(self.give_again(seat, from, letters))
    }

    fn tend<'a>(
        &'a self,
        seat: &'a Seat,
        lease: Duration,
        count: usize,
    ) -> Pending<'a, Vec<Delivered>> {
        Box::pin(async move {
            if self.capabilities.sorted_sets && !self.capabilities.schedule {
                self.move_due(&seat.stream).await?;
            }
            match self.capabilities.leases {
                true => Ok(Vec::new()),
                false => self.take_over(seat, lease, count).await,
            }
        })
    }

    fn leave<'a>(&'a self, seat: &'a Seat) -> Pending<'a, ()> {
        Box::pin(self.leave_group(seat))
    }

    fn groups<'a>(&'a self, stream: &'a str) -> Pending<'a, Vec<GroupFacts>> {
        Box::pin(self.all_groups(stream))
    }

    fn streams<'a>(&'a self, pattern: &'a str) -> Pending<'a, Vec<String>> {
        Box::pin(self.all_streams(pattern))
    }

    fn consumers<'a>(&'a self, stream: &'a str, group: &'a str) -> Pending<'a, Vec<ConsumerFacts>> {
        Box::pin(self.all_consumers(stream, group))
    }

    fn remove_consumer<'a>(
        &'a self,
        seat: &'a Seat,
        heir: Option<&'a str>,
        idle: Duration,
    ) -> Pending<'a, bool> {
        Box::pin(self.retire_consumer(seat, heir, idle))
    }

    fn now_ms<'a>(&'a self, _key: &'a str) -> Pending<'a, u64> {
        Box::pin(self.time())
    }

    fn schedule(&self, entry: Append, due: Due) -> Pending<'_, String> {
        Box::pin(self.append_later(entry, due))
    }

    fn cancel<'a>(&'a self, stream: &'a str, handle: &'a str) -> Pending<'a, bool> {
        Box::pin(self.cancel_later(stream, handle))
    }

    fn get<'a>(&'a self, key: &'a str) -> Pending<'a, Option<Vec<u8>>> {
        Box::pin(async move { Ok(parse::bytes_of(&self.link.run(cmd("GET").arg(key)).await?)) })
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Option<Duration>,
        only_new: bool,
    ) -> Pending<'a, bool> {
        Box::pin(async move {
            let mut set = cmd("SET");
            set.arg(key).arg(value);
            if let Some(ttl) = ttl {
                set.arg("PX").arg(milliseconds(ttl).max(1));
            }
            if only_new {
                set.arg("NX");
            }
            Ok(self.link.run(&set).await? != Value::Nil)
        })
    }

    fn renew<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        ttl: Option<Duration>,
    ) -> Pending<'a, bool> {
        Box::pin(self.renew_key(key, value, ttl))
    }

    fn incr<'a>(&'a self, key: &'a str, by: i64) -> Pending<'a, i64> {
        Box::pin(
            async move { parse::integer(&self.link.run(cmd("INCRBY").arg(key).arg(by)).await?) },
        )
    }

    fn remove<'a>(&'a self, key: &'a str) -> Pending<'a, bool> {
        Box::pin(async move { Ok(self.count(cmd("DEL").arg(key)).await? > 0) })
    }

    fn publish<'a>(&'a self, channel: &'a str, payload: Vec<u8>) -> Pending<'a, u64> {
        Box::pin(async move { self.count(cmd("PUBLISH").arg(channel).arg(payload)).await })
    }

    fn listen<'a>(&'a self, channels: &'a [String]) -> Pending<'a, Box<dyn Listener>> {
        Box::pin(channels::listen(&self.link, channels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refuses_a_script_is_known() {
        let refused = |why: &str| is_no_script(&Error::Refused(why.into()));
        assert!(refused("NOPERM User x has no permissions to run the 'eval' command"));
        assert!(refused("ERR unknown command 'EVAL', with args beginning with: 'return 1' '0' "));
        assert!(!refused("ERR Unknown Redis command called from script script: x"));
        assert!(!refused("WRONGTYPE Operation against a key holding the wrong kind of value"));
        assert!(!is_no_script(&Error::Full("OOM command not allowed".into())));
    }
}
