//! Workers and producers as processes, and a hand that kills workers and the server.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use stage::Postgres;
use xtask::workspace;

use super::server::Server;
use crate::kills::client::Reply;
use crate::kills::value::Chance;

/// Workers and producers at a time.
const WORKERS: usize = 4;
const PRODUCERS: usize = 2;
/// Between two kills of a worker, in milliseconds: at least, and up to as much again as the second.
const WORKER_MS: (u64, u64) = (500, 1_500);
/// The same for the server.
const SERVER_MS: (u64, u64) = (3_000, 5_000);
/// Longest wait for the producers beyond their time: the server may come back slowly.
const PRODUCE_MAX: Duration = Duration::from_mins(2);
/// Longest wait for the workers to finish when the killing is over.
const DRAIN_MAX: Duration = Duration::from_mins(5);
/// Between two looks at processes and clock.
const TICK: Duration = Duration::from_millis(20);
/// The stream and the group of `examples/chaos.rs`.
const STREAM: &str = "jobs";
const GROUP: &str = "g";

/// A server, its workers and its producers.
#[derive(Debug)]
pub(super) struct Rig {
    server: Server,
    database: String,
    program: PathBuf,
    workers: Vec<Child>,
    producers: Vec<Child>,
    /// Workers and servers.
    pub(super) killed: (u64, u64),
}

impl Rig {
    pub(super) fn new(server: Server, database: String) -> Result<Self> {
        let program = workspace::target_dir().join("debug/examples/chaos");
        ensure!(program.is_file(), "{} is missing", program.display());
        let (workers, producers) = (Vec::new(), Vec::new());
        Ok(Self { server, database, program, workers, producers, killed: (0, 0) })
    }

    /// Produces, works and kills; answers how many jobs each producer sent.
    pub(super) fn live(&mut self, load: Duration, seed: u64) -> Result<Vec<u64>> {
        let seconds = load.as_secs().max(1).to_string();
        for number in 0..PRODUCERS {
            let name = format!("p{number}");
            let child = self.start("producer", &name, &[&name, &seconds])?;
            self.producers.push(child);
        }
        for worker in 0..WORKERS {
            let child = self.start_worker(worker)?;
            self.workers.push(child);
        }
        let mut chance = Chance::new(seed);
        let mut kill_worker = chance.moment(WORKER_MS);
        let mut kill_server = chance.moment(SERVER_MS);
        let deadline = Instant::now() + load + PRODUCE_MAX;
        while !self.has_produced()? {
            ensure!(Instant::now() < deadline, "the producers do not come to an end");
            if Instant::now() >= kill_worker {
                self.workers[chance.index(WORKERS)].kill()?;
                self.killed.0 += 1;
                kill_worker = chance.moment(WORKER_MS);
            }
            if Instant::now() >= kill_server {
                self.server.kill()?;
                self.killed.1 += 1;
                self.server.restart()?;
                kill_server = chance.moment(SERVER_MS);
            }
            self.revive()?;
            std::thread::sleep(TICK);
        }
        (0..PRODUCERS).map(|number| self.sent(number)).collect()
    }

    /// Waits until every job has an effect or a dead letter, and nothing is pending.
    pub(super) fn drain(&mut self, postgres: &Postgres, sent: u64) -> Result<()> {
        let deadline = Instant::now() + DRAIN_MAX;
        loop {
            self.revive()?;
            let effects = postgres.query("SELECT count(DISTINCT name) FROM effect")?;
            let effects: u64 = effects.first().context("a count")?.parse()?;
            let mut dead = self.dead_letters()?;
            dead.sort_unstable();
            dead.dedup();
            let pending = self.server.ask(&["XPENDING", STREAM, GROUP])?;
            let pending = pending.items().first().and_then(Reply::integer);
            if effects + dead.len() as u64 >= sent && pending == Some(0) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let dead = dead.len();
                bail!(
                    "of {sent} jobs {effects} have effects, {dead} are dead, {pending:?} pending"
                );
            }
            std::thread::sleep(TICK * 5);
        }
    }

    /// The names of the jobs among the dead letters.
    pub(super) fn dead_letters(&self) -> Result<Vec<String>> {
        let stream = format!("{{{STREAM}}}:dlq:{GROUP}");
        let mut names = Vec::new();
        let mut from = "-".to_owned();
        loop {
            let page = self.server.ask(&["XRANGE", &stream, &from, "+", "COUNT", "1000"])?;
            for entry in page.items() {
                let [id, fields] = entry.items() else { bail!("{entry:?} is no entry") };
                from = format!("({}", String::from_utf8_lossy(id.bytes()));
                let name = fields.field("id").context("a dead letter without a name")?;
                names.push(String::from_utf8_lossy(name.bytes()).into_owned());
            }
            if page.items().is_empty() {
                return Ok(names);
            }
        }
    }

    fn has_produced(&mut self) -> Result<bool> {
        let mut all = true;
        for producer in &mut self.producers {
            match producer.try_wait()? {
                Some(status) => ensure!(status.success(), "a producer failed: {status}"),
                None => all = false,
            }
        }
        Ok(all)
    }

    fn sent(&self, producer: usize) -> Result<u64> {
        let said = std::fs::read_to_string(self.log(&format!("p{producer}"), "stdout"))?;
        said.trim().parse().with_context(|| format!("{said:?} is no number"))
    }

    /// Starts every worker again that has ended.
    fn revive(&mut self) -> Result<()> {
        for worker in 0..self.workers.len() {
            if self.workers[worker].try_wait()?.is_some() {
                self.workers[worker] = self.start_worker(worker)?;
            }
        }
        Ok(())
    }

    fn start_worker(&self, number: usize) -> Result<Child> {
        self.start("worker", &format!("w{number}"), &[&self.database])
    }

    fn start(&self, role: &str, name: &str, arguments: &[&str]) -> Result<Child> {
        let log = |of: &str| File::options().create(true).append(true).open(self.log(name, of));
        Command::new(&self.program)
            .arg(role)
            .arg(self.server.url())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log("stdout")?)
            .stderr(log("stderr")?)
            .spawn()
            .with_context(|| format!("a {role} cannot be started"))
    }

    fn log(&self, name: &str, of: &str) -> PathBuf {
        self.server.directory().join(format!("{name}.{of}"))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for child in self.workers.iter_mut().chain(&mut self.producers) {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
