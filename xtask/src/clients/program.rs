//! Runs one program of a client against the server, for a bounded time.
//!
//! A program prints `ok NAME` for each check that held and ends with 0 if all did. One that says
//! nothing has checked nothing, and counts as failed.

use std::fmt;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::workspace;

/// Longest time for one program; an ordinary one takes one to three seconds.
const RUN_MAX: Duration = Duration::from_mins(2);

/// What became of a program.
#[derive(Debug)]
pub(super) enum Verdict {
    /// All of so many checks held.
    Passed { checks: usize },
    /// Some check did not hold, or there was none, or the time ran out.
    Failed { output: String },
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed { checks } => write!(formatter, "{checks} ok"),
            Self::Failed { .. } => formatter.write_str("FAILED"),
        }
    }
}

/// Runs the program with HOST PORT PROTOCOL; GUIDE names the directory of the guide's pages.
pub(super) fn run(mut command: Command, address: SocketAddr, protocol: u8) -> Result<Verdict> {
    // A file takes all that is printed, also by a program that is ended at its limit.
    let path = std::env::temp_dir().join(format!("levada-client-{}", std::process::id()));
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    let mut child = command
        .arg(address.ip().to_string())
        .args([address.port().to_string(), protocol.to_string()])
        .env("GUIDE", workspace::root().join("docs"))
        .stdin(Stdio::null())
        .stderr(file.try_clone()?)
        .stdout(file)
        .spawn()
        .with_context(|| format!("{command:?} cannot be started"))?;
    let ended = wait(&mut child)?;
    let output = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
    fs::remove_file(&path)?;
    Ok(judge(ended, &output))
}

/// Waits for the end; `None` if the time ran out and the program was ended.
fn wait(child: &mut Child) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + RUN_MAX;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn judge(ended: Option<ExitStatus>, output: &str) -> Verdict {
    let checks = output.lines().filter(|line| line.starts_with("ok ")).count();
    match ended {
        Some(status) if status.success() && checks > 0 => Verdict::Passed { checks },
        Some(status) => Verdict::Failed { output: format!("{output}{status}") },
        None => Verdict::Failed { output: format!("{output}ended after {RUN_MAX:?}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Verdict {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, SocketAddr::from(([127, 0, 0, 1], 1)), 2).unwrap()
    }

    #[test]
    fn a_program_passes_only_with_checks_and_status_0() {
        assert!(matches!(shell("echo ok one; echo ok two"), Verdict::Passed { checks: 2 }));
        assert!(matches!(shell("true"), Verdict::Failed { .. }));
        assert!(matches!(shell("echo ok one; exit 1"), Verdict::Failed { .. }));
    }
}
