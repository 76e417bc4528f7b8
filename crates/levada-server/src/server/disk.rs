//! What the log says of the disk: that it is full, that it no longer is, what is damaged on it.

use levada_core::error::Error as Refused;
use levada_engine::store::Store as _;

use super::Server;

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
        if std::mem::replace(&mut self.was_full, space.is_full) == space.is_full {
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
}
