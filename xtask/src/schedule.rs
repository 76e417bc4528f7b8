//! `cargo xtask schedule`: entries scheduled over some seconds, a reader that waits for them, and
//! `kill -9` in between. None may come early, be lost or come twice; how late they are is told.
//!
//! Two times are told, both from when an entry was due: until it was *appended*, by the time in its
//! id, and until the *reader* had it, the sync and the way to the reader included. Of an entry that
//! could not come because the server was down, it is the time since the server answered PING again:
//! the outage and the recovery are left out, what the server makes of the backlog is not. Of an
//! entry that was due before it was scheduled it is the time since then.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};

use crate::kills::client::{Client, Reply};
use crate::kills::server::{Kind, Server};
use crate::kills::value::Chance;

/// Longest wait for a recovery.
const RECOVERY_MAX: Duration = Duration::from_mins(1);
/// Requests under way at once while entries are scheduled.
const PIPELINE: u64 = 500;
/// Entries of one answer to the reader.
const READ_MAX: &str = "5000";
/// The stream.
const KEY: &str = "schedule";
/// After the last entry was due: longest wait for all of them, in milliseconds. It ends a run that
/// has lost some, and says nothing of how late they may be.
const PATIENCE_MS: u64 = 120_000;

/// What the command line asks for.
#[derive(Debug, Clone, Copy)]
struct Options {
    entries: u64,
    seconds: u64,
    restarts: u64,
    seed: u64,
}

/// What is known of one entry.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// When it was due, or scheduled if that was later, in unix milliseconds.
    due_ms: u64,
    /// How often it came.
    times: u32,
    /// Until the reader had it.
    late_ms: u64,
    /// Until it was appended.
    appended_ms: u64,
}

/// One run.
struct Run {
    options: Options,
    chance: Chance,
    server: Server,
    client: Client,
    entries: Vec<Entry>,
    /// Came so far, each counted once.
    come: u64,
    early: Vec<String>,
    /// The last id that the reader has.
    last: Vec<u8>,
    /// When the server was killed, and when it answered again.
    outages: Vec<(u64, u64)>,
}

/// Runs the verb with its arguments. Fails where an entry was early, lost or came twice.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = parse(arguments)?;
    let Options { entries, seconds, restarts, seed } = options;
    println!("schedule: {entries} entries over {seconds} s, {restarts} kills, seed {seed}");
    let server = Server::start(Kind::Levada, None, RECOVERY_MAX)?;
    let client = server.client()?;
    let mut run = Run {
        options,
        chance: Chance::new(seed),
        server,
        client,
        entries: Vec::new(),
        come: 0,
        early: Vec::new(),
        last: b"0".to_vec(),
        outages: Vec::new(),
    };
    let end_ms = run.schedule()?;
    run.read_all(end_ms)?;
    run.report()
}

fn parse(arguments: &[String]) -> Result<Options> {
    let seed = now_ms()?;
    let mut options = Options { entries: 100_000, seconds: 60, restarts: 5, seed };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let value = rest.next().with_context(|| format!("{argument} needs a value"))?;
        let target = match argument.as_str() {
            "--entries" => &mut options.entries,
            "--seconds" => &mut options.seconds,
            "--restarts" => &mut options.restarts,
            "--seed" => &mut options.seed,
            other => bail!("unknown option {other}"),
        };
        *target = value.parse().with_context(|| argument.clone())?;
    }
    ensure!(options.entries > 0 && options.seconds > 0, "nothing is to be scheduled");
    Ok(options)
}

fn now_ms() -> Result<u64> {
    Ok(u64::try_from(UNIX_EPOCH.elapsed()?.as_millis())?)
}

impl Run {
    /// Schedules everything; when the last is due.
    fn schedule(&mut self) -> Result<u64> {
        let Options { entries, seconds, .. } = self.options;
        // They are due at any time of the window, in an order that is not that of their handles.
        let start_ms = now_ms()? + 1000 + entries / 20;
        let mut sent = 0;
        while sent < entries {
            let first = sent;
            sent = entries.min(sent + PIPELINE);
            for n in first..sent {
                let due_ms = start_ms + self.chance.below(seconds * 1000);
                let (at, n) = (due_ms.to_string(), n.to_string());
                self.client.push(&["XSCHED", "ADD", KEY, "AT", &at, "n", &n, "due", &at]);
                self.entries.push(Entry { due_ms, ..Entry::default() });
            }
            self.client.flush()?;
            for _ in first..sent {
                match self.client.read()? {
                    Reply::Text(_) => {}
                    other => bail!("XSCHED ADD answers {other:?}"),
                }
            }
            let done_ms = now_ms()?;
            for entry in self.entries.iter_mut().skip(usize::try_from(first)?) {
                entry.due_ms = entry.due_ms.max(done_ms);
            }
        }
        println!("scheduled; {} ms before the first is due", {
            i128::from(start_ms) - i128::from(now_ms()?)
        });
        Ok(start_ms + seconds * 1000)
    }

    /// Reads until everything has come, killing the server in between.
    fn read_all(&mut self, end_ms: u64) -> Result<()> {
        let Options { entries, seconds, restarts, .. } = self.options;
        let step_ms = seconds * 1000 / (restarts + 1);
        let start_ms = end_ms - seconds * 1000;
        let mut kills = 0;
        while self.come < entries && now_ms()? < end_ms + PATIENCE_MS {
            let at_ms = start_ms + step_ms * (kills + 1);
            if kills < restarts && now_ms()? >= at_ms + self.chance.below(step_ms / 10 + 1) {
                kills += 1;
                self.kill()?;
            }
            self.read()?;
        }
        // What came twice may come behind the last.
        self.read()?;
        ensure!(kills == restarts, "{kills} kills only: the window is too short");
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        let killed_ms = now_ms()?;
        self.server.kill()?;
        let took = self.server.restart(RECOVERY_MAX)?;
        self.client = self.server.client()?;
        self.outages.push((killed_ms, now_ms()?));
        println!("killed, up again after {} ms", took.as_millis());
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        let last = std::mem::take(&mut self.last);
        let words: [&[u8]; 8] = [
            b"XREAD",
            b"COUNT",
            READ_MAX.as_bytes(),
            b"BLOCK",
            b"100",
            b"STREAMS",
            KEY.as_bytes(),
            &last,
        ];
        let reply = self.client.ask(&words)?;
        let now_ms = now_ms()?;
        self.last = last;
        let streams = reply.items().first().map(Reply::items).unwrap_or_default();
        for entry in streams.get(1).map(Reply::items).unwrap_or_default() {
            self.take(entry, now_ms).with_context(|| format!("{entry:?}"))?;
        }
        Ok(())
    }

    /// Notes an entry that came.
    fn take(&mut self, entry: &Reply, now_ms: u64) -> Result<()> {
        let [id, fields] = entry.items() else { bail!("no entry") };
        let number = |name| fields.field(name).and_then(Reply::integer).context("no number");
        let (n, due_ms) = (usize::try_from(number("n")?)?, u64::try_from(number("due")?)?);
        let id = std::str::from_utf8(id.bytes())?;
        let at_ms: u64 = id.split('-').next().unwrap_or_default().parse()?;
        if at_ms < due_ms || now_ms < due_ms {
            self.early.push(format!("{n}, due {due_ms}, came {id} at {now_ms}"));
        }
        let known = self.entries.get_mut(n).context("nobody scheduled it")?;
        let down = self.outages.iter().filter(|(from, to)| *to >= known.due_ms && now_ms >= *from);
        let since_ms = down.map(|(_, to)| *to).fold(known.due_ms, u64::max);
        known.late_ms = now_ms.saturating_sub(since_ms);
        known.appended_ms = at_ms.saturating_sub(since_ms);
        known.times += 1;
        self.come += u64::from(known.times == 1);
        self.last = id.as_bytes().to_vec();
        Ok(())
    }

    /// Prints how late the entries were that came.
    fn say_late(&self, what: &str, late_ms: impl Fn(&Entry) -> u64) {
        let came = self.entries.iter().filter(|entry| entry.times > 0);
        let mut late: Vec<u64> = came.map(late_ms).collect();
        late.sort_unstable();
        let part = |thousandths: usize| {
            let at = (late.len() * thousandths / 1000).min(late.len().saturating_sub(1));
            late.get(at).copied().unwrap_or_default()
        };
        let [p50, p99, p999, most] = [500, 990, 999, 1000].map(part);
        println!("  {what:<9} p50 {p50}, p99 {p99}, p99.9 {p999}, most {most}");
    }

    /// Prints what became of them; an error where one was early, lost or came twice.
    fn report(&mut self) -> Result<()> {
        let left = self.client.ask(&["XSCHED", "LEN", KEY])?.integer();
        let lost = self.entries.iter().filter(|entry| entry.times == 0).count();
        let twice = self.entries.iter().filter(|entry| entry.times > 1).count();
        let down_ms: u64 = self.outages.iter().map(|(from, to)| to - from).sum();
        let (come, early) = (self.come, self.early.len());
        println!("{come} came, {lost} lost, {twice} twice, {early} early");
        println!("late in ms, outages of {down_ms} ms apart:");
        self.say_late("appended", |entry| entry.appended_ms);
        self.say_late("read", |entry| entry.late_ms);
        self.early.iter().take(10).for_each(|early| println!("  early: {early}"));
        if lost + twice + self.early.len() > 0 || left != Some(0) {
            let kept = self.server.keep().display();
            bail!("a schedule was not kept, and {left:?} are left in it; the data is in {kept}");
        }
        Ok(())
    }
}
