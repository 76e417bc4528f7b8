//! What a command means: its answer, and what would change.
//!
//! [`decide`] changes nothing. Where it must look into a sealed block that is not in memory it says
//! so ([`Refusal::Need`]) and is asked again when the block is there; everything else it knows from
//! the index. One file per family of commands.

mod add;
mod budget;
mod check;
mod claim;
mod create;
mod deliver;
mod group;
mod idempotent;
mod info;
mod keys;
mod lag;
mod letters;
mod ordered;
mod pending;
mod places;
mod policy;
mod range;
mod references;
mod released;
mod restore;
mod retention;
mod schedule;
mod strings;
mod tend;

use alloc::{sync::Arc, vec::Vec};
use core::{cell::RefCell, ops::Deref};

use crate::{
    block::Block,
    command::{Command, Key},
    defaults::Defaults,
    effect::Effect,
    error::Error,
    idempotence::IdmpLimits,
    keyspace::{KeyNumber, Value},
    machine::Machine,
    reply::Reply,
    stream::{NodeLimits, Stream},
};

use self::tend::dead_letters_of;
pub use self::{
    letters::LETTERS_MAX,
    policy::DELAYS_MAX,
    schedule::{Move, NextDue, due},
    tend::{Letter, Tended, tend},
};

/// Everything that a decision may look at.
#[derive(Clone, Copy)]
pub struct Context<'m> {
    /// The state.
    pub machine: &'m Machine,
    /// Sealed blocks that are in memory.
    pub blocks: &'m dyn Blocks,
    /// Unix milliseconds of the batch; never below the last.
    pub now_ms: u64,
    /// When a logical node is full.
    pub nodes: NodeLimits,
    /// How new streams track idempotent ids.
    pub idmp: IdmpLimits,
    /// Entries that a group with ORDER-BY parks at most.
    pub order_window: u64,
    /// Policies of new streams and groups.
    pub defaults: &'m Defaults,
    /// Bytes that strings may take.
    pub text_bytes_max: u64,
    /// Bytes that idempotent ids may take under DEDUP-WINDOW and DEDUP-MAX.
    pub dedup_bytes_max: u64,
    /// Whether a block that is not in memory is lost: what only counts its entries counts all.
    pub blind: bool,
    /// An empty list whose memory the next decision may use, so that what is decided most often
    /// allocates nothing.
    pub spare: Option<&'m RefCell<Vec<Effect<'static>>>>,
}

/// Sealed blocks that are in memory.
pub trait Blocks {
    /// The block, if it is here.
    fn block(&self, key: KeyNumber, number: u64) -> Option<Arc<Block>>;
}

/// An answer, and what changes with it.
#[derive(Debug)]
pub struct Decision<'a> {
    /// The answer.
    pub reply: Reply,
    /// In order; to be logged and applied together.
    pub effects: Vec<Effect<'a>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Refusal {
    /// Blocks have to be looked into first; ask again when they are here.
    Need(Need),
    /// The command is wrong, or does not fit the state.
    Error(Error),
}

/// Sealed blocks of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Need {
    /// The stream.
    pub key: KeyNumber,
    /// Their numbers, at most [`crate::limits::NEED_BLOCKS_MAX`].
    pub blocks: Vec<u64>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Decision<'_> {
    /// An answer that changes nothing.
    fn answer(reply: Reply) -> Self {
        Self { reply, effects: Vec::new() }
    }
}

type Decided<'a> = Result<Decision<'a>, Refusal>;

/// Answers a command. The keys that it names are not expired: the caller has removed those.
pub fn decide<'a>(context: Context<'_>, command: &Command<'a>) -> Decided<'a> {
    match command {
        Command::Xadd(xadd) => add::xadd(context, xadd),
        Command::Xtrim(key, trim) => add::xtrim(context, *key, trim),
        Command::Xdel(key, ids) => add::xdel(context, *key, ids),
        Command::Xdelex(key, references, ids) => {
            references::xdelex(context, *key, *references, ids)
        }
        Command::Xackdel(key, group, references, ids) => {
            references::xackdel(context, *key, group, *references, ids)
        }
        Command::Xsetid(xsetid) => add::xsetid(context, xsetid),
        Command::Xcfgset(xcfgset) => policy::xcfgset(context, xcfgset),
        Command::Xcfgget(key) => policy::xcfgget(context, *key),
        Command::XgroupCfgset(cfgset) => policy::cfgset(context, cfgset),
        Command::XgroupCfgget(key, group) => policy::cfgget(context, *key, group),
        Command::XgroupParked(parked) => policy::parked_ids(context, parked),
        Command::XgroupHandover(handover) => policy::handover(context, handover),
        Command::Xlag(key, group) => policy::xlag(context, *key, group),
        Command::Xdlq(xdlq) => letters::xdlq(context, xdlq),
        Command::Xsched(xsched) => schedule::xsched(context, xsched),
        Command::Xidmprecord(record) => idempotent::xidmprecord(context, record),
        Command::Xlen(key) => range::xlen(context, *key),
        Command::Xrange(xrange) => range::xrange(context, xrange),
        Command::Xread(xread) => range::xread(context, xread),
        Command::Xreadgroup(xreadgroup) => deliver::xreadgroup(context, xreadgroup),
        Command::XgroupCreate(create) => group::create(context, create),
        Command::XgroupSetid(setid) => group::setid(context, setid),
        Command::XgroupDestroy(key, group) => group::destroy(context, *key, group),
        Command::XgroupCreateconsumer(key, group, consumer) => {
            group::createconsumer(context, *key, group, consumer)
        }
        Command::XgroupDelconsumer(key, group, consumer) => {
            group::delconsumer(context, *key, group, consumer)
        }
        Command::Xack(key, group, ids) => group::xack(context, *key, group, ids),
        Command::CheckStreams(keys, group) => group::check(context, keys, *group),
        Command::XpendingSummary(key, group) => pending::summary(context, *key, group),
        Command::Xpending(xpending) => pending::rows(context, xpending),
        Command::Xclaim(xclaim) => claim::xclaim(context, xclaim),
        Command::Xnack(xnack) => claim::xnack(context, xnack),
        Command::Xautoclaim(xautoclaim) => claim::xautoclaim(context, xautoclaim),
        Command::XinfoStream(key, None) => info::stream(context, *key),
        Command::XinfoStream(key, Some(count)) => info::full(context, *key, *count),
        Command::XinfoGroups(key) => info::groups(context, *key),
        Command::XinfoConsumers(key, group) => info::consumers(context, *key, group),
        Command::Dump(key) => restore::dump(context, *key),
        Command::Restore(asked) => restore::restore(context, asked),
        _ => keys::decide(context, command),
    }
}

/// A block to look into: the tail, or a sealed one.
enum BlockRef<'m> {
    Tail(&'m Block),
    Sealed(Arc<Block>),
}

impl Deref for BlockRef<'_> {
    type Target = Block;

    fn deref(&self) -> &Block {
        match self {
            Self::Tail(block) => block,
            Self::Sealed(block) => block,
        }
    }
}

impl<'m> Context<'m> {
    /// An empty list of effects.
    fn effects<'a>(&self) -> Vec<Effect<'a>> {
        self.spare.map(RefCell::take).unwrap_or_default()
    }

    /// The stream of a key, if the key is there; an error if it holds something else.
    fn stream(&self, key: Key<'_>) -> Result<Option<(KeyNumber, &'m Stream)>, Error> {
        match self.machine.keys.find(key) {
            None => Ok(None),
            Some((number, object)) => match &object.value {
                Value::Stream(stream) => Ok(Some((number, stream))),
                Value::Text(_) => Err(Error::WrongType),
            },
        }
    }

    /// The stream of a key that must be there.
    fn existing(&self, key: Key<'_>) -> Result<(KeyNumber, &'m Stream), Error> {
        self.stream(key)?.ok_or(Error::NoSuchKey)
    }

    /// A block of a stream.
    fn block(
        &self,
        key: KeyNumber,
        stream: &'m Stream,
        number: u64,
    ) -> Result<BlockRef<'m>, Refusal> {
        if number == stream.tail_number() {
            return Ok(BlockRef::Tail(stream.tail()));
        }
        let need = || Refusal::Need(Need { key, blocks: Vec::from([number]) });
        self.blocks.block(key, number).map(BlockRef::Sealed).ok_or_else(need)
    }

    /// Asks for all of these blocks at once that are not in memory.
    fn require(
        &self,
        key: KeyNumber,
        stream: &Stream,
        numbers: impl Iterator<Item = u64>,
    ) -> Result<(), Refusal> {
        let missing = |number: &u64| {
            *number != stream.tail_number() && self.blocks.block(key, *number).is_none()
        };
        let mut blocks: Vec<u64> =
            numbers.filter(missing).take(crate::limits::NEED_BLOCKS_MAX).collect();
        blocks.dedup();
        if blocks.is_empty() { Ok(()) } else { Err(Refusal::Need(Need { key, blocks })) }
    }
}

fn integer(value: u64) -> Reply {
    Reply::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}
