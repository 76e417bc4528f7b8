//! Child processes that never outlive the demo, and the signals it sends them.

use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// A running child. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Process {
    /// What it is called in messages; for a worker, its consumer name too.
    pub name: String,
    child: Child,
}

impl Process {
    /// Starts `command`; its output goes where `command` says.
    pub fn start(name: &str, command: &mut Command) -> Result<Process> {
        let child = command.spawn().with_context(|| {
            format!("cannot start {name} as {}", command.get_program().display())
        })?;
        Ok(Process { name: name.to_owned(), child })
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails when the process has ended, which is early for all but the producer.
    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended early: {status}", self.name);
        }
        Ok(())
    }

    /// Whether the process has ended well; fails when it has ended otherwise.
    pub fn finished(&mut self) -> Result<bool> {
        match self.child.try_wait()? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => bail!("{} failed: {status}", self.name),
        }
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the process to end (SIGTERM) and waits for that; fails when it ends otherwise than
    /// well, or not within `limit`.
    pub fn stop(&mut self, limit: Duration) -> Result<()> {
        self.signal("-TERM")?;
        let what = format!("{} ends", self.name);
        crate::until(&what, limit, || Ok(self.finished()?.then_some(())))
    }

    /// Freezes the process where it stands.
    pub fn freeze(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> Process {
        Process::start("it", Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn how_a_process_ended_is_told() {
        let limit = Duration::from_mins(1);
        let mut well = start("exit 0");
        crate::until("its end", limit, || Ok(well.finished()?.then_some(()))).unwrap();
        assert!(well.check_running().is_err());
        let mut badly = start("exit 3");
        let end = crate::until("its end", limit, || Ok(badly.finished()?.then_some(())));
        assert!(end.is_err());
        let mut asked = start("trap 'exit 0' TERM; echo; while :; do sleep 0.01; done");
        // It may not have set its trap yet: then it ends as one that has none.
        let _ = asked.stop(limit);
        assert!(asked.check_running().is_err());
    }
}
