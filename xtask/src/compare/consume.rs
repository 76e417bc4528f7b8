//! The consumer loop: XREADGROUP COUNT 100, and with the next read XACK of those 100 in the same
//! write, until the stream is empty. One connection; its rate is partly that of our client, so
//! the server's CPU is the figure to compare.

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Sample, VALUE, each};
use crate::kills::client::{Client, Reply};
use crate::kills::server::Server;

/// Entries in one read and one XACK.
const BATCH: &str = "100";
/// Requests under way while the stream is filled.
const PIPELINE: u64 = 1000;

/// Appends `count` messages, then measures reading and acknowledging all of them.
pub(super) fn run(server: &Server, count: u64) -> Result<Sample> {
    let mut client = server.client()?;
    fill(&mut client, count)?;
    client.ask(&["XGROUP", "CREATE", "s", "g", "0"])?;
    let (start, before) = (Instant::now(), server.cpu()?);
    let consumed = drain(&mut client)?;
    let (elapsed, cpu) = (start.elapsed(), server.cpu()?.saturating_sub(before));
    ensure!(consumed == count, "{consumed} of {count} messages came");
    let pending = client.ask(&["XPENDING", "s", "g"])?;
    let left = pending.items().first().and_then(Reply::integer);
    ensure!(left == Some(0), "{left:?} are pending after all were acknowledged");
    Ok(Sample { rate: 1e6 / each(elapsed, count), cpu: each(cpu, count) })
}

fn fill(client: &mut Client, count: u64) -> Result<()> {
    let value = [b'x'; VALUE];
    let mut left = count;
    while left > 0 {
        let batch = left.min(PIPELINE);
        for _ in 0..batch {
            client.push(&[b"XADD".as_slice(), b"s", b"*", b"f", &value]);
        }
        client.flush()?;
        for _ in 0..batch {
            if let Reply::Error(text) = client.read()? {
                bail!("XADD: {text}");
            }
        }
        left -= batch;
    }
    Ok(())
}

/// Reads and acknowledges all there is. Answers how many messages that were.
fn drain(client: &mut Client) -> Result<u64> {
    let read = ["XREADGROUP", "GROUP", "g", "c", "COUNT", BATCH, "STREAMS", "s", ">"];
    let mut consumed = 0;
    let mut reply = client.ask(&read)?;
    // The reply is one stream: its name and its entries.
    while let Some(stream) = reply.items().first() {
        let entries = stream.items().get(1).context("no entries")?.items();
        let mut ack: Vec<&[u8]> = vec![b"XACK", b"s", b"g"];
        ack.extend(entries.iter().map(|entry| entry.items()[0].bytes()));
        consumed += entries.len() as u64;
        let expected = Reply::Integer(i64::try_from(entries.len())?);
        client.push(&ack);
        client.push(&read);
        client.flush()?;
        let acked = client.read()?;
        ensure!(acked == expected, "XACK answers {acked:?}");
        reply = client.read()?;
        if let Reply::Error(text) = &reply {
            bail!("XREADGROUP: {text}");
        }
    }
    Ok(consumed)
}
