//! Runs `levada import` and `levada export`, and measures: time, and the most memory it held.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

/// The program.
pub(crate) struct Tool {
    pub(crate) program: PathBuf,
}

impl Tool {
    /// Runs it to its end and prints what it took. An error where it finds a difference.
    pub(crate) fn run(&self, what: &str, arguments: &[&str]) -> Result<()> {
        self.watch(what, arguments, u64::MAX)
    }

    /// Kills it as soon as it has moved so many entries.
    pub(crate) fn kill_after(&self, what: &str, arguments: &[&str], entries: u64) -> Result<()> {
        self.watch(what, arguments, entries)
    }

    fn watch(&self, what: &str, arguments: &[&str], entries_max: u64) -> Result<()> {
        let start = Instant::now();
        let mut child = Command::new(&self.program)
            .args(arguments)
            .arg("--json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("levada cannot be started")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let (mut memory, mut moved, mut last) = (0, 0, String::new());
        for line in BufReader::new(stdout).lines() {
            last = line?;
            // The kernel's mark only rises, so that the last look has the most.
            memory = peak_memory(&child).unwrap_or(memory);
            moved = entries_moved(&last).unwrap_or(moved);
            if moved >= entries_max {
                break;
            }
        }
        let killed = moved >= entries_max;
        if killed {
            child.kill()?;
        }
        let status = child.wait()?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{what:>24}: {seconds:6.1} s, {moved} entries moved, {} MiB at most",
            memory >> 20
        );
        ensure!(killed || status.success(), "{what}: {status}, its last word:\n{last}");
        Ok(())
    }
}

/// The most memory it held until now, in bytes; `None` once it is gone.
fn peak_memory(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// The count in a line that tells of progress.
fn entries_moved(line: &str) -> Option<u64> {
    let behind = line.split_once("\"entries\":")?.1;
    let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
    line.contains("\"event\":\"progress\"").then(|| behind[..digits].parse().ok())?
}
