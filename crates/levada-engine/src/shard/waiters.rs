//! Readers that wait for entries.
//!
//! First come, first served, per key. A reader is served by carrying out its command again right
//! after the command that fed it: the delivery stands in the same batch as the entry, and a `>`
//! that arrives later cannot steal from one that waits. As many readers of a group are woken as
//! there are entries: behind the first that gets nothing, its group is not asked again.
//!
//! A reader with CLAIM also waits for what is pending to become old enough. The time of the next
//! such moment is kept for it; whatever happens to the pending list of a stream that it reads
//! counts it anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use levada_core::{
    command::{Command, Key, ReadFrom, ReadMost, Xread, Xreadgroup},
    effect::Effect,
    error::Error as Refused,
    id::StreamId,
    reply::Reply,
};

use super::{Answer, ClientId, Event, Shard, execute::Undecided, transaction::Name};
use crate::{clock::Now, store::Store};

/// A read that waits.
#[derive(Clone, PartialEq, Debug)]
pub enum BlockedRead {
    /// XREAD BLOCK: database, name, and the id above which something must appear.
    Xread {
        /// Streams; `$` is already the last id.
        streams: Vec<(u8, Vec<u8>, StreamId)>,
        /// COUNT.
        count: Option<u64>,
        /// MAXCOUNT, MAXSIZE.
        most: ReadMost,
    },
    /// XREADGROUP BLOCK with `>`.
    Xreadgroup(BlockedReadgroup),
}

/// An XREADGROUP that waits.
#[derive(Clone, PartialEq, Debug)]
pub struct BlockedReadgroup {
    /// The group.
    pub group: Vec<u8>,
    /// Who reads.
    pub consumer: Vec<u8>,
    /// COUNT.
    pub count: Option<u64>,
    /// MAXCOUNT, MAXSIZE.
    pub most: ReadMost,
    /// CLAIM: also what is pending and idle for so many milliseconds.
    pub claim_idle_ms: Option<u64>,
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
            Self::Xread { streams, count, most } => {
                let streams = streams.iter().map(|(database, name, id)| {
                    (Key { database: *database, name }, ReadFrom::After(*id))
                });
                let (count, most) = (*count, *most);
                Command::Xread(Xread { streams: streams.collect(), count, most })
            }
            Self::Xreadgroup(read) => Command::Xreadgroup(Xreadgroup {
                group: &read.group,
                consumer: &read.consumer,
                count: read.count,
                most: read.most,
                claim_idle_ms: read.claim_idle_ms,
                no_ack: read.no_ack,
                streams: read
                    .streams
                    .iter()
                    .map(|(database, name)| (Key { database: *database, name }, None))
                    .collect(),
            }),
        }
    }

    /// Whether it also waits for what is pending to become old.
    fn claims(&self) -> bool {
        matches!(self, Self::Xreadgroup(read) if read.claim_idle_ms.is_some())
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
    /// When something pending may be old enough for a reader with CLAIM, in unix milliseconds.
    claims: BTreeSet<(u64, ClientId)>,
    /// The same the other way round, `None` where nothing is pending; all readers with CLAIM.
    claimers: BTreeMap<ClientId, Option<u64>>,
    /// Keys whose pending entries changed since claims were last counted.
    shifted: BTreeSet<Name>,
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

    /// What is pending in a stream changed: claims on it are to be counted anew.
    pub(super) fn shift(&mut self, name: Name) {
        if !self.claimers.is_empty() && self.queues.contains_key(&name) {
            self.shifted.insert(name);
        }
    }

    /// When something pending may be old enough for a reader, in unix milliseconds.
    pub(super) fn next_claim_ms(&self) -> Option<u64> {
        self.claims.first().map(|(claim_ms, _)| *claim_ms)
    }

    fn set_claim(&mut self, client: ClientId, claim_ms: Option<u64>) {
        if let Some(Some(before)) = self.claimers.insert(client, claim_ms) {
            self.claims.remove(&(before, client));
        }
        self.claims.extend(claim_ms.map(|claim_ms| (claim_ms, client)));
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
        match read {
            BlockedRead::Xread { streams, .. } => {
                for (database, name, _) in streams {
                    self.leave(client, &(database, name));
                }
            }
            BlockedRead::Xreadgroup(read) => {
                read.streams.iter().for_each(|name| self.leave(client, name));
            }
        }
        if let Some(deadline_us) = deadline_us {
            self.deadlines.remove(&(deadline_us, client));
        }
        if let Some(Some(claim_ms)) = self.claimers.remove(&client) {
            self.claims.remove(&(claim_ms, client));
        }
        true
    }

    /// Takes a client out of a queue; who is served is most often its first.
    fn leave(&mut self, client: ClientId, name: &Name) {
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        if let Some(at) = queue.iter().position(|waiting| *waiting == client) {
            queue.remove(at);
        }
        if queue.is_empty() {
            self.queues.remove(name);
        }
    }
}

impl<S: Store> Shard<S> {
    /// Lets a client wait, after its read was answered with [`Reply::NilList`]: until an entry
    /// comes, or until a monotonic time in microseconds.
    pub fn wait(&mut self, client: ClientId, read: BlockedRead, deadline_us: Option<u64>) {
        self.cancel_wait(client);
        let claims = read.claims();
        let claim_ms = self.next_claim_ms(&read);
        let names = read.names();
        let goes_on =
            matches!(&read, BlockedRead::Xreadgroup(read) if self.may_be_held_up_in(read));
        self.waiters.insert(client, read, deadline_us);
        if goes_on {
            // Its first question may have ended before all that is new was looked at, or may have
            // made room by forgetting what is gone.
            names.into_iter().for_each(|name| self.waiters.feed(name));
        }
        if claims {
            self.waiters.set_claim(client, claim_ms);
        }
    }

    fn may_be_held_up_in(&self, read: &BlockedReadgroup) -> bool {
        read.streams.iter().any(|(database, name)| {
            let found = self.machine.stream(Key { database: *database, name });
            let group = found.and_then(|(_, stream)| stream.groups.find(&read.group));
            group.is_some_and(|(_, group)| group.policy.holds_up())
        })
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
    pub(super) fn serve_waiters(&mut self) {
        if self.waiters.is_empty() {
            return;
        }
        // Again as long as a reader meets a key that has expired, which concerns others.
        while !self.waiters.fed.is_empty() {
            for name in std::mem::take(&mut self.waiters.fed) {
                self.serve_queue(&name);
            }
        }
        self.serve_claims();
    }

    fn serve_queue(&mut self, name: &Name) {
        let Some(queue) = self.waiters.queues.get(name) else {
            return;
        };
        let mut queue = queue.iter().copied().collect::<Vec<_>>().into_iter();
        let mut exhausted = BTreeSet::new();
        let mut before: Option<(BlockedRead, Option<Answer>)> = None;
        while let Some(client) = queue.next() {
            let Some((read, _)) = self.waiters.clients.get(&client) else {
                continue;
            };
            if read.competes_in().is_some_and(|group| exhausted.contains(group)) {
                continue;
            }
            // Who asks for the same as the one before gets the same: a read of entries changes
            // nothing, nor does a group that is served in between change entries.
            if let Some((_, answer)) = before.as_ref().filter(|(before, _)| before == read) {
                let served = answer.clone().map(|answer| Event::Served { client, answer });
                if served.is_some() {
                    self.waiters.remove(client);
                }
                self.events.extend(served);
                continue;
            }
            let read = read.clone();
            let answer = self.serve(client, &read);
            if matches!(read, BlockedRead::Xread { .. }) && !queue.as_slice().is_empty() {
                before = Some((read.clone(), answer.clone()));
            }
            match answer {
                Some(answer) => {
                    self.waiters.remove(client);
                    self.events.push_back(Event::Served { client, answer });
                }
                None => exhausted.extend(read.competes_in().map(<[u8]>::to_vec)),
            }
        }
    }

    /// Serves the readers for whom something pending has become old enough, longest due first.
    fn serve_claims(&mut self) {
        loop {
            for name in std::mem::take(&mut self.waiters.shifted) {
                for client in self.waiters.queues.get(&name).cloned().unwrap_or_default() {
                    self.count_claim(client);
                }
            }
            let due = self.waiters.claims.iter().take_while(|(at_ms, _)| *at_ms <= self.now_ms);
            let due: Vec<_> = due.map(|(_, client)| *client).collect();
            if due.is_empty() {
                break;
            }
            for client in due {
                let Some((read, _)) = self.waiters.clients.get(&client).cloned() else {
                    continue;
                };
                if let Some(answer) = self.serve(client, &read) {
                    self.waiters.remove(client);
                    self.events.push_back(Event::Served { client, answer });
                } else {
                    // What is old enough is gone from the stream; the next one may be there.
                    let claim_ms = self.next_claim_ms(&read);
                    self.waiters.set_claim(client, claim_ms);
                }
            }
        }
    }

    /// Counts anew when a reader with CLAIM is due; at once where something old may have come.
    fn count_claim(&mut self, client: ClientId) {
        if !self.waiters.claimers.contains_key(&client) {
            return;
        }
        let Some((BlockedRead::Xreadgroup(read), _)) = self.waiters.clients.get(&client) else {
            return;
        };
        let claim_ms = self.claim_ms(read, None);
        self.waiters.set_claim(client, claim_ms);
    }

    /// When something that is too young now will be old enough for a read, in unix milliseconds.
    fn next_claim_ms(&self, read: &BlockedRead) -> Option<u64> {
        let BlockedRead::Xreadgroup(read) = read else {
            return None;
        };
        self.claim_ms(read, self.now_ms.checked_sub(read.claim_idle_ms?))
    }

    /// When the oldest pending entry delivered after a time is old enough for a read.
    fn claim_ms(&self, read: &BlockedReadgroup, after_ms: Option<u64>) -> Option<u64> {
        let idle_ms = read.claim_idle_ms?;
        let due = |(database, name): &Name| {
            let (_, stream) = self.machine.stream(Key { database: *database, name })?;
            let (_, group) = stream.groups.find(&read.group)?;
            let oldest_ms = match after_ms {
                Some(after_ms) => group.pending.oldest_above(after_ms)?,
                None => group.pending.oldest()?,
            };
            Some(oldest_ms.saturating_add(idle_ms))
        };
        read.streams.iter().filter_map(due).min()
    }

    /// The answer to a read that waits, if there is one by now.
    fn serve(&mut self, client: ClientId, read: &BlockedRead) -> Option<Answer> {
        let command = read.command();
        // It may wait for other keys than the one that woke it.
        command.for_each_key(|key| self.expire_key(key));
        let answer = match self.decide(client, &command, true) {
            Ok(decision) if decision.reply == Reply::NilList => {
                // A group with ORDER-BY has looked at what is new, and goes on behind it; one at
                // MAX-PENDING has room where it forgets what is gone.
                let goes_on = |effect: &Effect<'_>| {
                    matches!(
                        effect,
                        Effect::Policy { .. } | Effect::Delivered { .. } | Effect::Released { .. }
                    )
                };
                if decision.effects.iter().any(goes_on) {
                    self.carry_out(&command, decision);
                }
                None
            }
            Ok(decision) => Some(self.carry_out(&command, decision)),
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
