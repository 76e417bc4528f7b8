//! What Redis wrote is understood, and written again it is the same.
//!
//! The fixtures hold, in the databases 0 and 3 of a server, a value of every type in each encoding
//! that it had, names with any bytes, expiries, a function library, and the stream `s`: 250 entries
//! with two sets of names, of which three were deleted and eight trimmed; the groups `g` with
//! pending entries of two consumers, one of them of an entry deleted since, `h`, and `empty`.

use levada_rdb::{
    File, FileKey, Id, Idmp, Item, Producer, StreamDump, StreamIds, Value, decode,
    property::{encode, entries},
};

const STREAM_7: &[u8] = include_bytes!("../fixtures/stream-7.0.dump");
const STREAM_8: &[u8] = include_bytes!("../fixtures/stream-8.6.dump");
const IDMP_8: &[u8] = include_bytes!("../fixtures/idmp-8.6.dump");
const FILE_7: &[u8] = include_bytes!("../fixtures/file-7.0.rdb");
const FILE_8: &[u8] = include_bytes!("../fixtures/file-8.6.rdb");

fn stream(payload: &[u8]) -> StreamDump {
    match decode(payload, 1 << 20).expect("a payload of Redis") {
        Value::Stream(stream) => stream,
        other => panic!("{other:?}"),
    }
}

fn check_stream(stream: &StreamDump) {
    let entries = entries(stream);
    assert_eq!(entries.len(), 239);
    let last = entries.last().expect("the last");
    assert_eq!(last.0, Id::new(1083, 1));
    let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    assert_eq!(last.1, vec![pair("name", "v249"), pair("n", "9213")]);
    let other = entries.iter().find(|(id, _)| *id == Id::new(1004, 3)).expect("there");
    assert_eq!(other.1, vec![pair("other", "-14"), pair("blob", &"z".repeat(70))]);
    let max_deleted_id = Id::new(1010, 1);
    let last_id = Id::new(1083, 1);
    assert_eq!(stream.ids, StreamIds { last_id, max_deleted_id, entries_added: 250 });

    let names: Vec<_> = stream.groups.iter().map(|group| group.name.as_slice()).collect();
    assert_eq!(names, [&b"empty"[..], b"g", b"h"]);
    let [empty, g, h] = &stream.groups[..] else { panic!("three") };
    assert_eq!((empty.last_id, empty.entries_read), (last_id, Some(5)));
    assert_eq!((h.last_id, h.entries_read), (Id::new(1050, 1), None));
    let names: Vec<_> = g.consumers.iter().map(|consumer| consumer.name.as_slice()).collect();
    assert_eq!(names, [&b"alice"[..], b"bob", b"idle"]);
    assert_eq!(g.pending.len(), 15);
    let counts: Vec<u64> = g.pending.iter().map(|pending| pending.count).collect();
    assert_eq!(counts, [2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    let owners: Vec<usize> = g.pending.iter().map(|pending| pending.consumer).collect();
    assert_eq!(owners, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    assert!(!entries.iter().any(|(id, _)| *id == g.pending[0].id), "deleted since");
    assert!(g.pending.iter().all(|pending| pending.delivered_ms > 1_700_000_000_000));
}

#[test]
fn streams_are_read() {
    let new = stream(STREAM_8);
    check_stream(&new);
    let idle = &new.groups[1].consumers[2];
    assert!(idle.seen_ms > 0 && idle.active_ms.is_none());
    assert_eq!(new.idmp, Some(Idmp::default()));

    let old = stream(STREAM_7);
    check_stream(&old);
    assert_eq!(old.idmp, None);
}

#[test]
fn what_idempotent_producers_left_is_read() {
    let stream = stream(IDMP_8);
    let idmp = stream.idmp.as_ref().expect("type 26");
    assert_eq!((idmp.duration_s, idmp.entries_max), (600, 50));
    let names = |producer: &Producer| {
        let iids = producer.entries.iter().map(|(iid, _)| iid.escape_ascii().to_string());
        (producer.name.escape_ascii().to_string(), iids.collect::<Vec<_>>())
    };
    let producers: Vec<_> = idmp.producers.iter().map(names).collect();
    let expected = [("p1", &["i0", "i1", "i2"][..]), ("p2", &["i1"])];
    let expected = expected
        .map(|(name, iids)| (name.to_owned(), iids.iter().map(|iid| (*iid).to_owned()).collect()));
    assert_eq!(producers, expected);
    assert_eq!((idmp.added, idmp.duplicates), (8, 2));
}

#[test]
fn streams_are_written_for_each_version() {
    let read = stream(STREAM_8);
    for version in 9..=13 {
        let again = stream(&encode(&read, version));
        assert_eq!(entries(&again), entries(&read), "version {version}");
        assert_eq!(again.groups.len(), 3);
        if version >= 10 {
            assert_eq!(again.ids, read.ids, "version {version}");
        }
        if version >= 11 {
            assert_eq!(again.groups, read.groups, "version {version}");
        }
    }
    for payload in [STREAM_7, STREAM_8, IDMP_8] {
        let read = stream(payload);
        let again = stream(&encode(&read, 13));
        assert_eq!((again.ids, again.groups), (read.ids, read.groups));
        assert_eq!(again.idmp, Some(read.idmp.unwrap_or_default()));
    }
}

/// The keys of a file in short.
fn keys(bytes: &[u8]) -> Vec<(u64, String, String)> {
    let mut keys = Vec::new();
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let place = |key: FileKey| (key.database, text(&key.name));
    for item in File::open(bytes).expect("a file") {
        let (key, what) = match item.expect("whole") {
            Item::Text(key, value) => (place(key), format!("string of {}", value.len())),
            Item::Unsupported(key, kind) => (place(key), kind.to_owned()),
            Item::StreamBegin(key) => (place(key), "stream".to_owned()),
            _ => continue,
        };
        keys.push((key.0, key.1, what));
    }
    keys.sort();
    keys
}

#[test]
fn files_are_read_key_by_key() {
    let check = |bytes: &[u8], more: &[(u64, &str, &str)]| {
        let mut expected = vec![
            (0, "b\\x00\\xff", "string of 256"),
            (0, "empty", "string of 0"),
            (0, "expiring", "string of 1"),
            (0, "int16", "string of 4"),
            (0, "int32", "string of 11"),
            (0, "int64", "string of 19"),
            (0, "int8", "string of 2"),
            (0, "none", "stream"),
            (0, "packed", "string of 900"),
            (0, "s", "stream"),
            (0, "text", "string of 5"),
            (3, "hash", "hash"),
            (3, "hlp", "hash"),
            (3, "intset", "set"),
            (3, "last", "string of 5"),
            (3, "list", "list"),
            (3, "list2", "list"),
            (3, "set", "set"),
            (3, "setlp", "set"),
            (3, "zlp", "zset"),
            (3, "zset", "zset"),
        ];
        expected.extend(more);
        expected.sort_unstable();
        let own = |(database, name, what): (u64, &str, &str)| (database, name.into(), what.into());
        assert_eq!(keys(bytes), expected.into_iter().map(own).collect::<Vec<_>>());
    };
    check(FILE_7, &[]);
    check(FILE_8, &[(0, "idmp", "stream"), (3, "hashex", "hash"), (3, "hlpex", "hash")]);
}

#[test]
fn values_and_expiries_of_a_file_are_told() {
    let items: Vec<Item> =
        File::open(FILE_8).expect("a file").map(|item| item.expect("whole")).collect();
    let text = |name: &str| {
        let found = items.iter().find_map(|item| match item {
            Item::Text(key, value) if key.name == name.as_bytes() => Some((key, value)),
            _ => None,
        });
        let (key, value) = found.expect("there");
        (value.escape_ascii().to_string(), key.expires_at_ms)
    };
    assert_eq!(text("int8"), ("-7".to_owned(), None));
    assert_eq!(text("int16"), ("3000".to_owned(), None));
    assert_eq!(text("int32"), ("-2000000000".to_owned(), None));
    assert_eq!(text("int64"), ("9223372036854775807".to_owned(), None));
    assert_eq!(text("packed"), ("abcabcabc".repeat(100), None));
    assert_eq!(text("expiring"), ("x".to_owned(), Some(4_102_444_800_123)));
    assert_eq!(text("last"), ("there".to_owned(), Some(4_102_444_800_001)));
}

#[test]
fn a_stream_of_a_file_comes_in_parts() {
    let mut items = File::open(FILE_8).expect("a file").map(|item| item.expect("whole"));
    let begins = |item: &Item| matches!(item, Item::StreamBegin(key) if key.name == b"s");
    assert!(items.by_ref().any(|item| begins(&item)));
    let mut dump = StreamDump::default();
    for item in items {
        match item {
            Item::Entries(node) => dump.nodes.push(node),
            Item::Ids(ids) => dump.ids = ids,
            Item::Group(group) => dump.groups.push(group),
            Item::StreamEnd(idmp) => {
                dump.idmp = idmp;
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(dump.nodes.len() > 2);
    check_stream(&dump);
}
