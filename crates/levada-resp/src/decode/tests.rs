//! Each case against `redis-server` was recorded from 7.0.15 over a raw socket; where this
//! decoder differs on purpose, the test says so.

use super::{Decoder, Progress};
use crate::property::{Meaning, meaning};
use crate::{Limits, ProtocolError};
use ProtocolError as E;

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const ECHO: &[u8] = b"*2\r\n$4\r\nECHO\r\n";

/// Decodes `stream` whole and byte by byte; requests are written as words joined by `|`.
fn check(stream: &[u8], requests: &[&str], error: Option<ProtocolError>) {
    check_with(Limits::authenticated(), stream, requests, error);
}

fn check_with(limits: Limits, stream: &[u8], requests: &[&str], error: Option<ProtocolError>) {
    let whole = meaning(stream, &[], limits);
    let each: Vec<usize> = (0..stream.len()).collect();
    assert_eq!(meaning(stream, &each, limits), whole, "{} by byte", stream.escape_ascii());
    let Meaning { requests: found, error: found_error, .. } = whole;
    let found: Vec<String> =
        found.iter().map(|args| args.join(&b'|').escape_ascii().to_string()).collect();
    assert_eq!((found, found_error), (to_strings(requests), error), "{}", stream.escape_ascii());
}

fn to_strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn echo(rest: &[u8]) -> Vec<u8> {
    [ECHO, rest, PING].concat()
}

fn before_ping(head: &[u8]) -> Vec<u8> {
    [head, PING].concat()
}

/// One call on all of `input`, for what streams cannot show.
fn first(limits: Limits, input: &[u8]) -> Result<Progress, ProtocolError> {
    Decoder::new(limits).decode(input, &mut Vec::new())
}

#[test]
fn pipelines() {
    check(b"", &[], None);
    check(&PING.repeat(3), &["PING", "PING", "PING"], None);
    check(&echo(b"$4\r\na\r\nb\r\n"), &[r"ECHO|a\r\nb", "PING"], None);
    check(&echo(b"$0\r\n\r\n"), &["ECHO|", "PING"], None);
    check(&before_ping(b"PING\r\nECHO hi\n"), &["PING", "ECHO|hi", "PING"], None);
    let long = [&b"*1\r\n$12345\r\n"[..], &[b'x'; 12345], b"\r\n"].concat();
    check(&long, &["x".repeat(12345).as_str()], None);
}

#[test]
fn redis_ignores_requests_without_arguments() {
    for empty in ["*0\r\n", "*-1\r\n", "*-5\r\n", "*-9223372036854775808\r\n"] {
        check(&before_ping(empty.as_bytes()), &["PING"], None);
    }
    for blank in ["\r\n", "\n", "   \r\n", "\r\n\r\n\n", "\r\r\n", "\t\x0b\x0c\n"] {
        check(&before_ping(blank.as_bytes()), &["PING"], None);
    }
}

// The shape of CVE-2026-27623: empty requests between others must leave no state behind.
#[test]
fn empty_requests_between_others_leave_nothing_behind() {
    let parts: [&[u8]; 8] =
        [b"*0\r\n", PING, b"\r\n", b"*-1\r\n", b"PING\n", b"\n", b"*0\r\n", PING];
    check(&parts.concat(), &["PING", "PING", "PING"], None);
    check(&[b"*0\r\n\r\n".repeat(1000).as_slice(), PING].concat(), &["PING"], None);
    assert_eq!(first(Limits::authenticated(), b"*0\r\n"), Ok(Progress::Empty { consumed: 4 }));
    assert_eq!(first(Limits::authenticated(), b"\r\n*1"), Ok(Progress::Empty { consumed: 2 }));
}

#[test]
fn redis_refuses_other_spellings_of_the_count() {
    let counts = ["", "+1", "01", " 1", "1 ", "-0", "00", "x", "00000000001", "1\n$4", "1\n\n*1"];
    for count in counts {
        let stream = before_ping(format!("*{count}\r\n$4\r\nPING\r\n").as_bytes());
        check(&stream, &[], Some(E::InvalidMultibulkLength));
    }
    for count in ["2147483648", "9223372036854775807", "9223372036854775808"] {
        check(format!("*{count}\r\n").as_bytes(), &[], Some(E::InvalidMultibulkLength));
    }
    check(b"*-9223372036854775809\r\n", &[], Some(E::InvalidMultibulkLength));
}

// Redis 7.0.15 takes counts up to 2147483647; the limit here is Levada's.
#[test]
fn count_above_the_limit_is_refused_when_announced() {
    check(b"*1048576\r\n", &[], None);
    check(b"*1048577\r\n", &[], Some(E::InvalidMultibulkLength));
}

#[test]
fn redis_refuses_other_spellings_of_the_length() {
    for length in ["", "-1", "+4", "04", " 4", "4 ", "00", "-0", "99999999999999999999"] {
        let stream = echo(format!("${length}\r\nabcd\r\n").as_bytes());
        check(&stream, &[], Some(E::InvalidBulkLength));
    }
    check(&echo(b"$4\nabcd\n"), &[], Some(E::InvalidBulkLength));
    check(&echo(b"$4\n\nabcd\r\n"), &[], Some(E::InvalidBulkLength));
    check(&echo(b"$536870913\r\n"), &[], Some(E::InvalidBulkLength));
    check(&[ECHO, b"$16777216\r\n"].concat(), &[], None);
    check(&[ECHO, b"$16777217\r\n"].concat(), &[], Some(E::InvalidBulkLength));
}

#[test]
fn redis_expects_a_dollar_and_names_the_byte_once_the_line_is_complete() {
    for (line, got) in [
        (&b"x\r\n"[..], b'x'),
        (b" $4\r\n", b' '),
        (b":4\r\n", b':'),
        (b"\r\n", b'\r'),
        (b"\n", b'\n'),
        (b"\"\r\n", b'"'),
        (b"\xff\r\n", 0xff),
        // Redis waits for ever behind a NUL.
        (b"\0\r\n", 0),
    ] {
        check(&echo(line), &[], Some(E::ExpectedBulk { got }));
    }
    check(&[ECHO, b"x"].concat(), &[], None);
    check(b"*1\r*1\r\n$4\r\nPING\r\n", &[], Some(E::ExpectedBulk { got: b'1' }));
}

#[test]
fn redis_does_not_look_at_the_byte_behind_cr_nor_at_the_bytes_behind_an_argument() {
    check(b"*1\rX$4\r\nPING\r\n", &["PING"], None);
    check(&echo(b"$4\rXabcd\r\n"), &["ECHO|abcd", "PING"], None);
    check(&echo(b"$4\r\nabcdXY"), &["ECHO|abcd", "PING"], None);
    // But it waits for them.
    check(b"*1\r", &[], None);
    check(b"*0\r", &[], None);
    check(b"*1\r\n$4\r\nPING\r", &[], None);
}

#[test]
fn redis_ends_inline_requests_at_lf_and_drops_one_cr() {
    check(b"PING\n", &["PING"], None);
    check(b"PING\r\n", &["PING"], None);
    check(b"PING\r", &[], None);
    check(b"  PING  \r\n", &["PING"], None);
    check(&before_ping(b"\"\"\r\n"), &["", "PING"], None);
    check(b"ECHO 'a b' \"c\\x20d\"\r\n", &["ECHO|a b|c d"], None);
    check(&before_ping(b"PING\n\"abc\r\n"), &["PING"], Some(E::UnbalancedQuotes));
}

#[test]
fn redis_refuses_lines_above_64_kib_without_an_end() {
    let line = |head: &str, bytes: usize| format!("{head}{}", "1".repeat(bytes)).into_bytes();
    check(&line("P", 65_535), &[], None);
    check(&line("P", 65_536), &[], Some(E::TooBigInline));
    check(&line("*", 65_535), &[], None);
    check(&line("*", 65_536), &[], Some(E::TooBigMultibulkCount));
    check(&[ECHO, &line("$", 65_535)].concat(), &[], None);
    check(&[ECHO, &line("$", 65_536)].concat(), &[], Some(E::TooBigBulkCount));
    // Before the missing dollar, too.
    check(&[ECHO, &line("x", 65_535)].concat(), &[], None);
    check(&[ECHO, &line("x", 65_536)].concat(), &[], Some(E::TooBigBulkCount));
}

// Redis 7.0.15 accepts a longer line if one read brings all of it.
#[test]
fn a_line_above_the_limit_is_refused_even_if_all_of_it_is_there() {
    check(&[b"P".repeat(65_536).as_slice(), b"\n"].concat(), &["P".repeat(65_536).as_str()], None);
    check(&[b"P".repeat(65_537).as_slice(), b"\n"].concat(), &[], Some(E::TooBigInline));
    check(&[ECHO, b"$", &b"1".repeat(70_000), b"\r\n"].concat(), &[], Some(E::TooBigBulkCount));
}

#[test]
fn redis_limits_clients_that_have_not_authenticated() {
    let check = |stream: &[u8], error| check_with(Limits::unauthenticated(), stream, &[], error);
    check(b"*10\r\n", None);
    check(b"*11\r\n", Some(E::UnauthenticatedMultibulkLength));
    check(b"*1048577\r\n", Some(E::UnauthenticatedMultibulkLength));
    check(b"*2147483648\r\n", Some(E::InvalidMultibulkLength));
    check(b"*x\r\n", Some(E::InvalidMultibulkLength));
    check(b"*1\r\n$16384\r\n", None);
    check(b"*1\r\n$16385\r\n", Some(E::UnauthenticatedBulkLength));
    check(b"*1\r\n$536870913\r\n", Some(E::InvalidBulkLength));
    check(b"*1\r\n$-1\r\n", Some(E::InvalidBulkLength));
    // Inline requests are not counted: redis-server answered this one.
    let words = "ECHO a b c d e f g h i j k l m";
    let expect = words.replace(' ', "|");
    check_with(Limits::unauthenticated(), format!("{words}\n").as_bytes(), &[&expect], None);
}

#[test]
fn limits_may_change_between_requests() {
    let mut decoder = Decoder::new(Limits::unauthenticated());
    let mut args = Vec::new();
    assert_eq!(decoder.decode(PING, &mut args), Ok(Progress::Request { consumed: PING.len() }));
    decoder.set_limits(Limits::authenticated());
    assert_eq!(decoder.decode(b"*11\r\n", &mut args), Ok(Progress::Incomplete { want: 1 }));
    assert_eq!(decoder.limits(), &Limits::authenticated());
}

#[test]
fn the_whole_request_is_bounded() {
    let limits = Limits { request_bytes_max: 30, ..Limits::authenticated() };
    let fits = echo(b"$6\r\nabcdef\r\n");
    check_with(limits, &fits, &["ECHO|abcdef", "PING"], None);
    assert_eq!(fits.len() - PING.len(), 26);
    check_with(limits, &[ECHO, b"$10\r\nabcdefghi!\r\n"].concat(), &[], Some(E::TooBigRequest));
    for max in [0, 1, 9] {
        let limits = Limits { request_bytes_max: max, ..Limits::authenticated() };
        check_with(limits, PING, &[], Some(E::TooBigRequest));
    }
    let boundless = Limits {
        args_max: usize::MAX,
        bulk_bytes_max: usize::MAX,
        inline_bytes_max: usize::MAX,
        request_bytes_max: usize::MAX,
        authenticated: true,
    };
    check_with(boundless, b"*9223372036854775807\r\n$9223372036854775807\r\n", &[], None);
    check_with(boundless, b"PING\n", &["PING"], None);
}

#[test]
fn short_headers_do_not_contradict_a_tiny_line_limit() {
    let limits = Limits { inline_bytes_max: 0, ..Limits::authenticated() };
    check_with(limits, &echo(b"$10\r\nabcdefghij\r\n"), &["ECHO|abcdefghij", "PING"], None);
}

#[test]
fn what_is_missing_is_told() {
    let want = |input| match first(Limits::authenticated(), input) {
        Ok(Progress::Incomplete { want }) => want,
        other => panic!("{other:?}"),
    };
    assert_eq!(want(b""), 1);
    assert_eq!(want(b"*"), 1);
    assert_eq!(want(b"*1\r\n$1000\r\n"), 1002);
    assert_eq!(want(b"*1\r\n$4\r\nPING"), 2);
    assert_eq!(want(b"*2\r\n$4\r\nPING\r\n"), 1);
}

#[test]
fn a_flood_of_announced_lengths_reserves_nothing() {
    let mut decoder = Decoder::new(Limits::authenticated());
    let mut args = Vec::new();
    let flood = b"*1000000\r\n$512000000\r\n";
    assert_eq!(decoder.decode(flood, &mut args), Err(E::InvalidBulkLength));
    let mut decoder = Decoder::new(Limits::authenticated());
    let flood = b"*1000000\r\n$16000000\r\n";
    assert!(matches!(decoder.decode(flood, &mut args), Ok(Progress::Incomplete { .. })));
    assert_eq!((args.capacity(), decoder.parked.capacity(), decoder.inline.capacity()), (0, 0, 0));
}

#[test]
fn a_million_arguments_in_pieces_cost_linear_work_and_memory_is_given_back() {
    let count = 1 << 20;
    let stream = [format!("*{count}\r\n").as_bytes(), &b"$1\r\nx\r\n".repeat(count)].concat();
    let mut decoder = Decoder::new(Limits::authenticated());
    let mut args = Vec::new();
    // Scanned again from the start, these 100,000 calls would read 370 GB.
    for end in (0..stream.len()).step_by(73) {
        let progress = decoder.decode(&stream[..end], &mut args);
        assert!(matches!(progress, Ok(Progress::Incomplete { .. })));
    }
    let consumed = stream.len();
    assert_eq!(decoder.decode(&stream, &mut args), Ok(Progress::Request { consumed }));
    assert_eq!(args.len(), count);
    assert!(args.iter().all(|range| &stream[range.clone()] == b"x"));

    assert_eq!(decoder.decode(PING, &mut args), Ok(Progress::Request { consumed: PING.len() }));
    assert!(args.capacity() <= super::ARGS_KEPT);
    assert_eq!(decoder.parked.capacity(), 0);
}

#[test]
fn a_partial_line_is_not_searched_again() {
    for (head, scanned) in [(&b"PIN"[..], 3), (b"*123456", 7), (b"*1\r", 2), (b"*1\r\n$12345", 6)] {
        let mut decoder = Decoder::new(Limits::authenticated());
        let progress = decoder.decode(head, &mut Vec::new());
        assert_eq!(progress, Ok(Progress::Incomplete { want: 1 }));
        assert_eq!(decoder.scanned, scanned, "{}", head.escape_ascii());
    }
}

#[test]
#[should_panic(expected = "the input of the last call must come again")]
fn a_caller_that_drops_bytes_of_a_partial_request_is_stopped() {
    let mut decoder = Decoder::new(Limits::authenticated());
    let _ = decoder.decode(ECHO, &mut Vec::new());
    let _ = decoder.decode(b"$2\r\nhi\r\n", &mut Vec::new());
}

#[test]
fn messages_are_those_of_redis() {
    for (error, text) in [
        (E::InvalidMultibulkLength, "invalid multibulk length"),
        (E::InvalidBulkLength, "invalid bulk length"),
        (E::ExpectedBulk { got: b'x' }, "expected '$', got 'x'"),
        (E::TooBigInline, "too big inline request"),
        (E::TooBigMultibulkCount, "too big mbulk count string"),
        (E::TooBigBulkCount, "too big bulk count string"),
        (E::UnbalancedQuotes, "unbalanced quotes in request"),
        (E::UnauthenticatedMultibulkLength, "unauthenticated multibulk length"),
        (E::UnauthenticatedBulkLength, "unauthenticated bulk length"),
    ] {
        assert_eq!(error.message(), format!("Protocol error: {text}"));
        assert_eq!(error.to_string(), error.message());
    }
}

#[test]
fn a_look_ahead_finds_second_arguments_up_to_what_is_not_plain() {
    let names = |input: &[u8]| super::peek(input).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let hi = echo(b"$2\r\nhi\r\n");
    assert_eq!(names(&hi.repeat(2)), [&b"hi"[..], b"", b"hi", b""]);
    let long = [b"*3\r\n$3\r\nSET\r\n$1234\r\n", &[b'k'; 1234][..], b"\r\n$0\r\n\r\n"].concat();
    assert_eq!(names(&[&long[..], PING].concat()), [&[b'k'; 1234][..], b""]);
    for end in
        [&b"PING\r\n"[..], b"*1\r\n+4\r\nPING\r\n", b"*01\r\n$4\r\nPING\r\n", b"*-1\r\n", b"*"]
    {
        let input = [&hi[..], end, PING].concat();
        assert_eq!(names(&input), [&b"hi"[..], b""], "{}", input.escape_ascii());
    }
    // Whatever part of it is there: what is found is what is decoded.
    let input = [&hi[..], &long, PING].concat();
    for end in 0..input.len() {
        let whole = meaning(&input[..end], &[], Limits::authenticated()).requests;
        let second = |args: &Vec<Vec<u8>>| args.get(1).cloned().unwrap_or_default();
        assert_eq!(names(&input[..end]), whole.iter().map(second).collect::<Vec<_>>());
    }
}
