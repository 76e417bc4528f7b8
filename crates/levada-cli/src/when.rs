//! Times as people write and read them: spans, ages, moments, and the ids that moments stand for.
//! No clock is read here.

use std::num::NonZeroU8;

use levada::MessageId;
use time::OffsetDateTime;
use time::format_description::well_known::iso8601::{Config, EncodedConfig, TimePrecision};
use time::format_description::well_known::{Iso8601, Rfc3339};

/// Nanoseconds of a millisecond.
const NANOSECONDS: i128 = 1_000_000;

/// What a span may end with, and how many milliseconds that is. `ms` is tried before `s`; behind it
/// stands what an age is shown in, the largest first.
const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

/// Where in a stream something begins or ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    /// `-`: before all entries.
    First,
    /// `+`: behind all entries.
    Last,
    /// An id, or without its second half all of a millisecond.
    Id(u64, Option<u64>),
    /// A time in unix milliseconds.
    At(u64),
    /// So many milliseconds ago.
    Ago(u64),
}

impl Moment {
    /// Reads `1718000000000-0`, `1718000000000`, `2026-11-22T10:00:00Z`, `15m` (ago), `-` or `+`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad =
            || format!("{text:?} is neither an id, nor a time such as 2026-11-22T10:00:00Z or 15m");
        if text.contains(['T', 't', ':']) {
            return rfc_3339(text).map(Self::At).ok_or_else(bad);
        }
        let (ms, seq) = text.split_once('-').map_or((text, None), |(ms, seq)| (ms, Some(seq)));
        match (text, ms.parse(), seq.map(str::parse)) {
            ("-", ..) => Ok(Self::First),
            ("+", ..) => Ok(Self::Last),
            (_, Ok(ms), None) => Ok(Self::Id(ms, None)),
            (_, Ok(ms), Some(Ok(seq))) => Ok(Self::Id(ms, Some(seq))),
            (_, Err(_), None) => span(text).map(Self::Ago).map_err(|_| bad()),
            _ => Err(bad()),
        }
    }

    /// The first id that is meant, where something begins here.
    pub(crate) fn first(self, now_ms: u64) -> MessageId {
        match self {
            Self::First => MessageId::MIN,
            Self::Last => MessageId::MAX,
            Self::Id(ms, seq) => MessageId { ms, seq: seq.unwrap_or(0) },
            Self::At(ms) => MessageId::at(ms),
            Self::Ago(ms) => MessageId::at(now_ms.saturating_sub(ms)),
        }
    }

    /// The last id that is meant, where something ends here.
    pub(crate) fn last(self, now_ms: u64) -> MessageId {
        match self {
            Self::First | Self::Last | Self::Id(_, Some(_)) => self.first(now_ms),
            Self::Id(..) | Self::At(_) | Self::Ago(_) => {
                MessageId { seq: u64::MAX, ..self.first(now_ms) }
            }
        }
    }
}

/// Milliseconds of `500ms`, `30s`, `15m`, `2h` or `7d`.
pub(crate) fn span(text: &str) -> Result<u64, String> {
    let read = || {
        let (unit, ms) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
        text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*ms)
    };
    read().ok_or_else(|| format!("{text:?} is no span such as 500ms, 30s, 15m, 2h or 7d"))
}

/// A time in its largest whole unit.
pub(crate) fn age(ms: Option<u64>) -> String {
    let Some(ms) = ms else {
        return "-".to_owned();
    };
    match UNITS.iter().skip(1).find(|(_, unit)| ms >= *unit) {
        Some((name, unit)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

/// Three digits behind the seconds, and `Z`.
const MILLISECONDS: EncodedConfig = Config::DEFAULT
    .set_time_precision(TimePrecision::Second { decimal_digits: NonZeroU8::new(3) })
    .encode();

/// A time in UTC, as `2026-11-22T10:00:00.000Z`; years of five digits are milliseconds.
pub(crate) fn time(ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * NANOSECONDS);
    let text = time.ok().and_then(|time| time.format(&Iso8601::<MILLISECONDS>).ok());
    text.unwrap_or_else(|| ms.to_string())
}

/// Unix milliseconds of `2026-11-22T10:00:00.5+01:00`, or as they are.
pub(crate) fn moment_ms(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is neither a time such as 2026-11-22T10:00:00Z, nor unix ms");
    text.parse().ok().or_else(|| rfc_3339(text)).ok_or_else(bad)
}

/// Unix milliseconds of `2026-11-22T10:00:00.5+01:00`; a leap second is the moment before it, and
/// what is finer than a millisecond is left out. `None` for what is none, and before 1970.
fn rfc_3339(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos().div_euclid(NANOSECONDS)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        let check = |text: &str, expect: Option<Moment>| {
            assert_eq!(Moment::parse(text).ok(), expect, "{text}");
        };
        check("-", Some(Moment::First));
        check("+", Some(Moment::Last));
        check("0", Some(Moment::Id(0, None)));
        check("1718000000000-7", Some(Moment::Id(1_718_000_000_000, Some(7))));
        check("15m", Some(Moment::Ago(900_000)));
        check("500ms", Some(Moment::Ago(500)));
        check("1970-01-01T00:00:00Z", Some(Moment::At(0)));
        check("2024-02-29T23:59:59.5Z", Some(Moment::At(1_709_251_199_500)));
        check("2026-11-22T10:00:00.1234+01:30", Some(Moment::At(1_795_336_200_123)));
        check("2026-11-22t10:00:00-01:00", Some(Moment::At(1_795_345_200_000)));
        check("2016-12-31T23:59:60Z", Some(Moment::At(1_483_228_799_999)));
        for bad in ["", "x", "5-", "-5", "5-6-7", "15", "m", "15y", "1.5h", "99999999999999999d"] {
            check(bad, if bad == "15" { Some(Moment::Id(15, None)) } else { None });
        }
        for bad in [
            "2026-11-22T10:00:00",
            "2025-02-29T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T10:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2026-11-22T10:00:00.Z",
            "2026-11-22T10:00:00+1:00",
            "2026-11-22T10:00:00Zx",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn moments_are_the_first_and_the_last_id_that_they_mean() {
        let check = |text: &str, first: &str, last: &str| {
            let moment = Moment::parse(text).expect("a moment");
            let ids = (moment.first(10_000).to_string(), moment.last(10_000).to_string());
            assert_eq!(ids, (first.to_owned(), last.to_owned()), "{text}");
        };
        check("5", "5-0", "5-18446744073709551615");
        check("5-6", "5-6", "5-6");
        check("4s", "6000-0", "6000-18446744073709551615");
        check("1h", "0-0", "0-18446744073709551615");
        check("-", "0-0", "0-0");
    }

    #[test]
    fn a_time_may_be_given_in_milliseconds() {
        let check = |text: &str, expect: Option<u64>| {
            assert_eq!(moment_ms(text).ok(), expect, "{text}");
        };
        check("0", Some(0));
        check("4102444800000", Some(4_102_444_800_000));
        check("2100-01-01T00:00:00Z", Some(4_102_444_800_000));
        check("-1", None);
        check("15m", None);
        check("1-1", None);
    }

    #[test]
    fn times_and_ages_are_written() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_709_251_199_500), "2024-02-29T23:59:59.500Z");
        assert_eq!(time(253_402_300_799_999), "9999-12-31T23:59:59.999Z");
        assert_eq!(time(253_402_300_800_000), "253402300800000");
        let ages = [None, Some(0), Some(999), Some(1_000), Some(61_000), Some(200_000_000)];
        assert_eq!(ages.map(age), ["-", "0ms", "999ms", "1s", "1m", "2d"]);
    }
}
