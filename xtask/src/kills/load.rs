//! The connections that load the server until it is killed: producers and consumers, each on a
//! thread of its own, each with one connection, writing all they see into a journal.
//!
//! A connection ends at its first failure. What it had sent by then and not seen answered is
//! unknown, and is never sent again: so every value is written at most once.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::client::{Client, Reply};
use super::consume::Consumer;
use super::journal::{Add, CONSUMERS, Counter, Id, Journal, Kind, Removal, STREAMS, Span, TRIMMED};
use super::value::{Chance, Key};

/// Producers at a time. Producer numbers of a round start at a multiple of 16.
const PRODUCERS: u32 = 4;
/// Connections of a load.
pub(crate) const CONNECTIONS: u64 = PRODUCERS as u64 + CONSUMERS.len() as u64;
/// Their name.
pub(crate) const NAME: &str = "load";
/// Most requests that one producer has under way.
const BATCH_MAX: u64 = 32;

/// What all connections of a round share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The server of this round.
    pub(crate) address: SocketAddr,
    /// Orders requests and replies.
    pub(crate) counter: Counter,
    /// Entries that were delivered lately, to claim from one another.
    pub(crate) board: Mutex<Vec<(usize, Id)>>,
}

impl Shared {
    /// A connection that CLIENT LIST tells from those of others; `None` if it cannot be had.
    pub(crate) fn connect(&self) -> Option<Client> {
        let mut client = Client::connect(self.address).ok()?;
        client.ask(&["CLIENT", "SETNAME", NAME]).ok()?;
        Some(client)
    }
}

/// The running connections of one round.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Journal>>,
}

impl Load {
    /// Starts all connections. They run until the server goes away.
    pub(crate) fn start(address: SocketAddr, round: u32, chance: &mut Chance) -> Self {
        let shared =
            Arc::new(Shared { address, counter: Counter::default(), board: Mutex::default() });
        let mut threads = Vec::new();
        for producer in 0..PRODUCERS {
            let (shared, chance) = (Arc::clone(&shared), Chance::new(chance.next()));
            threads.push(std::thread::spawn(move || {
                Producer::run(&shared, round * 16 + producer, chance)
            }));
        }
        for consumer in 0..CONSUMERS.len() {
            let (shared, chance) = (Arc::clone(&shared), Chance::new(chance.next()));
            threads.push(std::thread::spawn(move || Consumer::run(&shared, consumer, chance)));
        }
        Self { shared, threads }
    }

    /// This moment, in the order of requests and replies.
    pub(crate) fn moment(&self) -> u64 {
        self.shared.counter.next()
    }

    /// Waits until all have noticed that the server is gone. Answers what they recorded.
    pub(crate) fn join(self) -> Journal {
        let mut journal = Journal::default();
        for thread in self.threads {
            match thread.join() {
                Ok(other) => journal.absorb(other),
                Err(_) => journal.note(Kind::Contradiction, "a thread of the rig died".to_owned()),
            }
        }
        journal
    }
}

/// Sends what was pushed on `client` and reads `counts[i]` replies to the request at i; `settle`
/// gets the last of these, or `None` if it never came. Answers whether the connection lives on.
pub(crate) fn exchange<R>(
    client: &mut Client,
    requests: Vec<(R, u32)>,
    journal: &mut Journal,
    mut settle: impl FnMut(&mut Journal, R, Option<Reply>),
) -> bool {
    let mut failure = client.flush().err();
    for (request, replies) in requests {
        let mut last = None;
        for _ in 0..replies {
            if failure.is_some() {
                break;
            }
            match client.read() {
                Ok(reply) => last = Some(reply),
                Err(error) => failure = Some(error),
            }
        }
        let answer = last.filter(|_| failure.is_none());
        match &answer {
            Some(Reply::Error(text)) => {
                journal.note(Kind::Contradiction, format!("error reply: {text}"));
            }
            Some(_) => journal.acknowledged += 1,
            None => journal.unknown += 1,
        }
        settle(journal, request, answer);
    }
    // A kill ends a connection; silence or nonsense is the server's own.
    if let Some(error) = &failure {
        use ErrorKind::{InvalidData, TimedOut, WouldBlock};
        if matches!(error.kind(), InvalidData | TimedOut | WouldBlock) {
            journal.note(Kind::Contradiction, format!("no proper reply: {error}"));
        }
    }
    failure.is_none()
}

/// A request of a producer.
#[derive(Debug)]
enum Request {
    Add(usize, Key),
    Pair(Key),
    Delete(usize, Id),
    Trim(u64),
    First,
}

/// A connection that appends, and now and then deletes and trims.
#[derive(Debug)]
struct Producer<'a> {
    shared: &'a Shared,
    chance: Chance,
    key: Key,
    /// Entries of its own that it may delete.
    mine: Vec<(usize, Id)>,
    /// The last id that it got, by stream.
    newest: [Id; STREAMS.len()],
}

impl Producer<'_> {
    fn run(shared: &Shared, producer: u32, chance: Chance) -> Journal {
        let mut journal = Journal::default();
        let Some(mut client) = shared.connect() else {
            return journal;
        };
        let mut this = Producer {
            shared,
            chance,
            key: Key { producer, number: 0 },
            mine: Vec::new(),
            newest: [(0, 0); STREAMS.len()],
        };
        while this.batch(&mut client, &mut journal) {}
        journal
    }

    /// One batch of requests, half the time of a single one. Answers whether to go on.
    fn batch(&mut self, client: &mut Client, journal: &mut Journal) -> bool {
        let size = if self.chance.one_in(2) { 1 } else { 2 + self.chance.below(BATCH_MAX - 1) };
        let mut requests = Vec::new();
        while (requests.len() as u64) < size {
            self.request(client, &mut requests);
        }
        let invoked = self.shared.counter.next();
        exchange(client, requests, journal, |journal, request, reply| {
            self.settle(journal, &request, reply, invoked);
        })
    }

    fn request(&mut self, client: &mut Client, requests: &mut Vec<(Request, u32)>) {
        match self.chance.below(100) {
            0..10 => {
                let key = self.next_key();
                client.push(&["MULTI"]);
                push_add(client, 0, key);
                push_add(client, 1, key);
                client.push(&["EXEC"]);
                requests.push((Request::Pair(key), 4));
            }
            10..18 if !self.mine.is_empty() => {
                let index = self.chance.index(self.mine.len());
                let (stream, id) = self.mine.swap_remove(index);
                client.push(&["XDEL", STREAMS[stream], &super::journal::show_id(id)]);
                requests.push((Request::Delete(stream, id), 1));
            }
            18..20 => {
                let keep = self.chance.pick(&[300, 1000, 3000]);
                client.push(&["XTRIM", STREAMS[TRIMMED], "MAXLEN", &keep.to_string()]);
                client.push(&["XRANGE", STREAMS[TRIMMED], "-", "+", "COUNT", "1"]);
                requests.push((Request::Trim(keep), 1));
                requests.push((Request::First, 1));
            }
            _ => {
                let (stream, key) = (self.chance.index(STREAMS.len()), self.next_key());
                push_add(client, stream, key);
                requests.push((Request::Add(stream, key), 1));
            }
        }
    }

    fn settle(
        &mut self,
        journal: &mut Journal,
        request: &Request,
        reply: Option<Reply>,
        invoked: u64,
    ) {
        let span = self.span(invoked, reply.is_some());
        match *request {
            Request::Add(stream, key) => {
                let id = reply.and_then(|reply| self.new_id(journal, stream, &reply));
                self.mine.extend(id.map(|id| (stream, id)));
                journal.adds.push(Add { stream, key, paired: false, span, id });
            }
            Request::Pair(key) => {
                for stream in [0, 1] {
                    let item = |reply: &Reply| reply.items().get(stream).cloned();
                    let item = reply.as_ref().map(|reply| item(reply).unwrap_or(Reply::Nil));
                    let id = item.and_then(|item| self.new_id(journal, stream, &item));
                    journal.adds.push(Add { stream, key, paired: true, span, id });
                }
            }
            Request::Delete(stream, id) => {
                // Only a trim can have been there before.
                let gone = reply == Some(Reply::Integer(0)) && stream != TRIMMED;
                if gone {
                    let id = super::journal::show_id(id);
                    let problem = format!("XDEL {} {id} found nothing", STREAMS[stream]);
                    journal.note(Kind::Lost, problem);
                }
                journal.deletes.push(Removal { stream, id, span, known: reply.is_some() });
            }
            Request::Trim(keep) => journal.trims.push((TRIMMED, keep)),
            Request::First => {
                let first = reply.as_ref().and_then(|reply| reply.items().first());
                let id = first.map(|entry| &entry.items()[0]);
                let id = id.and_then(|id| super::journal::parse_id(id.bytes()).ok());
                journal.floors.extend(id.map(|id| (TRIMMED, id)));
            }
        }
    }

    /// The id in the reply to an XADD, which must be above those before it on this connection.
    fn new_id(&mut self, journal: &mut Journal, stream: usize, reply: &Reply) -> Option<Id> {
        match super::journal::parse_id(reply.bytes()) {
            Ok(id) => {
                if id <= self.newest[stream] {
                    let (name, newest) = (STREAMS[stream], self.newest[stream]);
                    let text = format!("{name}: {id:?} after {newest:?} on one connection");
                    journal.note(Kind::Reordered, text);
                }
                self.newest[stream] = id;
                Some(id)
            }
            Err(problem) => {
                journal.note(Kind::Contradiction, format!("XADD answers: {problem}"));
                None
            }
        }
    }

    fn span(&self, invoked: u64, replied: bool) -> Span {
        Span { invoked, completed: if replied { self.shared.counter.next() } else { u64::MAX } }
    }

    fn next_key(&mut self) -> Key {
        let key = self.key;
        self.key.number += 1;
        key
    }
}

fn push_add(client: &mut Client, stream: usize, key: Key) {
    let value = key.value();
    client.push(&[b"XADD".as_slice(), STREAMS[stream].as_bytes(), b"*", b"v", &value]);
}
