//! Cases of `levada bench`, also on servers whose syncs are slow.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Sample;
use super::case::{Case, How, Run};
use super::rig::{Rig, START_MAX};
use crate::kills::fault::Fault;
use crate::kills::server::{Kind, Server};

/// Fewer slow syncs in a measurement show that they were not met.
const SLOW_MIN: usize = 10;

/// Runs the load generator against a server, which it empties.
pub(super) fn run(program: &Path, server: &Server, runs: &[Run], small: bool) -> Result<Sample> {
    let mut sample = Sample::new();
    for one in runs {
        let csv = server.directory().join("bench.csv");
        let words = if small { one.small } else { one.words };
        let mut command = Command::new(program);
        command.args(["bench", "--flush", "--url"]).arg(format!("redis://{}", server.address()));
        command.args(["--pid", &server.process()?.to_string()]).args(words.split(' '));
        let table = Table::written_by(&mut command, &csv)?;
        for (row, column, figure) in one.takes {
            let value = table.figure(row, column);
            let value =
                value.with_context(|| format!("levada bench tells no {column} of {row}"))?;
            sample.push((figure, value));
        }
    }
    Ok(sample)
}

/// What the device alone comes to where servers have their data, on their core: for requests, one
/// after the other; for messages, what they would wait.
pub(super) fn disk(rig: &Rig, case: &Case, small: bool) -> Result<Sample> {
    let row = if matches!(case.how, How::Append { .. }) { "disk" } else { "disk-wait" };
    let place = rig.idle(Kind::Levada)?;
    let csv = place.directory().join("bench.csv");
    let mut command = rig.on_core_of_servers(rig.bench());
    command.args(["bench", "--disk"]).arg(place.directory());
    command.args(["--seconds", if small { "0.2" } else { "5" }]);
    let table = Table::written_by(&mut command, &csv)?;
    let figure = |name: &&'static str| {
        let value = table.figure(row, name).with_context(|| format!("no {name} of {row}"))?;
        Ok((*name, value))
    };
    case.figures.iter().map(figure).collect()
}

/// As [`run`], on a server of its own, each of whose syncs takes 2 ms longer.
pub(super) fn slow(rig: &Rig, kind: Kind, runs: &[Run], small: bool) -> Result<Sample> {
    let mut server = rig.idle(kind)?;
    let trace = server.directory().join("trace");
    let wrapper = Fault::SlowSync.wrapper(0, &trace).context("slow syncs are injected")?;
    server.set_wrapper(wrapper);
    server.restart(START_MAX)?;
    let sample = run(rig.bench(), &server, runs, small)?;
    server.kill()?;
    let fired = std::fs::read_to_string(&trace)?.matches("(DELAYED)").count();
    ensure!(fired >= SLOW_MIN, "only {fired} syncs were made slow");
    Ok(sample)
}

/// What the load generator wrote.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Runs the load generator to its end.
    fn written_by(command: &mut Command, csv: &Path) -> Result<Self> {
        let output = command.arg("--csv").arg(csv).output();
        let output = output.context("levada bench cannot be started")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{command:?} fails: {said}");
        Ok(Self::parse(&std::fs::read_to_string(csv)?))
    }

    fn parse(text: &str) -> Self {
        let row = |line: &str| line.split(',').map(str::to_owned).collect();
        Self { rows: text.lines().map(row).collect() }
    }

    /// A figure of a row; `growth_each` is the growth of the memory for each that was counted.
    fn figure(&self, row: &str, column: &str) -> Option<f64> {
        if column == "growth_each" {
            return Some(self.figure(row, "rss_growth_bytes")? / self.figure(row, "count")?);
        }
        let at = self.rows.first()?.iter().position(|name| name == column)?;
        let row = self.rows.iter().find(|one| one.first().is_some_and(|name| name == row))?;
        row.get(at)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_row_and_column() {
        let table = Table::parse("case,count,rss_growth_bytes\none,4,\ntwo,5,100\n");
        assert_eq!(table.figure("two", "growth_each"), Some(20.0));
        assert_eq!(table.figure("one", "count"), Some(4.0));
        assert_eq!(table.figure("one", "growth_each"), None);
        assert_eq!(table.figure("three", "count"), None);
    }
}
