//! Replies as values of ours, in RESP2's shapes and RESP3's.

use redis::Value;

use crate::backend::GroupFacts;
use crate::error::{Error, Result};
use crate::message::{Entry, Fields, MessageId};

/// A row of XPENDING.
pub(super) struct PendingRow {
    pub(super) id: MessageId,
    pub(super) count: u64,
}

pub(super) fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes.clone()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => {
            Some(text.clone().into_bytes())
        }
        Value::Int(number) => Some(number.to_string().into_bytes()),
        Value::Okay => Some(b"OK".to_vec()),
        _ => None,
    }
}

/// The same without a copy where there need not be one.
fn into_bytes(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        other => bytes_of(&other).ok_or_else(|| Error::protocol(other)),
    }
}

pub(super) fn text_of(value: &Value) -> Option<String> {
    String::from_utf8(bytes_of(value)?).ok()
}

pub(super) fn integer(value: &Value) -> Result<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::Boolean(yes) => Ok(i64::from(*yes)),
        other => {
            let number = text_of(other).and_then(|text| text.parse().ok());
            number.ok_or_else(|| Error::protocol(other))
        }
    }
}

pub(super) fn count(value: &Value) -> Result<u64> {
    Ok(u64::try_from(integer(value)?).unwrap_or(0))
}

/// TIME in milliseconds.
pub(super) fn unix_ms(value: Value) -> Result<u64> {
    match list(value)?.as_slice() {
        [seconds, micros] => Ok(count(seconds)? * 1000 + count(micros)? / 1000),
        other => Err(Error::protocol(other)),
    }
}

/// The score of the first member that a range over a sorted set answers, in milliseconds.
pub(super) fn first_score(value: Value) -> Result<Option<u64>> {
    let score = match list(value)?.as_slice() {
        [] => return Ok(None),
        // RESP3 has pairs, RESP2 what is in them.
        [Value::Array(pair), ..] => pair.get(1).cloned(),
        [_, score, ..] => Some(score.clone()),
        [_] => None,
    };
    let score = match &score {
        Some(Value::Double(score)) => Some(*score),
        Some(other) => text_of(other).and_then(|text| text.parse().ok()),
        None => None,
    };
    let score: f64 = score.ok_or_else(|| Error::protocol("no score"))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    Ok(Some(score as u64))
}

pub(super) fn id(value: &Value) -> Result<MessageId> {
    if let Value::BulkString(bytes) = value {
        return std::str::from_utf8(bytes).map_err(|_| Error::protocol(value))?.parse();
    }
    text_of(value).ok_or_else(|| Error::protocol(value))?.parse()
}

pub(super) fn list(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        Value::Nil => Ok(Vec::new()),
        other => Err(Error::protocol(other)),
    }
}

/// Names and values, a map or a flat list.
pub(super) fn pairs(value: Value) -> Result<Vec<(Value, Value)>> {
    if let Value::Map(pairs) = value {
        return Ok(pairs);
    }
    let flat = list(value)?;
    let mut pairs = Vec::with_capacity(flat.len() / 2);
    let mut flat = flat.into_iter();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// An id, and fields unless the entry was deleted.
pub(super) fn delivery(value: Value) -> Result<Option<(MessageId, Option<Fields>)>> {
    if value == Value::Nil {
        return Ok(None); // XCLAIM before Redis 7 says so of deleted entries.
    }
    let mut parts = list(value)?.into_iter();
    let (Some(first), fields) = (parts.next(), parts.next().unwrap_or(Value::Nil)) else {
        return Err(Error::protocol("an entry without an id"));
    };
    let fields = match fields {
        Value::Nil => None,
        flat => {
            let pair = |(name, value)| Ok((into_bytes(name)?, into_bytes(value)?));
            Some(Fields(pairs(flat)?.into_iter().map(pair).collect::<Result<_>>()?))
        }
    };
    Ok(Some((id(&first)?, fields)))
}

pub(super) fn deliveries(value: Value) -> Result<Vec<(MessageId, Option<Fields>)>> {
    list(value)?.into_iter().filter_map(|entry| delivery(entry).transpose()).collect()
}

pub(super) fn entries(value: Value) -> Result<Vec<Entry>> {
    let all = deliveries(value)?.into_iter();
    Ok(all.filter_map(|(id, fields)| Some(Entry { id, fields: fields? })).collect())
}

/// XREAD, XREADGROUP: names of streams and what stands in them.
pub(super) fn streams(value: Value) -> Result<Vec<(String, Value)>> {
    let named = |name: &Value| text_of(name).ok_or_else(|| Error::protocol(name));
    match value {
        Value::Nil => Ok(Vec::new()),
        Value::Map(pairs) => {
            pairs.into_iter().map(|(name, entries)| Ok((named(&name)?, entries))).collect()
        }
        other => list(other)?
            .into_iter()
            .map(|pair| match <[Value; 2]>::try_from(list(pair)?) {
                Ok([name, entries]) => Ok((named(&name)?, entries)),
                Err(other) => Err(Error::protocol(other)),
            })
            .collect(),
    }
}

/// XPENDING with a range.
pub(super) fn pending_rows(value: Value) -> Result<Vec<PendingRow>> {
    let row = |row: Value| match <[Value; 4]>::try_from(list(row)?) {
        Ok([entry, _, _, deliveries]) => {
            Ok(PendingRow { id: id(&entry)?, count: count(&deliveries)? })
        }
        Err(other) => Err(Error::protocol(other)),
    };
    list(value)?.into_iter().map(row).collect()
}

/// XINFO GROUPS, without the first pending ids.
pub(super) fn groups(value: Value) -> Result<Vec<GroupFacts>> {
    list(value)?.into_iter().map(group).collect()
}

fn group(value: Value) -> Result<GroupFacts> {
    let mut facts = GroupFacts {
        name: String::new(),
        consumers: 0,
        pending: 0,
        last_delivered: MessageId::MIN,
        first_pending: None,
        lag: None,
    };
    for (name, value) in pairs(value)? {
        match text_of(&name).unwrap_or_default().as_str() {
            "name" => facts.name = text_of(&value).unwrap_or_default(),
            "consumers" => facts.consumers = count(&value)?,
            "pending" => facts.pending = count(&value)?,
            "last-delivered-id" => facts.last_delivered = id(&value)?,
            "lag" => facts.lag = count(&value).ok(),
            _ => {}
        }
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn both_shapes_of_a_read_are_understood() {
        let entries = || Value::Array(vec![Value::Array(vec![bulk("1-0"), Value::Nil])]);
        let two = Value::Array(vec![Value::Array(vec![bulk("s"), entries()])]);
        let three = Value::Map(vec![(bulk("s"), entries())]);
        assert_eq!(streams(two).expect("RESP2"), streams(three).expect("RESP3"));
        let (id, fields) = delivery(Value::Array(vec![bulk("1-0"), Value::Nil]))
            .expect("an entry")
            .expect("not nil");
        assert_eq!((id, fields), (MessageId::at(1), None));
    }

    #[test]
    fn a_score_has_two_shapes() {
        let two = Value::Array(vec![bulk("m"), bulk("1767225600000")]);
        let pair = Value::Array(vec![bulk("m"), Value::Double(1_767_225_600_000.0)]);
        let ms = Some(1_767_225_600_000);
        assert_eq!(first_score(two).expect("RESP2"), ms);
        assert_eq!(first_score(Value::Array(vec![pair])).expect("RESP3"), ms);
        assert_eq!(first_score(Value::Array(Vec::new())).expect("none"), None);
        assert!(first_score(Value::Array(vec![bulk("m")])).is_err());
        let time = Value::Array(vec![bulk("1767225600"), bulk("999999")]);
        assert_eq!(unix_ms(time).expect("a time"), 1_767_225_600_999);
    }

    #[test]
    fn what_is_not_expected_is_an_error() {
        assert!(streams(Value::Int(1)).is_err());
        assert!(delivery(Value::Array(Vec::new())).is_err());
        assert!(pending_rows(Value::Array(vec![Value::Array(vec![bulk("1-0")])])).is_err());
    }
}
