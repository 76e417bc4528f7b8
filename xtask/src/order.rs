//! `cargo xtask order`: many consumers of one group with ORDER-BY, of which some fail, and a server
//! that is killed now and then. For every key the entries must come in order, one at a time, and
//! none may be lost.
//!
//! What is checked does not depend on how fast the machine is: an acknowledgement counts as
//! possibly done from before it is sent, and a lease as running from before its entry was asked
//! for. Whoever is slower than a lease proves nothing: the entry may be somebody else's by then.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::kills::client::{Client, Reply};
use crate::kills::server::{Kind, Server};
use crate::kills::value::Chance;

/// Longest wait for a start.
const START_MAX: Duration = Duration::from_secs(20);
/// Longest time without an acknowledgement.
const STALL_MAX: Duration = Duration::from_mins(1);
/// Nothing going on for so long may be its end.
const QUIET: Duration = Duration::from_secs(3);
/// How long a consumer has an entry, in milliseconds.
const LEASE_MS: u64 = 1500;
/// Entries of one request at most.
const BATCH: u64 = 100;
/// Between two looks of the one who watches.
const LOOK: Duration = Duration::from_millis(20);
/// One entry in so many fails by XNACK, and one in so many is forgotten.
const FAIL_ONE_IN: u64 = 50;
const FORGET_ONE_IN: u64 = 500;

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    entries: u64,
    keys: u64,
    consumers: u64,
    kills: u64,
    seed: u64,
    /// Without ORDER-BY: then there must be violations, or the check checks nothing.
    canary: bool,
}

/// One key.
#[derive(Debug, Default)]
struct Lane {
    /// Entries that are acknowledged for certain.
    done: u64,
    /// Whether the next one may be, too: when the first who acknowledges it asked for it.
    acking: Option<Instant>,
    /// Entries below may come again: their acknowledgement was perhaps behind the lease.
    late: u64,
    /// When the last one asked who gave the next one back.
    nacked: Option<Instant>,
    /// Who was given the next one, and when it asked.
    holder: Option<(u64, Instant)>,
}

/// What everybody shares.
#[derive(Debug)]
struct Shared {
    options: Options,
    address: Mutex<SocketAddr>,
    lanes: Vec<Mutex<Lane>>,
    done: AtomicU64,
    redelivered: AtomicU64,
    ended: AtomicBool,
    violations: Mutex<Vec<String>>,
}

/// Runs the verb with its arguments; fails on any violation.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = parse(arguments)?;
    println!("order: {options:?}");
    let start = Instant::now();
    let mut server = Server::start(Kind::Levada, None, START_MAX)?;
    let mut client = server.client()?;
    client.ask(&["XGROUP", "CREATE", "orders", "g", "0", "MKSTREAM"])?;
    let lease = LEASE_MS.to_string();
    let field = if options.canary { "" } else { "key" };
    let policy = ["ORDER-BY", field, "ACK-WAIT", &lease, "BACKOFF", "1", "10"];
    client.ask(&[&["XGROUP", "CFGSET", "orders", "g"], &policy[..]].concat())?;
    let shared = Shared {
        address: Mutex::new(server.address()),
        lanes: (0..options.keys).map(|_| Mutex::default()).collect(),
        options,
        done: AtomicU64::new(0),
        redelivered: AtomicU64::new(0),
        ended: AtomicBool::new(false),
        violations: Mutex::default(),
    };
    let watched = std::thread::scope(|scope| {
        scope.spawn(|| shared.produce());
        for consumer in 0..shared.options.consumers {
            let shared = &shared;
            scope.spawn(move || shared.consume(consumer));
        }
        let watched = watch(&shared, &mut server);
        shared.ended.store(true, SeqCst);
        watched
    });
    let (done, redelivered) = (shared.done.load(SeqCst), shared.redelivered.load(SeqCst));
    let violations = lock(&shared.violations);
    println!(
        "{done} entries acknowledged, {redelivered} delivered again, {} violations, {:.1} s",
        violations.len(),
        start.elapsed().as_secs_f64()
    );
    violations.iter().take(20).for_each(|violation| println!("  {violation}"));
    if shared.options.canary {
        ensure!(!violations.is_empty(), "canary: nothing keeps the order, and nobody noticed");
        println!("canary: the check noticed");
        return Ok(());
    }
    ensure!(violations.is_empty(), "seed {}: out of order", shared.options.seed);
    watched?;
    let lag = server.client()?.ask(&["XLAG", "orders", "g"])?;
    for fact in ["entries", "parked", "offered"] {
        let left = lag.field(fact).and_then(Reply::integer);
        ensure!(left == Some(0), "{fact} is {left:?} at the end");
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options> {
    let seed = u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
    let (entries, keys, consumers, kills) = (1_000_000, 10_000, 16, 3);
    let mut options = Options { entries, keys, consumers, kills, seed, canary: false };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--canary" {
            options.canary = true;
            continue;
        }
        let value = rest.next().with_context(|| format!("{argument} needs a value"))?;
        let number = value.parse().with_context(|| format!("{argument} {value}"))?;
        match argument.as_str() {
            "--entries" => options.entries = number,
            "--keys" => options.keys = number,
            "--consumers" => options.consumers = number,
            "--kills" => options.kills = number,
            "--seed" => options.seed = number,
            other => bail!("unknown option {other}"),
        }
    }
    ensure!(options.keys > 0 && options.consumers > 0, "no keys or no consumers");
    Ok(options)
}

/// Kills the server now and then, until all is done or nothing goes on.
fn watch(shared: &Shared, server: &mut Server) -> Result<()> {
    let Options { entries, kills, .. } = shared.options;
    let (mut killed, mut moved) = (0, (0, Instant::now()));
    loop {
        let done = shared.done.load(SeqCst);
        if done >= entries || !lock(&shared.violations).is_empty() {
            return Ok(());
        }
        if done > moved.0 {
            moved = (done, Instant::now());
        }
        if moved.1.elapsed() > QUIET && is_served(server)? {
            shared.settle();
        }
        ensure!(moved.1.elapsed() < STALL_MAX, "stuck at {done} of {entries}: an entry is lost");
        if killed < kills && done >= entries * (killed + 1) / (kills + 1) {
            killed += 1;
            server.end()?;
            server.restart(START_MAX)?;
            *lock(&shared.address) = server.address();
            moved.1 = Instant::now();
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether the group has been given everything and has acknowledged it.
fn is_served(server: &Server) -> Result<bool> {
    let groups = server.client()?.ask(&["XINFO", "GROUPS", "orders"])?;
    let of = |name| groups.items().first()?.field(name)?.integer();
    Ok(of("pending") == Some(0) && of("lag") == Some(0))
}

impl Shared {
    /// Nothing is left on the server: what was about to be acknowledged has been, though a kill
    /// took the answer. Of other entries the next of their key says so; the last of a key has none.
    fn settle(&self) {
        for lane in &self.lanes {
            let mut lane = lock(lane);
            if let Some(asked) = lane.acking {
                let last = lane.done;
                self.advance(&mut lane, last, asked);
            }
        }
    }

    fn connect(&self) -> Option<Client> {
        while !self.ended.load(SeqCst) {
            let address = *lock(&self.address);
            if let Ok(client) = Client::connect(address) {
                return Some(client);
            }
            std::thread::sleep(LOOK);
        }
        None
    }

    /// Adds all entries, each once: their ids are known, so that one that was added before a crash
    /// is refused behind it.
    fn produce(&self) {
        let mut chance = Chance::new(self.options.seed);
        let mut counts = vec![0_u64; self.lanes.len()];
        let entries: Vec<(u64, u64)> = (0..self.options.entries)
            .map(|_| {
                let key = chance.below(self.options.keys);
                let at = usize::try_from(key).expect("keys are in memory");
                counts[at] += 1;
                (key, counts[at] - 1)
            })
            .collect();
        let mut added = 0;
        while let Some(mut client) = self.connect().filter(|_| added < entries.len()) {
            while added < entries.len() && !self.ended.load(SeqCst) {
                let end = entries.len().min(added + 500);
                for (at, (key, n)) in entries.iter().enumerate().take(end).skip(added) {
                    let (id, key, n) = (format!("{}-0", at + 1), key.to_string(), n.to_string());
                    client.push(&["XADD", "orders", &id, "key", &key, "n", &n]);
                }
                let sent = client.flush();
                if sent.is_err() || !(added..end).all(|_| client.read().is_ok()) {
                    break;
                }
                added = end;
            }
        }
    }

    /// Reads, acknowledges most of it, and fails the rest.
    fn consume(&self, consumer: u64) {
        let mut chance = Chance::new(self.options.seed ^ (consumer + 1) << 32);
        while let Some(mut client) = self.connect() {
            let mut goes_on = true;
            while goes_on {
                let turned = self.turn(&mut client, consumer, &mut chance);
                goes_on = turned.is_ok() && !self.ended.load(SeqCst);
            }
        }
    }

    fn turn(&self, client: &mut Client, consumer: u64, chance: &mut Chance) -> std::io::Result<()> {
        let (name, count) = (format!("c{consumer}"), (1 + chance.below(BATCH)).to_string());
        let asked = Instant::now();
        let read = ["XREADGROUP", "GROUP", "g", &name, "COUNT", &count, "BLOCK", "100"];
        let reply = client.ask(&[&read[..], &["STREAMS", "orders", ">"]].concat())?;
        let mut sent = Vec::new();
        for stream in reply.items() {
            for entry in stream.items()[1].items() {
                let id = String::from_utf8_lossy(entry.items()[0].bytes()).into_owned();
                let fields = &entry.items()[1];
                let number = |name| fields.field(name).and_then(Reply::integer);
                let (Some(key), Some(n)) = (number("key"), number("n")) else {
                    self.violate(format!("{id} has other fields: {fields:?}"));
                    continue;
                };
                let (key, n) = (key.cast_unsigned(), n.cast_unsigned());
                if !self.receive(key, n, consumer, asked) || chance.one_in(FORGET_ONE_IN) {
                    continue;
                }
                let fails = chance.one_in(FAIL_ONE_IN);
                self.give_up(key, n, asked, fails);
                match fails {
                    true => client.push(&["XNACK", "orders", "g", "FAIL", "IDS", "1", &id]),
                    false => client.push(&["XACK", "orders", "g", &id]),
                }
                sent.push((key, n, fails));
            }
        }
        client.flush()?;
        for (key, n, fails) in sent {
            if client.read()? == Reply::Integer(1) && !fails {
                self.advance(&mut self.lane(key), n, asked);
            }
        }
        Ok(())
    }

    fn lane(&self, key: u64) -> MutexGuard<'_, Lane> {
        lock(&self.lanes[usize::try_from(key).expect("keys are in memory")])
    }

    /// An entry was delivered: it must be the next of its key, with nobody else. Answers whether
    /// it is still the consumer's for certain.
    fn receive(&self, key: u64, n: u64, consumer: u64, asked: Instant) -> bool {
        let mut lane = self.lane(key);
        if is_over(asked) {
            return false;
        }
        if let Some(acked) = lane.acking.filter(|_| n == lane.done + 1) {
            self.advance(&mut lane, n - 1, acked);
        }
        if n < lane.late {
            return false;
        }
        if n != lane.done {
            self.violate(format!("key {key}: {n} was delivered, {} is next", lane.done));
        }
        if let Some((holder, since)) = lane.holder {
            self.redelivered.fetch_add(1, SeqCst);
            if !is_over(since) && !lane.nacked.is_some_and(is_over) {
                self.violate(format!("key {key}: {n} went to {consumer}, {holder} has it"));
            }
        }
        lane.holder = Some((consumer, asked));
        true
    }

    /// The holder is about to say that it is done with an entry, or has failed.
    fn give_up(&self, key: u64, n: u64, asked: Instant, fails: bool) {
        let mut lane = self.lane(key);
        if lane.done == n {
            match fails {
                true => lane.nacked = Some(asked),
                false => lane.acking = lane.acking.or(Some(asked)),
            }
            lane.holder = None;
        }
    }

    /// An entry is acknowledged.
    fn advance(&self, lane: &mut Lane, n: u64, asked: Instant) {
        if is_over(asked) {
            lane.late = lane.late.max(n + 1);
        }
        if lane.done == n {
            *lane = Lane { done: n + 1, late: lane.late, ..Lane::default() };
            self.done.fetch_add(1, SeqCst);
        }
    }

    fn violate(&self, what: String) {
        lock(&self.violations).push(what);
    }
}

/// Whether the lease of an entry may be over that was asked for then.
fn is_over(asked: Instant) -> bool {
    asked.elapsed() >= Duration::from_millis(LEASE_MS)
}

/// A lock that a panic elsewhere does not take away.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
