//! Bytes, times and numbers as people read them.

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

/// A time in milliseconds since 1970, in UTC, as `2026-11-21 20:05:01.123`.
pub(crate) fn time(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (hours, minutes) = (rest / 3_600_000, rest / 60_000 % 60);
    let (seconds, ms) = (rest / 1_000 % 60, rest % 1_000);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02}.{ms:03}")
}

/// The time in an id.
pub(crate) fn time_of_id(id: &str) -> String {
    match id.split('-').next().and_then(|ms| ms.parse().ok()) {
        // Years of five digits are ids that somebody made up.
        Some(ms) if ms < 253_402_300_800_000 => time(ms),
        _ => String::new(),
    }
}

/// Milliseconds since 1970 of `2026-11-21T20:05`, with or without seconds and their parts, in UTC.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let (date, clock) = text.trim().trim_end_matches('Z').split_once(['T', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, part) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes) = (clock.next()??, clock.next()??);
    let seconds = clock.next().unwrap_or(Some(0))?;
    let ms: i64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    let fits = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hours)
        && (0..60).contains(&minutes)
        && (0..60).contains(&seconds);
    fits.then(|| {
        let minutes = (days(year, month, day) * 24 + hours) * 60 + minutes;
        (minutes * 60 + seconds) * 1_000 + ms
    })
}

/// Days since 1970 of a date, and back: years begin in March, so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
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
