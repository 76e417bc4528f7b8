//! What the databases are asked for, in terms of links, counts and rows.
//!
//! Three small traits, as a real system has two databases: one with transactions holds links and
//! counts, one for analytics holds a row for each click. [`sqlite`] is all three, [`postgres`] is
//! the first two, [`click_house`] the third. Every write can be made again without harm: a click
//! is known by its id.

pub(crate) mod click_house;
pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::collections::BTreeMap;
use std::pin::Pin;

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// A call under way.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A click as it is counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Counted {
    /// Its id.
    pub(crate) id: String,
    /// Of the link.
    pub(crate) code: String,
    /// Unix milliseconds on the clock of the stream.
    pub(crate) at_ms: i64,
    /// Clicks that it stands for.
    pub(crate) weight: i64,
}

/// A click as it is kept for questions that nobody has asked yet. What is not known is empty.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, clickhouse::Row, Debug)]
pub(crate) struct Row {
    /// Of the link.
    pub(crate) code: String,
    /// Id of the click.
    pub(crate) id: String,
    /// Unix seconds on the clock of the stream.
    pub(crate) at: u32,
    /// Clicks that it stands for.
    pub(crate) weight: u32,
    /// Two letters.
    pub(crate) country: String,
    /// Family of the browser.
    pub(crate) browser: String,
    /// Family of the operating system.
    pub(crate) os: String,
    /// Family of the device.
    pub(crate) device: String,
    /// The site on which the link stood.
    pub(crate) referer: String,
}

/// A click that a database has: for the comparison with what was served.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize, clickhouse::Row, Debug)]
pub(crate) struct Seen {
    /// Its id.
    pub(crate) id: String,
    /// Of the link.
    pub(crate) code: String,
    /// Clicks that it stands for.
    pub(crate) weight: u64,
}

/// What a link was clicked.
#[derive(Clone, PartialEq, Eq, Serialize, Default, Debug)]
pub(crate) struct Clicks {
    /// In all.
    pub(crate) total: u64,
    /// The last minutes in which there were any: unix minute and clicks, the latest first.
    pub(crate) minutes: Vec<(u64, u64)>,
}

/// Who clicked a link.
#[derive(Clone, PartialEq, Eq, Serialize, Default, Debug)]
pub(crate) struct Audience {
    /// Clicks in all.
    pub(crate) total: u64,
    /// Clicks by country, where it is known.
    pub(crate) countries: BTreeMap<String, u64>,
    /// Clicks by browser, where it is known.
    pub(crate) browsers: BTreeMap<String, u64>,
}

/// Minutes that [`Clicks`] lists at most.
pub(crate) const MINUTES_MAX: u32 = 60;
/// Names that [`Audience`] lists at most, those with the most clicks.
pub(crate) const NAMES_MAX: u32 = 20;

/// Links by their codes.
pub(crate) trait Links: Send + Sync {
    /// Makes a link unless there is one of this code; answers where that leads, and whether it
    /// was made now. It is on disk when this returns.
    fn create<'a>(&'a self, code: &'a str, address: &'a str) -> Pending<'a, (String, bool)>;

    /// Where a link leads.
    fn address<'a>(&'a self, code: &'a str) -> Pending<'a, Option<String>>;

    /// Removes a link; answers whether there was one. What was counted stays.
    fn remove<'a>(&'a self, code: &'a str) -> Pending<'a, bool>;
}

/// Counts by link and minute.
pub(crate) trait Counts: Send + Sync {
    /// Adds those clicks that were not added before, all of them or none, and remembers them in
    /// the same transaction. Answers how many were new.
    fn count(&self, clicks: Vec<Counted>) -> Pending<'_, u64>;

    /// Of a link.
    fn clicks<'a>(&'a self, code: &'a str) -> Pending<'a, Clicks>;

    /// Forgets which clicks were counted before a time in unix milliseconds: a click that comes
    /// again after that would be counted again. Answers how many.
    fn forget(&self, before_ms: i64) -> Pending<'_, u64>;

    /// Every click that is remembered.
    fn seen(&self) -> Pending<'_, Vec<Seen>>;

    /// The counts by link.
    fn totals(&self) -> Pending<'_, BTreeMap<String, u64>>;
}

/// A row for each click.
pub(crate) trait Rows: Send + Sync {
    /// Writes rows. One that was written before is the same row.
    fn write(&self, rows: Vec<Row>) -> Pending<'_, ()>;

    /// Of a link.
    fn audience<'a>(&'a self, code: &'a str) -> Pending<'a, Audience>;

    /// Every click that there is a row of.
    fn seen(&self) -> Pending<'_, Vec<Seen>>;

    /// The weights of the rows, summed by link.
    fn totals(&self) -> Pending<'_, BTreeMap<String, u64>>;
}
