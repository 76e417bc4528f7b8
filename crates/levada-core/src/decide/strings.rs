//! Strings: the caches, locks and counters that stand beside a stream.

use alloc::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use core::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use super::{Context, Decided, Decision, create, integer};
use crate::{
    command::{Command, Compare, Key, Mset, Set, SetExpiry},
    effect::{Effect, Kind},
    error::Error,
    extended::Extended,
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
        Command::Mset(asked) => mset(context, asked),
        Command::Delex(key, compare) => delex(context, *key, *compare),
        Command::Digest(key) => {
            let digest = text(context, *key)?.map(|value| hex_digest(value));
            Ok(Decision::answer(digest.map_or(Reply::Nil, |hex| Reply::Bytes(Arc::from(hex)))))
        }
        Command::Getdel(key) => {
            let reply = bytes_or_nil(text(context, *key)?);
            let number = context.machine.keys.number(*key);
            let effects = number.map(|key| Effect::KeyRemoved { key }).into_iter().collect();
            Ok(Decision { reply, effects })
        }
        Command::Getex(key, expiry) => getex(context, *key, *expiry),
        Command::Incrby(key, by) => incrby(context, *key, *by),
        Command::Incrbyfloat(key, by) => incrbyfloat(context, *key, *by),
        Command::Getrange(key, first, last) => {
            let held = text(context, *key)?.map_or(&[][..], |held| held);
            let range = byte_range(held.len(), *first, *last);
            Ok(Decision::answer(Reply::Bytes(held[range].into())))
        }
        Command::Setrange(key, offset, value) => setrange(context, *key, *offset, value),
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

/// INCRBYFLOAT key n
fn incrbyfloat<'a>(context: Context<'_>, key: Key<'a>, by: Extended) -> Decided<'a> {
    let held = match text(context, key)? {
        None => Extended::ZERO,
        Some(value) => Extended::parse(value).ok_or(Error::NotFloat)?,
    };
    let sum = held.checked_add(by).ok_or(Error::SumNotFinite)?.to_decimal();
    let reply = Reply::Bytes(sum.as_slice().into());
    let effects = write(context, key, sum.into(), SetExpiry::Keep)?;
    Ok(Decision { reply, effects })
}

/// SETRANGE key offset value
fn setrange<'a>(context: Context<'_>, key: Key<'a>, offset: u64, value: &[u8]) -> Decided<'a> {
    let held = text(context, key)?.map_or(&[][..], |held| held);
    if value.is_empty() {
        return Ok(Decision::answer(integer(held.len() as u64)));
    }
    let end = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(value.len()));
    let end = end.filter(|end| *end <= limits::STRING_BYTES_MAX).ok_or(Error::StringTooLong)?;
    let mut changed = held.to_vec();
    changed.resize(end.max(held.len()), 0);
    changed[end - value.len()..end].copy_from_slice(value);
    let reply = integer(changed.len() as u64);
    let effects = write(context, key, changed.into(), SetExpiry::Keep)?;
    Ok(Decision { reply, effects })
}

/// The bytes that GETRANGE asks for.
fn byte_range(len: usize, first: i64, last: i64) -> Range<usize> {
    let from_end = |place: i64| match usize::try_from(place) {
        Ok(place) => place,
        Err(_) => len.saturating_sub(usize::try_from(place.unsigned_abs()).unwrap_or(len)),
    };
    let (start, end) = (from_end(first), from_end(last).saturating_add(1).min(len));
    if (first < 0 && last < 0 && first > last) || start >= end { 0..0 } else { start..end }
}

/// APPEND key value
fn append<'a>(context: Context<'_>, key: Key<'a>, more: &'a [u8]) -> Decided<'a> {
    let len = text(context, key)?.map_or(0, |held| held.len()) + more.len();
    let reply = integer(len as u64);
    let Some(number) = context.machine.keys.number(key) else {
        let effects = write(context, key, more.into(), SetExpiry::Keep)?;
        return Ok(Decision { reply, effects });
    };
    let mut effects = make_room(context, &[(key, len)])?;
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

/// SET key value \[NX|XX|IFEQ value|IFNE value|IFDEQ digest|IFDNE digest] \[GET] \[expiry]
fn decide_set<'a>(context: Context<'_>, set: &Set<'a>) -> Decided<'a> {
    let held = match text(context, set.key) {
        Err(error) if set.get => return Err(error.into()),
        held => held.ok().flatten(),
    };
    let there = context.machine.keys.number(set.key).is_some();
    let allowed = match (set.when.exists, set.when.compare) {
        (Some(asked), _) if asked != there => false,
        (_, Some(Compare::Equals(_) | Compare::DigestEquals(_))) if !there => false,
        (_, Some(compare)) if there => matches(text(context, set.key)?, compare)?,
        _ => true,
    };
    let old = bytes_or_nil(held);
    if !allowed {
        return Ok(Decision::answer(if set.get { old } else { Reply::Nil }));
    }
    let effects = write(context, set.key, set.value.into(), set.expiry)?;
    Ok(Decision { reply: if set.get { old } else { Reply::Ok }, effects })
}

/// DELEX key IFEQ value|IFNE value|IFDEQ digest|IFDNE digest
fn delex<'a>(context: Context<'_>, key: Key<'_>, compare: Option<Compare<'_>>) -> Decided<'a> {
    let held = text(context, key).map_err(|_| Error::NotString)?;
    let Some(number) = context.machine.keys.number(key) else {
        return Ok(Decision::answer(Reply::Integer(0)));
    };
    let effects = match matches(held, compare.ok_or(Error::ConditionUnknown)?)? {
        true => Vec::from([Effect::KeyRemoved { key: number }]),
        false => Vec::new(),
    };
    Ok(Decision { reply: integer(effects.len() as u64), effects })
}

/// Whether a string that is there is what is asked for.
fn matches(held: Option<&Arc<[u8]>>, compare: Compare<'_>) -> Result<bool, Error> {
    let held = held.map_or(&[][..], |held| held);
    let has_digest = |digest: &[u8]| match digest.len() {
        DIGEST_LEN => Ok(hex_digest(held).eq_ignore_ascii_case(digest)),
        _ => Err(Error::DigestLength),
    };
    match compare {
        Compare::Equals(value) => Ok(held == value),
        Compare::Differs(value) => Ok(held != value),
        Compare::DigestEquals(digest) => has_digest(digest),
        Compare::DigestDiffers(digest) => has_digest(digest).map(|same| !same),
    }
}

/// Hexadecimal digits of a digest.
const DIGEST_LEN: usize = 16;

/// XXH3 of 64 bits, in hexadecimal digits: what DIGEST answers.
fn hex_digest(value: &[u8]) -> [u8; DIGEST_LEN] {
    let digest = xxh3_64(value);
    core::array::from_fn(|at| {
        let nibble = digest >> (60 - 4 * at) & 0xf;
        b"0123456789abcdef"[nibble as usize]
    })
}

/// MSET, MSETNX, MSETEX
fn mset<'a>(context: Context<'_>, asked: &Mset<'a>) -> Decided<'a> {
    let keys = &context.machine.keys;
    let there = |(key, _): &(Key<'_>, &[u8])| keys.number(*key).is_some();
    if asked.exists.is_some_and(|exists| asked.pairs.iter().any(|pair| there(pair) != exists)) {
        return Ok(Decision::answer(Reply::Integer(0)));
    }
    // The last value of a key that is named twice counts.
    let mut last = BTreeMap::new();
    for (at, (key, _)) in asked.pairs.iter().enumerate() {
        last.insert((key.database, key.name), at);
    }
    let counts = |(at, (key, value)): (usize, &(Key<'a>, &'a [u8]))| {
        (last.get(&(key.database, key.name)) == Some(&at)).then_some((*key, *value))
    };
    let pairs: Vec<_> = asked.pairs.iter().enumerate().filter_map(counts).collect();
    let sizes: Vec<_> = pairs.iter().map(|(key, value)| (*key, value.len())).collect();
    let mut effects = make_room(context, &sizes)?;
    let mut next = keys.next_number();
    for (key, value) in pairs {
        let mut writes = put(context, key, value.into(), asked.expiry);
        renumber(&mut writes, keys.next_number(), &mut next);
        effects.extend(writes);
    }
    Ok(Decision { reply: Reply::Integer(1), effects })
}

/// Gives every new key of one command a number of its own.
fn renumber(effects: &mut [Effect<'_>], proposed: KeyNumber, next: &mut KeyNumber) {
    let mut used = false;
    for effect in effects {
        if let Effect::KeyCreated { key, .. }
        | Effect::TextSet { key, .. }
        | Effect::KeyExpires { key, .. } = effect
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
    let mut effects = make_room(context, &[(key, value.len())])?;
    effects.extend(put(context, key, value, expiry));
    Ok(effects)
}

/// The same without making room.
fn put<'a>(
    context: Context<'_>,
    key: Key<'a>,
    value: Cow<'a, [u8]>,
    expiry: SetExpiry,
) -> Vec<Effect<'a>> {
    let mut effects = Vec::new();
    let (number, held_expiry) = match context.machine.keys.find(key) {
        Some((number, object)) if matches!(object.value, Value::Text(_)) => {
            (number, object.expires_at_ms)
        }
        other => {
            effects.extend(other.map(|(key, _)| Effect::KeyRemoved { key }));
            let (number, created) = create::key(context, key, Kind::Text);
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
    effects
}

/// Keeps strings within their memory when these keys get values of these lengths: those that
/// expire go first, nearest first, but none that is written; streams never do.
fn make_room<'a>(
    context: Context<'_>,
    writes: &[(Key<'_>, usize)],
) -> Result<Vec<Effect<'a>>, Error> {
    if writes.iter().any(|(_, len)| *len > limits::STRING_BYTES_MAX) {
        return Err(Error::StringTooLong);
    }
    let keys = &context.machine.keys;
    let size = |object: &Object| match &object.value {
        Value::Text(value) => (value.len() + object.name.len()) as u64,
        Value::Stream(_) => 0,
    };
    let mut bytes = keys.text_bytes();
    let mut written = BTreeSet::new();
    for (key, len) in writes {
        bytes += (len + key.name.len()) as u64;
        if let Some((number, object)) = keys.find(*key) {
            bytes -= size(object);
            written.insert(number);
        }
    }
    let mut effects = Vec::new();
    for (_, number) in keys.iter_expiring() {
        if bytes <= context.text_bytes_max {
            break;
        }
        let freed = keys.get(number).map_or(0, size);
        if freed > 0 && !written.contains(&number) {
            effects.push(Effect::KeyRemoved { key: number });
            bytes -= freed;
        }
    }
    if bytes > context.text_bytes_max { Err(Error::OutOfMemory) } else { Ok(effects) }
}
