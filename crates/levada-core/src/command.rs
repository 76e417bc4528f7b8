//! What is asked: commands with their arguments parsed, keys and values still borrowed.
//!
//! A command here is free of any protocol: no text, no options in whatever order, no ids in any
//! form but one. The names and meanings are Redis' (command pages of the same names).

use alloc::{borrow::Cow, sync::Arc, vec::Vec};

use crate::{extended::Extended, fields::Fields, id::StreamId, restored::RestoredStream};

mod letters;
mod policy;
mod schedule;

pub use self::{
    letters::{Letters, Xdlq, XdlqVerb},
    policy::{GroupOption, StreamOption, XgroupCfgset, XgroupHandover, XgroupParked},
    schedule::{SchedVerb, Xsched},
};

/// A key of one of the databases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key<'a> {
    /// Which database, below [`crate::limits::DATABASES`].
    pub database: u8,
    /// The name, any bytes.
    pub name: &'a [u8],
}

/// Anything that can be asked of the machine.
#[derive(Clone, Debug)]
pub enum Command<'a> {
    /// XADD.
    Xadd(Xadd<'a>),
    /// XLEN.
    Xlen(Key<'a>),
    /// XRANGE, XREVRANGE.
    Xrange(Xrange<'a>),
    /// XDEL: key, ids.
    Xdel(Key<'a>, Vec<StreamId>),
    /// XDELEX: key, what becomes of references, ids.
    Xdelex(Key<'a>, References, Vec<StreamId>),
    /// XTRIM.
    Xtrim(Key<'a>, Trim),
    /// XSETID.
    Xsetid(Xsetid<'a>),
    /// XCFGSET.
    Xcfgset(Xcfgset<'a>),
    /// XCFGGET.
    Xcfgget(Key<'a>),
    /// XGROUP CFGSET.
    XgroupCfgset(XgroupCfgset<'a>),
    /// XGROUP CFGGET: key, group.
    XgroupCfgget(Key<'a>, &'a [u8]),
    /// XGROUP PARKED.
    XgroupParked(XgroupParked<'a>),
    /// XGROUP HANDOVER.
    XgroupHandover(XgroupHandover<'a>),
    /// XLAG: key, group.
    Xlag(Key<'a>, &'a [u8]),
    /// XDLQ.
    Xdlq(Xdlq<'a>),
    /// XSCHED.
    Xsched(Xsched<'a>),
    /// XIDMPRECORD.
    Xidmprecord(Xidmprecord<'a>),
    /// XREAD, its non-blocking half.
    Xread(Xread<'a>),
    /// XREADGROUP, its non-blocking half.
    Xreadgroup(Xreadgroup<'a>),
    /// XGROUP CREATE.
    XgroupCreate(XgroupCreate<'a>),
    /// XGROUP SETID.
    XgroupSetid(XgroupSetid<'a>),
    /// XGROUP DESTROY: key, group.
    XgroupDestroy(Key<'a>, &'a [u8]),
    /// XGROUP CREATECONSUMER: key, group, consumer.
    XgroupCreateconsumer(Key<'a>, &'a [u8], &'a [u8]),
    /// XGROUP DELCONSUMER: key, group, consumer.
    XgroupDelconsumer(Key<'a>, &'a [u8], &'a [u8]),
    /// XACK: key, group, ids.
    Xack(Key<'a>, &'a [u8], Vec<StreamId>),
    /// XACKDEL: key, group, what becomes of references in other groups, ids.
    Xackdel(Key<'a>, &'a [u8], References, Vec<StreamId>),
    /// XPENDING key group.
    XpendingSummary(Key<'a>, &'a [u8]),
    /// No command of its own: whether each key holds a stream, with this group, in this order.
    /// Without a group a key may be missing. Answers OK.
    CheckStreams(Vec<Key<'a>>, Option<&'a [u8]>),
    /// XPENDING key group with a range.
    Xpending(Xpending<'a>),
    /// XCLAIM.
    Xclaim(Xclaim<'a>),
    /// XNACK.
    Xnack(Xnack<'a>),
    /// XAUTOCLAIM.
    Xautoclaim(Xautoclaim<'a>),
    /// XINFO STREAM; FULL with its COUNT (0 = all) where given.
    XinfoStream(Key<'a>, Option<u64>),
    /// XINFO GROUPS.
    XinfoGroups(Key<'a>),
    /// XINFO CONSUMERS: key, group.
    XinfoConsumers(Key<'a>, &'a [u8]),
    /// DEL, UNLINK.
    Del(Vec<Key<'a>>),
    /// EXISTS, TOUCH.
    Exists(Vec<Key<'a>>),
    /// TYPE.
    Type(Key<'a>),
    /// KEYS: database, pattern.
    Keys(u8, &'a [u8]),
    /// SCAN.
    Scan(Scan<'a>),
    /// DBSIZE.
    Dbsize(u8),
    /// RANDOMKEY: database, and a random number.
    Randomkey(u8, u64),
    /// FLUSHDB of one database, FLUSHALL of all (`None`).
    Flush(Option<u8>),
    /// EXPIRE and kin: key, when in unix milliseconds, condition.
    Expire(Key<'a>, i64, ExpireWhen),
    /// PERSIST.
    Persist(Key<'a>),
    /// TTL and kin: answers the absolute unix time in milliseconds, -1 or -2.
    Expiretime(Key<'a>),
    /// MEMORY USAGE.
    MemoryUsage(Key<'a>),
    /// RENAME, RENAMENX: from, to, only if the target is missing.
    Rename(Key<'a>, Key<'a>, bool),
    /// COPY.
    Copy(Copied<'a>),
    /// DUMP.
    Dump(Key<'a>),
    /// RESTORE.
    Restore(Restore<'a>),
    /// MOVE: key, database.
    Move(Key<'a>, u8),
    /// SWAPDB.
    Swapdb(u8, u8),
    /// GET.
    Get(Key<'a>),
    /// MGET.
    Mget(Vec<Key<'a>>),
    /// SET and kin.
    Set(Set<'a>),
    /// MSET, MSETNX, MSETEX.
    Mset(Mset<'a>),
    /// DELEX with a condition; `None` is one that nobody knows, which is said of a string only.
    Delex(Key<'a>, Option<Compare<'a>>),
    /// DIGEST.
    Digest(Key<'a>),
    /// GETDEL.
    Getdel(Key<'a>),
    /// GETEX: key, new expiry.
    Getex(Key<'a>, SetExpiry),
    /// INCR, DECR, INCRBY, DECRBY.
    Incrby(Key<'a>, i64),
    /// INCRBYFLOAT.
    Incrbyfloat(Key<'a>, Extended),
    /// GETRANGE, SUBSTR: key, first and last byte, negative ones counted from the end.
    Getrange(Key<'a>, i64, i64),
    /// SETRANGE: key, place, what stands there then; zeros where there was nothing.
    Setrange(Key<'a>, u64, &'a [u8]),
    /// APPEND.
    Append(Key<'a>, &'a [u8]),
    /// STRLEN.
    Strlen(Key<'a>),
}

/// Which id a new entry asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewId {
    /// `*`: the clock, or the next after the last.
    Auto,
    /// `ms-*`: the next sequence in this millisecond.
    AutoSeq(u64),
    /// Exactly this one.
    Explicit(StreamId),
}

/// XADD.
#[derive(Clone, Debug)]
pub struct Xadd<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// NOMKSTREAM: do not create a missing stream.
    pub must_exist: bool,
    /// MAXLEN, MINID.
    pub trim: Option<Trim>,
    /// The id asked for.
    pub id: NewId,
    /// What the entry holds; at least one pair.
    pub fields: Fields<'a>,
    /// IDMP, IDMPAUTO; only with [`NewId::Auto`].
    pub idempotent: Option<Idempotent<'a>>,
}

/// IDMP or IDMPAUTO: a repetition of the same append adds nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Idempotent<'a> {
    /// The producer, not empty.
    pub pid: &'a [u8],
    /// What the producer calls this append, not empty; `None` for IDMPAUTO, by its fields.
    pub iid: Option<&'a [u8]>,
}

/// XCFGSET: what is `None` stays.
#[derive(Clone, Debug)]
pub struct Xcfgset<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// IDMP-DURATION in seconds, 1 to 86400.
    pub idmp_duration_s: Option<u64>,
    /// IDMP-MAXSIZE, 1 to 10000.
    pub idmp_iids_max: Option<u64>,
    /// Options of ours, in the order in which they were given; the last of a kind counts.
    pub options: Vec<StreamOption>,
}

/// XIDMPRECORD: tracks an iid as if it had appended an entry that is there.
#[derive(Clone, Copy, Debug)]
pub struct Xidmprecord<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// The producer, not empty.
    pub pid: &'a [u8],
    /// The iid, not empty.
    pub iid: &'a [u8],
    /// The entry.
    pub id: StreamId,
}

/// MAXLEN or MINID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trim {
    /// What to keep.
    pub keep: TrimKeep,
    /// `~`: whole logical nodes only.
    pub approximate: bool,
    /// LIMIT: most entries to remove; `Some(0)` is no limit, `None` is the default of `~`.
    pub limit: Option<u64>,
    /// KEEPREF, DELREF or ACKED; by default ACKED under RETENTION ACKED, else KEEPREF.
    pub references: Option<References>,
}

/// What a deletion does about pending lists that name the entry (Redis 8.2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum References {
    /// KEEPREF: they keep naming it.
    #[default]
    Keep,
    /// DELREF: it goes from all of them too.
    Remove,
    /// ACKED: an entry goes only when every group has passed it and none has it pending.
    Acked,
}

/// What a trim keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrimKeep {
    /// The newest n entries.
    MaxLen(u64),
    /// Entries of this id and above.
    MinId(StreamId),
}

/// XRANGE, XREVRANGE. `first > last` is an empty range.
#[derive(Clone, Copy, Debug)]
pub struct Xrange<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// Lowest id, inclusive.
    pub first: StreamId,
    /// Highest id, inclusive.
    pub last: StreamId,
    /// XREVRANGE: highest first.
    pub reverse: bool,
    /// COUNT, `None` for all.
    pub count: Option<u64>,
}

/// XSETID.
#[derive(Clone, Copy, Debug)]
pub struct Xsetid<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// The new last id.
    pub last_id: StreamId,
    /// ENTRIESADDED.
    pub entries_added: Option<u64>,
    /// MAXDELETEDID.
    pub max_deleted_id: Option<StreamId>,
}

/// XREAD.
#[derive(Clone, Debug)]
pub struct Xread<'a> {
    /// Streams and where to begin.
    pub streams: Vec<(Key<'a>, ReadFrom)>,
    /// COUNT per stream, `None` for all.
    pub count: Option<u64>,
    /// Over all streams.
    pub most: ReadMost,
}

/// What a read answers at most, over all its streams.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ReadMost {
    /// MAXCOUNT: entries.
    pub entries: Option<u64>,
    /// MAXSIZE: bytes of the reply; the first entry comes in any case.
    pub bytes: Option<u64>,
}

/// Where a read of a stream begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadFrom {
    /// Above this id.
    After(StreamId),
    /// `$`: only what is appended later.
    New,
    /// `+`: the last entry.
    Last,
}

/// XREADGROUP.
#[derive(Clone, Debug)]
pub struct Xreadgroup<'a> {
    /// The group, of the same name in every stream.
    pub group: &'a [u8],
    /// Who reads; created where missing.
    pub consumer: &'a [u8],
    /// COUNT per stream, `None` for all.
    pub count: Option<u64>,
    /// Over all streams.
    pub most: ReadMost,
    /// CLAIM: first what is pending for anyone and idle at least this many milliseconds.
    pub claim_idle_ms: Option<u64>,
    /// NOACK: no pending entries.
    pub no_ack: bool,
    /// Streams, and the id above which the consumer's own history is read; `None` is `>`.
    pub streams: Vec<(Key<'a>, Option<StreamId>)>,
}

/// XGROUP CREATE.
#[derive(Clone, Copy, Debug)]
pub struct XgroupCreate<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// The new group.
    pub group: &'a [u8],
    /// Where it begins; `None` is `$`.
    pub id: Option<StreamId>,
    /// MKSTREAM.
    pub create_stream: bool,
    /// ENTRIESREAD; `None` where unknown (also -1).
    pub entries_read: Option<u64>,
}

/// XGROUP SETID.
#[derive(Clone, Copy, Debug)]
pub struct XgroupSetid<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// The group.
    pub group: &'a [u8],
    /// The new last delivered id; `None` is `$`.
    pub id: Option<StreamId>,
    /// ENTRIESREAD; `None` where unknown (also -1).
    pub entries_read: Option<u64>,
}

/// XPENDING with a range.
#[derive(Clone, Copy, Debug)]
pub struct Xpending<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// The group.
    pub group: &'a [u8],
    /// IDLE: at least this many milliseconds.
    pub idle_ms_min: u64,
    /// Lowest id, inclusive.
    pub first: StreamId,
    /// Highest id, inclusive.
    pub last: StreamId,
    /// Most rows.
    pub count: u64,
    /// Only of this consumer.
    pub consumer: Option<&'a [u8]>,
}

/// XCLAIM.
#[derive(Clone, Debug)]
pub struct Xclaim<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// The group.
    pub group: &'a [u8],
    /// The new owner; created where missing.
    pub consumer: &'a [u8],
    /// Only entries idle at least this many milliseconds.
    pub idle_ms_min: u64,
    /// Which entries.
    pub ids: Vec<StreamId>,
    /// IDLE or TIME: the new delivery time.
    pub delivered: Option<DeliveredAt>,
    /// RETRYCOUNT.
    pub retry_count: Option<u64>,
    /// FORCE: also entries that are pending nowhere.
    pub force: bool,
    /// JUSTID: ids only, no count.
    pub just_id: bool,
    /// LASTID: raise the group's last delivered id to it.
    pub last_id: Option<StreamId>,
}

/// A delivery time as XCLAIM gives it; what is bogus becomes now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveredAt {
    /// IDLE: milliseconds ago.
    IdleMs(i64),
    /// TIME: unix milliseconds.
    UnixMs(i64),
}

/// XNACK.
#[derive(Clone, Debug)]
pub struct Xnack<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// The group.
    pub group: &'a [u8],
    /// What becomes of the delivery counts.
    pub mode: NackMode,
    /// Which entries.
    pub ids: Vec<StreamId>,
    /// RETRYCOUNT: the delivery count, whatever the mode.
    pub retry_count: Option<u64>,
    /// FORCE: also entries that are pending nowhere.
    pub force: bool,
    /// DELAY: milliseconds after which they are offered again, whatever the policy says.
    pub delay_ms: Option<u64>,
    /// REASON: what a dead letter says of its end.
    pub reason: Option<&'a [u8]>,
}

/// What XNACK does to a delivery count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NackMode {
    /// SILENT: this delivery did not count.
    Silent,
    /// FAIL: it did.
    Fail,
    /// FATAL: as many as can be.
    Fatal,
}

/// XAUTOCLAIM.
#[derive(Clone, Copy, Debug)]
pub struct Xautoclaim<'a> {
    /// The stream.
    pub key: Key<'a>,
    /// The group.
    pub group: &'a [u8],
    /// The new owner; created where missing.
    pub consumer: &'a [u8],
    /// Only entries idle at least this many milliseconds.
    pub idle_ms_min: u64,
    /// Where the scan begins, inclusive.
    pub start: StreamId,
    /// Most entries claimed or found deleted.
    pub count: u64,
    /// JUSTID: ids only, no count.
    pub just_id: bool,
}

/// SCAN.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// Which database.
    pub database: u8,
    /// 0 to begin, then what the last call answered.
    pub cursor: u64,
    /// MATCH.
    pub pattern: Option<&'a [u8]>,
    /// COUNT: keys visited.
    pub count: u64,
    /// TYPE.
    pub kind: Option<&'a [u8]>,
}

/// COPY.
#[derive(Clone, Copy, Debug)]
pub struct Copied<'a> {
    /// What is copied.
    pub from: Key<'a>,
    /// To where; another key.
    pub to: Key<'a>,
    /// REPLACE: whatever is there goes.
    pub replace: bool,
}

/// RESTORE.
#[derive(Clone, Debug)]
pub struct Restore<'a> {
    /// The key.
    pub key: Key<'a>,
    /// REPLACE: whatever is there goes.
    pub replace: bool,
    /// When the key expires, in unix milliseconds; in the past, it does not come into being.
    pub expires_at_ms: Option<i64>,
    /// What it holds; `None` only asks whether the key is free.
    pub value: Option<Restored<'a>>,
}

/// A value on its way in.
#[derive(Clone, Debug)]
pub enum Restored<'a> {
    /// A string.
    Text(Cow<'a, [u8]>),
    /// A stream.
    Stream(Arc<RestoredStream>),
}

/// Conditions of EXPIRE.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four words that combine freely")]
pub struct ExpireWhen {
    /// NX: only without an expiry.
    pub none: bool,
    /// XX: only with one.
    pub some: bool,
    /// GT: only if later than the one that is there.
    pub later: bool,
    /// LT: only if earlier.
    pub earlier: bool,
}

/// SET and kin.
#[derive(Clone, Copy, Debug)]
pub struct Set<'a> {
    /// The key.
    pub key: Key<'a>,
    /// The new value.
    pub value: &'a [u8],
    /// NX, XX, IFEQ and kin.
    pub when: SetWhen<'a>,
    /// EX, PX, EXAT, PXAT, KEEPTTL.
    pub expiry: SetExpiry,
    /// GET: answer the old value.
    pub get: bool,
}

/// Conditions of SET: all of them have to hold.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SetWhen<'a> {
    /// NX (`false`), XX (`true`).
    pub exists: Option<bool>,
    /// IFEQ and kin.
    pub compare: Option<Compare<'a>>,
}

/// What a string is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare<'a> {
    /// IFEQ: the value is this.
    Equals(&'a [u8]),
    /// IFNE: there is no value, or another.
    Differs(&'a [u8]),
    /// IFDEQ: the digest of the value is this, in 16 hexadecimal digits.
    DigestEquals(&'a [u8]),
    /// IFDNE: there is no value, or one of another digest.
    DigestDiffers(&'a [u8]),
}

/// MSET, MSETNX, MSETEX: all or nothing.
#[derive(Clone, Debug)]
pub struct Mset<'a> {
    /// Keys and their values; the last value of a key that is named twice counts.
    pub pairs: Vec<(Key<'a>, &'a [u8])>,
    /// NX (`false`): only if none exists. XX (`true`): only if all do.
    pub exists: Option<bool>,
    /// EX, PX, EXAT, PXAT, KEEPTTL.
    pub expiry: SetExpiry,
}

/// What happens to a key's expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetExpiry {
    /// None from now on (SET), or PERSIST (GETEX).
    Clear,
    /// As it was.
    Keep,
    /// At this unix time in milliseconds.
    At(u64),
}

impl Command<'_> {
    /// Whether it is refused while the disk is full: what Redis refuses when it is out of memory
    /// (the flag DENYOOM). What reads, acknowledges, deletes and trims is not.
    pub fn needs_space(&self) -> bool {
        matches!(
            self,
            Self::Xadd(_)
                | Self::Xsetid(_)
                | Self::Xidmprecord(_)
                | Self::Xsched(Xsched { verb: SchedVerb::Add { .. }, .. })
                | Self::XgroupCreate(_)
                | Self::XgroupCreateconsumer(..)
                | Self::Set(_)
                | Self::Mset(..)
                | Self::Incrby(..)
                | Self::Incrbyfloat(..)
                | Self::Setrange(..)
                | Self::Append(..)
                | Self::Restore(_)
                | Self::Copy(_)
                | Self::Xdlq(Xdlq { verb: XdlqVerb::Redrive, .. })
        )
    }

    /// Whether it goes on where a block is lost, which it wanted for a count alone: it is the way
    /// out for a group that stands before that block.
    pub fn passes_lost(&self) -> bool {
        matches!(self, Self::XgroupCreate(_) | Self::XgroupSetid(_) | Self::XgroupDestroy(..))
    }

    /// Calls `each` with every key that the command names, in order, duplicates included.
    pub fn for_each_key(&self, mut each: impl FnMut(Key<'_>)) {
        match self {
            Self::Xadd(Xadd { key, .. })
            | Self::Xrange(Xrange { key, .. })
            | Self::Xsetid(Xsetid { key, .. })
            | Self::Xcfgset(Xcfgset { key, .. })
            | Self::Xcfgget(key)
            | Self::XgroupCfgset(XgroupCfgset { key, .. })
            | Self::XgroupCfgget(key, _)
            | Self::XgroupParked(XgroupParked { key, .. })
            | Self::XgroupHandover(XgroupHandover { key, .. })
            | Self::Xlag(key, _)
            | Self::Xdlq(Xdlq { key, .. })
            | Self::Xidmprecord(Xidmprecord { key, .. })
            | Self::XgroupCreate(XgroupCreate { key, .. })
            | Self::XgroupSetid(XgroupSetid { key, .. })
            | Self::Xpending(Xpending { key, .. })
            | Self::Xclaim(Xclaim { key, .. })
            | Self::Xnack(Xnack { key, .. })
            | Self::Xautoclaim(Xautoclaim { key, .. })
            | Self::Xlen(key)
            | Self::Xdel(key, _)
            | Self::Xdelex(key, ..)
            | Self::Xtrim(key, _)
            | Self::XgroupDestroy(key, _)
            | Self::XgroupCreateconsumer(key, ..)
            | Self::XgroupDelconsumer(key, ..)
            | Self::Xack(key, ..)
            | Self::Xackdel(key, ..)
            | Self::XpendingSummary(key, _)
            | Self::XinfoStream(key, _)
            | Self::XinfoGroups(key)
            | Self::XinfoConsumers(key, _) => each(*key),
            _ => self.for_each_other_key(each),
        }
    }

    /// The keys of what is no command about one stream.
    fn for_each_other_key(&self, mut each: impl FnMut(Key<'_>)) {
        match self {
            Self::Set(Set { key, .. })
            | Self::Restore(Restore { key, .. })
            | Self::Dump(key)
            | Self::Type(key)
            | Self::Expire(key, ..)
            | Self::Persist(key)
            | Self::Expiretime(key)
            | Self::MemoryUsage(key)
            | Self::Get(key)
            | Self::Getdel(key)
            | Self::Getex(key, _)
            | Self::Incrby(key, _)
            | Self::Append(key, _)
            | Self::Strlen(key)
            | Self::Delex(key, _)
            | Self::Digest(key)
            | Self::Incrbyfloat(key, _)
            | Self::Getrange(key, ..)
            | Self::Setrange(key, ..) => each(*key),
            Self::Xsched(xsched) => {
                each(xsched.key);
                each(xsched.schedule());
            }
            Self::Del(keys)
            | Self::Exists(keys)
            | Self::Mget(keys)
            | Self::CheckStreams(keys, _) => {
                keys.iter().for_each(|key| each(*key));
            }
            Self::Mset(mset) => mset.pairs.iter().for_each(|(key, _)| each(*key)),
            Self::Xread(read) => read.streams.iter().for_each(|(key, _)| each(*key)),
            Self::Xreadgroup(read) => read.streams.iter().for_each(|(key, _)| each(*key)),
            Self::Rename(from, to, _) | Self::Copy(Copied { from, to, .. }) => {
                each(*from);
                each(*to);
            }
            Self::Move(key, database) => {
                each(*key);
                each(Key { database: *database, name: key.name });
            }
            Self::Swapdb(..)
            | Self::Keys(..)
            | Self::Scan(_)
            | Self::Dbsize(_)
            | Self::Randomkey(..)
            | Self::Flush(_) => {}
            _ => unreachable!("for_each_key() keeps commands about one stream"),
        }
    }

    /// Whether it looks its keys up in order to read them: a key that is missing is a miss.
    pub fn looks_up_keys(&self) -> bool {
        matches!(
            self,
            Self::Get(_)
                | Self::Mget(_)
                | Self::Getdel(_)
                | Self::Getex(..)
                | Self::Strlen(_)
                | Self::Digest(_)
                | Self::Getrange(..)
                | Self::Delex(..)
                | Self::Set(Set { get: true, .. })
                | Self::Exists(_)
                | Self::Type(_)
                | Self::Dump(_)
                | Self::Expiretime(_)
                | Self::Xlen(_)
                | Self::Xrange(_)
                | Self::Xread(_)
                | Self::Xreadgroup(_)
                | Self::Xack(..)
                | Self::XpendingSummary(..)
                | Self::Xpending(_)
                | Self::Xclaim(_)
                | Self::Xautoclaim(_)
                | Self::XinfoStream(..)
                | Self::XinfoGroups(_)
                | Self::XinfoConsumers(..)
                | Self::Xackdel(..)
        )
    }

    /// Whether the answer shows when consumers were last seen.
    pub fn shows_consumers(&self) -> bool {
        matches!(self, Self::XinfoStream(..) | Self::XinfoConsumers(..) | Self::Dump(_))
    }

    /// Whether the answer depends on keys beyond those that it names: on which exist, or, of XDLQ,
    /// on that of the dead letters.
    pub fn sees_whole_keyspace(&self) -> bool {
        matches!(
            self,
            Self::Keys(..)
                | Self::Scan(_)
                | Self::Dbsize(_)
                | Self::Randomkey(..)
                | Self::Flush(_)
                | Self::Swapdb(..)
                | Self::Xdlq(_)
        )
    }
}
