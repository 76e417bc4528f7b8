//! The flight records as the file has them.
//!
//! A record has no id of its own. Its number, counted from 1 in file order, is its id here, and
//! the stream entry that carries it is `<number>-0`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// One flight.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Record {
    /// Delay of the arrival in minutes, below zero when early.
    pub(crate) delay: i64,
    /// Miles flown.
    pub(crate) distance: u64,
    /// Hour of the day, with a fraction.
    pub(crate) time: f64,
}

/// Reads the first `limit` records of `file`, or all of them; fails when it holds fewer.
pub(crate) fn load(file: &Path, limit: Option<usize>) -> Result<Vec<Record>> {
    let reader = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut records: Vec<Record> = serde_json::from_reader(BufReader::new(reader))
        .with_context(|| format!("{} is not an array of flight records", file.display()))?;
    if let Some(limit) = limit {
        let held = records.len();
        ensure!(limit <= held, "{} holds {held} records, {limit} were asked for", file.display());
        records.truncate(limit);
    }
    Ok(records)
}
