//! A running server is restarted by SIGTERM, several times, under producers and workers that
//! connect again and send again what was not answered (docs/operate/restart.md). What was
//! acknowledged is there once, under the id that was said; nobody hears an error but that a
//! connection has ended; every end is exit code 0.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::streams::{StreamInfoGroupsReply, StreamRangeReply, StreamReadReply};
use redis::{Cmd, Connection, FromRedisValue, Pipeline, RedisResult};
use rustix::net::{self, AddressFamily, SocketType};

use crate::rig::fresh_directory;

/// Restarts, and what is acknowledged before each.
const RESTARTS: u64 = 5;
const ENTRIES_BETWEEN: u64 = 160;
const PRODUCERS: usize = 3;
const WORKERS: usize = 2;
/// Entries that a producer sends at once: fewer than a stream remembers of a producer.
const BATCH: u64 = 8;
/// Longest wait for a server that should answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that is started again on the same port and the same data.
struct Server {
    port: u16,
    /// Bound to the port and never listening: while the server is away nobody else is given the
    /// port, nor does a client that tries again and again connect to itself from it.
    _kept: OwnedFd,
    directory: PathBuf,
    child: Child,
}

impl Server {
    fn start() -> Self {
        let directory = fresh_directory("restart");
        let kept = net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        // The server sets it, too: so both may be bound.
        net::sockopt::set_socket_reuseaddr(&kept, true).expect("it can");
        net::bind(&kept, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = net::getsockname(&kept).expect("it is bound");
        let port = SocketAddr::try_from(address).expect("of the internet").port();
        let child = launch(port, &directory);
        Self { port, _kept: kept, directory, child }
    }

    /// SIGTERM, a clean end, and a new process. Clients find nobody in between.
    fn restart(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("runs").success());
        assert_eq!(self.child.wait().expect("our child").code(), Some(0), "SIGTERM ends it well");
        self.child = launch(self.port, &self.directory);
    }
}

fn launch(port: u16, directory: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_levada"))
        .args(["serve", "--port", &port.to_string(), "--dir"])
        .arg(directory)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("levada starts")
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors have nowhere to go.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A client that connects again whenever its connection has ended.
struct Client<'a> {
    port: u16,
    connection: Option<Connection>,
    /// Connections so far.
    count: &'a AtomicU64,
}

impl<'a> Client<'a> {
    fn new(port: u16, count: &'a AtomicU64) -> Self {
        Self { port, connection: None, count }
    }

    /// What a request is answered; `None` where the connection ended instead, so that nobody knows
    /// whether it was done. Anything else is not what a restart may look like.
    fn ask<T>(&mut self, send: impl Fn(&mut Connection) -> RedisResult<T>) -> Option<T> {
        let error = match send(self.connected()) {
            Ok(answer) => return Some(answer),
            Err(error) => error,
        };
        assert!(is_end(&error), "a client hears {error:?}");
        self.connection = None;
        None
    }

    fn command<T: FromRedisValue>(&mut self, words: &str) -> Option<T> {
        let mut command = Cmd::new();
        words.split(' ').for_each(|word| drop(command.arg(word).clone()));
        self.ask(|connection| command.query(connection))
    }

    /// The connection; made anew for as long as nobody listens.
    fn connected(&mut self) -> &mut Connection {
        let begin = std::time::Instant::now();
        while self.connection.is_none() {
            assert!(begin.elapsed() < PATIENCE, "nobody listens");
            let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port));
            match client.expect("an address").get_connection_with_timeout(PATIENCE) {
                Ok(connection) => {
                    connection.set_read_timeout(Some(PATIENCE)).expect("a limit");
                    self.connection = Some(connection);
                    self.count.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    assert!(is_end(&error), "a client that connects hears {error:?}");
                    std::thread::yield_now();
                }
            }
        }
        self.connection.as_mut().expect("it was made")
    }
}

/// Whether an error says that the connection is over, or that nobody listens, and no more. A
/// connection that stays silent is an error of another kind.
fn is_end(error: &redis::RedisError) -> bool {
    error.is_io_error() && !error.is_timeout() && error.code().is_none()
}

/// What all threads of the test share.
#[derive(Default)]
struct Shared {
    /// Acknowledged entries.
    acknowledged: AtomicU64,
    /// Connections of each producer, and of each worker behind them.
    connections: [AtomicU64; PRODUCERS + WORKERS],
    /// Nothing new is to be sent; all is done.
    enough: AtomicBool,
    done: AtomicBool,
    /// Ids that were said, by producer and number.
    ledger: Mutex<BTreeMap<(u64, u64), String>>,
    /// Ids that workers have seen to.
    worked: Mutex<BTreeSet<String>>,
}

/// Sends batches, each until it is answered whole.
fn produce(port: u16, producer: usize, shared: &Shared) {
    let mut client = Client::new(port, &shared.connections[producer]);
    let mut next = 0;
    while !shared.enough.load(Ordering::Relaxed) {
        let mut batch = Pipeline::new();
        for number in next..next + BATCH {
            batch.cmd("XADD").arg("s").arg("IDMP").arg(producer).arg(number).arg("*");
            batch.arg("producer").arg(producer).arg("number").arg(number);
        }
        let ids: Vec<String> = loop {
            if let Some(ids) = client.ask(|connection| batch.query(connection)) {
                break ids;
            }
        };
        let mut ledger = shared.ledger.lock().expect("no thread has panicked");
        for (number, id) in (next..).zip(ids) {
            ledger.insert((producer as u64, number), id);
        }
        drop(ledger);
        next += BATCH;
        shared.acknowledged.fetch_add(BATCH, Ordering::Relaxed);
    }
}

/// Reads and acknowledges; on a new connection first what was given to it before.
fn work(port: u16, worker: usize, shared: &Shared) {
    let mut client = Client::new(port, &shared.connections[PRODUCERS + worker]);
    let mut old = true;
    while !shared.done.load(Ordering::Relaxed) {
        let from = if old { "0" } else { ">" };
        let read = format!("XREADGROUP GROUP g w{worker} COUNT 10 BLOCK 50 STREAMS s {from}");
        let Some(reply) = client.command::<Option<StreamReadReply>>(&read) else {
            old = true;
            continue;
        };
        let keys = reply.into_iter().flat_map(|reply| reply.keys);
        let ids: Vec<String> = keys.flat_map(|key| key.ids).map(|entry| entry.id).collect();
        old &= !ids.is_empty();
        if ids.is_empty() {
            continue;
        }
        shared.worked.lock().expect("no thread has panicked").extend(ids.iter().cloned());
        if client.command::<u64>(&format!("XACK s g {}", ids.join(" "))).is_none() {
            old = true;
        }
    }
}

/// Waits until a condition holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !holds() {
        assert!(begin.elapsed() < 4 * PATIENCE, "{what} never comes");
        std::thread::yield_now();
    }
}

#[test]
fn a_restart_under_load_loses_nothing_doubles_nothing_and_says_nothing_wrong() {
    let mut server = Server::start();
    let (port, shared) = (server.port, Shared::default());
    let own = AtomicU64::new(0);
    let mut client = Client::new(port, &own);
    client.command::<String>("XGROUP CREATE s g 0 MKSTREAM").expect("it runs");
    // Its ends are not told.
    std::thread::scope(|scope| {
        let shared = &shared;
        let producers: Vec<_> =
            (0..PRODUCERS).map(|it| scope.spawn(move || produce(port, it, shared))).collect();
        let workers: Vec<_> =
            (0..WORKERS).map(|it| scope.spawn(move || work(port, it, shared))).collect();
        let all_met = |restarts| {
            shared.connections.iter().all(|count| count.load(Ordering::Relaxed) > restarts)
        };
        for restarts in 0..RESTARTS {
            until("everybody", || all_met(restarts));
            // Counted from now on: the server answers, so that it listens to signals.
            let acknowledged = || shared.acknowledged.load(Ordering::Relaxed);
            let enough = acknowledged() + ENTRIES_BETWEEN;
            until("load", || acknowledged() >= enough);
            server.restart();
        }
        until("everybody", || all_met(RESTARTS));
        shared.enough.store(true, Ordering::Relaxed);
        producers.into_iter().for_each(|it| it.join().expect("no panic"));
        until("the end of the work", || {
            let groups = client.command::<StreamInfoGroupsReply>("XINFO GROUPS s");
            groups.is_some_and(|it| it.groups[0].pending == 0 && it.groups[0].lag == Some(0))
        });
        shared.done.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|it| it.join().expect("no panic"));
    });

    let entries: StreamRangeReply = client.command("XRANGE s - +").expect("it runs");
    let number = |entry: &redis::streams::StreamId, field: &str| -> u64 {
        entry.get(field).expect("a number")
    };
    let found: Vec<_> = entries
        .ids
        .iter()
        .map(|entry| ((number(entry, "producer"), number(entry, "number")), entry.id.clone()))
        .collect();
    let ledger = shared.ledger.into_inner().expect("no thread has panicked");
    assert_eq!(found.len(), ledger.len(), "entries, and what was acknowledged");
    assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), ledger);
    let worked = shared.worked.into_inner().expect("no thread has panicked");
    assert_eq!(worked, ledger.into_values().collect(), "everything was seen to");
}
