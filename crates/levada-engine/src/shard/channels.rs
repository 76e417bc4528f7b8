//! Channels: who listens to what, and messages on their way to them.
//!
//! A message is no change of state: it is not logged, and whoever does not listen when it is
//! published never sees it. It still keeps the promise of every answer: it leaves when everything
//! that was changed before it is durable, so that nobody hears of a change that could be lost.
//! Clients hear a message in the order of their numbers, first those of the channel, then those of
//! patterns. Bounds: names of one client [`NAMES_BYTES_MAX`]; messages are handed on after every
//! command ([`Shard::poll_message`]), so that no more wait than one command makes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use levada_core::glob;

use super::{ClientId, Shard, Wait};
use crate::store::{Store, Urgency};

/// Bytes of names that one client may listen to, each counted with [`NAME_BYTES`].
pub const NAMES_BYTES_MAX: usize = 16 << 20;
/// What a name that is listened to counts beside its bytes.
pub const NAME_BYTES: usize = 128;

/// What a name that is listened to stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listening {
    /// A channel (SUBSCRIBE).
    Channel,
    /// All channels that match a pattern (PSUBSCRIBE).
    Pattern,
    /// A shard channel (SSUBSCRIBE): the names are apart from those of channels.
    Shard,
}

/// A message for one client.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// To whom.
    pub client: ClientId,
    /// By which way it came.
    pub listening: Listening,
    /// The pattern that matched, of [`Listening::Pattern`].
    pub pattern: Option<Arc<[u8]>>,
    /// Where it was published.
    pub channel: Arc<[u8]>,
    /// What was published.
    pub payload: Arc<[u8]>,
    /// What must have happened before anyone sees it.
    pub wait: Wait,
}

/// How many names a client listens to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Subscriptions {
    /// Channels.
    pub channels: usize,
    /// Patterns.
    pub patterns: usize,
    /// Shard channels.
    pub shards: usize,
}

impl Subscriptions {
    /// Whether there is any.
    pub fn any(self) -> bool {
        self.channels + self.patterns + self.shards > 0
    }
}

type Name = Arc<[u8]>;

/// Who listens to what.
#[derive(Default, Debug)]
pub(super) struct Channels {
    listeners: [BTreeMap<Name, BTreeSet<ClientId>>; 3],
    clients: BTreeMap<ClientId, Client>,
    messages: VecDeque<Delivery>,
    /// Bytes of the names of all clients, counted as for [`NAMES_BYTES_MAX`].
    bytes: usize,
}

#[derive(Default, Debug)]
struct Client {
    names: [BTreeSet<Name>; 3],
    bytes: usize,
}

impl Channels {
    /// Whether nobody listens to anything.
    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    fn subscribe(&mut self, client: ClientId, listening: Listening, name: &[u8]) -> bool {
        let cost = name.len() + NAME_BYTES;
        if cost > NAMES_BYTES_MAX {
            return false;
        }
        let Client { names, bytes } = self.clients.entry(client).or_default();
        let names = &mut names[listening as usize];
        if names.contains(name) {
            return true;
        }
        if *bytes + cost > NAMES_BYTES_MAX {
            return false;
        }
        *bytes += cost;
        self.bytes += cost;
        let name: Name = name.into();
        names.insert(Arc::clone(&name));
        self.listeners[listening as usize].entry(name).or_default().insert(client);
        true
    }

    fn unsubscribe(&mut self, client: ClientId, listening: Listening, name: &[u8]) {
        let Some(held) = self.clients.get_mut(&client) else {
            return;
        };
        if !held.names[listening as usize].remove(name) {
            return;
        }
        held.bytes -= name.len() + NAME_BYTES;
        self.bytes -= name.len() + NAME_BYTES;
        if held.bytes == 0 {
            self.clients.remove(&client);
        }
        let listeners = &mut self.listeners[listening as usize];
        if let Some(clients) = listeners.get_mut(name) {
            clients.remove(&client);
            if clients.is_empty() {
                listeners.remove(name);
            }
        }
    }

    fn publish(&mut self, listening: Listening, channel: &[u8], payload: &[u8]) -> u64 {
        if self.clients.is_empty() {
            return 0;
        }
        let before = self.messages.len();
        let shared: (Name, Arc<[u8]>) = (channel.into(), payload.into());
        let message = |client: &ClientId, listening, pattern: Option<&Name>| Delivery {
            client: *client,
            listening,
            pattern: pattern.cloned(),
            channel: Arc::clone(&shared.0),
            payload: Arc::clone(&shared.1),
            wait: Wait::Nothing,
        };
        let direct = self.listeners[listening as usize].get(channel).into_iter().flatten();
        self.messages.extend(direct.map(|client| message(client, listening, None)));
        if listening == Listening::Channel {
            for (pattern, clients) in &self.listeners[Listening::Pattern as usize] {
                if glob::matches(pattern, channel) {
                    let matching = |client| message(client, Listening::Pattern, Some(pattern));
                    self.messages.extend(clients.iter().map(matching));
                }
            }
        }
        (self.messages.len() - before) as u64
    }
}

impl<S: Store> Shard<S> {
    /// Lets a client listen to a name from now on. `false` where its names would exceed
    /// [`NAMES_BYTES_MAX`]; nothing changed then.
    pub fn subscribe(&mut self, client: ClientId, listening: Listening, name: &[u8]) -> bool {
        self.channels.subscribe(client, listening, name)
    }

    /// Ends that, if it is so.
    pub fn unsubscribe(&mut self, client: ClientId, listening: Listening, name: &[u8]) {
        self.channels.unsubscribe(client, listening, name);
    }

    /// Ends all that a client listens to.
    pub fn unsubscribe_all(&mut self, client: ClientId) {
        for listening in [Listening::Channel, Listening::Pattern, Listening::Shard] {
            for name in self.listened(client, listening) {
                self.channels.unsubscribe(client, listening, &name);
            }
        }
    }

    /// The names that a client listens to, in order.
    pub fn listened(&self, client: ClientId, listening: Listening) -> Vec<Arc<[u8]>> {
        let held = self.channels.clients.get(&client);
        held.map(|held| held.names[listening as usize].iter().cloned().collect())
            .unwrap_or_default()
    }

    /// How many names a client listens to.
    pub fn subscriptions(&self, client: ClientId) -> Subscriptions {
        let count = |client: &Client| {
            let [channels, patterns, shards] = client.names.each_ref().map(BTreeSet::len);
            Subscriptions { channels, patterns, shards }
        };
        self.channels.clients.get(&client).map(count).unwrap_or_default()
    }

    /// Names that somebody listens to, in order, and how many clients do.
    pub fn listeners(&self, listening: Listening) -> impl Iterator<Item = (&Arc<[u8]>, usize)> {
        let listeners = &self.channels.listeners[listening as usize];
        listeners.iter().map(|(name, clients)| (name, clients.len()))
    }

    /// How many clients listen to a name.
    pub fn listeners_of(&self, listening: Listening, name: &[u8]) -> usize {
        self.channels.listeners[listening as usize].get(name).map_or(0, BTreeSet::len)
    }

    /// Bytes of the names that all clients listen to.
    pub fn listening_bytes(&self) -> usize {
        self.channels.bytes
    }

    /// Publishes to a channel, or with [`Listening::Shard`] to a shard channel. Returns how many
    /// messages that makes.
    pub fn publish(&mut self, listening: Listening, channel: &[u8], payload: &[u8]) -> u64 {
        self.channels.publish(listening, channel, payload)
    }

    /// The next message for a client. To be asked after every command and after [`Shard::poll`].
    /// What was published inside a transaction is handed out behind its end.
    pub fn poll_message(&mut self) -> Option<Delivery> {
        if self.in_transaction {
            return None;
        }
        let wait = self.wait_for_changes();
        let delivery = self.channels.messages.pop_front()?;
        Some(Delivery { wait, ..delivery })
    }

    /// Everything that was changed so far and whose loss anyone would notice.
    fn wait_for_changes(&self) -> Wait {
        let lsn = match self.batch.is_empty() || self.urgency == Urgency::Written {
            true => self.last_durable_wish,
            false => self.last_lsn + 1,
        };
        match lsn > self.store.durable() {
            true => Wait::Durable(lsn),
            false if !self.batch.is_empty() => Wait::Written(self.position()),
            false => Wait::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use levada_core::command::{Command, Key, Set, SetExpiry, SetWhen};

    use super::*;
    use crate::{
        clock::Now,
        shard::ShardSettings,
        store::{Recovered, memory::MemStore},
    };

    const A: ClientId = ClientId(1);
    const B: ClientId = ClientId(2);
    const NOW: Now = Now { wall_ms: 1, monotonic_us: 1 };

    fn shard() -> Shard<MemStore> {
        let (store, recovered) = (MemStore::with_delay(2), Recovered::default());
        Shard::recover(store, recovered, ShardSettings::default(), 1).expect("nothing to recover")
    }

    fn heard(shard: &mut Shard<MemStore>) -> Vec<(u64, Option<String>, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let next = || {
            let delivery = shard.poll_message()?;
            let pattern = delivery.pattern.as_deref().map(text);
            Some((delivery.client.0, pattern, text(&delivery.channel)))
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn channels_before_patterns_and_each_client_once_for_each() {
        let mut shard = shard();
        for client in [B, A] {
            assert!(shard.subscribe(client, Listening::Channel, b"c1"));
            assert!(shard.subscribe(client, Listening::Channel, b"c1"));
        }
        for pattern in [b"c*", b"?1", b"x*"] {
            assert!(shard.subscribe(A, Listening::Pattern, pattern));
        }
        assert!(shard.subscribe(A, Listening::Shard, b"c1"));
        assert_eq!(shard.publish(Listening::Channel, b"c1", b"m"), 4);
        let text = |text: &str| Some(text.to_owned());
        let channel = || "c1".to_owned();
        let expect = [(1, None), (2, None), (1, text("?1")), (1, text("c*"))]
            .map(|(c, p)| (c, p, channel()));
        assert_eq!(heard(&mut shard), expect);
        assert_eq!(shard.publish(Listening::Shard, b"c1", b"m"), 1);
        shard.forget(A);
        assert_eq!(shard.publish(Listening::Channel, b"c1", b"m"), 1);
        shard.unsubscribe(B, Listening::Channel, b"c1");
        assert_eq!(shard.publish(Listening::Channel, b"c1", b"m"), 0);
        assert_eq!(shard.listeners(Listening::Pattern).count(), 0);
        assert_eq!(shard.listening_bytes(), 0);
        assert_eq!(shard.channels.clients.len(), 0, "nothing is kept of those who left");
    }

    fn set(shard: &mut Shard<MemStore>) {
        let key = Key { database: 0, name: b"k" };
        let (when, expiry) = (SetWhen::default(), SetExpiry::Clear);
        let set = Set { key, value: b"v", when, expiry, get: false };
        shard.execute(NOW, B, &Command::Set(set));
    }

    #[test]
    fn a_message_overtakes_no_change_before_it() {
        let mut shard = shard();
        assert!(shard.subscribe(A, Listening::Channel, b"c"));
        let wait = |shard: &mut Shard<MemStore>| {
            shard.publish(Listening::Channel, b"c", b"m");
            shard.poll_message().expect("A listens").wait
        };
        assert_eq!(wait(&mut shard), Wait::Nothing);
        set(&mut shard);
        assert_eq!(wait(&mut shard), Wait::Durable(1));
        shard.commit(NOW).expect("memory");
        assert_eq!(wait(&mut shard), Wait::Durable(1));
        while shard.durable() < 1 {
            shard.poll(NOW).expect("memory");
        }
        assert_eq!(wait(&mut shard), Wait::Nothing);
    }

    #[test]
    fn a_message_of_a_transaction_waits_for_all_of_it() {
        let mut shard = shard();
        assert!(shard.subscribe(A, Listening::Channel, b"c"));
        shard.transaction_begin();
        shard.publish(Listening::Channel, b"c", b"m");
        assert!(shard.poll_message().is_none());
        set(&mut shard);
        shard.transaction_end(NOW);
        assert_eq!(shard.poll_message().expect("A listens").wait, Wait::Durable(1));
    }

    #[test]
    fn a_notification_waits_for_its_change() {
        let mut shard = shard();
        let events = crate::shard::Events::parse(b"KA").expect("known letters");
        shard.set_settings(ShardSettings { events, ..*shard.settings() });
        assert!(shard.subscribe(A, Listening::Pattern, b"__key*"));
        set(&mut shard);
        let delivery = shard.poll_message().expect("A listens");
        assert_eq!((&*delivery.payload, delivery.wait), (&b"set"[..], Wait::Durable(1)));
        assert!(shard.poll_message().is_none());
    }
}
