//! A shell in a directory of its own, with a levada behind it.
//!
//! Commands of a page work as they stand for a reader; here they must not reach a server that
//! somebody else runs. The first directory of the path has programs that see to that: `levada` and
//! `redis-cli` with our port, and `pidof levada` that knows our server alone. Ports that pages name
//! for TLS, for HTTP and for the dashboard are replaced by free ones, and so are the servers
//! `old:6379`, a Redis, and `other:6379`, one that is empty, which run where a page names them.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use stage::{Directory, answers_ping, until};

use crate::ci::{self, Outcome};
use crate::peer::{Peer, free_port};
use crate::peers::Version;

/// A server that does not answer for this long after its start is an error.
const READY_MAX: Duration = Duration::from_mins(1);
/// Longest wait for the end of a process that was killed.
const END_MAX: Duration = Duration::from_secs(20);
/// How often another port is tried when the chosen one was taken meanwhile.
const ATTEMPTS_MAX: u32 = 3;

/// `levada serve` goes on behind the command that started it, and begins when the one before has
/// let go of data and port: a process that was killed loses its program before its files, and those
/// go with the last of its threads.
const LEVADA: &str = r#"#!/bin/sh
has_ended() {
    [ ! -d "/proc/$1" ] && return
    grep -q "^State:.Z" "/proc/$1/status" && [ "$(ls "/proc/$1/task" | wc -l)" -le 1 ]
} 2> /dev/null
if [ "$1" = serve ]; then
    if [ -f "$GUIDE/pid" ]; then
        until has_ended "$(cat "$GUIDE/pid")"; do sleep 0.01; done
    fi
    echo $$ > "$GUIDE/pid"
    exec "$GUIDE_LEVADA" "$@" >> "$GUIDE/log" 2>&1
fi
echo $$ >> "$GUIDE/others"
if [ "$1" = dashboard ]; then
    exec "$GUIDE_LEVADA" "$@" >> "$GUIDE/log" 2>&1
fi
exec "$GUIDE_LEVADA" "$@"
"#;
/// Ports that pages name, beside that of the server itself.
const PORTS: [&str; 3] = ["6380", "8379", "9121"];
/// Other servers that pages name.
const OTHERS: [&str; 2] = ["old:6379", "other:6379"];
const REDIS_CLI: &str =
    "#!/bin/sh\nexec \"$GUIDE_REDIS_CLI\" -p \"$LEVADA_PORT\" --no-raw \"$@\"\n";
const PIDOF: &str = "#!/bin/sh\ncat \"$GUIDE/pid\"\n";

/// See the module. Dropped, it ends the server.
pub(super) struct Session {
    work: Option<Directory>,
    levada: PathBuf,
    port: u16,
    /// What stands in a page, and what in its place.
    ports: Vec<(&'static str, u16)>,
    others: Vec<(&'static str, Peer)>,
}

impl Session {
    /// Starts a server with nothing in it.
    pub(super) fn start(levada: &Path) -> Result<Self> {
        let levada = levada.canonicalize().with_context(|| levada.display().to_string())?;
        let mut failure = None;
        for _ in 0..ATTEMPTS_MAX {
            let work = Directory::new("levada-guide")?;
            for (name, text) in [("levada", LEVADA), ("redis-cli", REDIS_CLI), ("pidof", PIDOF)] {
                let path = work.path().join("bin").join(name);
                fs::create_dir_all(work.path().join("bin"))?;
                fs::write(&path, text)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
            fs::create_dir(work.path().join("home"))?;
            let port = free_port()?;
            let ports = PORTS.iter().map(|name| Ok((*name, free_port()?)));
            let ports = ports.collect::<Result<_>>()?;
            let (levada, others) = (levada.clone(), Vec::new());
            let mut session = Self { work: Some(work), levada, port, ports, others };
            match session.run("levada serve &\n") {
                Ok(_) => return Ok(session),
                Err(error) => failure = Some(error),
            }
            session.end()?;
        }
        Err(failure.context("it was tried")?)
    }

    /// Starts the servers that the scripts name beside our own.
    pub(super) fn start_others<'a>(
        &mut self,
        mut scripts: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<Outcome> {
        for name in OTHERS {
            if !scripts.clone().any(|script| script.contains(name)) {
                continue;
            }
            let installed = Version::ALL.into_iter().find_map(|it| Peer::real(it).transpose());
            match installed.transpose()? {
                Some(peer) => self.others.push((name, peer)),
                None => return ci::lacking("no redis-server is installed: cargo xtask peers"),
            }
        }
        let known = ["localhost", "127.0.0.1"].map(|host| format!("{host}:6379"));
        let strays = |script: &str| known.iter().any(|name| script.contains(name));
        ensure!(!scripts.any(strays), "a page names the port of somebody's server: leave it out");
        Ok(Outcome::Passed)
    }

    /// Runs commands to their end; answers what they print. They must end well.
    pub(super) fn run(&mut self, script: &str) -> Result<String> {
        let mut here = script.to_owned();
        for (name, peer) in &self.others {
            here = here.replace(name, &peer.address.to_string());
        }
        for (name, port) in &self.ports {
            here = here.replace(name, &port.to_string());
        }
        let output = self.shell().arg(format!("exec 2>&1\n{here}")).output()?;
        let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
        for (name, peer) in &self.others {
            printed = printed.replace(&peer.address.to_string(), name);
        }
        for (name, port) in &self.ports {
            printed = printed.replace(&port.to_string(), name);
        }
        ensure!(output.status.success(), "{} after printing\n{printed}", output.status);
        if script.contains("levada serve") && !script.contains("--port 0 ") {
            self.wait_ready()?;
        }
        if script.lines().any(|line| line.contains(" &") && !line.contains("&&")) {
            for (name, port) in self.ports.iter().filter(|(name, _)| script.contains(name)) {
                let connects = || Ok(TcpStream::connect(("127.0.0.1", *port)).ok());
                until("a port that the page names is open", READY_MAX, connects)
                    .with_context(|| format!("{name}: {}", self.log()))?;
            }
        }
        Ok(printed)
    }

    /// What servers have said.
    fn log(&self) -> String {
        fs::read_to_string(self.place().join("log")).unwrap_or_default()
    }

    fn shell(&self) -> Command {
        let work = self.place();
        let mut shell = Command::new("sh");
        shell.args(["-eu", "-c"]).current_dir(work.join("home")).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LEVADA_") {
                shell.env_remove(name);
            }
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let ours = std::iter::once(work.join("bin"));
        let before = std::env::join_paths(ours.chain(std::env::split_paths(&path)));
        shell.env("PATH", before.unwrap_or(path.clone()));
        let mut places = std::env::split_paths(&path).map(|place| place.join("redis-cli"));
        let redis_cli = places.find(|place| place.is_file()).unwrap_or_default();
        shell.env("GUIDE", work).env("GUIDE_LEVADA", &self.levada);
        shell.env("GUIDE_REDIS_CLI", redis_cli).env("LEVADA_PORT", self.port.to_string());
        shell.env("LEVADA_URL", format!("redis://127.0.0.1:{}", self.port));
        shell
    }

    /// The shell has ended before its server has even begun: what is waited for is its answer.
    fn wait_ready(&self) -> Result<()> {
        let ready = until("the server answers", READY_MAX, || {
            let has_ended = self.pid().is_some_and(|pid| !is_running(pid));
            ensure!(!has_ended, "the server has ended:\n{}", self.log());
            Ok(answers_ping(self.port).is_ok().then_some(()))
        });
        ready.context("levada serve")
    }

    fn place(&self) -> &Path {
        self.work.as_ref().map_or(Path::new("/nonexistent"), Directory::path)
    }

    fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.place().join("pid")).ok()?.trim().parse().ok()
    }

    /// Ends the server and removes all that the page made.
    pub(super) fn end(mut self) -> Result<()> {
        self.kill();
        self.work.take().map_or(Ok(()), Directory::remove)
    }

    /// Kills our server, and what else goes on, by their numbers, if they are still what has them.
    fn kill(&self) {
        let others = fs::read_to_string(self.place().join("others")).unwrap_or_default();
        let others = others.lines().filter_map(|pid| pid.parse().ok());
        for pid in self.pid().into_iter().chain(others) {
            let program = || fs::read_link(format!("/proc/{pid}/exe")).ok();
            if program().is_some_and(|program| program == self.levada) {
                // An error has nowhere to go: it may have ended just now.
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
                let _ = until("it ends", END_MAX, || Ok((!is_running(pid)).then_some(())));
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process is there and is more than a number that nobody has asked for yet.
fn is_running(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}
