//! A consumer of the kill loop: it reads what is new, acknowledges some of it and claims from the
//! others, and records every entry that a reply showed it.

use super::client::{Client, Reply};
use super::journal::{
    CONSUMERS, GROUP, How, Id, Journal, Kind, Removal, STREAMS, Span, Take, Unseen, parse_id,
    show_id,
};
use super::load::{Shared, exchange};
use super::value::{Chance, Key};

/// Entries on the board from which consumers claim.
const BOARD_MAX: usize = 200;
/// Most ids that one XACK or XCLAIM names.
const IDS_MAX: u64 = 20;

/// A request of a consumer.
#[derive(Debug)]
enum Request {
    Read(Vec<usize>),
    Ack(usize, Vec<Id>),
    Claim(usize, Vec<Id>, How),
    Autoclaim(usize, How),
}

/// One connection of a group's consumer.
#[derive(Debug)]
pub(crate) struct Consumer<'a> {
    shared: &'a Shared,
    chance: Chance,
    number: usize,
    /// What it has and may acknowledge.
    held: Vec<(usize, Id)>,
}

impl Consumer<'_> {
    /// Runs until the server goes away.
    pub(crate) fn run(shared: &Shared, consumer: usize, chance: Chance) -> Journal {
        let mut journal = Journal::default();
        let Some(mut client) = shared.connect() else {
            return journal;
        };
        let mut this = Consumer { shared, chance, number: consumer, held: Vec::new() };
        while this.batch(&mut client, &mut journal) {}
        journal
    }

    /// One to four requests at once. Answers whether to go on.
    fn batch(&mut self, client: &mut Client, journal: &mut Journal) -> bool {
        let mut requests = Vec::new();
        for _ in 0..self.chance.pick(&[1, 1, 2, 4]) {
            let request = self.request();
            self.push(client, &request);
            requests.push((request, 1));
        }
        let invoked = self.shared.counter.next();
        exchange(client, requests, journal, |journal, request, reply| {
            self.settle(journal, request, reply, invoked);
        })
    }

    fn request(&mut self) -> Request {
        let stream = self.chance.index(STREAMS.len());
        let how = self.chance.pick(&[How::Claim, How::Claim, How::JustId]);
        match self.chance.below(100) {
            0..30 if !self.held.is_empty() => {
                let index = self.chance.index(self.held.len());
                let stream = self.held[index].0;
                let mut ids = Vec::new();
                let count = 1 + self.chance.below(IDS_MAX);
                self.held.retain(|(of, id)| {
                    let taken = *of == stream && (ids.len() as u64) < count;
                    if taken {
                        ids.push(*id);
                    }
                    !taken
                });
                Request::Ack(stream, ids)
            }
            30..38 => {
                let board = self.shared.board.lock().expect("no holder panics");
                let mut ids: Vec<Id> =
                    board.iter().filter(|(of, _)| *of == stream).map(|(_, id)| *id).collect();
                drop(board);
                if ids.is_empty() {
                    return Request::Read(vec![stream]);
                }
                let first = self.chance.index(ids.len());
                ids.drain(..first);
                ids.truncate(1 + self.chance.index(5));
                Request::Claim(stream, ids, how)
            }
            38..44 => Request::Autoclaim(stream, how),
            44..64 => Request::Read((0..STREAMS.len()).collect()),
            _ => Request::Read(vec![stream]),
        }
    }

    fn push(&mut self, client: &mut Client, request: &Request) {
        let name = CONSUMERS[self.number];
        let mut words: Vec<String> = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
        match request {
            Request::Read(streams) => {
                let count = self.chance.pick(&["1", "7", "50"]);
                add(&["XREADGROUP", "GROUP", GROUP, name, "COUNT", count]);
                if self.chance.one_in(4) {
                    add(&["BLOCK", "5"]);
                }
                add(&["STREAMS"]);
                let names: Vec<_> = streams.iter().map(|stream| STREAMS[*stream]).collect();
                add(&names);
                add(&vec![">"; names.len()]);
            }
            Request::Ack(stream, ids) => {
                add(&["XACK", STREAMS[*stream], GROUP]);
                for id in ids {
                    add(&[&show_id(*id)]);
                }
            }
            Request::Claim(stream, ids, how) => {
                add(&["XCLAIM", STREAMS[*stream], GROUP, name, "0"]);
                for id in ids {
                    add(&[&show_id(*id)]);
                }
                if *how == How::JustId {
                    add(&["JUSTID"]);
                }
            }
            Request::Autoclaim(stream, how) => {
                let count = self.chance.pick(&["1", "10"]);
                add(&["XAUTOCLAIM", STREAMS[*stream], GROUP, name, "0", "0"]);
                add(&["COUNT", count]);
                if *how == How::JustId {
                    add(&["JUSTID"]);
                }
            }
        }
        client.push(&words);
    }

    fn settle(
        &mut self,
        journal: &mut Journal,
        request: Request,
        reply: Option<Reply>,
        invoked: u64,
    ) {
        let Some(reply) = reply else {
            self.settle_unseen(journal, request, invoked);
            return;
        };
        let span = Span { invoked, completed: self.shared.counter.next() };
        match request {
            Request::Ack(stream, ids) => {
                push_acks(journal, stream, &ids, span, true);
            }
            Request::Read(_) => {
                for of in reply.items() {
                    let name = of.items()[0].bytes();
                    let stream = STREAMS.iter().position(|known| known.as_bytes() == name);
                    let entries = of.items()[1].items();
                    self.take(journal, stream.unwrap_or(0), How::Read, entries, span);
                }
            }
            Request::Claim(stream, _, how) => {
                self.take(journal, stream, how, reply.items(), span);
            }
            Request::Autoclaim(stream, how) => {
                let [_, entries, gone] = reply.items() else {
                    let problem = format!("XAUTOCLAIM answers {reply:?}");
                    return journal.note(Kind::Contradiction, problem);
                };
                self.take(journal, stream, how, entries.items(), span);
                for id in gone.items() {
                    match parse_id(id.bytes()) {
                        Ok(id) => journal.dropped.push((stream, id)),
                        Err(problem) => journal.note(Kind::Contradiction, problem),
                    }
                }
            }
        }
    }

    fn settle_unseen(&mut self, journal: &mut Journal, request: Request, invoked: u64) {
        let mut unseen = |stream, reads, ids| {
            journal.unseen.push(Unseen { stream, consumer: self.number, reads, ids });
        };
        match request {
            Request::Read(streams) => {
                for stream in streams {
                    unseen(stream, true, Vec::new());
                }
            }
            Request::Claim(stream, ids, _) => unseen(stream, false, ids),
            Request::Autoclaim(stream, _) => unseen(stream, false, Vec::new()),
            Request::Ack(stream, ids) => {
                let completed = u64::MAX;
                push_acks(journal, stream, &ids, Span { invoked, completed }, false);
            }
        }
    }

    /// Records entries that a reply showed.
    fn take(
        &mut self,
        journal: &mut Journal,
        stream: usize,
        how: How,
        entries: &[Reply],
        span: Span,
    ) {
        for entry in entries {
            let (id, key) = match parse_entry(entry, how) {
                Ok(parsed) => parsed,
                Err(problem) => {
                    let problem = format!("{how:?} of {}: {problem}", STREAMS[stream]);
                    journal.note(Kind::Changed, problem);
                    continue;
                }
            };
            journal.takes.push(Take { stream, id, consumer: self.number, how, span, key });
            // Three in ten are never acknowledged by whoever takes them.
            if self.chance.below(10) >= 3 {
                self.held.push((stream, id));
            }
            let mut board = self.shared.board.lock().expect("no holder panics");
            if board.len() < BOARD_MAX {
                board.push((stream, id));
            } else {
                let index = self.chance.index(BOARD_MAX);
                board[index] = (stream, id);
            }
        }
    }
}

/// Reads an entry with our one field, or an id alone.
pub(crate) fn parse_entry(entry: &Reply, how: How) -> Result<(Id, Option<Key>), String> {
    if how == How::JustId {
        return Ok((parse_id(entry.bytes())?, None));
    }
    let [id, fields] = entry.items() else {
        return Err(format!("{entry:?} is no entry"));
    };
    let [field, value] = fields.items() else {
        return Err(format!("{fields:?} are not the fields that were written"));
    };
    if field.bytes() != b"v" {
        return Err(format!("{field:?} is no field that was written"));
    }
    Ok((parse_id(id.bytes())?, Some(Key::of(value.bytes())?)))
}

fn push_acks(journal: &mut Journal, stream: usize, ids: &[Id], span: Span, known: bool) {
    journal.acks.extend(ids.iter().map(|id| Removal { stream, id: *id, span, known }));
}
