//! A server that does nothing: the loop, the parser and the replies alone, which no engine can
//! outrun. Told to, it writes and syncs a page before replies leave, which no log can outrun. In
//! bench builds only.

use std::fs;
use std::io;

use levada_engine::disk::file::FileDisk;
use levada_engine::disk::pages::SyncedPages;
use levada_engine::error::Error;

use crate::output::Output;
use crate::settings::Settings;

/// Below the directory of the data.
const DIRECTORY: &str = "null";

/// The syncs of such a server, if it makes any.
#[derive(Default, Debug)]
pub(crate) struct Syncs(Option<SyncedPages>);

impl Syncs {
    pub(crate) fn open(settings: &Settings) -> Result<Self, Error> {
        if !settings.null_syncs {
            return Ok(Self(None));
        }
        let directory = settings.directory.join(DIRECTORY);
        let failed = |error: &io::Error| Error::io("preparing", "the pages to sync", error);
        // Of the process before.
        if let Err(error) = fs::remove_dir_all(&directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(failed(&error));
        }
        let pages = SyncedPages::create(FileDisk::open(directory)?, "pages");
        Ok(Self(Some(pages.map_err(|error| failed(&error))?)))
    }

    /// Whether requests of so many bytes are synced.
    pub(crate) fn are_due(&self, bytes: usize) -> bool {
        self.0.is_some() && bytes > 0
    }

    /// Before the replies to requests of so many bytes leave.
    pub(crate) fn sync(&mut self, bytes: usize) -> Result<(), Error> {
        let pages = self.0.as_mut().filter(|_| bytes > 0);
        let synced = pages.map_or(Ok(()), SyncedPages::sync_next);
        synced.map_err(|error| Error::io("syncing", "a page", &error))
    }
}

/// Answers a request of the benches as if it had been done; `false` for all others.
pub(crate) fn answer(args: &[&[u8]], output: &mut Output<'_>) -> bool {
    let is = |name: &str| args.first().is_some_and(|arg| arg.eq_ignore_ascii_case(name.as_bytes()));
    if is("xadd") {
        output.write().bulk(b"1-1");
    } else if is("xack") {
        let ids = args.len().saturating_sub(3);
        output.write().integer(i64::try_from(ids).expect("a request is not so long"));
    } else if is("xreadgroup") {
        output.write().null_array();
    } else {
        return false;
    }
    true
}
