//! Ops carried out on a shard, their answers told in the model's words.

use super::{CONSUMERS, GROUPS, KEYS, KeyAt, Op, PIDS, other_database};
use crate::model::{
    self, ClaimOptions, Delivered, Entries, ErrorKind, GroupFrom, GroupStart, Id, Nack, NewId,
    Payload, PendingRow, RESTORED, ReadFrom, ReadMore, References, Reply, Threshold, Trim,
};
use levada_core::command::{self, Command, Key};
use levada_core::error::Error;
use levada_core::fields::Fields;
use levada_core::id::StreamId;
use levada_core::idempotence::IdmpLimits;
use levada_core::reply::{self, Claimed};
use levada_core::restored::{RestoredConsumer, RestoredGroup, RestoredPending, RestoredStream};
use levada_core::stream::NodeLimits;
use levada_engine::clock::Now;
use levada_engine::shard::{
    Answer, BlockedRead, BlockedReadgroup, ClientId, Outcome, Shard, ShardSettings, Wait,
};
use levada_engine::store::Store;
use std::borrow::Cow;
use std::sync::Arc;

/// Everything is asked by one client, for a schedule is a sequence.
pub const CLIENT: ClientId = ClientId(1);

/// What came back.
pub type Seen = Result<Reply, Refused>;

/// Why nothing but an error came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The model knows this error.
    As(ErrorKind),
    /// A block failed its check; the ids that it may hold.
    Corrupt(Vec<u8>, Id, Id),
    /// An answer counts more entries than could be read; in words.
    Lost(String),
    /// An error that no op of ours should meet.
    Unexpected(Error),
}

/// Asks for a command: its answer and what that waits for, or nothing while blocks are read. A
/// transaction and a setting are no commands. Times to live count from `now_ms`.
pub fn ask<S: Store>(shard: &mut Shard<S>, now: Now, now_ms: u64, op: &Op) -> Option<(Seen, Wait)> {
    with_command(now_ms, op, |command| match shard.execute(now, CLIENT, command) {
        Outcome::NeedBlocks => None,
        Outcome::Done(Answer { result, wait }) => Some((told(shard, result, op), wait)),
    })
}

/// Sets the node limits.
pub fn set_limits<S: Store>(shard: &mut Shard<S>, limits: model::NodeLimits) {
    let nodes = NodeLimits { entries: limits.max_entries, bytes: limits.max_bytes };
    shard.set_settings(ShardSettings { nodes, ..*shard.settings() });
}

/// Sets what new streams track of idempotent producers.
pub fn set_once_limits<S: Store>(shard: &mut Shard<S>, limits: model::OnceLimits) {
    let idmp = IdmpLimits { duration_s: limits.duration_s, iids_max: limits.iids_max as u64 };
    shard.set_settings(ShardSettings { idmp, ..*shard.settings() });
}

/// Calls `with` with the command of an op that is neither a transaction nor a setting.
fn with_command<T>(now_ms: u64, op: &Op, with: impl FnOnce(&Command<'_>) -> T) -> T {
    match op {
        Op::Xadd { key, create, trim, id, fields } => {
            let pairs = fields.iter().flat_map(|(name, value)| [&name[..], value]);
            let arguments: Vec<_> = pairs.collect();
            with(&Command::Xadd(command::Xadd {
                key: key_of(*key),
                must_exist: !create,
                trim: trim.map(trim_of),
                id: match id {
                    NewId::Auto => command::NewId::Auto,
                    NewId::AutoSequence(ms) => command::NewId::AutoSeq(*ms),
                    NewId::Exact(id) => command::NewId::Explicit(id_of(*id)),
                },
                fields: Fields::Arguments(&arguments),
                idempotent: None,
            }))
        }
        Op::XaddOnce { key, create, trim, pid, iid, fields } => {
            let pairs = fields.iter().flat_map(|(name, value)| [&name[..], value]);
            let arguments: Vec<_> = pairs.collect();
            let pid = PIDS[*pid];
            with(&Command::Xadd(command::Xadd {
                key: key_of(*key),
                must_exist: !create,
                trim: trim.map(trim_of),
                id: command::NewId::Auto,
                fields: Fields::Arguments(&arguments),
                idempotent: Some(command::Idempotent { pid, iid: iid.as_deref() }),
            }))
        }
        Op::Xidmprecord { key, pid, iid, id } => {
            let (key, pid, id) = (key_of(*key), PIDS[*pid], id_of(*id));
            with(&Command::Xidmprecord(command::Xidmprecord { key, pid, iid, id }))
        }
        Op::Set(key, value, ttl_ms) => with(&Command::Set(command::Set {
            key: key_of(*key),
            value,
            when: command::SetWhen::default(),
            expiry: match ttl_ms {
                None => command::SetExpiry::Clear,
                Some(ttl_ms) => command::SetExpiry::At(now_ms + ttl_ms),
            },
            get: false,
        })),
        Op::Restore { key, replace, ttl_ms, payload } => {
            let value = match payload {
                Payload::Text(text) => command::Restored::Text(Cow::Borrowed(text)),
                Payload::Stream(entries) => {
                    command::Restored::Stream(Arc::new(restored_of(now_ms, entries)))
                }
            };
            let at_ms = |ttl_ms| i64::try_from(now_ms + ttl_ms).expect("a small clock");
            with(&Command::Restore(command::Restore {
                key: key_of(*key),
                replace: *replace,
                expires_at_ms: ttl_ms.map(at_ms),
                value: Some(value),
            }))
        }
        op => with(&on_stream(now_ms, op)),
    }
}

/// A stream as [`Payload::Stream`] has it.
fn restored_of(now_ms: u64, entries: &[(Id, model::Fields)]) -> RestoredStream {
    let mut stream = RestoredStream::default();
    for (id, fields) in entries {
        let pairs = fields.iter().flat_map(|(name, value)| [&name[..], value]);
        let pairs: Vec<_> = pairs.collect();
        stream.push(id_of(*id), &Fields::Arguments(&pairs), true).expect("a few small entries");
        stream.last_id = id_of(*id);
    }
    stream.entries_added = entries.len() as u64;
    let (name, consumer) = RESTORED;
    let first = id_of(entries.first().expect("there is one").0);
    let (name, consumer) = (name.to_vec(), consumer.to_vec());
    let seen = RestoredConsumer { name: consumer, seen_ms: now_ms, active_ms: Some(now_ms) };
    let pending = RestoredPending { id: first, delivered_ms: now_ms, count: 1, consumer: 0 };
    stream.groups.push(RestoredGroup {
        name,
        last_id: first,
        entries_read: Some(1),
        consumers: vec![seen],
        pending: vec![pending],
    });
    stream
}

fn on_stream(now_ms: u64, op: &Op) -> Command<'static> {
    let limit = |count: usize| (count > 0).then_some(count as u64);
    match op {
        Op::Xdel(key, ids) => Command::Xdel(key_of(*key), ids_of(ids)),
        Op::Xdelex(key, what, ids) => {
            Command::Xdelex(key_of(*key), references_of(*what), ids_of(ids))
        }
        Op::Xtrim(key, trim) => Command::Xtrim(key_of(*key), trim_of(*trim)),
        Op::Xsetid { key, last_id, entries_added, max_deleted_id } => {
            Command::Xsetid(command::Xsetid {
                key: key_of(*key),
                last_id: id_of(*last_id),
                entries_added: *entries_added,
                max_deleted_id: max_deleted_id.map(id_of),
            })
        }
        Op::Xcfgset { key, duration_s, iids_max } => Command::Xcfgset(command::Xcfgset {
            key: key_of(*key),
            idmp_duration_s: *duration_s,
            idmp_iids_max: iids_max.map(|max| max as u64),
            options: Vec::new(),
        }),
        Op::Xlen(key) => Command::Xlen(key_of(*key)),
        Op::Xrange { key, first, last, reverse, count } => Command::Xrange(command::Xrange {
            key: key_of(*key),
            first: id_of(*first),
            last: id_of(*last),
            reverse: *reverse,
            count: count.map(|count| count as u64),
        }),
        Op::Xread { from, count, more } => Command::Xread(command::Xread {
            streams: from.iter().map(|(key, from)| (key_of(*key), read_from_of(*from))).collect(),
            count: limit(*count),
            most: most_of(*more),
        }),
        Op::Xreadgroup { group, consumer, from, count, noack, more } => {
            Command::Xreadgroup(command::Xreadgroup {
                group: GROUPS[*group],
                consumer: CONSUMERS[*consumer],
                count: limit(*count),
                most: most_of(*more),
                claim_idle_ms: more.claim_idle_ms,
                no_ack: *noack,
                streams: from
                    .iter()
                    .map(|(key, from)| (key_of(*key), group_from_of(*from)))
                    .collect(),
            })
        }
        op => in_group(now_ms, op),
    }
}

fn in_group(now_ms: u64, op: &Op) -> Command<'static> {
    match op {
        Op::GroupCreate { key, group, start, create, entries_read } => {
            Command::XgroupCreate(command::XgroupCreate {
                key: key_of(*key),
                group: GROUPS[*group],
                id: start_of(*start),
                create_stream: *create,
                entries_read: *entries_read,
            })
        }
        Op::GroupSetid { key, group, start, entries_read } => {
            Command::XgroupSetid(command::XgroupSetid {
                key: key_of(*key),
                group: GROUPS[*group],
                id: start_of(*start),
                entries_read: *entries_read,
            })
        }
        Op::GroupDestroy(key, group) => Command::XgroupDestroy(key_of(*key), GROUPS[*group]),
        Op::CreateConsumer(key, group, consumer) => {
            let (group, consumer) = (GROUPS[*group], CONSUMERS[*consumer]);
            Command::XgroupCreateconsumer(key_of(*key), group, consumer)
        }
        Op::DelConsumer(key, group, consumer) => {
            let (group, consumer) = (GROUPS[*group], CONSUMERS[*consumer]);
            Command::XgroupDelconsumer(key_of(*key), group, consumer)
        }
        Op::Xack(key, group, ids) => Command::Xack(key_of(*key), GROUPS[*group], ids_of(ids)),
        Op::Xackdel(key, group, what, ids) => {
            let (group, what) = (GROUPS[*group], references_of(*what));
            Command::Xackdel(key_of(*key), group, what, ids_of(ids))
        }
        Op::Xpending(key, group) => Command::XpendingSummary(key_of(*key), GROUPS[*group]),
        Op::XpendingRange { key, group, min_idle_ms, first, last, count, consumer } => {
            Command::Xpending(command::Xpending {
                key: key_of(*key),
                group: GROUPS[*group],
                idle_ms_min: *min_idle_ms,
                first: id_of(*first),
                last: id_of(*last),
                count: *count as u64,
                consumer: consumer.map(|consumer| CONSUMERS[consumer]),
            })
        }
        op => claim_or_key(now_ms, op),
    }
}

fn claim_or_key(now_ms: u64, op: &Op) -> Command<'static> {
    match op {
        Op::Xclaim { key, group, consumer, min_idle_ms, ids, options } => {
            xclaim_of(*key, *group, *consumer, *min_idle_ms, ids, *options)
        }
        Op::Xnack { key, group, mode, ids, count, force } => Command::Xnack(command::Xnack {
            delay_ms: None,
            reason: None,
            key: key_of(*key),
            group: GROUPS[*group],
            mode: match mode {
                Nack::Silent => command::NackMode::Silent,
                Nack::Fail => command::NackMode::Fail,
                Nack::Fatal => command::NackMode::Fatal,
            },
            ids: ids_of(ids),
            retry_count: *count,
            force: *force,
        }),
        Op::Xautoclaim { key, group, consumer, min_idle_ms, start, count, just_id } => {
            Command::Xautoclaim(command::Xautoclaim {
                key: key_of(*key),
                group: GROUPS[*group],
                consumer: CONSUMERS[*consumer],
                idle_ms_min: *min_idle_ms,
                start: id_of(*start),
                count: *count as u64,
                just_id: *just_id,
            })
        }
        Op::Del(keys) => Command::Del(keys_of(keys)),
        Op::Exists(keys) => Command::Exists(keys_of(keys)),
        Op::Get(key) => Command::Get(key_of(*key)),
        Op::Incr(key) => Command::Incrby(key_of(*key), 1),
        Op::Pexpire(key, ttl_ms) => {
            let at_ms = i64::try_from(now_ms).expect("a small clock") + ttl_ms;
            Command::Expire(key_of(*key), at_ms, command::ExpireWhen::default())
        }
        Op::Persist(key) => Command::Persist(key_of(*key)),
        Op::Rename { from, to, only_new } => Command::Rename(key_of(*from), key_of(*to), *only_new),
        Op::Copy { from, to, replace } => {
            let (from, to) = (key_of(*from), key_of(*to));
            Command::Copy(command::Copied { from, to, replace: *replace })
        }
        Op::Move(key) => Command::Move(key_of(*key), key_of(other_database(*key)).database),
        Op::Swapdb => Command::Swapdb(0, 1),
        Op::Flush(database) => Command::Flush(*database),
        Op::Dbsize(database) => Command::Dbsize(*database),
        _ => unreachable!("every other op has its place above"),
    }
}

fn xclaim_of(
    key: KeyAt,
    group: usize,
    consumer: usize,
    idle_ms_min: u64,
    ids: &[Id],
    options: ClaimOptions,
) -> Command<'static> {
    Command::Xclaim(command::Xclaim {
        key: key_of(key),
        group: GROUPS[group],
        consumer: CONSUMERS[consumer],
        idle_ms_min,
        ids: ids_of(ids),
        delivered: options.delivered.map(|delivered| match delivered {
            Delivered::Ago(ms) => command::DeliveredAt::IdleMs(ms),
            Delivered::At(ms) => command::DeliveredAt::UnixMs(ms),
        }),
        retry_count: options.count,
        force: options.force,
        just_id: options.just_id,
        last_id: options.last_id.map(id_of),
    })
}

fn most_of(more: ReadMore) -> command::ReadMost {
    command::ReadMost { entries: more.most.map(|most| most as u64), bytes: None }
}

/// A read that waits, of one whose ids are all above something.
pub fn blocked_of(op: &Op) -> BlockedRead {
    let count = |count: usize| (count > 0).then_some(count as u64);
    let name = |key: KeyAt| (key_of(key).database, key_of(key).name.to_vec());
    match op {
        Op::Xread { from, count: n, more } => BlockedRead::Xread {
            streams: from
                .iter()
                .map(|(key, from)| match from {
                    ReadFrom::After(id) => (name(*key).0, name(*key).1, id_of(*id)),
                    _ => unreachable!("the caller has put in the id"),
                })
                .collect(),
            count: count(*n),
            most: most_of(*more),
        },
        Op::Xreadgroup { group, consumer, from, count: n, noack, more } => {
            BlockedRead::Xreadgroup(BlockedReadgroup {
                group: GROUPS[*group].to_vec(),
                consumer: CONSUMERS[*consumer].to_vec(),
                count: count(*n),
                most: most_of(*more),
                claim_idle_ms: more.claim_idle_ms,
                no_ack: *noack,
                streams: from.iter().map(|(key, _)| name(*key)).collect(),
            })
        }
        other => unreachable!("{other:?} waits for nothing"),
    }
}

/// A key as the core names it.
pub fn key_of(key: KeyAt) -> Key<'static> {
    let (database, name) = KEYS[key];
    Key { database, name }
}

fn keys_of(keys: &[KeyAt]) -> Vec<Key<'static>> {
    keys.iter().map(|key| key_of(*key)).collect()
}

fn id_of(Id(ms, seq): Id) -> StreamId {
    StreamId { ms, seq }
}

fn ids_of(ids: &[Id]) -> Vec<StreamId> {
    ids.iter().map(|id| id_of(*id)).collect()
}

fn trim_of(trim: Trim) -> command::Trim {
    command::Trim {
        keep: match trim.to {
            Threshold::MaxLen(keep) => command::TrimKeep::MaxLen(keep as u64),
            Threshold::MinId(id) => command::TrimKeep::MinId(id_of(id)),
        },
        approximate: trim.approx,
        limit: trim.limit,
        references: Some(references_of(trim.references)),
    }
}

fn references_of(references: References) -> command::References {
    match references {
        References::Keep => command::References::Keep,
        References::Remove => command::References::Remove,
        References::Acked => command::References::Acked,
    }
}

fn read_from_of(from: ReadFrom) -> command::ReadFrom {
    match from {
        ReadFrom::After(id) => command::ReadFrom::After(id_of(id)),
        ReadFrom::New => command::ReadFrom::New,
        ReadFrom::Last => command::ReadFrom::Last,
    }
}

fn group_from_of(from: GroupFrom) -> Option<StreamId> {
    match from {
        GroupFrom::New => None,
        GroupFrom::After(id) => Some(id_of(id)),
    }
}

fn start_of(start: GroupStart) -> Option<StreamId> {
    match start {
        GroupStart::After(id) => Some(id_of(id)),
        GroupStart::Last => None,
    }
}

/// An id in the model's words.
pub fn told_id(id: StreamId) -> Id {
    Id(id.ms, id.seq)
}

fn told_ids(ids: &[StreamId]) -> Vec<Id> {
    ids.iter().map(|id| told_id(*id)).collect()
}

/// An answer to an op in the model's words.
pub fn told<S: Store>(shard: &mut Shard<S>, result: Result<reply::Reply, Error>, op: &Op) -> Seen {
    let reply = result.map_err(told_error)?;
    Ok(match reply {
        reply::Reply::Ok => Reply::Ok,
        reply::Reply::Nil | reply::Reply::NilList => Reply::Nil,
        reply::Reply::Integer(n) => Reply::Integer(n),
        reply::Reply::Integers(numbers) => Reply::Integers(numbers),
        reply::Reply::Id(id) => Reply::Id(told_id(id)),
        reply::Reply::Ids(ids) => Reply::Ids(told_ids(&ids)),
        reply::Reply::Bytes(bytes) => Reply::Text(bytes.to_vec()),
        reply::Reply::Entries(entries) => Reply::Entries(told_entries(shard, &entries)?),
        reply::Reply::Streams(streams) => {
            let name = |at: usize| super::model_key(stream_named(op, at));
            let stream = |(at, entries): &(usize, reply::Entries)| {
                Ok((name(*at), told_entries(shard, entries)?))
            };
            Reply::Streams(streams.iter().map(stream).collect::<Result<_, _>>()?)
        }
        reply::Reply::Autoclaimed(done) => Reply::AutoClaimed {
            cursor: told_id(done.cursor),
            cursor_max: told_id(done.cursor),
            claimed: match &done.claimed {
                Claimed::Entries(entries) => told_entries(shard, entries)?,
                Claimed::Ids(ids) => ids.iter().map(|id| (told_id(*id), None)).collect(),
            },
            deleted: told_ids(&done.deleted),
        },
        reply::Reply::PendingSummary(summary) => told_summary(summary),
        reply::Reply::PendingRows(rows) => Reply::PendingRows(rows.iter().map(told_row).collect()),
        other => panic!("no op is answered with {other:?}"),
    })
}

/// The key that stands at a place among the streams of an op.
fn stream_named(op: &Op, at: usize) -> KeyAt {
    match op {
        Op::Xread { from, .. } => from[at].0,
        Op::Xreadgroup { from, .. } => from[at].0,
        other => panic!("{other:?} names no streams"),
    }
}

/// Entries with their bytes.
pub fn told_entries<S: Store>(
    shard: &mut Shard<S>,
    entries: &reply::Entries,
) -> Result<Entries, Refused> {
    let read = shard.entries(entries).map_err(told_error)?;
    if read.len() as u64 != entries.count {
        return Err(Refused::Lost(format!("{} entries could be read of {entries:?}", read.len())));
    }
    let entry = |entry: levada_engine::Entry| (told_id(entry.id), entry.fields.map(Into::into));
    Ok(read.into_iter().map(entry).collect())
}

fn told_summary(summary: Option<Box<reply::PendingSummary>>) -> Reply {
    let Some(summary) = summary else {
        return Reply::PendingSummary { total: 0, range: None, consumers: Vec::new() };
    };
    let size = |n: u64| usize::try_from(n).expect("it is in memory");
    let consumers = summary.consumers.iter();
    Reply::PendingSummary {
        total: size(summary.count),
        range: Some((told_id(summary.first), told_id(summary.last))),
        consumers: consumers.map(|(name, n)| (name.to_vec(), size(*n))).collect(),
    }
}

/// A pending entry in the model's words.
fn told_row(row: &reply::PendingRow) -> PendingRow {
    PendingRow {
        id: told_id(row.id),
        consumer: row.consumer.to_vec(),
        idle_ms: row.idle_ms.unwrap_or(0),
        count: row.count,
    }
}

fn told_error(error: Error) -> Refused {
    Refused::As(match error {
        Error::WrongType => ErrorKind::WrongType,
        Error::NoSuchKey => ErrorKind::NoSuchKey,
        Error::KeyExists => ErrorKind::BusyKey,
        Error::KeyRequired => ErrorKind::KeyRequired,
        Error::NoGroup { .. } => ErrorKind::NoGroup,
        Error::GroupExists => ErrorKind::BusyGroup,
        Error::IdTooSmall => ErrorKind::IdTooSmall,
        Error::IdsExhausted => ErrorKind::Exhausted,
        Error::SetidBelowTop => ErrorKind::SetIdBelowTop,
        Error::SetidBelowDeleted => ErrorKind::SetIdBelowDeleted,
        Error::EntriesAddedBelowLength => ErrorKind::EntriesAddedTooSmall,
        Error::NoSuchEntry => ErrorKind::NoSuchEntry,
        Error::IidTaken => ErrorKind::IidTaken,
        Error::NotInteger => ErrorKind::NotInteger,
        Error::IncrementOverflow => ErrorKind::Overflow,
        Error::Corrupt { key, first, last } => {
            return Refused::Corrupt(key, told_id(first), told_id(last));
        }
        other => return Refused::Unexpected(other),
    })
}
