//! A full disk: what goes on, and when is it over?
//!
//! Black box, the same for every server: a small file system in memory, filled by XADD until the
//! first refusal, with a ballast file whose removal gives space back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::START_MAX;
use crate::kills::client::{Client, Reply};
use crate::kills::server::{Kind, Server};
use crate::mount::Mount;

/// Size of the file system.
const DISK_MIB: u64 = 256;
/// Bytes that come back.
const BALLAST: usize = 32 << 20;
/// XADDs under way while it is filled.
const BATCH: usize = 32;
/// Longest wait for XADD to be accepted again.
const RECOVERY_MAX: Duration = Duration::from_secs(10);
/// What somebody would do on a full disk, each on the oldest entry.
const COMMANDS: [&str; 6] = ["XREADGROUP", "XACK", "XRANGE", "XLEN", "XDEL", "XTRIM"];

/// What was seen.
#[derive(Debug, Clone)]
pub(super) struct Full {
    /// What XADD answered at last.
    pub(super) refusal: String,
    /// The commands that still did what they say.
    pub(super) go_on: Vec<&'static str>,
    /// How many were tried.
    pub(super) tried: usize,
    /// From the return of space to the next accepted XADD.
    pub(super) recovered_in: Option<Duration>,
    /// Acknowledged entries that are gone after a kill and a restart; `None` where it does not
    /// start any more.
    pub(super) lost: Option<u64>,
}

/// Fills the disk below a server and asks it to go on.
pub(super) fn run(kind: Kind) -> Result<Full> {
    let mut server = Server::new(kind, None)?;
    let disk = Mount::tmpfs(server.directory(), DISK_MIB)?;
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![b'b'; BALLAST])?;
    server.set_data(disk.path().join("data"));
    std::fs::create_dir(disk.path().join("data"))?;
    server.restart(START_MAX)?;
    let mut client = server.client()?;
    client.ask(&["XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"])?;
    let (acknowledged, refusal) = fill(&mut client)?;
    let mut full =
        Full { refusal, go_on: Vec::new(), tried: COMMANDS.len(), recovered_in: None, lost: None };
    let mut removed = 0;
    if let Ok(mut client) = server.client() {
        full.go_on = drain(&mut client, acknowledged)?;
        let removals = full.go_on.iter().filter(|name| ["XDEL", "XTRIM"].contains(name));
        removed = removals.count() as u64;
    }
    std::fs::remove_file(&ballast)?;
    full.recovered_in = recover(&server);
    let added = u64::from(full.recovered_in.is_some());
    server.end()?;
    if server.try_start(START_MAX)? {
        let length = server.client()?.ask(&["XLEN", "s"])?.integer().context("XLEN")?;
        let expected = acknowledged + added - removed;
        full.lost = Some(expected.saturating_sub(u64::try_from(length)?));
    }
    // The disk goes first, as it is mounted in the server's directory.
    server.end()?;
    drop(disk);
    Ok(full)
}

/// Appends until the first refusal. Answers how many were acknowledged, and what was said then.
fn fill(client: &mut Client) -> Result<(u64, String)> {
    let value = [b'v'; 1000];
    let mut acknowledged = 0;
    loop {
        for _ in 0..BATCH {
            client.push(&[b"XADD".as_slice(), b"s", b"*", b"f", &value]);
        }
        if client.flush().is_err() {
            return Ok((acknowledged, "(the connection closed)".to_owned()));
        }
        let mut refusal = None;
        for _ in 0..BATCH {
            match client.read() {
                Ok(Reply::Text(_)) => acknowledged += 1,
                Ok(Reply::Error(text)) => refusal = refusal.or(Some(text)),
                Ok(other) => anyhow::bail!("XADD answers {other:?}"),
                Err(_) => {
                    let closed = || "(the connection closed)".to_owned();
                    return Ok((acknowledged, refusal.unwrap_or_else(closed)));
                }
            }
        }
        if let Some(refusal) = refusal {
            return Ok((acknowledged, refusal));
        }
    }
}

/// Which of the commands still work.
fn drain(client: &mut Client, length: u64) -> Result<Vec<&'static str>> {
    let mut id = client.call(&["XRANGE", "s", "-", "+", "COUNT", "1"]).ok();
    let id = id.as_mut().and_then(|reply| reply.items().first().cloned());
    let id = id.map_or_else(Vec::new, |entry| entry.items()[0].bytes().to_vec());
    let id = String::from_utf8(id)?;
    let mut go_on = Vec::new();
    for name in COMMANDS {
        let left = length - u64::from(go_on.contains(&"XDEL"));
        let keep = left.saturating_sub(1).to_string();
        let words: Vec<&str> = match name {
            "XREADGROUP" => vec![name, "GROUP", "g", "c", "COUNT", "1", "STREAMS", "s", ">"],
            "XACK" => vec![name, "s", "g", &id],
            "XRANGE" => vec![name, "s", "-", "+", "COUNT", "1"],
            "XLEN" => vec![name, "s"],
            "XDEL" => vec![name, "s", &id],
            _ => vec![name, "s", "MAXLEN", &keep],
        };
        // An answer that says "nothing done" is none: each of these has something to do.
        match client.call(&words) {
            Ok(Reply::Error(_) | Reply::Nil | Reply::Integer(0)) | Err(_) => {}
            Ok(_) => go_on.push(name),
        }
    }
    Ok(go_on)
}

/// How long XADD takes to be accepted again.
fn recover(server: &Server) -> Option<Duration> {
    let start = Instant::now();
    while start.elapsed() < RECOVERY_MAX {
        let mut client = server.client().ok()?;
        if let Ok(Reply::Text(_)) = client.call(&["XADD", "s", "*", "f", "v"]) {
            return Some(start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}
