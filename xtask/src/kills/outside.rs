//! Faults that are brought to the server from outside: what is done to it at a random moment of the
//! load, and what must come of it at once. Whether all that was acknowledged is there afterwards is
//! asked of every fault alike.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::ci::Unable;

use super::client::{Client, Reply};
use super::fault::Fault;
use super::journal::STREAMS;
use super::load::{CONNECTIONS, Load, NAME};
use super::server::Server;
use super::value::Chance;
use super::{Rig, Totals};

/// Longest wait for the end of a server whose data directory is gone. It looks at the directory
/// some times a second while there is work.
const END_MAX: Duration = Duration::from_secs(10);
/// Longest wait until a directory is removed in which the server makes files.
const REMOVAL_MAX: Duration = Duration::from_secs(10);
/// What a server says whose data directory is gone.
const GONE: &str = "removed, renamed or replaced";
/// Descriptors that the server keeps for itself.
const FILES_KEPT: u64 = 320;
/// Connections, at least, for which there is room beside the load and one that asks.
const ROOM_MIN: u64 = 8;
/// Connections that try to get in.
const CROWD: usize = 100;
/// Segment files that the server keeps open.
const SEGMENTS_MAX: u64 = 128;
/// Streams long enough for a segment file of their own: more than that.
const LONG_STREAMS: usize = 140;
/// Their entries, of 16 KiB: more than the MiB up to which streams share files (ADR 24).
const LONG: usize = 72;
/// Longest wait for something that the server does at once.
const PATIENCE: Duration = Duration::from_secs(20);
/// Strings that fill the memory, and the bytes of each.
const STRINGS: usize = 240;
const STRING_BYTES: usize = 1 << 20;

impl Rig {
    /// Renames the data directory under load, or removes it; the server must end. Answers the
    /// moment from which on nothing may be acknowledged; the data are back in their place.
    pub(super) fn take_directory(&mut self, load: &Load, totals: &mut Totals) -> Result<u64> {
        let data = self.server.data().to_owned();
        let away = data.with_extension("away");
        if self.fault == Fault::DirectoryRemoved {
            remove(&data)?;
        } else {
            std::fs::rename(&data, &away).context("the data directory stays")?;
        }
        let moment = load.moment();
        totals.faults += 1;
        ended_for(&mut self.server, GONE)?;
        ensure!(!data.exists(), "the server made a directory in the place of its own");
        if away.exists() {
            std::fs::rename(&away, &data).context("the data stay away")?;
        }
        Ok(moment)
    }
}

impl Rig {
    /// What stands before the server's command line so that it is short of something. The server
    /// runs without a limit yet.
    pub(super) fn limit(&mut self, chance: &mut Chance) -> Result<Vec<String>> {
        let mut client = self.server.client()?;
        let limit = if self.fault == Fault::FewFiles {
            lengthen(&mut client)?;
            // The load, and one that asks.
            format!("--nofile={0}:{0}", FILES_KEPT + CONNECTIONS + 1 + ROOM_MIN + chance.below(12))
        } else {
            let names: Vec<_> = (0..STRINGS).map(|number| format!("string:{number}")).collect();
            let names = names.iter().map(String::as_str);
            client.ask(&["DEL"].into_iter().chain(names).collect::<Vec<_>>())?;
            client.ask(&["SAVE"])?;
            let bytes = self.server.virtual_memory()? + ((8 + chance.below(56)) << 20);
            format!("--as={bytes}:{bytes}")
        };
        // Without core files: they would be of the size of the memory.
        Ok(["prlimit", &limit, "--core=0:0"].map(str::to_owned).into())
    }

    /// Lets more connections come than fit. Those before them are served, and the store has every
    /// file that it needs.
    pub(super) fn crowd(&mut self, totals: &mut Totals) -> Result<()> {
        let mut client = self.server.client()?;
        wait_for("the load does not connect", || loaded(&mut client))?;
        let (mut served, mut refused) = (Vec::new(), 0);
        for _ in 0..CROWD {
            let mut one = Client::connect(self.server.address())?;
            match one.call(&["PING"]) {
                Ok(Reply::Text(text)) if text == b"PONG" => served.push(one),
                Ok(Reply::Error(text)) if text.contains("max number of clients") => refused += 1,
                // The refusal crossed the request.
                Err(error) if error.kind() != ErrorKind::TimedOut => refused += 1,
                other => bail!("a connection beyond the limit gets {other:?}"),
            }
        }
        totals.faults += 1;
        ensure!(
            refused > 0 && served.len() as u64 >= ROOM_MIN,
            "{} of {CROWD} got in",
            served.len()
        );
        let said = self.server.said();
        ensure!(said.contains("New connections are refused"), "nothing is said of it:\n{said}");
        // A checkpoint takes files, and so do reads.
        client.ask(&["SAVE"])?;
        read_all(&mut client)?;
        let open = self.server.open_files()?;
        ensure!(open > SEGMENTS_MAX, "{open} files are open, too few to show anything");
        let before = added(&mut client)?;
        wait_for("the load stands still", || Ok(added(&mut client)? > before + 50))?;
        drop(served);
        let alone = CONNECTIONS + 1;
        wait_for("the crowd does not leave", || Ok(connected(&mut client)? == alone))?;
        ensure!(loaded(&mut client)?, "not all of the load is left");
        self.starve(&mut client)
    }

    /// Takes the descriptors that the server counts on while it runs: accepting pauses, the store
    /// closes files to open others, and accepting goes on when they are back.
    fn starve(&mut self, client: &mut Client) -> Result<()> {
        self.server.limit_files(Some(self.server.lowest_free_file()?))?;
        let waiting: std::io::Result<Vec<_>> =
            (0..CROWD).map(|_| TcpStream::connect(self.server.address())).collect();
        let waiting = waiting?;
        let server = &self.server;
        wait_for("nothing is said of a pause", || {
            Ok(server.said().contains("Accepting connections pauses"))
        })?;
        client.ask(&["SAVE"])?;
        read_all(client)?;
        let before = added(client)?;
        wait_for("the load stands still", || Ok(added(client)? > before + 50))?;
        drop(waiting);
        self.server.limit_files(None)?;
        let server = &self.server;
        wait_for("accepting does not go on", || {
            Ok(server.said().contains("Accepting connections goes on"))
        })
    }

    /// Fills the memory with strings until the server refuses them or ends.
    pub(super) fn fill_memory(&mut self, totals: &mut Totals) -> Result<()> {
        totals.faults += 1;
        let value = vec![b'm'; STRING_BYTES];
        let mut refused = 0;
        if let Ok(mut client) = self.server.client() {
            for number in 0..STRINGS {
                let name = format!("string:{number}");
                match client.call(&[b"SET".as_slice(), name.as_bytes(), &value]) {
                    Ok(Reply::Error(text)) if text.starts_with("OOM") => refused += 1,
                    Ok(Reply::Error(text)) => bail!("SET answers {text}"),
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        }
        let ended = self.server.wait(Duration::from_millis(200))?;
        self.server.end()?;
        ensure!(ended || refused > 0, "{STRINGS} strings of 1 MiB fit into the limit");
        Ok(())
    }
}

/// Fails with [`Unable`] where no limits can be set.
pub(super) fn check_limits() -> Result<()> {
    let found = Command::new("prlimit").arg("--version").stdout(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => Ok(()),
        _ => bail!(Unable("prlimit (util-linux) is missing".to_owned())),
    }
}

/// Makes the streams that need segment files of their own, unless they are there.
fn lengthen(client: &mut Client) -> Result<()> {
    let value = vec![b'v'; 16 << 10];
    if client.ask(&["XLEN", "long:0"])?.integer() != Some(0) {
        return Ok(());
    }
    for number in 0..LONG_STREAMS {
        let name = format!("long:{number}");
        for _ in 0..LONG {
            client.push(&[b"XADD".as_slice(), name.as_bytes(), b"*", b"v", &value]);
        }
        client.flush()?;
        for _ in 0..LONG {
            client.read()?;
        }
    }
    Ok(())
}

/// Reads all of them: more than may stay open.
fn read_all(client: &mut Client) -> Result<()> {
    for number in 0..LONG_STREAMS {
        let read = ["XRANGE", &format!("long:{number}"), "-", "+"];
        let found = client.ask(&read)?.items().len();
        ensure!(found == LONG, "{} has {found} entries", read[1]);
    }
    Ok(())
}

/// Whether all connections of the load are there.
fn loaded(client: &mut Client) -> Result<bool> {
    let list = client.ask(&["CLIENT", "LIST"])?;
    let list = String::from_utf8_lossy(list.bytes()).into_owned();
    let named = format!(" name={NAME} ");
    Ok(list.lines().filter(|line| line.contains(&named)).count() as u64 == CONNECTIONS)
}

/// Connections that the server has.
fn connected(client: &mut Client) -> Result<u64> {
    let text = client.ask(&["INFO", "clients"])?;
    let text = String::from_utf8_lossy(text.bytes()).into_owned();
    let number = text.lines().find_map(|line| line.strip_prefix("connected_clients:"));
    number.and_then(|number| number.parse().ok()).context("INFO counts no clients")
}

/// Entries that the load has added to its first stream.
fn added(client: &mut Client) -> Result<i64> {
    let facts = client.ask(&["XINFO", "STREAM", STREAMS[0]])?;
    facts.field("entries-added").and_then(Reply::integer).context("XINFO counts no entries")
}

/// Looks until it is so. Fails when that takes too long.
fn wait_for(otherwise: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        ensure!(Instant::now() < deadline, "{otherwise}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Waits until the server has ended by itself, and for the reason that it should have.
fn ended_for(server: &mut Server, reason: &str) -> Result<()> {
    let by_itself = server.wait(END_MAX)?;
    server.end()?;
    ensure!(by_itself, "the server goes on without its data directory");
    let said = server.said();
    ensure!(said.contains(reason), "the server does not say why it ended, but:\n{said}");
    Ok(())
}

/// Removes a directory in which a server makes files meanwhile.
fn remove(data: &Path) -> Result<()> {
    let deadline = Instant::now() + REMOVAL_MAX;
    while Instant::now() < deadline {
        match std::fs::remove_dir_all(data) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound && !data.exists() => return Ok(()),
            // A file came, or went, between two calls.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {}
            Err(error) => return Err(error).context("the data directory stays"),
        }
    }
    bail!("{} cannot be removed", data.display())
}
