//! The two servers, and an episode played on both.
//!
//! Steps of one client that follow each other go out in one go, to both servers before either is
//! read. Another client's steps wait until all replies are there, so the order of commands is the
//! same on both. The last client listens: what it got is compared as one sequence whenever it has
//! something to say, and at the end; a PING behind it tells where the sequence ends.

use std::collections::HashMap;
use std::io;

use anyhow::{Context as _, Result, ensure};

use super::capability::Capability;
use super::compare::Comparer;
use super::episode::{Episode, Step, Word};
use super::known::{KNOWN, explain, missed};
use super::wire::{Wire, encode};
use super::{CLIENTS, LISTENER};
use crate::peer::Peer;
use crate::transcript::render::render;
use crate::transcript::reply::Reply;

/// Steps that go out in one go.
const BATCH_MAX: usize = 64;

/// The peer and Levada, in this order everywhere.
#[derive(Debug)]
pub(crate) struct Pair {
    servers: [Peer; 2],
    /// Of each server, by client.
    clients: [Vec<Wire>; 2],
    /// What the peer is.
    pub(crate) capability: Capability,
    markers: u64,
}

/// Replies that no known difference explains.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    /// Place of the step in its episode; behind the last one if events differ.
    pub(crate) at: usize,
    /// What the peer and Levada said.
    pub(crate) said: [String; 2],
}

/// How an episode went.
#[derive(Debug, Default)]
pub(crate) struct Played {
    /// Steps whose replies were compared.
    pub(crate) compared: u64,
    /// How often each entry of [`KNOWN`] was met.
    pub(crate) known: HashMap<usize, u64>,
    /// The first thing that nothing explains.
    pub(crate) difference: Option<Difference>,
}

/// Where an episode stands.
struct Course<'a> {
    episode: &'a Episode,
    comparer: Comparer,
    /// By client: the steps that its open transaction has queued.
    queued: Vec<Vec<usize>>,
    played: Played,
    /// Whether a known difference ended it.
    ended: bool,
}

/// A reply, or how the connection failed.
type Answer = Result<Reply, io::ErrorKind>;

impl Pair {
    /// Connects to both; the first is the peer.
    pub(crate) fn new(servers: [Peer; 2]) -> Result<Self> {
        let mut wire = Wire::open(servers[0].address)?;
        let info = wire.call(&["INFO", "server"])?;
        let text = String::from_utf8_lossy(info.text().unwrap_or_default()).into_owned();
        let capability = Capability::from_info(&text).context("the peer says no version")?;
        let mut pair = Self { servers, clients: [Vec::new(), Vec::new()], capability, markers: 0 };
        pair.connect()?;
        Ok(pair)
    }

    /// Connects all clients anew.
    fn connect(&mut self) -> Result<()> {
        for (server, clients) in self.servers.iter().zip(&mut self.clients) {
            clients.clear();
            for _ in 0..CLIENTS {
                clients.push(Wire::open(server.address).context("a server is gone")?);
            }
        }
        Ok(())
    }

    /// Plays an episode on emptied servers up to its first difference.
    pub(crate) fn play(&mut self, episode: &Episode) -> Result<Played> {
        if self.prepare(episode).is_err() {
            self.connect()?;
            self.prepare(episode)?;
        }
        let mut course = Course {
            episode,
            comparer: Comparer::default(),
            queued: vec![Vec::new(); CLIENTS],
            played: Played::default(),
            ended: false,
        };
        let mut at = 0;
        while at < episode.steps.len() && !course.is_over() {
            let end = course.batch_end(at);
            if episode.steps[at].client == LISTENER {
                self.listen(&mut course, at, at)?;
                self.listen(&mut course, at, end)?;
            } else {
                self.exchange(&mut course, at, end)?;
            }
            at = end;
        }
        if !course.is_over() {
            self.listen(&mut course, at, at)?;
        }
        if course.is_over() {
            // Replies that were not read are in the way.
            self.connect()?;
        }
        Ok(course.played)
    }

    /// Empties both servers and gives them the settings of the episode.
    fn prepare(&mut self, episode: &Episode) -> Result<()> {
        let nodes = episode.node_entries.to_string();
        let settings = ["stream-node-max-entries", &nodes, "notify-keyspace-events"];
        let set = [&["CONFIG", "SET"], &settings[..], &[&episode.events]].concat();
        let quiet = ["CONFIG", "SET", "notify-keyspace-events", ""];
        let hello = ["HELLO", if episode.resp3 { "3" } else { "2" }];
        self.all(0, &[&["RESET"], &hello, &quiet, &["FLUSHALL"], &set])?;
        self.all(1, &[&["RESET"], &hello])?;
        let listen = [&["RESET"][..], &hello, &["PSUBSCRIBE", "__key*"]];
        self.all(LISTENER, if episode.events.is_empty() { &listen[..2] } else { &listen })
    }

    /// Sends commands to both servers and insists that none is refused.
    fn all(&mut self, client: usize, commands: &[&[&str]]) -> Result<()> {
        let mut frame = Vec::new();
        for command in commands {
            encode(&mut frame, command.iter().map(|word| word.as_bytes()));
        }
        for clients in &mut self.clients {
            clients[client].send(&frame)?;
        }
        for clients in &mut self.clients {
            for command in commands {
                let reply = clients[client].receive()?;
                ensure!(!matches!(reply, Reply::Error(_)), "{command:?}: {}", render(&reply));
            }
        }
        Ok(())
    }

    /// Sends the steps `at..end` and compares their replies.
    fn exchange(&mut self, course: &mut Course, at: usize, end: usize) -> Result<()> {
        let steps = &course.episode.steps[at..end];
        let client = steps[0].client;
        for (side, clients) in self.clients.iter_mut().enumerate() {
            let mut frame = Vec::new();
            for (behind, step) in steps.iter().enumerate() {
                let waits = course.may_wait(at + behind);
                encode_step(&mut frame, step, &course.comparer, side, waits);
            }
            // A closed connection shows when it is read.
            let _ = clients[client].send(&frame);
        }
        for step in at..end {
            let [theirs, ours] = &mut self.clients;
            let answers = [&mut theirs[client], &mut ours[client]].map(receive);
            course.compare(step, &answers, &self.capability);
            if course.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// Sends steps of the listener and compares all that it got since the last time.
    fn listen(&mut self, course: &mut Course, at: usize, end: usize) -> Result<()> {
        self.markers += 1;
        let marker = format!("marker {}", self.markers).into_bytes();
        let mut heard = [Vec::new(), Vec::new()];
        for (side, clients) in self.clients.iter_mut().enumerate() {
            let mut frame = Vec::new();
            for step in &course.episode.steps[at..end] {
                encode_step(&mut frame, step, &course.comparer, side, false);
            }
            encode(&mut frame, [&b"PING"[..], &marker].into_iter());
            let _ = clients[LISTENER].send(&frame);
        }
        for (clients, heard) in self.clients.iter_mut().zip(&mut heard) {
            loop {
                let answer = receive(&mut clients[LISTENER]);
                let is_last = match &answer {
                    Ok(reply) => is_marker(reply, &marker),
                    Err(_) => true,
                };
                if is_last && answer.is_ok() {
                    break;
                }
                if !answer.as_ref().is_ok_and(|it| is(it, "expired")) {
                    heard.push(answer);
                }
                if is_last {
                    break;
                }
            }
        }
        course.played.compared += (end - at) as u64;
        course.compare_heard(at, &heard);
        Ok(())
    }
}

impl Course<'_> {
    fn is_over(&self) -> bool {
        self.ended || self.played.difference.is_some()
    }

    /// Where the steps end that go out together with the one at `at`.
    fn batch_end(&self, at: usize) -> usize {
        let steps = &self.episode.steps[at..];
        let client = steps[0].client;
        let numbers: Vec<u32> = steps.iter().take(BATCH_MAX).map(|step| step.number).collect();
        let fits = |behind: usize, step: &Step| {
            let pending = &numbers[..behind];
            step.client == client
                && !step.words.iter().filter_map(Word::source).any(|it| pending.contains(&it))
        };
        let more = steps.iter().enumerate().take(BATCH_MAX);
        at + more.take_while(|(behind, step)| *behind == 0 || fits(*behind, step)).count()
    }

    /// Whether a step outside of a transaction says how long to wait.
    fn may_wait(&self, at: usize) -> bool {
        let step = &self.episode.steps[at];
        let same = self.episode.steps[..at].iter().filter(|each| each.client == step.client);
        let ends = [&b"multi"[..], b"exec", b"discard", b"reset"];
        let mut names = same.filter(|each| each.words.len() == 1).map(|each| each.lower(0));
        let last = names.rfind(|name| ends.contains(&&name[..]));
        step.find("block").is_some() && last.is_none_or(|name| name != b"multi")
    }

    fn compare(&mut self, at: usize, answers: &[Answer; 2], peer: &Capability) {
        self.played.compared += 1;
        let step = &self.episode.steps[at];
        let [Ok(theirs), Ok(ours)] = answers else {
            if answers[0].is_err() != answers[1].is_err() {
                self.differ(at, answers);
            }
            // Both closed the connection: nothing more can be compared.
            self.ended = true;
            return;
        };
        if *theirs == Reply::Simple(b"QUEUED".to_vec()) && theirs == ours {
            self.queued[step.client].push(at);
            return;
        }
        let name = step.lower(0);
        // One that was refused leaves the transaction before it as it is.
        if name == b"multi" && !matches!(theirs, Reply::Error(_)) {
            self.queued[step.client].clear();
        }
        if [&b"exec"[..], b"discard", b"reset"].contains(&&name[..]) && step.words.len() == 1 {
            let queued = std::mem::take(&mut self.queued[step.client]);
            if let (b"exec", Reply::Array(theirs), Reply::Array(ours)) = (&name[..], theirs, ours)
                && queued.len() == theirs.len()
                && theirs.len() == ours.len()
            {
                for ((at, theirs), ours) in queued.into_iter().zip(theirs).zip(ours) {
                    self.compare_replies(at, theirs, ours, peer);
                }
                return;
            }
        }
        self.compare_replies(at, theirs, ours, peer);
    }

    fn compare_replies(&mut self, at: usize, theirs: &Reply, ours: &Reply, peer: &Capability) {
        let step = &self.episode.steps[at];
        self.comparer.learn(step, [theirs, ours]);
        if self.is_over() || self.comparer.same(step, theirs, ours) {
            return;
        }
        if let Some(known) = explain(peer, step, theirs, ours) {
            *self.played.known.entry(known).or_default() += 1;
            self.ended |= KNOWN[known].ends;
        } else {
            let said = [render(theirs), render(ours)];
            self.played.difference = Some(Difference { at, said });
        }
    }

    /// Compares what the listener got.
    fn compare_heard(&mut self, at: usize, heard: &[Vec<Answer>; 2]) {
        let heard = if self.same_heard(heard) {
            return;
        } else {
            let kept = |side: usize| {
                let is_miss = |answer: &&Answer| answer.as_ref().is_ok_and(|it| is(it, "keymiss"));
                heard[side].iter().filter(|answer| !is_miss(answer)).cloned().collect()
            };
            let kept: [Vec<Answer>; 2] = [kept(0), kept(1)];
            if self.same_heard(&kept) {
                *self.played.known.entry(missed()).or_default() += 1;
                return;
            }
            kept
        };
        let none: Answer = Err(io::ErrorKind::NotFound);
        for place in 0..heard[0].len().max(heard[1].len()) {
            let both = [0, 1].map(|side: usize| heard[side].get(place).unwrap_or(&none));
            if !self.same_message((both[0], both[1])) {
                let before = place.saturating_sub(3);
                let said = [0, 1].map(|side: usize| {
                    let shown = heard[side].iter().skip(before).take(6);
                    let shown: Vec<_> = shown.map(show).collect();
                    format!("events from {before} on:\n{}", shown.join("\n"))
                });
                self.played.difference = Some(Difference { at, said });
                return;
            }
        }
    }

    fn same_heard(&self, heard: &[Vec<Answer>; 2]) -> bool {
        heard[0].len() == heard[1].len()
            && heard[0].iter().zip(&heard[1]).all(|answers| self.same_message(answers))
    }

    fn same_message(&self, answers: (&Answer, &Answer)) -> bool {
        let ping = Step { client: LISTENER, number: 0, words: vec![Word::Bytes(b"PING".into())] };
        match answers {
            (Ok(theirs), Ok(ours)) => self.comparer.same(&ping, theirs, ours),
            (Err(theirs), Err(ours)) => theirs == ours,
            _ => false,
        }
    }

    fn differ(&mut self, at: usize, answers: &[Answer; 2]) {
        let said = [show(&answers[0]), show(&answers[1])];
        self.played.difference = Some(Difference { at, said });
    }
}

/// Appends a step as one side has to send it. Outside of a transaction nobody waits for long.
fn encode_step(to: &mut Vec<u8>, step: &Step, comparer: &Comparer, side: usize, waits: bool) {
    let wait = if waits { step.find("block").map(|at| at + 1) } else { None };
    let words: Vec<Vec<u8>> = step
        .words
        .iter()
        .enumerate()
        .map(|(at, word)| match word {
            Word::Bytes(bytes) if wait == Some(at) && is_a_wait(bytes) => b"1".to_vec(),
            Word::Bytes(bytes) => bytes.clone(),
            Word::Dump(number, payload) => comparer.payload(side, *number, *payload),
            Word::Id(before, number) => [before.as_bytes(), comparer.id(side, *number)].concat(),
        })
        .collect();
    encode(to, words.iter().map(Vec::as_slice));
}

/// Whether a server would take it for a time to wait.
fn is_a_wait(bytes: &[u8]) -> bool {
    let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<i64>().ok());
    number.is_some_and(|number| (0..1 << 60).contains(&number))
}

fn receive(wire: &mut Wire) -> Answer {
    wire.receive().map_err(|error| match error.kind() {
        // A close shows in several ways.
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => io::ErrorKind::UnexpectedEof,
        kind => kind,
    })
}

fn is_marker(reply: &Reply, marker: &[u8]) -> bool {
    match reply {
        Reply::Bulk(text) => text == marker,
        Reply::Array(values) => values.last().is_some_and(|last| is_marker(last, marker)),
        _ => false,
    }
}

/// Whether it is a message of this event.
fn is(message: &Reply, event: &str) -> bool {
    let (Reply::Array(values) | Reply::Push(values)) = message else { return false };
    let mut texts = values.iter().filter_map(Reply::text);
    let behind =
        |text: &[u8]| text.strip_suffix(event.as_bytes()).is_some_and(|text| text.ends_with(b":"));
    texts.any(|text| text == event.as_bytes() || behind(text))
}

fn show(answer: &Answer) -> String {
    match answer {
        Ok(reply) => render(reply),
        Err(kind) => format!("(no reply: {kind})"),
    }
}
