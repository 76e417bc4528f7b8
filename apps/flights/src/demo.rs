//! The demo: one producer, three workers, one `kill -9` for a worker that holds entries, one for
//! the server, and the comparison.
//!
//! It decides by what the server says (entries produced, delivered, pending), never by time. The
//! workers are not asked to stop: at the end nothing is pending, so they hold nothing to lose.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use redis::Client;
use stage::{Process, Server};

use crate::observe::{Observer, Snapshot};
use crate::records::Record;
use crate::{client, compare, fetch, ledger, records};

const WORKERS: usize = 3;
/// However many records there are, they go in about this many pipelines, so that both kills
/// find the run in its middle.
const PIPELINES: usize = 400;
const BATCH_MAX: usize = 500;
/// A run in which nothing moves for this long is an error.
const STALLED: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(2);

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The language of producer and workers.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    language: Language,
    /// Send only the first N records of the file.
    #[arg(long)]
    records: Option<usize>,
    /// Shell command of another server; {port} and {dir} are filled in. The default builds
    /// Levada and runs it.
    #[arg(long)]
    server_command: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// redis-rs
    Rust,
    /// redis-py
    Python,
    /// node-redis
    Node,
    /// One run in each, one after the other
    All,
}

/// Runs the demo and returns whether every comparison came out equal.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let exe = std::env::current_exe()?;
    let target = exe.ancestors().nth(2).context("the demo does not lie in a target directory")?;
    let cache = target.join("flights");
    fs::create_dir_all(&cache)?;
    let file = fetch::flights(&cache)?;
    let records = records::load(&file, args.records)?;
    let server = match &args.server_command {
        Some(command) => command.clone(),
        None => stage::levada_command()?,
    };
    let languages = match args.language {
        Language::All => vec![Language::Rust, Language::Python, Language::Node],
        one => vec![one],
    };
    let mut equal = true;
    for language in languages {
        let programs = Programs::prepare(language, &cache)?;
        let dir = cache.join(format!("run-{}-{}", std::process::id(), programs.name));
        println!("--- {}: {} records", programs.name, records.len());
        let this = one_run(&server, &programs, &dir, &file, &records).with_context(|| {
            format!("the run failed; {} keeps data, ledgers and server.log", dir.display())
        })?;
        println!("{}: {}", programs.name, if this { "EQUAL" } else { "NOT EQUAL" });
        if this {
            fs::remove_dir_all(&dir)?;
        } else {
            println!("{} keeps data, ledgers and server.log", dir.display());
        }
        equal &= this;
    }
    Ok(equal)
}

/// The story, from the first start to the verdict.
fn one_run(
    server: &str,
    programs: &Programs,
    dir: &Path,
    file: &Path,
    records: &[Record],
) -> Result<bool> {
    let total = records.len() as u64;
    let ledgers = dir.join("ledgers");
    fs::create_dir_all(&ledgers)?;
    let server = Server::start(server, dir, answers)?;
    let mut run = Run::start(server, total)?;
    let batch = (records.len() / PIPELINES).clamp(1, BATCH_MAX).to_string();

    for number in 1..=WORKERS {
        let name = format!("worker-{number}");
        let mut command = programs.work();
        command.args(["--url", &run.server.url(), "--consumer", &name, "--batch", &batch]);
        run.workers.push(Process::start(&name, command.arg("--ledger").arg(&ledgers))?);
    }
    run.until("three workers read", |now, _| now.consumers == WORKERS)?;

    let mut command = programs.produce();
    command.args(["--url", &run.server.url(), "--batch", &batch, "--records", &total.to_string()]);
    run.producer = Some(Process::start("producer", command.arg("--file").arg(file))?);

    run.until("a quarter is produced", |now, _| now.produced >= total / 4)?;
    let victim = run.kill_a_worker()?;
    run.until("half is produced", |now, _| now.produced >= total / 2)?;
    run.kill_the_server()?;
    run.until("all is acknowledged", |now, produced| {
        produced && now.delivered == total && now.pending == 0
    })?;
    run.finish(&victim)?;
    compare::compare(records, &ledger::merge(&ledgers)?)
}

/// Whether the server at a port answers PING.
fn answers(port: u16) -> Result<()> {
    let client = Client::open(format!("redis://127.0.0.1:{port}/"))?;
    client::attempt(&client).context("no answer to PING")?;
    Ok(())
}

/// Everything that runs. Dropping it ends all of it.
struct Run {
    total: u64,
    started: Instant,
    producer: Option<Process>,
    workers: Vec<Process>,
    server: Server,
    observer: Observer,
    /// Tenths of the records whose processing was reported.
    tenths: u64,
}

impl Run {
    fn start(server: Server, total: u64) -> Result<Run> {
        let observer = Observer::new(&server.url())?;
        let started = Instant::now();
        Ok(Run { total, started, producer: None, workers: vec![], server, observer, tenths: 0 })
    }

    /// Watches until `reached` says so of the state and of whether the producer is done.
    fn until(&mut self, what: &str, reached: impl Fn(&Snapshot, bool) -> bool) -> Result<()> {
        let mut last = (Snapshot::default(), Instant::now());
        loop {
            let produced = self.check_processes()?;
            let now = self.observer.snapshot()?;
            self.report(&now);
            ensure!(
                !produced || now.produced == self.total,
                "{} records were acknowledged to the producer, the stream holds {}",
                self.total,
                now.produced
            );
            if reached(&now, produced) {
                return Ok(());
            }
            if now != last.0 {
                last = (now, Instant::now());
            }
            ensure!(last.1.elapsed() < STALLED, "nothing moves before {what}: {now:?}");
            thread::sleep(POLL);
        }
    }

    /// Fails when something died that nobody killed; returns whether the producer is done.
    fn check_processes(&mut self) -> Result<bool> {
        self.server.check_running()?;
        for worker in &mut self.workers {
            worker.check_running()?;
        }
        self.producer.as_mut().map_or(Ok(false), Process::finished)
    }

    fn report(&mut self, now: &Snapshot) {
        let tenths = now.processed() * 10 / self.total.max(1);
        if tenths > self.tenths {
            self.tenths = tenths;
            self.say(&format!(
                "produced {}, processed {}, pending {}",
                now.produced,
                now.processed(),
                now.pending
            ));
        }
    }

    fn say(&self, what: &str) {
        println!("{:7.2} s  {what}", self.started.elapsed().as_secs_f64());
    }

    /// Kills a worker that holds entries, and returns its name.
    fn kill_a_worker(&mut self) -> Result<String> {
        let started = Instant::now();
        loop {
            let produced = self.check_processes()?;
            let victim = self.freeze_a_holder()?;
            // A fast producer would be done before the server is killed, so it waits.
            let producer = self.producer.as_ref().filter(|_| !produced);
            producer.map_or(Ok(()), Process::freeze)?;
            let victim = victim.map_or(Ok(None), |at| self.kill_if_holding(at))?;
            let producer = self.producer.as_ref().filter(|_| !produced);
            producer.map_or(Ok(()), Process::thaw)?;
            if let Some(victim) = victim {
                return Ok(victim);
            }
            ensure!(
                !produced && started.elapsed() < STALLED,
                "no worker could be killed while it held entries; try more --records"
            );
            thread::sleep(POLL);
        }
    }

    /// Freezes the first worker found to hold entries and returns its place among the workers.
    fn freeze_a_holder(&mut self) -> Result<Option<usize>> {
        let pending = self.observer.pending()?;
        let holds =
            |worker: &Process| pending.iter().any(|(n, held)| *n == worker.name && *held > 0);
        let at = self.workers.iter().position(holds);
        at.map_or(Ok(()), |at| self.workers[at].freeze())?;
        Ok(at)
    }

    /// Kills the frozen worker `at` and returns its name, or lets it go on when it holds nothing.
    ///
    /// It is looked at again only after its last words have reached the server: otherwise its
    /// XACK could be on the way, and the kill would leave nothing to claim.
    fn kill_if_holding(&mut self, at: usize) -> Result<Option<String>> {
        self.observer.barrier()?;
        let name = self.workers[at].name.clone();
        let held = self.observer.pending_of(&name)?;
        if held == 0 {
            self.workers[at].thaw()?;
            return Ok(None);
        }
        self.workers.remove(at).kill()?;
        self.say(&format!("{name} killed (-9), {held} entries pending"));
        Ok(Some(name))
    }

    fn kill_the_server(&mut self) -> Result<()> {
        let now = self.observer.snapshot()?;
        self.server.kill()?;
        self.say(&format!(
            "server killed (-9), produced {}, processed {}, pending {}",
            now.produced,
            now.processed(),
            now.pending
        ));
        let took = self.server.restart()?;
        self.observer = Observer::new(&self.server.url())?;
        self.say(&format!("server restarted, answers after {} ms", took.as_millis()));
        Ok(())
    }

    /// Checks that the dead worker holds nothing any more.
    fn finish(&mut self, victim: &str) -> Result<()> {
        let held = self.observer.pending_of(victim)?;
        ensure!(held == 0, "{victim} still holds {held} entries");
        self.say(&format!("nothing is pending, the entries of {victim} were taken over"));
        Ok(())
    }
}

/// How to start producer and worker in one language.
struct Programs {
    name: &'static str,
    program: PathBuf,
    produce: PathBuf,
    work: PathBuf,
}

impl Programs {
    fn prepare(language: Language, cache: &Path) -> Result<Programs> {
        let (name, program, produce, work) = match language {
            Language::Rust | Language::All => {
                ("redis-rs", std::env::current_exe()?, "produce".into(), "work".into())
            }
            Language::Python => {
                let python = fetch::python(cache)?;
                let program = fetch::python_program;
                ("redis-py", python, program("produce.py"), program("work.py"))
            }
            Language::Node => {
                let dir = fetch::node(cache)?;
                ("node-redis", "node".into(), dir.join("produce.mjs"), dir.join("work.mjs"))
            }
        };
        Ok(Programs { name, program, produce, work })
    }

    fn produce(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(&self.produce);
        command
    }

    fn work(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(&self.work);
        command
    }
}
