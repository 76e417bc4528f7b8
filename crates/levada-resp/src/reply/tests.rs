//! Tests of the module of the same name, apart because they are long.

use super::{DEPTH_MAX, LINE_BYTES_MAX, Reply, ReplyError};

/// Parses `input` and checks that it needs all its bytes and does not look behind them.
fn check(input: &str, expect: &Reply) {
    let parsed = Reply::parse(input.as_bytes());
    assert_eq!(parsed, Ok(Some((expect.clone(), input.len()))), "{input:?}");
    for len in 0..input.len() {
        assert_eq!(Reply::parse(&input.as_bytes()[..len]), Ok(None), "{input:?} cut at {len}");
    }
    let longer = [input.as_bytes(), b"\xff"].concat();
    assert_eq!(Reply::parse(&longer), parsed);
}

fn check_error(input: &[u8], expect: ReplyError) {
    assert_eq!(Reply::parse(input), Err(expect), "{}", input.escape_ascii());
}

#[test]
fn scalars() {
    check("+OK\r\n", &Reply::Simple("OK".into()));
    check("-ERR no\r\n", &Reply::Error("ERR no".into()));
    check("!6\r\nERR no\r\n", &Reply::Error("ERR no".into()));
    check(":-42\r\n", &Reply::Integer(-42));
    check("$4\r\na\r\nb\r\n", &Reply::Bulk("a\r\nb".into()));
    check("$0\r\n\r\n", &Reply::Bulk(Vec::new()));
    for null in ["$-1\r\n", "*-1\r\n", "_\r\n"] {
        check(null, &Reply::Null);
    }
    check("#t\r\n", &Reply::Boolean(true));
    check("#f\r\n", &Reply::Boolean(false));
    check(",1.5e+3\r\n", &Reply::Double(1500.0));
    check(",-inf\r\n", &Reply::Double(f64::NEG_INFINITY));
    check("=6\r\ntxt:hi\r\n", &Reply::Verbatim { format: *b"txt", text: "hi".into() });
    check("(-123456789012345678901\r\n", &Reply::BigNumber("-123456789012345678901".into()));
    let Ok(Some((Reply::Double(nan), 6))) = Reply::parse(b",nan\r\n") else {
        panic!("nan is a double");
    };
    assert!(nan.is_nan());
}

#[test]
fn aggregates() {
    let (one, two) = (Reply::Integer(1), Reply::Integer(2));
    check("*0\r\n", &Reply::Array(Vec::new()));
    check(
        "*2\r\n:1\r\n*1\r\n:2\r\n",
        &Reply::Array(vec![one.clone(), Reply::Array(vec![two.clone()])]),
    );
    check("~2\r\n:1\r\n:2\r\n", &Reply::Set(vec![one.clone(), two.clone()]));
    check(">1\r\n:1\r\n", &Reply::Push(vec![one.clone()]));
    check("%1\r\n:1\r\n:2\r\n", &Reply::Map(vec![(one, two)]));
}

#[test]
fn depth_is_limited() {
    let fits = format!("{}:1\r\n", "*1\r\n".repeat(DEPTH_MAX));
    assert!(matches!(Reply::parse(fits.as_bytes()), Ok(Some(_))));
    check_error("*1\r\n".repeat(DEPTH_MAX + 1).as_bytes(), ReplyError::TooDeep);
    check_error("%1\r\n".repeat(1_000_000).as_bytes(), ReplyError::TooDeep);
}

#[test]
fn malformed_replies_are_refused() {
    for byte in [b'x', b'|', b'?', b'\r', 0, 0xff] {
        check_error(&[byte], ReplyError::UnknownType(byte));
    }
    let lines = [
        ":",
        ":+1",
        ":01",
        ":1 ",
        "$-2",
        "*-2",
        "~-1",
        "%-1",
        "$x",
        "*?",
        "_x",
        "#x",
        "#",
        ",",
        ",x",
        ",infinity",
        ",NaN",
        "(",
        "(-",
        "(1x",
        "!-1",
        "=-1",
        "=3\r\ntxt",
        "=4\r\ntxt;",
    ];
    for line in lines {
        check_error(format!("{line}\r\n").as_bytes(), ReplyError::InvalidLine);
    }
    check_error(b"+OK\n", ReplyError::MissingEnd);
    check_error(b"$2\r\nhiXY", ReplyError::MissingEnd);
}

#[test]
fn sizes_are_limited_and_only_claimed_sizes_reserve_nothing() {
    check_error(b"$536870913\r\n", ReplyError::TooBig);
    check_error(b"*2147483648\r\n", ReplyError::TooBig);
    check_error(&vec![b'+'; LINE_BYTES_MAX + 1], ReplyError::TooBig);
    assert_eq!(Reply::parse(&vec![b'+'; LINE_BYTES_MAX]), Ok(None));
    // Would be 64 GB if the count were believed.
    assert_eq!(Reply::parse(b"*2147483647\r\n"), Ok(None));
    assert_eq!(Reply::parse(b"%2147483647\r\n:1\r\n"), Ok(None));
}

#[test]
fn errors_say_what_was_wrong() {
    assert_eq!(ReplyError::UnknownType(0xff).to_string(), r"no reply starts with '\xff'");
    assert!(ReplyError::TooDeep.to_string().contains("32"));
}
