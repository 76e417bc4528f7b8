//! What producers and consumers ask for, what they record of it, and how the state is read back.

use super::{Halt, Lease, Life, START_MS, World};
use crate::crash::Restart;
use crate::history::{Add, How, Id, Key as Written, Pending, Removal, Span, State, Take, Unseen};
use crate::op::subject::{self, CLIENT};
use levada_core::command::{self, Command, Key, NackMode, NewId};
use levada_core::error::Error;
use levada_core::fields::Fields;
use levada_core::id::StreamId;
use levada_core::reply::{self, Claimed, Reply};
use levada_engine::shard::{Answer, Outcome, Wait};

const KEY: Key<'static> = Key { database: 0, name: b"a" };
const LETTERS: Key<'static> = Key { database: 0, name: b"{a}:dlq:g" };
const GROUP: &[u8] = b"g";
/// A group that never reads.
const IDLE_GROUP: &[u8] = b"h";
const CONSUMERS: [&[u8]; 3] = [b"x", b"y", b"z"];

/// An answer on its way to its client.
#[derive(Clone, Debug)]
pub(super) struct Held {
    wait: Wait,
    invoked: u64,
    what: What,
}

/// What it will show.
#[derive(Clone, Debug)]
enum What {
    Add(Written, Option<StreamId>),
    Took(usize, How, Vec<(Id, Option<Written>)>),
    Acked(Id, bool),
    Deleted(Id, bool),
    /// Nothing that the history is about.
    Other,
}

type Asked = (Result<Reply, Error>, Wait);

impl World {
    /// One request at random, at a random time, and the end of the turn.
    pub(super) fn step<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        self.wall_ms = match self.random.below(200) {
            0..100 => self.wall_ms + self.random.below(6),
            100..190 => self.wall_ms + self.random.below(60),
            190..197 => self.wall_ms.saturating_sub(self.random.below(80)),
            197 => self.wall_ms.saturating_sub(100_000_000).max(START_MS),
            _ => self.wall_ms + self.random.below(100_000_000),
        };
        self.now_ms = self.now_ms.max(self.wall_ms);
        let consumer = self.random.index(CONSUMERS.len());
        match self.random.below(100) {
            0..30 => self.add(life)?,
            30..58 => self.read_new(life, consumer)?,
            58..74 => self.ack(life)?,
            74..80 => self.claim(life, consumer)?,
            80..90 => self.nack(life)?,
            90..93 => self.hand_over(life, consumer)?,
            93..96 => self.delete(life)?,
            _ => self.trim(life)?,
        }
        self.turn(life)
    }

    /// The stream, its groups and their policies, where they are not there yet.
    pub(super) fn set_up<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        let groups = [Some(GROUP), self.policy.held_back.then_some(IDLE_GROUP)];
        for group in groups.into_iter().flatten() {
            let create = command::XgroupCreate {
                key: KEY,
                group,
                id: Some(StreamId::MIN),
                create_stream: true,
                entries_read: None,
            };
            let (result, _) = self.ask(life, &Command::XgroupCreate(create))?;
            if !matches!(result, Ok(_) | Err(Error::GroupExists)) {
                return Err(Halt::Wrong(format!("XGROUP CREATE: {result:?}")));
            }
        }
        let options = self.policy.of_stream();
        let (idmp_duration_s, idmp_iids_max) = (None, None);
        let set = command::Xcfgset { key: KEY, idmp_duration_s, idmp_iids_max, options };
        let of_group =
            command::XgroupCfgset { key: KEY, group: GROUP, options: self.policy.of_group() };
        for command in [Command::Xcfgset(set), Command::XgroupCfgset(of_group)] {
            let (result, _) = self.ask(life, &command)?;
            result.map_err(|error| Halt::Wrong(format!("a policy is refused: {error:?}")))?;
        }
        Ok(())
    }

    pub(super) fn add<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        let key = Written { producer: 1, number: self.number };
        self.number += 1;
        let value = key.value();
        let add = command::Xadd {
            key: KEY,
            must_exist: false,
            trim: None,
            id: NewId::Auto,
            fields: Fields::Arguments(&[b"v", &value]),
            idempotent: None,
        };
        let invoked = self.counter.next();
        let (result, wait) = self.ask(life, &Command::Xadd(add))?;
        let what = match result {
            Ok(Reply::Id(id)) => What::Add(key, Some(id)),
            // Refused: it must be nowhere.
            Err(Error::Limit(_)) if self.policy.max_len().is_some() && !self.policy.trims() => {
                What::Other
            }
            other => return Err(Halt::Wrong(format!("{:?}: XADD: {other:?}", self.policy))),
        };
        life.hold(wait, invoked, what);
        Ok(())
    }

    pub(super) fn read_new<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        consumer: usize,
    ) -> Result<(), Halt> {
        let count = 1 + self.random.below(4);
        self.read_some(life, consumer, count)
    }

    fn read_some<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        consumer: usize,
        count: u64,
    ) -> Result<(), Halt> {
        let read = command::Xreadgroup {
            group: GROUP,
            consumer: CONSUMERS[consumer],
            count: Some(count),
            most: command::ReadMost { entries: None, bytes: None },
            claim_idle_ms: None,
            no_ack: false,
            streams: vec![(KEY, None)],
        };
        let invoked = self.counter.next();
        let (result, wait) = self.ask(life, &Command::Xreadgroup(read))?;
        let entries = match result {
            Ok(Reply::Streams(streams)) => told(life, &streams[0].1)?,
            Ok(Reply::Nil | Reply::NilList) => Vec::new(),
            other => return Err(Halt::Wrong(format!("XREADGROUP: {other:?}"))),
        };
        for (id, _) in &entries {
            self.note_delivery(*id)?;
        }
        life.hold(wait, invoked, What::Took(consumer, How::Read, entries));
        Ok(())
    }

    /// A delivery by `>`: not before it is due, and not too often.
    fn note_delivery(&mut self, id: Id) -> Result<(), Halt> {
        let (policy, now_ms) = (&self.policy, self.now_ms);
        if let Some(lease) = self.leases.get(&id) {
            if now_ms < lease.due_ms {
                let text = format!("{policy:?}: {id:?} at {now_ms}, due at {}", lease.due_ms);
                return Err(Halt::Wrong(text));
            }
            let counts = policy.max_deliver > 0 && policy.consumer_ttl_ms == 0;
            if counts && lease.deliveries >= policy.max_deliver {
                return Err(Halt::Wrong(format!("{policy:?}: {id:?} is delivered too often")));
            }
        }
        self.lease(id);
        Ok(())
    }

    /// Notes that a consumer got an entry now.
    fn lease(&mut self, id: Id) {
        let (policy, now_ms) = (&self.policy, self.now_ms);
        let lease_ms = match policy.ack_wait_ms {
            0 => u64::MAX - now_ms,
            ms => ms + policy.rest_ms(),
        };
        let gone_ms = match policy.consumer_ttl_ms {
            0 => u64::MAX - now_ms,
            ms => ms,
        };
        let deliveries = self.leases.get(&id).map_or(0, |lease| lease.deliveries) + 1;
        self.leases.insert(id, Lease { due_ms: now_ms + lease_ms.min(gone_ms), deliveries });
    }

    fn ack<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        match self.some_held() {
            Some(id) => self.ack_one(life, id),
            None => Ok(()),
        }
    }

    pub(super) fn ack_one<S: Restart>(&mut self, life: &mut Life<S>, id: Id) -> Result<(), Halt> {
        let invoked = self.counter.next();
        let (result, wait) = self.ask(life, &Command::Xack(KEY, GROUP, vec![core(id)]))?;
        let acked = self.number_of(result)? == 1;
        life.hold(wait, invoked, What::Acked(id, acked));
        Ok(())
    }

    fn claim<S: Restart>(&mut self, life: &mut Life<S>, consumer: usize) -> Result<(), Halt> {
        let claim = command::Xautoclaim {
            key: KEY,
            group: GROUP,
            consumer: CONSUMERS[consumer],
            idle_ms_min: *self.random.pick(&[0, 30]),
            start: StreamId::MIN,
            count: 1 + self.random.below(3),
            just_id: false,
        };
        let invoked = self.counter.next();
        let (result, wait) = self.ask(life, &Command::Xautoclaim(claim))?;
        let entries = match result {
            Ok(Reply::Autoclaimed(done)) => match &done.claimed {
                Claimed::Entries(entries) => told(life, entries)?,
                Claimed::Ids(_) => Vec::new(),
            },
            other => return Err(Halt::Wrong(format!("XAUTOCLAIM: {other:?}"))),
        };
        entries.iter().for_each(|(id, _)| self.lease(*id));
        life.hold(wait, invoked, What::Took(consumer, How::Claim, entries));
        Ok(())
    }

    pub(super) fn nack<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        let mode = *self.random.pick(&[NackMode::Silent, NackMode::Fail, NackMode::Fatal]);
        let delay_ms = self.random.chance(40).then_some(30);
        match self.some_held() {
            Some(id) => self.nack_one(life, id, mode, delay_ms),
            None => Ok(()),
        }
    }

    pub(super) fn nack_one<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        id: Id,
        mode: NackMode,
        delay_ms: Option<u64>,
    ) -> Result<(), Halt> {
        let delay_ms = delay_ms.filter(|_| mode != NackMode::Fatal);
        self.fatal |= mode == NackMode::Fatal;
        let nack = command::Xnack {
            key: KEY,
            group: GROUP,
            mode,
            ids: vec![core(id)],
            retry_count: None,
            force: false,
            delay_ms,
            reason: None,
        };
        let invoked = self.counter.next();
        let (result, wait) = self.ask(life, &Command::Xnack(nack))?;
        if self.number_of(result)? == 1 {
            let rest_ms = match (mode, delay_ms) {
                (_, Some(delay_ms)) => delay_ms,
                (NackMode::Fail, None) => self.policy.rest_ms(),
                _ => 0,
            };
            let lease = self.leases.entry(id).or_default();
            lease.due_ms = self.now_ms + rest_ms;
            if mode == NackMode::Silent {
                // No failure: it is offered again, whatever its count.
                lease.deliveries = 0;
            }
        }
        life.hold(wait, invoked, What::Other);
        Ok(())
    }

    fn hand_over<S: Restart>(&mut self, life: &mut Life<S>, consumer: usize) -> Result<(), Halt> {
        let to = (consumer + 1) % CONSUMERS.len();
        let to = self.random.chance(50).then_some(CONSUMERS[to]);
        let over =
            command::XgroupHandover { key: KEY, group: GROUP, consumer: CONSUMERS[consumer], to };
        let invoked = self.counter.next();
        let (_, wait) = self.ask(life, &Command::XgroupHandover(over))?;
        // Nobody failed: what was handed over is offered whatever its count.
        self.leases.values_mut().for_each(|lease| *lease = Lease::default());
        life.hold(wait, invoked, What::Other);
        Ok(())
    }

    fn delete<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        let Some(id) = self.some_held() else {
            return Ok(());
        };
        let invoked = self.counter.next();
        let (result, wait) = self.ask(life, &Command::Xdel(KEY, vec![core(id)]))?;
        let deleted = self.number_of(result)? == 1;
        life.hold(wait, invoked, What::Deleted(id, deleted));
        Ok(())
    }

    /// A producer's own trim, which under RETENTION ACKED removes nothing that is needed.
    fn trim<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        if !self.policy.retention {
            return Ok(());
        }
        let trim = command::Trim {
            keep: command::TrimKeep::MaxLen(self.random.below(3)),
            approximate: self.random.chance(50),
            limit: None,
            references: None,
        };
        let invoked = self.counter.next();
        let (_, wait) = self.ask(life, &Command::Xtrim(KEY, trim))?;
        life.hold(wait, invoked, What::Other);
        Ok(())
    }

    /// Every consumer reads what there is for it and acknowledges it.
    pub(super) fn read_and_acknowledge<S: Restart>(
        &mut self,
        life: &mut Life<S>,
    ) -> Result<(), Halt> {
        self.now_ms = self.now_ms.max(self.wall_ms);
        self.turn(life)?;
        self.read_some(life, 0, 100)?;
        self.turn(life)?;
        if self.policy.ack_wait_ms == 0 {
            self.claim(life, 0)?;
            self.turn(life)?;
        }
        for id in std::mem::take(&mut self.held) {
            self.ack_one(life, id)?;
            self.turn(life)?;
        }
        life.shard.store_mut().wait();
        self.turn(life)
    }

    fn some_held(&mut self) -> Option<Id> {
        (!self.held.is_empty()).then(|| *self.random.pick(&self.held))
    }

    fn number_of(&self, result: Result<Reply, Error>) -> Result<i64, Halt> {
        match result {
            Ok(Reply::Integer(n)) => Ok(n),
            other => {
                Err(Halt::Wrong(format!("{:?}: a number is expected: {other:?}", self.policy)))
            }
        }
    }

    /// Asks until the blocks that are needed are there.
    fn ask<S: Restart>(&self, life: &mut Life<S>, command: &Command<'_>) -> Result<Asked, Halt> {
        self.tell(|| format!("{} {command:?}", self.now_ms));
        loop {
            match life.shard.execute(self.now(), CLIENT, command) {
                // A block that cannot be read, as when the device has stopped.
                Outcome::Done(Answer { result: Err(error @ Error::Corrupt { .. }), .. }) => {
                    return Err(Halt::Failed(format!("{error:?}")));
                }
                Outcome::Done(Answer { result, wait }) => {
                    self.tell(|| format!("  {result:?} {wait:?}"));
                    return Ok((result, wait));
                }
                Outcome::NeedBlocks => {
                    life.shard.commit(self.now())?;
                    life.shard.store_mut().wait();
                    life.shard.poll(self.now())?;
                    while life.shard.poll_event().is_some() {}
                }
            }
        }
    }

    /// Lets go every answer that need not wait any longer, and records it.
    pub(super) fn release<S: Restart>(&mut self, life: &mut Life<S>) {
        for held in std::mem::take(&mut life.waiting) {
            if life.shard.is_over(held.wait) {
                self.report.released += 1;
                self.record(held);
            } else {
                life.waiting.push(held);
            }
        }
    }

    fn record(&mut self, held: Held) {
        let span = Span { invoked: held.invoked, completed: self.counter.next() };
        let stream = 0;
        match held.what {
            What::Add(key, id) => {
                let id = id.map(told_id);
                self.journal.adds.push(Add { stream, key, paired: false, span, id });
            }
            What::Took(consumer, how, entries) => {
                self.held.extend(entries.iter().map(|(id, _)| *id));
                let take = |(id, key)| Take { stream, id, consumer, how, span, key };
                self.journal.takes.extend(entries.into_iter().map(take));
            }
            What::Acked(id, true) => {
                self.held.retain(|held| *held != id);
                self.journal.acks.push(Removal { stream, id, span, known: true });
            }
            What::Deleted(id, true) => {
                self.journal.deletes.push(Removal { stream, id, span, known: true });
            }
            What::Acked(_, false) | What::Deleted(_, false) | What::Other => {}
        }
    }

    /// The client of this answer will never know.
    pub(super) fn lose(&mut self, held: &Held) {
        let span = Span { invoked: held.invoked, completed: u64::MAX };
        let stream = 0;
        match held.what {
            What::Add(key, _) => {
                self.journal.adds.push(Add { stream, key, paired: false, span, id: None });
            }
            What::Took(consumer, how, _) => {
                let reads = how == How::Read;
                self.journal.unseen.push(Unseen { stream, consumer, reads, ids: Vec::new() });
            }
            What::Acked(id, _) => {
                self.journal.acks.push(Removal { stream, id, span, known: false });
            }
            What::Deleted(id, _) => {
                self.journal.deletes.push(Removal { stream, id, span, known: false });
            }
            What::Other => {}
        }
    }

    /// The stream, its group and its dead letters.
    pub(super) fn read<S: Restart>(&self, life: &mut Life<S>) -> Result<State, Halt> {
        let (full, _) = self.ask(life, &Command::XinfoStream(KEY, Some(0)))?;
        let Ok(Reply::StreamFull(full)) = full else {
            return Err(Halt::Wrong(format!("XINFO STREAM FULL: {full:?}")));
        };
        let group = full.groups.iter().find(|group| group.info.name[..] == *GROUP);
        let group = group.ok_or_else(|| Halt::Wrong("the group is gone".into()))?;
        let (policy, facts) = (&self.policy, &full.facts);
        if policy.max_len().is_some_and(|max| facts.length > max) {
            return Err(Halt::Wrong(format!("{policy:?}: {} entries", facts.length)));
        }
        if policy.max_pending > 0 && group.info.pending > policy.max_pending {
            return Err(Halt::Wrong(format!("{policy:?}: {} pending", group.info.pending)));
        }
        let entries = told(life, &full.entries)?;
        let dead = self.read_letters(life)?;
        if !dead.is_empty() && !self.fatal && policy.max_deliver == 0 {
            return Err(Halt::Wrong(format!("{policy:?}: dead letters of no limit: {dead:?}")));
        }
        let pending = |row: &reply::PendingRow| Pending {
            id: told_id(row.id),
            consumer: CONSUMERS
                .iter()
                .position(|name| **name == *row.consumer)
                .unwrap_or(usize::MAX),
            count: row.count,
        };
        Ok(State {
            entries: entries.into_iter().filter_map(|(id, key)| Some((id, key?))).collect(),
            pending: group.pending.iter().map(pending).collect(),
            dead,
            last_id: told_id(facts.last_id),
            added: facts.entries_added,
            last_delivered: told_id(group.info.last_id),
            contradictions: Vec::new(),
        })
    }

    fn read_letters<S: Restart>(&self, life: &mut Life<S>) -> Result<Vec<(Id, Written)>, Halt> {
        let range = command::Xrange {
            key: LETTERS,
            first: StreamId::MIN,
            last: StreamId::MAX,
            reverse: false,
            count: None,
        };
        let (found, _) = self.ask(life, &Command::Xrange(range))?;
        let Ok(Reply::Entries(found)) = found else {
            return Err(Halt::Wrong(format!("XRANGE of the dead letters: {found:?}")));
        };
        let entries =
            subject::told_entries(&mut life.shard, &found).map_err(|error| refused(&error))?;
        let letter = |(_, fields): (_, Option<crate::model::Fields>)| {
            let fields = fields.ok_or("no fields")?;
            let of = |name: &[u8]| fields.iter().find(|(of, _)| of == name).map(|(_, value)| value);
            let id = of(b"x-dlq-id").and_then(|id| parse(id)).ok_or("no id")?;
            Ok((id, Written::of(of(b"v").ok_or("no value")?)?))
        };
        entries.into_iter().map(letter).collect::<Result<_, String>>().map_err(Halt::Wrong)
    }
}

impl<S> Life<S> {
    fn hold(&mut self, wait: Wait, invoked: u64, what: What) {
        self.waiting.push(Held { wait, invoked, what });
    }
}

/// Entries with their values; none where only an id was shown.
fn told<S: Restart>(
    life: &mut Life<S>,
    entries: &reply::Entries,
) -> Result<Vec<(Id, Option<Written>)>, Halt> {
    let entries =
        subject::told_entries(&mut life.shard, entries).map_err(|error| refused(&error))?;
    let value = |fields: crate::model::Fields| Written::of(&fields[0].1);
    let entry = |(id, fields): (crate::model::Id, Option<crate::model::Fields>)| {
        Ok(((id.0, id.1), fields.map(value).transpose()?))
    };
    entries.into_iter().map(entry).collect::<Result<_, String>>().map_err(Halt::Wrong)
}

fn refused(refused: &subject::Refused) -> Halt {
    Halt::Failed(format!("{refused:?}"))
}

fn core((ms, seq): Id) -> StreamId {
    StreamId { ms, seq }
}

fn told_id(id: StreamId) -> Id {
    (id.ms, id.seq)
}

fn parse(text: &[u8]) -> Option<Id> {
    let (ms, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
    Some((ms.parse().ok()?, seq.parse().ok()?))
}
