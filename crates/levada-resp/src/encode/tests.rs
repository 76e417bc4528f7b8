//! Tests of the module of the same name, apart because they are long.

use super::{Protocol, Writer, request};
use crate::ProtocolError;

/// Writes the same in both dialects.
fn check(write: impl Fn(&mut Writer), resp2: impl AsRef<[u8]>, resp3: impl AsRef<[u8]>) {
    for (protocol, expect) in [(Protocol::Resp2, resp2.as_ref()), (Protocol::Resp3, resp3.as_ref())]
    {
        let mut out = b"before".to_vec();
        write(&mut Writer::new(&mut out, protocol));
        let found = out.strip_prefix(b"before").expect("the writer appends");
        assert_eq!(found.escape_ascii().to_string(), expect.escape_ascii().to_string());
    }
}

/// The same bytes in both dialects.
fn check_same(write: impl Fn(&mut Writer), expect: impl AsRef<[u8]>) {
    check(write, expect.as_ref(), expect.as_ref());
}

#[test]
fn lines() {
    // Blocks, because the methods themselves are not general over the lifetime of the writer.
    check_same(
        |w| {
            w.ok();
        },
        "+OK\r\n",
    );
    check_same(|w| w.simple("PONG"), "+PONG\r\n");
    check_same(|w| w.simple(""), "+\r\n");
    check_same(|w| w.error("ERR no such key"), "-ERR no such key\r\n");
    check_same(|w| w.error("ERR a\r\nb\0c\n"), "-ERR a  b c \r\n");
    check_same(|w| w.error(b"ERR \xff"), b"-ERR \xff\r\n");
    check_same(|w| w.simple("\r"), "+ \r\n");
}

// Recorded from redis-server 7.0.15.
#[test]
fn protocol_errors_as_redis_sends_them() {
    let check = |error, expect: &[u8]| check_same(|w| w.protocol_error(error), expect);
    check(ProtocolError::InvalidBulkLength, b"-ERR Protocol error: invalid bulk length\r\n");
    let expected = |got| ProtocolError::ExpectedBulk { got };
    check(expected(b'x'), b"-ERR Protocol error: expected '$', got 'x'\r\n");
    check(expected(0xff), b"-ERR Protocol error: expected '$', got '\xff'\r\n");
    check(expected(b'\r'), b"-ERR Protocol error: expected '$', got ' '\r\n");
}

#[test]
fn integers() {
    for value in [0, 1, 9, 10, 99, 100, 255, 256, -1, i64::MAX, i64::MIN] {
        check_same(|w| w.integer(value), format!(":{value}\r\n"));
        let text = value.to_string();
        check_same(|w| w.bulk_integer(value), format!("${}\r\n{text}\r\n", text.len()));
    }
    check_same(|w| w.bulk_integer(u64::MAX), "$20\r\n18446744073709551615\r\n");
}

#[test]
fn byte_strings() {
    check_same(|w| w.bulk(b""), "$0\r\n\r\n");
    check_same(|w| w.bulk(b"a\r\n\0"), "$4\r\na\r\n\0\r\n");
    for len in [9, 10, 99, 100, 255, 256, 100_000] {
        let text = "x".repeat(len);
        check_same(|w| w.bulk(text.as_bytes()), format!("${len}\r\n{text}\r\n"));
    }
    check(|w| w.verbatim("txt"), "$3\r\ntxt\r\n", "=7\r\ntxt:txt\r\n");
    check(|w| w.verbatim(""), "$0\r\n\r\n", "=4\r\ntxt:\r\n");
}

#[test]
fn stream_ids() {
    for (ms, seq) in [(0, 0), (1, 0), (9, 9), (1_763_700_000_000, 0), (u64::MAX, u64::MAX)] {
        let text = format!("{ms}-{seq}");
        check_same(|w| w.bulk_id(ms, seq), format!("${}\r\n{text}\r\n", text.len()));
    }
}

#[test]
fn aggregates() {
    check_same(|w| w.array(0), "*0\r\n");
    check_same(|w| w.array(1_000_000), "*1000000\r\n");
    check(|w| w.map(7), "*14\r\n", "%7\r\n");
    check(|w| w.set(10), "*10\r\n", "~10\r\n");
    check(|w| w.push(3), "*3\r\n", ">3\r\n");
}

#[test]
fn absent_values_and_truth() {
    check(
        |w| {
            w.null();
        },
        "$-1\r\n",
        "_\r\n",
    );
    check(
        |w| {
            w.null_array();
        },
        "*-1\r\n",
        "_\r\n",
    );
    check(|w| w.boolean(true), ":1\r\n", "#t\r\n");
    check(|w| w.boolean(false), ":0\r\n", "#f\r\n");
}

#[test]
fn doubles() {
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.5, "1.5"),
        (-3.25, "-3.25"),
        (100.0, "100"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e7, "10000000"),
        (1e8, "1e+8"),
        (1.5e300, "1.5e+300"),
        (0.001, "0.001"),
        (0.000_001, "0.000001"),
        (1e-7, "1e-7"),
        (1.234_567_890_123_456_7e-10, "1.2345678901234568e-10"),
        (-1.797_693_134_862_315_7e308, "-1.7976931348623157e+308"),
        (-2.225_073_858_507_201_4e-308, "-2.2250738585072014e-308"),
        (-5e-324, "-5e-324"),
        (1_234_567_890_123_456_800_000.0, "1234567890123456800000"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ] {
        check(
            |w| w.double(value),
            format!("${}\r\n{text}\r\n", text.len()),
            format!(",{text}\r\n"),
        );
    }
}

#[test]
fn requests() {
    assert_eq!(request(&["ECHO", "hi"]), b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n");
    assert_eq!(request::<&[u8]>(&[]), b"*0\r\n");
}
