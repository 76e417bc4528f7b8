//! Servers that die: a master of a cluster, a master behind sentinels; and TLS that is refused.
//!
//! Each test takes down what it was given, so each is run with servers of its own kind, which
//! `cargo xtask toolkit` starts, names in `LEVADA_TEST_URL` and, with their processes, in
//! `LEVADA_TEST_PIDS`.

mod cluster;
mod sentinel;
mod tls;

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use levada::{Broker, Durability, Error, Msg, State, Worker};
use tokio::sync::mpsc::UnboundedSender;

use crate::conformance::event;
use crate::world::{Running, Told, tells};

event!(Kept, "it-kept");

/// The URL that this run is about.
fn url() -> String {
    std::env::var("LEVADA_TEST_URL").expect("cargo xtask toolkit says which")
}

/// The process of each server, by its address.
fn processes() -> HashMap<String, u32> {
    let rows = std::env::var("LEVADA_TEST_PIDS").expect("cargo xtask toolkit says which");
    let row = |row: &str| {
        let (address, pid) = row.split_once('=').expect("ADDRESS=PID");
        (address.to_owned(), pid.parse().expect("a number"))
    };
    rows.split_whitespace().map(row).collect()
}

/// Sends a signal to the process of a server.
fn signal(name: &str, address: &str) {
    let pid = processes().get(address).copied().expect("we know it").to_string();
    let sent = Command::new("kill").args([name, &pid]).status().expect("there is a kill");
    assert!(sent.success(), "kill {name} {pid}");
}

/// Asks a server.
fn ask(address: &str, words: &[&str]) -> redis::RedisResult<redis::Value> {
    let client = redis::Client::open(format!("redis://{address}"))?;
    let mut connection = client.get_connection_with_timeout(Duration::from_secs(2))?;
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query(&mut connection)
}

async fn keep(State(tell): State<UnboundedSender<u32>>, Msg(event): Msg<Kept>) {
    tell.send(event.n).expect("the test listens");
}

/// Sends numbered events, each again and again until it is there.
struct Source {
    next: u32,
    acked: Arc<Mutex<HashSet<u32>>>,
}

impl Source {
    fn new() -> Self {
        Self { next: 0, acked: Arc::default() }
    }

    async fn send(&mut self, broker: &Broker, count: u32) {
        let producer = broker.producer();
        for n in self.next..self.next + count {
            let event = Kept::keyed(n, &format!("k{}", n % 64));
            loop {
                match producer.send(&event).await {
                    Ok(_) => {
                        self.acked.lock().expect("nobody panics").insert(n);
                        break;
                    }
                    // Beside a master that has no replica any more.
                    Err(Error::Unconfirmed { .. }) => break,
                    Err(error) if error.is_transient() => {
                        println!("{n}: {error}");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    Err(error) => panic!("{n}: {error}"),
                }
            }
        }
        self.next += count;
    }

    /// Waits until all that was acknowledged is handled.
    async fn handled(&self, told: &mut Told<u32>) {
        let mut missing = self.acked.lock().expect("nobody panics").clone();
        while !missing.is_empty() {
            missing.remove(&told.next().await);
        }
    }
}

/// Workers go on when a master is killed, and what was acknowledged is handled.
async fn workers_survive(broker: &Broker, exclusive: bool, kill: impl Fn()) {
    let (tell, mut told) = tells();
    let start = || {
        let worker = Worker::new(broker, "g").state(tell.clone()).handle(keep).concurrency(8);
        let worker = worker.lease(Duration::from_secs(3)).poll(Duration::from_millis(100));
        Running::start(if exclusive { worker.exclusive() } else { worker })
    };
    let workers = [start(), start()];
    let mut source = Source::new();
    // What has a copy survives.
    let copied = Durability::replicas(1).within(Duration::from_millis(100));
    source.send(&broker.durability(copied), 300).await;
    assert!(!source.acked.lock().expect("nobody panics").is_empty(), "nothing had a copy");
    kill();
    source.send(broker, 300).await;
    source.handled(&mut told).await;
    for worker in workers {
        worker.stop().await;
    }
}
