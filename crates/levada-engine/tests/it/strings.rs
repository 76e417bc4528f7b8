//! Bounds of strings: how long one may be, and who goes when all of them are too much.

use levada_core::command::{Command, Key, Set, SetExpiry, SetWhen};
use levada_core::error::Error as Refused;
use levada_core::limits::STRING_BYTES_MAX;
use levada_core::reply::Reply;
use levada_engine::shard::ShardSettings;

use crate::policy_rig::{Between, Rig};

fn key(name: &[u8]) -> Key<'_> {
    Key { database: 0, name }
}

fn set(rig: &mut Rig, name: &[u8], len: usize, expiry: SetExpiry) -> Result<Reply, Refused> {
    let (value, when) = (vec![b'v'; len], SetWhen::default());
    rig.ask(&Command::Set(Set { key: key(name), value: &value, when, expiry, get: false }))
}

/// Lengths of the strings a to e.
fn held(rig: &mut Rig) -> [i64; 5] {
    [b"a", b"b", b"c", b"d", b"e"].map(|name| match rig.reply(&Command::Strlen(key(name))) {
        Reply::Integer(len) => len,
        other => panic!("STRLEN answers {other:?}"),
    })
}

#[test]
fn only_as_much_is_evicted_as_makes_room_the_nearest_to_expire_first() {
    let settings = ShardSettings { strings_bytes_max: 1000, ..ShardSettings::default() };
    for between in [Between::Nothing, Between::Kill, Between::Checkpoint] {
        let mut rig = Rig::with(between, settings);
        for (name, at_ms) in [(b"a", 9_000_002), (b"b", 9_000_001), (b"c", 9_000_003)] {
            assert_eq!(set(&mut rig, name, 300, SetExpiry::At(at_ms)), Ok(Reply::Ok));
        }
        assert_eq!(set(&mut rig, b"d", 96, SetExpiry::Clear), Ok(Reply::Ok));
        assert_eq!(held(&mut rig), [300, 300, 300, 96, 0], "there is room");
        assert_eq!(set(&mut rig, b"e", 1, SetExpiry::Clear), Ok(Reply::Ok));
        assert_eq!(held(&mut rig), [300, 0, 300, 96, 1]);
        assert_eq!(set(&mut rig, b"e", 400, SetExpiry::Clear), Ok(Reply::Ok));
        assert_eq!(held(&mut rig), [0, 0, 300, 96, 400]);
        assert_eq!(set(&mut rig, b"e", 1000, SetExpiry::Clear), Err(Refused::OutOfMemory));
        assert_eq!(held(&mut rig), [0, 0, 300, 96, 400], "a refusal changes nothing");
    }
}

#[test]
fn the_longest_string_is_taken_and_one_byte_more_is_not() {
    let mut rig = Rig::new(Between::Nothing);
    let longest = set(&mut rig, b"k", STRING_BYTES_MAX, SetExpiry::Clear);
    assert_eq!(longest, Ok(Reply::Ok));
    let longer = set(&mut rig, b"k", STRING_BYTES_MAX + 1, SetExpiry::Clear);
    assert_eq!(longer, Err(Refused::StringTooLong));
    let len = i64::try_from(STRING_BYTES_MAX).expect("some megabytes");
    assert_eq!(rig.reply(&Command::Strlen(key(b"k"))), Reply::Integer(len));
}

#[test]
fn getex_with_a_time_that_has_come_removes() {
    let mut rig = Rig::new(Between::Nothing);
    for at_ms in [rig.now_ms - 1, rig.now_ms] {
        assert_eq!(set(&mut rig, b"k", 3, SetExpiry::Clear), Ok(Reply::Ok));
        let got = rig.reply(&Command::Getex(key(b"k"), SetExpiry::At(at_ms)));
        assert_eq!(got, Reply::Bytes(b"vvv"[..].into()));
        assert_eq!(rig.reply(&Command::Exists(vec![key(b"k")])), Reply::Integer(0), "{at_ms}");
    }
}
