//! The book of a system outside: what it did, each thing once, on disk before it says so.
//!
//! Banks, carriers and mail systems take a key with each request, and do nothing the second time.
//! A [`Book`] stands for such a system in a demo: a text file with one line for each thing done,
//! `KEY<TAB>TEXT`. It outlives a `kill -9` of the process that writes it; a line that the kill tore
//! was never acknowledged, and is cut off. One process at a time has a book.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::until;

/// Longest wait for whoever had a book and is ending: a killed process, or a child that was forked
/// from us and has not begun its program.
const ENDING_MAX: Duration = Duration::from_secs(2);

/// An open book. The process that has it holds a lock on its file, which ends with the process.
#[derive(Debug)]
pub struct Book {
    /// Held while a line is written and synced: what is looked up is on disk.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    lines: HashMap<String, String>,
    /// Bytes of the file that are whole lines.
    len: u64,
    repeats: u64,
}

fn lock(file: &File, path: &Path) -> io::Result<()> {
    let locked = until("the book is free", ENDING_MAX, || match file.try_lock() {
        Ok(()) => Ok(Some(Ok(()))),
        Err(TryLockError::Error(error)) => Ok(Some(Err(error))),
        Err(TryLockError::WouldBlock) => Ok(None),
    });
    locked.map_err(|_| io::Error::other(format!("another process has {}", path.display())))?
}

impl Book {
    /// Opens a book, made where it is missing. Fails where another process has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        lock(&file, path)?;
        let lines = lines(path)?;
        let len = lines.iter().map(|(key, text)| (key.len() + text.len() + 2) as u64).sum();
        file.set_len(len)?;
        let lines = lines.into_iter().collect();
        Ok(Self { inner: Mutex::new(Inner { file, lines, len, repeats: 0 }) })
    }

    /// Writes a thing down; it is on disk when this returns. `false` where its key stands there
    /// already: nothing is done a second time. Neither key nor text may contain a line break, the
    /// key no tab.
    pub fn write(&self, key: &str, text: &str) -> io::Result<bool> {
        Ok(self.write_all(&[(key.to_owned(), text.to_owned())])? == 1)
    }

    /// The same for several things with one sync; answers how many were new.
    pub fn write_all(&self, things: &[(String, String)]) -> io::Result<usize> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut new, mut bytes) = (Vec::new(), Vec::new());
        for (key, text) in things {
            assert!(!key.contains(['\t', '\n']) && !text.contains('\n'), "a thing is one line");
            let is_known = inner.lines.contains_key(key) || new.iter().any(|(it, _)| *it == key);
            if is_known {
                inner.repeats += 1;
                continue;
            }
            new.push((key, text));
            writeln!(bytes, "{key}\t{text}")?;
        }
        if new.is_empty() {
            return Ok(0);
        }
        if let Err(error) = inner.file.write_all(&bytes).and_then(|()| inner.file.sync_data()) {
            // What may stand there in part must not be followed by another line.
            inner.file.set_len(inner.len)?;
            return Err(error);
        }
        inner.len += bytes.len() as u64;
        let count = new.len();
        for (key, text) in new {
            inner.lines.insert(key.clone(), text.clone());
        }
        Ok(count)
    }

    /// What was written under a key.
    pub fn get(&self, key: &str) -> Option<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.lines.get(key).cloned()
    }

    /// Requests since it was opened that came a second time.
    pub fn repeats(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).repeats
    }
}

/// The lines of a book, in order, key and text; also while a process has it. None where it is
/// missing; a torn last line is left out.
pub fn lines(path: &Path) -> io::Result<Vec<(String, String)>> {
    let text = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let whole = str::from_utf8(&text[..whole]).map_err(io::Error::other)?;
    let line = |line: &str| {
        let bad = || io::Error::other(format!("{}: no line of a book: {line:?}", path.display()));
        let (key, text) = line.split_once('\t').ok_or_else(bad)?;
        Ok((key.to_owned(), text.to_owned()))
    };
    whole.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Directory;

    #[test]
    fn a_thing_is_done_once_also_behind_a_kill_in_the_middle_of_a_line() {
        let dir = Directory::new("stage-book").unwrap();
        let path = dir.path().join("bank.book");
        assert!(lines(&path).unwrap().is_empty());
        let book = Book::open(&path).unwrap();
        assert!(book.write("a", "1").unwrap());
        assert!(!book.write("a", "2").unwrap());
        assert_eq!((book.get("a").as_deref(), book.repeats()), (Some("1"), 1));
        let twice = [("b".to_owned(), "3".to_owned()), ("b".to_owned(), "4".to_owned())];
        assert_eq!(book.write_all(&twice).unwrap(), 1);
        assert!(Book::open(&path).is_err(), "it is ours");
        drop(book);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"c\thal").unwrap();
        assert_eq!(lines(&path).unwrap().len(), 2);
        let book = Book::open(&path).unwrap();
        assert!(book.write("c", "whole").unwrap());
        let all = lines(&path).unwrap();
        let all: Vec<_> = all.iter().map(|(key, text)| (&**key, &**text)).collect();
        assert_eq!(all, [("a", "1"), ("b", "3"), ("c", "whole")]);
        dir.remove().unwrap();
    }
}
