//! Bytes, times and numbers as people read them.

use std::num::NonZeroU8;

use time::format_description::well_known::Iso8601;
use time::format_description::well_known::iso8601::{
    Config, EncodedConfig, FormattedComponents, TimePrecision,
};
use time::{OffsetDateTime, PrimitiveDateTime};

/// Nanoseconds of a millisecond.
const NANOSECONDS: i128 = 1_000_000;

/// Bytes as text: what could steer or reorder what stands around it is escaped; line breaks and
/// tabs stay. What is no text is shown with its bytes escaped. Templates escape markup.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let is_steering = |letter: char| {
        (letter.is_control() && !matches!(letter, '\n' | '\t'))
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
            || matches!(letter, '\u{2066}'..='\u{2069}')
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(is_steering) => text.to_owned(),
        Ok(text) => {
            let mut shown = String::new();
            for letter in text.chars() {
                match is_steering(letter) {
                    true => shown.extend(letter.escape_unicode()),
                    false => shown.push(letter),
                }
            }
            shown
        }
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// The beginning of bytes as text, and how many bytes are not shown.
pub(crate) fn beginning(bytes: &[u8], max: usize) -> (String, usize) {
    let mut end = bytes.len().min(max);
    // A letter is not cut in two.
    while end < bytes.len() && end > 0 && bytes.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    let begin = bytes.get(..end).unwrap_or(bytes);
    (shown(begin), bytes.len() - begin.len())
}

/// Three digits behind the seconds, and no zone.
const MILLISECONDS: EncodedConfig = Config::DEFAULT
    .set_formatted_components(FormattedComponents::DateTime)
    .set_time_precision(TimePrecision::Second { decimal_digits: NonZeroU8::new(3) })
    .encode();

/// A time in milliseconds since 1970, in UTC, as `2026-11-21 20:05:01.123`; nothing for years of
/// more than four digits.
pub(crate) fn time(ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * NANOSECONDS);
    let text = time.ok().and_then(|time| time.format(&Iso8601::<MILLISECONDS>).ok());
    text.unwrap_or_default().replace('T', " ")
}

/// The time in an id; ids of years with five digits are made up, and have none.
pub(crate) fn time_of_id(id: &str) -> String {
    id.split('-').next().and_then(|ms| ms.parse().ok()).map(time).unwrap_or_default()
}

/// Milliseconds since 1970 of `2026-11-21T20:05`, with or without seconds and their parts, in UTC.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim().trim_end_matches('Z').replace(' ', "T");
    let time = PrimitiveDateTime::parse(&text, &Iso8601::PARSING).ok()?.assume_utc();
    let ms = i64::try_from(time.unix_timestamp_nanos().div_euclid(NANOSECONDS)).ok()?;
    (ms >= 0).then_some(ms)
}

/// A time span in its two largest units.
pub(crate) fn age(ms: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let Some(at) = units.iter().position(|(unit, _)| ms >= *unit) else {
        return format!("{ms} ms");
    };
    let (unit, name) = units[at];
    let first = format!("{} {name}", ms / unit);
    match units.get(at + 1).map(|(next, name)| (ms % unit / next, name)) {
        Some((rest, name)) if rest > 0 => format!("{first} {rest} {name}"),
        _ => first,
    }
}

/// A number with its thousands apart; `unknown` where there is none.
pub(crate) fn count(number: Option<i64>) -> String {
    let Some(number) = number else {
        return "unknown".to_owned();
    };
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_what_stands_around_it() {
        assert_eq!(shown("caf\u{e9}\n\u{1b}[2J".as_bytes()), "caf\u{e9}\n\\u{1b}[2J");
        assert_eq!(shown("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(shown(b"\xff<"), "\\xff<");
        assert_eq!(beginning("a\u{e9}b".as_bytes(), 2), ("a".to_owned(), 3));
        assert_eq!(beginning(b"abc", 3), ("abc".to_owned(), 0));
    }

    #[test]
    fn times_go_there_and_back() {
        let check =
            |text: &str, expect: Option<i64>| assert_eq!(parse_time(text), expect, "{text}");
        check("1970-01-01T00:00", Some(0));
        check("2026-11-21T20:05:01.123", Some(1_795_291_501_123));
        check("2024-02-29 23:59:59Z", Some(1_709_251_199_000));
        check("2026-13-01T00:00", None);
        check("2026-11-21", None);
        check("x", None);
        for ms in [0, 951_782_400_000, 1_709_251_199_000, 1_795_291_501_123, 4_107_542_400_000] {
            assert_eq!(parse_time(&time(ms)), Some(ms));
        }
        assert_eq!(time(1_709_251_199_000), "2024-02-29 23:59:59.000");
        assert_eq!(time_of_id("99999999999999999-1"), "");
    }

    #[test]
    fn spans_and_numbers_are_short() {
        assert_eq!(age(999), "999 ms");
        assert_eq!(age(61_000), "1 min 1 s");
        assert_eq!(age(86_400_000), "1 d");
        assert_eq!(count(Some(-1_234_567)), "-1\u{202f}234\u{202f}567");
        assert_eq!(count(None), "unknown");
    }
}
