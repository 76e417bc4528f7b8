//! A server under test: where its binary comes from, its start, its `kill -9`, its restart.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::process::Process;
use crate::{free_port, until};

/// A server that does not answer for this long after its start is an error.
const READY_MAX: Duration = Duration::from_mins(1);
/// Longest wait for an answer to a ping.
const PING_WAIT_MAX: Duration = Duration::from_secs(5);

/// Whether the server at a port answers; the error says why not.
type Answers = Box<dyn Fn(u16) -> Result<()> + Send>;

/// A server on a free port of 127.0.0.1. Dropping it kills it.
pub struct Server {
    /// Shell command with the placeholders `{port}` and `{dir}`.
    template: String,
    dir: PathBuf,
    port: u16,
    answers: Answers,
    process: Process,
}

impl Server {
    /// Starts the server on the empty directory `run`/server and waits until it `answers`. Its
    /// output is in `run`/server.log.
    ///
    /// `template` is a shell command with the placeholders `{port}` and `{dir}`, for instance
    /// that of [`levada_command`].
    pub fn start(
        template: &str,
        run: &Path,
        answers: impl Fn(u16) -> Result<()> + Send + 'static,
    ) -> Result<Server> {
        let port = free_port()?;
        let dir = run.join("server");
        std::fs::create_dir(&dir)?;
        let process = spawn(template, port, &dir)?;
        let (template, answers) = (template.to_owned(), Box::new(answers));
        let mut server = Server { template, dir, port, answers, process };
        server.wait_ready()?;
        Ok(server)
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same port and data, and returns the time from start to answer.
    pub fn restart(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.process = spawn(&self.template, self.port, &self.dir)?;
        self.wait_ready()?;
        Ok(started.elapsed())
    }

    /// Fails when the server has ended by itself.
    pub fn check_running(&mut self) -> Result<()> {
        self.process.check_running().context("its output is in server.log")
    }

    fn wait_ready(&mut self) -> Result<()> {
        let mut last = None;
        let ready = until("the server answers", READY_MAX, || {
            self.check_running()?;
            last = (self.answers)(self.port).err();
            Ok(last.is_none().then_some(()))
        });
        match last {
            Some(error) => ready.context(error),
            None => ready,
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("dir", &self.dir).finish_non_exhaustive()
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

/// Whether the server at a port answers PING; for [`Server::start`], where there is no client.
pub fn answers_ping(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PING_WAIT_MAX))?;
    stream.write_all(b"PING\r\n")?;
    let mut said = [0; 7];
    stream.read_exact(&mut said)?;
    ensure!(said == *b"+PONG\r\n", "PING was answered by {}", said.escape_ascii());
    Ok(())
}

/// The command that runs Levada: built when cargo runs the demo, else found beside the demo.
pub fn levada_command() -> Result<String> {
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
    // <target>/<profile>/<demo>: the profiles lie side by side.
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
