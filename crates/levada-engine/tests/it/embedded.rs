//! Opening, using, reopening: on a real directory.

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use levada_engine::{Engine, ErrorKind, MESSAGE_BYTES, QUEUE_BYTES_MAX, StreamId};

/// A directory of this test's own, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("levada-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_was_added_is_there_after_opening_again() {
    let directory = Directory::new("reopen");
    let mut ids = Vec::new();
    {
        let engine = Engine::open(&directory.0).expect("opens");
        engine.create_group("s", "g").expect("creates");
        for n in 0..5000_u32 {
            ids.push(engine.add("s", &[("n", n.to_string().as_bytes())]).expect("adds"));
        }
        let read = engine.read_group("s", "g", "c", 10, None).expect("reads");
        assert_eq!(read.len(), 10);
        assert_eq!(engine.ack("s", "g", &ids[..4]).expect("acks"), 4);
        assert_eq!(engine.delete("s", &ids[100..101]).expect("deletes"), 1);
    }
    let engine = Engine::open(&directory.0).expect("opens again");
    assert_eq!(engine.len("s").expect("counts"), 4999);
    let all = engine.range("s", StreamId::MIN, StreamId::MAX, u64::MAX).expect("reads");
    ids.remove(100);
    assert_eq!(all.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids);
    assert_eq!(all[7].fields, Some(vec![(b"n".to_vec(), b"7".to_vec())]));
    assert_eq!(engine.ack("s", "g", &ids[..10]).expect("acks"), 6, "four were acknowledged before");
}

#[test]
fn what_is_added_once_is_there_once() {
    let directory = Directory::new("once");
    let pair: &[(&str, &[u8])] = &[("n", b"1")];
    let first = {
        let engine = Engine::open(&directory.0).expect("opens");
        engine.add_once("s", ("p", b"1"), pair).expect("adds")
    };
    let engine = Engine::open(&directory.0).expect("opens again");
    assert_eq!(engine.add_once("s", ("p", b"1"), pair).expect("is there"), first);
    assert!(engine.add_once("s", ("p", b"2"), pair).expect("adds") > first);
    assert!(engine.add_once("s", ("q", b"1"), pair).expect("adds") > first);
    assert_eq!(engine.len("s").expect("counts"), 3);
    for (pid, iid) in [("", &b"1"[..]), ("p", b"")] {
        let error = engine.add_once("s", (pid, iid), pair).expect_err("is empty");
        assert_eq!(error.kind, ErrorKind::Invalid);
    }
}

#[test]
fn a_directory_belongs_to_one_engine() {
    let directory = Directory::new("lock");
    let engine = Engine::open(&directory.0).expect("opens");
    let second = Engine::open(&directory.0).expect_err("is taken");
    assert_eq!(second.kind, ErrorKind::Busy);
    drop(engine);
    Engine::open(&directory.0).expect("is free again");
}

#[test]
fn readers_that_wait_are_served_by_whoever_adds() {
    let engine = Arc::new(Engine::in_memory().expect("starts"));
    engine.create_group("s", "g").expect("creates");
    let patience = Some(Duration::from_mins(1));
    let readers: Vec<_> = (0..4)
        .map(|n| {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                engine.read_group("s", "g", &format!("c{n}"), 1, patience).expect("reads")
            })
        })
        .collect();
    let mut added: Vec<_> =
        (0..4).map(|_| engine.add("s", &[("f", b"v")]).expect("adds")).collect();
    let mut read: Vec<_> =
        readers.into_iter().flat_map(|reader| reader.join().expect("no panic")).collect();
    read.sort_by_key(|entry| entry.id);
    added.sort();
    assert_eq!(read.iter().map(|entry| entry.id).collect::<Vec<_>>(), added);
    let nothing = engine.read_group("s", "g", "c", 1, Some(Duration::from_millis(1)));
    assert_eq!(nothing.expect("reads"), []);
}

#[test]
fn subscribers_get_what_is_published_in_order() {
    let engine = Engine::in_memory().expect("memory");
    let both = engine.subscribe(&["a", "b"]).expect("short names");
    let pattern = engine.subscribe_patterns(&["?"]).expect("short names");
    assert_eq!(engine.publish("a", b"1").expect("runs"), 2);
    assert_eq!(engine.publish("b", b"2").expect("runs"), 2);
    assert_eq!(engine.publish("other", b"3").expect("runs"), 0);
    for (channel, payload) in [(b"a", b"1"), (b"b", b"2")] {
        let message = both.recv(None).expect("runs").expect("no time to be over");
        assert_eq!((&*message.channel, &*message.payload), (&channel[..], &payload[..]));
        let message = pattern.recv(None).expect("runs").expect("no time to be over");
        assert_eq!(message.pattern.as_deref(), Some(&b"?"[..]));
    }
    assert_eq!(both.recv(Some(Duration::ZERO)).expect("runs"), None);
    drop(pattern);
    let _third = engine.subscribe(&["c"]).expect("short names");
    assert_eq!(engine.publish("a", b"4").expect("runs"), 1, "who left is forgotten");
    drop(engine);
    assert!(both.recv(None).expect("sent before the end").is_some());
    assert_eq!(both.recv(None).expect_err("the engine is gone").kind, ErrorKind::Closed);
}

#[test]
fn a_slow_subscriber_is_closed_and_told_so() {
    let engine = Engine::in_memory().expect("memory");
    let slow = engine.subscribe(&["c"]).expect("short names");
    let payload = vec![0; 1 << 20];
    let fits = (QUEUE_BYTES_MAX / (payload.len() + MESSAGE_BYTES + 1)) as u64;
    for _ in 0..fits {
        assert_eq!(engine.publish("c", &payload).expect("runs"), 1);
    }
    assert_eq!(engine.publish("c", &payload).expect("runs"), 1, "the one that is too much");
    assert_eq!(engine.publish("c", b"small").expect("runs"), 0);
    for _ in 0..fits {
        assert!(slow.recv(None).expect("counted before").is_some());
    }
    assert_eq!(slow.recv(None).expect_err("fell behind").kind, ErrorKind::Overrun);
    let again = engine.subscribe(&["c"]).expect("short names");
    assert_eq!(engine.publish("c", b"small").expect("runs"), 1);
    assert!(again.recv(None).expect("runs").is_some());
}

#[test]
fn nothing_is_acknowledged_where_a_restart_would_not_find_it() {
    let directory = Directory::new("moved");
    let away = Directory::new("moved-away");
    let mut ids = Vec::new();
    {
        let engine = Engine::open(&directory.0).expect("opens");
        for _ in 0..10 {
            ids.push(engine.add("s", &[("n", b"1")]).expect("adds"));
        }
        std::fs::rename(&directory.0, &away.0).expect("renamed");
        for _ in 0..2 {
            let error = engine.add("s", &[("n", b"2")]).expect_err("into the void");
            assert_eq!(error.kind, ErrorKind::Closed);
        }
    }
    std::fs::rename(&away.0, &directory.0).expect("renamed back");
    let engine = Engine::open(&directory.0).expect("opens again");
    let all = engine.range("s", StreamId::MIN, StreamId::MAX, u64::MAX).expect("reads");
    let found: Vec<_> = all.iter().map(|entry| entry.id).collect();
    assert!(found.starts_with(&ids), "{found:?}");
}
