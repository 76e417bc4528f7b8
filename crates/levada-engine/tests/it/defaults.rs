//! Policies that streams and groups have from their beginning, and which a restart without the
//! configuration keeps.

use std::sync::Arc;

use levada_core::{
    command::{
        Command, Idempotent, Key, NewId, Restore, Restored, SchedVerb, Xadd, XgroupCreate, Xsched,
    },
    defaults::{Defaults, GroupDefault, StreamDefault},
    fields::Fields,
    id::StreamId,
    policy::{GroupPolicy, Retention, StreamPolicy},
    reply::{Fact, Reply},
    restored::{RestoredGroup, RestoredStream},
};

use crate::policy_rig::{Rig, STREAM, each};

const LETTERS: Key<'_> = Key { database: 0, name: b"{orders}:dlq:g" };
const RESTORED: Key<'_> = Key { database: 2, name: b"restored" };

fn set_defaults(rig: &mut Rig) {
    let stream = |pattern: &[u8], policy| StreamDefault {
        pattern: pattern.into(),
        policy,
        idmp_duration_s: Some(9),
        idmp_iids_max: None,
    };
    let orders = StreamPolicy {
        retention: Retention::Acked,
        dedup_window_ms: 60_000,
        dedup_max: 10,
        ..StreamPolicy::default()
    };
    let others = StreamPolicy { max_len: 100, ..StreamPolicy::default() };
    let policy = GroupPolicy { ack_wait_ms: 1000, max_deliver: 1, ..GroupPolicy::default() };
    let groups = vec![GroupDefault { pattern: b"*".into(), group: b"g".into(), policy }];
    let streams = vec![stream(b"orders", orders), stream(b"*", others)];
    let shard = rig.shard.as_mut().expect("it runs");
    shard.set_defaults(Arc::new(Defaults { streams, groups }));
}

fn fact(rig: &mut Rig, command: &Command<'_>, name: &str) -> Fact {
    match rig.reply(command) {
        Reply::Facts(facts) => {
            facts.into_iter().find(|(known, _)| *known == name).expect("it is shown").1
        }
        other => panic!("not facts: {other:?}"),
    }
}

fn append(rig: &mut Rig, iid: &[u8]) -> Reply {
    let fields = Fields::Arguments(&[b"f", b"v"]);
    let idempotent = Some(Idempotent { pid: b"p", iid: Some(iid) });
    let (key, must_exist, trim, id) = (STREAM, false, None, NewId::Auto);
    rig.reply(&Command::Xadd(Xadd { key, must_exist, trim, id, fields, idempotent }))
}

#[test]
fn xadd_creates_a_stream_with_its_policy_and_keeps_its_first_id() {
    each(|rig| {
        set_defaults(rig);
        let first = append(rig, b"1");
        assert_eq!(append(rig, b"1"), first);
        assert_eq!(fact(rig, &Command::Xcfgget(STREAM), "retention"), Fact::Word("ACKED"));
        assert_eq!(fact(rig, &Command::Xcfgget(STREAM), "dedup-max"), Fact::Number(10));
        assert_eq!(fact(rig, &Command::Xcfgget(STREAM), "idmp-duration"), Fact::Number(9));
        rig.reply(&Command::Del(vec![STREAM]));
    });
}

#[test]
fn a_group_and_its_dead_letters_have_theirs() {
    each(|rig| {
        set_defaults(rig);
        let create = XgroupCreate {
            key: STREAM,
            group: b"g",
            id: Some(StreamId::MIN),
            create_stream: true,
            entries_read: None,
        };
        rig.reply(&Command::XgroupCreate(create));
        // A restart has lost the configuration, and needs it for what is created from here on.
        set_defaults(rig);
        let cfgget = Command::XgroupCfgget(STREAM, b"g");
        assert_eq!(fact(rig, &cfgget, "ack-wait"), Fact::Number(1000));
        rig.add(1);
        assert_eq!(rig.read(b"g", b"c"), 1);
        set_defaults(rig);
        rig.wait(1000);
        assert_eq!(rig.len(LETTERS), Reply::Integer(1));
        assert_eq!(fact(rig, &Command::Xcfgget(LETTERS), "max-len"), Fact::Number(100));
    });
}

#[test]
fn what_is_scheduled_waits_without_a_policy() {
    each(|rig| {
        set_defaults(rig);
        let fields = Fields::Arguments(&[b"f", b"v"]);
        let verb = SchedVerb::Add { at_ms: rig.now_ms + 500, once: None, fields };
        let key = Key { database: 0, name: b"later" };
        rig.reply(&Command::Xsched(Xsched::new(key, verb)));
        let schedule = Key { database: 0, name: b"{later}:sched" };
        assert_eq!(fact(rig, &Command::Xcfgget(schedule), "max-len"), Fact::Number(0));
        set_defaults(rig);
        rig.wait(500);
        assert_eq!(fact(rig, &Command::Xcfgget(key), "max-len"), Fact::Number(100));
    });
}

#[test]
fn what_is_restored_is_created_too() {
    each(|rig| {
        set_defaults(rig);
        let mut stream = RestoredStream::default();
        let fields = Fields::Arguments(&[b"f", b"v"]);
        stream.push(StreamId::new(1, 0), &fields, true).expect("it fits");
        (stream.last_id, stream.entries_added) = (StreamId::new(1, 0), 1);
        for name in [b"other", &b"g"[..]] {
            stream.groups.push(RestoredGroup { name: name.into(), ..RestoredGroup::default() });
        }
        let value = Some(Restored::Stream(Arc::new(stream)));
        let (key, expires_at_ms, replace) = (RESTORED, None, false);
        rig.reply(&Command::Restore(Restore { key, expires_at_ms, replace, value }));
        assert_eq!(fact(rig, &Command::Xcfgget(RESTORED), "max-len"), Fact::Number(100));
        let cfgget = |group| Command::XgroupCfgget(RESTORED, group);
        assert_eq!(fact(rig, &cfgget(b"g"), "max-deliver"), Fact::Number(1));
        assert_eq!(fact(rig, &cfgget(b"other"), "max-deliver"), Fact::Number(0));
    });
}
