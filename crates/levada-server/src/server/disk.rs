//! What the log says of what runs short: that the disk is full, that it no longer is, what is
//! damaged on it, that no more connections fit. Each is said once, when it begins.

use std::io;

use levada_core::error::Error as Refused;
use levada_engine::store::Store as _;

use super::Server;
use crate::log_event::{LogEvent, LogName};

/// What has been said and not been taken back.
#[derive(Default, Debug)]
pub(super) struct Said {
    full: bool,
    /// Connections are refused, because so many are open.
    refusing: bool,
    /// Connections are not accepted, because the system has no room for them.
    paused: bool,
    /// When it is to be told next that the loop goes round, in monotonic microseconds.
    pub(super) alive_from_us: u64,
}

impl Server {
    /// Says when the disk becomes full, and when it no longer is; and what the scrub has found.
    pub(super) fn note_disk(&mut self) {
        if let Some(Refused::Corrupt { key, first, last }) = self.shard.found_damaged() {
            let stream = key.escape_ascii();
            let message = format!(
                "Damaged on disk: stream {stream}, ids {first} to {last}; everything else is \
                 served. `levada verify` says more"
            );
            let event = LogEvent::new(LogName::BlockDamaged, message).text("stream", &stream);
            self.state.log(&event.text("first", &first).text("last", &last));
        }
        let space = self.shard.store().space();
        if std::mem::replace(&mut self.said.full, space.is_full) == space.is_full {
            return;
        }
        let (free, kept) = (space.free_bytes >> 20, space.reserve_bytes >> 20);
        let event = match space.is_full {
            true => LogEvent::new(
                LogName::DiskFull,
                format!(
                    "The disk is full ({free} MiB free, {kept} MiB kept in reserve): what needs \
                     space is refused with OOMDISK; reading, acknowledging, deleting and trimming \
                     go on"
                ),
            ),
            false => LogEvent::new(
                LogName::DiskHasSpace,
                format!("The disk has space again ({free} MiB free): everything is accepted"),
            ),
        };
        let event = event.number("free_bytes", space.free_bytes);
        self.state.log(&event.number("reserve_bytes", space.reserve_bytes));
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
        let message = format!(
            "New connections are refused: {clients_max} are open, and {why}; those are served"
        );
        let event = LogEvent::new(LogName::ConnectionsRefused, message);
        self.state.log(&event.number("connections_max", clients_max));
    }

    /// Takes that back when there is clearly room again, or it would be said with each that goes.
    pub(super) fn note_room(&mut self, clients_max: u64) {
        let open = self.connections.len() as u64;
        self.said.refusing &= open >= clients_max.saturating_sub(clients_max / 8);
    }

    /// Says that accepting has to pause, unless that was said.
    pub(super) fn note_pause(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.said.paused, true) {
            let message =
                format!("Accepting connections pauses: {error}; those that are open are served");
            let event = LogEvent::new(LogName::AcceptingPaused, message);
            self.state.log(&event.text("error", &error));
        }
    }

    /// Says that it goes on.
    pub(super) fn note_accepted(&mut self) {
        if std::mem::take(&mut self.said.paused) {
            let message = "Accepting connections goes on";
            self.state.log(&LogEvent::new(LogName::AcceptingResumed, message));
        }
    }
}
