//! The notation of an expected reply: reading it, and matching a reply against it.
//!
//! Every literal is exact, type included; the only slack is what a wildcard names. The grammar is
//! in `tests/transcripts/README.md`.

use anyhow::{Context as _, Result, bail, ensure};

use super::reply::Reply;
use super::words::{Captures, double_quoted};

/// An expected reply.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pattern {
    /// This scalar and no other.
    Exact(Reply),
    /// An error whose text starts so (`-ERR unknown command<any>`).
    ErrorStart(Vec<u8>),
    /// `[a b]`, `set[a b]`, `push[a b]`; `open` when it ends in `...`.
    List { shape: Shape, items: Vec<Pattern>, open: bool },
    /// `any-order[a b]`: an array or set of these in whatever order.
    Unordered(Vec<Pattern>),
    /// `{k: v}`: a RESP3 map of exactly these pairs in this order.
    Map(Vec<(Pattern, Pattern)>),
    /// `has{k: v}`: a map or a flat array in which these pairs occur among others.
    Pairs(Vec<(Pattern, Pattern)>),
    /// `<kind>` or `<kind:name>`, which keeps what it matched under the name.
    Wildcard { kind: Kind, name: Option<String> },
    /// `<=name>`: the text kept under the name, again.
    Again(String),
}

/// Which RESP aggregate a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Array,
    Set,
    Push,
}

/// What a wildcard accepts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Any reply at all, errors excepted.
    Any,
    /// Any integer.
    Integer,
    /// An integer within these bounds, both included.
    Range(i64, i64),
    /// A bulk string of the form `digits-digits`.
    Id,
    /// Any bulk string.
    Bulk,
    /// Any array, also an empty one.
    Array,
    /// A bulk or verbatim string that contains each of these texts.
    Has(Vec<Vec<u8>>),
}

impl Pattern {
    /// Reads the whole of `text`. Fails when anything is left over.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Some(pattern) = parse_bare_line(text) {
            return Ok(pattern);
        }
        let mut source = Source { bytes: text.as_bytes(), at: 0 };
        let pattern = source.value()?;
        source.skip_blanks();
        ensure!(source.at == source.bytes.len(), "left over: {}", source.rest());
        Ok(pattern)
    }

    /// Whether `reply` is what is expected; captures are updated on the way.
    pub(crate) fn matches(&self, reply: &Reply, captures: &mut Captures) -> bool {
        match (self, reply) {
            (Self::Exact(expected), reply) => expected == reply,
            (Self::ErrorStart(start), Reply::Error(text)) => text.starts_with(start),
            (Self::List { shape: Shape::Array, items, open }, Reply::Array(values))
            | (Self::List { shape: Shape::Set, items, open }, Reply::Set(values))
            | (Self::List { shape: Shape::Push, items, open }, Reply::Push(values)) => {
                list_matches(items, *open, values, captures)
            }
            (Self::Unordered(items), Reply::Array(values) | Reply::Set(values)) => {
                unordered_matches(items, values, captures)
            }
            (Self::Map(pairs), Reply::Map(values)) => {
                pairs.len() == values.len()
                    && pairs.iter().zip(values).all(|((key, value), (got_key, got_value))| {
                        key.matches(got_key, captures) && value.matches(got_value, captures)
                    })
            }
            (Self::Pairs(pairs), Reply::Map(values)) => {
                let values: Vec<_> = values.iter().map(|(key, value)| (key, value)).collect();
                pairs_match(pairs, &values, captures)
            }
            (Self::Pairs(pairs), Reply::Array(values)) => {
                let values: Vec<_> = values.chunks_exact(2).map(|two| (&two[0], &two[1])).collect();
                pairs_match(pairs, &values, captures)
            }
            (Self::Wildcard { kind, name }, reply) => {
                let matched = kind.accepts(reply);
                if let (true, Some(name)) = (matched, name) {
                    captures.insert(name.clone(), as_text(reply));
                }
                matched
            }
            (Self::Again(name), reply) => captures.get(name) == Some(&as_text(reply)),
            _ => false,
        }
    }
}

impl Kind {
    fn accepts(&self, reply: &Reply) -> bool {
        match (self, reply) {
            (Self::Any, Reply::Error(_)) => false,
            (Self::Any, _)
            | (Self::Integer, Reply::Integer(_))
            | (Self::Bulk, Reply::Bulk(_))
            | (Self::Array, Reply::Array(_)) => true,
            (Self::Range(low, high), Reply::Integer(number)) => (low..=high).contains(&number),
            (Self::Id, Reply::Bulk(text)) => is_id(text),
            (Self::Has(needles), Reply::Bulk(text) | Reply::Verbatim(text)) => {
                needles.iter().all(|needle| contains(text, needle))
            }
            _ => false,
        }
    }
}

fn list_matches(items: &[Pattern], open: bool, values: &[Reply], captures: &mut Captures) -> bool {
    let enough = if open { values.len() >= items.len() } else { values.len() == items.len() };
    enough && items.iter().zip(values).all(|(item, value)| item.matches(value, captures))
}

fn unordered_matches(items: &[Pattern], values: &[Reply], captures: &mut Captures) -> bool {
    let mut left: Vec<&Reply> = values.iter().collect();
    items.iter().all(|item| {
        let found = left.iter().position(|value| item.matches(value, captures));
        found.map(|at| left.swap_remove(at)).is_some()
    }) && left.is_empty()
}

fn pairs_match(
    pairs: &[(Pattern, Pattern)],
    values: &[(&Reply, &Reply)],
    captures: &mut Captures,
) -> bool {
    pairs.iter().all(|(key, value)| {
        let found = values.iter().find(|(got, _)| key.matches(got, &mut Captures::new()));
        found.is_some_and(|(_, got)| value.matches(got, captures))
    })
}

fn as_text(reply: &Reply) -> Vec<u8> {
    match reply {
        Reply::Integer(number) => number.to_string().into_bytes(),
        other => other.text().unwrap_or_default().to_vec(),
    }
}

fn is_id(text: &[u8]) -> bool {
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let dash = text.iter().position(|&byte| byte == b'-');
    dash.is_some_and(|dash| digits(&text[..dash]) && digits(&text[dash + 1..]))
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || text.windows(needle.len()).any(|window| window == needle)
}

/// `+OK` and `-ERR some text` at the top level need no quotes: the text is the rest of the line.
fn parse_bare_line(text: &str) -> Option<Pattern> {
    let (kind, rest) = text.split_at_checked(1)?;
    let first = *rest.as_bytes().first()?;
    match kind {
        "+" if first != b'"' => Some(Pattern::Exact(Reply::Simple(rest.into()))),
        "-" if first != b'"' && !first.is_ascii_digit() => Some(match rest.strip_suffix("<any>") {
            Some(start) => Pattern::ErrorStart(start.into()),
            None => Pattern::Exact(Reply::Error(rest.replace("<space>", " ").into())),
        }),
        _ => None,
    }
}

/// A position in the text of one pattern.
struct Source<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Source<'_> {
    fn value(&mut self) -> Result<Pattern> {
        self.skip_blanks();
        for (prefix, shape) in [("[", Shape::Array), ("set[", Shape::Set), ("push[", Shape::Push)] {
            if self.take(prefix) {
                let (items, open) = self.items()?;
                return Ok(Pattern::List { shape, items, open });
            }
        }
        if self.take("any-order[") {
            let (items, open) = self.items()?;
            ensure!(!open, "... has no meaning in any-order[]");
            return Ok(Pattern::Unordered(items));
        }
        if self.take("{") {
            return Ok(Pattern::Map(self.pairs()?));
        }
        if self.take("has{") {
            return Ok(Pattern::Pairs(self.pairs()?));
        }
        if self.take("<") {
            return self.wildcard();
        }
        self.scalar().map(Pattern::Exact)
    }

    fn scalar(&mut self) -> Result<Reply> {
        for (prefix, make) in [
            ("\"", Reply::Bulk as fn(Vec<u8>) -> Reply),
            ("txt\"", Reply::Verbatim),
            ("+\"", Reply::Simple),
            ("-\"", Reply::Error),
        ] {
            if self.take(prefix) {
                let mut text = Vec::new();
                self.at = double_quoted(self.bytes, self.at, &mut text)?;
                return Ok(make(text));
            }
        }
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(|&b| !b.is_ascii_whitespace() && !is_mark(b)) {
            self.at += 1;
        }
        let word = std::str::from_utf8(&self.bytes[start..self.at])?;
        Ok(match word {
            "nil" => Reply::NullBulk,
            "nil-array" => Reply::NullArray,
            "null" => Reply::Null,
            "true" => Reply::Boolean(true),
            "false" => Reply::Boolean(false),
            _ => match word.split_at_checked(1) {
                Some(("+", text)) => Reply::Simple(text.into()),
                Some((",", text)) => Reply::Double(text.into()),
                _ => Reply::Integer(word.parse().with_context(|| format!("what is {word:?}?"))?),
            },
        })
    }

    /// The items of a list behind its opening bracket, and whether it ends in `...`.
    fn items(&mut self) -> Result<(Vec<Pattern>, bool)> {
        let mut items = Vec::new();
        loop {
            self.skip_blanks();
            if self.take("]") {
                return Ok((items, false));
            }
            if self.take("...") {
                self.skip_blanks();
                ensure!(self.take("]"), "... must be the last item of a list");
                return Ok((items, true));
            }
            ensure!(self.at < self.bytes.len(), "a [ is not closed");
            items.push(self.value()?);
        }
    }

    /// The pairs of a map behind its opening brace.
    fn pairs(&mut self) -> Result<Vec<(Pattern, Pattern)>> {
        let mut pairs = Vec::new();
        loop {
            self.skip_blanks();
            if self.take("}") {
                return Ok(pairs);
            }
            ensure!(self.at < self.bytes.len(), "a {{ is not closed");
            let key = self.value()?;
            self.skip_blanks();
            ensure!(self.take(":"), "a key needs a colon and a value: {}", self.rest());
            pairs.push((key, self.value()?));
        }
    }

    /// A wildcard behind its opening `<`.
    fn wildcard(&mut self) -> Result<Pattern> {
        if self.take("has") {
            return Ok(Pattern::Wildcard { kind: Kind::Has(self.needles()?), name: None });
        }
        let length = self.bytes[self.at..].iter().position(|&byte| byte == b'>');
        let length = length.context("a < is not closed")?;
        let inside = std::str::from_utf8(&self.bytes[self.at..self.at + length])?;
        self.at += length + 1;
        if let Some(name) = inside.strip_prefix('=') {
            return Ok(Pattern::Again(name.to_owned()));
        }
        let (kind, name) = match inside.split_once(':') {
            Some((kind, name)) => (kind, Some(name.to_owned())),
            None => (inside, None),
        };
        let kind = match (kind, kind.split_once("..")) {
            ("any", _) => Kind::Any,
            ("int", _) => Kind::Integer,
            ("id", _) => Kind::Id,
            ("bulk", _) => Kind::Bulk,
            ("array", _) => Kind::Array,
            (_, Some((low, high))) => Kind::Range(low.parse()?, high.parse()?),
            _ => bail!("unknown wildcard <{inside}>"),
        };
        Ok(Pattern::Wildcard { kind, name })
    }

    /// The quoted texts of `<has "a" "b">` behind the word.
    fn needles(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut needles = Vec::new();
        loop {
            self.skip_blanks();
            if self.take(">") {
                ensure!(!needles.is_empty(), "<has> needs a text");
                return Ok(needles);
            }
            ensure!(self.take("\""), "<has> takes quoted texts: {}", self.rest());
            let mut needle = Vec::new();
            self.at = double_quoted(self.bytes, self.at, &mut needle)?;
            needles.push(needle);
        }
    }

    fn take(&mut self, prefix: &str) -> bool {
        let taken = self.bytes[self.at..].starts_with(prefix.as_bytes());
        self.at += if taken { prefix.len() } else { 0 };
        taken
    }

    fn skip_blanks(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn rest(&self) -> String {
        String::from_utf8_lossy(&self.bytes[self.at..]).into_owned()
    }
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, b'[' | b']' | b'{' | b'}' | b':' | b'<' | b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, wire: &str, expect: bool) {
        let wire = wire.replace(' ', "\r\n") + "\r\n";
        let reply = Reply::read(&mut wire.as_bytes()).unwrap();
        let matched = Pattern::parse(pattern).unwrap().matches(&reply, &mut Captures::new());
        assert_eq!(matched, expect, "{pattern} against {wire:?}");
    }

    #[test]
    fn literals_are_exact_in_type_and_value() {
        check("+OK", "+OK", true);
        check("\"OK\"", "+OK", false);
        check("-ERR", "-ERR", true);
        check("-1", ":-1", true);
        check("nil", "$-1", true);
        check("nil", "*-1", false);
        check("nil-array", "*-1", true);
        check("nil", "_", false);
        check("[1 \"a\"]", "*2 :1 $1 a", true);
        check("[1 \"a\"]", "*3 :1 $1 a :2", false);
        check("[1]", "~1 :1", false);
        check("{\"a\": 1}", "%1 $1 a :1", true);
        check("{\"a\": 1}", "*2 $1 a :1", false);
        check("push[+a]", ">1 +a", true);
    }

    #[test]
    fn wildcards_accept_what_they_name_and_no_more() {
        check("<any>", "-ERR", false);
        check("<int>", "$1 1", false);
        check("<0..9>", ":9", true);
        check("<0..9>", ":10", false);
        check("<id>", "$3 1-1", true);
        check("<id>", "$3 1-a", false);
        check("[1 ...]", "*3 :1 :2 :3", true);
        check("[1 2 ...]", "*1 :1", false);
        check("any-order[1 2]", "*2 :2 :1", true);
        check("any-order[1 1]", "*2 :2 :1", false);
        check("has{\"b\": 2}", "*4 $1 a :1 $1 b :2", true);
        check("has{\"b\": 1}", "%2 $1 a :1 $1 b :2", false);
        check("<has \"b\" \"d\">", "$4 abcd", true);
        check("<has \"x\">", "$4 abcd", false);
        check("[<int:n> <=n>]", "*2 :5 :5", true);
        check("[<int:n> <=n>]", "*2 :5 :6", false);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["[1", "{1 2}", "<what>", "1 2", "nul", "[... 1]", "<has >"] {
            assert!(Pattern::parse(text).is_err(), "{text} was accepted");
        }
    }
}
