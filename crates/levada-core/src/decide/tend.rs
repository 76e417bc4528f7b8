//! What time does to a stream that has policies: leases end, rests are over, dead letters move,
//! idle consumers go, acknowledged entries are removed.
//!
//! [`tend`] answers a bounded part of what is due and when to ask again, at once where more is due.
//! Its effects are logged like those of a command, each call's as one record: at no crash is an
//! entry in two places or in none. It decides from the state and the time alone, so that it does
//! not matter when, or how often, it is asked.

use alloc::{sync::Arc, vec::Vec};

use super::{Context, Refusal, create, places, retention};
use crate::{
    effect::{Act, Effect, EntryFields, Kind},
    fields::Fields,
    group::Group,
    id::StreamId,
    keyspace::{KeyNumber, Object, Value},
    pending::Pending,
    policy::{GroupPolicy, dead_letters_default},
    stream::Stream,
    varint,
};

/// Entries that one call offers or condemns at most.
const ENTRIES_MAX: usize = 1000;
/// How long a dead letter rests that could not be taken, in milliseconds.
const RETRY_MS: u64 = 1000;
/// Why an entry became a dead letter that was delivered too often.
pub(super) const TOO_OFTEN: &[u8] = b"max-deliver";

/// Names of the fields that a dead letter has behind those of its entry, in order.
pub(super) const HISTORY: [&str; 8] = [
    "x-dlq-source",
    "x-dlq-id",
    "x-dlq-group",
    "x-dlq-consumer",
    "x-dlq-deliveries",
    "x-dlq-reason",
    "x-dlq-first-ms",
    "x-dlq-last-ms",
];

/// What is due now.
#[derive(Debug, Default)]
pub struct Tended {
    /// To be logged and applied, in order, with those of the letter.
    pub effects: Vec<Effect<'static>>,
    /// A dead letter on its way.
    pub letter: Option<Letter>,
    /// When to ask again, in unix milliseconds; `None` when nothing waits for its time.
    pub next_ms: Option<u64>,
}

/// A dead letter: an entry of another stream.
#[derive(Debug)]
pub struct Letter {
    key: KeyNumber,
    /// Database and name, where the stream has to be created.
    created: Option<(u8, Vec<u8>)>,
    /// The policies with which it is created.
    policies: Vec<Effect<'static>>,
    seals: bool,
    starts_node: bool,
    id: StreamId,
    /// As [`Fields::encode`] writes them.
    fields: Vec<u8>,
}

impl Letter {
    /// Its effects, in order.
    pub fn effects(&self) -> Vec<Effect<'_>> {
        let Self { key, seals, starts_node, id, .. } = *self;
        let mut effects = Vec::new();
        if let Some((database, name)) = &self.created {
            let (database, kind) = (*database, Kind::Stream);
            effects.push(Effect::KeyCreated { key, database, kind, name: name.into() });
            effects.extend(self.policies.iter().cloned());
        }
        if seals {
            effects.push(Effect::Sealed { key });
        }
        let fields = EntryFields(Fields::Encoded(&self.fields));
        effects.push(Effect::Appended { key, id, starts_node, fields });
        effects
    }
}

/// What is due for a stream. See the module.
pub fn tend(context: Context<'_>, key: KeyNumber) -> Result<Tended, Refusal> {
    let mut tended = Tended::default();
    let Some(object) = context.machine.keys.get(key) else {
        return Ok(tended);
    };
    let Value::Stream(stream) = &object.value else {
        return Ok(tended);
    };
    for (name, number, group) in stream.groups.iter() {
        let one = Tending { context, key, object, stream, name, number, group };
        if one.tend(&mut tended)? {
            tended.next_ms = Some(context.now_ms);
            return Ok(tended);
        }
    }
    let (effects, next_ms) = retention::remove(context, key, stream)?;
    tended.effects = effects;
    tended.wait_until(next_ms);
    Ok(tended)
}

impl Tended {
    fn wait_until(&mut self, at_ms: Option<u64>) {
        self.next_ms = [self.next_ms, at_ms].into_iter().flatten().min();
    }
}

/// A group in which something may be due.
struct Tending<'m> {
    context: Context<'m>,
    key: KeyNumber,
    object: &'m Object,
    stream: &'m Stream,
    name: &'m [u8],
    number: u32,
    group: &'m Group,
}

impl Tending<'_> {
    /// Whether something was due; else when something will be is noted.
    fn tend(&self, tended: &mut Tended) -> Result<bool, Refusal> {
        if let Some((id, reason)) = self.group.offers.condemned.first_key_value() {
            let held = self.group.pending.get(*id);
            if let Some(held) = held
                && self.bury(held, reason, tended)?
            {
                return Ok(true);
            }
            tended.wait_until(Some(self.context.now_ms + RETRY_MS));
        }
        let acts = match self.rested().or_else(|| self.ended()) {
            Some(act) => Vec::from([act]),
            None => self.idle_consumers(),
        };
        if acts.is_empty() {
            tended.wait_until(self.next_ms());
            return Ok(false);
        }
        let effects = acts.into_iter().map(|act| Effect::Policy { key: self.key, act });
        tended.effects.extend(effects);
        Ok(true)
    }

    /// What has rested long enough is offered.
    fn rested(&self) -> Option<Act> {
        let due = self.group.offers.due(self.context.now_ms).take(ENTRIES_MAX);
        let mut rows: Vec<_> = due.map(|id| (id, 0)).collect();
        rows.sort_unstable();
        (!rows.is_empty()).then_some(Act::Offered { group: self.number, rows })
    }

    /// Leases that are over: the last one of an entry condemns it, others offer it, now or later.
    fn ended(&self) -> Option<Act> {
        let policy = &self.group.policy;
        if policy.ack_wait_ms == 0 {
            return None;
        }
        let latest_ms = self.context.now_ms.checked_sub(policy.ack_wait_ms)?;
        let over = self.group.pending.leased_until(latest_ms, ENTRIES_MAX);
        let group = self.number;
        let last = over.iter().filter(|held| policy.is_last(held.leases));
        let mut ids: Vec<_> = last.map(|held| held.id).collect();
        if !ids.is_empty() {
            // The others are found again by the next question.
            ids.sort_unstable();
            return Some(Act::Condemned { group, ids, reason: Arc::from(TOO_OFTEN) });
        }
        // A rest begins when the lease ended, however late that was noticed.
        let due = |held: &Pending| {
            let ended_ms = held.delivered_ms.saturating_add(policy.ack_wait_ms);
            let due_ms = ended_ms.saturating_add(policy.backoff(held.leases));
            if due_ms > self.context.now_ms { due_ms } else { 0 }
        };
        let mut rows: Vec<_> = over.iter().map(|held| (held.id, due(held))).collect();
        rows.sort_unstable();
        (!rows.is_empty()).then_some(Act::Offered { group, rows })
    }

    /// Consumers that were not seen for too long go; what they held is offered. So many that what
    /// they hold together is bounded, but one at least, however much it holds.
    fn idle_consumers(&self) -> Vec<Act> {
        let ttl_ms = self.group.policy.consumer_ttl_ms;
        let latest_ms = self.context.now_ms.checked_sub(ttl_ms).filter(|_| ttl_ms > 0);
        let Some(latest_ms) = latest_ms else {
            return Vec::new();
        };
        let consumers = self.group.consumers.iter();
        let idle = consumers.filter(|(_, _, consumer)| consumer.seen_ms <= latest_ms);
        let mut held = 0;
        let batch = idle.take_while(|(_, _, consumer)| {
            let is_first = held == 0;
            // A name counts as an entry, so that names are bounded too.
            held += 1 + consumer.pending;
            is_first || held <= ENTRIES_MAX as u64
        });
        let go = |consumer| Act::HandedOver { group: self.number, consumer, to: None };
        batch.map(|(_, consumer, _)| go(consumer)).collect()
    }

    fn next_ms(&self) -> Option<u64> {
        let policy = &self.group.policy;
        let lease = || self.group.pending.oldest_leased();
        let lease = (policy.ack_wait_ms > 0).then(lease).flatten();
        let lease = lease.map(|since_ms| since_ms.saturating_add(policy.ack_wait_ms));
        let seen = || self.group.consumers.iter().map(|(_, _, consumer)| consumer.seen_ms).min();
        let seen = (policy.consumer_ttl_ms > 0).then(seen).flatten();
        let idle = seen.map(|seen_ms| seen_ms.saturating_add(policy.consumer_ttl_ms));
        [lease, idle, self.group.offers.next_due_ms()].into_iter().flatten().min()
    }

    /// Moves an entry to the dead letters; whether they take it. An entry that is gone from the
    /// stream is only forgotten.
    fn bury(&self, held: Pending, reason: &[u8], tended: &mut Tended) -> Result<bool, Refusal> {
        let places = places::places(self.context, self.key, self.stream, &[held.id])?;
        let [Some((block, row))] = places[..] else {
            let (key, group, ids) = (self.key, self.number, Vec::from([held.id]));
            tended.effects.push(Effect::Released { key, group, ids });
            return Ok(true);
        };
        let block = self.context.block(self.key, self.stream, block)?;
        let Some(row) = block.row(row) else {
            return Ok(false);
        };
        let history = self.history(held, reason);
        let mut fields = Vec::new();
        varint::put_u64(&mut fields, (row.fields.len() + history.len()) as u64);
        for (name, value) in row.fields.iter() {
            varint::put_bytes(&mut fields, name);
            varint::put_bytes(&mut fields, &value.to_bytes());
        }
        for (name, value) in HISTORY.iter().zip(&history) {
            varint::put_bytes(&mut fields, name.as_bytes());
            varint::put_bytes(&mut fields, value);
        }
        let Some(letter) = self.address(fields) else {
            return Ok(false);
        };
        let act = Act::DeadLettered { group: self.number, id: held.id };
        tended.effects.push(Effect::Policy { key: self.key, act });
        tended.letter = Some(letter);
        Ok(true)
    }

    /// What a dead letter says of itself, behind its fields: the values of [`HISTORY`].
    fn history(&self, held: Pending, reason: &[u8]) -> [Vec<u8>; HISTORY.len()] {
        let consumer = self.group.consumers.name(held.consumer);
        let number = |number: u64| alloc::format!("{number}").into_bytes();
        [
            self.object.name.to_vec(),
            alloc::format!("{}", held.id).into_bytes(),
            self.name.to_vec(),
            consumer.map_or_else(Vec::new, |name| name.to_vec()),
            number(u64::from(held.leases)),
            reason.to_vec(),
            number(held.id.ms),
            number(held.delivered_ms),
        ]
    }

    /// Where it goes, if that can take it: a stream other than the source, with an id left and
    /// within its limits.
    fn address(&self, fields: Vec<u8>) -> Option<Letter> {
        let database = self.object.database;
        let name = dead_letters_of(&self.group.policy, &self.object.name, self.name);
        let keys = &self.context.machine.keys;
        let now_ms = self.context.now_ms;
        let Some((key, object)) = keys.find(crate::command::Key { database, name: &name }) else {
            let (key, created) = (keys.next_number(), Some((database, name)));
            let id = StreamId::new(now_ms, u64::from(now_ms == 0));
            let policies = create::policies(self.context, key, created.as_ref().map(|it| &*it.1)?);
            let (policies, seals, starts_node) = (policies.ok()?, false, true);
            return Some(Letter { key, created, policies, seals, starts_node, id, fields });
        };
        let Value::Stream(target) = &object.value else {
            return None;
        };
        let id = StreamId::new(now_ms, 0);
        let id = if id > target.last_id { id } else { target.last_id.next()? };
        if key == self.key || retention::is_full(target, fields.len()) {
            return None;
        }
        let seals = target.is_tail_full();
        let starts_node = seals || target.starts_node(self.context.nodes);
        let (created, policies) = (None, Vec::new());
        Some(Letter { key, created, policies, seals, starts_node, id, fields })
    }
}

/// Where the dead letters of a group go.
pub(super) fn dead_letters_of(policy: &GroupPolicy, key: &[u8], group: &[u8]) -> Vec<u8> {
    if !policy.dlq.is_empty() {
        return policy.dlq.to_vec();
    }
    dead_letters_default(key, group)
}
