//! Looking at a data directory that nobody serves: is everything whole, and if not, what is lost?
//!
//! [`verify`] reads the manifest, the checkpoint, the log behind it and every block that the state
//! names, checks each checksum and chain, and that all of them agree. It changes nothing. Damage is
//! told by file and offset, and by the streams and ids that it touches. [`repair`] does the same,
//! then keeps everything that is whole.
//!
//! What it can do about damage, best first: a second copy ([`Remedy::Copy`]); one flipped bit,
//! flipped back ([`Remedy::Mend`]); the entries of a block deleted, so that the rest of the stream
//! is served and groups go on ([`Remedy::Drop`]); the log cut before the damage ([`Remedy::Cut`]);
//! nothing ([`Remedy::None`]): then the directory is left as it is.

mod inspect;
mod mend;
mod repair;
mod touch;

use levada_core::id::StreamId;

use self::inspect::Inspection;
use super::settings::LocalSettings;
use crate::{
    disk::Disk,
    error::{Error, Place},
};

/// What [`verify`] found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Report {
    /// What is damaged; empty where everything is whole.
    pub damage: Vec<Damage>,
    /// What was looked at.
    pub checked: Checked,
}

/// How much was looked at, the damaged included.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Checked {
    /// Streams in the state.
    pub streams: u64,
    /// Strings in the state.
    pub strings: u64,
    /// Live entries of all streams.
    pub entries: u64,
    /// Groups of all streams.
    pub groups: u64,
    /// Pending entries of all groups.
    pub pending: u64,
    /// Bytes of the checkpoint that are valid.
    pub checkpoint_bytes: u64,
    /// Batches of the log behind the checkpoint.
    pub batches: u64,
    /// Blocks that the state names and a segment must hold.
    pub blocks: u64,
    /// Their bytes.
    pub block_bytes: u64,
}

/// Something that is damaged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Where the damaged structure begins.
    pub place: Place,
    /// What is wrong with it.
    pub what: String,
    /// What it touches; nothing where it is no stream's and no string's.
    pub touches: Vec<Touched>,
    /// What [`repair`] does about it.
    pub remedy: Remedy,
}

/// A key that damage touches.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Touched {
    /// The number of its database.
    pub database: u8,
    /// Its name; `None` where that is not known (the key is gone, or its name is damaged too).
    pub key: Option<Vec<u8>>,
    /// Its number within the data directory.
    pub number: u64,
    /// The ids that may be affected, both included; `None` for a string.
    pub ids: Option<(StreamId, StreamId)>,
    /// How many live entries that are, where known.
    pub entries: Option<u64>,
}

/// What can be done about damage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Remedy {
    /// Another copy is whole: nothing is lost.
    Copy,
    /// Flipping one bit back makes it fit its checksum and everything around it: nothing is lost
    /// (heavier damage passes for one bit with a chance below 1 in 2000).
    Mend,
    /// The entries named are lost and are deleted; the rest of the stream is kept.
    Drop,
    /// The log ends before the damage; what was changed from there on, in any stream, is lost.
    Cut,
    /// Nothing: bring the file back from another copy, or the directory from a backup.
    None,
}

impl Report {
    /// Whether everything is whole.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }

    /// Whether [`repair`] can do nothing.
    pub fn is_beyond_repair(&self) -> bool {
        self.damage.iter().any(|damage| damage.remedy == Remedy::None)
    }
}

/// Looks at everything on a disk and changes nothing. An error is one of the device, or says that
/// there is no data directory; damage is in the report.
pub fn verify<D: Disk>(disk: D) -> Result<Report, Error> {
    Inspection::of(disk).map(|inspection| inspection.report)
}

/// The same, then keeps what is whole, as the remedies of the report say, and gives the disk back.
/// Where something is beyond repair nothing is changed. It can be interrupted and repeated.
pub fn repair<D: Disk>(disk: D, settings: &LocalSettings) -> Result<(Report, D), Error> {
    let inspection = Inspection::of(disk)?;
    if inspection.report.is_sound() || inspection.report.is_beyond_repair() {
        return Ok((inspection.report, inspection.io.into_disk()));
    }
    repair::carry_out(inspection, settings)
}
