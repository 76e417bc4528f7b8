//! Copies of a directory that a server is using: what is in them, and what becomes of them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use redis::Value;

use crate::rig::{Server, fresh_directory, levada};

/// Longest wait for something that does not depend on how fast the machine is.
const PATIENCE: Duration = Duration::from_mins(1);
const PIPELINE: u64 = 20;

/// Entries with the ids 1-1, 2-1, ..., as long as it is wanted, and a checkpoint now and then.
struct Producer {
    acknowledged: AtomicU64,
    ended: AtomicBool,
}

impl Producer {
    fn run(&self, server: &Server) {
        let mut connection = server.connect();
        while !self.ended.load(SeqCst) {
            let first = self.acknowledged.load(SeqCst) + 1;
            let mut pipeline = redis::pipe();
            for n in first..first + PIPELINE {
                pipeline.cmd("XADD").arg("orders").arg(format!("{n}-1")).arg("n").arg(n);
            }
            pipeline.query::<Vec<String>>(&mut connection).expect("it runs");
            self.acknowledged.store(first + PIPELINE - 1, SeqCst);
            if first % 800 == 1 {
                // One may be under way already.
                let _ = redis::cmd("BGSAVE").query::<Value>(&mut connection);
            }
        }
    }

    fn wait_for(&self, count: u64) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let acknowledged = self.acknowledged.load(SeqCst);
            if acknowledged >= count {
                return acknowledged;
            }
            assert!(Instant::now() < deadline, "{acknowledged} of {count} after a minute");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("our own name")
}

/// How many entries the copy has; they must be the first ones, none missing.
fn entries(copy: &Path) -> u64 {
    let directory = fresh_directory("restored");
    levada(&["restore", text(copy), text(&directory)], 0);
    let server = Server::levada_in(directory, &[]);
    let mut connection = server.connect();
    let ids: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("orders").arg("-").arg("+").query(&mut connection).expect("runs");
    for (at, (id, fields)) in ids.iter().enumerate() {
        let n = at + 1;
        assert_eq!((id, fields), (&format!("{n}-1"), &vec!["n".to_owned(), n.to_string()]));
    }
    ids.len() as u64
}

/// A directory that goes with the test.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Self {
        Self(fresh_directory("copy"))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Nobody would know what to do about an error.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_copy_of_a_running_server_has_what_was_acknowledged_before() {
    let server = Server::levada();
    let producer = Producer { acknowledged: AtomicU64::new(0), ended: AtomicBool::new(false) };
    let copy = Copy::new();
    std::thread::scope(|scope| {
        scope.spawn(|| producer.run(&server));
        let mut held = 0;
        for round in 1..=4 {
            let before = producer.wait_for(held + 1500 * round);
            levada(&["backup", text(&server.directory), text(&copy.0)], 0);
            levada(&["verify", text(&copy.0)], 0);
            held = entries(&copy.0);
            assert!(held >= before, "{before} were acknowledged, {held} are in the copy");
        }
        producer.ended.store(true, SeqCst);
    });
    // A directory that holds something is no place for a copy to be restored to, and the copy of
    // another server none for this one's.
    levada(&["restore", text(&copy.0), text(&server.directory)], 1);
    let other = Server::levada();
    let mut connection = other.connect();
    let added: redis::RedisResult<String> =
        redis::cmd("XADD").arg("s").arg("*").arg("f").arg("v").query(&mut connection);
    added.expect("it runs");
    levada(&["backup", text(&other.directory), text(&copy.0)], 1);
    levada(&["backup", "/nowhere/at/all", text(&copy.0)], 1);
    levada(&["backup", text(&other.directory), text(&copy.0), "--every-ms", "5"], 2);
}

/// Ended by its handle.
struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_copy_that_is_followed_outlives_the_server() {
    let server = Server::levada();
    let producer = Producer { acknowledged: AtomicU64::new(0), ended: AtomicBool::new(false) };
    let copy = Copy::new();
    let follower = Command::new(env!("CARGO_BIN_EXE_levada"))
        .args(["backup", text(&server.directory), text(&copy.0), "--follow", "--every-ms", "20"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("levada runs");
    let _follower = Follower(follower);
    std::thread::scope(|scope| {
        scope.spawn(|| producer.run(&server));
        producer.wait_for(3000);
        producer.ended.store(true, SeqCst);
    });
    let acknowledged = producer.acknowledged.load(SeqCst);
    // Nothing is told to the follower: within a round the copy has it.
    let deadline = Instant::now() + PATIENCE;
    while !copy.0.join("manifest").exists() || entries(&copy.0) < acknowledged {
        assert!(Instant::now() < deadline, "the copy stays behind");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(server);
    assert_eq!(entries(&copy.0), acknowledged);
}
