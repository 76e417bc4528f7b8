//! Carries one key: decides by what the target has under it, and never destroys what it did not
//! make itself, unless it was told to.

use anyhow::{Context as _, Error, Result};
use redis::Value;

use super::compare::Differences;
use super::dump;
use super::file::Streams;
use super::id::Id;
use super::live::Live;
use super::options::Options;
use super::peer::{Peer, is_broken, readable, refused_with};
use super::policy::Policies;
use super::reply;
use super::report::{Outcome, Row};
use super::source::Source;
use super::stream::{Carriage, Plan};
use super::writer::{self, Found};
use crate::progress::Progress;

/// The first version that tells when a key expires, not only how long it has.
const EXPIRETIME: (u32, u32) = (7, 0);
/// How far two expiries may be apart where one had to be computed, in milliseconds.
const EXPIRY_SLACK_MS: u64 = 1000;

/// A key of the source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Item {
    pub(crate) database: i64,
    pub(crate) key: Vec<u8>,
    /// As TYPE names it.
    pub(crate) kind: String,
    /// In milliseconds since the Unix epoch.
    pub(crate) expires_ms: Option<i64>,
}

/// The value of a key of a file.
pub(crate) enum FromFile<'a> {
    /// A string.
    Text(Vec<u8>),
    /// A stream, one of these.
    Stream(&'a mut Streams),
    /// Something of a type that is not carried.
    Unsupported,
}

/// Where to, and how.
pub(crate) struct Work<'a> {
    pub(crate) target: &'a mut Live,
    pub(crate) options: &'a Options,
    pub(crate) progress: &'a Progress,
}

impl Work<'_> {
    /// Carries a key of a server. An error only where a server cannot be reached any more.
    pub(crate) fn carry(&mut self, source: &mut Live, item: &Item) -> Result<Row> {
        let mut row = row(item);
        let result = source
            .peer
            .select(item.database)
            .and_then(|()| self.target.peer.select(item.database))
            .and_then(|()| match &item.kind[..] {
                "stream" => match self.restore(source, item)? {
                    true => self.restored(source, item, &mut row),
                    false => self.stream(source, item, &mut row),
                },
                "string" => {
                    let value = source.peer.ask(redis::cmd("GET").arg(&item.key))?;
                    match value {
                        Value::Nil => Ok(Outcome::Vanished),
                        value => self.text(item, &reply::bytes(value)?, &mut row.differences),
                    }
                }
                "none" => Ok(Outcome::Vanished),
                _ => Ok(Outcome::Skipped),
            });
        let gone = |error: &Error| refused_with(error, "no such key");
        let result = match result {
            Err(error) if gone(&error) && !exists(&mut source.peer, &item.key)? => {
                Ok(Outcome::Vanished)
            }
            result => result,
        };
        if result.as_ref().is_err_and(is_broken) {
            source.peer.renew().with_context(|| about(&result))?;
        }
        self.settle(row, result)
    }

    /// Carries a key of a file. An error only where a server cannot be reached any more.
    pub(crate) fn carry_from_file(
        &mut self,
        item: &Item,
        from: FromFile<'_>,
        now_ms: i64,
    ) -> Result<Row> {
        let mut row = row(item);
        if item.expires_ms.is_some_and(|at| at <= now_ms) {
            return Ok(row);
        }
        let result = self.target.peer.select(item.database).and_then(|()| match from {
            FromFile::Text(value) => self.text(item, &value, &mut row.differences),
            FromFile::Stream(streams) => self.stream(streams, item, &mut row),
            FromFile::Unsupported => Ok(Outcome::Skipped),
        });
        self.settle(row, result)
    }

    /// Carries a stream as one payload, if it may and can.
    fn restore(&mut self, source: &mut Live, item: &Item) -> Result<bool> {
        let can = source.peer.payloads && self.target.peer.payloads;
        let options = self.options;
        if !can || options.by_pages || options.verify_only || options.keep_open {
            return Ok(false);
        }
        let may = match writer::look(&mut self.target.peer, &item.key)? {
            Found::Nothing => true,
            // What was begun page by page is ended so.
            Found::Open(_) => false,
            Found::Other(_) => self.options.replace,
        };
        if !may {
            return Ok(false);
        }
        let plan = self.carriage(source, item).plan()?;
        // In a payload it would be entries that nobody appends, or that a consumer without a name
        // has.
        let has_order = plan.policies.as_ref().is_some_and(Policies::has_order);
        if (plan.scheduled > 0 || has_order) && self.target.peer.policies {
            return Ok(false);
        }
        let policies = plan.policies.filter(|_| self.target.peer.policies);
        dump::carry(&mut source.peer, &mut self.target.peer, item, policies.as_ref())
    }

    /// Compares what came as one payload.
    fn restored(&mut self, source: &mut Live, item: &Item, row: &mut Row) -> Result<Outcome> {
        let mut carriage = self.carriage(source, item);
        let plan = carriage.plan()?;
        carriage.lose_policies(&plan);
        if plan.policies.as_ref().is_some_and(Policies::has_dedup) {
            carriage.lose("ids of idempotent producers", plan.summary.idempotent);
        }
        row.lost = carriage.lost;
        self.progress.found(plan.summary.length);
        self.progress.moved(&readable(&item.key), plan.summary.length);
        row.entries = plan.summary.length;
        self.compare(source, item, &plan, &mut row.differences)?;
        Ok(Outcome::Restored)
    }

    /// Carries a stream, all steps.
    fn stream(&mut self, source: &mut dyn Source, item: &Item, row: &mut Row) -> Result<Outcome> {
        let keep_open = self.options.keep_open;
        let mut carriage = self.carriage(source, item);
        let plan = carriage.plan()?;
        // What is scheduled is live at once: that is for the run that ends the work.
        if plan.scheduled > 0 && keep_open && carriage.target.peer.policies {
            return Ok(Outcome::LeftOpen);
        }
        carriage.progress.found(plan.summary.length);
        let outcome = self.copy(source, item, &plan, row)?;
        if !matches!(outcome, Outcome::Copied | Outcome::Resumed) {
            return Ok(outcome);
        }
        let mut carriage = self.carriage(source, item);
        carriage.groups(&plan)?;
        carriage.settle(&plan, item.expires_ms, &mut row.differences)?;
        carriage.compare_rest(&mut row.differences)?;
        row.lost = carriage.lost;
        self.expiry(item, &mut row.differences)?;
        Ok(outcome)
    }

    /// Copies the entries of a stream, if the target's key may be written.
    fn copy(
        &mut self,
        source: &mut dyn Source,
        item: &Item,
        plan: &Plan,
        row: &mut Row,
    ) -> Result<Outcome> {
        if self.options.verify_only {
            self.compare(source, item, plan, &mut row.differences)?;
            return Ok(Outcome::Compared);
        }
        let (behind, outcome) = match writer::look(&mut self.target.peer, &item.key)? {
            Found::Open(last) => (last, Outcome::Resumed),
            Found::Other(kind) if !self.options.replace => {
                return self.present(source, item, plan, &kind);
            }
            _ => {
                let peer = &mut self.target.peer;
                writer::open(peer, &item.key, peer.policies && plan.policies.is_some())?;
                (Id::MIN, Outcome::Copied)
            }
        };
        row.entries = self.carriage(source, item).entries(plan, behind)?;
        Ok(if self.options.keep_open { Outcome::LeftOpen } else { outcome })
    }

    /// The target has a finished stream, or something else: well if it is equal.
    fn present(
        &mut self,
        source: &mut dyn Source,
        item: &Item,
        plan: &Plan,
        kind: &str,
    ) -> Result<Outcome> {
        let mut differences = Differences::default();
        if kind == "stream" {
            self.compare(source, item, plan, &mut differences)?;
            if differences.is_empty() {
                return Ok(Outcome::Present);
            }
        }
        Ok(Outcome::Refused(refusal(kind, &differences)))
    }

    fn compare(
        &mut self,
        source: &mut dyn Source,
        item: &Item,
        plan: &Plan,
        differences: &mut Differences,
    ) -> Result<()> {
        let mut carriage = self.carriage(source, item);
        let kind = reply::bytes(carriage.target.peer.ask(redis::cmd("TYPE").arg(&item.key))?)?;
        if kind != b"stream" {
            differences.add("type", || format!("{} in the target", kind.escape_ascii()));
            return Ok(());
        }
        carriage.compare_rest(differences)?;
        carriage.compare_entries(plan, false, differences)?;
        self.expiry(item, differences)
    }

    /// Carries a string.
    fn text(
        &mut self,
        item: &Item,
        value: &[u8],
        differences: &mut Differences,
    ) -> Result<Outcome> {
        if self.options.keep_open {
            return Ok(Outcome::LeftOpen);
        }
        let kind = self.target.peer.ask(redis::cmd("TYPE").arg(&item.key))?;
        let kind = String::from_utf8_lossy(&reply::bytes(kind)?).into_owned();
        let mut outcome = Outcome::Compared;
        if !self.options.verify_only {
            outcome = Outcome::Copied;
            if kind != "none" && !self.options.replace {
                let mut found = Differences::default();
                if kind == "string" {
                    self.compare_text(item, value, &mut found)?;
                    if found.is_empty() {
                        return Ok(Outcome::Present);
                    }
                }
                return Ok(Outcome::Refused(refusal(&kind, &found)));
            }
            let mut command = redis::cmd("SET");
            command.arg(&item.key).arg(value);
            if let Some(at) = item.expires_ms {
                command.arg("PXAT").arg(at);
            }
            self.target.peer.ask(&command)?;
        }
        self.compare_text(item, value, differences)?;
        Ok(outcome)
    }

    fn compare_text(
        &mut self,
        item: &Item,
        value: &[u8],
        differences: &mut Differences,
    ) -> Result<()> {
        match self.target.peer.ask(redis::cmd("GET").arg(&item.key))? {
            // What expired meanwhile is gone on both sides.
            Value::Nil if item.expires_ms.is_some() => return Ok(()),
            Value::Nil => differences.add("value", || "there is none in the target".to_owned()),
            found => {
                if reply::bytes(found)? != value {
                    differences.add("value", || "another one in the target".to_owned());
                }
            }
        }
        self.expiry(item, differences)
    }

    fn expiry(&mut self, item: &Item, differences: &mut Differences) -> Result<()> {
        let exact = self.target.peer.version >= EXPIRETIME;
        let found = expiries(&mut self.target.peer, &[&item.key])?.pop().context("one key")?;
        let is_near = match (item.expires_ms, found) {
            (Some(one), Some(other)) if !exact => one.abs_diff(other) <= EXPIRY_SLACK_MS,
            (one, other) => one == other,
        };
        if !is_near {
            differences.add("expiry", || {
                format!("{:?} in the source, {found:?} in the target", item.expires_ms)
            });
        }
        Ok(())
    }

    /// Puts what became of a key into its row. A connection that broke on it is made anew, so that
    /// a value that a server refuses by hanging up does not end the work on the other keys.
    fn settle(&mut self, mut row: Row, result: Result<Outcome>) -> Result<Row> {
        if result.as_ref().is_err_and(is_broken) {
            self.target.peer.renew().with_context(|| about(&result))?;
        }
        row.outcome = result.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        Ok(row)
    }

    fn carriage<'b>(&'b mut self, source: &'b mut dyn Source, item: &'b Item) -> Carriage<'b> {
        Carriage {
            source,
            target: &mut *self.target,
            key: &item.key,
            batch: usize::try_from(self.options.batch).unwrap_or(usize::MAX),
            progress: self.progress,
            lost: Vec::new(),
        }
    }
}

/// A row to be filled in.
fn row(item: &Item) -> Row {
    Row {
        database: item.database,
        key: item.key.clone(),
        kind: item.kind.clone(),
        outcome: Outcome::Vanished,
        entries: 0,
        differences: Differences::default(),
        lost: Vec::new(),
    }
}

/// The error that came first, for a connection that could not be had again behind it.
fn about(result: &Result<Outcome>) -> String {
    result.as_ref().err().map(|error| format!("after {error:#}")).unwrap_or_default()
}

fn exists(peer: &mut Peer, key: &[u8]) -> Result<bool> {
    Ok(reply::integer(&peer.ask(redis::cmd("EXISTS").arg(key))?)? > 0)
}

fn refusal(kind: &str, differences: &Differences) -> String {
    let what = differences.iter().map(|difference| difference.what).collect::<Vec<_>>();
    let what = if what.is_empty() { String::new() } else { format!(" ({})", what.join(", ")) };
    format!("the target has another {kind} under this key{what}: --replace replaces it")
}

/// When keys expire, in milliseconds since the Unix epoch.
pub(crate) fn expiries(peer: &mut Peer, keys: &[&[u8]]) -> Result<Vec<Option<i64>>> {
    let exact = peer.version >= EXPIRETIME;
    let mut commands = redis::pipe();
    for key in keys {
        commands.cmd(if exact { "PEXPIRETIME" } else { "PTTL" }).arg(key);
    }
    let mut now_ms = 0;
    if !exact {
        let [seconds, micros] = reply::tuple(peer.ask(&redis::cmd("TIME"))?)?;
        now_ms = reply::integer(&seconds)? * 1000 + reply::integer(&micros)? / 1000;
    }
    let replies = peer.ask_all(&commands)?;
    let at = |reply: &Value| {
        let at = reply::integer(reply)?;
        Ok((at >= 0).then(|| now_ms + at))
    };
    replies.iter().map(at).collect()
}
