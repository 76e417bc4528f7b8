//! One server process that the rigs may start, kill, start again on the same data and measure.
//!
//! A server lives as long as its value: dropping it kills the process and, unless `keep` was
//! called, removes its directory. Every start takes a fresh free port on the loopback interface.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::peers::{self, Version};
use xtask::workspace;

use super::client::{Client, Reply};

/// How often another port is tried when the chosen one was taken meanwhile.
const ATTEMPTS_MAX: u32 = 3;
/// Longest wait for a process to end after SIGTERM.
const TERMINATE_WAIT_MAX: Duration = Duration::from_secs(30);
/// Between two looks at a server that is starting; it bounds the error of a measured restart.
const POLL: Duration = Duration::from_millis(1);

/// Which program, with which promise about the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours, as it is by default: an acknowledged write is on disk.
    Levada,
    /// Ours without an engine: the ceiling of the loop; see docs/bench.md.
    Null,
    /// The same, with a sync before replies leave: the ceiling of who is durable.
    NullSyncs,
    /// Another server, with an append-only file.
    Peer(Program, Fsync),
}

/// A server that Levada is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// Redis 7.0.
    Redis70,
    /// Redis 8.2.
    Redis82,
    /// Redis 8.6.
    Redis86,
    /// Valkey 9.1.
    Valkey91,
}

/// `appendfsync` of such a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fsync {
    /// The same promise as ours.
    Always,
    /// Their default for an append-only file: a power cut may take a second.
    Everysec,
    /// The operating system syncs when it likes.
    No,
}

/// Names on the command line and in reports, program and promise apart.
const PROGRAMS: [(Program, &str, &str); 4] = [
    (Program::Redis70, "redis-7.0", "redis 7.0"),
    (Program::Redis82, "redis-8.2", "redis 8.2"),
    (Program::Redis86, "redis-8.6", "redis 8.6"),
    (Program::Valkey91, "valkey-9.1", "valkey 9.1"),
];
const PROMISES: [(Fsync, &str); 3] =
    [(Fsync::Always, "always"), (Fsync::Everysec, "everysec"), (Fsync::No, "no")];

impl Kind {
    /// Redis 7.0 with the same promise as ours.
    pub(crate) const REDIS_ALWAYS: Self = Self::Peer(Program::Redis70, Fsync::Always);
    /// Redis 7.0 with its default promise.
    pub(crate) const REDIS_EVERYSEC: Self = Self::Peer(Program::Redis70, Fsync::Everysec);

    /// Reads a name from the command line: `levada`, or `redis-8.6-always` and kin; `redis` and
    /// `always` are Redis 7.0 with `appendfsync always`, `everysec` the same with that.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        match name {
            "levada" => return Ok(Self::Levada),
            "redis" | "always" => return Ok(Self::REDIS_ALWAYS),
            "everysec" => return Ok(Self::REDIS_EVERYSEC),
            _ => {}
        }
        for (program, prefix, _) in PROGRAMS {
            let promise = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
            let known = PROMISES.iter().find(|(_, word)| promise == Some(word));
            if let Some((fsync, _)) = known {
                return Ok(Self::Peer(program, *fsync));
            }
        }
        bail!(
            "unknown server {name:?}: levada, or one of redis-7.0, redis-8.2, redis-8.6 and \
             valkey-9.1 with -always, -everysec or -no behind it"
        )
    }

    /// The name in reports.
    pub(crate) fn name(self) -> String {
        let (program, fsync) = match self {
            Self::Levada => return "levada".to_owned(),
            Self::Null => return "null".to_owned(),
            Self::NullSyncs => return "null + disk".to_owned(),
            Self::Peer(program, fsync) => (program, fsync),
        };
        let program = PROGRAMS.iter().find(|(one, ..)| *one == program).map_or("", |row| row.2);
        format!("{program} {}", fsync.word())
    }

    /// The program; builds it first, with this profile, if it is ours.
    pub(crate) fn program(self, profile: &str) -> Result<PathBuf> {
        match self {
            Self::Peer(program, _) => program.path(),
            Self::Levada => workspace::build_levada(profile, None, &[]),
            Self::Null | Self::NullSyncs => {
                // The next build of the real one takes the place of this one.
                let built = workspace::build_levada(profile, None, &["--features", "null"])?;
                let kept = built.with_file_name("levada-null");
                // Renamed, as the one that is there may be running.
                let fresh = built.with_file_name(format!("levada-null-{}", std::process::id()));
                std::fs::copy(built, &fresh)?;
                std::fs::rename(&fresh, &kept)?;
                Ok(kept)
            }
        }
    }
}

impl Fsync {
    /// As `appendfsync` has it.
    fn word(self) -> &'static str {
        PROMISES.iter().find(|(one, _)| *one == self).map_or("", |row| row.1)
    }
}

impl Program {
    /// Where it is installed. Fails, saying what would install it, where it is not.
    fn path(self) -> Result<PathBuf> {
        let version = match self {
            Self::Redis70 => Version::Redis70,
            Self::Redis82 => Version::Redis82,
            Self::Redis86 => Version::Redis86,
            Self::Valkey91 => Version::Valkey91,
        };
        peers::find(version).with_context(|| format!("{self:?} is missing: run cargo xtask peers"))
    }
}

/// A server on a directory of its own.
#[derive(Debug)]
pub(crate) struct Server {
    kind: Kind,
    program: PathBuf,
    core: Option<u32>,
    /// Holds what the process prints, and the data unless they are on a medium of their own.
    directory: PathBuf,
    data: PathBuf,
    /// What stands before the program on its command line.
    wrapper: Vec<String>,
    variables: Vec<(&'static str, PathBuf)>,
    keep: bool,
    address: SocketAddr,
    /// `None` between an end and the next start.
    child: Option<Child>,
    /// What earlier processes printed, in bytes: to stdout, to stderr.
    said_before: [u64; 2],
}

impl Server {
    /// Starts a server on an empty directory, on one processor core if `core` is given, and waits
    /// until it answers.
    pub(crate) fn start(kind: Kind, core: Option<u32>, wait_max: Duration) -> Result<Self> {
        let mut server = Self::new(kind, core)?;
        server.restart(wait_max)?;
        Ok(server)
    }

    /// A server with an empty directory that does not run yet.
    pub(crate) fn new(kind: Kind, core: Option<u32>) -> Result<Self> {
        Self::of(kind, kind.program("release")?, core)
    }

    /// The same of this program.
    pub(crate) fn of(kind: Kind, program: PathBuf, core: Option<u32>) -> Result<Self> {
        let started = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        let directory = std::env::temp_dir().join(format!(
            "levada-rig-{}-{}-{started}",
            kind.name().replace(' ', "-"),
            std::process::id()
        ));
        let data = directory.join("data");
        std::fs::create_dir_all(&data)?;
        Ok(Self {
            kind,
            program,
            core,
            directory,
            data,
            wrapper: Vec::new(),
            variables: Vec::new(),
            keep: false,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            child: None,
            said_before: [0; 2],
        })
    }

    /// Puts the data somewhere else, from the next start on.
    pub(crate) fn set_data(&mut self, data: PathBuf) {
        self.data = data;
    }

    /// Puts other programs before the server's own on its command line, from the next start on.
    /// They must leave the server in the process that was started.
    pub(crate) fn set_wrapper(&mut self, wrapper: Vec<String>) {
        self.wrapper = wrapper;
    }

    /// Sets a variable of the server's environment, from the next start on.
    pub(crate) fn set_variable(&mut self, name: &'static str, value: PathBuf) {
        self.variables.push((name, value));
    }

    /// The program file.
    pub(crate) fn executable(&self) -> &Path {
        &self.program
    }

    /// The number of the process that runs now.
    pub(crate) fn process(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("no process runs")?.id())
    }

    /// Which program it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Where the data are.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Where this server's files are, its data apart.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Waits until the process has ended by itself; whether it has in time.
    pub(crate) fn wait(&mut self, wait_max: Duration) -> Result<bool> {
        let child = self.child.as_mut().context("no process to wait for")?;
        let deadline = Instant::now() + wait_max;
        while Instant::now() < deadline {
            if child.try_wait()?.is_some() {
                self.child = None;
                return Ok(true);
            }
            std::thread::sleep(POLL);
        }
        Ok(false)
    }

    /// Ends the process by SIGKILL, whether or not it has ended by itself before.
    pub(crate) fn end(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts the process again on the same data and waits until it answers PING. Answers how
    /// long that took, in the attempt that succeeded.
    pub(crate) fn restart(&mut self, wait_max: Duration) -> Result<Duration> {
        for _ in 0..ATTEMPTS_MAX {
            let start = Instant::now();
            self.launch()?;
            if self.wait_until_ready(start + wait_max)? {
                return Ok(start.elapsed());
            }
            // Only a taken port deserves another try: one that recovers at the second start has
            // failed at the first.
            let ended = self.kill();
            if !self.said().contains("in use") {
                ended?;
                break;
            }
        }
        // What it left is the only evidence.
        self.keep = true;
        bail!(
            "{} does not answer PING within {wait_max:?} on {}; it said:\n{}",
            self.kind.name(),
            self.directory.display(),
            self.said()
        )
    }

    /// Starts the process once and waits until it answers PING; `false` where it ended instead.
    pub(crate) fn try_start(&mut self, wait_max: Duration) -> Result<bool> {
        self.launch()?;
        self.wait_until_ready(Instant::now() + wait_max)
    }

    /// Starts the process and waits for nothing.
    pub(crate) fn launch(&mut self) -> Result<()> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        self.address.set_port(port);
        let log = |name| {
            std::fs::File::options().create(true).append(true).open(self.directory.join(name))
        };
        let (stdout, stderr) = (log("stdout")?, log("stderr")?);
        self.said_before = [stdout.metadata()?.len(), stderr.metadata()?.len()];
        let child = self
            .command(port)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.kind.name()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills the process as `kill -9` does. Fails if it had ended by itself before.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("no process to kill")?;
        let ended = child.try_wait()?;
        child.kill()?;
        child.wait()?;
        match ended {
            None => Ok(()),
            Some(status) => {
                self.keep = true;
                bail!("the server ended by itself: {status}\n{}", self.said())
            }
        }
    }

    /// Asks the process to end, by SIGTERM, and waits until it has.
    pub(crate) fn terminate(&mut self) -> Result<()> {
        let mut child = self.child.take().context("no process to end")?;
        let sent = Command::new("kill").arg(child.id().to_string()).status()?;
        ensure!(sent.success(), "SIGTERM cannot be sent");
        let deadline = Instant::now() + TERMINATE_WAIT_MAX;
        while Instant::now() < deadline {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        child.kill()?;
        child.wait()?;
        bail!("the server outlives SIGTERM by {TERMINATE_WAIT_MAX:?}")
    }

    /// A new connection.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::connect(self.address)
            .with_context(|| format!("{} takes no connection", self.kind.name()))
    }

    /// Whether the directory stays; see [`Server::keep`].
    pub(crate) fn is_kept(&self) -> bool {
        self.keep
    }

    /// The address of the process that runs now.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Keeps the directory beyond the life of this value, and answers it.
    pub(crate) fn keep(&mut self) -> &Path {
        self.keep = true;
        &self.directory
    }

    /// Processor time of the process and of the children that it waited for, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(self.proc("stat")?)?;
        // The second field is the name in brackets, which may hold spaces: count behind it.
        let (_, fields) = stat.rsplit_once(')').context("stat has no name")?;
        let mut ticks = 0;
        for field in fields.split_whitespace().skip(11).take(4) {
            ticks += field.parse::<u64>()?;
        }
        // USER_HZ is 100 on every Linux of the last decades (proc(5)).
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Resident memory, in bytes.
    pub(crate) fn rss(&self) -> Result<u64> {
        let status = std::fs::read_to_string(self.proc("status")?)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let line = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
        Ok(line.parse::<u64>()? * 1024)
    }

    /// Memory that the process has asked for, in bytes: what its limit counts.
    pub(crate) fn virtual_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(self.proc("status")?)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
        let line = line.context("no VmSize")?.trim().trim_end_matches(" kB");
        Ok(line.parse::<u64>()? * 1024)
    }

    /// Descriptors that the process has open.
    pub(crate) fn open_files(&self) -> Result<u64> {
        Ok(std::fs::read_dir(self.proc("fd")?)?.count() as u64)
    }

    /// The lowest number that none of them has: with that for a limit none can be opened.
    pub(crate) fn lowest_free_file(&self) -> Result<u64> {
        let entries = std::fs::read_dir(self.proc("fd")?)?;
        let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        let open: BTreeSet<u64> = entries.filter_map(Result::ok).filter_map(number).collect();
        let free = (0..=open.len() as u64).find(|number| !open.contains(number));
        Ok(free.unwrap_or_default())
    }

    /// Changes the limit of open files of the running process; `None` brings back what it may have.
    pub(crate) fn limit_files(&self, most: Option<u64>) -> Result<()> {
        let child = self.child.as_ref().context("no process to limit")?;
        let most = if let Some(most) = most {
            most
        } else {
            let limits = std::fs::read_to_string(self.proc("limits")?)?;
            let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
            let hard = line.and_then(|line| line.split_whitespace().nth(1));
            hard.context("no limit of open files")?.parse()?
        };
        let mut command = Command::new("prlimit");
        command.args(["--pid", &child.id().to_string(), &format!("--nofile={most}:")]);
        ensure!(command.status()?.success(), "the limit of open files cannot be set");
        Ok(())
    }

    /// Bytes that the data directory occupies on disk.
    pub(crate) fn disk(&self) -> Result<u64> {
        disk(&self.data)
    }

    fn command(&self, port: u16) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(core) = self.core {
            words.extend(["taskset".into(), "-c".into(), core.to_string().into()]);
        }
        words.extend(self.wrapper.iter().map(OsString::from));
        words.push(self.program.clone().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).envs(self.variables.iter().cloned());
        let port = port.to_string();
        match self.kind {
            Kind::Levada => command.args(["serve", "--port", &port]),
            Kind::Null => command.args(["serve", "--null", "--port", &port]),
            Kind::NullSyncs => command.args(["serve", "--null", "--null-syncs", "--port", &port]),
            Kind::Peer(_, fsync) => command
                .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
                .args(["--appendonly", "yes", "--appendfsync", fsync.word()]),
        };
        command.arg("--dir").arg(&self.data);
        command
    }

    /// Whether the server answers; `false` when it ended or stayed silent.
    fn wait_until_ready(&mut self, deadline: Instant) -> Result<bool> {
        while Instant::now() < deadline {
            let reply = Client::connect(self.address).and_then(|mut client| client.call(&["PING"]));
            if reply.is_ok_and(|reply| matches!(reply, Reply::Text(text) if text == b"PONG")) {
                return Ok(true);
            }
            let child = self.child.as_mut().context("no process to wait for")?;
            if child.try_wait()?.is_some() {
                return Ok(false);
            }
            std::thread::sleep(POLL);
        }
        Ok(false)
    }

    fn proc(&self, file: &str) -> Result<String> {
        let child = self.child.as_ref().context("no process to measure")?;
        Ok(format!("/proc/{}/{file}", child.id()))
    }

    /// The end of what the last process has printed.
    pub(crate) fn said(&self) -> String {
        let read = |(file, before): (&str, u64)| {
            let bytes = std::fs::read(self.directory.join(file)).unwrap_or_default();
            let before = usize::try_from(before).unwrap_or(0);
            let from = before.max(bytes.len().saturating_sub(2000));
            String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
        };
        ["stdout", "stderr"].into_iter().zip(self.said_before).map(read).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors have nowhere to go: the process may have ended by itself.
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

pub(crate) fn disk(path: &Path) -> Result<u64> {
    let metadata = match std::fs::symlink_metadata(path) {
        // The server may remove files while we count.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    // st_blocks counts 512 bytes, whatever the file system (stat(2)).
    let mut bytes = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            bytes += disk(&entry?.path())?;
        }
    }
    Ok(bytes)
}
