//! Reads streams and strings from an RDB file.
//!
//! A file can only be read from its beginning, and a stream's groups stand behind its entries,
//! though the entries cannot be written without knowing what is pending. So the file is walked
//! three times: once for strings and for all streams' numbers and groups, then by two cursors, one
//! that serves the copying and one that serves the comparison, each going forward only.
//!
//! Memory: what is pending in the file, 40 bytes each; names of groups and consumers; and one node.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use levada_rdb::{File, FileKey, Item as Part};

use super::id::Id;
use super::key::{FromFile, Item};
use super::peer::readable;
use super::source::{Entry, Group, Owner, Pending, Source, Summary};

/// Cursors that are kept: more would be used only if streams were asked for out of order.
const CURSORS_MAX: usize = 2;

/// The streams of a file.
pub(crate) struct Streams {
    path: PathBuf,
    known: Vec<Known>,
    /// Where each stands in `known`.
    places: HashMap<(i64, Vec<u8>), usize>,
    /// The database of the stream that is read.
    pub(crate) database: i64,
    cursors: Vec<Cursor>,
}

/// What the first walk found out about a stream.
struct Known {
    item: Item,
    summary: Summary,
    groups: Vec<levada_rdb::Group>,
}

impl Streams {
    /// Walks the file once: hands out what is no stream, and remembers the streams.
    pub(crate) fn open(
        path: &Path,
        mut other: impl FnMut(Item, FromFile<'_>) -> Result<()>,
    ) -> Result<Self> {
        let (mut known, mut places) = (Vec::<Known>::new(), HashMap::new());
        for part in walk(path)? {
            match part.with_context(|| path.display().to_string())? {
                Part::Text(key, value) => other(item(key, "string")?, FromFile::Text(value))?,
                Part::Unsupported(key, kind) => other(item(key, kind)?, FromFile::Unsupported)?,
                Part::StreamBegin(key) => {
                    let item = item(key, "stream")?;
                    places.insert((item.database, item.key.clone()), known.len());
                    known.push(Known { item, summary: Summary::default(), groups: Vec::new() });
                }
                part => {
                    let stream = known.last_mut().context("a part of a stream before any")?;
                    stream.add(part);
                }
            }
        }
        let path = path.to_owned();
        Ok(Self { path, known, places, database: 0, cursors: Vec::new() })
    }

    /// All streams, in the order of the file.
    pub(crate) fn items(&self) -> Vec<Item> {
        self.known.iter().map(|stream| stream.item.clone()).collect()
    }

    fn place(&self, key: &[u8]) -> Result<usize> {
        let place = self.places.get(&(self.database, key.to_owned()));
        place.copied().with_context(|| format!("there is no {} in the file", readable(key)))
    }

    /// A cursor that stands before this id of this stream, or at it.
    fn cursor(&mut self, place: usize, from: Id) -> Result<&mut Cursor> {
        let before = |cursor: &Cursor| (cursor.place, cursor.next) <= (place, from);
        let nearest = (0..self.cursors.len())
            .filter(|at| before(&self.cursors[*at]))
            .max_by_key(|at| (self.cursors[*at].place, self.cursors[*at].next));
        let at = if let Some(at) = nearest {
            at
        } else {
            if self.cursors.len() == CURSORS_MAX {
                self.cursors.remove(0);
            }
            self.cursors.push(Cursor::new(&self.path)?);
            self.cursors.len() - 1
        };
        Ok(&mut self.cursors[at])
    }
}

impl Known {
    /// Takes in what is not an entry.
    fn add(&mut self, part: Part) {
        match part {
            Part::Entries(node) => self.summary.length += node.len(),
            Part::Ids(ids) => {
                self.summary.last_id = ids.last_id.into();
                self.summary.entries_added = Some(ids.entries_added);
                self.summary.deleted_id_max = Some(ids.max_deleted_id.into());
            }
            Part::Group(group) => self.groups.push(group),
            Part::StreamEnd(Some(idmp)) => {
                let ids = idmp.producers.iter().map(|producer| producer.entries.len() as u64);
                self.summary.idempotent = ids.sum();
            }
            _ => {}
        }
    }
}

impl Source for Streams {
    fn summary(&mut self, key: &[u8]) -> Result<Summary> {
        Ok(self.known[self.place(key)?].summary.clone())
    }

    fn entries(&mut self, key: &[u8], from: Id, to: Id, count: usize) -> Result<Vec<Entry>> {
        let place = self.place(key)?;
        let path = self.path.display().to_string();
        let cursor = self.cursor(place, from)?;
        cursor.read(place, (from, to), count).with_context(|| path)
    }

    fn groups(&mut self, key: &[u8]) -> Result<Vec<Group>> {
        let place = self.place(key)?;
        let groups = self.known[place].groups.iter().map(|group| {
            let mut consumers =
                group.consumers.iter().map(|consumer| consumer.name.clone()).collect::<Vec<_>>();
            consumers.sort();
            Group {
                name: group.name.clone(),
                last_id: group.last_id.into(),
                entries_read: group.entries_read,
                consumers,
            }
        });
        let mut groups = groups.collect::<Vec<_>>();
        groups.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(groups)
    }

    fn pending(
        &mut self,
        key: &[u8],
        group: &[u8],
        from: Id,
        count: usize,
    ) -> Result<Vec<Pending>> {
        let place = self.place(key)?;
        let mut groups = self.known[place].groups.iter();
        let group = groups.find(|known| known.name == group).context("there is no such group")?;
        let first = group.pending.partition_point(|pending| Id::from(pending.id) < from);
        let page = group.pending[first..].iter().take(count).map(|pending| {
            let consumer = &group.consumers[pending.consumer];
            let delivered_ms = i64::try_from(pending.delivered_ms).unwrap_or(i64::MAX);
            let owner = Owner { consumer: consumer.name.clone(), delivered_ms };
            Pending { id: pending.id.into(), owner: Some(owner), count: pending.count }
        });
        Ok(page.collect())
    }
}

impl From<levada_rdb::Id> for Id {
    fn from(id: levada_rdb::Id) -> Self {
        Self { ms: id.ms, seq: id.seq }
    }
}

/// Walks through the entries of all streams, forward only.
struct Cursor {
    file: File<fs::File>,
    /// Streams that have begun, less one; the entries of this one are next.
    place: usize,
    has_begun: bool,
    /// Entries of a node that were not handed out yet.
    rest: VecDeque<Entry>,
    /// All entries below this id were handed out or passed over.
    next: Id,
    /// The entries of the stream are over.
    is_over: bool,
}

impl Cursor {
    fn new(path: &Path) -> Result<Self> {
        let (file, rest) = (walk(path)?, VecDeque::new());
        Ok(Self { file, place: 0, has_begun: false, rest, next: Id::MIN, is_over: false })
    }

    fn read(&mut self, place: usize, (from, to): (Id, Id), count: usize) -> Result<Vec<Entry>> {
        while !self.has_begun || self.place < place {
            self.begin_next()?;
        }
        let mut page = Vec::new();
        while page.len() < count {
            if self.rest.is_empty() && !self.next_node()? {
                break;
            }
            match self.rest.front() {
                Some(entry) if entry.id > to => break,
                _ => page.extend(self.rest.pop_front().filter(|entry| entry.id >= from)),
            }
        }
        self.next = page.last().and_then(|last| last.id.next()).unwrap_or(from).max(self.next);
        Ok(page)
    }

    /// Goes to where the next stream begins.
    fn begin_next(&mut self) -> Result<()> {
        loop {
            let part = self.file.next().context("the file changed meanwhile")??;
            if matches!(part, Part::StreamBegin(_)) {
                self.place += usize::from(self.has_begun);
                (self.has_begun, self.is_over, self.next) = (true, false, Id::MIN);
                self.rest.clear();
                return Ok(());
            }
        }
    }

    /// Unpacks the next node; `false` where the stream has no more.
    fn next_node(&mut self) -> Result<bool> {
        while !self.is_over {
            match self.file.next().context("the file changed meanwhile")?? {
                Part::Entries(node) => {
                    let fields = |fields: Vec<(levada_rdb::Text<'_>, levada_rdb::Text<'_>)>| {
                        fields
                            .iter()
                            .flat_map(|(name, value)| [name.to_vec(), value.to_vec()])
                            .collect()
                    };
                    self.rest.extend(
                        node.entries().map(|entry| Entry {
                            id: entry.id.into(),
                            fields: fields(entry.fields),
                        }),
                    );
                    if !self.rest.is_empty() {
                        return Ok(true);
                    }
                }
                Part::StreamBegin(_) => anyhow::bail!("the file changed meanwhile"),
                // Ids come behind the last entry.
                _ => self.is_over = true,
            }
        }
        Ok(false)
    }
}

fn walk(path: &Path) -> Result<File<fs::File>> {
    let open = || path.display().to_string();
    File::open(fs::File::open(path).with_context(open)?).with_context(open)
}

fn item(key: FileKey, kind: &str) -> Result<Item> {
    let FileKey { database, name: key, expires_at_ms: expires_ms } = key;
    let database = i64::try_from(database).context("the number of a database")?;
    Ok(Item { database, key, kind: kind.to_owned(), expires_ms })
}
