//! The model and a shard, led through the same steps and compared after each.
//!
//! The product seals blocks when it likes, and a sealed block ends a logical node (`~` trims by
//! those), which Redis knows nothing about. So the pair watches where the shard seals and ends the
//! model's node there; it takes nothing else from the product.

use crate::dump::{self, SealedBlocks};
use crate::model::{Answer, Id, Model, Stream, Value};
use crate::op::subject::{self, Refused, Seen};
use crate::op::{KEYS, KeyAt, Op, Step, model_key, reference};
use levada_core::keyspace::KeyNumber;
use levada_engine::clock::Now;
use levada_engine::shard::{Event, Shard, Wait};
use levada_engine::store::{Fetch, Store};
use std::collections::BTreeMap;

/// Why a schedule ended before its time.
#[derive(Debug)]
pub enum Halt {
    /// The product is wrong; in words.
    Wrong(String),
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
}

impl<S: Store> Pair<S> {
    /// A pair whose two sides hold the same, at a time that the shard is told first.
    pub fn new(model: Model, shard: Shard<S>, now_ms: u64) -> Result<Self, Halt> {
        let mut pair = Self { model, shard, wall_ms: now_ms, now_ms, tails: BTreeMap::new() };
        pair.poll()?;
        Ok(pair)
    }

    /// Leads both through a step and compares the answers; what each answer waits for. The turn,
    /// if it ends here, is the caller's.
    pub fn step(&mut self, step: &Step) -> Result<Vec<Wait>, Halt> {
        self.wall_ms = self.wall_ms.saturating_add_signed(step.clock_ms);
        match &step.op {
            Op::Multi(ops) => {
                self.advance();
                self.shard.transaction_begin();
                let waits = ops.iter().map(|op| self.command(op)).collect();
                let now = self.now();
                self.shard.transaction_end(now);
                waits
            }
            Op::Limits(limits) => {
                subject::set_limits(&mut self.shard, *limits);
                self.model.limits = *limits;
                Ok(Vec::new())
            }
            op => {
                self.advance();
                Ok(vec![self.command(op)?])
            }
        }
    }

    /// Ends a turn: commit, then poll.
    pub fn end_turn(&mut self) -> Result<(), Halt> {
        let now = self.now();
        self.shard.commit(now)?;
        self.poll()
    }

    /// Both clocks as the shard is told them.
    pub fn now(&self) -> Now {
        Now { wall_ms: self.wall_ms, monotonic_us: self.now_ms * 1000 }
    }

    /// Compares everything.
    pub fn compare(&mut self) -> Result<(), Halt> {
        self.poll()?;
        self.model.expire_keys(self.now_ms);
        let blocks = all_blocks(&mut self.shard);
        let found = dump::of_machine(self.shard.machine(), &blocks, self.now_ms);
        match dump::difference(&dump::of_model(&self.model), &found) {
            None => Ok(()),
            Some(difference) => Err(Halt::Wrong(difference)),
        }
    }

    fn poll(&mut self) -> Result<(), Halt> {
        self.advance();
        let now = self.now();
        self.shard.poll(now)?;
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

    fn command(&mut self, op: &Op) -> Result<Wait, Halt> {
        let (seen, wait) = loop {
            let full = self.seals_before(op);
            let now = self.now();
            if let Some(answer) = subject::ask(&mut self.shard, now, self.now_ms, op) {
                if let Some(key) = full {
                    self.end_node(&model_key(key));
                }
                break answer;
            }
            self.await_blocks()?;
        };
        let node = self.last_node(op);
        let [expected] = &reference::apply(&mut self.model, self.now_ms, op)[..] else {
            unreachable!("a command has one answer")
        };
        if self.lost_its_last_node(op, node) {
            // Redis would go on with the node before, if limits were raised; we begin another.
            self.end_node(&model_key(deletes_from(op).expect("it lost a node")));
        }
        match matches!(op, Op::Xadd { .. }) {
            // It sealed, if at all, before it appended.
            true => self.tails = self.tail_numbers(),
            false => self.note_seals(),
        }
        match agree(expected, &seen) {
            true => Ok(wait),
            false => {
                Err(Halt::Wrong(format!("{op:?}\nshould answer {expected:?}\nand said {seen:?}")))
            }
        }
    }

    /// Turns go by until the blocks that a command needs are there.
    fn await_blocks(&mut self) -> Result<(), Halt> {
        loop {
            while let Some(event) = self.shard.poll_event() {
                if let Event::Retry { .. } = event {
                    return Ok(());
                }
            }
            let now = self.now();
            self.shard.commit(now)?;
            self.shard.store_mut().wait();
            self.poll()?;
        }
    }

    /// The key to which this op appends, if its tail is full and sealed first.
    fn seals_before(&self, op: &Op) -> Option<usize> {
        let Op::Xadd { key, .. } = op else { return None };
        let (_, stream) = self.shard.machine().stream(subject::key_of(*key))?;
        stream.is_tail_full().then_some(*key)
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
            Op::Xadd { .. } => last.last < stream.last_id,
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
        | Op::Xadd { key, trim: Some(_), .. } => Some(*key),
        _ => None,
    }
}

/// Whether the product said what the model says.
fn agree(expected: &Answer, seen: &Seen) -> bool {
    match (expected, seen) {
        (Ok(expected), Ok(seen)) => expected == seen,
        (Err(expected), Err(Refused::As(seen))) => expected == seen,
        _ => false,
    }
}

/// Every sealed block of a shard, read if need be. One that cannot be read is left out.
pub fn all_blocks<S: Store>(shard: &mut Shard<S>) -> SealedBlocks {
    let mut blocks = SealedBlocks::default();
    for key in 0..KEYS.len() {
        let Some((number, stream)) = shard.machine().stream(subject::key_of(key)) else {
            continue;
        };
        for block in stream.first_block()..stream.tail_number() {
            if let Fetch::Ready(found) = shard.store_mut().fetch_now(number.0, block) {
                blocks.0.insert((number, block), found);
            }
        }
    }
    blocks
}
