//! What is written is read back.

use levada_resp::property::reply_any;
use levada_resp::{Protocol, Reply, Writer};
use proptest::collection::vec;
use proptest::prelude::*;

/// One call of the writer per variant.
#[derive(Debug, Clone)]
enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    BulkInteger(u64),
    BulkId(u64, u64),
    Null,
    NullArray,
    Boolean(bool),
    Double(f64),
    Verbatim(String),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[^\r\n\0]{0,20}".prop_map(Value::Simple),
        "[^\r\n\0]{0,20}".prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        (-2_i64..300).prop_map(Value::Integer),
        vec(any::<u8>(), 0..300).prop_map(Value::Bulk),
        any::<u64>().prop_map(Value::BulkInteger),
        any::<(u64, u64)>().prop_map(|(ms, seq)| Value::BulkId(ms, seq)),
        Just(Value::Null),
        Just(Value::NullArray),
        any::<bool>().prop_map(Value::Boolean),
        any::<u64>().prop_map(|bits| Value::Double(f64::from_bits(bits))),
        any::<f32>().prop_map(|value| Value::Double(f64::from(value))),
        any::<i32>().prop_map(|value| Value::Double(f64::from(value) / 1000.0)),
        "\\PC{0,20}".prop_map(Value::Verbatim),
    ];
    leaf.prop_recursive(6, 64, 12, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..12).prop_map(Value::Array),
            vec((inner.clone(), inner.clone()), 0..6).prop_map(Value::Map),
            vec(inner.clone(), 0..12).prop_map(Value::Set),
            vec(inner, 0..12).prop_map(Value::Push),
        ]
    })
}

fn write(writer: &mut Writer, value: &Value) {
    match value {
        Value::Simple(text) => writer.simple(text),
        Value::Error(text) => writer.error(text),
        Value::Integer(value) => writer.integer(*value),
        Value::Bulk(bytes) => writer.bulk(bytes),
        Value::BulkInteger(value) => writer.bulk_integer(*value),
        Value::BulkId(ms, seq) => writer.bulk_id(*ms, *seq),
        Value::Null => writer.null(),
        Value::NullArray => writer.null_array(),
        Value::Boolean(value) => writer.boolean(*value),
        Value::Double(value) => writer.double(*value),
        Value::Verbatim(text) => writer.verbatim(text),
        Value::Array(values) => {
            writer.array(values.len());
            write_all(writer, values);
        }
        Value::Map(pairs) => {
            writer.map(pairs.len());
            for (key, value) in pairs {
                write(writer, key);
                write(writer, value);
            }
        }
        Value::Set(values) => {
            writer.set(values.len());
            write_all(writer, values);
        }
        Value::Push(values) => {
            writer.push(values.len());
            write_all(writer, values);
        }
    }
}

fn write_all(writer: &mut Writer, values: &[Value]) {
    for value in values {
        write(writer, value);
    }
}

/// What a client should read in the given dialect.
fn expected(value: &Value, protocol: Protocol) -> Reply {
    let resp3 = protocol == Protocol::Resp3;
    let all = |values: &[Value]| -> Vec<Reply> {
        values.iter().map(|value| expected(value, protocol)).collect()
    };
    match value {
        Value::Simple(text) => Reply::Simple(text.clone().into()),
        Value::Error(text) => Reply::Error(text.clone().into()),
        Value::Integer(value) => Reply::Integer(*value),
        Value::Bulk(bytes) => Reply::Bulk(bytes.clone()),
        Value::BulkInteger(value) => Reply::Bulk(value.to_string().into()),
        Value::BulkId(ms, seq) => Reply::Bulk(format!("{ms}-{seq}").into()),
        Value::Null | Value::NullArray => Reply::Null,
        Value::Boolean(value) if resp3 => Reply::Boolean(*value),
        Value::Boolean(value) => Reply::Integer(i64::from(*value)),
        Value::Double(value) => Reply::Double(*value),
        Value::Verbatim(text) if resp3 => {
            Reply::Verbatim { format: *b"txt", text: text.clone().into() }
        }
        Value::Verbatim(text) => Reply::Bulk(text.clone().into()),
        Value::Set(values) if resp3 => Reply::Set(all(values)),
        Value::Push(values) if resp3 => Reply::Push(all(values)),
        Value::Array(values) | Value::Set(values) | Value::Push(values) => {
            Reply::Array(all(values))
        }
        Value::Map(pairs) => {
            let pair = |(key, value): &(Value, Value)| {
                (expected(key, protocol), expected(value, protocol))
            };
            let pairs = pairs.iter().map(pair);
            if resp3 {
                Reply::Map(pairs.collect())
            } else {
                Reply::Array(pairs.flat_map(|(key, value)| [key, value]).collect())
            }
        }
    }
}

/// Equality with two twists: not-a-number equals itself, and a double may have come as text.
fn same(found: &Reply, expect: &Reply) -> bool {
    let all = |found: &[Reply], expect: &[Reply]| {
        found.len() == expect.len() && found.iter().zip(expect).all(|(a, b)| same(a, b))
    };
    match (found, expect) {
        (Reply::Double(found), Reply::Double(expect)) => {
            found.to_bits() == expect.to_bits() || found.is_nan() && expect.is_nan()
        }
        (Reply::Bulk(text), Reply::Double(_)) => {
            let text = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            text.is_some_and(|found| same(&Reply::Double(found), expect))
        }
        (Reply::Array(a), Reply::Array(b))
        | (Reply::Set(a), Reply::Set(b))
        | (Reply::Push(a), Reply::Push(b)) => all(a, b),
        (Reply::Map(a), Reply::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(&a.0, &b.0) && same(&a.1, &b.1))
        }
        (found, expect) => found == expect,
    }
}

proptest! {
    #[test]
    fn every_reply_written_is_read_back(value in value()) {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let mut out = Vec::new();
            write(&mut Writer::new(&mut out, protocol), &value);
            let (found, consumed) = Reply::parse(&out)
                .expect("what was written is valid")
                .expect("what was written is whole");
            prop_assert_eq!(consumed, out.len());
            let expect = expected(&value, protocol);
            prop_assert!(same(&found, &expect), "{:?} is not {:?}", found, expect);
            reply_any(&out);
        }
    }

    #[test]
    fn random_bytes_keep_the_contract(bytes in vec(any::<u8>(), 0..200)) {
        reply_any(&bytes);
    }

    #[test]
    fn near_replies_keep_the_contract(
        lines in vec("[-+:$*_%~>,#=(!]{1,2}(-?[0-9]{0,3}|inf|nan|t|f|)(\r\n|\n|\r)?", 0..12),
    ) {
        reply_any(lines.concat().as_bytes());
    }
}
