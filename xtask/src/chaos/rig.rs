//! One server, some workers, and a hand that kills them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::workspace;

use super::Story;
use crate::kills::client::{Client, Reply};
use crate::kills::server::{Kind, Server};
use crate::kills::value::Chance;

/// Workers at a time.
const WORKERS: usize = 4;
/// Between two kills of a worker, in milliseconds: at least, and up to as much again as the second.
const WORKER_MS: (u64, u64) = (300, 900);
/// The same for the server.
const SERVER_MS: (u64, u64) = (2_000, 4_000);
/// Longest wait for a start.
const START_MAX: Duration = Duration::from_secs(30);
/// Longest wait for the workers to finish when the killing is over.
const DRAIN_MAX: Duration = Duration::from_mins(3);
/// Between two looks at workers and clock.
const TICK: Duration = Duration::from_millis(5);
/// Jobs that are added at each tick.
const JOBS_A_TICK: u64 = 5;

/// What the command line asks for.
#[derive(Debug)]
pub(super) struct Options {
    /// How long jobs are produced and processes killed.
    pub(super) load: Duration,
    pub(super) seed: u64,
}

impl Options {
    /// Ten minutes, and a seed from the clock.
    pub(super) fn new() -> Result<Self> {
        let seed = u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
        Ok(Self { load: Duration::from_mins(10), seed })
    }
}

/// A server and its workers.
#[derive(Debug)]
pub(super) struct Rig {
    server: Server,
    /// `None` while the server is about to be started again.
    client: Option<Client>,
    workers: Vec<Child>,
    program: Vec<PathBuf>,
    killed: (u64, u64),
}

/// Tells a story: prepares, produces and kills, waits for the end, compares, prints.
pub(super) fn tell<S: Story>(story: &mut S, python: &Path, options: &Options) -> Result<()> {
    println!("{}: {:?} of load, seed {}", S::NAME, options.load, options.seed);
    let script = workspace::root().join("examples/python").join(S::PROGRAM);
    let mut rig = Rig::new(vec![python.to_owned(), script])?;
    let told = rig.live(story, options);
    if told.is_err() {
        rig.server.keep();
    }
    let (workers, servers) = rig.killed;
    let line = told.with_context(|| format!("{}, seed {}", S::NAME, options.seed))?;
    println!("{}: {line}; {workers} workers and {servers} servers killed", S::NAME);
    Ok(())
}

impl Rig {
    fn new(program: Vec<PathBuf>) -> Result<Self> {
        let server = Server::start(Kind::Levada, None, START_MAX)?;
        let client = Some(server.client()?);
        Ok(Self { server, client, workers: Vec::new(), program, killed: (0, 0) })
    }

    /// A request that must be answered with no error.
    pub(super) fn ask<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<Reply> {
        Ok(self.client.as_mut().context("the server is down")?.ask(words)?)
    }

    /// Where a worker's effects go: what it prints.
    fn results(&self, worker: usize) -> PathBuf {
        self.server.directory().join(format!("worker-{worker}"))
    }

    /// All lines that all workers wrote.
    pub(super) fn effects(&self) -> Result<Vec<u64>> {
        let mut effects = Vec::new();
        for worker in 0..WORKERS {
            let text = std::fs::read_to_string(self.results(worker))?;
            let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            for line in whole {
                effects.push(line.parse().with_context(|| format!("{line:?} is no number"))?);
            }
        }
        Ok(effects)
    }

    fn live<S: Story>(&mut self, story: &mut S, options: &Options) -> Result<String> {
        story.prepare(self)?;
        for worker in 0..WORKERS {
            let child = self.start(worker)?;
            self.workers.push(child);
        }
        let produced = self.load(story, options)?;
        self.drain(story.group())?;
        let compared = story.compare(self, produced);
        self.end_workers()?;
        compared
    }

    /// Produces and kills. A job whose request got no answer is asked for again, under the same
    /// idempotency id, so that in the end the count is exact.
    fn load<S: Story>(&mut self, story: &mut S, options: &Options) -> Result<u64> {
        let mut chance = Chance::new(options.seed);
        let end = Instant::now() + options.load;
        let mut kill_worker = chance.moment(WORKER_MS);
        let mut kill_server = chance.moment(SERVER_MS);
        let mut produced = 0;
        while Instant::now() < end {
            for _ in 0..JOBS_A_TICK {
                let request = story.produce(produced);
                self.ask(&request)?;
                produced += 1;
            }
            if Instant::now() >= kill_worker {
                let worker = chance.index(WORKERS);
                // It may have ended by itself meanwhile.
                self.workers[worker].kill()?;
                self.killed.0 += 1;
                kill_worker = chance.moment(WORKER_MS);
            }
            if Instant::now() >= kill_server {
                self.kill_server(&story.produce(produced))?;
                produced += 1;
                kill_server = chance.moment(SERVER_MS);
            }
            self.revive()?;
            std::thread::sleep(TICK);
        }
        Ok(produced)
    }

    /// Kills the server with a request under way, and asks for the same again afterwards.
    fn kill_server(&mut self, request: &[String]) -> Result<()> {
        let mut client = self.client.take().context("the server is up")?;
        client.push(request);
        client.flush()?;
        self.server.kill()?;
        self.killed.1 += 1;
        self.server.restart(START_MAX)?;
        self.client = Some(self.server.client()?);
        self.ask(request).map(drop)
    }

    /// Starts every worker again that has ended.
    fn revive(&mut self) -> Result<()> {
        for worker in 0..self.workers.len() {
            if self.workers[worker].try_wait()?.is_some() {
                self.workers[worker] = self.start(worker)?;
            }
        }
        Ok(())
    }

    fn start(&self, worker: usize) -> Result<Child> {
        let log = |path| File::options().create(true).append(true).open(path);
        cut_torn_line(&self.results(worker))?;
        let said = self.server.directory().join(format!("worker-{worker}.stderr"));
        let address = self.server.address();
        Command::new(&self.program[0])
            .arg(&self.program[1])
            .args([address.ip().to_string(), address.port().to_string()])
            .arg(format!("worker-{worker}"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(log(self.results(worker))?)
            .stderr(log(said)?)
            .spawn()
            .context("a worker cannot be started")
    }

    /// Waits until nothing is left to deliver and nothing is pending.
    fn drain(&mut self, (stream, group): (&str, &str)) -> Result<()> {
        let deadline = Instant::now() + DRAIN_MAX;
        loop {
            self.revive()?;
            let pending = self.ask(&["XPENDING", stream, group])?;
            let lag = self.ask(&["XLAG", stream, group])?;
            let entries = lag.field("entries").and_then(Reply::integer);
            let pending = pending.items().first().and_then(Reply::integer);
            if (entries, pending) == (Some(0), Some(0)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{entries:?} entries to deliver and {pending:?} pending in {DRAIN_MAX:?}");
            }
            std::thread::sleep(TICK);
        }
    }

    fn end_workers(&mut self) -> Result<()> {
        for mut worker in self.workers.drain(..) {
            worker.kill()?;
            worker.wait()?;
        }
        Ok(())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the processes end with their server.
        let _ = self.end_workers();
    }
}

/// Removes from a file what stands behind its last line: a kill within a `write` that crosses a
/// page leaves the first half, and the next worker would write behind it. What a cut line told of
/// counts for nothing: its job was not acknowledged.
fn cut_torn_line(path: &Path) -> Result<()> {
    if path.exists() {
        let text = std::fs::read(path)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        File::options().write(true).open(path)?.set_len(whole as u64)?;
    }
    Ok(())
}

/// All entries of a stream: fields and values.
pub(super) fn entries(rig: &mut Rig, stream: &str) -> Result<Vec<Vec<(String, String)>>> {
    let mut all = Vec::new();
    let mut from = "-".to_owned();
    loop {
        let page = rig.ask(&["XRANGE", stream, &from, "+", "COUNT", "1000"])?;
        for entry in page.items() {
            let [id, fields] = entry.items() else { bail!("{entry:?} is no entry") };
            from = format!("({}", String::from_utf8_lossy(id.bytes()));
            let words: Vec<String> = fields
                .items()
                .iter()
                .map(|word| String::from_utf8_lossy(word.bytes()).into_owned())
                .collect();
            ensure!(words.len().is_multiple_of(2), "{entry:?} has half a field");
            all.push(words.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect());
        }
        if page.items().is_empty() {
            return Ok(all);
        }
    }
}

/// The value of a field.
pub(super) fn value<'a>(entry: &'a [(String, String)], field: &str) -> Result<&'a str> {
    let found = entry.iter().find(|(name, _)| name == field);
    found.map(|(_, value)| value.as_str()).with_context(|| format!("{entry:?} lacks {field}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_a_kill_cut_short_counts_for_nothing() -> Result<()> {
        let path = workspace::target_dir().join(format!("torn-line-{}", std::process::id()));
        cut_torn_line(&path)?;
        for (written, left) in [("1\n25\n2574", "1\n25\n"), ("17", ""), ("1\n", "1\n")] {
            std::fs::write(&path, written)?;
            cut_torn_line(&path)?;
            assert_eq!(std::fs::read_to_string(&path)?, left);
        }
        Ok(std::fs::remove_file(&path)?)
    }
}
