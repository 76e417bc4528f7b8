//! `cargo xtask footprint`: what a long stream costs in memory and on disk, and how long a server
//! needs after `kill -9` until it serves that stream again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::kills::client::{Client, Reply};
use crate::kills::server::{Kind, Server};

/// Length of a value, in bytes.
const VALUE: usize = 100;
/// Requests under way at a time.
const PIPELINE: u64 = 1000;
/// Longest wait for a start, the one on ten million entries included.
const START_MAX: Duration = Duration::from_mins(10);
/// Length of the pool that values are cut from; a prime, so that neighbours have nothing in
/// common that a compressor could find within its window.
const POOL: usize = 1_048_573;

/// Runs the verb with its arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (entries, kind) = parse(arguments)?;
    let mut server = Server::start(kind, None, START_MAX)?;
    let values = Values::new();
    let start = Instant::now();
    let (first, last) = fill(&mut server.client()?, &values, entries)?;
    let filled = start.elapsed();
    println!(
        "{}: {entries} entries of {VALUE} bytes in {:.1} s, {:.2} us of server CPU each",
        kind.name(),
        filled.as_secs_f64(),
        server.cpu()?.as_secs_f64() * 1e6 / per(entries)
    );
    report("memory (RSS)", server.rss()?, entries);
    report("disk", server.disk()?, entries);

    server.kill()?;
    let start = Instant::now();
    let ping = server.restart(START_MAX)?;
    let mut client = server.client()?;
    let length = client.ask(&["XLEN", "s"])?;
    ensure!(
        length.integer() == Some(i64::try_from(entries)?),
        "after kill -9 XLEN is {length:?}, not {entries}"
    );
    verify(&mut client, &first, &values.value(0))?;
    verify(&mut client, &last, &values.value(entries - 1))?;
    println!(
        "after kill -9: PING answers in {} ms, XLEN, the first and the last entry in {} ms",
        ping.as_millis(),
        start.elapsed().as_millis()
    );
    report("memory (RSS) then", server.rss()?, entries);
    Ok(())
}

fn parse(arguments: &[String]) -> Result<(u64, Kind)> {
    let (mut entries, mut kind) = (10_000_000, Kind::Levada);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--entries" => entries = value()?.parse().context("--entries")?,
            "--server" => kind = Kind::parse(value()?)?,
            other => bail!("unknown option {other}"),
        }
    }
    ensure!(entries > 0, "--entries must be at least 1");
    Ok((entries, kind))
}

/// Appends the entries. Answers the first and the last id.
fn fill(client: &mut Client, values: &Values, entries: u64) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut first, mut last) = (Vec::new(), Vec::new());
    let mut sent = 0;
    while sent < entries {
        let batch = PIPELINE.min(entries - sent);
        for index in sent..sent + batch {
            let value = values.value(index);
            client.push(&[b"XADD".as_slice(), b"s", b"*", b"f", &value]);
        }
        client.flush()?;
        for _ in 0..batch {
            match client.read()? {
                Reply::Text(id) => last = id,
                reply => bail!("XADD answers {reply:?}"),
            }
            if first.is_empty() {
                first.clone_from(&last);
            }
        }
        sent += batch;
    }
    Ok((first, last))
}

fn verify(client: &mut Client, id: &[u8], value: &[u8]) -> Result<()> {
    let text = |bytes: &[u8]| Reply::Text(bytes.to_vec());
    let fields = Reply::Array(vec![text(b"f"), text(value)]);
    let expected = Reply::Array(vec![Reply::Array(vec![text(id), fields])]);
    let shown = client.ask(&[b"XRANGE".as_slice(), b"s", id, id])?;
    let id = String::from_utf8_lossy(id);
    ensure!(shown == expected, "after kill -9, {id} is {shown:?}");
    Ok(())
}

fn report(what: &str, bytes: u64, entries: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
    let mib = bytes as f64 / 1_048_576.0;
    let each = mib * 1_048_576.0 / per(entries);
    println!("{what:>18}: {mib:9.1} MiB, {each:6.1} bytes per entry");
}

#[expect(clippy::cast_precision_loss, reason = "a figure to read")]
fn per(entries: u64) -> f64 {
    entries as f64
}

/// Values of letters and digits that do not compress well: 16 digits of the index, and a part of
/// a random pool.
struct Values {
    pool: Vec<u8>,
}

impl Values {
    fn new() -> Self {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        // Xorshift (Marsaglia, 2003): any sequence without short repeats does.
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let letter = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            LETTERS[usize::try_from(state >> 58).expect("six bits")]
        };
        Self { pool: (0..POOL + VALUE).map(letter).collect() }
    }

    fn value(&self, index: u64) -> Vec<u8> {
        let mut value = format!("{index:016x}").into_bytes();
        let from = usize::try_from(index * 7919 % POOL as u64).expect("below the pool's length");
        value.extend_from_slice(&self.pool[from..from + VALUE - value.len()]);
        value
    }
}
