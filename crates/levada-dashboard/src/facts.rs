//! What replies say: names and values in turn, entries, numbers. A reply of another shape is what a
//! server that is no server of streams gives, and shows as nothing.

use redis::Value;

/// Field names and values of an entry.
pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// An entry of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    /// Nothing for an entry that is gone.
    pub(crate) fields: Fields,
}

/// Names and values that a server gives in turn.
#[derive(Default)]
pub(crate) struct Facts(Vec<(String, Value)>);

impl Facts {
    pub(crate) fn new(value: Value) -> Self {
        let pairs: Vec<_> = match value {
            Value::Map(pairs) => pairs,
            other => in_twos(list(other)),
        };
        Self(pairs.into_iter().map(|(name, value)| (string(&name), value)).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// `None` where it is missing, nil, or no number.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(number)
    }

    /// Empty where it is missing.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.get(name).map(bytes).unwrap_or_default()
    }

    pub(crate) fn string(&self, name: &str) -> String {
        self.get(name).map(string).unwrap_or_default()
    }
}

fn in_twos<T>(values: Vec<T>) -> Vec<(T, T)> {
    let mut values = values.into_iter();
    let mut pairs = Vec::new();
    while let (Some(name), Some(value)) = (values.next(), values.next()) {
        pairs.push((name, value));
    }
    pairs
}

/// The items of an array; of anything else nothing.
pub(crate) fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) | Value::Set(items) => items,
        _ => Vec::new(),
    }
}

pub(crate) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Nil => None,
        other => string(other).parse().ok(),
    }
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes.clone(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone().into_bytes(),
        Value::Int(number) => number.to_string().into_bytes(),
        Value::Okay => b"OK".to_vec(),
        _ => Vec::new(),
    }
}

pub(crate) fn string(value: &Value) -> String {
    String::from_utf8_lossy(&bytes(value)).into_owned()
}

/// Entries as XRANGE gives them.
pub(crate) fn entries(value: Value) -> Vec<Entry> {
    let entry = |value| {
        let mut parts = list(value).into_iter();
        let id = string(&parts.next().unwrap_or_default());
        let fields = in_twos(list(parts.next().unwrap_or_default()));
        let fields = fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
        Entry { id, fields }
    };
    list(value).into_iter().map(entry).collect()
}

/// The names that SCAN found, and its next cursor.
pub(crate) fn scanned(value: Value) -> (Vec<Vec<u8>>, String) {
    let mut parts = list(value).into_iter();
    let cursor = string(&parts.next().unwrap_or_default());
    let names = list(parts.next().unwrap_or_default()).iter().map(bytes).collect();
    (names, cursor)
}

/// One line of INFO.
pub(crate) fn info<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn facts_are_found_by_their_names() {
        let facts = Facts::new(Value::Array(vec![bulk("lag"), Value::Nil, bulk("n"), bulk("7")]));
        assert_eq!(
            (facts.number("lag"), facts.number("n"), facts.number("x")),
            (None, Some(7), None)
        );
        assert_eq!(facts.bytes("n"), b"7");
    }

    #[test]
    fn entries_keep_their_bytes() {
        let fields = Value::Array(vec![bulk("a"), Value::BulkString(vec![0xff])]);
        let reply = Value::Array(vec![Value::Array(vec![bulk("1-0"), fields])]);
        let fields = vec![(b"a".to_vec(), vec![0xff])];
        assert_eq!(entries(reply), [Entry { id: "1-0".to_owned(), fields }]);
        assert_eq!(entries(Value::Nil), []);
    }

    #[test]
    fn lines_of_info_are_found() {
        let text = "# Stats\r\nused:1\r\nused_memory:7\r\n";
        assert_eq!(info(text, "used_memory"), Some("7"));
        assert_eq!(info(text, "memory"), None);
    }
}
