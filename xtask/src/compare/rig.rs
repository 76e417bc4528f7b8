//! The servers under measurement: all of them run, pinned to one core, and one at a time is loaded.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::kills::server::{Kind, Server};

/// The core of the servers, and the one of the clients.
const CORES: (u32, &str) = (0, "1");
/// Longest wait for a start, the one on ten million entries included.
pub(super) const START_MAX: Duration = Duration::from_mins(10);
/// Longest wait for a server to end what the load has left it to do.
const REST_MAX: Duration = Duration::from_mins(2);
/// A server rests when it used at most this in such a time.
const REST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
/// Where distributions put jemalloc.
const JEMALLOC: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "/usr/lib/aarch64-linux-gnu/libjemalloc.so.2"];

/// See the module.
#[derive(Debug)]
pub(super) struct Rig {
    /// How our program is built.
    profile: &'static str,
    core: Option<u32>,
    /// Our program, for its load generator.
    bench: PathBuf,
    servers: Vec<Server>,
    versions: Vec<(Kind, String)>,
}

impl Rig {
    /// Puts this process, and with it every client that it starts, on its core, where there are
    /// two. No server runs yet.
    pub(super) fn new(profile: &'static str) -> Result<Self> {
        let (bench, servers, versions) = (Kind::Levada.program(profile)?, Vec::new(), Vec::new());
        if std::thread::available_parallelism()?.get() < 2 {
            println!("one core only: servers and clients share it, no figure means anything");
            return Ok(Self { profile, core: None, bench, servers, versions });
        }
        let process = std::process::id().to_string();
        let pinned = Command::new("taskset").args(["-cp", CORES.1, &process]).output();
        let pinned = pinned.context("taskset cannot be started")?;
        ensure!(pinned.status.success(), "taskset: {pinned:?}");
        Ok(Self { profile, core: Some(CORES.0), bench, servers, versions })
    }

    /// The server of a kind; starts it if it does not run.
    pub(super) fn server(&mut self, kind: Kind) -> Result<&mut Server> {
        if let Some(at) = self.servers.iter().position(|server| server.kind() == kind) {
            return Ok(&mut self.servers[at]);
        }
        let mut server = self.idle(kind)?;
        server.restart(START_MAX)?;
        self.servers.push(server);
        self.servers.last_mut().context("one was pushed")
    }

    /// A server of its own with an empty directory, not yet started.
    pub(super) fn idle(&self, kind: Kind) -> Result<Server> {
        let mut server = Server::of(kind, kind.program(self.profile)?, self.core)?;
        if is_without_jemalloc(kind, &version(server.executable())?) {
            server.set_variable("LD_PRELOAD", jemalloc()?);
        }
        Ok(server)
    }

    /// What the program of a kind says of its version.
    pub(super) fn version(&mut self, kind: Kind) -> Result<String> {
        if let Some((_, known)) = self.versions.iter().find(|(one, _)| *one == kind) {
            return Ok(known.clone());
        }
        let mut said = version(&kind.program(self.profile)?)?;
        if is_without_jemalloc(kind, &said) {
            said += " and the system's jemalloc";
        }
        self.versions.push((kind, said.clone()));
        Ok(said)
    }

    /// The program whose `bench` loads servers.
    pub(super) fn bench(&self) -> &Path {
        &self.bench
    }

    /// A command on the core of the servers, where there are two.
    pub(super) fn on_core_of_servers(&self, program: &Path) -> Command {
        let Some(core) = self.core else { return Command::new(program) };
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]).arg(program);
        command
    }

    /// Ends all servers.
    pub(super) fn clear(&mut self) {
        self.servers.clear();
    }
}

/// Whether a peer was built with another allocator than its default, by what it says.
fn is_without_jemalloc(kind: Kind, version: &str) -> bool {
    matches!(kind, Kind::Peer(..)) && version.contains("malloc=libc")
}

/// The library that a peer is built with by default, for one that was built without.
fn jemalloc() -> Result<PathBuf> {
    let found = JEMALLOC.iter().map(PathBuf::from).find(|path| path.exists());
    found.context("libjemalloc.so.2 is not installed (libjemalloc2)")
}

/// What a program says of its version.
fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("{} cannot be started", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Empties a server and waits until it has nothing left to do, and the disk neither.
pub(super) fn settle(server: &Server) -> Result<()> {
    server.client()?.ask(&["FLUSHALL"])?;
    let deadline = Instant::now() + REST_MAX;
    let mut before = server.cpu()?;
    loop {
        std::thread::sleep(REST.1);
        let now = server.cpu()?;
        if now.saturating_sub(before) <= REST.0 && !rewrites(server)? {
            break;
        }
        before = now;
        if Instant::now() > deadline {
            bail!("{} is still at work after {REST_MAX:?}", server.kind().name());
        }
    }
    let synced = Command::new("sync").arg("-f").arg(server.directory()).status()?;
    ensure!(synced.success(), "sync fails");
    Ok(())
}

/// Whether an append-only file is being rewritten, or is about to be.
fn rewrites(server: &Server) -> Result<bool> {
    let reply = server.client()?.ask(&["INFO", "persistence"])?;
    let text = String::from_utf8_lossy(reply.bytes()).into_owned();
    let works = ["aof_rewrite_in_progress:1", "aof_rewrite_scheduled:1"];
    Ok(works.iter().any(|one| text.contains(one)))
}
