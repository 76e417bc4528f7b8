//! Workers whose machines disagree about the time by twenty minutes: `examples/clocks.rs`, one with
//! its wall clock ten minutes ahead of the server's and one ten minutes behind.
//!
//! The clock is moved below the program, in what it calls (`clock.c`, preloaded), so no part of it
//! has another. All times here are the server's: whatever the machine that runs the tests is busy
//! with, they are no earlier than what they stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use levada::Broker;
use levada::backend::Append;

use super::{PATIENCE, Server};

/// How far each clock is from the server's, in seconds.
const SHIFTS: [i64; 2] = [600, -600];
/// As in the example: events of each, their rest in milliseconds, the lease in milliseconds.
const COUNT: u32 = 20;
const REST_MS: u64 = 1000;
const LEASE_MS: u64 = 6000;
/// Times are read in whole milliseconds, by both sides.
const ROUNDING_MS: u64 = 5;

/// A call of a handler.
#[derive(Debug, Clone)]
struct Handled {
    worker: usize,
    n: u32,
    key: String,
    attempt: u64,
    /// When it began, and when it was due.
    at_ms: u64,
    from_ms: u64,
}

/// Both workers; ended when it is dropped.
struct Pair {
    children: Vec<Child>,
    calls: mpsc::Receiver<Handled>,
}

impl Pair {
    fn start(server: &Server, clock: &Path, plan: &str) -> Self {
        let (tell, calls) = mpsc::channel();
        let mut children = Vec::new();
        for (worker, shift) in SHIFTS.into_iter().enumerate() {
            let examples = std::env::var("LEVADA_TEST_EXAMPLES")
                .expect("LEVADA_TEST_EXAMPLES names no directory: cargo xtask toolkit does");
            let mut command = Command::new(PathBuf::from(examples).join("clocks"));
            let first = u32::try_from(worker).expect("two of them") * COUNT;
            command.args([&server.url(), plan, &first.to_string()]);
            command.env("LD_PRELOAD", clock).env("SHIFT_S", shift.to_string());
            let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
            let mut child = command.spawn().expect("the example can be started");
            let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
            children.push(child);
            let clock = lines.next().expect("its clock").expect("text");
            let told: i64 = clock.trim_start_matches("clock ").parse().expect("a number");
            assert!((told - seconds() - shift).abs() < 300, "its clock was not moved: {told}");
            let tell = tell.clone();
            std::thread::spawn(move || {
                for line in lines.map_while(Result::ok) {
                    if let Some(call) = call(worker, &line) {
                        // The test may have seen enough.
                        let _ = tell.send(call);
                    }
                }
            });
        }
        Self { children, calls }
    }

    fn next(&self) -> Handled {
        self.calls.recv_timeout(PATIENCE).expect("it is handled in time")
    }

    /// The calls until every event was handled well once.
    fn all(&self) -> Vec<Handled> {
        let mut open: BTreeSet<u32> = (0..2 * COUNT).collect();
        let mut calls = Vec::new();
        while !open.is_empty() {
            let call = self.next();
            if is_well(&call) {
                open.remove(&call.n);
            }
            calls.push(call);
        }
        calls
    }

    /// Sends more, to each partition, until both have handled some of it.
    async fn until_both_work(&self, broker: &Broker, plan: &str) {
        let streams: Vec<String> = match plan {
            "exclusive" => (0..4).map(|partition| format!("timed:{{{partition}}}")).collect(),
            _ => vec!["timed".to_owned()],
        };
        let (mut seen, deadline) = (BTreeSet::new(), Instant::now() + PATIENCE);
        while seen.len() < SHIFTS.len() {
            assert!(Instant::now() < deadline, "only these have something to do: {seen:?}");
            for stream in &streams {
                append(broker, stream, r#"{"n":1000,"key":"more","from_ms":0}"#).await;
            }
            while let Ok(call) = self.calls.recv_timeout(Duration::from_millis(200)) {
                assert_eq!(call.n, 1000, "it was handled well before: {call:?}");
                seen.insert(call.worker);
            }
        }
    }

    /// All that was told, when both have ended.
    fn stop(mut self) -> Vec<Handled> {
        for child in &mut self.children {
            let sent = Command::new("kill").arg(child.id().to_string()).status();
            assert!(sent.expect("kill is there").success());
            assert!(child.wait().expect("it ends").success());
        }
        let (_, none) = mpsc::channel();
        std::mem::replace(&mut self.calls, none).into_iter().collect()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn append(broker: &Broker, stream: &str, data: &str) {
    let fields = [("data", data)].into_iter().collect();
    let entry = Append { stream: stream.to_owned(), fields, once: None };
    broker.backend().append(vec![entry]).await.expect("sent")[0].as_ref().expect("an id");
}

fn seconds() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "it is compared with one that was moved")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    i64::try_from(now.as_secs()).expect("a time")
}

fn call(worker: usize, line: &str) -> Option<Handled> {
    let mut words = line.strip_prefix("handle ")?.split(' ');
    let (n, key) = (words.next()?.parse().ok()?, words.next()?.to_owned());
    let mut number = || words.next()?.parse().ok();
    Some(Handled { worker, n, key, attempt: number()?, at_ms: number()?, from_ms: number()? })
}

/// As the example decides.
fn is_well(call: &Handled) -> bool {
    call.n % 5 != 1 || call.attempt > 1
}

/// What moves a clock, built in the directory of a server.
fn clock(server: &Server) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/days/clock.c");
    let library = server.directory.join("clock.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
    assert!(compiler.status().expect("there is a compiler").success());
    library
}

/// Everything once, nothing before its time.
fn check(calls: &[Handled]) {
    let mut well: BTreeMap<u32, u32> = BTreeMap::new();
    let mut failed: BTreeMap<u32, u64> = BTreeMap::new();
    for call in calls {
        assert!(call.at_ms + ROUNDING_MS >= call.from_ms, "before its time: {call:?}");
        if let Some(before) = failed.get(&call.n) {
            assert!(call.at_ms + ROUNDING_MS >= before + REST_MS, "no rest: {call:?}");
        }
        match is_well(call) {
            true => *well.entry(call.n).or_default() += 1,
            false => drop(failed.insert(call.n, call.at_ms)),
        }
    }
    assert_eq!(well, (0..2 * COUNT).map(|n| (n, 1)).collect());
    assert_eq!(failed.len(), (0..2 * COUNT).filter(|n| n % 5 == 1).count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask toolkit names the programs that it starts"]
async fn workers_whose_clocks_differ_handle_everything_once_and_in_time() {
    for plan in ["free", "exclusive"] {
        for mut server in Server::all("clocks") {
            println!("{plan} on {}", server.name);
            let broker = server.start().await;
            let pair = Pair::start(&server, &clock(&server), plan);
            check(&pair.all());
            pair.until_both_work(&broker, plan).await;
            let late = pair.stop();
            assert!(late.iter().all(|call| call.n == 1000), "handled again: {late:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask toolkit names the programs that it starts"]
async fn a_lease_ends_by_the_clock_of_the_server() {
    for mut server in Server::all("leases") {
        println!("on {}", server.name);
        let broker = server.start().await;
        let mut pair = Pair::start(&server, &clock(&server), "free");
        append(&broker, "timed", r#"{"n":1000,"key":"endless","from_ms":0}"#).await;
        let endless = |pair: &Pair| loop {
            let call = pair.next();
            if call.key == "endless" {
                return call;
            }
        };
        let first = endless(&pair);
        assert_eq!(first.attempt, 1);
        let dying = &mut pair.children[first.worker];
        dying.kill().expect("it can be killed");
        dying.wait().expect("it has ended");
        let heir = endless(&pair);
        assert_eq!((heir.worker, heir.attempt), (1 - first.worker, 2));
        // What is told was delivered a moment before that, on a busy machine a long one.
        assert!(heir.at_ms >= first.at_ms + LEASE_MS / 2, "too soon: {first:?} {heir:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask toolkit names the programs that it starts"]
async fn a_rate_is_shared_by_workers_whose_clocks_differ() {
    for mut server in Server::all("rates") {
        println!("on {}", server.name);
        server.start().await;
        let pair = Pair::start(&server, &clock(&server), "paced");
        let times: Vec<u64> = pair.all().into_iter().map(|call| call.at_ms).collect();
        let (first, last) = (times.iter().min(), times.iter().max());
        let took = last.expect("calls") - first.expect("calls");
        // Four a second are at least ten seconds' worth; twice four are five.
        assert!(took > 7000, "{took} ms");
        drop(pair.stop());
    }
}
