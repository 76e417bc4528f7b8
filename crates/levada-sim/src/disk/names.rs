//! The directory tree: names as the process sees them, as the medium holds them, and the changes
//! between the two.
//!
//! Invariant: the changes, applied in order to the durable names, give the live ones. Directories
//! are names too; the root is `""` and always there.

use std::collections::{BTreeMap, BTreeSet};

use crate::random::Random;

/// See the module.
#[derive(Clone, Default, Debug)]
pub(super) struct Names {
    live: BTreeMap<String, Entry>,
    durable: BTreeMap<String, Entry>,
    changes: Vec<Change>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    File(u32),
    Directory,
}

/// One step: a creation adds, a removal removes, a rename does both.
#[derive(Clone, Debug)]
struct Change {
    removes: Option<String>,
    adds: Option<(String, Entry)>,
    /// Directories that must yet be synced; durable when there is none left.
    unsynced: BTreeSet<String>,
}

impl Names {
    /// The file of a name.
    pub(super) fn file(&self, path: &str) -> Option<u32> {
        match self.live.get(path) {
            Some(Entry::File(file)) => Some(*file),
            _ => None,
        }
    }

    /// All names of files with their files, sorted.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, u32)> {
        self.live.iter().filter_map(|(path, entry)| match entry {
            Entry::File(file) => Some((path.as_str(), *file)),
            Entry::Directory => None,
        })
    }

    /// Every file that has a name, or may have one again after a crash.
    pub(super) fn referenced(&self) -> BTreeSet<u32> {
        let added = self.changes.iter().filter_map(|change| change.adds.as_ref());
        let entries = self.live.values().chain(self.durable.values());
        let entries = entries.chain(added.map(|(_, entry)| entry));
        let file = |entry: &Entry| match entry {
            Entry::File(file) => Some(*file),
            Entry::Directory => None,
        };
        entries.filter_map(file).collect()
    }

    pub(super) fn has_directory(&self, path: &str) -> bool {
        path.is_empty() || self.live.get(path) == Some(&Entry::Directory)
    }

    /// Names of the files directly in a directory, sorted.
    pub(super) fn list(&self, directory: &str) -> Vec<String> {
        let names = self.files().map(|(path, _)| split(path));
        let inside = names.filter(|(parent, _)| *parent == directory);
        inside.map(|(_, name)| name.to_owned()).collect()
    }

    pub(super) fn create(&mut self, path: &str, file: u32) {
        self.change(None, Some((path, Entry::File(file))));
    }

    /// Makes a directory and what is missing above it. False if a file stands in the way.
    pub(super) fn create_directory(&mut self, path: &str) -> bool {
        if self.has_directory(path) {
            return true;
        }
        let free = !self.live.contains_key(path) && self.create_directory(split(path).0);
        if free {
            self.change(None, Some((path, Entry::Directory)));
        }
        free
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, file: u32) {
        self.change(Some(from), Some((to, Entry::File(file))));
    }

    pub(super) fn remove(&mut self, path: &str) {
        self.change(Some(path), None);
    }

    /// Makes the entries of a directory durable, and what they rest on.
    pub(super) fn sync(&mut self, directory: &str) {
        for change in &mut self.changes {
            change.unsynced.remove(directory);
        }
        self.persist(|change| change.unsynced.is_empty());
    }

    /// The power cut.
    pub(super) fn crash(&mut self, random: &mut Random) {
        if random.chance(50) {
            // A journalling file system keeps a prefix; the others, any of them.
            self.changes.truncate(random.index(self.changes.len() + 1));
            self.persist(|_| true);
        } else {
            let percent = *random.pick(&[0, 20, 50, 80, 100]);
            self.persist(|_| random.chance(percent));
        }
        self.restart();
    }

    /// How many changes of names are not durable.
    pub(super) fn unsynced(&self) -> usize {
        self.changes.len()
    }

    /// The power cut; which changes persist, and with them the earlier ones of the same names.
    pub(super) fn crash_to(&mut self, persists: &[bool]) {
        let mut persists = persists.iter().rev();
        self.persist(|_| *persists.next().unwrap_or(&false));
        self.restart();
    }

    /// What is left is what is durable and can be reached.
    fn restart(&mut self) {
        self.changes.clear();
        let orphans: Vec<_> =
            self.durable.keys().filter(|path| !self.reachable(path)).cloned().collect();
        for orphan in orphans {
            self.durable.remove(&orphan);
        }
        self.live.clone_from(&self.durable);
    }

    fn change(&mut self, removes: Option<&str>, adds: Option<(&str, Entry)>) {
        let names = removes.into_iter().chain(adds.map(|(path, _)| path));
        let change = Change {
            unsynced: names.map(|path| split(path).0.to_owned()).collect(),
            removes: removes.map(str::to_owned),
            adds: adds.map(|(path, entry)| (path.to_owned(), entry)),
        };
        change.apply(&mut self.live);
        self.changes.push(change);
    }

    /// Applies the chosen changes to the durable names, together with every earlier change of a
    /// name that a chosen one touches: a name does not go back in time.
    fn persist(&mut self, mut chosen: impl FnMut(&Change) -> bool) {
        let mut touched = BTreeSet::new();
        let mut persisted = Vec::new();
        for change in self.changes.iter().rev() {
            let implied = change.names().any(|name| touched.contains(name));
            let persists = chosen(change) || implied;
            if persists {
                touched.extend(change.names().map(str::to_owned));
            }
            persisted.push(persists);
        }
        for change in std::mem::take(&mut self.changes) {
            if persisted.pop().expect("one answer for each change") {
                change.apply(&mut self.durable);
            } else {
                self.changes.push(change);
            }
        }
    }

    /// Whether all directories above a name are durable.
    fn reachable(&self, path: &str) -> bool {
        let parent = split(path).0;
        parent.is_empty() || (self.durable.contains_key(parent) && self.reachable(parent))
    }
}

impl Change {
    fn names(&self) -> impl Iterator<Item = &str> {
        let added = self.adds.as_ref().map(|(path, _)| path);
        self.removes.iter().chain(added).map(String::as_str)
    }

    fn apply(&self, names: &mut BTreeMap<String, Entry>) {
        if let Some(path) = &self.removes {
            names.remove(path);
        }
        if let Some((path, entry)) = &self.adds {
            names.insert(path.clone(), *entry);
        }
    }
}

/// Directory and name.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
