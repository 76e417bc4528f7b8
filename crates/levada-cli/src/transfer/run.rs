//! Goes through the keys of a server and carries each, some at a time.

use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use levada_core::{glob, schedule};
use redis::Value;

use super::file::Streams;
use super::key::{FromFile, Item, Work, expiries};
use super::live::Live;
use super::options::{Databases, Options};
use super::peer::Peer;
use super::reply;
use super::report::Report;
use crate::progress::{Progress, Unit};

/// Keys that SCAN looks at for one reply.
const SCAN_COUNT: u32 = 1000;
/// Keys that wait for a worker.
const KEYS_AHEAD: usize = 64;

/// Carries what is in one server to another, and compares. The code says how it went: see `report`.
pub(crate) fn run(from: &str, to: &str, options: &Options) -> Result<ExitCode> {
    let started = Instant::now();
    let mut source = Peer::connect(from).context("the source")?;
    let target = Peer::connect(to).context("the target")?;
    if !source.run_id.is_empty() && source.run_id == target.run_id {
        bail!("source and target are the same server");
    }
    drop(target);
    let progress = Progress::new(Unit::Entries, options.json);
    let report = Mutex::new(Report::default());
    let stop = AtomicBool::new(false);
    let shared = Shared { options, progress: &progress, report: &report, stop: &stop };
    let first = shared.carry(from, to, |sender| shared.list(&mut source, sender));
    let result = first.and_then(|later| match later.is_empty() {
        true => Ok(()),
        false => shared.carry(from, to, |sender| {
            for item in later {
                if shared.stop.load(Ordering::Relaxed) || sender.send(item).is_err() {
                    break;
                }
            }
            Ok(())
        }),
    });
    progress.end();
    let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.print(options.json, started.elapsed());
    result.map(|()| report.exit_code())
}

/// Carries what is in an RDB file to a server, and compares. The code says how it went.
pub(crate) fn run_file(path: &Path, to: &str, options: &Options) -> Result<ExitCode> {
    let started = Instant::now();
    let mut target = Live::new(Peer::connect(to).context("the target")?);
    let wanted = Wanted { options, database: target.peer.database };
    let progress = Progress::new(Unit::Entries, options.json);
    let mut report = Report::default();
    let mut work = Work { target: &mut target, options, progress: &progress };
    // Keys that expired by now are passed over, as Redis does when it loads a file.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let mut streams = Streams::open(path, |item, value| {
        if wanted.has(&item) {
            let row = work.carry_from_file(&item, value, now_ms)?;
            report.add(row, &progress);
        }
        Ok(())
    })?;
    for item in streams.items().into_iter().filter(|item| wanted.has(item)) {
        streams.database = item.database;
        let row = work.carry_from_file(&item, FromFile::Stream(&mut streams), now_ms)?;
        report.add(row, &progress);
    }
    progress.end();
    report.print(options.json, started.elapsed());
    Ok(report.exit_code())
}

/// Which keys of a file are wanted.
struct Wanted<'a> {
    options: &'a Options,
    /// The database that is meant if no other is named.
    database: i64,
}

impl Wanted<'_> {
    fn has(&self, item: &Item) -> bool {
        let in_database = match self.options.db {
            Some(Databases::All) => true,
            Some(Databases::One(number)) => item.database == number,
            None => item.database == self.database,
        };
        let pattern = self.options.pattern.as_deref().unwrap_or("*");
        in_database && glob::matches(pattern.as_bytes(), &item.key)
    }
}

/// What the threads have in common.
struct Shared<'a> {
    options: &'a Options,
    progress: &'a Progress,
    /// A lock, as rows come rarely and are put in quickly.
    report: &'a Mutex<Report>,
    /// A worker broke: nobody goes on to another key.
    stop: &'a AtomicBool,
}

impl Shared<'_> {
    /// Carries what `feed` sends, and answers what it does, once all of it was carried.
    fn carry<T>(
        &self,
        from: &str,
        to: &str,
        feed: impl FnOnce(&SyncSender<Item>) -> Result<T>,
    ) -> Result<T> {
        let (sender, receiver) = sync_channel(KEYS_AHEAD);
        let receiver = Mutex::new(receiver);
        thread::scope(|scope| {
            let workers = (0..self.options.jobs)
                .map(|_| scope.spawn(|| self.work(from, to, &receiver)))
                .collect::<Vec<_>>();
            let mut result = feed(&sender);
            // Closed, it tells the workers that there are no more.
            drop(sender);
            for worker in workers {
                let ended = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                // What broke a worker is the reason why the list came to an end.
                result = ended.and(result);
            }
            result
        })
    }

    /// Sends all keys to the workers, but for those that come later: what is due of a schedule is
    /// appended to its target as soon as it is scheduled, and the target must be there by then.
    fn list(&self, source: &mut Peer, sender: &SyncSender<Item>) -> Result<Vec<Item>> {
        let mut later = Vec::new();
        let databases = match self.options.db {
            Some(Databases::One(number)) => vec![number],
            Some(Databases::All) => databases(source)?,
            None => vec![source.database],
        };
        for database in databases {
            source.select(database)?;
            // SCAN may show a key twice.
            let mut known = HashSet::new();
            let mut cursor = b"0".to_vec();
            loop {
                let (next, keys) = self.scan(source, &cursor)?;
                let keys = keys.into_iter().filter(|key| known.insert(key.clone()));
                for item in items(source, database, keys.collect())? {
                    if source.policies && schedule::target_of(&item.key).is_some() {
                        later.push(item);
                        continue;
                    }
                    if self.stop.load(Ordering::Relaxed) || sender.send(item).is_err() {
                        return Ok(Vec::new());
                    }
                }
                if next == b"0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(later)
    }

    fn scan(&self, source: &mut Peer, cursor: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("COUNT").arg(SCAN_COUNT);
        if let Some(pattern) = &self.options.pattern {
            command.arg("MATCH").arg(pattern);
        }
        let [next, keys] = reply::tuple(source.ask(&command)?)?;
        Ok((reply::bytes(next)?, reply::strings(keys)?))
    }

    /// Carries keys until there are no more.
    fn work(&self, from: &str, to: &str, items: &Mutex<Receiver<Item>>) -> Result<()> {
        let work = || {
            let mut source = Live::new(Peer::connect(from).context("the source")?);
            let mut target = Live::new(Peer::connect(to).context("the target")?);
            let (options, progress) = (self.options, self.progress);
            let mut work = Work { target: &mut target, options, progress };
            loop {
                let next = items.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(item) = next else {
                    return Ok(());
                };
                if self.stop.load(Ordering::Relaxed) {
                    continue;
                }
                let row = work.carry(&mut source, &item)?;
                let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
                report.add(row, progress);
            }
        };
        let result: Result<()> = work();
        if result.is_err() {
            self.stop.store(true, Ordering::Relaxed);
            // The lister may wait for room: make some until it has seen that it is over.
            while items.lock().unwrap_or_else(PoisonError::into_inner).recv().is_ok() {}
        }
        result
    }
}

/// The databases that have keys.
fn databases(source: &mut Peer) -> Result<Vec<i64>> {
    let info = source.ask(redis::cmd("INFO").arg("keyspace"))?;
    let info = reply::bytes(info)?;
    let numbers = String::from_utf8_lossy(&info)
        .lines()
        .filter_map(|line| line.strip_prefix("db")?.split(':').next()?.parse().ok())
        .collect();
    Ok(numbers)
}

/// What the keys are.
fn items(source: &mut Peer, database: i64, keys: Vec<Vec<u8>>) -> Result<Vec<Item>> {
    let mut commands = redis::pipe();
    for key in &keys {
        commands.cmd("TYPE").arg(key);
    }
    let kinds = source.ask_all(&commands)?;
    let names = keys.iter().map(Vec::as_slice).collect::<Vec<_>>();
    let expiries = expiries(source, &names)?;
    let kind = |kind: Value| -> Result<String> {
        Ok(String::from_utf8_lossy(&reply::bytes(kind)?).into_owned())
    };
    keys.into_iter()
        .zip(kinds)
        .zip(expiries)
        .map(|((key, of), expires_ms)| Ok(Item { database, key, kind: kind(of)?, expires_ms }))
        .collect()
}
