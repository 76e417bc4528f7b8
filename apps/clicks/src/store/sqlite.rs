//! Links, counts and rows in one SQLite file: what runs where nothing is installed.
//!
//! One connection writes, another reads, so that a redirect does not wait for a batch. A commit
//! is synced: what was counted survives a power cut, as the stream forgets it then.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Audience, Clicks, Counted, Counts, Links, MINUTES_MAX, NAMES_MAX, Pending, Row, Rows, Seen,
};

/// Longest wait for the lock of another process, such as the demo that compares.
const BUSY_MAX: Duration = Duration::from_secs(10);

const TABLES: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS links (
    code TEXT PRIMARY KEY, address TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counted (
    id TEXT PRIMARY KEY, code TEXT NOT NULL, at_ms INTEGER NOT NULL, weight INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS counted_at ON counted (at_ms);
CREATE TABLE IF NOT EXISTS counts (
    code TEXT NOT NULL, minute INTEGER NOT NULL, clicks INTEGER NOT NULL,
    PRIMARY KEY (code, minute)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rows (
    code TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, weight INTEGER NOT NULL,
    country TEXT NOT NULL, browser TEXT NOT NULL, os TEXT NOT NULL, device TEXT NOT NULL,
    referer TEXT NOT NULL,
    PRIMARY KEY (code, id)
) WITHOUT ROWID;
";

/// A file with everything. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sqlite {
    writer: Arc<Mutex<Connection>>,
    reader: Arc<Mutex<Connection>>,
}

impl Sqlite {
    /// Opens a file, or makes it.
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        let open = move || {
            let connect = || -> rusqlite::Result<Connection> {
                let connection = Connection::open(&path)?;
                connection.busy_timeout(BUSY_MAX)?;
                Ok(connection)
            };
            let writer = connect()?;
            writer.execute_batch(TABLES)?;
            let (writer, reader) = (Arc::new(Mutex::new(writer)), connect()?);
            Ok(Self { writer, reader: Arc::new(Mutex::new(reader)) })
        };
        let opened: rusqlite::Result<Self> = tokio::task::spawn_blocking(open).await?;
        opened.context("the SQLite file cannot be opened")
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<'static, T> {
        on(Arc::clone(&self.writer), work)
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<'static, T> {
        on(Arc::clone(&self.reader), work)
    }
}

/// Works on a connection, off the threads that must not wait.
fn on<T: Send + 'static>(
    connection: Arc<Mutex<Connection>>,
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Pending<'static, T> {
    Box::pin(async move {
        let work = move || {
            // A panic inside rolls its transaction back: the connection is as good as before.
            work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
        };
        tokio::task::spawn_blocking(work).await?.context("SQLite")
    })
}

impl Links for Sqlite {
    fn create<'a>(&'a self, code: &'a str, address: &'a str) -> Pending<'a, (String, bool)> {
        let (code, address) = (code.to_owned(), address.to_owned());
        self.write(move |connection| {
            let made = connection
                .prepare_cached(
                    "INSERT INTO links (code, address) VALUES (?, ?) ON CONFLICT DO NOTHING",
                )?
                .execute(params![code, address])?;
            let kept = connection
                .prepare_cached("SELECT address FROM links WHERE code = ?")?
                .query_row([&code], |row| row.get(0))?;
            Ok((kept, made == 1))
        })
    }

    fn address<'a>(&'a self, code: &'a str) -> Pending<'a, Option<String>> {
        let code = code.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT address FROM links WHERE code = ?")?
                .query_row([code], |row| row.get(0))
                .optional()
        })
    }

    fn remove<'a>(&'a self, code: &'a str) -> Pending<'a, bool> {
        let code = code.to_owned();
        self.write(move |connection| {
            Ok(connection.execute("DELETE FROM links WHERE code = ?", [code])? == 1)
        })
    }
}

impl Counts for Sqlite {
    fn count(&self, clicks: Vec<Counted>) -> Pending<'_, u64> {
        self.write(move |connection| {
            let transaction = connection.transaction()?;
            let mut new = 0;
            {
                let mut mark = transaction.prepare_cached(
                    "INSERT INTO counted (id, code, at_ms, weight) VALUES (?, ?, ?, ?)
                     ON CONFLICT DO NOTHING",
                )?;
                let mut add = transaction.prepare_cached(
                    "INSERT INTO counts (code, minute, clicks) VALUES (?, ?, ?)
                     ON CONFLICT DO UPDATE SET clicks = clicks + excluded.clicks",
                )?;
                for click in &clicks {
                    let Counted { id, code, at_ms, weight } = click;
                    if mark.execute(params![id, code, at_ms, weight])? == 1 {
                        add.execute(params![code, at_ms / 60_000, weight])?;
                        new += 1;
                    }
                }
            }
            transaction.commit()?;
            Ok(new)
        })
    }

    fn clicks<'a>(&'a self, code: &'a str) -> Pending<'a, Clicks> {
        let code = code.to_owned();
        self.read(move |connection| {
            let total = connection
                .prepare_cached("SELECT coalesce(sum(clicks), 0) FROM counts WHERE code = ?")?
                .query_row([&code], number)?;
            let minutes = connection
                .prepare_cached(
                    "SELECT minute, clicks FROM counts WHERE code = ?
                     ORDER BY minute DESC LIMIT ?",
                )?
                .query_map(params![code, MINUTES_MAX], |row| {
                    Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Clicks { total, minutes })
        })
    }

    fn forget(&self, before_ms: i64) -> Pending<'_, u64> {
        self.write(move |connection| {
            let gone = connection.execute("DELETE FROM counted WHERE at_ms < ?", [before_ms])?;
            Ok(gone as u64)
        })
    }

    fn seen(&self) -> Pending<'_, Vec<Seen>> {
        self.read(|connection| seen(connection, "SELECT id, code, weight FROM counted"))
    }

    fn totals(&self) -> Pending<'_, BTreeMap<String, u64>> {
        self.read(|connection| {
            by_name(connection, "SELECT code, sum(clicks) FROM counts GROUP BY code", &[])
        })
    }
}

impl Rows for Sqlite {
    fn write(&self, rows: Vec<Row>) -> Pending<'_, ()> {
        self.write(move |connection| {
            let transaction = connection.transaction()?;
            {
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO rows (code, id, at, weight, country, browser, os, device, referer)
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                )?;
                for row in &rows {
                    let Row { code, id, at, weight, country, browser, os, device, referer } = row;
                    insert.execute(params![
                        code, id, at, weight, country, browser, os, device, referer
                    ])?;
                }
            }
            transaction.commit()
        })
    }

    fn audience<'a>(&'a self, code: &'a str) -> Pending<'a, Audience> {
        let code = code.to_owned();
        self.read(move |connection| {
            let total = connection
                .prepare_cached("SELECT coalesce(sum(weight), 0) FROM rows WHERE code = ?")?
                .query_row([&code], number)?;
            let by = |name: &str| {
                let sql = format!(
                    "SELECT {name}, sum(weight) FROM rows WHERE code = ? AND {name} <> ''
                     GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {NAMES_MAX}"
                );
                by_name(connection, &sql, &[code.as_str()])
            };
            Ok(Audience { total, countries: by("country")?, browsers: by("browser")? })
        })
    }

    fn seen(&self) -> Pending<'_, Vec<Seen>> {
        self.read(|connection| seen(connection, "SELECT id, code, weight FROM rows"))
    }

    fn totals(&self) -> Pending<'_, BTreeMap<String, u64>> {
        self.read(|connection| {
            by_name(connection, "SELECT code, sum(weight) FROM rows GROUP BY code", &[])
        })
    }
}

fn number(row: &rusqlite::Row<'_>) -> rusqlite::Result<u64> {
    Ok(unsigned(row.get(0)?))
}

/// Counts are never below zero.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn seen(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<Seen>> {
    let one = |row: &rusqlite::Row<'_>| {
        Ok(Seen { id: row.get(0)?, code: row.get(1)?, weight: unsigned(row.get(2)?) })
    };
    connection.prepare(sql)?.query_map([], one)?.collect()
}

fn by_name(
    connection: &Connection,
    sql: &str,
    parameters: &[&str],
) -> rusqlite::Result<BTreeMap<String, u64>> {
    let pair = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, unsigned(row.get(1)?)));
    let parameters = rusqlite::params_from_iter(parameters);
    connection.prepare_cached(sql)?.query_map(parameters, pair)?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_keeps_what_stores_keep() {
        let directory = stage::Directory::new("clicks-sqlite").unwrap();
        let path = directory.path().join("db");
        let store = Sqlite::open(&path).await.unwrap();
        crate::tests::a_store_of_links(&store).await;
        crate::tests::a_store_of_counts(&store).await;
        crate::tests::a_store_of_rows(&store).await;
        drop(store);
        let again = Sqlite::open(&path).await.unwrap();
        assert_eq!(Counts::seen(&again).await.unwrap().len(), 2, "it is in the file");
        drop(again);
        directory.remove().unwrap();
    }
}
