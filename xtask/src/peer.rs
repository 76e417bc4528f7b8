//! Starts the servers that transcripts run against, on free ports, and ends them by their handle.
//!
//! A peer lives as long as its value: dropping it kills the process and removes its directory.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::peers::{self, Version};
use crate::workspace;

pub use stage::free_port;

/// Longest wait for a started server to answer.
const START_WAIT_MAX: Duration = Duration::from_secs(20);
/// How often another port is tried when the chosen one was taken meanwhile.
const ATTEMPTS_MAX: u32 = 3;

/// A running server.
#[derive(Debug)]
pub struct Peer {
    /// Where it listens, on the loopback interface.
    pub address: SocketAddr,
    child: Child,
    directory: PathBuf,
}

impl Peer {
    /// Starts a real server; `Ok(None)` when it is not installed.
    pub fn real(version: Version) -> Result<Option<Self>> {
        let Some(program) = peers::find(version) else {
            return Ok(None);
        };
        Self::redis_of(&program).map(Some)
    }

    /// Starts a program: a levada if it is called so, else a `redis-server`.
    pub fn program(program: &Path) -> Result<Self> {
        let is_levada = program.file_name().is_some_and(|name| name == "levada");
        if is_levada { Self::levada_of(program) } else { Self::redis_of(program) }
    }

    /// Starts a `redis-server` with options of one's own, without persistence.
    pub fn redis_at(program: &Path, options: &[&str]) -> Result<Self> {
        Self::start("redis", |port, directory| {
            let mut command = Command::new(program);
            command.args(["--port", port, "--bind", "127.0.0.1", "--save", ""]);
            command.args(options).arg("--dir").arg(directory);
            command
        })
    }

    /// Builds our binary and starts `levada serve`.
    pub fn levada() -> Result<Self> {
        Self::levada_of(&workspace::build(&["levada"])?.join("levada"))
    }

    fn redis_of(program: &Path) -> Result<Self> {
        Self::redis_at(program, &["--appendonly", "no"])
    }

    fn levada_of(program: &Path) -> Result<Self> {
        Self::start("levada", |port, directory| {
            let mut command = Command::new(program);
            command.args(["serve", "--port", port, "--dir"]).arg(directory);
            command
        })
    }

    /// Starts a `redis-server` as a sentinel that watches nothing yet.
    pub(crate) fn sentinel(program: &Path) -> Result<Self> {
        Self::start("sentinel", |port, directory| {
            // It writes down what it learns.
            let file = directory.join("sentinel.conf");
            let _ = std::fs::write(&file, "");
            let mut command = Command::new(program);
            command.arg(file).args(["--sentinel", "--port", port, "--bind", "127.0.0.1", "--dir"]);
            command.arg(directory);
            command
        })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn start(name: &str, command: impl Fn(&str, &Path) -> Command) -> Result<Self> {
        let mut failure = String::new();
        for attempt in 0..ATTEMPTS_MAX {
            let port = free_port()?;
            let directory = std::env::temp_dir()
                .join(format!("levada-peer-{name}-{}-{port}-{attempt}", std::process::id()));
            std::fs::create_dir_all(&directory)?;
            let child = command(&port.to_string(), &directory)
                .stdin(Stdio::null())
                .stdout(std::fs::File::create(directory.join("stdout"))?)
                .stderr(std::fs::File::create(directory.join("stderr"))?)
                .spawn()
                .with_context(|| format!("{name} cannot be started"))?;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let mut peer = Self { address, child, directory };
            if peer.wait_until_ready()? {
                return Ok(peer);
            }
            failure = peer.said();
        }
        bail!("{name} does not answer PING; it said:\n{failure}")
    }

    /// Whether the server answers; `false` when it ended or stayed silent.
    fn wait_until_ready(&mut self) -> Result<bool> {
        let deadline = Instant::now() + START_WAIT_MAX;
        while Instant::now() < deadline {
            if answers_ping(self.address) {
                return Ok(true);
            }
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    }

    /// All that it has printed so far.
    pub fn said(&self) -> String {
        let read = |file| std::fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        read("stdout") + &read("stderr")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Errors have nowhere to go: the process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn answers_ping(address: SocketAddr) -> bool {
    let attempt = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut reply = [0; 7];
        stream.read_exact(&mut reply)?;
        Ok(&reply == b"+PONG\r\n")
    };
    attempt().unwrap_or(false)
}
