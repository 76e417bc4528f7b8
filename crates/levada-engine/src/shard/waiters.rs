//! Readers that wait for entries.
//!
//! First come, first served, per key. A reader is served by carrying out its command again right
//! after the command that fed it: the delivery stands in the same batch as the entry, and a `>`
//! that arrives later cannot steal from one that waits. As many readers of a group are woken as
//! there are entries: behind the first that gets nothing, its group is not asked again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use levada_core::{
    command::{Command, Key, ReadFrom, Xread, Xreadgroup},
    error::Error as Refused,
    id::StreamId,
    reply::Reply,
};

use super::{Answer, ClientId, Event, Shard, execute::Undecided, transaction::Name};
use crate::{clock::Now, store::Store};

/// A read that waits.
#[derive(Clone, Debug)]
pub enum BlockedRead {
    /// XREAD BLOCK: database, name, and the id above which something must appear.
    Xread {
        /// Streams; `$` is already the last id.
        streams: Vec<(u8, Vec<u8>, StreamId)>,
        /// COUNT.
        count: Option<u64>,
    },
    /// XREADGROUP BLOCK with `>`.
    Xreadgroup(BlockedReadgroup),
}

/// An XREADGROUP that waits.
#[derive(Clone, Debug)]
pub struct BlockedReadgroup {
    /// The group.
    pub group: Vec<u8>,
    /// Who reads.
    pub consumer: Vec<u8>,
    /// COUNT.
    pub count: Option<u64>,
    /// NOACK.
    pub no_ack: bool,
    /// Database and name of each stream.
    pub streams: Vec<(u8, Vec<u8>)>,
}

impl BlockedRead {
    fn names(&self) -> BTreeSet<Name> {
        match self {
            Self::Xread { streams, .. } => {
                streams.iter().map(|(database, name, _)| (*database, name.clone())).collect()
            }
            Self::Xreadgroup(read) => read.streams.iter().cloned().collect(),
        }
    }

    /// The command that it was.
    fn command(&self) -> Command<'_> {
        match self {
            Self::Xread { streams, count } => {
                let streams = streams.iter().map(|(database, name, id)| {
                    (Key { database: *database, name }, ReadFrom::After(*id))
                });
                Command::Xread(Xread { streams: streams.collect(), count: *count })
            }
            Self::Xreadgroup(read) => Command::Xreadgroup(Xreadgroup {
                group: &read.group,
                consumer: &read.consumer,
                count: read.count,
                no_ack: read.no_ack,
                streams: read
                    .streams
                    .iter()
                    .map(|(database, name)| (Key { database: *database, name }, None))
                    .collect(),
            }),
        }
    }

    /// The group that it competes in, if it waits for one stream only.
    fn competes_in(&self) -> Option<&[u8]> {
        match self {
            Self::Xreadgroup(read) if read.streams.len() == 1 => Some(&read.group),
            _ => None,
        }
    }
}

/// Everyone who waits.
#[derive(Default, Debug)]
pub(super) struct Waiters {
    clients: BTreeMap<ClientId, (BlockedRead, Option<u64>)>,
    queues: BTreeMap<Name, VecDeque<ClientId>>,
    deadlines: BTreeSet<(u64, ClientId)>,
    /// Keys that changed since waiters were last served, in order.
    fed: Vec<Name>,
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub(super) fn keys(&self) -> usize {
        self.queues.len()
    }

    pub(super) fn next_deadline_us(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline_us, _)| *deadline_us)
    }

    /// A key changed: its waiters are to be looked at.
    pub(super) fn feed(&mut self, name: Name) {
        if self.queues.contains_key(&name) && self.fed.last() != Some(&name) {
            self.fed.push(name);
        }
    }

    /// All keys of a database changed, or of all databases.
    pub(super) fn feed_all(&mut self, database: Option<u8>) {
        let here = |name: &&Name| database.is_none_or(|database| database == name.0);
        self.fed.extend(self.queues.keys().filter(here).cloned());
    }

    fn insert(&mut self, client: ClientId, read: BlockedRead, deadline_us: Option<u64>) {
        for name in read.names() {
            self.queues.entry(name).or_default().push_back(client);
        }
        self.deadlines.extend(deadline_us.map(|deadline_us| (deadline_us, client)));
        self.clients.insert(client, (read, deadline_us));
    }

    fn remove(&mut self, client: ClientId) -> bool {
        let Some((read, deadline_us)) = self.clients.remove(&client) else {
            return false;
        };
        for name in read.names() {
            if let Some(queue) = self.queues.get_mut(&name) {
                queue.retain(|waiting| *waiting != client);
                if queue.is_empty() {
                    self.queues.remove(&name);
                }
            }
        }
        if let Some(deadline_us) = deadline_us {
            self.deadlines.remove(&(deadline_us, client));
        }
        true
    }
}

impl<S: Store> Shard<S> {
    /// Lets a client wait, after its read was answered with [`Reply::NilList`]: until an entry
    /// comes, or until a monotonic time in microseconds.
    pub fn wait(&mut self, client: ClientId, read: BlockedRead, deadline_us: Option<u64>) {
        self.cancel_wait(client);
        self.waiters.insert(client, read, deadline_us);
    }

    /// Ends a wait without an answer; whether there was one.
    pub fn cancel_wait(&mut self, client: ClientId) -> bool {
        self.waiters.remove(client)
    }

    pub(super) fn time_out(&mut self, now: Now) {
        while let Some((deadline_us, client)) = self.waiters.deadlines.first().copied() {
            if deadline_us > now.monotonic_us {
                break;
            }
            self.waiters.remove(client);
            self.events.push_back(Event::TimedOut { client });
        }
    }

    /// Serves the readers of the keys that changed, in the order in which they came. A reader's own
    /// effects (deliveries) feed nobody.
    pub(super) fn serve_waiters(&mut self, now: Now) {
        for name in std::mem::take(&mut self.waiters.fed) {
            let Some(queue) = self.waiters.queues.get(&name) else {
                continue;
            };
            let queue: Vec<_> = queue.iter().copied().collect();
            let mut exhausted = BTreeSet::new();
            for client in queue {
                let Some((read, _)) = self.waiters.clients.get(&client) else {
                    continue;
                };
                if read.competes_in().is_some_and(|group| exhausted.contains(group)) {
                    continue;
                }
                let read = read.clone();
                match self.serve(now, client, &read) {
                    Some(answer) => {
                        self.waiters.remove(client);
                        self.events.push_back(Event::Served { client, answer });
                    }
                    None => exhausted.extend(read.competes_in().map(<[u8]>::to_vec)),
                }
            }
        }
    }

    /// The answer to a read that waits, if there is one by now.
    fn serve(&mut self, now: Now, client: ClientId, read: &BlockedRead) -> Option<Answer> {
        let command = read.command();
        let answer = match self.decide(client, &command, true) {
            Ok(decision) if decision.reply == Reply::NilList => None,
            Ok(decision) => Some(self.carry_out(now, &command, decision)),
            // XREAD goes on waiting where the key now holds something else; a group cannot.
            Err(Undecided::Refused(Refused::WrongType))
                if matches!(read, BlockedRead::Xread { .. }) =>
            {
                None
            }
            Err(Undecided::Refused(refused)) => Some(self.refuse(&command, refused)),
            Err(Undecided::Reading) => None,
        };
        self.pinned.remove(&client);
        answer
    }
}
