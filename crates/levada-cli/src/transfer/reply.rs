//! Takes replies apart. What a server answers is not trusted: another shape is an error, not a
//! panic.

use anyhow::{Context as _, Result, bail};
use redis::Value;

use super::id::Id;

/// An array.
pub(crate) fn array(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Nil => bail!("nothing where an array should be"),
        other => bail!("{other:?} where an array should be"),
    }
}

/// An array of a given length.
pub(crate) fn tuple<const N: usize>(value: Value) -> Result<[Value; N]> {
    let values = array(value)?;
    let length = values.len();
    values.try_into().ok().with_context(|| format!("{length} values where {N} should be"))
}

/// A string of bytes.
pub(crate) fn bytes(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        other => bail!("{other:?} where a string should be"),
    }
}

/// An array of strings.
pub(crate) fn strings(value: Value) -> Result<Vec<Vec<u8>>> {
    array(value)?.into_iter().map(bytes).collect()
}

/// A number.
pub(crate) fn integer(value: &Value) -> Result<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::BulkString(text) => {
            let text = std::str::from_utf8(text).ok();
            text.and_then(|text| text.parse().ok()).context("text where a number should be")
        }
        other => bail!("{other:?} where a number should be"),
    }
}

/// A number that is not negative.
pub(crate) fn count(value: &Value) -> Result<u64> {
    u64::try_from(integer(value)?).context("a negative number where a count should be")
}

/// An id.
pub(crate) fn id(value: Value) -> Result<Id> {
    Id::parse(&bytes(value)?)
}

/// Pairs of names and values, in a flat array or a map.
pub(crate) struct Pairs(Vec<(Vec<u8>, Value)>);

impl Pairs {
    pub(crate) fn new(value: Value) -> Result<Self> {
        let pairs = match value {
            Value::Map(pairs) => pairs
                .into_iter()
                .map(|(name, value)| Ok((bytes(name)?, value)))
                .collect::<Result<_>>()?,
            other => {
                let mut values = array(other)?.into_iter();
                let mut pairs = Vec::new();
                while let (Some(name), Some(value)) = (values.next(), values.next()) {
                    pairs.push((bytes(name)?, value));
                }
                pairs
            }
        };
        Ok(Self(pairs))
    }

    /// All of them, in their order.
    pub(crate) fn all(self) -> Vec<(Vec<u8>, Value)> {
        self.0
    }

    /// Takes a value out; `None` where the server has no such pair, or nothing in it.
    pub(crate) fn find(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| known == name.as_bytes())?;
        Some(self.0.swap_remove(at).1).filter(|value| *value != Value::Nil)
    }

    /// Takes a value out that must be there.
    pub(crate) fn take(&mut self, name: &str) -> Result<Value> {
        self.find(name).with_context(|| format!("there is no {name} in the reply"))
    }
}
