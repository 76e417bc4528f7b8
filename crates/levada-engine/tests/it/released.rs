//! RETENTION ACKED: what a group skips is counted and told, also behind a restart.

use std::ops::RangeInclusive;

use levada_core::{
    command::{Command, GroupOption, StreamOption, XgroupCfgset, XgroupCreate, XgroupSetid},
    id::StreamId,
    limits::BLOCK_ROWS,
    policy::Retention,
    reply::{Fact, Reply},
};
use levada_engine::shard::Noticed;

use crate::policy_rig::{Between, Rig, STREAM, each};

fn notices(rig: &mut Rig) -> Vec<(Vec<u8>, Noticed)> {
    let shard = rig.shard.as_mut().expect("it runs");
    let notices = shard.take_notices().into_iter();
    notices.map(|notice| (notice.group.to_vec(), notice.what)).collect()
}

fn add(rig: &mut Rig, ids: RangeInclusive<u64>) {
    for n in ids {
        rig.add(n);
    }
}

fn acked(rig: &mut Rig) {
    rig.set_stream(vec![StreamOption::Retention(Retention::Acked)]);
}

fn create_at(rig: &mut Rig, group: &[u8], id: Option<StreamId>) {
    let (create_stream, entries_read) = (false, None);
    let create = XgroupCreate { key: STREAM, group, id, create_stream, entries_read };
    rig.reply(&Command::XgroupCreate(create));
}

fn set_id(rig: &mut Rig, id: u64) {
    let id = Some(StreamId::new(id, 0));
    let setid = XgroupSetid { key: STREAM, group: b"g", id, entries_read: None };
    rig.reply(&Command::XgroupSetid(setid));
}

#[test]
fn a_group_that_goes_is_counted_by_its_stream() {
    each(|rig| {
        rig.create(b"g");
        rig.create(b"h");
        acked(rig);
        add(rig, 1..=5);
        assert_eq!(rig.read(b"h", b"c"), 5);
        rig.ack(b"h", &[1, 3]);
        rig.reply(&Command::XgroupDestroy(STREAM, b"h"));
        assert_eq!(rig.lag("released-unread"), Fact::Number(0));
        assert_eq!(rig.lag("stream-released-unread"), Fact::Number(3), "2, 4 and 5 were pending");
        assert_eq!(rig.len(STREAM), Reply::Integer(5), "g needs them");
    });
}

#[test]
fn a_group_that_is_set_forward_counts_what_it_skips() {
    each(|rig| {
        rig.create(b"g");
        acked(rig);
        add(rig, 1..=5);
        set_id(rig, 3);
        assert_eq!(rig.lag("released-unread"), Fact::Number(3));
        assert_eq!(rig.len(STREAM), Reply::Integer(2), "nothing held them");
        set_id(rig, 1);
        set_id(rig, 4);
        assert_eq!(rig.lag("released-unread"), Fact::Number(4), "4 alone is there to be skipped");
    });
}

#[test]
fn the_first_group_counts_what_it_begins_behind() {
    each(|rig| {
        add(rig, 1..=4);
        acked(rig);
        create_at(rig, b"g", Some(StreamId::new(3, 0)));
        assert_eq!(rig.lag("released-unread"), Fact::Number(3));
        create_at(rig, b"h", None);
        assert_eq!(rig.lag("released-unread"), Fact::Number(3), "the second one skips for itself");
        assert_eq!(rig.lag("stream-released-unread"), Fact::Number(0));
    });
}

#[test]
fn without_retention_acked_nothing_is_counted() {
    each(|rig| {
        rig.create(b"g");
        add(rig, 1..=4);
        set_id(rig, 3);
        acked(rig);
        let options = vec![GroupOption::Retain(false)];
        rig.reply(&Command::XgroupCfgset(XgroupCfgset { key: STREAM, group: b"g", options }));
        set_id(rig, 4);
        assert_eq!(rig.lag("released-unread"), Fact::Number(0));
    });
}

#[test]
fn an_operator_is_told_once() {
    let mut rig = Rig::new(Between::Nothing);
    rig.create(b"g");
    acked(&mut rig);
    add(&mut rig, 1..=5);
    set_id(&mut rig, 3);
    let what = Noticed::ReleasedUnread { count: 3, stays: true };
    assert_eq!(notices(&mut rig), [(b"g".to_vec(), what)]);
    create_at(&mut rig, b"late", Some(StreamId::MIN));
    let what = Noticed::BeginsBehindRemoved { first: StreamId::new(4, 0) };
    assert_eq!(notices(&mut rig), [(b"late".to_vec(), what)]);
    create_at(&mut rig, b"new", None);
    assert_eq!(notices(&mut rig), []);
    rig.reply(&Command::XgroupDestroy(STREAM, b"late"));
    let what = Noticed::ReleasedUnread { count: 2, stays: false };
    assert_eq!(notices(&mut rig), [(b"late".to_vec(), what)]);
}

#[test]
fn a_count_over_sealed_blocks_is_exact() {
    let mut rig = Rig::new(Between::Nothing);
    rig.create(b"g");
    acked(&mut rig);
    let rows = u64::from(BLOCK_ROWS);
    add(&mut rig, 1..=3 * rows);
    set_id(&mut rig, rows / 2);
    assert_eq!(rig.lag("released-unread"), Fact::Number(rows / 2));
    set_id(&mut rig, 2 * rows + 7);
    assert_eq!(rig.lag("released-unread"), Fact::Number(2 * rows + 7));
}
