//! The machine: what it is, and what else it does meanwhile.

use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use xtask::workspace;

use super::raw::{Raw, median};

/// How long a look at the processors takes.
const LOOK: Duration = Duration::from_millis(300);
/// A machine is quiet when others use less than this share of it.
const QUIET_MAX: f64 = 0.1;
/// So many looks in a row must say so.
const QUIET_LOOKS: u32 = 5;
/// Longest wait for a quiet machine.
const WAIT_MAX: Duration = Duration::from_mins(30);
/// The probe of the disk: so many syncs, each of a page.
const PROBES: u64 = 200;
const PAGE: usize = 4096;

/// What others do on the machine while our servers idle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    /// Load average of the last minute.
    pub(super) load: f64,
    /// Share of all processors that is in use, from 0 to 1.
    pub(super) busy: f64,
    /// Median time of a page's write and sync, to a file that does not grow, in microseconds.
    pub(super) sync_us: f64,
}

impl Weather {
    /// Looks, for about half a second.
    pub(super) fn look() -> Result<Self> {
        Ok(Self { load: load()?, busy: busy()?, sync_us: probe()? })
    }

    /// Whether figures are worth keeping.
    pub(super) fn is_quiet(self) -> bool {
        self.busy < QUIET_MAX
    }
}

/// Waits until others let the machine alone; says so if they do not within half an hour.
pub(super) fn wait_until_quiet() -> Result<()> {
    let deadline = Instant::now() + WAIT_MAX;
    let (mut quiet, mut said) = (0, false);
    while quiet < QUIET_LOOKS {
        quiet = if busy()? < QUIET_MAX { quiet + 1 } else { 0 };
        if Instant::now() > deadline {
            println!("the machine is not quiet: going on after {WAIT_MAX:?}");
            return Ok(());
        }
        if quiet == 0 && !said {
            println!("others use the machine: waiting");
            said = true;
        }
    }
    Ok(())
}

fn load() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    text.split(' ').next().unwrap_or_default().parse().context("/proc/loadavg")
}

fn busy() -> Result<f64> {
    let before = ticks()?;
    std::thread::sleep(LOOK);
    let after = ticks()?;
    let (used, all) = (after.0 - before.0, after.1 - before.1);
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = used as f64 / all.max(1) as f64;
    Ok(share)
}

/// Used and all ticks of the processors (proc(5): the fourth and the fifth are idle).
fn ticks() -> Result<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1).take(8).map(str::parse::<u64>);
    let ticks = ticks.collect::<Result<Vec<_>, _>>().context("/proc/stat")?;
    let all: u64 = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Ok((all - idle, all))
}

/// Where the servers' data are, too.
fn probe() -> Result<f64> {
    let path = std::env::temp_dir().join(format!("levada-probe-{}", std::process::id()));
    let measured = probe_at(&path);
    std::fs::remove_file(&path)?;
    measured
}

fn probe_at(path: &std::path::Path) -> Result<f64> {
    let file = std::fs::File::create(path)?;
    file.write_all_at(&vec![0; PAGE * usize::try_from(PROBES)?], 0)?;
    file.sync_all()?;
    let sync = |number: u64| -> Result<f64> {
        let start = Instant::now();
        file.write_all_at(&[1; PAGE], number * PAGE as u64)?;
        file.sync_data()?;
        Ok(start.elapsed().as_secs_f64() * 1e6)
    };
    let times = (0..PROBES).map(sync).collect::<Result<Vec<_>>>()?;
    median(times).context("there are probes")
}

/// Writes down what the machine is.
pub(super) fn describe(raw: &mut Raw, case: &str) -> Result<()> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
    let models: Vec<&str> =
        cpu.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let model =
        models.first().map_or("of unknown model", |model| model.trim_matches([' ', '\t', ':']));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let memory = memory.lines().next().unwrap_or_default().trim_start_matches("MemTotal:");
    let words = format!(
        "{} cores; {model}; Linux {}; memory {}",
        models.len(),
        kernel.trim(),
        memory.trim()
    );
    raw.add(case, "machine", 0, "machine", &words);
    raw.add(case, "machine", 0, "date", &printed("date", &["-u", "+%Y-%m-%d %H:%M"])?);
    raw.add(case, "machine", 0, "commit", &commit()?);
    Ok(())
}

/// What was built, and whether it was changed since.
pub(super) fn commit() -> Result<String> {
    let commit = printed("git", &["rev-parse", "--short", "HEAD"])?;
    let changed = printed("git", &["status", "--porcelain", "--", "crates", "Cargo.lock"])?;
    Ok(if changed.is_empty() { commit } else { commit + " and changes" })
}

fn printed(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(workspace::root()).output();
    let output = output.with_context(|| format!("{program} cannot be started"))?;
    anyhow::ensure!(output.status.success(), "{program} fails: {output:?}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
