//! What the log says of what runs short: that the disk is full, that it no longer is, what is
//! damaged on it, that no more connections fit. Each is said once, when it begins.

use std::io;

use levada_core::error::Error as Refused;
use levada_engine::store::Store as _;

use super::Server;

/// What has been said and not been taken back.
#[derive(Default, Debug)]
pub(super) struct Said {
    full: bool,
    /// Connections are refused, because so many are open.
    refusing: bool,
    /// Connections are not accepted, because the system has no room for them.
    paused: bool,
}

impl Server {
    /// Says when the disk becomes full, and when it no longer is; and what the scrub has found.
    pub(super) fn note_disk(&mut self) {
        if let Some(Refused::Corrupt { key, first, last }) = self.shard.found_damaged() {
            (self.state.settings.log)(&format!(
                "damaged on disk: stream {}, ids {first} to {last}; everything else is served. \
                 `levada verify` says more",
                key.escape_ascii()
            ));
        }
        let space = self.shard.store().space();
        if std::mem::replace(&mut self.said.full, space.is_full) == space.is_full {
            return;
        }
        let (free, kept) = (space.free_bytes >> 20, space.reserve_bytes >> 20);
        (self.state.settings.log)(&match space.is_full {
            true => format!(
                "The disk is full ({free} MiB free, {kept} MiB kept in reserve): what needs space \
                 is refused with OOMDISK; reading, acknowledging, deleting and trimming go on"
            ),
            false => format!("The disk has space again ({free} MiB free): everything is accepted"),
        });
    }

    /// Says that a connection is refused, unless that was said; and of which bound it is beyond.
    pub(super) fn note_refusal(&mut self, clients_max: u64) {
        if std::mem::replace(&mut self.said.refusing, true) {
            return;
        }
        let why = match clients_max < self.state.config.number("maxclients") {
            true => {
                "the limit of open files (ulimit -n) allows no more, as files for data are kept"
            }
            false => "maxclients allows no more",
        };
        (self.state.settings.log)(&format!(
            "New connections are refused: {clients_max} are open, and {why}; those are served"
        ));
    }

    /// Takes that back when there is clearly room again, or it would be said with each that goes.
    pub(super) fn note_room(&mut self, clients_max: u64) {
        let open = self.connections.len() as u64;
        self.said.refusing &= open >= clients_max.saturating_sub(clients_max / 8);
    }

    /// Says that accepting has to pause, unless that was said.
    pub(super) fn note_pause(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.said.paused, true) {
            (self.state.settings.log)(&format!(
                "Accepting connections pauses: {error}; those that are open are served"
            ));
        }
    }

    /// Says that it goes on.
    pub(super) fn note_accepted(&mut self) {
        if std::mem::take(&mut self.said.paused) {
            (self.state.settings.log)("Accepting connections goes on");
        }
    }
}
