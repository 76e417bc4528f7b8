//! `cargo xtask dedup`: idempotent appends by the million, some of them repetitions, with a kill -9
//! in the middle of a batch whose replies nobody saw. The count must be exact, every repetition be
//! answered with the first id, and an id take no more memory than is counted for it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::kills::client::{Client, Reply};
use crate::kills::server::{Kind, Server};

/// Requests under way at a time.
const PIPELINE: u64 = 1000;
/// One repetition behind so many appends.
const REPEAT_EVERY: u64 = 99;
/// Bytes of memory that an id may take.
const ID_BYTES_MAX: u64 = 48;
/// Longest wait for a start.
const START_MAX: Duration = Duration::from_mins(10);
/// Repetitions that are asked for at the end.
const SAMPLES: u64 = 10_000;

/// Runs the verb with its arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let appends = parse(arguments)?;
    let mut server = Server::start(Kind::Levada, None, START_MAX)?;
    let mut rig = Rig::new(server.client()?, appends)?;
    let start = Instant::now();
    rig.append(appends / 2)?;
    rig.send_unseen()?;
    server.kill()?;
    let killed = server.restart(START_MAX)?;
    rig.client = server.client()?;
    rig.append(appends)?;
    println!(
        "{} appends, {} repetitions among them, {:.1} s; PING {} ms after kill -9",
        rig.ids.len(),
        rig.repetitions,
        start.elapsed().as_secs_f64(),
        killed.as_millis()
    );
    rig.check_all("at the end")?;
    server.terminate()?;
    let reloaded = server.restart(START_MAX)?;
    let (ids, cpu) = (rig.ids.len(), server.cpu()?);
    println!(
        "reload: PING {} ms after a clean restart with {ids} ids, {} ms of processor time",
        reloaded.as_millis(),
        cpu.as_millis()
    );
    rig.client = server.client()?;
    rig.check_all("after a restart")?;
    println!("memory of the server: {} MiB", server.rss()? >> 20);
    rig.check_memory()
}

fn parse(arguments: &[String]) -> Result<u64> {
    let mut appends = 10_000_000;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--appends" => appends = value()?.parse().context("--appends")?,
            other => bail!("unknown option {other}"),
        }
    }
    ensure!(appends >= 10 * PIPELINE, "--appends must be at least {}", 10 * PIPELINE);
    Ok(appends)
}

/// One producer, and what it was told.
struct Rig {
    client: Client,
    /// The id of each append that counts, by the number that is its iid.
    ids: Vec<(u64, u32)>,
    repetitions: u64,
    random: u64,
}

impl Rig {
    /// A stream that remembers so many appends for a day.
    fn new(mut client: Client, appends: u64) -> Result<Self> {
        let bytes = (appends * ID_BYTES_MAX).to_string();
        client.ask(&["CONFIG", "SET", "dedup-bytes-max", &bytes])?;
        client.ask(&["XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"])?;
        let window = "86400000";
        let max = appends.to_string();
        client.ask(&["XCFGSET", "s", "DEDUP-WINDOW", window, "DEDUP-MAX", &max])?;
        Ok(Self { client, ids: Vec::new(), repetitions: 0, random: 0x2545_F491_4F6C_DD1D })
    }

    /// Appends until so many count, with repetitions between.
    fn append(&mut self, until: u64) -> Result<()> {
        while (self.ids.len() as u64) < until {
            let first = self.ids.len() as u64;
            let mut numbers = Vec::new();
            for number in first..until.min(first + PIPELINE) {
                numbers.push(number);
                if number % REPEAT_EVERY == 0 {
                    numbers.push(self.random() % (number + 1));
                    self.repetitions += 1;
                }
            }
            self.send(&numbers)?;
            for number in numbers {
                let id = self.read_id()?;
                match self.ids.get(usize::try_from(number)?) {
                    Some(known) => ensure!(*known == id, "{number} was {known:?}, is {id:?}"),
                    None => self.ids.push(id),
                }
            }
        }
        Ok(())
    }

    /// Sends appends and reads no reply: whoever sent them must send them again.
    fn send_unseen(&mut self) -> Result<()> {
        let first = self.ids.len() as u64;
        self.send(&(first..first + PIPELINE).collect::<Vec<_>>())
    }

    fn send(&mut self, numbers: &[u64]) -> Result<()> {
        for number in numbers {
            let iid = format!("order-{number:020}");
            self.client.push(&["XADD", "s", "IDMP", "producer", &iid, "*", "n", "v"]);
        }
        Ok(self.client.flush()?)
    }

    fn read_id(&mut self) -> Result<(u64, u32)> {
        let reply = self.client.read()?;
        let id = match &reply {
            Reply::Text(id) => std::str::from_utf8(id).ok().and_then(|id| id.split_once('-')),
            _ => None,
        };
        let (ms, seq) = id.with_context(|| format!("XADD answers {reply:?}"))?;
        Ok((ms.parse()?, seq.parse()?))
    }

    /// The count is exact, and so are the answers to a sample of repetitions.
    fn check_all(&mut self, when: &str) -> Result<()> {
        let length = self.client.ask(&["XLEN", "s"])?;
        let expect = i64::try_from(self.ids.len())?;
        ensure!(length.integer() == Some(expect), "{when} XLEN is {length:?}, not {expect}");
        for _ in 0..SAMPLES / PIPELINE {
            let len = self.ids.len() as u64;
            let numbers: Vec<u64> = (0..PIPELINE).map(|_| self.random() % len).collect();
            self.send(&numbers)?;
            for number in numbers {
                let (id, known) = (self.read_id()?, self.ids[usize::try_from(number)?]);
                ensure!(id == known, "{when} {number} was {known:?}, is {id:?}");
            }
        }
        let length = self.client.ask(&["XLEN", "s"])?;
        ensure!(length.integer() == Some(expect), "{when} a repetition was added: {length:?}");
        Ok(())
    }

    fn check_memory(&mut self) -> Result<()> {
        let facts = self.client.ask(&["XINFO", "STREAM", "s"])?;
        let tracked = facts.field("iids-tracked").and_then(Reply::integer);
        let usage = self.client.ask(&["MEMORY", "USAGE", "s"])?.integer();
        let (tracked, usage) = (tracked.context("XINFO")?, usage.context("MEMORY USAGE")?);
        ensure!(usize::try_from(tracked)? == self.ids.len(), "{tracked} ids are tracked");
        // The tail and the index of the stream are in it too: less than a byte an entry.
        let each = usize::try_from(usage)? * 10 / self.ids.len();
        println!("MEMORY USAGE of the stream: {}.{} bytes an id", each / 10, each % 10);
        ensure!(each as u64 <= (ID_BYTES_MAX + 2) * 10, "an id may take {ID_BYTES_MAX}");
        Ok(())
    }

    /// Xorshift (Marsaglia, 2003).
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
