//! What several stream commands read in the same way: trims, ids and ranges.

use levada_core::command::{References, Trim, TrimKeep};
use levada_core::id::{StreamId, parse_u64};

use crate::number::parse_i64;
use crate::wire_error::WireError;

/// Options of a trim as they come.
#[derive(Default, Debug)]
pub(crate) struct TrimOptions {
    keep: Option<TrimKeep>,
    approximate: bool,
    limit: Option<u64>,
    references: Option<References>,
}

impl TrimOptions {
    /// Reads an option off the head of `args`: how many arguments it took, 0 if it is none.
    pub(crate) fn take(&mut self, args: &[&[u8]]) -> Result<usize, WireError> {
        let [word, rest @ ..] = args else {
            return Ok(0);
        };
        if self.references.is_none()
            && let Some(references) = references(word)
        {
            self.references = Some(references);
            return Ok(1);
        }
        if rest.is_empty() {
            return Ok(0);
        }
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"LIMIT") {
            let limit = parse_i64(rest[0]).ok_or(WireError::NOT_INTEGER)?;
            self.limit = Some(u64::try_from(limit).map_err(|_| WireError::LIMIT_NEGATIVE)?);
            return Ok(2);
        }
        if !is(b"MAXLEN") && !is(b"MINID") {
            return Ok(0);
        }
        if self.keep.is_some() {
            return Err(WireError::TRIM_TWICE);
        }
        let sign = matches!(rest, [[b'~' | b'='], _, ..]);
        self.approximate = sign && rest[0] == b"~";
        let threshold = rest[usize::from(sign)];
        self.keep = Some(if is(b"MAXLEN") {
            let length = parse_i64(threshold).ok_or(WireError::NOT_INTEGER)?;
            TrimKeep::MaxLen(u64::try_from(length).map_err(|_| WireError::MAXLEN_NEGATIVE)?)
        } else {
            TrimKeep::MinId(id(threshold)?)
        });
        Ok(2 + usize::from(sign))
    }

    /// The trim of a command that is nothing without one.
    pub(crate) fn finish_required(self) -> Result<Trim, WireError> {
        let asked = self.keep.is_some() || self.limit.is_some_and(|limit| limit > 0);
        if asked {
            self.finish()?.ok_or(WireError::TRIM_MISSING)
        } else {
            Err(WireError::TRIM_MISSING)
        }
    }

    /// The trim, if one was asked for. `LIMIT 0` is no limit, and Redis' words for one that stands
    /// alone are those for a missing `~`.
    pub(crate) fn finish(self) -> Result<Option<Trim>, WireError> {
        let Some(keep) = self.keep else {
            return match self.limit {
                Some(0) => Err(WireError::LIMIT_WITHOUT_TILDE),
                Some(_) => Err(WireError::LIMIT_WITHOUT_TRIM),
                None => Ok(None),
            };
        };
        if self.limit.is_some() && !self.approximate {
            return Err(WireError::LIMIT_WITHOUT_TILDE);
        }
        let references = self.references;
        Ok(Some(Trim { keep, approximate: self.approximate, limit: self.limit, references }))
    }
}

/// KEEPREF, DELREF, ACKED.
fn references(word: &[u8]) -> Option<References> {
    let words = [
        (&b"KEEPREF"[..], References::Keep),
        (b"DELREF", References::Remove),
        (b"ACKED", References::Acked),
    ];
    words.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, found)| found)
}

/// What XDELEX and XACKDEL have in common: \[KEEPREF|DELREF|ACKED] IDS n id ...
#[derive(Debug)]
pub(crate) struct Deletions<'a> {
    pub(crate) references: References,
    /// The ids, not yet read.
    pub(crate) ids: &'a [&'a [u8]],
}

impl<'a> Deletions<'a> {
    /// Reads everything but the ids; the last IDS counts.
    pub(crate) fn parse(mut args: &'a [&'a [u8]]) -> Result<Self, WireError> {
        let (mut chosen, mut ids) = (None, None);
        while let [word, rest @ ..] = args {
            if chosen.is_none()
                && let Some(references) = references(word)
            {
                chosen = Some(references);
                args = rest;
                continue;
            }
            let (given, rest) = counted_ids(word, rest)?.ok_or(WireError::SYNTAX)?;
            ids = Some(given);
            args = rest;
        }
        let references = chosen.unwrap_or_default();
        Ok(Self { references, ids: ids.ok_or(WireError::IDS_MISSING)? })
    }
}

/// Some arguments, and those behind them.
type Split<'a> = (&'a [&'a [u8]], &'a [&'a [u8]]);

/// `IDS n id ...`, if `word` is IDS: the ids, and what follows them.
pub(crate) fn counted_ids<'a>(
    word: &[u8],
    rest: &'a [&'a [u8]],
) -> Result<Option<Split<'a>>, WireError> {
    let [count, rest @ ..] = rest else {
        return Ok(None);
    };
    if !word.eq_ignore_ascii_case(b"IDS") {
        return Ok(None);
    }
    let count = parse_i64(count).filter(|count| *count > 0).ok_or(WireError::IDS_NOT_POSITIVE)?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    rest.split_at_checked(count).map(Some).ok_or(WireError::IDS_MISCOUNTED)
}

/// An id; a missing sequence is 0.
pub(crate) fn id(text: &[u8]) -> Result<StreamId, WireError> {
    parse_id(text, 0).ok_or(WireError::INVALID_ID)
}

/// An id as Redis reads it; see [`loose_u64`].
pub(crate) fn parse_id(text: &[u8], seq_missing: u64) -> Option<StreamId> {
    // Nearly all are as they were given out: that is looked for before anything else.
    StreamId::parse(text, seq_missing).or_else(|| {
        let text = c_string(text);
        if let Some(id) = StreamId::parse(text, seq_missing) {
            return Some(id);
        }
        let dash = text.iter().position(|byte| *byte == b'-');
        let (ms, seq) = text.split_at_checked(dash.unwrap_or(text.len()))?;
        let seq = seq.get(1..).map_or(Some(seq_missing), loose_u64)?;
        Some(StreamId::new(loose_u64(ms)?, seq))
    })
}

/// What Redis sees of a word that it takes for a string of C.
pub(crate) fn c_string(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number of 64 bits as Redis reads it in ids and cursors. What is no number as it writes them
/// is read as C does: behind white space and a sign, a minus counting down from 2^64.
fn loose_u64(text: &[u8]) -> Option<u64> {
    let text = c_string(text);
    match parse_i64(text) {
        Some(number) => return u64::try_from(number).ok(),
        None if text.is_empty() => return None,
        None => {}
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !is_space(byte))?;
    match text.get(start..)? {
        [b'-', digits @ ..] => long_u64(digits).map(u64::wrapping_neg),
        [b'+', digits @ ..] | digits => long_u64(digits),
    }
}

/// Decimal digits, with zeros in front.
fn long_u64(digits: &[u8]) -> Option<u64> {
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    match digits.get(zeros..)? {
        [] if zeros > 0 => Some(0),
        digits => parse_u64(digits),
    }
}

/// Ids, all or none.
pub(crate) fn ids(args: &[&[u8]]) -> Result<Vec<StreamId>, WireError> {
    args.iter().map(|text| id(text)).collect()
}

/// The lower end of a range: `-`, an id, or `(` and an id; inclusive.
pub(crate) fn range_first(text: &[u8]) -> Result<StreamId, WireError> {
    match c_string(text) {
        [b'(', text @ ..] => {
            parse_id(text, 0).ok_or(WireError::INVALID_ID)?.next().ok_or(WireError::INVALID_START)
        }
        text => range_end(text, 0),
    }
}

/// The upper end of a range: `+`, an id, or `(` and an id; inclusive.
pub(crate) fn range_last(text: &[u8]) -> Result<StreamId, WireError> {
    match c_string(text) {
        [b'(', text @ ..] => parse_id(text, u64::MAX)
            .ok_or(WireError::INVALID_ID)?
            .previous()
            .ok_or(WireError::INVALID_END),
        text => range_end(text, u64::MAX),
    }
}

fn range_end(text: &[u8], seq_missing: u64) -> Result<StreamId, WireError> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        text => parse_id(text, seq_missing).ok_or(WireError::INVALID_ID),
    }
}

/// A signed number.
pub(crate) fn integer(text: &[u8]) -> Result<i64, WireError> {
    parse_i64(text).ok_or(WireError::NOT_INTEGER)
}

/// An unsigned number below 2^63.
pub(crate) fn unsigned(text: &[u8], negative: &WireError) -> Result<u64, WireError> {
    u64::try_from(integer(text)?).map_err(|_| negative.clone())
}

/// The cursor of a SCAN; see [`loose_u64`].
pub(crate) fn cursor(text: &[u8]) -> Result<u64, WireError> {
    loose_u64(text).ok_or(WireError::INVALID_CURSOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_loosely_as_redis_does() {
        let check = |text: &str, expect: Option<(u64, u64)>| {
            let expect = expect.map(|(ms, seq)| StreamId::new(ms, seq));
            assert_eq!(parse_id(text.as_bytes(), 7), expect, "{text}");
        };
        check("1-2", Some((1, 2)));
        check("5", Some((5, 7)));
        check(" 1-1", Some((1, 1)));
        check("+1-1", Some((1, 1)));
        check("1-1\0x", Some((1, 1)));
        check("01-\t007", Some((1, 7)));
        check("1--0", Some((1, 0)));
        check("1--01", Some((1, u64::MAX)));
        check("1--18446744073709551615", Some((1, 1)));
        for bad in ["", "-", "-1", "1-", "1 -1", "1-1 ", "++1", "a", "1-1-1", "1--1", "1-+", "\0"] {
            check(bad, None);
        }
    }
}
