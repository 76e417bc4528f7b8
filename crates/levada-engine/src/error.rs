//! What can go wrong with storage, by what the caller should do about it.

use std::{fmt, io};

/// An error of the engine.
#[derive(Debug)]
#[non_exhaustive]
pub struct Error {
    /// What the caller should do about it.
    pub kind: ErrorKind,
    /// What was wrong, where, and the remedy, in words for a person.
    pub message: String,
    /// Where damaged bytes stand, if that is what it is about.
    pub place: Option<Place>,
}

/// A place on disk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The file, relative to the data directory.
    pub path: String,
    /// Bytes before it.
    pub offset: u64,
}

/// Kinds of errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Settings or arguments are wrong: mend them.
    Invalid,
    /// What was to be created is there, or the state has moved on: look and decide again.
    Conflict,
    /// What was named is not there.
    NotFound,
    /// Somebody else has the data directory: stop one of the two.
    Busy,
    /// The disk is full: nothing changed; free space, or delete and trim, which goes on.
    Full,
    /// The device failed: nothing more is acknowledged; restart on a sound device.
    Io,
    /// Bytes on disk are damaged, or of a format that this version does not know: nothing was
    /// touched.
    Corrupt,
    /// A subscriber took messages slower than they came, and was closed: subscribe again.
    Overrun,
    /// The engine has stopped after an earlier error.
    Closed,
}

impl Error {
    /// An error of a kind with its message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), place: None }
    }

    /// The same error, about a place on disk.
    #[must_use]
    pub fn at(self, path: &str, offset: u64) -> Self {
        Self { place: Some(Place { path: path.to_owned(), offset }), ..self }
    }

    /// An I/O error while doing something, in words, to a file.
    pub fn io(doing: &str, path: &str, error: &io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("{doing} {path}: {error}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
