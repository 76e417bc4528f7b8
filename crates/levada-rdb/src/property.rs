//! What must hold for any bytes at all. The fuzz targets and the property tests both call these
//! functions, so that a finding of the one is a test of the other.

use std::io::{self, Read};

use crate::{
    Error, File, Id, Item, StreamDump, StreamWriter, VERSION, Value, checksum, decode, encode_text,
};

/// Bytes that a payload may unpack to here.
const UNPACK_BYTES_MAX: u64 = 1 << 20;

/// An entry with its own bytes.
pub type OwnedEntry = (Id, Vec<(Vec<u8>, Vec<u8>)>);

/// The entries of a stream.
pub fn entries(stream: &StreamDump) -> Vec<OwnedEntry> {
    let entries = stream.nodes.iter().flat_map(crate::Node::entries);
    let own = |entry: crate::Entry<'_>| {
        let pairs = entry.fields.iter();
        (entry.id, pairs.map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
    };
    entries.map(own).collect()
}

/// A stream as a payload of an RDB version.
pub fn encode(stream: &StreamDump, rdb_version: u16) -> Vec<u8> {
    let mut writer = StreamWriter::new(rdb_version);
    for entry in stream.nodes.iter().flat_map(crate::Node::entries) {
        writer.push(entry.id, &entry.fields);
    }
    writer.finish(&stream.ids, &stream.groups, stream.idmp.as_ref())
}

/// Puts a right trailer behind some bytes.
pub fn sealed(body: &[u8]) -> Vec<u8> {
    let mut payload = [body, &VERSION.to_le_bytes()].concat();
    let sum = checksum::of(&payload);
    payload.extend_from_slice(&sum.to_le_bytes());
    payload
}

/// Checks that a payload of any bytes, given a right trailer, is read or refused, and that what is
/// read is written and read again as the same.
///
/// # Panics
///
/// If that does not hold.
pub fn payload_any(body: &[u8]) {
    let _ = decode(body, UNPACK_BYTES_MAX);
    let payload = sealed(body);
    match decode(&payload, UNPACK_BYTES_MAX) {
        Err(Error::Trailer | Error::Io(_) | Error::Magic | Error::Version(_) | Error::Checksum) => {
            panic!("the trailer is right, and this is no file");
        }
        Err(_) | Ok(Value::Unsupported(_)) => {}
        Ok(Value::Text(text)) => {
            let again = decode(&encode_text(&text, VERSION), 0).expect("own payload");
            assert_eq!(again, Value::Text(text));
        }
        Ok(Value::Stream(stream)) => check_again(&stream),
    }
}

fn check_again(stream: &StreamDump) {
    let entries_total: u64 = stream.nodes.iter().map(crate::Node::len).sum();
    let read = entries(stream);
    assert_eq!(read.len() as u64, entries_total, "a node has as many entries as it says");
    let written = encode(stream, VERSION);
    let Ok(Value::Stream(again)) = decode(&written, 0) else {
        panic!("an own payload is refused");
    };
    assert_eq!(entries(&again), read);
    assert_eq!((again.ids, &again.groups), (stream.ids, &stream.groups));
    assert_eq!(again.idmp, Some(stream.idmp.clone().unwrap_or_default()));
    assert_eq!(encode(&again, VERSION), written, "written the same again");
}

/// Checks that a file of any bytes is read or refused, that the end of it decides no other items,
/// and that it does not matter how its bytes arrive.
///
/// # Panics
///
/// If that does not hold.
pub fn file_any(bytes: &[u8]) {
    let whole = read_file(bytes);
    assert_eq!(read_file(Dribble(bytes)), whole, "byte by byte");
    let (items, _) = &whole;
    let (fewer, _) = read_file(&bytes[..bytes.len() / 2]);
    assert!(items.starts_with(&fewer), "half of it");
}

/// Items up to the end or an error, and that error's text.
pub fn read_file(input: impl Read) -> (Vec<Item>, Option<String>) {
    let file = match File::with_string_bytes_max(input, UNPACK_BYTES_MAX) {
        Ok(file) => file,
        Err(error) => return (Vec::new(), Some(error.to_string())),
    };
    let mut items = Vec::new();
    for item in file {
        match item {
            Ok(item) => items.push(item),
            Err(error) => return (items, Some(error.to_string())),
        }
    }
    (items, None)
}

/// A reader that hands out one byte at a time.
struct Dribble<'a>(&'a [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some((first, out)) = self.0.split_first().zip(out.first_mut()) else {
            return Ok(0);
        };
        (*out, self.0) = (*first.0, first.1);
        Ok(1)
    }
}
