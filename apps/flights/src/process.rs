//! Child processes that never outlive the demo, and the signals it sends them.

use std::process::{Child, Command};

use anyhow::{Context, Result, bail, ensure};

/// A running child. Dropping it kills it and waits for its end.
pub(crate) struct Process {
    /// What it is called in messages; for a worker, its consumer name too.
    pub(crate) name: String,
    child: Child,
}

impl Process {
    /// Starts `command`; its output goes where `command` says.
    pub(crate) fn start(name: &str, command: &mut Command) -> Result<Process> {
        let child = command.spawn().with_context(|| {
            format!("cannot start {name} as {}", command.get_program().display())
        })?;
        Ok(Process { name: name.to_owned(), child })
    }

    /// Fails when the process has ended, which is early for all but the producer.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended early: {status}", self.name);
        }
        Ok(())
    }

    /// Whether the process has ended well; fails when it has ended otherwise.
    pub(crate) fn finished(&mut self) -> Result<bool> {
        match self.child.try_wait()? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => bail!("{} failed: {status}", self.name),
        }
    }

    /// `kill -9`, and waits until the process is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// Freezes the process where it stands.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Lets a frozen process go on.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.signal("-CONT")
    }

    /// The standard library sends SIGKILL only; kill(1) sends the others.
    fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        let status =
            Command::new("kill").args([signal, &pid]).status().context("cannot run kill")?;
        ensure!(status.success(), "kill {signal} {} failed: {status}", self.name);
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a child that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
