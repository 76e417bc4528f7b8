//! What a schedule does: every command as plain data, for the model and for the product alike.
//!
//! An [`Op`] is drawn once ([`generate`]), recorded, and then carried out on both sides
//! ([`reference`], [`subject`]). It names keys, groups and consumers by small numbers and ids by
//! value, so that a recorded trace means the same when steps are left out of it.
//!
//! Only what the core sees is drawn: what a parser refuses (LIMIT without `~`, XADD 0-0, an
//! exclusive bound beyond the last id) never gets there.

pub mod generate;
pub mod reference;
pub mod subject;

use crate::model::{
    ClaimOptions, Fields, GroupFrom, GroupStart, Id, Nack, NewId, NodeLimits, OnceLimits, Payload,
    ReadFrom, ReadMore, References, Trim,
};

/// A key: an index into [`KEYS`].
pub type KeyAt = usize;

/// Database and name of each key; one name in two databases, on purpose.
pub const KEYS: [(u8, &[u8]); 4] = [(0, b"a"), (0, b"b"), (1, b"a"), (1, b"b")];
/// Names of groups.
pub const GROUPS: [&[u8]; 2] = [b"g", b"h"];
/// Names of idempotent producers.
pub const PIDS: [&[u8]; 3] = [b"p", b"p\0", b"q"];
/// Names of consumers.
pub const CONSUMERS: [&[u8]; 3] = [b"x", b"y", b"z"];

/// One step of a schedule.
#[derive(Clone, Debug)]
pub struct Step {
    /// By how much the wall clock moves before it, in ms; it may go back.
    pub clock_ms: i64,
    /// What is done.
    pub op: Op,
    /// Whether the turn ends with it: commit, then poll.
    pub ends_turn: bool,
}

/// A command, a transaction, or a change of settings.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the arguments of the commands")]
pub enum Op {
    Xadd {
        key: KeyAt,
        create: bool,
        trim: Option<Trim>,
        id: NewId,
        fields: Fields,
    },
    /// XADD with `*` and IDMP, or IDMPAUTO where there is no iid.
    XaddOnce {
        key: KeyAt,
        create: bool,
        trim: Option<Trim>,
        pid: usize,
        iid: Option<Vec<u8>>,
        fields: Fields,
    },
    Xcfgset {
        key: KeyAt,
        duration_s: Option<u64>,
        iids_max: Option<usize>,
    },
    Xidmprecord {
        key: KeyAt,
        pid: usize,
        iid: Vec<u8>,
        id: Id,
    },
    Xdel(KeyAt, Vec<Id>),
    Xdelex(KeyAt, References, Vec<Id>),
    Xtrim(KeyAt, Trim),
    Xsetid {
        key: KeyAt,
        last_id: Id,
        entries_added: Option<u64>,
        max_deleted_id: Option<Id>,
    },
    Xlen(KeyAt),
    Xrange {
        key: KeyAt,
        first: Id,
        last: Id,
        reverse: bool,
        count: Option<usize>,
    },
    Xread {
        from: Vec<(KeyAt, ReadFrom)>,
        count: usize,
        more: ReadMore,
    },
    GroupCreate {
        key: KeyAt,
        group: usize,
        start: GroupStart,
        create: bool,
        entries_read: Option<u64>,
    },
    GroupSetid {
        key: KeyAt,
        group: usize,
        start: GroupStart,
        entries_read: Option<u64>,
    },
    GroupDestroy(KeyAt, usize),
    CreateConsumer(KeyAt, usize, usize),
    DelConsumer(KeyAt, usize, usize),
    Xreadgroup {
        group: usize,
        consumer: usize,
        from: Vec<(KeyAt, GroupFrom)>,
        count: usize,
        noack: bool,
        more: ReadMore,
    },
    Xack(KeyAt, usize, Vec<Id>),
    Xackdel(KeyAt, usize, References, Vec<Id>),
    Xpending(KeyAt, usize),
    XpendingRange {
        key: KeyAt,
        group: usize,
        min_idle_ms: u64,
        first: Id,
        last: Id,
        count: usize,
        consumer: Option<usize>,
    },
    Xclaim {
        key: KeyAt,
        group: usize,
        consumer: usize,
        min_idle_ms: u64,
        ids: Vec<Id>,
        options: ClaimOptions,
    },
    Xnack {
        key: KeyAt,
        group: usize,
        mode: Nack,
        ids: Vec<Id>,
        count: Option<u64>,
        force: bool,
    },
    Xautoclaim {
        key: KeyAt,
        group: usize,
        consumer: usize,
        min_idle_ms: u64,
        start: Id,
        count: usize,
        just_id: bool,
    },
    Del(Vec<KeyAt>),
    Exists(Vec<KeyAt>),
    Set(KeyAt, Vec<u8>, Option<u64>),
    Get(KeyAt),
    Incr(KeyAt),
    Pexpire(KeyAt, i64),
    Persist(KeyAt),
    Rename {
        from: KeyAt,
        to: KeyAt,
        only_new: bool,
    },
    Copy {
        from: KeyAt,
        to: KeyAt,
        replace: bool,
    },
    /// MOVE to the other database.
    Move(KeyAt),
    /// SWAPDB 0 1.
    Swapdb,
    Restore {
        key: KeyAt,
        replace: bool,
        ttl_ms: Option<u64>,
        payload: Payload,
    },
    /// PUBLISH to a channel to which one client listens.
    Publish,
    /// WATCH; the next transaction counts on it.
    Watch(Vec<KeyAt>),
    /// FLUSHDB of one database, or FLUSHALL.
    Flush(Option<u8>),
    Dbsize(u8),
    /// MULTI, these, EXEC.
    Multi(Vec<Op>),
    /// CONFIG SET of the node limits.
    Limits(NodeLimits),
    /// CONFIG SET of what new streams track of idempotent producers.
    OnceLimits(OnceLimits),
}

impl Op {
    /// Whether it changes nothing but what `delivery-sync relaxed` lets a power cut undo.
    pub fn is_delivery(&self) -> bool {
        matches!(self, Self::Xreadgroup { .. })
    }
}

/// The key of the same name in the other database.
pub fn other_database(key: KeyAt) -> KeyAt {
    (key + KEYS.len() / 2) % KEYS.len()
}

/// The name under which the model, which knows no databases, keeps a key.
pub fn model_key(key: KeyAt) -> Vec<u8> {
    let (database, name) = KEYS[key];
    [&[b'0' + database], name].concat()
}
