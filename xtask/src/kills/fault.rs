//! The ways in which a round ends.
//!
//! A kill, a power cut and the loss of the data directory come from outside, at a random moment of
//! the load. A limit of open files or of memory stands from the start, and the load is led to it:
//! see [`super::outside`]. The others come from the kernel, as the server sees it: `strace` makes
//! one of its calls fail, kill or wait. It counts calls **per thread**. A round whose fault did not
//! come about has shown nothing and fails.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use xtask::ci::Unable;

use super::outside;

/// All calls by which a server may sync a file.
const SYNCS: &str = "fdatasync,fsync,sync_file_range,msync";
/// All calls by which a server may write to a file at a place.
const WRITES: &str = "pwrite64,pwritev,pwritev2";

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9`, at times followed by another within the recovery, now and then SIGTERM.
    Kill,
    /// Power goes from the medium; see [`super::medium`].
    PowerCut,
    /// One sync fails with EIO.
    SyncError,
    /// The process is killed as it enters a sync.
    SyncKill,
    /// Every sync takes 2 ms longer; the round ends by a kill.
    SlowSync,
    /// One write to a file fails with EIO.
    WriteError,
    /// From one write on, all of them fail with ENOSPC; the round ends by a kill.
    NoSpace,
    /// The data directory is renamed under the server, and back when it has ended.
    DirectoryRenamed,
    /// The data directory is removed under the server, with all that was in it.
    DirectoryRemoved,
    /// The limit of open files is small, and more connections come than it allows.
    FewFiles,
    /// The limit of memory is small, and strings fill it.
    LittleMemory,
}

/// Names on the command line.
pub(crate) const NAMES: [(Fault, &str); 11] = [
    (Fault::Kill, "kill"),
    (Fault::PowerCut, "power-cut"),
    (Fault::SyncError, "sync-error"),
    (Fault::SyncKill, "sync-kill"),
    (Fault::SlowSync, "slow-sync"),
    (Fault::WriteError, "write-error"),
    (Fault::NoSpace, "no-space"),
    (Fault::DirectoryRenamed, "directory-renamed"),
    (Fault::DirectoryRemoved, "directory-removed"),
    (Fault::FewFiles, "few-files"),
    (Fault::LittleMemory, "little-memory"),
];

impl Fault {
    /// Reads a name from the command line.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        if let Some((fault, _)) = NAMES.iter().find(|(_, known)| *known == name) {
            return Ok(*fault);
        }
        let known: Vec<_> = NAMES.iter().map(|(_, name)| *name).collect();
        bail!("unknown fault {name:?}: one of {}", known.join(", "))
    }

    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(fault, _)| *fault == self).map_or("", |row| row.1)
    }

    /// What stands before the server's command line to inject it at the `nth` call; `None` for
    /// faults from outside.
    pub(crate) fn wrapper(self, nth: u64, trace: &Path) -> Option<Vec<String>> {
        let (calls, what) = match self {
            Self::SyncError => (SYNCS, format!("error=EIO:when={nth}")),
            Self::SyncKill => (SYNCS, format!("signal=KILL:when={nth}")),
            Self::SlowSync => (SYNCS, "delay_enter=2000".to_owned()),
            Self::WriteError => (WRITES, format!("error=EIO:when={nth}")),
            Self::NoSpace => (WRITES, format!("error=ENOSPC:when={nth}+")),
            _ => return None,
        };
        // -D leaves the server in the process that was started, so that it can be killed.
        let words = ["strace", "-D", "-f", "-qq", "-o"];
        let mut words: Vec<_> = words.iter().map(ToString::to_string).collect();
        if self != Self::SyncKill {
            // Stops at the calls that are traced only; a signal is not injected with it.
            words.insert(1, "--seccomp-bpf".to_owned());
        }
        words.push(trace.display().to_string());
        words.extend(["-e".to_owned(), format!("trace={calls}")]);
        words.extend(["-e".to_owned(), format!("inject={calls}:{what}")]);
        Some(words)
    }

    /// Whether the server ends by itself where it fires.
    pub(crate) fn ends(self) -> bool {
        matches!(self, Self::SyncError | Self::SyncKill | Self::WriteError)
    }

    /// Whether it fired, by the trace of the round and by how the server ended.
    pub(crate) fn fired(self, trace: &Path, ended_by_itself: bool) -> Result<bool> {
        let text = String::from_utf8_lossy(&std::fs::read(trace)?).into_owned();
        Ok(match self {
            Self::SyncError | Self::WriteError | Self::NoSpace => text.contains("(INJECTED)"),
            Self::SyncKill => ended_by_itself,
            Self::SlowSync => text.contains("(DELAYED)"),
            _ => true,
        })
    }

    /// Fails with [`Unable`], saying what is missing, where this machine cannot make the fault.
    pub(crate) fn check(self) -> Result<()> {
        if matches!(self, Self::FewFiles | Self::LittleMemory) {
            return outside::check_limits();
        }
        if self.wrapper(1, Path::new("")).is_none() {
            return Ok(());
        }
        let strace = Command::new("strace")
            .args(["-qq", "-o", "/dev/null", "--seccomp-bpf", "-f", "-e", "trace=fsync", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match strace {
            Ok(status) if status.success() => Ok(()),
            _ => bail!(Unable("strace is missing or may not trace".to_owned())),
        }
    }
}
