//! DUMP, RESTORE: a whole value leaves or comes.
//!
//! The form of a payload is nothing of the core's: it gives and takes the value itself.

use alloc::{sync::Arc, vec::Vec};

use super::{Context, Decided, Decision, create, keys, strings};
use crate::{
    command::{Key, Restore, Restored},
    effect::Effect,
    error::Error,
    keyspace::{Object, Value},
    limits,
    reply::{Dumped, Reply},
};

/// DUMP key
pub(super) fn dump<'a>(context: Context<'_>, key: Key<'a>) -> Decided<'a> {
    let Some((key, Object { value, .. })) = context.machine.keys.find(key) else {
        return Ok(Decision::answer(Reply::Nil));
    };
    let dumped = match value {
        Value::Text(value) => Dumped::Text(Arc::clone(value)),
        Value::Stream(stream) if stream.bytes() > limits::DUMP_BYTES_MAX as u64 => {
            return Err(Error::DumpTooLarge.into());
        }
        Value::Stream(stream) => {
            let blocks = keys::sealed_blocks(context, key, stream)?;
            Dumped::Stream(Arc::clone(stream), blocks)
        }
    };
    Ok(Decision::answer(Reply::Dumped(dumped)))
}

/// RESTORE key ttl payload \[REPLACE] \[ABSTTL] ...
pub(super) fn restore<'a>(context: Context<'_>, asked: &Restore<'a>) -> Decided<'a> {
    let target = context.machine.keys.number(asked.key);
    if target.is_some() && !asked.replace {
        return Err(Error::KeyExists.into());
    }
    let Some(value) = &asked.value else {
        return Ok(Decision::answer(Reply::Ok));
    };
    let expires_at_ms = asked.expires_at_ms.map(|at_ms| u64::try_from(at_ms).unwrap_or(0));
    let removed = target.map(|key| Effect::KeyRemoved { key });
    if expires_at_ms.is_some_and(|at_ms| at_ms <= context.now_ms) {
        return Ok(Decision { reply: Reply::Ok, effects: removed.into_iter().collect() });
    }
    let mut effects = match value {
        Restored::Text(value) => strings::copy(context, asked.key, value)?,
        Restored::Stream(stream) => {
            let mut effects = Vec::from_iter(removed);
            let key = create::stream(context, asked.key, &mut effects)?;
            effects.push(Effect::StreamRestored { key, stream: Arc::clone(stream) });
            let groups = (0..).zip(&stream.groups);
            effects.extend(groups.filter_map(|(number, group)| {
                create::group(context, key, asked.key.name, number, &group.name)
            }));
            effects
        }
    };
    if let (Some(at_ms), Some(key)) = (expires_at_ms, effects.last().and_then(Effect::key)) {
        effects.push(Effect::KeyExpires { key, at_ms: Some(at_ms) });
    }
    Ok(Decision { reply: Reply::Ok, effects })
}
