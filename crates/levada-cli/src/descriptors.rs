//! Open files: connections must never take the descriptors that the store needs for a new file, as
//! a store that cannot open one has to stop.

use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for the files of the store (128 segments, the log, a checkpoint; each may be
/// open a second time, to be written past the system's cache), listeners, the loop itself, and the
/// connection beyond `maxclients`.
const KEPT: u64 = 320;

/// Raises the limit of open files as far as `wanted` connections need it and the system allows it;
/// returns how many fit then. An error where none does.
pub(crate) fn connections_max(wanted: u64) -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let needed = wanted.saturating_add(KEPT).min(limit.maximum.unwrap_or(u64::MAX));
    if limit.current.is_some_and(|current| current < needed) {
        // If it fails the limit stays what it is, and is looked at below.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..limit });
    }
    let Some(current) = getrlimit(Resource::Nofile).current else {
        return Ok(u64::MAX);
    };
    match current.saturating_sub(KEPT) {
        0 => bail!(
            "the limit of {current} open files is too small, {KEPT} are kept for data: raise it \
             with ulimit -n"
        ),
        fit => Ok(fit),
    }
}
