//! Faults that are brought to the server from outside: what is done to it at a random moment of the
//! load, and what must come of it at once. Whether all that was acknowledged is there afterwards is
//! asked of every fault alike.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::load::Load;
use super::server::Server;
use super::{Rig, Totals};

/// Longest wait for the end of a server whose data directory is gone. It looks at the directory
/// some times a second while there is work.
const END_MAX: Duration = Duration::from_secs(10);
/// Longest wait until a directory is removed in which the server makes files.
const REMOVAL_MAX: Duration = Duration::from_secs(10);
/// What a server says whose data directory is gone.
const GONE: &str = "removed, renamed or replaced";

impl Rig {
    /// Renames the data directory under load, or removes it. Answers the moment from which on
    /// nothing may be acknowledged any more, and how it went; the data are back in their place.
    pub(super) fn take_directory(
        &mut self,
        load: &Load,
        removed: bool,
        totals: &mut Totals,
    ) -> (u64, Result<()>) {
        let data = self.server.data().to_owned();
        let away = data.with_extension("away");
        let taken = match removed {
            true => remove(&data),
            false => std::fs::rename(&data, &away).context("the data directory stays"),
        };
        let moment = load.moment();
        totals.faults += 1;
        let ended = taken.and_then(|()| ended_for(&mut self.server, GONE));
        let back = match (removed, data.exists()) {
            (true, true) => Err(anyhow::anyhow!("the server brought its directory back")),
            (false, true) => Err(anyhow::anyhow!("the server made a directory in its place")),
            (true, false) => Ok(()),
            (false, false) => std::fs::rename(&away, &data).context("the data stay away"),
        };
        (moment, ended.and(back))
    }
}

/// Waits until the server has ended by itself, and for the reason that it should have.
fn ended_for(server: &mut Server, reason: &str) -> Result<()> {
    let by_itself = server.wait(END_MAX)?;
    server.end()?;
    ensure!(by_itself, "the server goes on without its data directory");
    let said = server.said();
    ensure!(said.contains(reason), "the server does not say why it ended, but:\n{said}");
    Ok(())
}

/// Removes a directory in which a server makes files meanwhile.
fn remove(data: &Path) -> Result<()> {
    let deadline = Instant::now() + REMOVAL_MAX;
    while Instant::now() < deadline {
        match std::fs::remove_dir_all(data) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound && !data.exists() => return Ok(()),
            // A file came, or went, between two calls.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {}
            Err(error) => return Err(error).context("the data directory stays"),
        }
    }
    bail!("{} cannot be removed", data.display())
}
