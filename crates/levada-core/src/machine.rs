//! The state, and the one way in which it changes.

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

use foldhash::fast::FixedState;

use crate::{
    block::Block,
    command::Key,
    dedup::{DedupLimits, Secret},
    effect::{Act, DedupChange, Effect, Kind},
    fields::Fields,
    group::{Consumer, Group},
    id::StreamId,
    idempotence::{Idempotence, Tracked},
    keyspace::{KeyNumber, Keyspace, Object, Value},
    pending::Pending,
    restored::RestoredStream,
    schedule::{Due, Payload},
    stream::Stream,
};

/// Where and when an effect takes place: its batch's number in the log, and that batch's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct At {
    /// Log position.
    pub position: u64,
    /// Unix milliseconds.
    pub now_ms: u64,
}

/// What the store has to know of an effect.
#[derive(Debug)]
pub enum Applied {
    /// Nothing.
    Done,
    /// A block is sealed and to be kept.
    Sealed(KeyNumber, u64, Arc<Block>),
    /// Blocks of a new stream are to be kept: those of another one, or restored ones.
    Filled(KeyNumber, Vec<(u64, Arc<Block>)>),
    /// The blocks of a stream below a number are gone.
    Dropped(KeyNumber, u64),
    /// Keys are gone with everything in them.
    Removed(Vec<KeyNumber>),
}

/// All state. See the crate's documentation.
#[derive(Debug)]
pub struct Machine {
    /// Keys and what they hold.
    pub keys: Keyspace,
    /// Keys that changed since the last checkpoint.
    dirty: BTreeSet<KeyNumber>,
    /// The position of the last change, and what it was at the last checkpoint: a key that changed
    /// behind that is in `dirty` already.
    position: u64,
    frozen_at: u64,
    /// Keys removed since then.
    pub(crate) removed: BTreeSet<KeyNumber>,
    /// Bytes in the tails of all streams.
    pub(crate) tail_bytes: u64,
    /// Streams by the time at which their oldest iid is over.
    over: BTreeSet<(u64, KeyNumber)>,
    /// What keys of hashes are made from; see [`Secret::derived`].
    entropy: u64,
    /// Idempotent ids that the DEDUP-MAX of all streams allow.
    pub(crate) dedup_ids: u64,
    /// See [`Machine::take_touched`].
    touched: Option<KeyNumber>,
}

impl Machine {
    /// An empty machine; for the seed see [`Keyspace::new`].
    pub fn new(seed: u64) -> Self {
        Self {
            entropy: seed,
            dedup_ids: 0,
            keys: Keyspace::new(seed),
            dirty: BTreeSet::new(),
            position: 0,
            frozen_at: 0,
            removed: BTreeSet::new(),
            tail_bytes: 0,
            over: BTreeSet::new(),
            touched: None,
        }
    }

    /// The stream of a name, if that is what the key holds.
    pub fn stream(&self, key: Key<'_>) -> Option<(KeyNumber, &Stream)> {
        let (number, object) = self.keys.find(key)?;
        match &object.value {
            Value::Stream(stream) => Some((number, stream)),
            Value::Text(_) => None,
        }
    }

    /// The stream of a number.
    pub fn stream_of(&self, key: KeyNumber) -> Option<&Stream> {
        match &self.keys.get(key)?.value {
            Value::Stream(stream) => Some(stream),
            Value::Text(_) => None,
        }
    }

    /// Streams to which time may do something: see [`Stream::is_tended`].
    pub fn tended(&self) -> Vec<KeyNumber> {
        let is_tended = |key: &KeyNumber| self.stream_of(*key).is_some_and(Stream::is_tended);
        self.keys.numbers().into_iter().filter(is_tended).collect()
    }

    /// The stream that the last effect changed, if time may do something to it or in it: whoever
    /// asks what is due asks it anew. `None` of all others, which are not looked up for it.
    pub fn take_touched(&mut self) -> Option<KeyNumber> {
        self.touched.take()
    }

    /// Streams in which something is scheduled.
    pub fn scheduled(&self) -> Vec<KeyNumber> {
        let holds = |stream: &Stream| stream.schedule().is_some_and(|held| !held.is_empty());
        let is_schedule = |key: &KeyNumber| self.stream_of(*key).is_some_and(holds);
        self.keys.numbers().into_iter().filter(is_schedule).collect()
    }

    /// Bytes in the tails of all streams: what streams take of memory whatever their number.
    pub fn tail_bytes(&self) -> u64 {
        self.tail_bytes
    }

    /// Keys that changed since this was asked last.
    pub(crate) fn take_dirty(&mut self) -> BTreeSet<KeyNumber> {
        self.frozen_at = self.position;
        core::mem::take(&mut self.dirty)
    }

    /// Streams by the time at which their oldest iid is over, in unix milliseconds, the nearest
    /// first.
    pub fn iter_over(&self) -> impl Iterator<Item = (u64, KeyNumber)> + '_ {
        self.over.iter().copied()
    }

    /// What makes a stream forget iids that are over; of many a part.
    pub fn forget_over(&self, key: KeyNumber, now_ms: u64) -> Option<Effect<'static>> {
        self.stream_of(key)?.idempotence.sweep(key, now_ms)
    }

    /// The key of the hashes of a stream that has none.
    pub fn new_secret(&self, key: KeyNumber, now_ms: u64) -> Secret {
        Secret::derived(self.entropy, key.0, now_ms)
    }

    /// Idempotent ids that the DEDUP-MAX of all streams allow.
    pub fn dedup_ids(&self) -> u64 {
        self.dedup_ids
    }

    /// Keeps `over` true when the time of a stream has changed.
    pub(crate) fn note_over(&mut self, key: KeyNumber, before: Option<u64>, after: Option<u64>) {
        if before != after {
            before.map(|at_ms| self.over.remove(&(at_ms, key)));
            after.map(|at_ms| self.over.insert((at_ms, key)));
        }
    }

    /// Streams whose tails, sealed, bring those of all down to so many bytes: those that have
    /// rested longest, the longest last. Looks at every key, so it is for when a budget is
    /// exceeded.
    pub fn rested_tails(&self, bytes: u64) -> Vec<KeyNumber> {
        let tail = |key: KeyNumber| {
            let (changed, bytes) = (self.keys.get(key)?.changed, self.tail_bytes_of(key));
            (bytes > 0).then_some((changed, key, bytes))
        };
        let mut tails: Vec<_> = self.keys.numbers().into_iter().filter_map(tail).collect();
        tails.sort_unstable();
        let mut left = self.tail_bytes;
        let rested = tails.into_iter().take_while(|(_, _, held)| {
            let more = left > bytes;
            left -= held;
            more
        });
        let mut rested: Vec<_> = rested.map(|(_, key, _)| key).collect();
        rested.reverse();
        rested
    }

    /// Bytes of a stream's tail; 0 where there is none.
    pub fn tail_bytes_of(&self, key: KeyNumber) -> u64 {
        self.stream_of(key).map_or(0, |stream| stream.tail().bytes().len() as u64)
    }

    /// Carries an effect out. It was decided on this very state, or is replayed on it: an effect
    /// that does not fit is a broken log and changes nothing.
    pub fn apply(&mut self, effect: &Effect<'_>, at: At) -> Applied {
        let applied = match effect {
            Effect::KeyCreated { key, database, kind, name } => {
                self.create(*key, *database, *kind, name);
                Applied::Done
            }
            Effect::KeyRemoved { key } => self.remove(&[*key], at),
            Effect::Flushed { database } => {
                let all = |number: &KeyNumber| {
                    self.keys.get(*number).is_some_and(|o| database.is_none_or(|d| d == o.database))
                };
                let gone: Vec<_> = self.keys.numbers().into_iter().filter(all).collect();
                self.remove(&gone, at)
            }
            Effect::KeyExpires { key, at_ms } => {
                self.keys.set_expiry(*key, *at_ms);
                Applied::Done
            }
            Effect::KeyRenamed { key, database, name } => {
                self.keys.rename(*key, Key { database: *database, name }, at.position);
                Applied::Done
            }
            Effect::DatabasesSwapped { first, second } => {
                let changed = self.keys.swap(*first, *second, at.position);
                self.dirty.extend(changed);
                Applied::Done
            }
            Effect::StreamCopied { key, from, blocks } => {
                self.copy(*key, *from, at);
                Applied::Filled(*key, blocks.clone())
            }
            Effect::StreamRestored { key, stream } => self.restore(*key, stream, at),
            Effect::TextSet { key, value } => {
                self.keys.set_text(*key, value);
                Applied::Done
            }
            Effect::TextAppended { key, more } => {
                self.keys.append_text(*key, more);
                Applied::Done
            }
            _ => self.apply_to_stream(effect, at),
        };
        if let Some(object) = effect.key().and_then(|key| self.keys.get_mut(key)) {
            let timed = |stream: &Arc<Stream>| stream.is_tended() || stream.schedule().is_some();
            if matches!(&object.value, Value::Stream(stream) if timed(stream)) {
                self.touched = effect.key();
            }
            if object.changed <= self.frozen_at {
                self.dirty.extend(effect.key());
            }
            if !effect.is_passing() {
                object.changed = at.position;
            }
            if !effect.is_delivery() {
                object.entries_changed = at.position;
            }
        }
        self.position = at.position;
        applied
    }

    fn create(&mut self, key: KeyNumber, database: u8, kind: Kind, name: &[u8]) {
        let value = match kind {
            Kind::Text => Value::Text(Arc::from(&[][..])),
            Kind::Stream => Value::Stream(Arc::default()),
        };
        let name = name.into();
        let (changed, entries_changed) = (0, 0);
        let object =
            Object { database, name, expires_at_ms: None, changed, entries_changed, value };
        self.keys.insert(key, object);
    }

    /// Makes a new stream what another one is.
    fn copy(&mut self, key: KeyNumber, from: KeyNumber, at: At) {
        let Some(copied) = self.stream_of(from).map(|stream| stream.copied(at.position)) else {
            return;
        };
        if let Some(Object { value: Value::Stream(stream), .. }) = self.keys.get_mut(key) {
            self.tail_bytes += copied.tail().bytes().len() as u64;
            let after = copied.idempotence.next_over_ms();
            self.dedup_ids += copied.dedup_ids_max();
            *stream = Arc::new(copied);
            self.note_over(key, None, after);
        }
    }

    /// Makes a new stream what was restored.
    fn restore(&mut self, key: KeyNumber, restored: &RestoredStream, at: At) -> Applied {
        let hasher = self.keys.hasher().clone();
        let Some(Object { value: Value::Stream(stream), .. }) = self.keys.get_mut(key) else {
            return Applied::Done;
        };
        let stream = Arc::make_mut(stream);
        let sealed = stream.fill(restored, at.now_ms);
        for (number, group) in (0..).zip(&restored.groups) {
            let filled = Group::restored(group, at.position);
            stream.groups.insert(number, group.name.as_slice().into(), Arc::new(filled));
        }
        if let Some(idmp) = &restored.idmp {
            let kept = stream.idempotence.dedup().map(|dedup| (dedup.limits(), *dedup.secret()));
            stream.idempotence = Idempotence::restored(&hasher, idmp, at);
            if let Some((limits, secret)) = kept {
                stream.idempotence.start_dedup(at.position, limits, secret);
            }
        }
        let over_ms = stream.idempotence.next_over_ms();
        self.tail_bytes += stream.tail().bytes().len() as u64;
        self.note_over(key, None, over_ms);
        Applied::Filled(key, sealed)
    }

    fn remove(&mut self, keys: &[KeyNumber], at: At) -> Applied {
        for key in keys {
            if let Some(Object { value: Value::Stream(stream), .. }) =
                self.keys.remove(*key, at.position)
            {
                self.tail_bytes -= stream.tail().bytes().len() as u64;
                self.dedup_ids -= stream.dedup_ids_max();
                self.note_over(*key, stream.idempotence.next_over_ms(), None);
            }
            self.dirty.remove(key);
            self.removed.insert(*key);
        }
        Applied::Removed(keys.to_vec())
    }

    fn apply_to_stream(&mut self, effect: &Effect<'_>, at: At) -> Applied {
        let Some(key) = effect.key() else {
            return Applied::Done;
        };
        let hasher = self.keys.hasher().clone();
        let Some(Object { value: Value::Stream(stream), .. }) = self.keys.get_mut(key) else {
            return Applied::Done;
        };
        let stream = Arc::make_mut(stream);
        let over_before = stream.idempotence.next_over_ms();
        let first = stream.first_block();
        let dedup_before = stream.dedup_ids_max();
        let tail_before = stream.tail().bytes().len() as u64;
        let mut sealed = None;
        match effect {
            Effect::Appended { id, starts_node, fields, .. } => {
                stream.append(*id, &fields.0, *starts_node, at.now_ms);
            }
            Effect::Sealed { .. } => sealed = stream.seal(),
            Effect::Deleted { max_deleted_id, rows, .. } => {
                rows.iter().for_each(|(block, row)| {
                    stream.delete(*block, *row);
                });
                stream.max_deleted_id = *max_deleted_id;
                stream.drop_dead_front();
            }
            Effect::Trimmed { block, row, .. } => stream.trim_to(*block, *row),
            Effect::IdSet { last_id, entries_added, max_deleted_id, .. } => {
                if *last_id < stream.last_id {
                    stream.reissued = stream.reissued.max(stream.last_id);
                    stream.redriven.drop_above(*last_id);
                }
                stream.last_id = *last_id;
                stream.entries_added = *entries_added;
                stream.max_deleted_id = *max_deleted_id;
            }
            Effect::IdmpSet { .. }
            | Effect::IidTracked { .. }
            | Effect::IidsForgotten { .. }
            | Effect::IidsCounted { .. } => {
                apply_to_idempotence(&mut stream.idempotence, effect, &hasher, at);
            }
            Effect::Scheduled { due, starts_node, once, fields, .. } => {
                let payload = Payload { fields: fields.0, at_ms: due.at_ms, once: *once };
                schedule(stream, *due, &payload.encode(), *starts_node, at);
            }
            Effect::Unscheduled { due, .. } => stream.unschedule(at.position, *due),
            Effect::Policy { act: Act::StreamPolicySet(policy), .. } => {
                stream.set_policy(*policy);
                stream.idempotence.set_dedup_limits(at.position, DedupLimits::of(policy));
            }
            Effect::Dedup { change, .. } => apply_to_dedup(stream, change, at),
            _ => apply_to_groups(stream, effect, at),
        }
        self.tail_bytes = self.tail_bytes - tail_before + stream.tail().bytes().len() as u64;
        self.dedup_ids = self.dedup_ids - dedup_before + stream.dedup_ids_max();
        let (over_after, first_after) = (stream.idempotence.next_over_ms(), stream.first_block());
        self.note_over(key, over_before, over_after);
        match sealed {
            Some((number, block)) => Applied::Sealed(key, number, block),
            None if first_after > first => Applied::Dropped(key, first_after),
            None => Applied::Done,
        }
    }
}

/// Adds an entry to a schedule; its fields are encoded.
fn schedule(stream: &mut Stream, due: Due, fields: &[u8], starts_node: bool, at: At) {
    stream.append(due.id, &Fields::Encoded(fields), starts_node, at.now_ms);
    stream.schedule_mut().insert(at.position, due);
}

fn apply_to_idempotence(
    idempotence: &mut Idempotence,
    effect: &Effect<'_>,
    hasher: &FixedState,
    at: At,
) {
    match effect {
        Effect::IdmpSet { limits, .. } => idempotence.set_limits(*limits),
        Effect::IidTracked { pid, iid, id, since_ms, going, .. } => {
            let tracked = Tracked { iid, id: *id, since_ms: *since_ms };
            idempotence.track(hasher, at.position, pid, tracked, *going);
        }
        Effect::IidsForgotten { until_ms, .. } => {
            idempotence.forget(hasher, at.position, *until_ms);
        }
        Effect::IidsCounted { added, duplicates, .. } => {
            idempotence.added = *added;
            idempotence.duplicates = *duplicates;
        }
        _ => {}
    }
}

fn apply_to_dedup(stream: &mut Stream, change: &DedupChange, at: At) {
    let idempotence = &mut stream.idempotence;
    match change {
        DedupChange::Started(secret) => {
            if let Some(limits) = DedupLimits::of(&stream.policy) {
                idempotence.start_dedup(at.position, limits, *secret);
            }
        }
        DedupChange::Kept { kept, going } => {
            idempotence.added += 1;
            if let Some(dedup) = idempotence.dedup_mut() {
                dedup.keep(at.position, *kept, *going);
            }
        }
        DedupChange::Dropped { count } => {
            if let Some(dedup) = idempotence.dedup_mut() {
                dedup.drop_oldest(at.position, *count);
            }
        }
    }
}

fn apply_to_groups(stream: &mut Stream, effect: &Effect<'_>, at: At) {
    if let Effect::Policy { act: Act::Redriven { id, starts_node, fields, .. }, .. } = effect {
        stream.redriven.insert(*id, stream.last_id);
        stream.append(*id, &Fields::Encoded(fields), *starts_node, at.now_ms);
    }
    match effect {
        Effect::GroupCreated { group, name, last_id, entries_read, .. } => {
            let (last_id, entries_read) = (*last_id, *entries_read);
            let new = Group { last_id, entries_read, changed: at.position, ..Group::default() };
            stream.groups.insert(*group, (*name).into(), Arc::new(new));
        }
        Effect::GroupDestroyed { group, .. } => {
            stream.groups.remove(*group);
        }
        Effect::GroupIdSet { group, .. }
        | Effect::ConsumerCreated { group, .. }
        | Effect::ConsumerDeleted { group, .. }
        | Effect::ConsumerSeen { group, .. }
        | Effect::Delivered { group, .. }
        | Effect::Claimed { group, .. }
        | Effect::Released { group, .. } => {
            if let Some(group) = stream.groups.get_mut(*group) {
                let group = Arc::make_mut(group);
                group.changed = at.position;
                apply_to_group(group, effect, at);
            }
        }
        Effect::Policy { act, .. } => {
            if let Some(group) = act.group().and_then(|group| stream.groups.get_mut(group)) {
                let group = Arc::make_mut(group);
                group.changed = at.position;
                act_on_group(group, act, at);
            }
            if let Act::ReleasedUnread { stays: false, count, .. } = act {
                stream.released_unread += count;
            }
            stream.tend();
        }
        _ => {}
    }
}

/// What a policy does to a group.
fn act_on_group(group: &mut Group, act: &Act, at: At) {
    match act {
        Act::StreamPolicySet(_) => {}
        Act::GroupPolicySet { policy, .. } => group.set_policy(at.position, policy),
        Act::Offered { rows, .. } => {
            rows.iter().for_each(|(id, due_ms)| group.offer(at.position, *id, *due_ms));
        }
        Act::Condemned { ids, reason, .. } => {
            ids.iter().for_each(|id| group.condemn(at.position, *id, reason));
        }
        Act::HandedOver { consumer, to, .. } => group.hand_over(at.position, *consumer, *to),
        Act::DeadLettered { id, .. } => {
            group.release(at.position, *id);
            group.dead_letters += 1;
        }
        Act::Redriven { id, .. } => group.give_back(at.position, *id),
        Act::Parked { rows, .. } => {
            rows.iter().for_each(|(id, key)| group.order.park(*id, *key));
        }
        Act::TakenOff { rows, .. } => {
            rows.iter().for_each(|(id, key)| group.take_off(*id, *key));
        }
        Act::Unparked { ids, .. } => ids.iter().for_each(|id| group.order.unpark(*id)),
        Act::Dropped { count, .. } => group.dropped += count,
        Act::ReleasedUnread { stays, count, .. } => {
            group.released_unread += if *stays { *count } else { 0 };
        }
    }
}

/// What an effect does to the group that it names.
pub(crate) fn apply_to_group(group: &mut Group, effect: &Effect<'_>, at: At) {
    match effect {
        Effect::GroupIdSet { last_id, entries_read, .. } => {
            set_place(group, *last_id, *entries_read);
            group.order.unpark_above(*last_id);
        }
        Effect::ConsumerCreated { consumer, name, .. } => {
            let new = Consumer { seen_ms: at.now_ms, active_ms: None, pending: 0 };
            group.consumers.insert(*consumer, (*name).into(), new);
        }
        Effect::ConsumerDeleted { consumer, .. } => {
            group.remove_consumer(at.position, *consumer);
        }
        Effect::ConsumerSeen { consumer, active, ago_ms, .. } => {
            group.seen(*consumer, at.now_ms.saturating_sub(*ago_ms), *active);
        }
        Effect::Delivered { consumer, last_id, entries_read, ids, .. } => {
            set_place(group, *last_id, *entries_read);
            let (id, consumer, delivered_ms) = (StreamId::MIN, *consumer, at.now_ms);
            let like = Pending { id, consumer, delivered_ms, count: 1, leases: 1, flags: 0 };
            group.deliver(at.position, ids, like);
            group.seen(consumer, at.now_ms, !ids.is_empty());
        }
        Effect::Claimed { consumer, delivered_ms, rows, lease, .. } => {
            for (id, count) in rows {
                let held = group.pending.get(*id).map_or(0, |held| held.leases);
                let (id, consumer, delivered_ms) = (*id, *consumer, *delivered_ms);
                let (leases, flags) = (lease.of(held), 0);
                let entry = Pending { id, consumer, delivered_ms, count: *count, leases, flags };
                group.set_pending(at.position, entry);
            }
        }
        Effect::Released { ids, .. } => group.release_all(at.position, ids),
        _ => {}
    }
}

fn set_place(group: &mut Group, last_id: StreamId, entries_read: Option<u64>) {
    group.last_id = last_id;
    group.entries_read = entries_read;
}
