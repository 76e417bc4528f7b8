//! What XREADGROUP marks as delivered: no more than it shows, and nothing that is gone.

use levada_core::command::{
    Command, GroupOption, Key, NewId, ReadMost, Xadd, XgroupCreate, Xreadgroup,
};
use levada_core::fields::Fields;
use levada_core::id::StreamId;
use levada_core::reply::Reply;

use crate::policy_rig::{Between, Rig, STREAM, each, new_entries};

const OTHER: Key<'_> = Key { database: 0, name: b"a stream of a long name and without entries" };

fn id(n: u64) -> StreamId {
    StreamId::new(n, 0)
}

/// XREADGROUP with MAXSIZE.
fn bounded<'a>(group: &'a [u8], bytes: u64, keys: &[Key<'a>]) -> Command<'a> {
    let (consumer, most) = (&b"c"[..], ReadMost { entries: None, bytes: Some(bytes) });
    let streams = keys.iter().map(|key| (*key, None)).collect();
    let (count, claim_idle_ms, no_ack) = (None, None, false);
    Command::Xreadgroup(Xreadgroup { group, consumer, count, most, claim_idle_ms, no_ack, streams })
}

#[test]
fn in_order_too_what_does_not_fit_a_reply_is_not_delivered() {
    each(|rig| {
        rig.create(b"g");
        rig.set_group(vec![GroupOption::OrderBy(b"who")]);
        for n in 1..=3 {
            let who = n.to_string();
            let fields: [&[u8]; 2] = [b"who", who.as_bytes()];
            let (id, fields) = (NewId::Explicit(id(n)), Fields::Arguments(&fields));
            let (key, must_exist, trim, idempotent) = (STREAM, false, None, None);
            rig.reply(&Command::Xadd(Xadd { key, must_exist, trim, id, fields, idempotent }));
        }
        for n in 1..=3 {
            assert_eq!(rig.ids(&bounded(b"g", 1, &[STREAM])), [id(n)]);
            assert_eq!(rig.info(b"g").pending, n);
        }
    });
}

#[test]
fn a_stream_without_entries_takes_no_room_in_a_reply() {
    let mut rig = Rig::new(Between::Nothing);
    (1..=2).for_each(|n| _ = rig.add(n));
    let group = |rig: &mut Rig, group: &[u8]| {
        for key in [STREAM, OTHER] {
            let (id, create_stream, entries_read) = (Some(StreamId::MIN), true, None);
            let create = XgroupCreate { key, group, id, create_stream, entries_read };
            rig.reply(&Command::XgroupCreate(create));
        }
    };
    let enough = (1..200).find(|bytes| {
        let name = bytes.to_string();
        group(&mut rig, name.as_bytes());
        rig.ids(&bounded(name.as_bytes(), *bytes, &[STREAM])).len() == 2
    });
    group(&mut rig, b"both");
    let read = bounded(b"both", enough.expect("two short entries"), &[OTHER, STREAM]);
    assert_eq!(rig.ids(&read), [id(1), id(2)]);
}

#[test]
fn what_is_offered_and_deleted_is_pending_no_more_once_it_is_read() {
    each(|rig| {
        rig.create(b"g");
        rig.set_group(vec![GroupOption::AckWait(1000)]);
        (1..=2).for_each(|n| _ = rig.add(n));
        assert_eq!(rig.read(b"g", b"c"), 2);
        rig.wait(1000);
        assert_eq!(rig.reply(&Command::Xdel(STREAM, vec![id(1)])), Reply::Integer(1));
        assert_eq!(rig.ids(&new_entries(b"g", b"d", None)), [id(2)]);
        assert_eq!(rig.info(b"g").pending, 1);
    });
}
