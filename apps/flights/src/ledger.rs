//! What a worker has counted, kept where a `kill -9` cannot take it.
//!
//! A ledger is a text file with one line for each entry: `<entry id> <band> <delay>`. The order
//! is record, sync, XACK. A worker that dies in between leaves lines whose entries are delivered
//! again, so an entry may stand in several ledgers but never in none. The merge counts each id
//! once; that turns at-least-once delivery into exactly-once counting.
//!
//! Each start of a worker creates a ledger of its own. So a line torn by a kill is always the
//! last of its file, has no newline, and is left out; its entry was not acknowledged and comes
//! again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::aggregate::BANDS;

/// One flight as a worker counted it: the band and the delay in minutes.
pub(crate) type Counted = (u64, i64);

/// The open ledger of one running worker.
pub(crate) struct Ledger {
    file: File,
    lines: String,
}

impl Ledger {
    /// Creates the ledger of `consumer` for this process in `dir`; fails when it exists.
    pub(crate) fn create(dir: &Path, consumer: &str) -> Result<Ledger> {
        let path = dir.join(format!("{consumer}.{}.ledger", std::process::id()));
        let file = File::create_new(&path)
            .with_context(|| format!("cannot create the ledger {}", path.display()))?;
        Ok(Ledger { file, lines: String::new() })
    }

    /// Writes one line for each entry and returns once they are on disk.
    pub(crate) fn record(&mut self, entries: &[(&str, Counted)]) -> Result<()> {
        self.lines.clear();
        for (id, (band, delay)) in entries {
            writeln!(self.lines, "{id} {band} {delay}")?;
        }
        self.file.write_all(self.lines.as_bytes()).context("cannot write to the ledger")?;
        self.file.sync_data().context("cannot sync the ledger")
    }
}

/// All ledgers of a run, each record counted once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    /// Record number to what was counted for it.
    pub(crate) flights: BTreeMap<u64, Counted>,
    /// Complete lines seen; above the number of flights by those recorded more than once.
    pub(crate) lines: u64,
    /// Ledgers that end in a torn line.
    pub(crate) torn: u64,
}

/// Merges every ledger in `dir`.
///
/// Fails on a line that no worker writes, and when two ledgers disagree about one entry.
pub(crate) fn merge(dir: &Path) -> Result<Merged> {
    let mut merged = Merged::default();
    for entry in fs::read_dir(dir).context("cannot list the ledgers")? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read the ledger {}", path.display()))?;
        merged.add(&text).with_context(|| format!("in {}", path.display()))?;
    }
    Ok(merged)
}

impl Merged {
    fn add(&mut self, text: &str) -> Result<()> {
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        self.torn += u64::from(complete < text.len());
        for line in text[..complete].lines() {
            let (number, counted) =
                parse(line).with_context(|| format!("not a line of a ledger: {line:?}"))?;
            self.lines += 1;
            match self.flights.entry(number) {
                Entry::Vacant(slot) => {
                    slot.insert(counted);
                }
                Entry::Occupied(slot) if *slot.get() == counted => {}
                Entry::Occupied(slot) => {
                    bail!("entry {number}-0 is {counted:?} here and {:?} before", slot.get())
                }
            }
        }
        Ok(())
    }
}

fn parse(line: &str) -> Result<(u64, Counted)> {
    let mut words = line.split(' ');
    let mut next = || words.next().context("a word is missing");
    let number = next()?.strip_suffix("-0").context("the id is not <number>-0")?.parse()?;
    let band = next()?.parse()?;
    let delay = next()?.parse()?;
    ensure!(BANDS.contains(&band), "{band} opens no band");
    ensure!(words.next().is_none(), "a word too many");
    Ok((number, (band, delay)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(texts: &[&str]) -> Result<Merged> {
        let mut merged = Merged::default();
        for text in texts {
            merged.add(text)?;
        }
        Ok(merged)
    }

    #[test]
    fn an_entry_in_two_ledgers_counts_once() -> Result<()> {
        let merged = merged(&["1-0 500 -3\n2-0 0 7\n", "2-0 0 7\n3-0 2000 0\n"])?;
        assert_eq!(merged.flights, [(1, (500, -3)), (2, (0, 7)), (3, (2000, 0))].into());
        assert_eq!((merged.lines, merged.torn), (4, 0));
        Ok(())
    }

    #[test]
    fn a_torn_line_is_left_out_until_another_ledger_has_it_whole() -> Result<()> {
        // "2-0 0 1" is what a kill leaves of "2-0 0 17": well formed, and wrong.
        let torn = merged(&["1-0 500 -3\n2-0 0 1"])?;
        assert_eq!(torn.flights, [(1, (500, -3))].into());
        assert_eq!(torn.torn, 1);
        let again = merged(&["1-0 500 -3\n2-0 0 1", "2-0 0 17\n"])?;
        assert_eq!(again.flights[&2], (0, 17));
        Ok(())
    }

    #[test]
    fn a_kill_at_any_byte_loses_only_what_was_not_complete() -> Result<()> {
        let text = "1-0 500 -3\n22-0 0 17\n3-0 2000 0\n";
        for cut in 0..=text.len() {
            let merged = merged(&[&text[..cut]])?;
            assert_eq!(merged.flights.len(), text[..cut].matches('\n').count(), "cut at {cut}");
        }
        Ok(())
    }

    #[test]
    fn ledgers_that_disagree_are_an_error() {
        assert!(merged(&["1-0 500 -3\n", "1-0 500 3\n"]).is_err());
    }

    #[test]
    fn foreign_lines_are_an_error() {
        for line in ["1 500 3\n", "1-1 500 3\n", "1-0 501 3\n", "1-0 500\n", "1-0 500 3 4\n", "\n"]
        {
            assert!(merged(&[line]).is_err(), "{line:?}");
        }
    }

    #[test]
    fn what_a_worker_records_is_what_the_merge_reads() -> Result<()> {
        let name = format!("flights-ledger-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir)?;
        let mut ledger = Ledger::create(&dir, "worker-1")?;
        ledger.record(&[("1-0", (500, -3)), ("2-0", (0, 7))])?;
        ledger.record(&[("2-0", (0, 7))])?;
        let merged = merge(&dir)?;
        fs::remove_dir_all(&dir)?;
        assert_eq!(merged.flights, [(1, (500, -3)), (2, (0, 7))].into());
        assert_eq!(merged.lines, 3);
        Ok(())
    }
}
