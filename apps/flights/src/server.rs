//! The server under test: where its binary comes from, its start, its `kill -9`, its restart.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use redis::Client;

use crate::client;
use crate::process::Process;

/// A server that does not answer for this long after its start is an error.
const READY_MAX: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(2);

/// A server on a free port of 127.0.0.1. Dropping it kills it.
pub(crate) struct Server {
    /// Shell command with the placeholders `{port}` and `{dir}`.
    template: String,
    dir: PathBuf,
    port: u16,
    process: Process,
}

impl Server {
    /// Starts the server on an empty data directory under `run` and waits for its PONG.
    pub(crate) fn start(template: &str, run: &Path) -> Result<Server> {
        // The port is free when the listener closes; nothing else here asks for one.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let dir = run.join("server");
        std::fs::create_dir(&dir)?;
        let process = spawn(template, port, &dir)?;
        let mut server = Server { template: template.to_owned(), dir, port, process };
        server.wait_ready()?;
        Ok(server)
    }

    /// The address for clients.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same port and data, and returns the time from start to PONG.
    pub(crate) fn restart(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.process = spawn(&self.template, self.port, &self.dir)?;
        self.wait_ready()?;
        Ok(started.elapsed())
    }

    /// Fails when the server has ended by itself.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        self.process.check_running().context("its output is in server.log")
    }

    fn wait_ready(&mut self) -> Result<()> {
        let client = Client::open(self.url())?;
        let started = Instant::now();
        while let Err(error) = client::attempt(&client) {
            self.check_running()?;
            ensure!(started.elapsed() < READY_MAX, "the server does not answer PING: {error}");
            thread::sleep(POLL);
        }
        Ok(())
    }
}

fn spawn(template: &str, port: u16, dir: &Path) -> Result<Process> {
    let command = template
        .replace("{port}", &port.to_string())
        .replace("{dir}", &quoted(&dir.to_string_lossy()));
    let log = OpenOptions::new().create(true).append(true).open(dir.with_extension("log"))?;
    // With exec, the process to kill is the server and not a shell around it.
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec {command}")).stdout(log.try_clone()?).stderr(log);
    Process::start("server", &mut shell)
}

/// The command that runs Levada: built when cargo runs the demo, else found beside the demo.
pub(crate) fn levada_command() -> Result<String> {
    let beside = std::env::current_exe()?.with_file_name("levada");
    let Some(cargo) = std::env::var_os("CARGO") else {
        ensure!(beside.exists(), "{} is missing; --server-command names another", beside.display());
        return Ok(serve(&beside));
    };
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "levada-cli"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "levada does not build: {status}");
    // <target>/<profile>/flights: the profiles lie side by side.
    let target =
        beside.ancestors().nth(2).context("the demo does not lie in a target directory")?;
    Ok(serve(&target.join("release").join("levada")))
}

fn serve(binary: &Path) -> String {
    format!("{} serve --port {{port}} --dir {{dir}}", quoted(&binary.to_string_lossy()))
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_is_one_word_to_the_shell() -> Result<()> {
        let word = "it's $HOME; \"here\"";
        let script = format!("printf %s {}", quoted(word));
        let output = Command::new("sh").arg("-c").arg(script).output()?;
        assert_eq!(String::from_utf8(output.stdout)?, word);
        Ok(())
    }
}
