//! The operations whose costs are counted, and a client that sends them.
//!
//! Each operation is a round of requests that are sent at once; the next round begins when all
//! replies of the last one are there, so that a round is a turn of the server. Beside the rounds
//! the client allocates nothing and calls the system twice: it may live in the measured process.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Longest wait for a reply: only a failure waits that long.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bytes of a value.
const VALUE: [u8; 100] = [b'v'; 100];
/// Bytes of replies that the client takes at once; all replies of a round fit.
const REPLY_BYTES_MAX: usize = 1 << 20;
/// Entries of what is read in ranges.
const ENTRIES: u64 = 1000;
/// Entries that one round takes from a group.
const TAKEN: u64 = 100;
/// Requests sent at once before the rounds.
const TOGETHER: usize = 128;

/// See the module.
#[derive(Debug)]
pub struct Operation {
    /// In the table.
    pub name: &'static str,
    /// What must be there before the first of so many rounds, and how many replies that has.
    prepare: fn(&mut Requests, u64),
    /// The requests of a round.
    round: fn(&mut Requests, u64),
}

/// All operations.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "append-128",
        prepare: |_, _| {},
        round: |requests, _| (0..128).for_each(|_| append(requests)),
    },
    Operation { name: "append", prepare: |_, _| {}, round: |requests, _| append(requests) },
    Operation { name: "readgroup-ack-100", prepare: fill_group, round: take_from_group },
    Operation {
        name: "readgroup-empty",
        prepare: make_group,
        round: |requests, _| requests.words("XREADGROUP GROUP g c COUNT 100 STREAMS s >"),
    },
    Operation {
        name: "autoclaim-empty",
        prepare: hold_all,
        round: |requests, _| requests.words("XAUTOCLAIM s g c 3600000 0-0 COUNT 100"),
    },
    Operation {
        name: "pending-idle-empty",
        prepare: hold_all,
        round: |requests, _| requests.words("XPENDING s g IDLE 3600000 - + 100"),
    },
    Operation {
        name: "range-100",
        prepare: |requests, _| fill(requests, ENTRIES),
        round: |requests, _| requests.words("XRANGE s 101-0 + COUNT 100"),
    },
    Operation {
        name: "length",
        prepare: |requests, _| fill(requests, ENTRIES),
        round: |requests, _| requests.words("XLEN s"),
    },
    Operation {
        name: "set",
        prepare: |_, _| {},
        round: |requests, _| requests.add(&[b"SET", b"k", &VALUE]),
    },
    Operation {
        name: "get",
        prepare: |requests, _| requests.add(&[b"SET", b"k", &VALUE]),
        round: |requests, _| requests.words("GET k"),
    },
];

fn append(requests: &mut Requests) {
    requests.add(&[b"XADD", b"s", b"*", b"f", &VALUE]);
}

/// Entries with ids from 1-0 on.
fn fill(requests: &mut Requests, entries: u64) {
    for id in 1..=entries {
        requests.add(&[b"XADD", b"s", format!("{id}-0").as_bytes(), b"f", &VALUE]);
    }
}

fn make_group(requests: &mut Requests, _: u64) {
    requests.words("XGROUP CREATE s g 0 MKSTREAM");
    requests.words("XGROUP CREATECONSUMER s g c");
}

fn fill_group(requests: &mut Requests, rounds: u64) {
    make_group(requests, rounds);
    fill(requests, rounds * TAKEN);
}

fn hold_all(requests: &mut Requests, rounds: u64) {
    make_group(requests, rounds);
    fill(requests, ENTRIES);
    requests.words("XREADGROUP GROUP g c COUNT 1000 STREAMS s >");
}

fn take_from_group(requests: &mut Requests, round: u64) {
    requests.words("XREADGROUP GROUP g c COUNT 100 STREAMS s >");
    let ids: Vec<_> = (1..=TAKEN).map(|id| format!("{}-0", round * TAKEN + id)).collect();
    let mut words: Vec<&[u8]> = vec![b"XACK", b"s", b"g"];
    words.extend(ids.iter().map(String::as_bytes));
    requests.add(&words);
}

/// Requests one after the other.
#[derive(Debug, Default)]
struct Requests {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Requests {
    fn words(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        self.add(&words);
    }

    fn add(&mut self, words: &[&[u8]]) {
        self.bytes.extend(format!("*{}\r\n", words.len()).bytes());
        for word in words {
            self.bytes.extend(format!("${}\r\n", word.len()).bytes());
            self.bytes.extend(*word);
            self.bytes.extend(b"\r\n");
        }
        self.ends.push(self.bytes.len());
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    replies: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("the server does not listen")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, replies: vec![0; REPLY_BYTES_MAX] })
    }

    /// Empties the server and runs an operation: a tenth of the rounds to warm it up, then so many
    /// rounds. `seen` is called with 0 before the first and with its number after each.
    pub fn measure(
        &mut self,
        operation: &Operation,
        rounds: u64,
        mut seen: impl FnMut(&mut Self, u64) -> Result<()>,
    ) -> Result<()> {
        let warm = rounds / 10 + 1;
        let mut first = Requests::default();
        first.words("FLUSHALL");
        (operation.prepare)(&mut first, warm + rounds);
        self.send_slowly(&first)?;
        let sent: Vec<_> = (0..warm + rounds)
            .map(|round| {
                let mut requests = Requests::default();
                (operation.round)(&mut requests, round);
                requests
            })
            .collect();
        let (warm, measured) = sent.split_at(usize::try_from(warm)?);
        warm.iter().try_for_each(|round| self.round(round))?;
        seen(self, 0)?;
        (1..).zip(measured).try_for_each(|(number, round)| {
            self.round(round)?;
            seen(self, number)
        })
    }

    /// Sends a mark that shows in a trace: ECHO and a word.
    pub fn mark(&mut self, word: &str) -> Result<()> {
        let mut requests = Requests::default();
        requests.words(&format!("ECHO {word}"));
        self.round(&requests)
    }

    /// Sends much, in parts that the buffers of the system take whole.
    fn send_slowly(&mut self, requests: &Requests) -> Result<()> {
        let mut sent = 0;
        for ends in requests.ends.chunks(TOGETHER) {
            let end = ends[ends.len() - 1];
            self.stream.write_all(&requests.bytes[sent..end])?;
            self.wait(ends.len())?;
            sent = end;
        }
        Ok(())
    }

    fn round(&mut self, requests: &Requests) -> Result<()> {
        self.stream.write_all(&requests.bytes)?;
        self.wait(requests.ends.len())
    }

    /// Takes so many replies; none may be an error.
    fn wait(&mut self, mut replies: usize) -> Result<()> {
        let (mut taken, mut filled) = (0, 0);
        while replies > 0 {
            if let Some(length) = reply_length(&self.replies[taken..filled])? {
                taken += length;
                replies -= 1;
                continue;
            }
            self.replies.copy_within(taken..filled, 0);
            (taken, filled) = (0, filled - taken);
            ensure!(filled < self.replies.len(), "a reply is longer than the client takes");
            match self.stream.read(&mut self.replies[filled..])? {
                0 => bail!("the server ended the connection"),
                count => filled += count,
            }
        }
        ensure!(taken == filled, "more came than was asked for");
        Ok(())
    }
}

/// The length of the first reply, if all of it is there.
fn reply_length(bytes: &[u8]) -> Result<Option<usize>> {
    let (mut at, mut values) = (0, 1);
    while values > 0 {
        let Some(end) =
            bytes.get(at..).unwrap_or_default().windows(2).position(|pair| pair == b"\r\n")
        else {
            return Ok(None);
        };
        let line = &bytes[at..at + end];
        at += end + 2;
        values -= 1;
        let number = || std::str::from_utf8(&line[1..]).ok().and_then(|text| text.parse().ok());
        match line.first() {
            Some(b'+' | b':' | b'_') => {}
            Some(b'$') => at += number().map_or(0, |length: usize| length + 2),
            Some(b'*') => values += number().unwrap_or(0),
            _ => bail!("the server answers: {}", line.escape_ascii()),
        }
    }
    Ok((at <= bytes.len()).then_some(at))
}
