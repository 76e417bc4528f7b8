//! Which node has which slot, as far as we know, and the way to it.
//!
//! The map is what some node said, and may be old; the nodes themselves correct it: a node that has
//! not (any more) what it is asked for answers MOVED, and one that cannot be reached makes the map
//! doubtful. What was certainly not done is asked again, for [`PATIENCE`]; what may have been done
//! is not: the caller hears of it and decides, as with a single server. A node that gives a slot
//! away says ASK of what it has given already: that, and nothing else, is asked of the other node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Value, cmd};
use tokio::time::Instant;

use super::super::link::{Link, Target, is_rearranging};
use super::super::place::Place;
use super::super::sentinel::host_and_port;
use super::super::{Redis, parse};
use crate::error::{Error, Result};

/// How long an operation waits for a slot to have a master that answers: a cluster of default
/// settings takes 15 s to miss a master, and a little more to choose another.
const PATIENCE: Duration = Duration::from_secs(30);
/// Rests between attempts: the first, doubled up to the longest.
const REST_MIN: Duration = Duration::from_millis(10);
const REST_MAX: Duration = Duration::from_millis(500);
/// What a node says that gave a slot away, and one that is about to.
const MOVED: &str = "MOVED ";
const ASK: &str = "ASK ";

/// The nodes of a cluster.
#[derive(Debug)]
pub(super) struct Map {
    place: Place,
    /// Held for no longer than a look.
    view: Mutex<View>,
    /// One at a time asks for the map; everybody else waits for the answer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct View {
    /// Counts the answers.
    number: u64,
    /// Somebody could not go by it.
    doubtful: bool,
    ranges: Vec<Range>,
    /// What nodes said of single slots since.
    moved: HashMap<u16, String>,
    /// By host, and those that slots are on their way to by [`asked`]: they are forgotten with the
    /// next map.
    nodes: HashMap<String, Arc<Redis>>,
    /// Who is asked first the next time.
    turn: usize,
}

/// Slots and the host that has them.
#[derive(Debug, Clone)]
struct Range {
    first: u16,
    last: u16,
    host: String,
}

impl Map {
    /// Asks the hosts of a URL.
    pub(super) async fn connect(place: Place) -> Result<Self> {
        let map = Self { place, view: Mutex::default(), asking: tokio::sync::Mutex::default() };
        map.ask_anew(0).await?;
        Ok(map)
    }

    /// The hosts that have slots.
    pub(super) fn masters(&self) -> Vec<String> {
        let mut hosts: Vec<String> =
            self.look(|view| view.ranges.iter().map(|range| range.host.clone()).collect());
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// The node at a host, connected. Tries once.
    pub(super) async fn node(&self, host: &str) -> Result<Arc<Redis>> {
        self.node_over(host, Target::Node(self.place.client(host)?)).await
    }

    /// The node that a slot is on its way to.
    async fn asked_node(&self, host: &str) -> Result<Arc<Redis>> {
        self.node_over(&asked(host), Target::Asked(self.place.client(host)?)).await
    }

    async fn node_over(&self, name: &str, target: Target) -> Result<Arc<Redis>> {
        if let Some(node) = self.look(|view| view.nodes.get(name).cloned()) {
            node.link.ready().await?;
            return Ok(node);
        }
        let node = Arc::new(Redis::over(target).await?);
        self.look(|view| view.nodes.insert(name.to_owned(), Arc::clone(&node)));
        Ok(node)
    }

    fn look<T>(&self, look: impl FnOnce(&mut View) -> T) -> T {
        look(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The host that has a slot, and the number of the answer that says so.
    fn host_of(&self, slot: u16) -> (u64, Option<String>) {
        self.look(|view| {
            let range = view.ranges.iter().find(|it| it.first <= slot && slot <= it.last);
            let host = view.moved.get(&slot).or(range.map(|range| &range.host));
            (view.number, host.cloned())
        })
    }

    /// Asks for the map, unless somebody has done so since answer `seen`.
    async fn ask_anew(&self, seen: u64) -> Result<()> {
        let _turn = self.asking.lock().await;
        if self.look(|view| view.number) != seen {
            return Ok(());
        }
        let mut last = Error::Connection("no node of the cluster can be asked".to_owned());
        for host in self.hosts() {
            match self.ask(&host).await {
                Ok(ranges) if !ranges.is_empty() => {
                    self.look(|view| view.learn(ranges));
                    return Ok(());
                }
                Ok(_) => last = Error::Connection(format!("{host} knows of no slots")),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// All that can be asked, each time another first: what one says may be old.
    fn hosts(&self) -> Vec<String> {
        let masters = self.masters();
        let turn = self.look(|view| {
            view.turn = view.turn.wrapping_add(1);
            view.turn
        });
        let mut hosts = masters;
        let first = turn % hosts.len().max(1);
        hosts.rotate_left(first);
        for host in self.place.hosts() {
            if !hosts.contains(host) {
                hosts.push(host.clone());
            }
        }
        hosts
    }

    async fn ask(&self, host: &str) -> Result<Vec<Range>> {
        let link = Link::shared(Target::Node(self.place.client(host)?));
        ranges(link.run(cmd("CLUSTER").arg("SLOTS")).await?, host)
    }
}

impl View {
    fn learn(&mut self, ranges: Vec<Range>) {
        self.number += 1;
        self.doubtful = false;
        self.moved.clear();
        // Those that have no slots any more are let go.
        self.nodes.retain(|host, _| ranges.iter().any(|range| range.host == *host));
        self.ranges = ranges;
    }
}

/// The way to the node of a slot.
pub(super) struct Journey<'a> {
    map: &'a Map,
    slot: u16,
    deadline: Instant,
    rest: Duration,
    /// The answer that we went by.
    seen: u64,
    /// Who is asked next, and only this once.
    ask: Option<String>,
    /// Where we are: a host, or one that is asked.
    pub(super) host: String,
}

impl<'a> Journey<'a> {
    pub(super) fn to(map: &'a Map, slot: u16) -> Self {
        let deadline = Instant::now() + PATIENCE;
        Self { map, slot, deadline, rest: REST_MIN, seen: 0, ask: None, host: String::new() }
    }

    /// The node that has the slot now, connected.
    pub(super) async fn node(&mut self) -> Result<Arc<Redis>> {
        if self.map.look(|view| view.doubtful) {
            let seen = self.map.look(|view| view.number);
            // Where nobody can be asked the old map has to do: the way shows whether it does.
            let _ = self.map.ask_anew(seen).await;
        }
        if let Some(host) = self.ask.take() {
            // Where it cannot be reached its master, which we come from, is asked again.
            match self.map.asked_node(&host).await {
                Ok(node) => {
                    self.host = asked(&host);
                    return Ok(node);
                }
                Err(error) if error.is_transient() => self.wait(error).await?,
                Err(error) => return Err(error),
            }
        }
        loop {
            let (seen, host) = self.map.host_of(self.slot);
            self.seen = seen;
            let outcome = match &host {
                Some(host) => self.map.node(host).await,
                None => Err(Error::Connection(format!("nobody has slot {}", self.slot))),
            };
            match outcome {
                Ok(node) => {
                    self.host = host.unwrap_or_default();
                    return Ok(node);
                }
                Err(error) if error.is_transient() => self.wait(error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the same may be asked again: `Ok` where it was certainly not done, else the error.
    pub(super) async fn goes_on(&mut self, error: Error) -> Result<()> {
        match &error {
            Error::Moved(text) if text.starts_with(ASK) && Instant::now() < self.deadline => {
                self.ask = destination(text, ASK).map(str::to_owned);
                // A node that was asked and asks in turn is not to be followed at once.
                let again = self.ask.is_none() || self.host.starts_with(ASK);
                if again { self.wait(error).await } else { Ok(()) }
            }
            Error::Moved(text) => {
                let to = destination(text, MOVED).map(str::to_owned);
                self.wait(error).await?;
                if let Some(host) = to {
                    self.map.look(|view| view.moved.insert(self.slot, host));
                }
                Ok(())
            }
            refused if is_rearranging(refused) => self.wait(error).await,
            failed => {
                self.doubts(failed);
                Err(error)
            }
        }
    }

    /// Behind a lost connection the map may be wrong: whoever comes next asks for it.
    pub(super) fn doubts(&self, error: &Error) {
        if matches!(error, Error::Connection(_) | Error::Timeout(_)) {
            self.map.look(|view| view.doubtful = true);
        }
    }

    /// Rests, and asks for the map; the error where it has taken too long.
    async fn wait(&mut self, error: Error) -> Result<()> {
        if Instant::now() + self.rest > self.deadline {
            return Err(match error {
                Error::Moved(text) => Error::Connection(text),
                error => error,
            });
        }
        tokio::time::sleep(self.rest).await;
        self.rest = (self.rest * 2).min(REST_MAX);
        // Nobody to ask: the next step fails, and rests again.
        let _ = self.map.ask_anew(self.seen).await;
        Ok(())
    }
}

/// Whether a command was certainly not carried out, and may be asked of whoever has its slot.
pub(super) fn was_not_done(error: &Error) -> bool {
    matches!(error, Error::Moved(_)) || is_rearranging(error)
}

/// The name of a node that is asked, among the others.
fn asked(host: &str) -> String {
    format!("{ASK}{host}")
}

/// Where a slot went, or is on its way to: `MOVED SLOT HOST:PORT`.
fn destination<'a>(text: &'a str, said: &str) -> Option<&'a str> {
    let host = text.strip_prefix(said)?.split(' ').nth(1)?;
    (!host.starts_with(':')).then_some(host)
}

/// The answer of CLUSTER SLOTS; a node without a name of its own is the one that was asked.
fn ranges(answer: Value, asked: &str) -> Result<Vec<Range>> {
    let mut ranges = Vec::new();
    for row in parse::list(answer)? {
        let row = parse::list(row)?;
        let [first, last, master, ..] = row.as_slice() else {
            return Err(Error::protocol(row));
        };
        let slot = |value| {
            let number = u16::try_from(parse::integer(value)?);
            number.map_err(|_| Error::protocol("a slot"))
        };
        let master = parse::list(master.clone())?;
        let (Some(name), Some(port)) = (master.first(), master.get(1)) else {
            return Err(Error::protocol(master));
        };
        let port = parse::integer(port)?.to_string();
        let host = match parse::text_of(name).as_deref() {
            Some("?") => continue,
            None | Some("") => {
                let (host, _) = asked.rsplit_once(':').unwrap_or((asked, ""));
                format!("{host}:{port}")
            }
            Some(host) => host_and_port(host, &port),
        };
        ranges.push(Range { first: slot(first)?, last: slot(last)?, host });
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_read() {
        let text = |text: &str| Value::BulkString(text.into());
        let row = |name, first, last| {
            let node = Value::Array(vec![name, Value::Int(7000), text("id")]);
            Value::Array(vec![Value::Int(first), Value::Int(last), node])
        };
        let rows = vec![row(text("10.0.0.1"), 0, 99), row(Value::Nil, 100, 200)];
        let read = ranges(Value::Array(rows), "me:1").expect("a map");
        assert_eq!((read[0].first, read[0].last, &*read[0].host), (0, 99, "10.0.0.1:7000"));
        assert_eq!(&*read[1].host, "me:7000");
        assert!(ranges(Value::Array(vec![Value::Int(1)]), "me:1").is_err());
    }

    #[test]
    fn a_slot_goes_where_its_node_says() {
        assert_eq!(destination("MOVED 7 10.0.0.2:7001", MOVED), Some("10.0.0.2:7001"));
        assert_eq!(destination("MOVED 7 :7001", MOVED), None, "the map says it then");
        assert_eq!(destination("ASK 7 10.0.0.2:7001", MOVED), None);
        assert_eq!(destination("ASK 7 10.0.0.2:7001", ASK), Some("10.0.0.2:7001"));
    }
}
