//! Every change of state, as a record of the log.
//!
//! `decide` makes effects, `apply` carries them out, the log keeps them. An effect says what is so
//! from now on (ids, places, numbers), never how it was found, so that a replay needs no block that
//! is not in memory, no clock and no settings. [`Effect::encode`] and [`Effect::decode`] are
//! mirrored in `docs/format.md`; the numbers of [`code`] are on disk and are never given out anew.

mod act;
mod dedup;
mod lists;
mod schedule;

use alloc::{borrow::Cow, sync::Arc, vec::Vec};

use self::lists::{get_blocks, get_ids, get_rows, put_blocks, put_ids, put_rows};
pub use self::{act::Act, dedup::DedupChange};
use crate::{
    block::Block,
    fields::Fields,
    id::StreamId,
    idempotence::IdmpLimits,
    keyspace::KeyNumber,
    restored::RestoredStream,
    schedule::Due,
    varint::{Reader, put_bytes, put_id, put_option, put_u64},
};

/// First byte of an effect. On disk: never renumber, never reuse.
mod code {
    pub(super) const KEY_CREATED: u8 = 1;
    pub(super) const KEY_REMOVED: u8 = 2;
    pub(super) const KEY_EXPIRES: u8 = 3;
    pub(super) const KEY_RENAMED: u8 = 4;
    pub(super) const FLUSHED: u8 = 5;
    pub(super) const TEXT_SET: u8 = 6;
    pub(super) const TEXT_APPENDED: u8 = 7;
    pub(super) const DATABASES_SWAPPED: u8 = 8;
    pub(super) const STREAM_COPIED: u8 = 9;
    pub(super) const STREAM_RESTORED: u8 = 10;
    pub(super) const APPENDED: u8 = 16;
    pub(super) const SEALED: u8 = 17;
    pub(super) const DELETED: u8 = 18;
    pub(super) const TRIMMED: u8 = 19;
    pub(super) const ID_SET: u8 = 20;
    pub(super) const IDMP_SET: u8 = 21;
    pub(super) const IID_TRACKED: u8 = 22;
    pub(super) const IIDS_FORGOTTEN: u8 = 23;
    pub(super) const IIDS_COUNTED: u8 = 24;
    pub(super) const GROUP_CREATED: u8 = 32;
    pub(super) const GROUP_ID_SET: u8 = 33;
    pub(super) const GROUP_DESTROYED: u8 = 34;
    pub(super) const CONSUMER_CREATED: u8 = 35;
    pub(super) const CONSUMER_DELETED: u8 = 36;
    pub(super) const CONSUMER_SEEN: u8 = 37;
    pub(super) const DELIVERED: u8 = 38;
    pub(super) const CLAIMED: u8 = 39;
    pub(super) const RELEASED: u8 = 40;
    /// From here on [`super::Act`], but for 60 to 65: `schedule.rs`, and 74 to 76: `dedup.rs`.
    pub(super) const POLICIES: u8 = 48;
    pub(super) use super::dedup::code::{DROPPED as DEDUP_LAST, STARTED as DEDUP_FIRST};
}

/// What kind of value a key holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A string.
    Text,
    /// A stream.
    Stream,
}

/// A change of state.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect<'a> {
    /// A key comes into being, with an empty value.
    KeyCreated {
        /// Its number, never used before.
        key: KeyNumber,
        /// Where.
        database: u8,
        /// What it holds.
        kind: Kind,
        /// Its name.
        name: Cow<'a, [u8]>,
    },
    /// A key goes, by command, expiry or eviction.
    KeyRemoved {
        /// Which.
        key: KeyNumber,
    },
    /// A key expires from now on at another time, or never.
    KeyExpires {
        /// Which.
        key: KeyNumber,
        /// Unix milliseconds.
        at_ms: Option<u64>,
    },
    /// A key has another name; whatever had that name was removed before.
    KeyRenamed {
        /// Which.
        key: KeyNumber,
        /// Where.
        database: u8,
        /// Its new name.
        name: &'a [u8],
    },
    /// All keys of a database, or of all, go.
    Flushed {
        /// Which; `None` for all.
        database: Option<u8>,
    },
    /// Two databases have changed places.
    DatabasesSwapped {
        /// One.
        first: u8,
        /// The other.
        second: u8,
    },
    /// A new stream is what another one is: entries, ids, counters, groups.
    StreamCopied {
        /// The new one.
        key: KeyNumber,
        /// The other one.
        from: KeyNumber,
        /// All sealed blocks with their numbers, ascending: a replay has the rest in memory.
        blocks: Vec<(u64, Arc<Block>)>,
    },
    /// A new stream is what was restored: entries, ids, counters, groups.
    StreamRestored {
        /// Which.
        key: KeyNumber,
        /// All of it.
        stream: Arc<RestoredStream>,
    },
    /// A string has this value.
    TextSet {
        /// Which.
        key: KeyNumber,
        /// The value.
        value: Cow<'a, [u8]>,
    },
    /// A string is longer by these bytes.
    TextAppended {
        /// Which.
        key: KeyNumber,
        /// What follows.
        more: &'a [u8],
    },
    /// A stream has a new last entry.
    Appended {
        /// Which stream.
        key: KeyNumber,
        /// The entry's id, above every id before.
        id: StreamId,
        /// Whether a new logical node begins with it.
        starts_node: bool,
        /// What it holds.
        fields: EntryFields<'a>,
    },
    /// The tail of a stream becomes a sealed block.
    Sealed {
        /// Which stream.
        key: KeyNumber,
    },
    /// Entries are deleted, wherever they stand.
    Deleted {
        /// Which stream.
        key: KeyNumber,
        /// max-deleted-entry-id from now on.
        max_deleted_id: StreamId,
        /// Block and row of each, ascending.
        rows: Vec<(u64, u32)>,
    },
    /// Everything before a place is gone.
    Trimmed {
        /// Which stream.
        key: KeyNumber,
        /// The first block that is left.
        block: u64,
        /// The first row of it that is left.
        row: u32,
    },
    /// XSETID.
    IdSet {
        /// Which stream.
        key: KeyNumber,
        /// last-generated-id from now on.
        last_id: StreamId,
        /// entries-added from now on.
        entries_added: u64,
        /// max-deleted-entry-id from now on.
        max_deleted_id: StreamId,
    },
    /// A stream tracks idempotent ids within other limits; none is tracked any more.
    IdmpSet {
        /// Which stream.
        key: KeyNumber,
        /// From now on.
        limits: IdmpLimits,
    },
    /// An idempotent id (iid) is tracked.
    IidTracked {
        /// In which stream.
        key: KeyNumber,
        /// Its producer; comes into being where it is missing.
        pid: &'a [u8],
        /// The iid, not tracked yet (but perhaps among those that go).
        iid: Cow<'a, [u8]>,
        /// The entry that it became.
        id: StreamId,
        /// Unix milliseconds from which its duration counts; if that of the producer's last iid is
        /// later, that.
        since_ms: u64,
        /// So many of the producer's oldest iids go before.
        going: u64,
    },
    /// Iids of all producers go up to a time; producers without any go too.
    IidsForgotten {
        /// In which stream.
        key: KeyNumber,
        /// Unix milliseconds since when the last of them was tracked, inclusive.
        until_ms: u64,
    },
    /// Iids and duplicates are counted.
    IidsCounted {
        /// In which stream.
        key: KeyNumber,
        /// Ever tracked.
        added: u64,
        /// Duplicates ever found.
        duplicates: u64,
    },
    /// What is kept under DEDUP-WINDOW and DEDUP-MAX changes.
    Dedup {
        /// In which stream.
        key: KeyNumber,
        /// How.
        change: DedupChange,
    },
    /// A group comes into being.
    GroupCreated {
        /// In which stream.
        key: KeyNumber,
        /// Its number, free until now.
        group: u32,
        /// Its name.
        name: &'a [u8],
        /// last-delivered-id.
        last_id: StreamId,
        /// entries-read, where known.
        entries_read: Option<u64>,
    },
    /// A group's place is set.
    GroupIdSet {
        /// In which stream.
        key: KeyNumber,
        /// Which.
        group: u32,
        /// last-delivered-id.
        last_id: StreamId,
        /// entries-read, where known.
        entries_read: Option<u64>,
    },
    /// A group goes with all that is pending in it.
    GroupDestroyed {
        /// In which stream.
        key: KeyNumber,
        /// Which.
        group: u32,
    },
    /// A consumer comes into being, seen now.
    ConsumerCreated {
        /// In which stream.
        key: KeyNumber,
        /// In which group.
        group: u32,
        /// Its number, free until now.
        consumer: u32,
        /// Its name.
        name: &'a [u8],
    },
    /// A consumer goes with all that is pending for it.
    ConsumerDeleted {
        /// In which stream.
        key: KeyNumber,
        /// In which group.
        group: u32,
        /// Which.
        consumer: u32,
    },
    /// A consumer was seen, and perhaps successful.
    ConsumerSeen {
        /// In which stream.
        key: KeyNumber,
        /// In which group.
        group: u32,
        /// Which.
        consumer: u32,
        /// Whether it got something, now.
        active: bool,
        /// How long before now, in milliseconds, where it got nothing.
        ago_ms: u64,
    },
    /// New entries are delivered to a consumer, for the first time in this group.
    Delivered {
        /// In which stream.
        key: KeyNumber,
        /// In which group.
        group: u32,
        /// To whom.
        consumer: u32,
        /// last-delivered-id from now on.
        last_id: StreamId,
        /// entries-read from now on, where known.
        entries_read: Option<u64>,
        /// What becomes pending, ascending (nothing with NOACK).
        ids: Vec<StreamId>,
    },
    /// Pending entries have a new owner, time and count (claims, reads of one's own history).
    Claimed {
        /// In which stream.
        key: KeyNumber,
        /// In which group.
        group: u32,
        /// The owner from now on; [`crate::group::NOBODY`] behind XNACK.
        consumer: u32,
        /// Delivery time from now on, in unix milliseconds.
        delivered_ms: u64,
        /// Entries, ascending, and the count of each from now on.
        rows: Vec<(StreamId, u64)>,
        /// What it means for the deliveries that MAX-DELIVER counts.
        lease: LeaseChange,
    },
    /// Pending entries are pending no longer.
    Released {
        /// In which stream.
        key: KeyNumber,
        /// In which group.
        group: u32,
        /// Which, ascending.
        ids: Vec<StreamId>,
    },
    /// An entry is appended to a schedule.
    Scheduled {
        /// In which stream.
        key: KeyNumber,
        /// Its id there, above every id before, and when it is due.
        due: Due,
        /// Whether a new logical node begins with it.
        starts_node: bool,
        /// Producer and idempotent id, where it is to be appended idempotently.
        once: Option<(&'a [u8], &'a [u8])>,
        /// What is to be appended.
        fields: EntryFields<'a>,
    },
    /// An entry is not scheduled any more.
    Unscheduled {
        /// In which stream.
        key: KeyNumber,
        /// Which.
        due: Due,
    },
    /// A policy is set, or does something.
    Policy {
        /// In which stream.
        key: KeyNumber,
        /// What.
        act: Act,
    },
}

/// Deliveries that MAX-DELIVER counts, beside those that Redis shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseChange {
    /// As many as before: a read of one's own history, JUSTID.
    Same,
    /// One more: a delivery or a claim.
    More,
    /// One less: XNACK SILENT takes its delivery back.
    Less,
}

impl LeaseChange {
    fn decode(byte: u8) -> Option<Self> {
        [Self::Same, Self::More, Self::Less].into_iter().find(|change| *change as u8 == byte)
    }

    /// The number of leases behind it, which stops at 255.
    pub(crate) fn of(self, leases: u8) -> u8 {
        match self {
            Self::Same => leases,
            Self::More => leases.saturating_add(1),
            Self::Less => leases.saturating_sub(1),
        }
    }
}

/// Fields that compare by what they hold.
#[derive(Clone, Copy, Debug)]
pub struct EntryFields<'a>(pub Fields<'a>);

impl PartialEq for EntryFields<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().eq(other.0.iter())
    }
}

impl<'a> Effect<'a> {
    /// The key that changes; `None` where many do.
    pub fn key(&self) -> Option<KeyNumber> {
        match self {
            Self::Flushed { .. } | Self::DatabasesSwapped { .. } => None,
            Self::KeyCreated { key, .. }
            | Self::KeyRemoved { key }
            | Self::KeyExpires { key, .. }
            | Self::KeyRenamed { key, .. }
            | Self::StreamCopied { key, .. }
            | Self::StreamRestored { key, .. }
            | Self::TextSet { key, .. }
            | Self::TextAppended { key, .. }
            | Self::Appended { key, .. }
            | Self::Sealed { key }
            | Self::Deleted { key, .. }
            | Self::Trimmed { key, .. }
            | Self::IdSet { key, .. }
            | Self::IdmpSet { key, .. }
            | Self::IidTracked { key, .. }
            | Self::IidsForgotten { key, .. }
            | Self::IidsCounted { key, .. }
            | Self::Dedup { key, .. }
            | Self::GroupCreated { key, .. }
            | Self::GroupIdSet { key, .. }
            | Self::GroupDestroyed { key, .. }
            | Self::ConsumerCreated { key, .. }
            | Self::ConsumerDeleted { key, .. }
            | Self::ConsumerSeen { key, .. }
            | Self::Delivered { key, .. }
            | Self::Claimed { key, .. }
            | Self::Released { key, .. }
            | Self::Scheduled { key, .. }
            | Self::Unscheduled { key, .. }
            | Self::Policy { key, .. } => Some(*key),
        }
    }

    /// Whether losing this one to a power cut only means that an entry is delivered again, that a
    /// consumer was seen earlier or that what is over is forgotten later: no reply needs to wait
    /// for it (`delivery-sync relaxed`).
    pub fn is_delivery(&self) -> bool {
        matches!(
            self,
            Self::Delivered { .. }
                | Self::ConsumerSeen { .. }
                | Self::IidsForgotten { .. }
                | Self::Dedup { change: DedupChange::Dropped { .. }, .. }
        )
    }

    /// Whether all that it says is that a consumer was there and got nothing. Alone it may be logged
    /// later, and nobody waits for it who is not shown when consumers were seen.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::ConsumerSeen { active: false, .. })
    }

    /// Appends the record: code, key number, contents.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.code());
        if let Some(key) = self.key() {
            put_u64(out, key.0);
        }
        match self {
            Self::KeyRemoved { .. } | Self::Sealed { .. } => {}
            Self::KeyCreated { database, kind, name, .. } => {
                out.extend_from_slice(&[*database, u8::from(*kind == Kind::Stream)]);
                put_bytes(out, name);
            }
            Self::KeyExpires { at_ms, .. } => put_option(out, *at_ms),
            Self::KeyRenamed { database, name, .. } => {
                out.push(*database);
                put_bytes(out, name);
            }
            Self::Flushed { database } => put_option(out, database.map(u64::from)),
            Self::DatabasesSwapped { first, second } => out.extend_from_slice(&[*first, *second]),
            Self::StreamCopied { from, blocks, .. } => {
                put_u64(out, from.0);
                put_blocks(out, blocks);
            }
            Self::StreamRestored { stream, .. } => stream.encode(out),
            Self::TextSet { value, .. } => put_bytes(out, value),
            Self::TextAppended { more, .. } => put_bytes(out, more),
            Self::Appended { id, starts_node, fields, .. } => {
                put_id(out, *id);
                out.push(u8::from(*starts_node));
                fields.0.encode(out);
            }
            Self::Deleted { max_deleted_id, rows, .. } => {
                put_id(out, *max_deleted_id);
                put_rows(out, rows);
            }
            Self::Trimmed { block, row, .. } => {
                put_u64(out, *block);
                put_u64(out, u64::from(*row));
            }
            Self::IdSet { last_id, entries_added, max_deleted_id, .. } => {
                put_id(out, *last_id);
                put_u64(out, *entries_added);
                put_id(out, *max_deleted_id);
            }
            Self::Scheduled { .. } | Self::Unscheduled { .. } => self.encode_schedule(out),
            _ => self.encode_idempotence(out),
        }
    }

    fn encode_idempotence(&self, out: &mut Vec<u8>) {
        match self {
            Self::IdmpSet { limits, .. } => {
                put_u64(out, limits.duration_s);
                put_u64(out, limits.iids_max);
            }
            Self::IidTracked { pid, iid, id, since_ms, going, .. } => {
                put_bytes(out, pid);
                put_bytes(out, iid);
                put_id(out, *id);
                put_u64(out, *since_ms);
                put_u64(out, *going);
            }
            Self::IidsForgotten { until_ms, .. } => put_u64(out, *until_ms),
            Self::IidsCounted { added, duplicates, .. } => {
                put_u64(out, *added);
                put_u64(out, *duplicates);
            }
            Self::Dedup { change, .. } => change.encode(out),
            _ => self.encode_group(out),
        }
    }

    fn encode_group(&self, out: &mut Vec<u8>) {
        match self {
            Self::GroupCreated { group, name, last_id, entries_read, .. } => {
                put_u64(out, u64::from(*group));
                put_bytes(out, name);
                put_id(out, *last_id);
                put_option(out, *entries_read);
            }
            Self::GroupIdSet { group, last_id, entries_read, .. } => {
                put_u64(out, u64::from(*group));
                put_id(out, *last_id);
                put_option(out, *entries_read);
            }
            Self::GroupDestroyed { group, .. } => put_u64(out, u64::from(*group)),
            Self::ConsumerCreated { group, consumer, name, .. } => {
                put_consumer(out, *group, *consumer);
                put_bytes(out, name);
            }
            Self::ConsumerDeleted { group, consumer, .. } => put_consumer(out, *group, *consumer),
            Self::ConsumerSeen { group, consumer, active, ago_ms, .. } => {
                put_consumer(out, *group, *consumer);
                put_seen(out, *active, *ago_ms);
            }
            Self::Delivered { group, consumer, last_id, entries_read, ids, .. } => {
                put_consumer(out, *group, *consumer);
                put_id(out, *last_id);
                put_option(out, *entries_read);
                put_ids(out, ids.iter().copied());
            }
            Self::Claimed { group, consumer, delivered_ms, rows, lease, .. } => {
                put_consumer(out, *group, *consumer);
                put_u64(out, *delivered_ms);
                put_ids(out, rows.iter().map(|(id, _)| *id));
                rows.iter().for_each(|(_, count)| put_u64(out, *count));
                out.push(*lease as u8);
            }
            Self::Released { group, ids, .. } => {
                put_u64(out, u64::from(*group));
                put_ids(out, ids.iter().copied());
            }
            Self::Policy { act, .. } => act.encode(out),
            _ => unreachable!("encode() keeps the others"),
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::KeyCreated { .. } => code::KEY_CREATED,
            Self::KeyRemoved { .. } => code::KEY_REMOVED,
            Self::KeyExpires { .. } => code::KEY_EXPIRES,
            Self::KeyRenamed { .. } => code::KEY_RENAMED,
            Self::Flushed { .. } => code::FLUSHED,
            Self::DatabasesSwapped { .. } => code::DATABASES_SWAPPED,
            Self::StreamCopied { .. } => code::STREAM_COPIED,
            Self::StreamRestored { .. } => code::STREAM_RESTORED,
            Self::TextSet { .. } => code::TEXT_SET,
            Self::TextAppended { .. } => code::TEXT_APPENDED,
            Self::Appended { .. } => code::APPENDED,
            Self::Sealed { .. } => code::SEALED,
            Self::Deleted { .. } => code::DELETED,
            Self::Trimmed { .. } => code::TRIMMED,
            Self::IdSet { .. } => code::ID_SET,
            Self::IdmpSet { .. } => code::IDMP_SET,
            Self::IidTracked { .. } => code::IID_TRACKED,
            Self::IidsForgotten { .. } => code::IIDS_FORGOTTEN,
            Self::IidsCounted { .. } => code::IIDS_COUNTED,
            Self::Dedup { change, .. } => change.code(),
            Self::GroupCreated { .. } => code::GROUP_CREATED,
            Self::GroupIdSet { .. } => code::GROUP_ID_SET,
            Self::GroupDestroyed { .. } => code::GROUP_DESTROYED,
            Self::ConsumerCreated { .. } => code::CONSUMER_CREATED,
            Self::ConsumerDeleted { .. } => code::CONSUMER_DELETED,
            Self::ConsumerSeen { .. } => code::CONSUMER_SEEN,
            Self::Delivered { .. } => code::DELIVERED,
            Self::Claimed { .. } => code::CLAIMED,
            Self::Released { .. } => code::RELEASED,
            Self::Scheduled { .. } => schedule::code::SCHEDULED,
            Self::Unscheduled { .. } => schedule::code::UNSCHEDULED,
            Self::Policy { act, .. } => act.code(),
        }
    }

    /// Takes the next effect off a batch; `None` where the bytes are no effect of this version.
    pub fn decode(reader: &mut Reader<'a>, batch: &'a [u8]) -> Option<Self> {
        let code = reader.u8()?;
        if code == code::FLUSHED {
            let database = reader.option()?;
            return Some(Self::Flushed { database: database.map(u8::try_from).transpose().ok()? });
        }
        if code == code::DATABASES_SWAPPED {
            return Some(Self::DatabasesSwapped {
                first: database(reader)?,
                second: database(reader)?,
            });
        }
        let key = KeyNumber(reader.u64()?);
        Some(match code {
            code::KEY_CREATED => Self::KeyCreated {
                key,
                database: reader.u8()?,
                kind: if flag(reader)? { Kind::Stream } else { Kind::Text },
                name: reader.bytes()?.into(),
            },
            code::KEY_REMOVED => Self::KeyRemoved { key },
            code::KEY_EXPIRES => Self::KeyExpires { key, at_ms: reader.option()? },
            code::KEY_RENAMED => {
                Self::KeyRenamed { key, database: reader.u8()?, name: reader.bytes()? }
            }
            code::STREAM_COPIED => {
                let from = KeyNumber(reader.u64()?);
                Self::StreamCopied { key, from, blocks: get_blocks(reader)? }
            }
            code::STREAM_RESTORED => {
                Self::StreamRestored { key, stream: Arc::new(RestoredStream::decode(reader)?) }
            }
            code::TEXT_SET => Self::TextSet { key, value: reader.bytes()?.into() },
            code::TEXT_APPENDED => Self::TextAppended { key, more: reader.bytes()? },
            code::APPENDED => Self::Appended {
                key,
                id: reader.id()?,
                starts_node: flag(reader)?,
                fields: EntryFields(Fields::decode(reader, batch)?),
            },
            code::SEALED => Self::Sealed { key },
            code::DELETED => {
                Self::Deleted { key, max_deleted_id: reader.id()?, rows: get_rows(reader)? }
            }
            code::TRIMMED => Self::Trimmed { key, block: reader.u64()?, row: reader.u32()? },
            code::ID_SET => Self::IdSet {
                key,
                last_id: reader.id()?,
                entries_added: reader.u64()?,
                max_deleted_id: reader.id()?,
            },
            code::DEDUP_FIRST..=code::DEDUP_LAST => {
                return DedupChange::decode(code, key, reader);
            }
            schedule::code::SCHEDULED..=schedule::code::LAST => {
                return Self::decode_schedule(code, key, reader, batch);
            }
            code::POLICIES.. => return Act::decode(code, key, reader),
            code::IDMP_SET..=code::IIDS_COUNTED => {
                return Self::decode_idempotence(code, key, reader);
            }
            _ => return Self::decode_group(code, key, reader.u32()?, reader),
        })
    }

    fn decode_idempotence(code: u8, key: KeyNumber, reader: &mut Reader<'a>) -> Option<Self> {
        Some(match code {
            code::IDMP_SET => {
                let limits = IdmpLimits { duration_s: reader.u64()?, iids_max: reader.u64()? };
                Self::IdmpSet { key, limits }
            }
            code::IID_TRACKED => Self::IidTracked {
                key,
                pid: reader.bytes()?,
                iid: reader.bytes()?.into(),
                id: reader.id()?,
                since_ms: reader.u64()?,
                going: reader.u64()?,
            },
            code::IIDS_FORGOTTEN => Self::IidsForgotten { key, until_ms: reader.u64()? },
            code::IIDS_COUNTED => {
                Self::IidsCounted { key, added: reader.u64()?, duplicates: reader.u64()? }
            }
            _ => return None,
        })
    }

    fn decode_group(code: u8, key: KeyNumber, group: u32, reader: &mut Reader<'a>) -> Option<Self> {
        Some(match code {
            code::GROUP_CREATED => Self::GroupCreated {
                key,
                group,
                name: reader.bytes()?,
                last_id: reader.id()?,
                entries_read: reader.option()?,
            },
            code::GROUP_ID_SET => Self::GroupIdSet {
                key,
                group,
                last_id: reader.id()?,
                entries_read: reader.option()?,
            },
            code::GROUP_DESTROYED => Self::GroupDestroyed { key, group },
            code::CONSUMER_CREATED => {
                Self::ConsumerCreated { key, group, consumer: reader.u32()?, name: reader.bytes()? }
            }
            code::CONSUMER_DELETED => Self::ConsumerDeleted { key, group, consumer: reader.u32()? },
            code::CONSUMER_SEEN => {
                let consumer = reader.u32()?;
                let (active, ago_ms) = get_seen(reader)?;
                Self::ConsumerSeen { key, group, consumer, active, ago_ms }
            }
            code::DELIVERED => Self::Delivered {
                key,
                group,
                consumer: reader.u32()?,
                last_id: reader.id()?,
                entries_read: reader.option()?,
                ids: get_ids(reader)?,
            },
            code::CLAIMED => {
                let (consumer, delivered_ms) = (reader.u32()?, reader.u64()?);
                let ids = get_ids(reader)?;
                let rows = ids.into_iter().map(|id| Some((id, reader.u64()?)));
                let rows = rows.collect::<Option<_>>()?;
                let lease = LeaseChange::decode(reader.u8()?)?;
                Self::Claimed { key, group, consumer, delivered_ms, rows, lease }
            }
            code::RELEASED => Self::Released { key, group, ids: get_ids(reader)? },
            _ => return None,
        })
    }
}

fn flag(reader: &mut Reader<'_>) -> Option<bool> {
    match reader.u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Whether a consumer was active, or how long ago it was there.
fn put_seen(out: &mut Vec<u8>, active: bool, ago_ms: u64) {
    match (active, ago_ms) {
        (true, _) => out.push(1),
        (false, 0) => out.push(0),
        (false, ago_ms) => {
            out.push(2);
            put_u64(out, ago_ms);
        }
    }
}

fn get_seen(reader: &mut Reader<'_>) -> Option<(bool, u64)> {
    match reader.u8()? {
        0 => Some((false, 0)),
        1 => Some((true, 0)),
        2 => Some((false, reader.u64()?)),
        _ => None,
    }
}

fn put_consumer(out: &mut Vec<u8>, group: u32, consumer: u32) {
    put_u64(out, u64::from(group));
    put_u64(out, u64::from(consumer));
}

fn database(reader: &mut Reader<'_>) -> Option<u8> {
    reader.u8().filter(|database| *database < crate::limits::DATABASES)
}

/// The effects of a batch in order; an item is `None` where the batch is malformed, and nothing
/// follows it.
pub fn decode_batch(batch: &[u8]) -> impl Iterator<Item = Option<Effect<'_>>> {
    let mut reader = Reader::new(batch);
    let mut failed = false;
    core::iter::from_fn(move || {
        if failed || reader.is_empty() {
            return None;
        }
        let effect = Effect::decode(&mut reader, batch);
        failed = effect.is_none();
        Some(effect)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn samples() -> Vec<Effect<'static>> {
        let key = KeyNumber(300);
        let (a, b) = (StreamId::new(5, 9), StreamId::new(5, 11));
        let pairs: &'static [&'static [u8]] = &[b"f", b"v", b"g", b""];
        let fields = EntryFields(Fields::Arguments(pairs));
        let mut block = Block::new();
        block.append(a, &fields.0, true);
        let blocks = vec![(3, Arc::new(block.clone())), (4, Arc::new(block))];
        vec![
            Effect::KeyCreated { key, database: 3, kind: Kind::Stream, name: b"orders"[..].into() },
            Effect::KeyRemoved { key },
            Effect::KeyExpires { key, at_ms: Some(7) },
            Effect::KeyRenamed { key, database: 0, name: b"" },
            Effect::Flushed { database: None },
            Effect::Flushed { database: Some(15) },
            Effect::DatabasesSwapped { first: 0, second: 15 },
            Effect::StreamCopied { key, from: KeyNumber(7), blocks },
            Effect::TextSet { key, value: b"\0\xff"[..].into() },
            Effect::TextAppended { key, more: b"more" },
            Effect::Appended { key, id: a, starts_node: true, fields },
            Effect::Sealed { key },
            Effect::Deleted { key, max_deleted_id: b, rows: vec![(0, 3), (0, 4), (9, 0)] },
            Effect::Trimmed { key, block: 8, row: 2 },
            Effect::IdSet { key, last_id: StreamId::MAX, entries_added: 1, max_deleted_id: a },
            Effect::IdmpSet { key, limits: IdmpLimits { duration_s: 86_400, iids_max: 1 } },
            Effect::IidTracked {
                key,
                pid: b"p",
                iid: b"\0\xff"[..].into(),
                id: b,
                since_ms: 1_700_000_000_000,
                going: 3,
            },
            Effect::IidsForgotten { key, until_ms: 5 },
            Effect::IidsCounted { key, added: 4, duplicates: u64::MAX },
            Effect::GroupCreated { key, group: 1, name: b"g", last_id: a, entries_read: None },
            Effect::GroupIdSet { key, group: 1, last_id: a, entries_read: Some(4) },
            Effect::GroupDestroyed { key, group: 1 },
            Effect::ConsumerCreated { key, group: 1, consumer: 2, name: b"c" },
            Effect::ConsumerDeleted { key, group: 1, consumer: 2 },
            Effect::ConsumerSeen { key, group: 1, consumer: 2, active: true, ago_ms: 0 },
            Effect::ConsumerSeen { key, group: 1, consumer: 2, active: false, ago_ms: 300 },
            Effect::Delivered {
                key,
                group: 1,
                consumer: 2,
                last_id: b,
                entries_read: Some(2),
                ids: vec![a, b, StreamId::MAX],
            },
            Effect::Claimed {
                key,
                group: 1,
                consumer: 2,
                delivered_ms: 1,
                rows: vec![(a, 1), (b, u64::MAX)],
                lease: LeaseChange::More,
            },
            Effect::Released { key, group: 1, ids: vec![] },
        ]
    }

    fn schedules() -> Vec<Effect<'static>> {
        let (key, a, b) = (KeyNumber(300), StreamId::new(5, 9), StreamId::new(5, 11));
        let fields = EntryFields(Fields::Arguments(&[b"f", b"v"]));
        vec![
            Effect::Scheduled {
                key,
                due: Due { at_ms: 77, id: a },
                starts_node: false,
                once: Some((b"p", b"\0")),
                fields,
            },
            Effect::Scheduled {
                key,
                due: Due { at_ms: 0, id: b },
                starts_node: true,
                once: None,
                fields,
            },
            Effect::Unscheduled { key, due: Due { at_ms: u64::MAX, id: a } },
        ]
    }

    #[test]
    fn every_effect_survives_the_log() {
        let mut batch = Vec::new();
        let samples = [samples(), schedules()].concat();
        samples.iter().for_each(|effect| effect.encode(&mut batch));
        let back: Option<Vec<_>> = decode_batch(&batch).collect();
        assert_eq!(back.expect("own bytes"), samples);
    }

    #[test]
    fn a_cut_batch_is_no_batch() {
        for effect in [samples(), schedules()].concat() {
            let mut batch = Vec::new();
            effect.encode(&mut batch);
            for len in 1..batch.len() {
                let whole = decode_batch(&batch[..len]).all(|effect| effect.is_some());
                assert!(!whole, "{effect:?} cut at {len}");
            }
        }
        assert_eq!(decode_batch(&[99, 1]).next(), Some(None), "an unknown effect");
    }
}
