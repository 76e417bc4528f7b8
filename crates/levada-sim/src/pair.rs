//! The model and a shard, led through the same steps and compared after each.
//!
//! The product seals blocks when it likes, and a sealed block ends a logical node (`~` trims by
//! those), which Redis knows nothing about. So the pair watches where the shard seals and ends the
//! model's node there; it takes nothing else from the product.

mod waiting;

use crate::books;
use crate::dump::{self, SealedBlocks};
use crate::model::{Answer, Consumer, Id, Key, Model, Reply, Stream, Value};
use crate::op::subject::{self, Refused, Seen};
use crate::op::{KEYS, KeyAt, Op, Step, model_key, other_database, reference};
use levada_core::error::Error as CoreError;
use levada_core::keyspace::KeyNumber;
use levada_engine::clock::Now;
use levada_engine::shard::{Shard, Wait};
use levada_engine::store::{Fetch, Lsn, Store};
use std::collections::BTreeMap;
use waiting::{FIRST_READER, Reader, Watching};

/// Why a schedule ended before its time.
#[derive(Debug)]
pub enum Halt {
    /// The product is wrong; in words.
    Wrong(String),
    /// It says that a block is damaged or cannot be read, which is right if that is so.
    Damaged(String),
    /// The store failed, as a store may.
    Store(levada_engine::Error),
}

impl From<levada_engine::Error> for Halt {
    fn from(error: levada_engine::Error) -> Self {
        Self::Store(error)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Pair<S> {
    /// What ought to be.
    pub model: Model,
    /// What is.
    pub shard: Shard<S>,
    /// The wall clock in ms, which may go back.
    pub wall_ms: u64,
    /// The time that both sides go by: it never goes back, and a batch has one.
    pub now_ms: u64,
    /// Number of the tail of each stream when last looked at.
    tails: BTreeMap<KeyNumber, u64>,
    /// The batches since [`Pair::take_points`].
    points: Vec<Point>,
    /// For each key the batch of its last change; of its last change that was no delivery.
    changed: BTreeMap<KeyAt, (Lsn, Lsn)>,
    /// Readers that wait, in the order in which they came.
    readers: Vec<Reader>,
    next_reader: u64,
    /// Promises of those who waited and were answered.
    served: Vec<Promise>,
    watching: Option<Watching>,
    /// Whether the last command was a read that found nothing.
    is_answered_with_nothing: bool,
    /// Blocks that were asked for are there.
    retry: bool,
}

/// What ought to be there when the log ends with a batch.
#[derive(Clone, Debug)]
pub struct Point {
    /// The batch.
    pub lsn: Lsn,
    /// The state.
    pub model: Model,
}

/// What an answer that may be shown proves to be there, by the batch of the last change of what
/// it shows, whatever the product says that it waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Promise {
    /// What the product waits for.
    pub wait: Wait,
    /// What must survive a power cut once the answer has left.
    pub durable: Lsn,
    /// What must survive a kill.
    pub written: Lsn,
}

impl<S: Store> Pair<S> {
    /// A pair whose two sides hold the same. The clock of the machine stands at `now_ms` or below,
    /// the one on the wall wherever it does.
    pub fn new(model: Model, shard: Shard<S>, now_ms: u64, wall_ms: u64) -> Result<Self, Halt> {
        let mut pair = Self {
            model,
            shard,
            wall_ms,
            now_ms,
            tails: BTreeMap::new(),
            points: Vec::new(),
            changed: BTreeMap::new(),
            readers: Vec::new(),
            next_reader: FIRST_READER,
            served: Vec::new(),
            watching: None,
            is_answered_with_nothing: false,
            retry: false,
        };
        pair.listen();
        pair.tails = pair.tail_numbers();
        pair.poll()?;
        Ok(pair)
    }

    /// Leads both through a step and compares the answers; what each answer promises. The turn,
    /// if it ends here, is the caller's.
    pub fn step(&mut self, step: &Step) -> Result<Vec<Promise>, Halt> {
        self.wall_ms = self.wall_ms.saturating_add_signed(step.clock_ms);
        match &step.op {
            Op::Multi(ops) => {
                self.advance();
                if self.is_watch_broken()? {
                    return Ok(Vec::new());
                }
                self.shard.transaction_begin();
                let promises = ops.iter().map(|op| self.command(op)).collect();
                let now = self.now();
                self.shard.transaction_end(now);
                self.drain()?;
                promises
            }
            Op::Limits(limits) => {
                subject::set_limits(&mut self.shard, *limits);
                self.model.limits = *limits;
                Ok(Vec::new())
            }
            Op::OnceLimits(limits) => {
                subject::set_once_limits(&mut self.shard, *limits);
                self.model.once = *limits;
                Ok(Vec::new())
            }
            Op::Publish => Ok(vec![self.publish()?]),
            Op::Watch(keys) => {
                self.advance();
                self.watch(keys);
                Ok(Vec::new())
            }
            op => {
                self.advance();
                let promise = self.command(op)?;
                self.drain()?;
                if self.is_answered_with_nothing {
                    self.block(op);
                }
                Ok(vec![promise])
            }
        }
    }

    /// Ends a turn: commit, then poll.
    pub fn end_turn(&mut self) -> Result<(), Halt> {
        self.commit()?;
        self.poll()
    }

    /// Commits what was done since the last commit.
    pub fn commit(&mut self) -> Result<(), Halt> {
        let lsn = self.shard.position();
        if lsn > self.shard.current() {
            // Whether it comes to be or not: an error leaves that open.
            self.points.push(Point { lsn, model: self.model.clone() });
        }
        let now = self.now();
        Ok(self.shard.commit(now)?)
    }

    /// The batches since this was last called, and the state behind each.
    pub fn take_points(&mut self) -> Vec<Point> {
        std::mem::take(&mut self.points)
    }

    /// Both clocks as the shard is told them.
    pub fn now(&self) -> Now {
        Now { wall_ms: self.wall_ms, monotonic_us: self.now_ms * 1000 }
    }

    /// Compares everything.
    pub fn compare(&mut self) -> Result<(), Halt> {
        self.poll()?;
        self.expire();
        self.shard.log_seen();
        let (blocks, lost) = all_blocks(&mut self.shard);
        // When consumers were seen is logged later than the rest.
        dump::take_earlier_seen(&mut self.model, self.shard.machine());
        books::check(self.shard.machine()).map_err(Halt::Wrong)?;
        let found = dump::of_machine(self.shard.machine(), &blocks, self.now_ms);
        match dump::difference(&dump::of_model(&self.model), &found) {
            None => Ok(()),
            Some(difference) if lost > 0 => Err(Halt::Damaged(difference)),
            Some(difference) => Err(Halt::Wrong(difference)),
        }
    }

    /// Lets the shard take note of time and finished I/O.
    pub fn poll(&mut self) -> Result<(), Halt> {
        self.advance();
        let now = self.now();
        self.shard.poll(now)?;
        self.expire();
        self.drain()?;
        self.check_waiting()?;
        self.advance();
        self.note_seals();
        Ok(())
    }

    /// The clock of both: a batch under construction keeps its time.
    fn advance(&mut self) {
        if self.shard.position() == self.shard.current() {
            self.now_ms = self.now_ms.max(self.wall_ms);
        }
    }

    fn command(&mut self, op: &Op) -> Result<Promise, Halt> {
        let (seen, wait) = loop {
            let full = self.seals_before(op);
            let now = self.now();
            if let Some(answer) = subject::ask(&mut self.shard, now, self.now_ms, op) {
                if let Err(Refused::Unexpected(CoreError::DiskFull)) = answer.0 {
                    // Nothing happened, which is to be seen when the states are compared.
                    return Ok(Promise { wait: answer.1, durable: 0, written: 0 });
                }
                if let Some(key) = full.filter(|key| self.has_sealed(*key)) {
                    self.end_node(&model_key(key));
                }
                break answer;
            }
            self.await_blocks()?;
        };
        let keys = named(op);
        // What is over goes without a change: it would be told in any case.
        self.expire();
        let held = |model: &Model, key: KeyAt| model.keys.get(&model_key(key)).cloned();
        // An id shows that an entry was appended.
        let tells = matches!(op, Op::Xadd { .. });
        let before: Option<Vec<_>> =
            (!tells).then(|| keys.iter().map(|key| held(&self.model, *key)).collect());
        let node = self.last_node(op);
        let added = self.entries_added(op);
        let [expected] = &reference::apply(&mut self.model, self.now_ms, op)[..] else {
            unreachable!("a command has one answer")
        };
        // What was refused, or is a duplicate, leaves the nodes alone.
        let adds = matches!(op, Op::Xadd { .. } | Op::XaddOnce { .. });
        let is_idle = adds && self.entries_added(op) == added;
        if !is_idle && self.lost_its_last_node(op, node) {
            // Redis would go on with the node before, if limits were raised; we begin another.
            self.end_node(&model_key(deletes_from(op).expect("it lost a node")));
        }
        match adds {
            // It sealed, if at all, before it appended.
            true => self.tails = self.tail_numbers(),
            false => self.note_seals(),
        }
        let what = || format!("{op:?}\nshould answer {expected:?}\nand said {seen:?}");
        match &seen {
            Err(Refused::Corrupt(..) | Refused::Lost(_)) => return Err(Halt::Damaged(what())),
            _ if !agree(expected, &seen) => return Err(Halt::Wrong(what())),
            _ => {}
        }
        if tells && matches!(expected, Ok(Reply::Id(_))) {
            for key in &keys {
                self.note_change(*key, false);
                let after = held(&self.model, *key);
                self.note_watched(*key, None, after.as_ref());
            }
        }
        for (key, before) in keys.iter().zip(before.into_iter().flatten()) {
            let after = held(&self.model, *key);
            self.note_watched(*key, before.as_ref(), after.as_ref());
            // When a consumer was there and got nothing is promised to nobody.
            if !is_same_but(before.clone(), after.clone(), |seen| seen.seen_ms = 0) {
                let idle = |seen: &mut Consumer| (seen.seen_ms, seen.active_ms) = (0, None);
                let is_delivery =
                    after.is_some() && self.is_relaxed(op) || is_same_but(before, after, idle);
                self.note_change(*key, is_delivery);
            }
        }
        self.is_answered_with_nothing = *expected == Ok(Reply::Nil);
        Ok(self.promise(op, &keys, wait))
    }

    fn is_relaxed(&self, op: &Op) -> bool {
        op.is_delivery() && !self.shard.settings().delivery_strict
    }

    fn note_change(&mut self, key: KeyAt, is_delivery: bool) {
        let lsn = self.shard.position();
        let changed = self.changed.entry(key).or_default();
        changed.0 = lsn;
        if !is_delivery {
            changed.1 = lsn;
        }
    }

    /// What the answer to an op on some keys promises.
    fn promise(&self, op: &Op, keys: &[KeyAt], wait: Wait) -> Promise {
        let changed = keys.iter().filter_map(|key| self.changed.get(key));
        let (all, entries) = changed
            .fold((0, 0), |(all, entries), changed| (changed.0.max(all), changed.1.max(entries)));
        let durable = if self.is_relaxed(op) { entries } else { all };
        Promise { wait, durable, written: all }
    }

    /// Turns go by until the blocks that a command needs are there.
    fn await_blocks(&mut self) -> Result<(), Halt> {
        loop {
            self.drain()?;
            if std::mem::take(&mut self.retry) {
                return Ok(());
            }
            self.commit()?;
            self.shard.store_mut().wait();
            self.poll()?;
        }
    }

    /// The key to which this op appends, if its tail is full and sealed first.
    fn seals_before(&self, op: &Op) -> Option<usize> {
        let (Op::Xadd { key, .. } | Op::XaddOnce { key, .. }) = op else { return None };
        let (_, stream) = self.shard.machine().stream(subject::key_of(*key))?;
        stream.is_tail_full().then_some(*key)
    }

    /// Whether the tail of a stream was sealed since this was last noted. A duplicate seals none.
    fn has_sealed(&self, key: KeyAt) -> bool {
        let stream = self.shard.machine().stream(subject::key_of(key));
        stream.is_some_and(|(number, stream)| {
            self.tails.get(&number).is_some_and(|tail| *tail < stream.tail_number())
        })
    }

    /// Entries ever added to the stream from which this op deletes.
    fn entries_added(&self, op: &Op) -> Option<u64> {
        Some(self.deleted_from(op)?.entries_added)
    }

    /// Where the last node of the stream begins from which this op deletes.
    fn last_node(&self, op: &Op) -> Option<Id> {
        Some(self.deleted_from(op)?.nodes.last()?.first)
    }

    /// Whether nothing lives any more in the last node that this op deleted from, or appended to.
    fn lost_its_last_node(&self, op: &Op, before: Option<Id>) -> bool {
        let Some(stream) = self.deleted_from(op) else {
            return false;
        };
        let Some(last) = stream.nodes.last() else {
            return false;
        };
        match op {
            Op::Xadd { .. } | Op::XaddOnce { .. } => last.last < stream.last_id,
            _ => {
                Some(last.first) != before
                    || stream.entries.range(last.first..=last.last).next().is_none()
            }
        }
    }

    fn deleted_from(&self, op: &Op) -> Option<&Stream> {
        match &self.model.keys.get(&model_key(deletes_from(op)?))?.value {
            Value::Stream(stream) => Some(stream),
            Value::Text(_) => None,
        }
    }

    /// Ends the model's node of every stream that was sealed since this was last called.
    fn note_seals(&mut self) {
        let tails = self.tail_numbers();
        let sealed = tails
            .iter()
            .filter(|(key, tail)| self.tails.get(key).is_some_and(|before| before < tail));
        let machine = self.shard.machine();
        let names: Vec<_> = sealed
            .filter_map(|(key, _)| machine.keys.get(*key))
            .map(|object| [&[b'0' + object.database], &object.name[..]].concat())
            .collect();
        names.iter().for_each(|name| self.end_node(name));
        self.tails = tails;
    }

    fn tail_numbers(&self) -> BTreeMap<KeyNumber, u64> {
        let machine = self.shard.machine();
        let streams = (0..KEYS.len()).filter_map(|key| machine.stream(subject::key_of(key)));
        streams.map(|(key, stream)| (key, stream.tail_number())).collect()
    }

    fn end_node(&mut self, name: &[u8]) {
        if let Some(Value::Stream(stream)) = self.model.keys.get_mut(name).map(|key| &mut key.value)
        {
            stream.end_node();
        }
    }
}

/// The key of an op that deletes other entries than the oldest.
fn deletes_from(op: &Op) -> Option<KeyAt> {
    match op {
        Op::Xdel(key, _)
        | Op::Xdelex(key, ..)
        | Op::Xackdel(key, ..)
        | Op::Xtrim(key, _)
        | Op::Xadd { key, trim: Some(_), .. }
        | Op::XaddOnce { key, trim: Some(_), .. } => Some(*key),
        _ => None,
    }
}

/// Whether two values are the same once this is done to their consumers.
fn is_same_but(before: Option<Key>, after: Option<Key>, level: impl Fn(&mut Consumer)) -> bool {
    let levelled = |key: Option<Key>| {
        let mut key = key?;
        if let Value::Stream(stream) = &mut key.value {
            let consumers = stream.groups.values_mut().flat_map(|group| &mut group.consumers);
            consumers.for_each(|(_, seen)| level(seen));
        }
        Some(key)
    };
    levelled(before) == levelled(after)
}

/// The keys that an op names or sees.
fn named(op: &Op) -> Vec<KeyAt> {
    let of_database = |database: u8| (0..KEYS.len()).filter(move |key| KEYS[*key].0 == database);
    match op {
        Op::Xadd { key, .. }
        | Op::XaddOnce { key, .. }
        | Op::Xcfgset { key, .. }
        | Op::Xidmprecord { key, .. }
        | Op::Xdel(key, _)
        | Op::Xdelex(key, ..)
        | Op::Xtrim(key, _)
        | Op::Xsetid { key, .. }
        | Op::Xlen(key)
        | Op::Xrange { key, .. }
        | Op::GroupCreate { key, .. }
        | Op::GroupSetid { key, .. }
        | Op::GroupDestroy(key, _)
        | Op::CreateConsumer(key, ..)
        | Op::DelConsumer(key, ..)
        | Op::Xack(key, ..)
        | Op::Xackdel(key, ..)
        | Op::Xpending(key, _)
        | Op::XpendingRange { key, .. }
        | Op::Xclaim { key, .. }
        | Op::Xnack { key, .. }
        | Op::Restore { key, .. }
        | Op::Xautoclaim { key, .. }
        | Op::Set(key, ..)
        | Op::Get(key)
        | Op::Incr(key)
        | Op::Pexpire(key, _)
        | Op::Persist(key) => vec![*key],
        Op::Xread { from, .. } => from.iter().map(|(key, _)| *key).collect(),
        Op::Xreadgroup { from, .. } => from.iter().map(|(key, _)| *key).collect(),
        Op::Del(keys) | Op::Exists(keys) => keys.clone(),
        Op::Move(key) => vec![*key, other_database(*key)],
        Op::Rename { from, to, .. } | Op::Copy { from, to, .. } => vec![*from, *to],
        Op::Flush(None) | Op::Swapdb => (0..KEYS.len()).collect(),
        Op::Flush(Some(database)) | Op::Dbsize(database) => of_database(*database).collect(),
        Op::Multi(ops) => ops.iter().flat_map(named).collect(),
        Op::Limits(_) | Op::OnceLimits(_) | Op::Publish | Op::Watch(_) => Vec::new(),
    }
}

/// Whether the product said what the model says.
fn agree(expected: &Answer, seen: &Seen) -> bool {
    match (expected, seen) {
        (Ok(expected), Ok(seen)) => expected == seen || goes_on(expected, seen),
        (Err(expected), Err(Refused::As(seen))) => expected == seen,
        _ => false,
    }
}

/// Whether these are answers of XAUTOCLAIM, the same but for a cursor that passes over more of
/// what is neither to be claimed nor to be reported.
fn goes_on(expected: &Reply, seen: &Reply) -> bool {
    let Reply::AutoClaimed { cursor, cursor_max, claimed, deleted } = expected else {
        return false;
    };
    let Reply::AutoClaimed { cursor: at, claimed: taken, deleted: gone, .. } = seen else {
        return false;
    };
    // 0-0 is behind every id.
    let place = |id: Id| if id == Id::MIN { Id::MAX } else { id };
    let range = place(*cursor)..=place(*cursor_max);
    (claimed, deleted) == (taken, gone) && range.contains(&place(*at))
}

/// Every sealed block of a shard, read if need be, and how many could not be read.
pub fn all_blocks<S: Store>(shard: &mut Shard<S>) -> (SealedBlocks, usize) {
    let (mut blocks, mut lost) = (SealedBlocks::default(), 0);
    for key in 0..KEYS.len() {
        let Some((number, stream)) = shard.machine().stream(subject::key_of(key)) else {
            continue;
        };
        for block in stream.first_block()..stream.tail_number() {
            match shard.store_mut().fetch_now(number.0, block) {
                Fetch::Ready(found) => _ = blocks.0.insert((number, block), found),
                _ => lost += 1,
            }
        }
    }
    (blocks, lost)
}
