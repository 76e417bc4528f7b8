//! What became of each key: rows for people or lines of JSON, and the exit code.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::compare::Differences;
use super::peer::readable;
use crate::progress::Progress;

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  all that was asked for is in the target, and equal
  1  a key was refused or failed, or the work could not be ended: run it again
  2  wrong arguments
  3  both sides differ
  4  all is equal, but there are keys of types that are not carried";

/// A key was refused, or an error kept it from being carried or compared.
const FAILED: u8 = 1;
/// Both sides differ. 2 is what the parser of the command line exits with.
const DIFFERENT: u8 = 3;
/// All is equal, and there are keys of types that the target does not have.
const SKIPPED: u8 = 4;
/// Rows that are shown; all of them count.
const ROWS_MAX: usize = 1000;

/// What became of a key.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Copied, and compared.
    Copied,
    /// Copied as one payload, and compared.
    Restored,
    /// An earlier run had begun it; now it is copied, and compared.
    Resumed,
    /// It was in the target already, and is equal.
    Present,
    /// Only compared.
    Compared,
    /// Its entries are copied, and it waits for another run.
    LeftOpen,
    /// It expired or was deleted meanwhile.
    Vanished,
    /// Of a type that is not carried.
    Skipped,
    /// The target has something else under this key.
    Refused(String),
    /// An error.
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Copied => "copied",
            Self::Restored => "restored",
            Self::Resumed => "resumed",
            Self::Present => "present",
            Self::Compared => "compared",
            Self::LeftOpen => "left open",
            Self::Vanished => "vanished",
            Self::Skipped => "skipped",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        })
    }
}

/// One key.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) database: i64,
    pub(crate) key: Vec<u8>,
    /// As TYPE names it.
    pub(crate) kind: String,
    pub(crate) outcome: Outcome,
    /// Entries that were copied.
    pub(crate) entries: u64,
    pub(crate) differences: Differences,
    /// What could not be carried, with counts.
    pub(crate) lost: Vec<(&'static str, u64)>,
}

impl Row {
    /// What there is to tell beside the outcome, a line each.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Outcome::Refused(why) | Outcome::Failed(why) = &self.outcome {
            remarks.push(why.clone());
        }
        for difference in self.differences.iter() {
            let (what, count, first) = (difference.what, difference.count, &difference.first);
            remarks.push(format!("DIFFERS {what}: {count}, first {first}"));
        }
        remarks
    }
}

/// All keys, summed up.
#[derive(Default)]
pub(crate) struct Report {
    /// The first rows with something to tell.
    rows: Vec<Row>,
    outcomes: Vec<(String, u64)>,
    lost: Vec<(&'static str, u64)>,
    keys: u64,
    entries: u64,
    failed: u64,
    different: u64,
    skipped: u64,
}

impl Report {
    /// Counts a key in, and tells of it in JSON.
    pub(crate) fn add(&mut self, row: Row, progress: &Progress) {
        progress.line(|| {
            json!({
                "event": "key", "database": row.database, "key": readable(&row.key),
                "type": row.kind, "outcome": row.outcome.to_string(), "entries": row.entries,
                "remarks": row.remarks(),
                "lost": row.lost.iter().map(|(what, count)| json!({"what": what, "count": count}))
                    .collect::<Vec<_>>(),
            })
        });
        self.keys += 1;
        self.entries += row.entries;
        self.different += u64::from(!row.differences.is_empty());
        match row.outcome {
            Outcome::Refused(_) | Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped => self.skipped += 1,
            _ => {}
        }
        sum(&mut self.outcomes, row.outcome.to_string(), 1);
        row.lost.iter().for_each(|(what, count)| sum(&mut self.lost, what, *count));
        let is_told = !row.remarks().is_empty() || matches!(row.outcome, Outcome::Skipped);
        if is_told && self.rows.len() < ROWS_MAX {
            self.rows.push(row);
        }
    }

    /// Prints the table, or the last line of JSON.
    pub(crate) fn print(&self, json: bool, took: Duration) {
        let lines = if json {
            let outcomes = self.outcomes.iter().map(|(name, count)| (name.clone(), json!(count)));
            let lost = self.lost.iter().map(|(what, count)| ((*what).to_owned(), json!(count)));
            let summary = json!({
                "event": "summary", "keys": self.keys, "entries": self.entries,
                "different": self.different, "seconds": took.as_secs_f64(),
                "outcomes": outcomes.collect::<serde_json::Map<_, _>>(),
                "lost": lost.collect::<serde_json::Map<_, _>>(),
            });
            vec![summary.to_string()]
        } else {
            self.table(took)
        };
        let text = lines.join("\n") + "\n";
        // Who does not read does not change what was done.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }

    fn table(&self, took: Duration) -> Vec<String> {
        let mut lines = Vec::new();
        for row in &self.rows {
            let (key, kind, outcome) = (readable(&row.key), &row.kind, &row.outcome);
            lines.push(format!("{:>2}  {key}  {kind}  {outcome}", row.database));
            lines.extend(row.remarks().iter().map(|remark| format!("      {remark}")));
        }
        let lost = |(what, count): &(&str, u64)| format!("Not carried: {what}, {count}");
        lines.extend(self.lost.iter().map(lost));
        let outcomes = self.outcomes.iter().map(|(name, count)| format!("{count} {name}"));
        let outcomes = outcomes.collect::<Vec<_>>().join(", ");
        let told = match (self.different, self.failed) {
            (0, 0) => "no differences".to_owned(),
            (different, failed) => format!("{different} DIFFERENT, {failed} FAILED"),
        };
        let (keys, entries, seconds) = (self.keys, self.entries, took.as_secs_f64());
        lines.push(format!(
            "{keys} keys ({outcomes}), {entries} entries copied in {seconds:.1} s: {told}"
        ));
        lines
    }

    /// The code to exit with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self { failed: 1.., .. } => FAILED.into(),
            Self { different: 1.., .. } => DIFFERENT.into(),
            Self { skipped: 1.., .. } => SKIPPED.into(),
            _ => ExitCode::SUCCESS,
        }
    }
}

fn sum<T: PartialEq>(sums: &mut Vec<(T, u64)>, name: T, count: u64) {
    match sums.iter_mut().find(|(known, _)| *known == name) {
        Some((_, sum)) => *sum += count,
        None => sums.push((name, count)),
    }
}
