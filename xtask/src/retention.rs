//! `cargo xtask retention`: a stream under RETENTION ACKED with three groups, one of them stopped,
//! and a producer as tutorials have it, with `MAXLEN ~ 10000`. Nothing that the stopped group needs
//! may go, also behind a kill -9; when it returns it gets everything, in order and once, and then
//! the bytes on disk go back to the file system.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::kills::client::{Client, Reply};
use crate::kills::server::{self, Kind, Server};

/// Requests under way at once, and entries of one answer.
const PIPELINE: u64 = 1000;
/// Bytes of a value; letters that do not matter.
const VALUE: usize = 1000;
/// Longest wait for a start.
const START_MAX: Duration = Duration::from_mins(2);
/// Longest wait for the checkpoint behind which files go.
const SPACE_MAX: Duration = Duration::from_mins(2);
/// Between two looks at the directory.
const LOOK: Duration = Duration::from_millis(50);
/// Groups that go on, and the one that is stopped.
const GOING: [&str; 2] = ["billing", "search"];
const STOPPED: &str = "audit";

/// Runs the verb with its arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let entries = parse(arguments)?;
    let server = Server::start(Kind::Levada, None, START_MAX)?;
    let client = server.client()?;
    let mut rig = Rig { server, client, value: "v".repeat(VALUE) };
    rig.prepare()?;
    rig.produce(0, entries / 2)?;
    rig.server.kill()?;
    rig.server.restart(START_MAX)?;
    rig.client = rig.server.client()?;
    rig.produce(entries / 2, entries)?;
    rig.ensure_length("with one group stopped", entries)?;
    rig.client.ask(&["SAVE"])?;
    let before = rig.space()?;
    println!("{entries} entries of {VALUE} bytes, {STOPPED} stopped: nothing went, {before}");
    let start = Instant::now();
    rig.return_of_the_stopped(entries)?;
    rig.ensure_length("when all is acknowledged", 0)?;
    println!("{STOPPED} was given all of them in {:.1} s", start.elapsed().as_secs_f64());
    rig.client.ask(&["SAVE"])?;
    let after = rig.space_that_falls(&before)?;
    println!("all acknowledged: {after}");
    Ok(())
}

fn parse(arguments: &[String]) -> Result<u64> {
    let mut entries = 1_000_000;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--entries" => entries = value()?.parse().context("--entries")?,
            other => bail!("unknown option {other}"),
        }
    }
    // Fewer would stand in the log and in the tail, and no file would be there to go.
    ensure!(entries >= 20_000, "--entries must be at least 20000");
    Ok(entries)
}

/// Bytes on disk.
struct Space {
    /// Of entries.
    segments: u64,
    /// Of everything, the log included, whose files are used again.
    all: u64,
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { segments, all } = self;
        write!(f, "{segments} bytes of segments on disk, {all} with log and checkpoint")
    }
}

/// The server, one client and what it appends.
struct Rig {
    server: Server,
    client: Client,
    value: String,
}

impl Rig {
    fn prepare(&mut self) -> Result<()> {
        for group in GOING.into_iter().chain([STOPPED]) {
            self.client.ask(&["XGROUP", "CREATE", "orders", group, "0", "MKSTREAM"])?;
        }
        self.client.ask(&["XCFGSET", "orders", "RETENTION", "ACKED"])?;
        Ok(())
    }

    /// Appends as the tutorials do, while two groups read and acknowledge.
    fn produce(&mut self, from: u64, to: u64) -> Result<()> {
        let mut sent = from;
        while sent < to {
            let batch = sent..to.min(sent + PIPELINE);
            for n in batch.clone() {
                let trim = ["XADD", "orders", "MAXLEN", "~", "10000", "*"];
                let fields = ["n", &n.to_string(), "v", &self.value];
                self.client.push(&[&trim[..], &fields].concat());
            }
            self.client.flush()?;
            for _ in batch.clone() {
                match self.client.read()? {
                    Reply::Text(_) => {}
                    other => bail!("XADD answers {other:?}"),
                }
            }
            for group in GOING {
                ensure!(self.take(group, batch.start)? == batch.end - batch.start, "{group}");
            }
            sent = batch.end;
        }
        Ok(())
    }

    /// A read of a group, which must give the next entries in order; acknowledges and counts them.
    fn take(&mut self, group: &str, next: u64) -> Result<u64> {
        let count = PIPELINE.to_string();
        let read = ["XREADGROUP", "GROUP", group, "c", "COUNT", &count, "STREAMS", "orders", ">"];
        let reply = self.client.ask(&read)?;
        let streams = reply.items().first().map(Reply::items).unwrap_or_default();
        let entries = streams.get(1).map(Reply::items).unwrap_or_default();
        let mut ack: Vec<&[u8]> = vec![b"XACK", b"orders", group.as_bytes()];
        for (entry, expect) in entries.iter().zip(next..) {
            let [id, fields] = entry.items() else { bail!("{entry:?} is no entry") };
            let n = fields.field("n").and_then(Reply::integer).context("no number")?;
            ensure!(n == i64::try_from(expect)?, "{group} was given {n}, not {expect}");
            ack.push(id.bytes());
        }
        if entries.is_empty() {
            return Ok(0);
        }
        let acked = self.client.ask(&ack)?.integer();
        ensure!(acked == i64::try_from(entries.len()).ok(), "XACK answers {acked:?}");
        Ok(entries.len() as u64)
    }

    /// The group that was stopped reads all there is.
    fn return_of_the_stopped(&mut self, entries: u64) -> Result<()> {
        let mut next = 0;
        while next < entries {
            let taken = self.take(STOPPED, next)?;
            ensure!(taken > 0, "{STOPPED} was given {next} of {entries} entries");
            next += taken;
        }
        ensure!(self.take(STOPPED, next)? == 0, "{STOPPED} was given more than there is");
        Ok(())
    }

    fn ensure_length(&mut self, when: &str, expect: u64) -> Result<()> {
        let length = self.client.ask(&["XLEN", "orders"])?.integer();
        ensure!(length == i64::try_from(expect).ok(), "{when} XLEN is {length:?}, not {expect}");
        Ok(())
    }

    fn space(&self) -> Result<Space> {
        let segments = server::disk(&self.server.data().join("segments"))?;
        Ok(Space { segments, all: self.server.disk()? })
    }

    /// Waits until nearly all segments are gone: at least nine tenths.
    fn space_that_falls(&self, before: &Space) -> Result<Space> {
        let deadline = Instant::now() + SPACE_MAX;
        loop {
            let after = self.space()?;
            if after.segments * 10 <= before.segments && after.all < before.all {
                return Ok(after);
            }
            ensure!(Instant::now() < deadline, "before: {before}; then: {after}");
            std::thread::sleep(LOOK);
        }
    }
}
