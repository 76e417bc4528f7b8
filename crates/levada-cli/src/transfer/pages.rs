//! Cursors over a source: entries in pages, pending entries in pages, and a thread that reads ahead
//! of whoever works on them.
//!
//! Memory: a page is meant to have at most four megabytes, and two pages wait for the worker.

use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::Result;

use super::id::Id;
use super::source::{Entry, Pending, Source};

/// Bytes of values that a page is meant to have at most.
const PAGE_BYTES: usize = 4 << 20;
/// Bytes that an entry is taken for beside those of its values.
const FIELD_BYTES: usize = 16;
/// Entries of the first page, when nothing is known of their size.
const FIRST_PAGE: usize = 16;
/// Times that a page may be longer than the one before: the entries in it may be larger.
const GROWTH: usize = 4;
/// Pages that wait for the worker.
const PAGES_AHEAD: usize = 2;

/// Reads entries in pages.
pub(crate) struct Pages {
    next: Option<Id>,
    to: Id,
    count: usize,
    count_max: usize,
}

impl Pages {
    /// Pages of at most `count_max` entries, of the ids in `from..=to`; no `from`, no page.
    pub(crate) fn new(from: Option<Id>, to: Id, count_max: usize) -> Self {
        let count = FIRST_PAGE.min(count_max);
        Self { next: from.filter(|from| *from <= to), to, count, count_max }
    }

    /// The next page; empty at the end.
    pub(crate) fn next(&mut self, source: &mut dyn Source, key: &[u8]) -> Result<Vec<Entry>> {
        let Some(from) = self.next else {
            return Ok(Vec::new());
        };
        let page = source.entries(key, from, self.to, self.count)?;
        self.next = match page.last() {
            Some(last) if page.len() == self.count => last.id.next().filter(|id| *id <= self.to),
            _ => None,
        };
        let largest = page.iter().map(bytes).max().unwrap_or(1).max(1);
        let grown = self.count_max.min(self.count * GROWTH);
        self.count = (PAGE_BYTES / largest).clamp(1, grown);
        Ok(page)
    }
}

fn bytes(entry: &Entry) -> usize {
    entry.fields.iter().map(|field| field.len() + FIELD_BYTES).sum()
}

/// Reads what is pending in a group, in pages.
pub(crate) struct Waiting {
    group: Vec<u8>,
    count: usize,
    next: Option<Id>,
    page: VecDeque<Pending>,
}

impl Waiting {
    /// What is pending from this id on, in pages of at most `count`.
    pub(crate) fn new(group: &[u8], from: Id, count: usize) -> Self {
        Self { group: group.to_owned(), count, next: Some(from), page: VecDeque::new() }
    }

    /// The next one.
    pub(crate) fn peek(&mut self, source: &mut dyn Source, key: &[u8]) -> Result<Option<&Pending>> {
        if self.page.is_empty() {
            self.page = self.page(source, key)?.into();
        }
        Ok(self.page.front())
    }

    /// Goes behind it.
    pub(crate) fn pop(&mut self) {
        self.page.pop_front();
    }

    /// The next page; empty at the end.
    pub(crate) fn page(&mut self, source: &mut dyn Source, key: &[u8]) -> Result<Vec<Pending>> {
        let Some(from) = self.next else {
            return Ok(Vec::new());
        };
        let page = source.pending(key, &self.group, from, self.count)?;
        self.next = page.last().and_then(|last| last.id.next());
        Ok(page)
    }
}

/// What is to be read of a stream.
pub(crate) struct Range<'a> {
    pub(crate) key: &'a [u8],
    /// Where to begin; `None` is behind the end.
    pub(crate) from: Option<Id>,
    pub(crate) to: Id,
    /// Entries of a page at most.
    pub(crate) count: usize,
    /// Groups whose pending ids come as entries without fields where their entries are gone.
    pub(crate) groups: &'a [Vec<u8>],
}

/// Reads entries in a thread of its own while `work` takes them, page by page, each not empty.
pub(crate) fn read_ahead<T>(
    source: &mut dyn Source,
    range: &Range<'_>,
    work: impl FnOnce(&Receiver<Result<Vec<Entry>>>) -> Result<T>,
) -> Result<T> {
    thread::scope(|scope| {
        // Bounded, so that a slow target stops the reading; and closed by either end.
        let (sender, receiver) = sync_channel(PAGES_AHEAD);
        let reader = scope.spawn(move || {
            if let Err(error) = send_pages(source, range, &sender) {
                // If nobody listens any more, then there is an error already.
                let _ = sender.send(Err(error));
            }
        });
        let result = work(&receiver);
        drop(receiver);
        if let Err(panic) = reader.join() {
            std::panic::resume_unwind(panic);
        }
        result
    })
}

fn send_pages(
    source: &mut dyn Source,
    range: &Range<'_>,
    sender: &SyncSender<Result<Vec<Entry>>>,
) -> Result<()> {
    let Some(from) = range.from else {
        return Ok(());
    };
    let mut pages = Pages::new(range.from, range.to, range.count);
    let mut groups =
        range.groups.iter().map(|group| Waiting::new(group, from, range.count)).collect::<Vec<_>>();
    loop {
        let page = pages.next(source, range.key)?;
        let is_last = pages.next.is_none();
        let end = if is_last { range.to } else { page.last().map_or(range.to, |entry| entry.id) };
        let page = with_the_gone(source, range.key, (page, end), &mut groups)?;
        if (!page.is_empty() && sender.send(Ok(page)).is_err()) || is_last {
            return Ok(());
        }
    }
}

/// Adds to a page the ids up to `end` that are pending and have no entry.
fn with_the_gone(
    source: &mut dyn Source,
    key: &[u8],
    (page, end): (Vec<Entry>, Id),
    groups: &mut [Waiting],
) -> Result<Vec<Entry>> {
    let mut gone = BTreeSet::new();
    for group in groups {
        while let Some(id) = group.peek(source, key)?.map(|pending| pending.id)
            && id <= end
        {
            if page.binary_search_by_key(&id, |entry| entry.id).is_err() {
                gone.insert(id);
            }
            group.pop();
        }
    }
    if gone.is_empty() {
        return Ok(page);
    }
    let mut all = page;
    all.extend(gone.into_iter().map(|id| Entry { id, fields: Vec::new() }));
    all.sort_by_key(|entry| entry.id);
    Ok(all)
}
