//! Compares both sides, page by page, and counts what differs.
//!
//! While a stream is under way the same walk mends it: what the target has and the source has not
//! is removed, be it a placeholder, or an entry that the source deleted since it was copied.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;

use anyhow::Result;

use super::id::Id;
use super::live::Live;
use super::pages::{Pages, Waiting};
use super::peer::readable;
use super::source::{Entry, Group, Pending, Source, Summary};
use super::writer::{self, MARKER};

/// Entries that are deleted with one command.
const DELETE_MAX: usize = 1000;

/// What differs, in words, with a count and the first place.
#[derive(Default, Debug)]
pub(crate) struct Differences(Vec<Difference>);

/// One kind of difference.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) what: &'static str,
    pub(crate) count: u64,
    /// The first place, with both values.
    pub(crate) first: String,
}

impl Differences {
    pub(crate) fn add(&mut self, what: &'static str, first: impl FnOnce() -> String) {
        match self.0.iter_mut().find(|known| known.what == what) {
            Some(known) => known.count += 1,
            None => self.0.push(Difference { what, count: 1, first: first() }),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Difference> {
        self.0.iter()
    }

    /// Two values that should be the same.
    pub(crate) fn check<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &'static str,
        place: &str,
        source: &T,
        target: &T,
    ) {
        if source != target {
            self.add(what, || {
                format!("{place}: {source:?} in the source, {target:?} in the target")
            });
        }
    }
}

/// Compares entries up to `to`; with `mend` it removes from the target what the source has not.
/// `pages` are those of the source.
pub(crate) fn entries(
    pages: &Receiver<Result<Vec<Entry>>>,
    target: &mut Live,
    key: &[u8],
    to: Id,
    (count_max, mend): (usize, bool),
    differences: &mut Differences,
) -> Result<()> {
    let mut mender = Mender { mend, is_first: true, ids: Vec::new() };
    let mut here = VecDeque::new();
    let mut ours = Pages::new(Some(Id::MIN), to, count_max);
    loop {
        let page = pages.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
        let is_over = page.is_empty();
        let end = page.last().map_or(to, |entry| entry.id);
        let mut there = page.into_iter().peekable();
        loop {
            if here.is_empty() {
                here.extend(ours.next(target, key)?);
            }
            let Some(ours) = here.front() else {
                there.for_each(|entry| missing(&entry, differences));
                break;
            };
            match there.peek() {
                Some(theirs) if theirs.id < ours.id => {
                    missing(theirs, differences);
                    there.next();
                }
                Some(theirs) if theirs.id == ours.id => {
                    if theirs.fields != ours.fields {
                        differences.add("entries with other content", || ours.id.to_string());
                    }
                    mender.reached(target, key, Some(ours.id))?;
                    there.next();
                    here.pop_front();
                }
                None if !is_over && ours.id > end => break,
                _ => {
                    mender.extra(target, key, ours.id, differences)?;
                    here.pop_front();
                }
            }
        }
        if is_over {
            return mender.end(target, key);
        }
    }
}

fn missing(entry: &Entry, differences: &mut Differences) {
    differences.add("entries missing", || entry.id.to_string());
}

/// Removes, or reports, what only the target has.
struct Mender {
    mend: bool,
    /// Nothing was found on both sides yet: all that is to go stands in front.
    is_first: bool,
    ids: Vec<Id>,
}

impl Mender {
    fn extra(
        &mut self,
        target: &mut Live,
        key: &[u8],
        id: Id,
        differences: &mut Differences,
    ) -> Result<()> {
        if !self.mend {
            differences.add("entries too many", || id.to_string());
        } else if self.is_first {
            // One trim will do for all of these.
            self.ids = vec![id];
        } else {
            self.ids.push(id);
            if self.ids.len() == DELETE_MAX {
                self.flush(target, key)?;
            }
        }
        Ok(())
    }

    /// Both sides have this entry.
    fn reached(&mut self, target: &mut Live, key: &[u8], id: Option<Id>) -> Result<()> {
        if self.is_first {
            self.is_first = false;
            // A trim leaves no max-deleted-entry-id, as those ids left none in the source either.
            if !std::mem::take(&mut self.ids).is_empty() {
                writer::trim(&mut target.peer, key, id)?;
            }
        }
        Ok(())
    }

    fn end(mut self, target: &mut Live, key: &[u8]) -> Result<()> {
        self.reached(target, key, None)?;
        self.flush(target, key)
    }

    fn flush(&mut self, target: &mut Live, key: &[u8]) -> Result<()> {
        match std::mem::take(&mut self.ids) {
            ids if ids.is_empty() => Ok(()),
            ids => writer::delete(&mut target.peer, key, &ids),
        }
    }
}

/// Compares the numbers of the stream, as far as both sides know them.
pub(crate) fn summaries(source: &Summary, target: &Summary, differences: &mut Differences) {
    differences.check("length", "stream", &source.length, &target.length);
    if source.last_id != target.last_id {
        let (there, here) = (source.last_id, target.last_id);
        differences
            .add("last-generated-id", || format!("{there} in the source, {here} in the target"));
    }
    if let (Some(there), Some(here)) = (source.entries_added, target.entries_added) {
        differences.check("entries-added", "stream", &there, &here);
    }
    if let (Some(there), Some(here)) = (source.deleted_id_max, target.deleted_id_max)
        && there != here
    {
        differences
            .add("max-deleted-entry-id", || format!("{there} in the source, {here} in the target"));
    }
}

/// Compares groups, consumers and pending lists.
pub(crate) fn groups(
    source: &mut dyn Source,
    target: &mut Live,
    key: &[u8],
    count: usize,
    differences: &mut Differences,
) -> Result<()> {
    let knows_reads = target.peer.version >= writer::COUNTERS;
    let theirs = source.groups(key)?;
    let mut ours = target.groups(key)?;
    ours.retain(|group| group.name != MARKER);
    let names =
        |groups: &[Group]| groups.iter().map(|group| readable(&group.name)).collect::<Vec<_>>();
    differences.check("groups", "stream", &names(&theirs), &names(&ours));
    for group in &theirs {
        let Some(other) = ours.iter().find(|other| other.name == group.name) else {
            continue;
        };
        let name = readable(&group.name);
        differences.check("last-delivered-id", &name, &group.last_id, &other.last_id);
        if knows_reads {
            differences.check("entries-read", &name, &group.entries_read, &other.entries_read);
        }
        differences.check("consumers", &name, &group.consumers, &other.consumers);
        pending(source, target, (key, &group.name), count, differences)?;
    }
    Ok(())
}

/// Compares two pending lists, id by id.
fn pending(
    source: &mut dyn Source,
    target: &mut Live,
    (key, group): (&[u8], &[u8]),
    count: usize,
    differences: &mut Differences,
) -> Result<()> {
    let mut theirs = Waiting::new(group, Id::MIN, count);
    let mut ours = Waiting::new(group, Id::MIN, count);
    loop {
        let one = theirs.peek(source, key)?.cloned();
        let other = ours.peek(target, key)?.cloned();
        let (take_theirs, take_ours) = match (&one, &other) {
            (None, None) => return Ok(()),
            (Some(one), Some(other)) => (one.id <= other.id, other.id <= one.id),
            (one, other) => (one.is_some(), other.is_some()),
        };
        let place = |pending: &Pending| format!("{} {}", readable(group), pending.id);
        match (one.filter(|_| take_theirs), other.filter(|_| take_ours)) {
            (Some(one), Some(other)) if one != other => {
                let what = if one.owner == other.owner {
                    "pending: count"
                } else {
                    "pending: owner or time"
                };
                differences.add(what, || {
                    format!("{}: {one:?} in the source, {other:?} in the target", place(&one))
                });
            }
            (Some(one), None) => differences.add("pending: missing", || place(&one)),
            (None, Some(other)) => differences.add("pending: too many", || place(&other)),
            _ => {}
        }
        if take_theirs {
            theirs.pop();
        }
        if take_ours {
            ours.pop();
        }
    }
}
