//! Dead letters that are looked at, given back to their group and removed.

use levada_core::{
    command::{
        Command, GroupOption, Key, Letters, NackMode, NewId, StreamOption, Xadd, Xdlq, XdlqVerb,
        XgroupCreate, XgroupSetid, Xnack, Xrange,
    },
    error::{Error as Refused, Limit},
    fields::Fields,
    id::StreamId,
    limits::{BLOCK_BYTES, BLOCK_ROWS},
    policy::Retention,
    reply::{Fact, Reply},
};

use crate::policy_rig::{Between, LETTERS, Rig, STREAM, each, new_entries};

const ALL: Letters = Letters::First(1000);

fn id(n: u64) -> StreamId {
    StreamId::new(n, 0)
}

fn xdlq(verb: XdlqVerb, group: &[u8], letters: Letters) -> Command<'_> {
    xdlq_after(StreamId::MIN, verb, group, letters)
}

fn xdlq_after(after: StreamId, verb: XdlqVerb, group: &[u8], letters: Letters) -> Command<'_> {
    Command::Xdlq(Xdlq { verb, key: STREAM, group, letters, after })
}

/// XNACK FATAL.
fn fail(rig: &mut Rig, group: &[u8], ids: &[u64]) {
    let ids: Vec<_> = ids.iter().map(|n| id(*n)).collect();
    let released = i64::try_from(ids.len()).expect("few");
    let (retry_count, delay_ms, reason) = (None, None, None);
    let (mode, force) = (NackMode::Fatal, false);
    let nack = Xnack { key: STREAM, group, mode, ids, retry_count, force, delay_ms, reason };
    assert_eq!(rig.reply(&Command::Xnack(nack)), Reply::Integer(released));
}

fn range(key: Key<'_>) -> Command<'_> {
    let (first, last) = (StreamId::MIN, StreamId::MAX);
    Command::Xrange(Xrange { key, first, last, reverse: false, count: None })
}

/// Three entries, and group g whose second one is a dead letter.
fn poisoned(rig: &mut Rig) {
    rig.create(b"g");
    rig.set_group(vec![GroupOption::AckWait(1000)]);
    for n in 1..=3 {
        rig.add(n);
    }
    assert_eq!(rig.read(b"g", b"c"), 3);
    rig.ack(b"g", &[1, 3]);
    fail(rig, b"g", &[2]);
    assert_eq!(rig.len(LETTERS), Reply::Integer(1));
}

#[test]
fn a_redriven_entry_is_seen_by_the_group_that_failed_and_by_no_other() {
    each(|rig| {
        for other in [&b"h"[..], b"i", b"j"] {
            rig.create(other);
        }
        rig.set_stream(vec![StreamOption::Retention(Retention::Acked)]);
        poisoned(rig);
        for other in [&b"h"[..], b"i", b"j"] {
            assert_eq!(rig.read(other, b"c"), 3);
            rig.ack(other, &[1, 2, 3]);
        }
        assert_eq!(rig.len(STREAM), Reply::Integer(0), "all is done, but for the dead letter");
        let before = rig.info(b"h");
        assert_eq!(rig.reply(&xdlq(XdlqVerb::Redrive, b"g", ALL)), Reply::Integer(1));
        assert_eq!(rig.len(LETTERS), Reply::Integer(0));
        assert_eq!(rig.len(STREAM), Reply::Integer(1), "g needs it");
        for other in [&b"h"[..], b"i", b"j"] {
            assert_eq!(rig.read(other, b"c"), 0);
            assert_eq!((rig.info(other).lag, rig.info(other).pending), (Some(0), 0));
            assert_eq!(rig.lag_of(other, "entries"), Fact::Number(0));
        }
        assert_eq!(rig.info(b"h").last_id, before.last_id);
        assert_eq!((rig.info(b"g").lag, rig.info(b"g").pending), (Some(0), 1));
        assert_eq!(rig.lag("offered"), Fact::Number(1));
        let shown = rig.ids(&range(STREAM));
        assert_eq!(rig.ids(&new_entries(b"g", b"c", None)), shown, "as a new one");
        assert_eq!(rig.read(b"g", b"c"), 0, "once");
        rig.reply(&Command::Xack(STREAM, b"g", shown));
        assert_eq!(rig.len(STREAM), Reply::Integer(0), "nobody else holds it");
    });
}

#[test]
fn its_fields_are_those_of_the_entry_and_its_counters_begin_anew() {
    each(|rig| {
        poisoned(rig);
        rig.set_group(vec![GroupOption::MaxDeliver(2)]);
        rig.reply(&xdlq(XdlqVerb::Redrive, b"g", ALL));
        let (_, entries) = rig.ask_entries(&new_entries(b"g", b"c", None)).expect("allowed");
        assert_eq!(entries[0].fields, Some(vec![(b"n".to_vec(), b"v".to_vec())]));
        rig.wait(1000);
        assert_eq!(rig.read(b"g", b"c"), 1, "the first delivery was one of two");
        assert_eq!(rig.len(LETTERS), Reply::Integer(0));
        rig.wait(1000);
        assert_eq!(rig.len(LETTERS), Reply::Integer(1), "it may die again");
        assert_eq!(rig.lag("dead-letters"), Fact::Number(2));
    });
}

#[test]
fn groups_that_are_behind_new_or_set_back_pass_it_over() {
    each(|rig| {
        rig.create(b"h");
        poisoned(rig);
        rig.reply(&xdlq(XdlqVerb::Redrive, b"g", ALL));
        let four = rig.now_ms + 1;
        rig.add(four);
        assert_eq!(rig.info(b"h").lag, Some(4));
        assert_eq!(rig.lag_of(b"h", "entries"), Fact::Number(4));
        assert_eq!(rig.ids(&new_entries(b"h", b"c", Some(2))), [id(1), id(2)]);
        assert_eq!(rig.info(b"h").lag, Some(2));
        assert_eq!(rig.ids(&new_entries(b"h", b"c", Some(1))), [id(3)]);
        assert_eq!(rig.info(b"h").lag, Some(1), "only what is behind the redriven one");
        assert_eq!(rig.ids(&new_entries(b"h", b"c", Some(9))), [id(four)]);
        assert_eq!((rig.info(b"h").lag, rig.info(b"h").entries_read), (Some(0), Some(5)));
        let all = [id(1), id(2), id(3), id(four)];
        rig.create(b"late");
        assert_eq!(rig.info(b"late").lag, Some(4));
        assert_eq!(rig.ids(&new_entries(b"late", b"c", None)), all);
        for group in [&b"h"[..], b"g"] {
            let (key, entries_read, from) = (STREAM, None, Some(StreamId::MIN));
            let setid = XgroupSetid { key, group, id: from, entries_read };
            rig.reply(&Command::XgroupSetid(setid));
        }
        assert_eq!(rig.ids(&new_entries(b"h", b"c", None)), all);
        let redriven = rig.ids(&range(STREAM))[3];
        let of_g = rig.ids(&new_entries(b"g", b"c", None));
        assert_eq!(of_g, [&[redriven][..], &all[..]].concat(), "what is offered comes first");
    });
}

#[test]
fn letters_of_several_groups_in_one_stream_are_told_apart() {
    each(|rig| {
        poisoned(rig);
        let create = XgroupCreate {
            key: STREAM,
            group: b"other",
            id: Some(StreamId::MIN),
            create_stream: false,
            entries_read: None,
        };
        rig.reply(&Command::XgroupCreate(create));
        let options = vec![GroupOption::AckWait(1000), GroupOption::Dlq(LETTERS.name)];
        rig.set_group_of(b"other", options);
        assert_eq!(rig.read(b"other", b"c"), 3);
        fail(rig, b"other", &[1, 2, 3]);
        let fields = Fields::Arguments(&[b"by", b"hand"]);
        let (must_exist, trim, idempotent) = (false, None, None);
        let by_hand = Xadd { key: LETTERS, must_exist, trim, id: NewId::Auto, fields, idempotent };
        rig.reply(&Command::Xadd(by_hand));
        assert_eq!(rig.len(LETTERS), Reply::Integer(5));
        let none = Letters::First(0);
        assert_eq!(rig.reply(&xdlq(XdlqVerb::Len, b"g", none.clone())), Reply::Integer(1));
        assert_eq!(rig.reply(&xdlq(XdlqVerb::Len, b"other", none)), Reply::Integer(3));
        let letters = rig.ids(&xdlq(XdlqVerb::Range, b"other", ALL));
        let of_g = rig.ids(&xdlq(XdlqVerb::Range, b"g", ALL));
        assert_eq!((letters.len(), of_g.len()), (3, 1));
        let purge = xdlq(XdlqVerb::Purge, b"other", Letters::Ids(vec![of_g[0], letters[1]]));
        assert_eq!(rig.reply(&purge), Reply::Integer(1), "the letter of another group stays");
        let purged = xdlq(XdlqVerb::Redrive, b"other", Letters::Ids(vec![letters[1]]));
        assert_eq!(rig.reply(&purged), Reply::Integer(0));
        let one = xdlq(XdlqVerb::Redrive, b"other", Letters::First(1));
        assert_eq!(rig.reply(&one), Reply::Integer(1));
        assert_eq!(rig.ids(&xdlq(XdlqVerb::Range, b"other", ALL)), [letters[2]]);
        assert_eq!(rig.len(LETTERS), Reply::Integer(3));
    });
}

#[test]
fn a_full_stream_or_a_missing_group_changes_nothing() {
    each(|rig| {
        poisoned(rig);
        rig.create(b"unread");
        rig.set_stream(vec![StreamOption::MaxLen(3)]);
        let redrive = xdlq(XdlqVerb::Redrive, b"g", ALL);
        let refused = rig.ask(&redrive).expect_err("nobody read them");
        assert_eq!(refused, Refused::Limit(Limit::Len { max: 3, held: 3 }));
        assert_eq!((rig.len(STREAM), rig.len(LETTERS)), (Reply::Integer(3), Reply::Integer(1)));
        assert_eq!(rig.info(b"g").pending, 0);
        rig.reply(&Command::XgroupDestroy(STREAM, b"g"));
        let refused = rig.ask(&redrive).expect_err("the group is gone");
        assert!(matches!(refused, Refused::NoGroup { .. }));
        assert_eq!(rig.len(LETTERS), Reply::Integer(1));
    });
}

#[test]
fn letters_in_sealed_blocks_come_back_call_by_call() {
    each(|rig| {
        rig.create(b"g");
        rig.create(b"h");
        let all = u64::from(BLOCK_ROWS) + 10;
        rig.quietly(|rig| (0..all).for_each(|_| add_letter(rig, b"g", b"v")));
        let none = Letters::First(0);
        let every = Reply::Integer(all.cast_signed());
        assert_eq!(rig.reply(&xdlq(XdlqVerb::Len, b"g", none)), every);
        let mut back = 0;
        while back < all {
            let redriven = rig.reply(&xdlq(XdlqVerb::Redrive, b"g", ALL));
            let Reply::Integer(count @ 1..=1000) = redriven else {
                panic!("REDRIVE answers {redriven:?}");
            };
            back += count.unsigned_abs();
        }
        assert_eq!((rig.len(LETTERS), rig.len(STREAM)), (Reply::Integer(0), every));
        assert_eq!((rig.read(b"h", b"c"), rig.info(b"h").lag), (0, Some(0)));
        assert_eq!(rig.read(b"g", b"c"), all);
    });
}

#[test]
fn every_letter_is_reached_however_many_others_stand_before_it() {
    let mut rig = Rig::new(Between::Nothing);
    rig.create(b"g");
    rig.create(b"other");
    rig.set_group_of(b"other", vec![GroupOption::Dlq(LETTERS.name)]);
    // A block each, and more of them than one call looks into.
    let block = vec![b'x'; BLOCK_BYTES];
    (0..260).for_each(|_| add_letter(&mut rig, b"other", &block));
    (0..2).for_each(|_| add_letter(&mut rig, b"g", b"v"));
    let none = Letters::First(0);
    let ended = rig.ask(&xdlq(XdlqVerb::Len, b"other", none.clone())).expect_err("too many");
    let Refused::TooManyLetters { counted: 256, last } = ended else {
        panic!("LEN answers {ended:?}");
    };
    let rest = rig.reply(&xdlq_after(last, XdlqVerb::Len, b"other", none.clone()));
    assert_eq!(rest, Reply::Integer(4));
    for (verb, letters) in
        [(XdlqVerb::Len, none), (XdlqVerb::Range, ALL), (XdlqVerb::Redrive, Letters::First(1))]
    {
        let ended = rig.ask(&xdlq(verb, b"g", letters.clone())).expect_err("all are the other's");
        assert_eq!(ended, Refused::TooManyLetters { counted: 0, last }, "{verb:?}");
        let found = xdlq_after(last, verb, b"g", letters);
        match verb {
            XdlqVerb::Len => assert_eq!(rig.reply(&found), Reply::Integer(2)),
            XdlqVerb::Range => assert_eq!(rig.ids(&found).len(), 2),
            _ => assert_eq!(rig.reply(&found), Reply::Integer(1)),
        }
    }
    let first = rig.ids(&xdlq_after(last, XdlqVerb::Range, b"g", ALL))[0];
    let behind = xdlq_after(first, XdlqVerb::Range, b"g", ALL);
    assert!(rig.ids(&behind).is_empty(), "AFTER itself is not shown");
    let purge = xdlq_after(last, XdlqVerb::Purge, b"g", ALL);
    assert_eq!((rig.reply(&purge), rig.len(LETTERS)), (Reply::Integer(1), Reply::Integer(260)));
}

/// A letter as the server writes it.
fn add_letter(rig: &mut Rig, group: &[u8], value: &[u8]) {
    let fields: &[&[u8]] = &[
        b"n",
        value,
        b"x-dlq-source",
        STREAM.name,
        b"x-dlq-id",
        b"1-0",
        b"x-dlq-group",
        group,
        b"x-dlq-consumer",
        b"c",
        b"x-dlq-deliveries",
        b"1",
        b"x-dlq-reason",
        b"fatal",
        b"x-dlq-first-ms",
        b"1",
        b"x-dlq-last-ms",
        b"2",
    ];
    let fields = Fields::Arguments(fields);
    let (must_exist, trim, idempotent) = (false, None, None);
    let letter = Xadd { key: LETTERS, must_exist, trim, id: NewId::Auto, fields, idempotent };
    rig.reply(&Command::Xadd(letter));
}

#[test]
fn one_call_gives_back_a_bounded_number_of_bytes() {
    let mut rig = Rig::new(Between::Nothing);
    rig.create(b"g");
    let value = vec![b'v'; 3 << 20];
    (0..3).for_each(|_| add_letter(&mut rig, b"g", &value));
    for left in [2, 1, 0] {
        assert_eq!(rig.reply(&xdlq(XdlqVerb::Redrive, b"g", ALL)), Reply::Integer(1));
        assert_eq!(rig.len(LETTERS), Reply::Integer(left));
    }
}

#[test]
fn nothing_is_remembered_of_what_came_back_and_is_gone() {
    each(|rig| {
        poisoned(rig);
        assert_eq!(rig.reply(&xdlq(XdlqVerb::Redrive, b"g", ALL)), Reply::Integer(1));
        let remembered = |rig: &Rig| {
            let machine = rig.shard.as_ref().expect("it runs").machine();
            machine.stream(STREAM).map(|(_, stream)| stream.redriven.len())
        };
        assert_eq!(remembered(rig), Some(1));
        let all = rig.ids(&range(STREAM));
        assert_eq!(rig.reply(&Command::Xdel(STREAM, all)), Reply::Integer(4));
        assert_eq!(remembered(rig), Some(0));
    });
}
