//! The pairs of a query or a form, byte for byte: names of streams need not be text.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode, percent_encode};

/// Names and values as they came.
#[derive(Default, Debug)]
pub(crate) struct Pairs(Vec<(String, Vec<u8>)>);

impl Pairs {
    /// Of `a=b&c=d`, with `%` and `+`.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let decode = |part: &[u8]| -> Vec<u8> {
            let spaced: Vec<u8> =
                part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            percent_decode(&spaced).collect()
        };
        let pair = |part: &[u8]| {
            let at = part.iter().position(|byte| *byte == b'=');
            let (name, value) = part.split_at(at.unwrap_or(part.len()));
            let value = value.strip_prefix(b"=").unwrap_or_default();
            (String::from_utf8_lossy(&decode(name)).into_owned(), decode(value))
        };
        let parts = text.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
        Self(parts.map(pair).collect())
    }

    /// Of the query of an address. What stands in its `at` are pairs of their own: forms carry
    /// names there, since a browser sends only text in a field, with other line breaks.
    pub(crate) fn of_query(text: &[u8]) -> Self {
        let mut pairs = Self::parse(text);
        let more = Self::parse(pairs.get("at"));
        pairs.0.extend(more.0);
        pairs
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first of this name; empty without one.
    pub(crate) fn get(&self, name: &str) -> &[u8] {
        self.all(name).next().unwrap_or_default()
    }

    /// The same as text without what surrounds it.
    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.get(name)).trim().to_owned()
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// A link with pairs behind it.
pub(crate) fn link(path: &str, pairs: &[(&str, &[u8])]) -> String {
    format!("{path}?{}", joined(pairs))
}

/// Pairs as text of letters, digits and `%=&` only.
pub(crate) fn joined(pairs: &[(&str, &[u8])]) -> String {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", percent_encode(value, NON_ALPHANUMERIC)))
        .collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_goes_there_and_back() {
        let all: Vec<u8> = (0..=255).collect();
        let link = link("/x", &[("key", &all), ("b", b"")]);
        let pairs = Pairs::parse(link.strip_prefix("/x?").expect("it begins so").as_bytes());
        assert_eq!(pairs.get("key"), all);
        assert_eq!((pairs.get("b"), pairs.get("c")), (&b""[..], &b""[..]));
        let at = joined(&[("at", joined(&[("key", &all)]).as_bytes()), ("b", b"1")]);
        let pairs = Pairs::of_query(at.as_bytes());
        assert_eq!((pairs.get("key"), pairs.get("b")), (&*all, &b"1"[..]));
        let pairs = Pairs::parse(b"id=1-0&id=2%2D0&a=b+c&flag&%zz=1");
        assert_eq!(pairs.all("id").collect::<Vec<_>>(), [b"1-0", b"2-0"]);
        assert_eq!((pairs.text("a"), pairs.text("%zz")), ("b c".to_owned(), "1".to_owned()));
    }
}
