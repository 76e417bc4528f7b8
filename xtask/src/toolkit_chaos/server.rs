//! The server under chaos: it keeps its port when it is started again, as workers know no other.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::peers::{self, Version};
use xtask::workspace;

use crate::kills::client::{Client, Reply};

/// Longest wait for an answer behind a start.
const START_WAIT_MAX: Duration = Duration::from_mins(1);
/// Between two looks.
const POLL: Duration = Duration::from_millis(10);

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Ours, as it is by default.
    Levada,
    /// Valkey 9.1 that syncs before it answers.
    Valkey,
}

impl Kind {
    /// Reads a name from the command line.
    pub(super) fn parse(name: &str) -> Result<Self> {
        match name {
            "levada" => Ok(Self::Levada),
            "valkey" => Ok(Self::Valkey),
            _ => bail!("unknown server {name:?}: levada or valkey"),
        }
    }
}

/// A server on a directory and a port of its own. Dropping it ends it and removes the directory.
#[derive(Debug)]
pub(super) struct Server {
    kind: Kind,
    program: PathBuf,
    directory: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
}

impl Server {
    pub(super) fn start(kind: Kind) -> Result<Self> {
        let program = match kind {
            Kind::Levada => workspace::build(&["levada"])?.join("levada"),
            Kind::Valkey => peers::find(Version::Valkey91).context("valkey is not installed")?,
        };
        let started = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        let name = format!("levada-toolkit-chaos-{kind:?}-{}-{started}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory)?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut server = Self { kind, program, directory, address, child: None };
        server.restart()?;
        Ok(server)
    }

    pub(super) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Where programs under chaos may write.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Kills it as `kill -9` does.
    pub(super) fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("no process to kill")?;
        let ended = child.try_wait()?;
        child.kill()?;
        child.wait()?;
        ensure!(ended.is_none(), "the server had ended by itself: {ended:?}");
        Ok(())
    }

    /// Starts it on what it has, and waits until it answers. Somebody else may hold the port for a
    /// moment: then it is started again.
    pub(super) fn restart(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_WAIT_MAX;
        while Instant::now() < deadline {
            let ended = match &mut self.child {
                Some(child) => child.try_wait()?.is_some(),
                None => true,
            };
            if ended {
                self.child = Some(self.launch()?);
            }
            let answer = Client::connect(self.address).and_then(|mut it| it.ask(&["PING"]));
            if matches!(answer, Ok(Reply::Text(_))) {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        bail!("{:?} does not answer within {START_WAIT_MAX:?}", self.kind)
    }

    /// Asks over a connection of its own.
    pub(super) fn ask(&self, words: &[&str]) -> Result<Reply> {
        Ok(Client::connect(self.address)?.ask(words)?)
    }

    fn launch(&self) -> Result<Child> {
        let port = self.address.port().to_string();
        let log = std::fs::File::create(self.directory.join("log"))?;
        let data = self.directory.join("data");
        std::fs::create_dir_all(&data)?;
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Levada => command.args(["serve", "--port", &port]),
            Kind::Valkey => command
                .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
                .args(["--appendonly", "yes", "--appendfsync", "always"]),
        };
        let command = command.arg("--dir").arg(data).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).spawn().context("the server cannot be started")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about a failure here.
        let _ = self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
