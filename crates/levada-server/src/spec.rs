//! What is known about a command before it is called: one [`CommandSpec`] feeds dispatch, COMMAND,
//! INFO, CONFIG's neighbours and COMPAT.md alike, so that they cannot disagree.

use levada_core::command::{Command, Key};
use levada_core::reply::Reply;

use crate::context::Context;
use crate::engine::{Now, Wait};
pub use crate::key_access::access;
use crate::output::Output;
use crate::wire_error::WireError;

/// A command, or a subcommand of one.
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    /// Lower case; of a subcommand with its parent: `xgroup|create`.
    pub name: &'static str,
    /// What stands behind the name.
    pub syntax: &'static str,
    /// What it is for, in one sentence.
    pub summary: &'static str,
    /// The version of Redis that brought it.
    pub since: &'static str,
    /// Time it takes.
    pub complexity: &'static str,
    /// Chapter of the reference: `stream`, `generic`, `string`, `connection`, `server` ...
    pub group: &'static str,
    /// Number of arguments, name included; negative where more may follow.
    pub arity: i32,
    /// See [`flag`].
    pub flags: u32,
    /// Categories that do not follow from the flags; see [`category`].
    pub categories: u32,
    /// Where keys stand.
    pub keys: Keys,
    /// What is done with the first key, the second and so on, the last one standing for all that
    /// follow; see [`access`]. Nothing where that follows from the flags.
    pub access: &'static [u16],
    /// Where the name of a consumer group stands.
    pub groups: Groups,
    /// Where channels stand.
    pub channels: Channels,
    /// Of a container.
    pub subcommands: &'static [CommandSpec],
    /// Who answers.
    pub(crate) run: Run,
}

/// Where the keys of a command stand among its arguments; the name is number 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// Nowhere.
    None,
    /// From `first` to `last` (negative: counted from the end), every `step`.
    Range {
        /// First key.
        first: i32,
        /// Last key.
        last: i32,
        /// Distance.
        step: i32,
    },
    /// The first half of what follows the word STREAMS.
    Streams,
    /// As many as the argument at `count` says.
    Counted {
        /// Where their number stands.
        count: i32,
        /// First key.
        first: i32,
        /// Distance.
        step: i32,
    },
    /// The first behind a subcommand, and the one that the option DLQ of a group's policy names.
    GroupPolicy,
}

impl Keys {
    /// Those that stand where they stand whatever the options are.
    pub(crate) fn fixed(self) -> Self {
        match self {
            Self::GroupPolicy => Self::Range { first: 2, last: 2, step: 1 },
            other => other,
        }
    }
}

/// Where a command names the consumer group that it is about. What tells of all groups of a stream
/// names none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Groups {
    /// Nowhere.
    None,
    /// The argument behind its first key.
    BehindKey,
    /// Behind the word GROUP, before the word STREAMS.
    Option,
}

/// Where the channels of a command stand among its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channels {
    /// Nowhere that access rights would look at.
    None,
    /// All arguments.
    Names,
    /// All arguments, which are patterns.
    Patterns,
    /// The first argument.
    First,
}

/// Properties of commands, as Redis names them.
pub mod flag {
    /// May change data.
    pub const WRITE: u32 = 1;
    /// Never does.
    pub const READONLY: u32 = 1 << 1;
    /// Refused while there is no room.
    pub const DENYOOM: u32 = 1 << 2;
    /// For operators.
    pub const ADMIN: u32 = 1 << 3;
    /// Not from scripts.
    pub const NOSCRIPT: u32 = 1 << 4;
    /// May block.
    pub const BLOCKING: u32 = 1 << 5;
    /// Also while data is loaded.
    pub const LOADING: u32 = 1 << 6;
    /// Also on stale data.
    pub const STALE: u32 = 1 << 7;
    /// Takes constant or logarithmic time.
    pub const FAST: u32 = 1 << 8;
    /// Without authentication.
    pub const NO_AUTH: u32 = 1 << 9;
    /// Its keys do not stand in fixed places.
    pub const MOVABLE_KEYS: u32 = 1 << 10;
    /// Also while a script runs.
    pub const ALLOW_BUSY: u32 = 1 << 11;
    /// Not inside MULTI.
    pub const NO_MULTI: u32 = 1 << 12;
    /// Inside MULTI it is run, not queued.
    pub const NOT_QUEUED: u32 = 1 << 13;
    /// About channels.
    pub const PUBSUB: u32 = 1 << 14;
    /// Also from a connection that listens, in RESP2.
    pub const WHILE_LISTENING: u32 = 1 << 15;

    /// Names in the order of COMMAND INFO.
    pub(crate) const NAMES: [(u32, &str); 14] = [
        (WRITE, "write"),
        (READONLY, "readonly"),
        (DENYOOM, "denyoom"),
        (ADMIN, "admin"),
        (PUBSUB, "pubsub"),
        (NOSCRIPT, "noscript"),
        (BLOCKING, "blocking"),
        (LOADING, "loading"),
        (STALE, "stale"),
        (FAST, "fast"),
        (NO_AUTH, "no_auth"),
        (NO_MULTI, "no_multi"),
        (MOVABLE_KEYS, "movablekeys"),
        (ALLOW_BUSY, "allow_busy"),
    ];
}

/// Categories of access rights.
pub mod category {
    use super::flag;

    /// About keys of any type.
    pub const KEYSPACE: u32 = 1;
    /// Reads.
    pub const READ: u32 = 1 << 1;
    /// Writes.
    pub const WRITE: u32 = 1 << 2;
    /// Strings.
    pub const STRING: u32 = 1 << 3;
    /// Streams.
    pub const STREAM: u32 = 1 << 4;
    /// For operators.
    pub const ADMIN: u32 = 1 << 5;
    /// See the flag.
    pub const FAST: u32 = 1 << 6;
    /// Not fast.
    pub const SLOW: u32 = 1 << 7;
    /// See the flag.
    pub const BLOCKING: u32 = 1 << 8;
    /// May hurt.
    pub const DANGEROUS: u32 = 1 << 9;
    /// About the connection.
    pub const CONNECTION: u32 = 1 << 10;
    /// MULTI and kin.
    pub const TRANSACTION: u32 = 1 << 11;
    /// Scripts.
    pub const SCRIPTING: u32 = 1 << 12;
    /// Channels.
    pub const PUBSUB: u32 = 1 << 13;
    /// Types that there are not here: no command is of these, and rules may name them.
    const SET: u32 = 1 << 14;
    const SORTED_SET: u32 = 1 << 15;
    const LIST: u32 = 1 << 16;
    const HASH: u32 = 1 << 17;
    const BITMAP: u32 = 1 << 18;
    const HYPERLOGLOG: u32 = 1 << 19;
    const GEO: u32 = 1 << 20;

    /// The bit of a category, named without its `@`.
    pub(crate) fn named(name: &[u8]) -> Option<u32> {
        let known = |known: &str| known.as_bytes()[1..].eq_ignore_ascii_case(name);
        NAMES.iter().find(|(_, name)| known(name)).map(|(bit, _)| *bit)
    }

    /// Names in the order of COMMAND INFO.
    pub(crate) const NAMES: [(u32, &str); 21] = [
        (KEYSPACE, "@keyspace"),
        (READ, "@read"),
        (WRITE, "@write"),
        (SET, "@set"),
        (SORTED_SET, "@sortedset"),
        (LIST, "@list"),
        (HASH, "@hash"),
        (STRING, "@string"),
        (BITMAP, "@bitmap"),
        (HYPERLOGLOG, "@hyperloglog"),
        (GEO, "@geo"),
        (STREAM, "@stream"),
        (PUBSUB, "@pubsub"),
        (ADMIN, "@admin"),
        (FAST, "@fast"),
        (SLOW, "@slow"),
        (BLOCKING, "@blocking"),
        (DANGEROUS, "@dangerous"),
        (CONNECTION, "@connection"),
        (TRANSACTION, "@transaction"),
        (SCRIPTING, "@scripting"),
    ];

    /// Those that follow from flags.
    pub(super) fn of_flags(flags: u32) -> u32 {
        let pairs = [
            (flag::WRITE, WRITE),
            (flag::READONLY, READ),
            (flag::ADMIN, ADMIN | DANGEROUS),
            (flag::FAST, FAST),
            (flag::PUBSUB, PUBSUB),
            (flag::BLOCKING, BLOCKING),
        ];
        let implied = pairs.iter().filter(|(flag, _)| flags & flag != 0);
        let categories = implied.fold(0, |sum, (_, category)| sum | category);
        if categories & FAST == 0 { categories | SLOW } else { categories }
    }
}

/// How the server answers a request by itself.
pub(crate) type Answer = fn(&mut Context<'_>, &Request<'_>) -> Result<Then, WireError>;

/// Who answers a command.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// The engine, from parsed arguments; what it answers is written by the command.
    Engine(
        for<'a> fn(&Request<'a>) -> Result<Asked<'a>, WireError>,
        fn(&mut Output<'_>, Reply, &Names<'_>),
    ),
    /// The server.
    Server(Answer),
    /// MULTI and kin, which dispatch itself knows.
    Transaction(Transactional),
    /// Its subcommands.
    Container,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Engine(..) => "Engine",
            Self::Server(_) => "Server",
            Self::Transaction(_) => "Transaction",
            Self::Container => "Container",
        })
    }
}

/// Commands about the transaction of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transactional {
    /// MULTI.
    Multi,
    /// EXEC.
    Exec,
    /// DISCARD.
    Discard,
    /// WATCH.
    Watch,
    /// UNWATCH.
    Unwatch,
}

/// A request whose command is known and whose arity is right.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) args: &'a [&'a [u8]],
    pub(crate) database: u8,
    pub(crate) now: Now,
    pub(crate) spec: &'static CommandSpec,
    /// A fresh random number where the command asked for one with [`Request::random`].
    pub(crate) random: u64,
}

impl<'a> Request<'a> {
    /// The argument at `index`, empty where there is none (arity was checked).
    pub(crate) fn arg(&self, index: usize) -> &'a [u8] {
        self.args.get(index).copied().unwrap_or_default()
    }

    /// The arguments from `index` on.
    pub(crate) fn rest(&self, index: usize) -> &'a [&'a [u8]] {
        self.args.get(index..).unwrap_or_default()
    }

    /// The argument at `index` as a key of the selected database.
    pub(crate) fn key(&self, index: usize) -> Key<'a> {
        self.key_named(self.arg(index))
    }

    /// A key of the selected database.
    pub(crate) fn key_named(&self, name: &'a [u8]) -> Key<'a> {
        Key { database: self.database, name }
    }

    /// All arguments from `index` on as keys.
    pub(crate) fn keys(&self, index: usize) -> Vec<Key<'a>> {
        self.rest(index).iter().map(|name| self.key_named(name)).collect()
    }
}

/// What a command asks of the engine.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) command: Command<'a>,
    /// Keys of a read, in order, for its reply.
    pub(crate) names: &'a [&'a [u8]],
    /// BLOCK: milliseconds, 0 for ever.
    pub(crate) block_ms: Option<u64>,
    /// The arguments are wrong, which Redis says only after the checks that `command` makes.
    pub(crate) after: Option<After>,
}

/// What follows a command that was run for its checks alone.
#[derive(Debug)]
pub(crate) struct After {
    /// The answer where the key (or the group) is there.
    pub(crate) error: WireError,
    /// The answer where it is not; `None` to say what the check says.
    pub(crate) absent: Option<Reply>,
}

impl<'a> Asked<'a> {
    /// Wrong arguments behind a check.
    pub(crate) fn check_first(
        command: Command<'a>,
        error: WireError,
        absent: Option<Reply>,
    ) -> Self {
        Self { after: Some(After { error, absent }), ..Self::from(command) }
    }
}

impl<'a> From<Command<'a>> for Asked<'a> {
    fn from(command: Command<'a>) -> Self {
        Self { command, names: &[], block_ms: None, after: None }
    }
}

/// What a reply needs to know of its request; of a blocked read it is kept until it is served.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    /// Keys of a read, in order.
    pub(crate) keys: NameList<'a>,
    pub(crate) now: Now,
}

/// Names of keys, borrowed from a request or kept.
#[derive(Clone, Copy)]
pub(crate) enum NameList<'a> {
    /// Arguments.
    Borrowed(&'a [&'a [u8]]),
    /// Kept copies.
    Owned(&'a [Vec<u8>]),
}

impl<'a> NameList<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Borrowed(names) => names.len(),
            Self::Owned(names) => names.len(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> &'a [u8] {
        match self {
            Self::Borrowed(names) => names.get(index).copied().unwrap_or_default(),
            Self::Owned(names) => names.get(index).map(Vec::as_slice).unwrap_or_default(),
        }
    }
}

/// What the loop does after a command of the server's own.
pub(crate) enum Then {
    /// Nothing: the reply is written and may leave.
    Done,
    /// The same, and it leaves even if the connection wants no replies.
    Pushed,
    /// The reply is written and leaves when this is so.
    Wait(Wait),
    /// The reply is written and is the last one.
    Close,
    /// Nothing is written yet: WAIT and WAITAOF sleep until this monotonic time.
    Sleep(Option<u64>),
    /// SHUTDOWN: no reply.
    Shutdown,
}

impl CommandSpec {
    /// All categories, those that follow from flags included.
    pub fn all_categories(&self) -> u32 {
        category::of_flags(self.flags) | self.categories
    }

    /// Whether a request of `count` arguments, name included, is long enough and not too long.
    pub fn accepts(&self, count: usize) -> bool {
        let asked = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { count >= asked } else { count == asked }
    }

    /// The name without the parent's.
    pub fn short_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, name)| name)
    }
}
