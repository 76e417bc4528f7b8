//! Consumers that come and go: 100,000 names in a day leave no trace, and nothing of what they held
//! is lost.

use levada_core::{
    command::{Command, GroupOption, StreamOption},
    policy::Retention,
    reply::{Fact, Reply},
};

use crate::policy_rig::{Between, Rig, STREAM, new_entries};

/// Names of the day, and how many come at once.
const NAMES: u64 = 100_000;
const AT_ONCE: u64 = 100;
/// How long a name stays that was not seen, in milliseconds.
const TTL_MS: u64 = 600_000;
const DAY_MS: u64 = 86_400_000;

#[test]
fn a_hundred_thousand_names_in_a_day_leave_no_trace() {
    let mut rig = Rig::new(Between::Nothing);
    rig.create(b"g");
    rig.set_group(vec![GroupOption::ConsumerTtl(TTL_MS)]);
    rig.set_stream(vec![StreamOption::Retention(Retention::Acked)]);
    // A day passes before too, so that what lasts is compared with what lasts.
    a_day(&mut rig, NAMES / 100);
    let before = memory(&mut rig);
    a_day(&mut rig, NAMES);
    assert_eq!(memory(&mut rig), before);
}

/// New names read, an entry for ten of them; every second one acknowledges what it was given, the
/// others are never seen again. In the end one consumer does what they left, and goes too.
fn a_day(rig: &mut Rig, names: u64) {
    let rounds = names / AT_ONCE;
    for round in 0..rounds {
        rig.quietly(|rig| {
            for n in 0..AT_ONCE {
                if n % 10 == 0 {
                    rig.add(rig.now_ms + n);
                }
                let name = format!("pod-{}-{round}-{n}", rig.now_ms);
                let given = rig.ids(&new_entries(b"g", name.as_bytes(), Some(1)));
                if n % 2 == 0 && !given.is_empty() {
                    rig.reply(&Command::Xack(STREAM, b"g", given));
                }
            }
        });
        rig.wait(DAY_MS / rounds);
        let alive = TTL_MS / (DAY_MS / rounds) + 2;
        assert!(rig.info(b"g").consumers <= alive * AT_ONCE, "round {round}");
    }
    rig.wait(TTL_MS);
    // Of many a part at a time.
    for _ in 0..1000 {
        if rig.info(b"g").consumers == 0 {
            break;
        }
    }
    assert_eq!(rig.info(b"g").consumers, 0);
    let left = rig.ids(&new_entries(b"g", b"last", None));
    assert_eq!(left.len() as u64, rig.info(b"g").pending, "all of it was offered");
    rig.reply(&Command::Xack(STREAM, b"g", left));
    rig.wait(TTL_MS);
    assert_eq!((rig.info(b"g").pending, rig.info(b"g").consumers), (0, 0));
    assert_eq!((rig.lag("entries"), rig.len(STREAM)), (Fact::Number(0), Reply::Integer(0)));
}

fn memory(rig: &mut Rig) -> i64 {
    match rig.reply(&Command::MemoryUsage(STREAM)) {
        Reply::Integer(bytes) => bytes,
        other => panic!("MEMORY USAGE answers {other:?}"),
    }
}
