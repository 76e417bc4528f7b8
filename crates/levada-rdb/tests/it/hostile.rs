//! Bytes that claim to be RDB: cut, changed, or made up. They are refused, never a panic, and never
//! memory for what was only announced.

use levada_rdb::{
    Error, File, Id, StreamIds, StreamWriter, Value, decode, encode_text,
    property::{file_any, payload_any, sealed},
};
use proptest::prelude::*;

const PAYLOADS: [&[u8]; 3] = [
    include_bytes!("../fixtures/stream-7.0.dump"),
    include_bytes!("../fixtures/stream-8.6.dump"),
    include_bytes!("../fixtures/idmp-8.6.dump"),
];
const FILE: &[u8] = include_bytes!("../fixtures/file-8.6.rdb");

fn body(payload: &[u8]) -> &[u8] {
    &payload[..payload.len() - 10]
}

#[test]
fn every_cut_payload_is_refused() {
    for payload in PAYLOADS {
        let body = body(payload);
        for len in 0..body.len() {
            assert!(decode(&sealed(&body[..len]), 1 << 20).is_err(), "cut at {len}");
        }
        for len in 0..payload.len() {
            assert!(decode(&payload[..len], 1 << 20).is_err(), "cut at {len}");
        }
        assert!(decode(&sealed(&[body, b"\0"].concat()), 1 << 20).is_err(), "one byte more");
    }
}

#[test]
fn every_cut_file_is_refused() {
    let items = File::open(FILE).expect("a file").count();
    for len in (0..FILE.len()).step_by(29) {
        let Ok(file) = File::open(&FILE[..len]) else {
            assert!(len < 9, "the magic is there");
            continue;
        };
        let read: Vec<_> = file.collect();
        assert!(matches!(read.last(), Some(Err(Error::Truncated))), "cut at {len}");
        assert!(read.len() <= items + 1);
    }
}

#[test]
fn a_changed_trailer_is_refused() {
    let payload = encode_text(b"value", 13);
    assert_eq!(decode(&payload, 0).expect("whole"), Value::Text(b"value".to_vec()));
    for at in payload.len() - 10..payload.len() {
        let mut changed = payload.clone();
        changed[at] ^= 0x55;
        assert!(matches!(decode(&changed, 0), Err(Error::Trailer)), "byte {at}");
    }
    // A checksum of 0 says that there is none.
    let unsummed = [&payload[..payload.len() - 8], &[0; 8]].concat();
    assert!(decode(&unsummed, 0).is_ok());
    let mut changed = FILE.to_vec();
    *changed.last_mut().expect("a byte") ^= 1;
    let last = File::open(&changed[..]).expect("a file").last();
    assert!(matches!(last, Some(Err(Error::Checksum))));
}

#[test]
fn what_is_only_announced_takes_no_memory() {
    // A string of 2^63 bytes, one that unpacks to them, lists and nodes without end.
    let huge = [0x81, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    for body in [
        [&[0][..], &huge].concat(),
        [&[0, 0xC3, 1][..], &huge].concat(),
        [&[0, 0xC3][..], &huge, &huge].concat(),
        [&[1][..], &huge].concat(),
        [&[15][..], &huge].concat(),
        [&[26, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &huge].concat(),
    ] {
        let error = decode(&sealed(&body), 1 << 20).expect_err("too long");
        let refused =
            matches!(error, Error::Truncated | Error::Corrupt(_) | Error::TooLarge { .. });
        assert!(refused, "{error}");
        let file = [b"REDIS0013", &body[..1], b"\x01k", &body[1..]].concat();
        let last = File::open(&file[..]).expect("a file").last();
        assert!(matches!(last, Some(Err(_))), "{last:?}");
    }
    // 300 bytes that unpack to 26,400.
    let packed = [&[0x00, b'a'][..], &[0xE0, 0xFF, 0x00].repeat(100)].concat();
    let body = [&[0, 0xC3, 0x41, 0x2E, 0x80, 0, 0, 0x67, 0x21][..], &packed].concat();
    assert!(matches!(decode(&sealed(&body), 26_401), Ok(Value::Text(_))));
    let error = decode(&sealed(&body), 26_400).expect_err("too long");
    assert!(matches!(error, Error::TooLarge { bytes: 26_401, bytes_max: 26_400 }), "{error}");
}

#[test]
fn streams_that_contradict_themselves_are_refused() {
    // Each builds the body of a small stream of type 15 with one part of it wrong.
    let node = |base: u64, listpack: &[u8]| {
        [&[16][..], &base.to_be_bytes(), &[0; 8], &[small(listpack.len())], listpack].concat()
    };
    let mut writer = StreamWriter::new(9);
    writer.push(Id::new(5, 0), &[("f", "v")]);
    let ids = StreamIds { last_id: Id::new(5, 0), entries_added: 1, ..StreamIds::default() };
    let whole = writer.finish(&ids, &[], None);
    let listpack = whole[20..whole.len() - 14].to_vec();
    let tail = [1, 5, 0, 0];
    let check = |what: &str, body: Vec<u8>, expected: Option<&str>| {
        let error = decode(&sealed(&body), 0).err().map(|error| error.to_string());
        let fits = match (&error, expected) {
            (Some(error), Some(expected)) => error.contains(expected),
            (error, expected) => error.is_none() && expected.is_none(),
        };
        assert!(fits, "{what}: {error:?}");
    };
    let one = |listpack: &[u8]| [&[15, 1][..], &node(5, listpack), &tail].concat();
    let with = |at: usize, byte: u8| {
        let mut changed = listpack.clone();
        changed[at] = byte;
        one(&changed)
    };
    check("whole", one(&listpack), None);
    // 6 count, 8 deleted, 10 names, 12 name, 15 zero, 17 flags, 19 ms, 21 seq, 23 value, 26 own
    check("live entries", with(6, 2), Some("malformed"));
    check("deleted entries", with(8, 1), Some("malformed"));
    check("master fields", with(10, 2), Some("does not end"));
    check("no end of them", with(15, 1), Some("does not end"));
    check("deleted after all", with(17, 3), Some("another number of entries"));
    check("elements of an entry", with(26, 5), Some("another number of elements"));
    check("elements in all", with(4, 9), Some("another number of entries"));
    let two = [&[15, 2][..], &node(5, &listpack), &node(5, &listpack), &[2, 5, 0, 0]].concat();
    check("the same id twice", two, Some("do not increase"));
    let two = [&[15, 2][..], &node(5, &listpack), &node(4, &listpack), &[2, 5, 0, 0]].concat();
    check("a lower id", two, Some("do not increase"));
    let zero = [&[15, 1][..], &node(0, &listpack), &tail].concat();
    check("the id 0-0", zero, Some("do not increase"));
    let ends = |tail: &[u8]| [&[15, 1][..], &node(5, &listpack), tail].concat();
    check("length", ends(&[2, 5, 0, 0]), Some("another number of entries"));
    check("last id", ends(&[1, 4, 0, 0]), Some("do not fit"));
    let pending = |ids: &[u8], consumers: &[&[u8]]| {
        let mut body = ends(&[1, 5, 0, 1, 1, b'g', 5, 0, small(ids.len())]);
        ids.iter().for_each(|id| body.extend(raw(*id).iter().chain(&[0; 8]).chain(&[1])));
        body.push(small(consumers.len()));
        for (number, ids) in consumers.iter().enumerate() {
            body.extend([1, b'a' + small(number / 2)]);
            body.extend([0; 8]);
            body.push(small(ids.len()));
            ids.iter().for_each(|id| body.extend(raw(*id)));
        }
        body
    };
    check("pending", pending(&[1, 5], &[&[5, 1]]), None);
    check("pending twice", pending(&[5, 5], &[&[5]]), Some("do not increase"));
    check("of nobody", pending(&[5], &[&[]]), Some("no consumer"));
    check("of a consumer only", pending(&[5], &[&[4, 5]]), Some("that its group lacks"));
    check("of two", pending(&[5], &[&[5], &[]]), Some("same name"));
    check("twice of one", pending(&[5], &[&[5, 5]]), Some("two consumers"));
    let groups = ends(&[1, 5, 0, 2, 1, b'g', 5, 0, 0, 0, 1, b'g', 5, 0, 0, 0]);
    check("two groups", groups, Some("two groups"));
}

fn small(len: usize) -> u8 {
    u8::try_from(len).expect("small")
}

fn raw(ms: u8) -> [u8; 16] {
    (u128::from(ms) << 64).to_be_bytes()
}

proptest! {
    #[test]
    fn any_payload_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300)) {
        payload_any(&body);
        for kind in [0, 1, 3, 7, 15, 18, 19, 21, 24, 26] {
            payload_any(&[&[kind], &body[..]].concat());
        }
    }

    #[test]
    fn any_changed_payload_is_read_or_refused(
        which in 0..PAYLOADS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = body(PAYLOADS[which]).to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] ^= byte;
        }
        payload_any(&body);
    }

    #[test]
    fn any_changed_file_is_read_or_refused(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut file = FILE.to_vec();
        let at = at.index(file.len());
        file[at] ^= byte;
        file_any(&file);
    }
}
