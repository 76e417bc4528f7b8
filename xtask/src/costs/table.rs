//! `tests/costs.txt`: what each operation may cost at most.

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};

use super::workload::OPERATIONS;
use crate::workspace;

/// What is counted, per round of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Calls of the allocator that take memory, growing included.
    Allocations,
    /// Bytes that they take.
    Bytes,
    /// Reads and writes of files: a batch is one write of the log, with its sync.
    FileCalls,
}

/// Their names in the table.
const MEASURES: [(Measure, &str); 3] = [
    (Measure::Allocations, "allocations"),
    (Measure::Bytes, "bytes"),
    (Measure::FileCalls, "file-calls"),
];

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = MEASURES.iter().find(|(measure, _)| measure == self);
        f.write_str(named.map_or("", |(_, name)| name))
    }
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// The operation.
    pub operation: String,
    /// What is limited.
    pub measure: Measure,
    /// What a round costs.
    pub limit: f64,
    /// By how much it may cost more before that is a regression.
    pub tolerance: f64,
}

/// All of them.
#[derive(Debug)]
pub struct Table(Vec<Limit>);

impl Table {
    /// Reads the table of the workspace.
    pub fn read() -> Result<Self> {
        let path = workspace::root().join("tests/costs.txt");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let lines = (1..).zip(text.lines());
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let limits = lines.map(|(number, line)| {
            Self::line(line).with_context(|| format!("tests/costs.txt, line {number}: {line}"))
        });
        limits.collect::<Result<_>>().map(Self)
    }

    fn line(line: &str) -> Result<Limit> {
        let words: Vec<_> = line.split_whitespace().collect();
        let [operation, measure, limit, tolerance] = words[..] else {
            bail!("an operation, a measure, a limit and a tolerance are wanted");
        };
        ensure!(OPERATIONS.iter().any(|known| known.name == operation), "unknown operation");
        let known = MEASURES.iter().find(|(_, name)| *name == measure);
        Ok(Limit {
            operation: operation.to_owned(),
            measure: known.context("unknown measure")?.0,
            limit: limit.parse()?,
            tolerance: tolerance.parse()?,
        })
    }

    /// Says what an operation cost, beside its limit. An error where it costs too much, or where
    /// nothing limits it.
    pub fn check(&self, operation: &str, measure: Measure, cost: f64) -> Result<String, String> {
        let of_it = |line: &&Limit| line.operation == operation && line.measure == measure;
        let Some(line) = self.0.iter().find(of_it) else {
            return Err(format!("{operation}: {cost:.1} {measure}, and no limit for it"));
        };
        let said = format!(
            "{operation:<22} {measure:<13} {cost:12.1}, limit {} + {}",
            line.limit, line.tolerance
        );
        if cost > line.limit + line.tolerance { Err(said) } else { Ok(said) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_more_than_its_limit_fails() {
        let table = Table::parse("# words\n\nappend allocations 2 0.5\n").expect("a table");
        let check = |cost| table.check("append", Measure::Allocations, cost).is_ok();
        assert!(check(0.0) && check(2.5) && !check(2.6));
        assert!(table.check("append", Measure::Bytes, 0.0).is_err(), "it has no limit");
    }

    #[test]
    fn the_table_names_what_there_is() {
        assert!(Table::parse("apend allocations 2 0.5").is_err());
        assert!(Table::parse("append alocations 2 0.5").is_err());
        assert!(Table::parse("append allocations 2").is_err());
    }
}
