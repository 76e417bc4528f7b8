//! MULTI and WATCH: several commands as one record of the log.
//!
//! Between [`Shard::transaction_begin`] and [`Shard::transaction_end`] commands see each other's
//! changes, nobody else sees any, and all of them stand in one batch, whose checksum makes them all
//! or nothing. Blocks that they need are best fetched before ([`Shard::prefetch`]); what is then
//! still missing is read synchronously and counted.

use std::collections::{BTreeMap, BTreeSet};

use levada_core::{
    command::{Command, Key},
    effect::{Act, Effect},
    keyspace::KeyNumber,
};

use super::{ClientId, Shard, execute::Undecided};
use crate::{clock::Now, store::Store};

/// A database and a name.
pub(super) type Name = (u8, Vec<u8>);

/// Who watches which keys.
#[derive(Default, Debug)]
pub(super) struct Watches {
    clients: BTreeMap<Name, BTreeSet<ClientId>>,
    names: BTreeMap<ClientId, BTreeSet<Name>>,
    broken: BTreeSet<ClientId>,
}

impl Watches {
    fn touch(&mut self, name: &Name) {
        self.broken.extend(self.clients.get(name).into_iter().flatten());
    }
}

impl<S: Store> Shard<S> {
    /// Begins a transaction.
    pub fn transaction_begin(&mut self) {
        assert!(!self.in_transaction, "transactions do not nest");
        self.keep_batch_bounded();
        self.in_transaction = true;
    }

    /// Ends it, and serves the readers whom it fed, as one unit.
    pub fn transaction_end(&mut self, now: Now) {
        self.in_transaction = false;
        self.advance(now);
        self.serve_waiters();
    }

    /// Looks ahead at a command of a coming transaction: `false` while blocks that it needs are
    /// being read (ask again after [`super::Event::Retry`]).
    pub fn prefetch(&mut self, now: Now, client: ClientId, command: &Command<'_>) -> bool {
        self.advance(now);
        !matches!(self.decide(client, command, false), Err(Undecided::Reading))
    }

    /// WATCH: whether the key changes from now on breaks the client's next transaction. A key that
    /// is over by now is missing, and stays so.
    pub fn watch(&mut self, now: Now, client: ClientId, key: Key<'_>) {
        self.keep_batch_bounded();
        self.advance(now);
        self.expire_key(key);
        let name = (key.database, key.name.to_vec());
        self.watches.clients.entry(name.clone()).or_default().insert(client);
        self.watches.names.entry(client).or_default().insert(name);
    }

    /// UNWATCH, EXEC, DISCARD: nothing is watched any more.
    pub fn unwatch(&mut self, client: ClientId) {
        for name in self.watches.names.remove(&client).unwrap_or_default() {
            if let Some(clients) = self.watches.clients.get_mut(&name) {
                clients.remove(&client);
                if clients.is_empty() {
                    self.watches.clients.remove(&name);
                }
            }
        }
        self.watches.broken.remove(&client);
    }

    /// Whether something that the client watches has changed, or is over since.
    pub fn is_watch_broken(&mut self, now: Now, client: ClientId) -> bool {
        self.keep_batch_bounded();
        self.advance(now);
        for (database, name) in self.watches.names.get(&client).cloned().unwrap_or_default() {
            self.expire_key(Key { database, name: &name });
        }
        self.watches.broken.contains(&client)
    }

    /// Before an effect takes place: who watches or waits for what it changes?
    pub(super) fn note_touched(&mut self, effect: &Effect<'_>) {
        if self.watches.clients.is_empty() && self.waiters.is_empty() {
            return;
        }
        match effect {
            Effect::Flushed { database } => {
                // A key that was missing is missing still.
                let here = |name: &&Name| {
                    database.is_none_or(|database| database == name.0)
                        && self.object_number(name.0, &name.1).is_some()
                };
                let watched: Vec<_> = self.watches.clients.keys().filter(here).cloned().collect();
                watched.iter().for_each(|name| self.watches.touch(name));
                self.waiters.feed_all(*database);
            }
            Effect::DatabasesSwapped { first, second } => self.touch_both(*first, *second),
            Effect::KeyCreated { database, name, .. } => self.touch((*database, name.to_vec())),
            Effect::KeyRenamed { key, database, name } => {
                self.touch_key(*key);
                self.touch((*database, name.to_vec()));
            }
            Effect::Policy { key, act: Act::Redriven { .. } } => self.touch_key(*key),
            // As in Redis, only entries and keys break a WATCH; but readers may wait for these.
            Effect::Policy { key, .. }
            | Effect::IdSet { key, .. }
            | Effect::GroupCreated { key, .. }
            | Effect::GroupIdSet { key, .. }
            | Effect::GroupDestroyed { key, .. }
            | Effect::ConsumerDeleted { key, .. } => {
                self.feed_key(*key);
            }
            Effect::Claimed { key, .. } | Effect::Delivered { key, .. } => {
                if let Some(object) = self.machine.keys.get(*key) {
                    self.waiters.shift((object.database, object.name.to_vec()));
                }
            }
            // What is pending no more frees a key, or room, for which others may wait.
            Effect::Released { key, group, .. } if self.may_be_held_up(*key, *group) => {
                self.feed_key(*key);
            }
            // As in Redis, what a group does with its entries breaks no WATCH, and what is
            // tracked of idempotent producers does not.
            Effect::Released { .. }
            | Effect::ConsumerCreated { .. }
            | Effect::Sealed { .. }
            | Effect::IdmpSet { .. }
            | Effect::IidTracked { .. }
            | Effect::IidsCounted { .. }
            | Effect::Unscheduled { .. } => {}
            effect if effect.is_delivery() => {}
            effect => {
                if let Some(key) = effect.key() {
                    self.touch_key(key);
                }
            }
        }
    }

    /// Readers may wait for what happens to a key.
    fn feed_key(&mut self, key: KeyNumber) {
        if let Some(object) = self.machine.keys.get(key) {
            self.waiters.feed((object.database, object.name.to_vec()));
        }
    }

    /// Everything in two databases that have changed places.
    fn touch_both(&mut self, first: u8, second: u8) {
        // A key that is in neither is missing still.
        let in_either = |name: &&Name| {
            [first, second].contains(&name.0)
                && [first, second]
                    .iter()
                    .any(|database| self.object_number(*database, &name.1).is_some())
        };
        let watched: Vec<_> = self.watches.clients.keys().filter(in_either).cloned().collect();
        watched.iter().for_each(|name| self.watches.touch(name));
        self.waiters.feed_all(Some(first));
        self.waiters.feed_all(Some(second));
    }

    fn may_be_held_up(&self, key: KeyNumber, group: u32) -> bool {
        let group = self.machine.stream_of(key).and_then(|stream| stream.groups.get(group));
        group.is_some_and(|group| group.policy.holds_up())
    }

    fn touch_key(&mut self, key: KeyNumber) {
        let object = self.machine.keys.get(key);
        if let Some(name) = object.map(|object| (object.database, object.name.to_vec())) {
            self.touch(name);
        }
    }

    fn touch(&mut self, name: Name) {
        self.watches.touch(&name);
        self.waiters.feed(name);
    }
}
