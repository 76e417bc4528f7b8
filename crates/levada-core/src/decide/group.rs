//! XGROUP, XACK: groups, acknowledgements.

use alloc::vec::Vec;

use super::{Context, Decided, Decision, create, integer, released};
use crate::{
    command::{Key, XgroupCreate, XgroupSetid},
    effect::{Act, Effect},
    error::Error,
    group::Group,
    id::StreamId,
    keyspace::KeyNumber,
    reply::Reply,
    stream::Stream,
};

/// A group that a command names, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Found<'m> {
    pub(super) key: KeyNumber,
    pub(super) stream: &'m Stream,
    pub(super) number: u32,
    pub(super) group: &'m Group,
}

/// The group, which must be there.
pub(super) fn find<'m>(
    context: Context<'m>,
    key: Key<'_>,
    group: &[u8],
) -> Result<Found<'m>, Error> {
    let missing = || Error::NoGroup { key: key.name.into(), group: group.into() };
    let (number, stream) = context.stream(key)?.ok_or_else(missing)?;
    in_stream(number, stream, group).ok_or_else(missing)
}

/// Whether streams, and the group in each, are there.
pub(super) fn check<'a>(
    context: Context<'_>,
    keys: &[Key<'_>],
    group: Option<&[u8]>,
) -> Decided<'a> {
    for key in keys {
        match group {
            Some(group) => drop(find(context, *key, group)?),
            None => drop(context.stream(*key)?),
        }
    }
    Ok(Decision::answer(Reply::Ok))
}

fn in_stream<'m>(key: KeyNumber, stream: &'m Stream, name: &[u8]) -> Option<Found<'m>> {
    let (number, group) = stream.groups.find(name)?;
    Some(Found { key, stream, number, group })
}

/// The group of an XGROUP subcommand: the key must be there, the group too.
pub(super) fn find_for_xgroup<'m>(
    context: Context<'m>,
    key: Key<'_>,
    group: &[u8],
) -> Result<Found<'m>, Error> {
    let (number, stream) = context.stream(key)?.ok_or(Error::KeyRequired)?;
    in_stream(number, stream, group)
        .ok_or_else(|| Error::NoGroup { key: key.name.into(), group: group.into() })
}

impl Found<'_> {
    /// The number of a consumer, and the effect that creates it where it is missing.
    pub(super) fn consumer<'a>(&self, name: &'a [u8]) -> (u32, Option<Effect<'a>>) {
        let consumers = &self.group.consumers;
        if let Some(number) = consumers.number(name) {
            (number, None)
        } else {
            let consumer = consumers.free_number();
            let (key, group) = (self.key, self.number);
            (consumer, Some(Effect::ConsumerCreated { key, group, consumer, name }))
        }
    }

    pub(super) fn seen<'a>(&self, consumer: u32, active: bool) -> Effect<'a> {
        Effect::ConsumerSeen { key: self.key, group: self.number, consumer, active, ago_ms: 0 }
    }
}

/// XGROUP CREATE key group id|$ \[MKSTREAM] \[ENTRIESREAD n]
pub(super) fn create<'a>(context: Context<'_>, asked: &XgroupCreate<'a>) -> Decided<'a> {
    let mut effects = Vec::with_capacity(2);
    let (key, group, top, added) = match context.stream(asked.key)? {
        Some((_, stream)) if stream.groups.number(asked.group).is_some() => {
            return Err(Error::GroupExists.into());
        }
        Some((key, stream)) => {
            (key, stream.groups.free_number(), stream.last_id, stream.entries_added)
        }
        None if asked.create_stream => {
            let key = create::stream(context, asked.key, &mut effects)?;
            (key, 0, StreamId::MIN, 0)
        }
        None => return Err(Error::KeyRequired.into()),
    };
    let last_id = asked.id.unwrap_or(top);
    let (name, entries_read) = (asked.group, clamp(asked.entries_read, added));
    effects.push(Effect::GroupCreated { key, group, name, last_id, entries_read });
    effects.extend(create::group(context, key, asked.key.name, group, name));
    if let Some(stream) = context.machine.stream_of(key) {
        effects.extend(released::begun(context, key, stream, group, last_id)?);
    }
    Ok(Decision { reply: Reply::Ok, effects })
}

/// XGROUP SETID key group id|$ \[ENTRIESREAD n]
pub(super) fn setid<'a>(context: Context<'_>, setid: &XgroupSetid<'a>) -> Decided<'a> {
    let Found { key, stream, number: group, group: found } =
        find_for_xgroup(context, setid.key, setid.group)?;
    let last_id = setid.id.unwrap_or(stream.last_id);
    let entries_read = clamp(setid.entries_read, stream.entries_added);
    let released = released::set_forward(context, key, stream, group, found, last_id)?;
    let mut effects = Vec::from_iter(released);
    effects.push(Effect::GroupIdSet { key, group, last_id, entries_read });
    // Forward, it skips what was passed over; back, it comes by what is above again.
    if last_id >= found.last_id && found.order.parked_len() > 0 {
        let ids = found.order.parked_from(StreamId::MIN).map(|(id, _)| id).collect();
        effects.push(Effect::Policy { key, act: Act::Unparked { group, ids } });
    }
    Ok(Decision { reply: Reply::Ok, effects })
}

/// A group cannot have read more than was ever added (Redis 8.6).
fn clamp(entries_read: Option<u64>, added: u64) -> Option<u64> {
    entries_read.map(|read| read.min(added))
}

/// XGROUP DESTROY key group
pub(super) fn destroy<'a>(context: Context<'_>, key: Key<'a>, group: &[u8]) -> Decided<'a> {
    let (key, stream) = context.stream(key)?.ok_or(Error::KeyRequired)?;
    let Some((group, found)) = stream.groups.find(group) else {
        return Ok(Decision::answer(Reply::Integer(0)));
    };
    let mut effects = Vec::from_iter(released::destroyed(context, key, stream, group, found)?);
    effects.push(Effect::GroupDestroyed { key, group });
    Ok(Decision { reply: Reply::Integer(1), effects })
}

/// XGROUP CREATECONSUMER key group consumer
pub(super) fn createconsumer<'a>(
    context: Context<'_>,
    key: Key<'a>,
    group: &[u8],
    name: &'a [u8],
) -> Decided<'a> {
    let (_, created) = find_for_xgroup(context, key, group)?.consumer(name);
    let reply = Reply::Integer(i64::from(created.is_some()));
    Ok(Decision { reply, effects: created.into_iter().collect() })
}

/// XGROUP DELCONSUMER key group consumer
pub(super) fn delconsumer<'a>(
    context: Context<'_>,
    key: Key<'a>,
    group: &[u8],
    name: &[u8],
) -> Decided<'a> {
    let Found { key, number: group, group: found, .. } = find_for_xgroup(context, key, group)?;
    match found.consumers.find(name) {
        None => Ok(Decision::answer(Reply::Integer(0))),
        Some((consumer, held)) => Ok(Decision {
            reply: integer(held.pending),
            // With leases, or with ORDER-BY, what it held comes back as when a lease ends.
            effects: Vec::from([match found.policy.hands_back() {
                true => {
                    let act = Act::HandedOver { group, consumer, to: None };
                    Effect::Policy { key, act }
                }
                false => Effect::ConsumerDeleted { key, group, consumer },
            }]),
        }),
    }
}

/// XACK key group id \[id ...]
pub(super) fn xack<'a>(
    context: Context<'_>,
    key: Key<'a>,
    group: &[u8],
    ids: &[StreamId],
) -> Decided<'a> {
    let found = context.stream(key)?.and_then(|(key, stream)| in_stream(key, stream, group));
    let Some(Found { key, number: group, group: found, .. }) = found else {
        return Ok(Decision::answer(Reply::Integer(0)));
    };
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    found.pending.retain_held(&mut ids);
    let reply = integer(ids.len() as u64);
    let effects = match ids.is_empty() {
        true => Vec::new(),
        false => Vec::from([Effect::Released { key, group, ids }]),
    };
    Ok(Decision { reply, effects })
}
