//! `cargo xtask full-disk`: the disk is filled until `OOMDISK`; reading, acknowledging, deleting go
//! on by the thousand, also across `kill -9`; a trim brings writes back within a second.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use xtask::ci;

use crate::kills::client::{Client, Reply};
use crate::kills::server::{Kind, Server};
use crate::mount::Mount;

/// Longest wait for a start.
const START_MAX: Duration = Duration::from_secs(20);

/// Size of the file system: what the server keeps free takes about half of it.
const MIB: u64 = 320;
/// Requests under way at a time while the disk is filled.
const PIPELINE: usize = 200;
/// Refusals in a row behind which the disk counts as full: checkpoints have given back by then
/// what they can.
const REFUSALS: usize = 40;
/// Rounds of read, acknowledge, delete; the server is killed after each quarter.
const ROUNDS: usize = 4000;
/// Longest wait for writes to be accepted again.
const RECOVERY_MAX: Duration = Duration::from_secs(1);

/// On a tmpfs and on an ext4.
pub(crate) fn run() -> Result<()> {
    for kind in ["tmpfs", "ext4"] {
        let mut server = Server::new(Kind::parse("levada")?, None)?;
        let mount = match kind {
            "tmpfs" => Mount::tmpfs(server.directory(), MIB),
            _ => Mount::ext4(server.directory(), MIB),
        };
        match mount {
            Ok(mount) => {
                server.set_data(mount.path().join("levada"));
                let proved = prove(&mut server, kind);
                // The file system goes first: it is mounted in the server's directory.
                server.end()?;
                drop(mount);
                proved?;
            }
            Err(why) => ci::say(&ci::lacking(&format!("{kind} cannot be mounted: {why:#}"))?),
        }
    }
    Ok(())
}

fn prove(server: &mut Server, kind: &str) -> Result<()> {
    server.restart(START_MAX)?;
    let mut client = server.client()?;
    client.ask(&["XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"])?;
    let mut alive = BTreeSet::new();
    fill(&mut client, &mut alive)?;
    println!("{kind}: {} entries until OOMDISK", alive.len());
    for round in 0..ROUNDS {
        drain_one(&mut client, &mut alive).with_context(|| format!("{kind}, round {round}"))?;
        if round % (ROUNDS / 4) == ROUNDS / 8 {
            server.kill()?;
            server.restart(START_MAX)?;
            client = server.client()?;
            check(&mut client, &alive)?;
        }
    }
    println!("{kind}: {ROUNDS} rounds of XREADGROUP, XACK, XDEL, XRANGE; nothing lost by 4 kills");
    client.ask(&["XTRIM", "s", "MAXLEN", "0"])?;
    let trimmed = Instant::now();
    while add(&mut client)?.is_none() {
        ensure!(trimmed.elapsed() <= RECOVERY_MAX, "{kind}: no space again within a second");
    }
    println!("{kind}: writes are accepted {} ms after the trim", trimmed.elapsed().as_millis());
    Ok(())
}

/// Adds until every request has been refused for a while; notes what was acknowledged.
fn fill(client: &mut Client, alive: &mut BTreeSet<Vec<u8>>) -> Result<()> {
    let value = vec![b'v'; 1000];
    let mut refused = 0;
    while refused < REFUSALS {
        for _ in 0..PIPELINE {
            client.push(&[b"XADD".as_slice(), b"s", b"*", b"f", &value]);
        }
        client.flush()?;
        let mut accepted = 0;
        for _ in 0..PIPELINE {
            match client.read()? {
                Reply::Error(text) => {
                    ensure!(text.starts_with("OOMDISK"), "{text}");
                }
                reply => {
                    accepted += 1;
                    alive.insert(reply.bytes().to_vec());
                }
            }
        }
        if accepted == 0 {
            refused += 1;
            std::thread::sleep(Duration::from_millis(25));
        } else {
            refused = 0;
        }
    }
    Ok(())
}

/// The next entry is delivered, acknowledged and deleted.
fn drain_one(client: &mut Client, alive: &mut BTreeSet<Vec<u8>>) -> Result<()> {
    let read = client.ask(&["XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "s", ">"])?;
    let streams = read.items().first().context("nothing was delivered")?;
    let entries = streams.items().get(1).context("a stream has entries")?;
    let entry = entries.items().first().context("an entry was delivered")?;
    let id = entry.items().first().context("an entry has an id")?.bytes().to_vec();
    for command in [&["XACK", "s", "g"][..], &["XDEL", "s"]] {
        let mut words: Vec<&[u8]> = command.iter().map(|word| word.as_bytes()).collect();
        words.push(&id);
        let reply = client.ask(&words)?;
        ensure!(reply.integer() == Some(1), "{command:?} answers {reply:?}");
    }
    ensure!(alive.remove(&id), "{} was never acknowledged", id.escape_ascii());
    let first = client.ask(&["XRANGE", "s", "-", "+", "COUNT", "1"])?;
    ensure!(first.items().len() == 1, "XRANGE answers {first:?}");
    Ok(())
}

/// An entry; `None` where the disk is full.
fn add(client: &mut Client) -> Result<Option<Vec<u8>>> {
    match client.call(&["XADD", "s", "*", "f", "v"])? {
        Reply::Error(text) if text.starts_with("OOMDISK") => Ok(None),
        Reply::Error(text) => anyhow::bail!("{text}"),
        reply => Ok(Some(reply.bytes().to_vec())),
    }
}

/// Everything that was acknowledged, and not deleted, is there.
fn check(client: &mut Client, alive: &BTreeSet<Vec<u8>>) -> Result<()> {
    let mut found = BTreeSet::new();
    let mut from = b"-".to_vec();
    loop {
        let page = client.ask(&[b"XRANGE".as_slice(), b"s", &from, b"+", b"COUNT", b"5000"])?;
        let ids = page.items().iter().filter_map(|entry| entry.items().first());
        let ids: Vec<Vec<u8>> = ids.map(|id| id.bytes().to_vec()).collect();
        let Some(last) = ids.last() else {
            break;
        };
        from = [b"(".as_slice(), last].concat();
        found.extend(ids);
    }
    let lost = alive.difference(&found).count();
    ensure!(lost == 0, "{lost} of {} acknowledged entries are lost", alive.len());
    let back = found.difference(alive).count();
    ensure!(back == 0, "{back} entries are there that were deleted");
    Ok(())
}
