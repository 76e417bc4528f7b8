//! Commands on keys of any type.

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

use super::{Context, Decided, Decision, Refusal, check, create, integer, strings};
use crate::{
    block::Block,
    command::{Command, Copied, ExpireWhen, Key, Scan},
    effect::{Effect, Kind},
    error::Error,
    glob,
    keyspace::{KeyNumber, Name, Object, Value},
    limits,
    reply::Reply,
    stream::Stream,
};

/// Everything that is not about streams.
pub(super) fn decide<'a>(context: Context<'_>, command: &Command<'a>) -> Decided<'a> {
    match command {
        Command::Del(keys) => del(context, keys),
        Command::Exists(keys) => {
            let there = keys.iter().filter(|key| context.machine.keys.number(**key).is_some());
            Ok(Decision::answer(integer(there.count() as u64)))
        }
        Command::Type(key) => {
            let object = context.machine.keys.find(*key).map(|(_, object)| object);
            Ok(Decision::answer(Reply::Status(object.map_or("none", type_name))))
        }
        Command::Keys(database, pattern) => {
            let names = present(context, *database);
            let names = names.filter(|(_, name)| glob::matches(pattern, name));
            let names = names.map(|(_, name)| Arc::from(name.as_slice())).collect();
            Ok(Decision::answer(Reply::Names(names)))
        }
        Command::Scan(asked) => Ok(Decision::answer(scan(context, asked))),
        Command::Dbsize(database) => {
            Ok(Decision::answer(integer(count_present(context, *database))))
        }
        Command::Randomkey(database, random) => {
            let count = count_present(context, *database);
            let nth = usize::try_from(random.checked_rem(count).unwrap_or(0)).unwrap_or(0);
            let key = present(context, *database).nth(nth);
            let reply = key.map_or(Reply::Nil, |(_, name)| Reply::Bytes(name.as_slice().into()));
            Ok(Decision::answer(reply))
        }
        Command::Flush(database) => {
            let effects = Vec::from([Effect::Flushed { database: *database }]);
            Ok(Decision { reply: Reply::Ok, effects })
        }
        Command::Expire(key, at_ms, when) => expire(context, *key, *at_ms, *when),
        Command::Persist(key) => persist(context, *key),
        Command::Expiretime(key) => {
            let at_ms = match context.machine.keys.find(*key) {
                None => -2,
                Some((_, Object { expires_at_ms: None, .. })) => -1,
                Some((_, Object { expires_at_ms: Some(at_ms), .. })) => {
                    i64::try_from(*at_ms).unwrap_or(i64::MAX)
                }
            };
            Ok(Decision::answer(Reply::Integer(at_ms)))
        }
        Command::MemoryUsage(key) => {
            let usage = |(_, object): (_, &Object)| integer(memory_bytes(object) as u64);
            Ok(Decision::answer(context.machine.keys.find(*key).map_or(Reply::Nil, usage)))
        }
        Command::Rename(from, to, only_new) => rename(context, *from, *to, *only_new),
        Command::Copy(asked) => copy(context, asked),
        Command::Move(key, database) => Ok(move_to(context, *key, *database)),
        Command::Swapdb(first, second) => {
            let effect = Effect::DatabasesSwapped { first: *first, second: *second };
            let effects = if first == second { Vec::new() } else { Vec::from([effect]) };
            Ok(Decision { reply: Reply::Ok, effects })
        }
        _ => strings::decide(context, command),
    }
}

/// Keys that are over are removed a bounded number a turn, and not while the disk is full: what
/// shows the whole keyspace leaves them out by itself.
fn is_over(context: Context<'_>, key: KeyNumber) -> bool {
    context.machine.keys.get(key).is_some_and(|object| object.is_expired(context.now_ms))
}

fn present(context: Context<'_>, database: u8) -> impl Iterator<Item = (KeyNumber, &Name)> {
    let all = context.machine.keys.iter_from(database, KeyNumber(0));
    all.filter(move |(key, _)| !is_over(context, *key))
}

fn count_present(context: Context<'_>, database: u8) -> u64 {
    let keys = &context.machine.keys;
    let here = |key: &KeyNumber| keys.get(*key).is_some_and(|held| held.database == database);
    let over = keys.iter_expired(context.now_ms).filter(here);
    (keys.len(database) - over.count()) as u64
}

fn type_name(object: &Object) -> &'static str {
    match object.value {
        Value::Text(_) => "string",
        Value::Stream(_) => "stream",
    }
}

fn memory_bytes(object: &Object) -> usize {
    let value = match &object.value {
        Value::Text(value) => value.len(),
        Value::Stream(stream) => stream.memory_bytes(),
    };
    size_of::<Object>() + object.name.len() + value
}

/// DEL key \[key ...]
fn del<'a>(context: Context<'_>, keys: &[Key<'a>]) -> Decided<'a> {
    let numbers: BTreeSet<_> =
        keys.iter().filter_map(|key| context.machine.keys.number(*key)).collect();
    let reply = integer(numbers.len() as u64);
    let effects = numbers.into_iter().map(|key| Effect::KeyRemoved { key }).collect();
    Ok(Decision { reply, effects })
}

/// SCAN cursor \[MATCH pattern] \[COUNT n] \[TYPE type]: the cursor is the number of the next key.
fn scan(context: Context<'_>, asked: &Scan<'_>) -> Reply {
    let keys = &context.machine.keys;
    let mut rest = keys.iter_from(asked.database, KeyNumber(asked.cursor));
    let take = usize::try_from(asked.count).unwrap_or(usize::MAX);
    let fits = |(number, name): &(KeyNumber, &Name)| {
        !is_over(context, *number)
            && asked.pattern.is_none_or(|pattern| glob::matches(pattern, name))
            && asked.kind.is_none_or(|kind| {
                let name = keys.get(*number).map_or("none", type_name);
                kind.eq_ignore_ascii_case(name.as_bytes())
            })
    };
    let names = rest.by_ref().take(take).filter(fits);
    let names = names.map(|(_, name)| name.as_slice().into()).collect();
    let cursor = rest.next().map_or(0, |(number, _)| number.0);
    Reply::Scanned(cursor, names)
}

/// EXPIRE and kin.
fn expire<'a>(context: Context<'_>, key: Key<'a>, at_ms: i64, when: ExpireWhen) -> Decided<'a> {
    let Some((key, object)) = context.machine.keys.find(key) else {
        return Ok(Decision::answer(Reply::Integer(0)));
    };
    let target = u64::try_from(at_ms).unwrap_or(0);
    let held = object.expires_at_ms;
    let refused = (when.none && held.is_some())
        || (when.some && held.is_none())
        || (when.later && held.is_none_or(|held| target <= held))
        || (when.earlier && held.is_some_and(|held| target >= held));
    if refused {
        return Ok(Decision::answer(Reply::Integer(0)));
    }
    let effect = match target <= context.now_ms {
        true => Effect::KeyRemoved { key },
        false => Effect::KeyExpires { key, at_ms: Some(target) },
    };
    Ok(Decision { reply: Reply::Integer(1), effects: Vec::from([effect]) })
}

/// PERSIST key
fn persist<'a>(context: Context<'_>, key: Key<'a>) -> Decided<'a> {
    match context.machine.keys.find(key) {
        Some((key, object)) if object.expires_at_ms.is_some() => {
            let effects = Vec::from([Effect::KeyExpires { key, at_ms: None }]);
            Ok(Decision { reply: Reply::Integer(1), effects })
        }
        _ => Ok(Decision::answer(Reply::Integer(0))),
    }
}

/// RENAME key newkey, RENAMENX key newkey
fn rename<'a>(context: Context<'_>, from: Key<'a>, to: Key<'a>, only_new: bool) -> Decided<'a> {
    let keys = &context.machine.keys;
    let key = keys.number(from).ok_or(Error::NoSuchKey)?;
    let target = keys.number(to);
    let done = if only_new { Reply::Integer(1) } else { Reply::Ok };
    if only_new && target.is_some() {
        return Ok(Decision::answer(Reply::Integer(0)));
    }
    if from == to {
        return Ok(Decision::answer(done));
    }
    let mut effects = Vec::from_iter(target.map(|key| Effect::KeyRemoved { key }));
    effects.push(Effect::KeyRenamed { key, database: to.database, name: to.name });
    Ok(Decision { reply: done, effects })
}

/// MOVE key database
fn move_to<'a>(context: Context<'_>, key: Key<'a>, database: u8) -> Decision<'a> {
    let keys = &context.machine.keys;
    let target = Key { database, name: key.name };
    match keys.number(key) {
        Some(number) if keys.number(target).is_none() => Decision {
            reply: Reply::Integer(1),
            effects: Vec::from([Effect::KeyRenamed { key: number, database, name: key.name }]),
        },
        _ => Decision::answer(Reply::Integer(0)),
    }
}

/// COPY source destination \[DB n] \[REPLACE]
fn copy<'a>(context: Context<'_>, asked: &Copied<'a>) -> Decided<'a> {
    let keys = &context.machine.keys;
    let target = keys.number(asked.to);
    let Some((from, object)) = keys.find(asked.from) else {
        return Ok(Decision::answer(Reply::Integer(0)));
    };
    if target.is_some() && !asked.replace {
        return Ok(Decision::answer(Reply::Integer(0)));
    }
    let mut effects = match &object.value {
        Value::Text(value) => strings::copy(context, asked.to, value)?,
        Value::Stream(stream) => {
            if stream.sealed_bytes() > limits::COPY_BYTES_MAX as u64 {
                return Err(Error::CopyTooLarge.into());
            }
            check::dedup(context, 0, &stream.policy)?;
            let blocks = sealed_blocks(context, from, stream)?;
            let (key, created) = create::key(context, asked.to, Kind::Stream);
            let mut effects = Vec::from_iter(target.map(|key| Effect::KeyRemoved { key }));
            effects.extend([created, Effect::StreamCopied { key, from, blocks }]);
            effects
        }
    };
    if let (Some(at_ms), Some(key)) = (object.expires_at_ms, effects.last().and_then(Effect::key)) {
        effects.push(Effect::KeyExpires { key, at_ms: Some(at_ms) });
    }
    Ok(Decision { reply: Reply::Integer(1), effects })
}

/// All sealed blocks of a stream, which have to be in memory.
pub(super) fn sealed_blocks(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
) -> Result<Vec<(u64, Arc<Block>)>, Refusal> {
    let numbers = || stream.first_block()..stream.tail_number();
    context.require(key, stream, numbers())?;
    let held = numbers().filter_map(|number| Some((number, context.blocks.block(key, number)?)));
    Ok(held.collect())
}
