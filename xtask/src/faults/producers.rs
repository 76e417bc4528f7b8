//! Producers that append one entry at a time and remember what was acknowledged: the plainest
//! ledger there is, the same for every server.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Result, ensure};

use crate::kills::client::{Client, Reply};
use crate::kills::value::Key;

/// Connections, each with one XADD under way.
const PRODUCERS: u32 = 8;
/// The stream that they fill.
pub(super) const STREAM: &str = "s";

/// Running producers.
#[derive(Debug)]
pub(super) struct Producers {
    counting: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Ledger>>,
}

/// What was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Values whose XADD was acknowledged while it counted.
    pub(super) acknowledged: HashSet<Key>,
    /// Values that may be there: without reply, or acknowledged when it counted no more.
    pub(super) unknown: HashSet<Key>,
    /// Error replies.
    pub(super) errors: u64,
}

/// What a ledger and a server's own words come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) acknowledged: u64,
    /// Acknowledged, and not there.
    pub(super) lost: u64,
    /// There more than once, or never written.
    pub(super) wrong: u64,
}

impl Producers {
    /// Starts them; numbers of producers begin at `first`.
    pub(super) fn start(address: SocketAddr, first: u32) -> Self {
        let counting = Arc::new(AtomicBool::new(true));
        let spawn = |producer| {
            let counting = Arc::clone(&counting);
            std::thread::spawn(move || run(address, producer, &counting))
        };
        let threads = (first..first + PRODUCERS).map(spawn).collect();
        Self { counting, threads }
    }

    /// Counts no acknowledgement that comes from now on: the fault is about to happen.
    pub(super) fn stop_counting(&self) {
        self.counting.store(false, Ordering::SeqCst);
    }

    /// Waits for all of them; their connections must have ended, or end at the next error reply.
    pub(super) fn join(self) -> Result<Ledger> {
        let mut ledger = Ledger::default();
        for thread in self.threads {
            let other = thread.join();
            ensure!(other.is_ok(), "a thread of the rig died");
            let other = other.unwrap_or_default();
            ledger.acknowledged.extend(other.acknowledged);
            ledger.unknown.extend(other.unknown);
            ledger.errors += other.errors;
        }
        Ok(ledger)
    }
}

fn run(address: SocketAddr, producer: u32, counting: &AtomicBool) -> Ledger {
    let mut ledger = Ledger::default();
    let Ok(mut client) = Client::connect(address) else {
        return ledger;
    };
    for number in 0.. {
        let key = Key { producer, number };
        let add = [b"XADD".as_slice(), STREAM.as_bytes(), b"*", b"v", &key.value()];
        let reply = client.call(&add);
        match reply {
            Ok(Reply::Text(_)) if counting.load(Ordering::SeqCst) => {
                ledger.acknowledged.insert(key);
            }
            Ok(Reply::Error(_)) => {
                ledger.errors += 1;
                return ledger;
            }
            Ok(_) => {
                ledger.unknown.insert(key);
            }
            Err(_) => {
                ledger.unknown.insert(key);
                return ledger;
            }
        }
    }
    ledger
}

impl Ledger {
    /// What the server says is there, against what was acknowledged.
    pub(super) fn check(&self, client: &mut Client) -> Result<Verdict> {
        let mut there = HashSet::new();
        let mut wrong = 0;
        for entry in client.ask(&["XRANGE", STREAM, "-", "+"])?.items() {
            let fields = entry.items().get(1).map(Reply::items).unwrap_or_default();
            let key = fields.get(1).map(|value| Key::of(value.bytes()));
            let fine = match key {
                Some(Ok(key)) => {
                    let known = self.acknowledged.contains(&key) || self.unknown.contains(&key);
                    there.insert(key) && known
                }
                _ => false,
            };
            wrong += u64::from(!fine);
        }
        let lost = self.acknowledged.difference(&there).count() as u64;
        Ok(Verdict { acknowledged: self.acknowledged.len() as u64, lost, wrong })
    }
}

impl std::ops::AddAssign for Verdict {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.wrong += other.wrong;
    }
}
