//! What the server used: from /proc where its process is on this machine, and from INFO.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::wire::{Client, Value};

/// Longest wait for a rewrite to end.
const REST_MAX: Duration = Duration::from_mins(5);

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process(pub(super) Option<u32>);

/// What was used up to a moment. A figure that cannot be had is `None`.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Usage {
    /// User and system time, that of children included for which the server has waited.
    pub(super) cpu: Option<Duration>,
    /// Resident memory now.
    pub(super) rss_bytes: Option<u64>,
    /// Handed to the block layer, log and metadata of the file system apart.
    pub(super) written_bytes: Option<u64>,
    /// Batches of the log, each of which was synced once; only Levada tells.
    pub(super) commits: Option<u64>,
}

impl Process {
    /// The process given, else the one that INFO names if it is the server on this machine.
    pub(super) fn find(given: Option<u32>, client: &mut Client) -> Result<Self> {
        let told = info(client, "server", "process_id")?.and_then(|id| u32::try_from(id).ok());
        let is_server = |pid: &u32| {
            // Another machine's number may be anybody here: the name must be a server's.
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            ["levada", "redis", "valkey"].iter().any(|known| name.starts_with(known))
        };
        Ok(Self(given.or_else(|| told.filter(is_server))))
    }

    /// Waits until the server rewrites no append-only file: work that the filling has left.
    pub(super) fn rest(client: &mut Client) -> Result<()> {
        let deadline = Instant::now() + REST_MAX;
        loop {
            let rewrites = info(client, "persistence", "aof_rewrite_in_progress")?;
            let scheduled = info(client, "persistence", "aof_rewrite_scheduled")?;
            if rewrites.unwrap_or(0) + scheduled.unwrap_or(0) == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the server still rewrites its append-only file");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What was used until now.
    pub(super) fn usage(self, client: &mut Client) -> Result<Usage> {
        let commits = info(client, "persistence", "levada_last_batch")?;
        let Some(pid) = self.0 else {
            return Ok(Usage { commits, ..Usage::default() });
        };
        Ok(Usage { commits, ..used_by(pid)? })
    }
}

/// What a process of this machine has used until now.
pub(super) fn used_by(pid: u32) -> Result<Usage> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let stat = read("stat").with_context(|| format!("there is no process {pid}"))?;
    // The name in brackets may hold spaces: count behind it. USER_HZ is 100 (proc(5)).
    let fields = stat.rsplit_once(')').context("stat has no name")?.1;
    let ticks = fields.split_whitespace().skip(11).take(4).map(str::parse::<u64>);
    let ticks = ticks.sum::<Result<u64, _>>()?;
    let kilobytes = number_behind(&read("status").unwrap_or_default(), "VmRSS:");
    Ok(Usage {
        cpu: Some(Duration::from_millis(ticks * 10)),
        rss_bytes: kilobytes.map(|kilobytes| kilobytes * 1024),
        written_bytes: number_behind(&read("io").unwrap_or_default(), "write_bytes:"),
        commits: None,
    })
}

/// A number of INFO, if it is there.
fn info(client: &mut Client, section: &str, name: &str) -> Result<Option<u64>> {
    client.ask(&["INFO", section], |value| {
        let Value::Text(text) = value else { return None };
        number_behind(&String::from_utf8_lossy(text), &format!("{name}:"))
    })
}

/// The number behind a name at the start of a line.
fn number_behind(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
