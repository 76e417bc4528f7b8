//! What was measured, as a page: the machine, the commands, the medians, and the rows that we
//! lose in bold.

use std::fmt::{Display, Formatter, Write as _};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Sample;
use crate::kills::server::Kind;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// XADD by redis-benchmark.
    Append { clients: u32, pipeline: u32 },
    /// XREADGROUP and XACK by our client.
    Consume,
}

impl Case {
    /// XADD by this many connections, each with this many requests under way.
    pub(super) const fn append(clients: u32, pipeline: u32) -> Self {
        Self::Append { clients, pipeline }
    }
}

impl Display for Case {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Self::Append { clients, pipeline } => format!("XADD c={clients} P={pipeline}"),
            Self::Consume => "XREADGROUP 100 + XACK 100".to_owned(),
        };
        formatter.pad(&name)
    }
}

/// All samples of a run.
#[derive(Debug)]
pub(super) struct Report {
    servers: Vec<Kind>,
    rounds: usize,
    seconds: u32,
    load: f64,
    /// By case, in the order of their first sample, and by server.
    rows: Vec<(Case, Vec<Vec<Sample>>)>,
}

impl Report {
    /// An empty report; `load` is the load average before the run.
    pub(super) fn new(servers: &[Kind], rounds: usize, seconds: u32, load: f64) -> Self {
        Self { servers: servers.to_vec(), rounds, seconds, load, rows: Vec::new() }
    }

    /// Adds a sample of the server at `index`.
    pub(super) fn record(&mut self, case: Case, index: usize, sample: Sample) {
        let known = self.rows.iter().position(|(known, _)| *known == case);
        let row = known.unwrap_or(self.rows.len());
        if known.is_none() {
            self.rows.push((case, vec![Vec::new(); self.servers.len()]));
        }
        self.rows[row].1[index].push(sample);
    }

    /// The page.
    pub(super) fn markdown(&self) -> Result<String> {
        let mut page = String::from(INTRODUCTION);
        self.machine(&mut page)?;
        page.push_str("\n| case |");
        for kind in &self.servers {
            write!(page, " {0}, per s | {0}, CPU us |", kind.name())?;
        }
        page.push_str(" spread |\n|---|");
        page.push_str(&"---:|".repeat(self.servers.len() * 2 + 1));
        page.push('\n');
        for (case, samples) in &self.rows {
            self.row(&mut page, *case, samples)?;
        }
        self.noise(&mut page)?;
        Ok(page)
    }

    fn row(&self, page: &mut String, case: Case, samples: &[Vec<Sample>]) -> Result<()> {
        let rates: Vec<f64> = samples.iter().map(|of| median(of, |one| one.rate)).collect();
        let costs: Vec<f64> = samples.iter().map(|of| median(of, |one| one.cpu)).collect();
        let ours = self.servers.iter().position(|kind| *kind == Kind::Levada);
        let lost = ours.is_some_and(|ours| rates.iter().any(|rate| *rate > rates[ours]));
        let bold = if lost { "**" } else { "" };
        write!(page, "| {bold}{case}{bold} |")?;
        for (rate, cost) in rates.iter().zip(&costs) {
            write!(page, " {bold}{rate:.0}{bold} | {bold}{cost:.2}{bold} |")?;
        }
        let spread = samples.iter().map(|of| spread(of)).fold(0.0, f64::max);
        writeln!(page, " {spread:.0} % |")?;
        Ok(())
    }

    fn machine(&self, page: &mut String) -> Result<()> {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
        let models = cpu.lines().filter_map(|line| line.strip_prefix("model name"));
        let models: Vec<_> = models.map(|model| model.trim_matches([' ', '\t', ':'])).collect();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        writeln!(
            page,
            "- Machine: {} cores, {}, Linux {}.\n- Versions: levada {}; {}; {}.",
            models.len(),
            models.first().copied().unwrap_or("of unknown model"),
            kernel.trim(),
            env!("CARGO_PKG_VERSION"),
            first_line("redis-server")?,
            first_line("redis-benchmark")?
        )?;
        writeln!(
            page,
            "- Medians of {} interleaved rounds of about {} s for each case and server.",
            self.rounds, self.seconds
        )?;
        Ok(())
    }

    fn noise(&self, page: &mut String) -> Result<()> {
        writeln!(
            page,
            "\nNoise: the last column is the widest spread of a server's rates in that row, \
             (highest - lowest) / median; a difference smaller than it says nothing. The load \
             average was {:.2} before and {:.2} after the run, which causes a load of about 2 \
             itself. A shared or virtual disk moves every figure that waits for a flush.",
            self.load,
            load()?
        )?;
        Ok(())
    }
}

const INTRODUCTION: &str = "\
# Benchmarks

Written by `cargo xtask compare`. Rows in which one of the others has the higher rate are bold.

- levada as it is by default: a reply means that the entry is on disk. Redis with `--appendonly yes
  --save \"\"` and `appendfsync always` (the same promise) or `everysec` (a power cut loses up to
  about a second of acknowledged entries). All else is default.
- XADD: `redis-benchmark -c C -P P -n N -q --csv XADD s '*' f <100 bytes>`.
- XREADGROUP 100 + XACK 100: one connection of our own client sends the XACK of a batch together
  with the next XREADGROUP; rates and CPU are per message. The client takes part of that time, so
  compare the CPU.
- CPU: user and system time of the server from `/proc/PID/stat`, per request. All servers run all
  the time, on core 0, the client on core 1; each measurement begins with FLUSHALL.
";

/// The load average of the last minute.
pub(super) fn load() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().context("/proc/loadavg")
}

fn first_line(program: &str) -> Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("{program} cannot be started"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The middle value, or the mean of the two in the middle.
fn median(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 if values.is_empty() => f64::NAN,
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// (highest - lowest) / median of the rates, in percent.
fn spread(samples: &[Sample]) -> f64 {
    let rates = || samples.iter().map(|sample| sample.rate);
    let (lowest, highest) = (rates().fold(f64::MAX, f64::min), rates().fold(0.0, f64::max));
    (highest - lowest) * 100.0 / median(samples, |sample| sample.rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_we_lose_are_bold_and_only_these() {
        let servers = [Kind::Levada, Kind::REDIS_ALWAYS];
        let mut report = Report::new(&servers, 3, 1, 0.0);
        for rate in [9.0, 1.0, 10.0] {
            report.record(Case::append(1, 1), 0, Sample { rate, cpu: 2.0 });
        }
        report.record(Case::append(1, 1), 1, Sample { rate: 8.0, cpu: 1.0 });
        report.record(Case::Consume, 0, Sample { rate: 5.0, cpu: 1.0 });
        report.record(Case::Consume, 1, Sample { rate: 6.0, cpu: 1.0 });
        let mut page = String::new();
        for (case, samples) in &report.rows {
            report.row(&mut page, *case, samples).expect("written");
        }
        assert_eq!(
            page,
            "| XADD c=1 P=1 | 9 | 2.00 | 8 | 1.00 | 100 % |\n\
             | **XREADGROUP 100 + XACK 100** | **5** | **1.00** | **6** | **1.00** | 0 % |\n"
        );
    }
}
