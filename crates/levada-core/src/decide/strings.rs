//! Strings: the caches, locks and counters that stand beside a stream.

use alloc::{borrow::Cow, collections::BTreeMap, sync::Arc, vec::Vec};

use super::{Context, Decided, Decision, create_key, integer};
use crate::{
    command::{Command, Key, Set, SetExpiry, SetWhen},
    effect::{Effect, Kind},
    error::Error,
    fields::append_decimal,
    keyspace::{KeyNumber, Object, Value},
    limits,
    reply::Reply,
};

/// Everything about strings.
pub(super) fn decide<'a>(context: Context<'_>, command: &Command<'a>) -> Decided<'a> {
    match command {
        Command::Get(key) => Ok(Decision::answer(bytes_or_nil(text(context, *key)?))),
        Command::Mget(keys) => {
            // A key of another type is answered as if it were missing.
            let values = keys.iter().map(|key| text(context, *key).ok().flatten().cloned());
            Ok(Decision::answer(Reply::Values(values.collect())))
        }
        Command::Strlen(key) => {
            let len = text(context, *key)?.map_or(0, |value| value.len());
            Ok(Decision::answer(integer(len as u64)))
        }
        Command::Set(set) => decide_set(context, set),
        Command::Mset(pairs, only_new) => mset(context, pairs, *only_new),
        Command::Getdel(key) => {
            let reply = bytes_or_nil(text(context, *key)?);
            let number = context.machine.keys.number(*key);
            let effects = number.map(|key| Effect::KeyRemoved { key }).into_iter().collect();
            Ok(Decision { reply, effects })
        }
        Command::Getex(key, expiry) => getex(context, *key, *expiry),
        Command::Incrby(key, by) => incrby(context, *key, *by),
        Command::Append(key, more) => append(context, *key, more),
        _ => unreachable!("every other command has its own file"),
    }
}

/// INCR, DECR, INCRBY, DECRBY
fn incrby<'a>(context: Context<'_>, key: Key<'a>, by: i64) -> Decided<'a> {
    let held = match text(context, key)? {
        None => 0,
        Some(value) => parse_i64(value).ok_or(Error::NotInteger)?,
    };
    let sum = held.checked_add(by).ok_or(Error::IncrementOverflow)?;
    let mut value = Vec::new();
    append_decimal(&mut value, sum);
    let effects = write(context, key, value.into(), SetExpiry::Keep)?;
    Ok(Decision { reply: Reply::Integer(sum), effects })
}

/// APPEND key value
fn append<'a>(context: Context<'_>, key: Key<'a>, more: &'a [u8]) -> Decided<'a> {
    let len = text(context, key)?.map_or(0, |held| held.len()) + more.len();
    let reply = integer(len as u64);
    let Some((number, object)) = context.machine.keys.find(key) else {
        let effects = write(context, key, more.into(), SetExpiry::Keep)?;
        return Ok(Decision { reply, effects });
    };
    if len > limits::STRING_BYTES_MAX {
        return Err(Error::StringTooLong.into());
    }
    let mut effects = make_room(context, key, len, Some((number, object)))?;
    effects.push(Effect::TextAppended { key: number, more });
    Ok(Decision { reply, effects })
}

/// A canonical decimal integer of 64 bits.
fn parse_i64(text: &[u8]) -> Option<i64> {
    let number: i64 = core::str::from_utf8(text).ok()?.parse().ok()?;
    let mut canonical = Vec::new();
    append_decimal(&mut canonical, number);
    (canonical == text).then_some(number)
}

fn text<'m>(context: Context<'m>, key: Key<'_>) -> Result<Option<&'m Arc<[u8]>>, Error> {
    match context.machine.keys.find(key) {
        None => Ok(None),
        Some((_, Object { value: Value::Text(value), .. })) => Ok(Some(value)),
        Some(_) => Err(Error::WrongType),
    }
}

fn bytes_or_nil(value: Option<&Arc<[u8]>>) -> Reply {
    value.map_or(Reply::Nil, |value| Reply::Bytes(Arc::clone(value)))
}

/// SET key value \[NX|XX|IFEQ value|IFNE value] \[GET] \[EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]
fn decide_set<'a>(context: Context<'_>, set: &Set<'a>) -> Decided<'a> {
    let compares = matches!(set.when, SetWhen::Equals(_) | SetWhen::Differs(_));
    let held = match text(context, set.key) {
        Err(error) if set.get || compares => return Err(error.into()),
        held => held.ok().flatten(),
    };
    let there = context.machine.keys.number(set.key).is_some();
    let allowed = match set.when {
        SetWhen::Always => true,
        SetWhen::Missing => !there,
        SetWhen::Exists => there,
        SetWhen::Equals(value) => held.is_some_and(|held| **held == *value),
        SetWhen::Differs(value) => held.is_none_or(|held| **held != *value),
    };
    let old = bytes_or_nil(held);
    if !allowed {
        return Ok(Decision::answer(if set.get { old } else { Reply::Nil }));
    }
    let effects = write(context, set.key, set.value.into(), set.expiry)?;
    Ok(Decision { reply: if set.get { old } else { Reply::Ok }, effects })
}

/// MSET key value \[key value ...], MSETNX
fn mset<'a>(context: Context<'_>, pairs: &[(Key<'a>, &'a [u8])], only_new: bool) -> Decided<'a> {
    let keys = &context.machine.keys;
    if only_new && pairs.iter().any(|(key, _)| keys.number(*key).is_some()) {
        return Ok(Decision::answer(Reply::Integer(0)));
    }
    // The last value of a key that is named twice counts.
    let mut last = BTreeMap::new();
    for (key, value) in pairs {
        last.insert((key.database, key.name), *value);
    }
    let mut effects = Vec::new();
    let mut next = keys.next_number();
    for ((database, name), value) in last {
        let mut writes = write(context, Key { database, name }, value.into(), SetExpiry::Clear)?;
        renumber(&mut writes, keys.next_number(), &mut next);
        effects.extend(writes);
    }
    Ok(Decision { reply: if only_new { Reply::Integer(1) } else { Reply::Ok }, effects })
}

/// Gives every new key of one command a number of its own.
fn renumber(effects: &mut [Effect<'_>], proposed: KeyNumber, next: &mut KeyNumber) {
    let mut used = false;
    for effect in effects {
        if let Effect::KeyCreated { key, .. } | Effect::TextSet { key, .. } = effect
            && *key == proposed
        {
            *key = *next;
            used = true;
        }
    }
    next.0 += u64::from(used);
}

/// GETEX key \[EX s|PX ms|EXAT s|PXAT ms|PERSIST]
fn getex<'a>(context: Context<'_>, key: Key<'a>, expiry: SetExpiry) -> Decided<'a> {
    let reply = bytes_or_nil(text(context, key)?);
    let Some((key, object)) = context.machine.keys.find(key) else {
        return Ok(Decision::answer(reply));
    };
    let effect = match expiry {
        SetExpiry::Keep => None,
        SetExpiry::Clear => object.expires_at_ms.map(|_| Effect::KeyExpires { key, at_ms: None }),
        SetExpiry::At(at_ms) if at_ms <= context.now_ms => Some(Effect::KeyRemoved { key }),
        SetExpiry::At(at_ms) => Some(Effect::KeyExpires { key, at_ms: Some(at_ms) }),
    };
    Ok(Decision { reply, effects: effect.into_iter().collect() })
}

/// COPY of a string: the effects that give a key its value; the last one names the key.
pub(super) fn copy<'a>(
    context: Context<'_>,
    key: Key<'a>,
    value: &[u8],
) -> Result<Vec<Effect<'a>>, Error> {
    let mut effects = write(context, key, value.to_vec().into(), SetExpiry::Clear)?;
    // An expiry of what was there has gone with it, and names the same key.
    effects.sort_by_key(|effect| matches!(effect, Effect::TextSet { .. }));
    Ok(effects)
}

/// The effects that give a key this value, whatever it held.
fn write<'a>(
    context: Context<'_>,
    key: Key<'a>,
    value: Cow<'a, [u8]>,
    expiry: SetExpiry,
) -> Result<Vec<Effect<'a>>, Error> {
    if value.len() > limits::STRING_BYTES_MAX {
        return Err(Error::StringTooLong);
    }
    let found = context.machine.keys.find(key);
    let mut effects = make_room(context, key, value.len(), found)?;
    let (number, held_expiry) = match found {
        Some((number, object)) if matches!(object.value, Value::Text(_)) => {
            (number, object.expires_at_ms)
        }
        other => {
            effects.extend(other.map(|(key, _)| Effect::KeyRemoved { key }));
            let (number, created) = create_key(context, key, Kind::Text);
            effects.push(created);
            (number, None)
        }
    };
    effects.push(Effect::TextSet { key: number, value });
    let at_ms = match expiry {
        SetExpiry::Keep => held_expiry,
        SetExpiry::Clear => None,
        SetExpiry::At(at_ms) => Some(at_ms),
    };
    if at_ms != held_expiry {
        effects.push(Effect::KeyExpires { key: number, at_ms });
    }
    Ok(effects)
}

/// Keeps strings within their memory: those that expire go first, nearest first; streams never do.
fn make_room<'a>(
    context: Context<'_>,
    key: Key<'_>,
    len: usize,
    found: Option<(KeyNumber, &Object)>,
) -> Result<Vec<Effect<'a>>, Error> {
    let keys = &context.machine.keys;
    let size = |object: &Object| match &object.value {
        Value::Text(value) => (value.len() + object.name.len()) as u64,
        Value::Stream(_) => 0,
    };
    let mut bytes = keys.text_bytes() + (len + key.name.len()) as u64;
    bytes -= found.map_or(0, |(_, object)| size(object));
    let mut effects = Vec::new();
    let itself = found.map(|(number, _)| number);
    for (_, number) in keys.iter_expiring() {
        if bytes <= context.text_bytes_max {
            break;
        }
        let freed = keys.get(number).map_or(0, size);
        if Some(number) != itself && freed > 0 {
            effects.push(Effect::KeyRemoved { key: number });
            bytes -= freed;
        }
    }
    if bytes > context.text_bytes_max { Err(Error::OutOfMemory) } else { Ok(effects) }
}
