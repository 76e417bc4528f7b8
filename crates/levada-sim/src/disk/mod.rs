//! The fault disk: a storage device in memory that does the worst that the contract of
//! [`levada_engine::disk`] allows, chosen by a seed, and on demand things that it does not allow.
//!
//! # The fault model
//! **Two images.** Every file has a live image, which reads see (the page cache), and a durable
//! one, which the medium is sure to hold. Between them stand the changes that have completed but
//! are not durable, in order of completion. A completed sync moves those that had completed when
//! it was submitted; one still under way at that moment may or may not persist.
//!
//! **A power cut** ([`FaultDisk::crash`]) leaves, for every file, the durable image and a seeded
//! choice of the rest. Each write persists, is lost, or is torn: any of its 512-byte sectors, or
//! only the first few. Sectors are independent of each other, but one sector never goes back in
//! time: it holds its content of *some* moment since its last sync. So of two writes to one sector
//! the later does not survive without the earlier, and everything else may. Lengths persist apart
//! from data, in order (they are journalled): a file may have grown without the bytes, which are
//! then zero or, in some crashes, garbage. A write under way may persist like any other.
//!
//! **Names** are durable when their directory has been synced, a directory's own name when its
//! parent has. Each unsynced creation, rename and removal persists or not, in any order, with two
//! limits: a rename is one step, and a change of a name implies the earlier changes of that same
//! name. A file without a persisted name is gone, and so is everything in a directory that has
//! none. A rename across directories is durable when both have been synced.
//!
//! **A kill** ([`FaultDisk::kill`]) loses nothing that has completed; a write under way persists,
//! does not, or stops at a sector. What was not durable still is not: a later power cut may take
//! it, although the restarted process has read it.
//!
//! **All of them.** [`FaultDisk::cuts`] tells in how many ways each undecided piece (a sector, a
//! length, a name) may turn out, and [`FaultDisk::cut_to`] cuts the power with the ways chosen, so
//! that short runs are searched whole; [`FaultDisk::kills`] likewise for kills. Garbage is left to
//! the seeds.
//!
//! **Completion.** What is submitted on the background lane is carried out and reported late, in
//! an order drawn from the seed. Reads may overtake writes.
//!
//! **Errors**, by a [`FaultPlan`]: a write fails with nothing or with a part written; a read, a
//! sync, the sync of a directory fails. After a failed sync the data that it should have written
//! counts as *clean*: later syncs succeed without it, reads still show it, and it may be gone after
//! the cut (Linux file systems do so: Rebello et al., ATC 2020). A full disk refuses what needs new
//! sectors; a length set without data takes none. The plan can stop the device at a chosen
//! operation, in the middle of whatever the engine does: from then on every call fails and changes
//! nothing, until a crash or a kill.
//!
//! **Beyond the contract**, only when asked for: [`FaultDisk::flip`] flips a durable bit (rot), and
//! [`Fault::MisdirectedWrite`] has a write reported as done land, durably, somewhere else,
//! [`Fault::LostWrite`] nowhere.
//!
//! Not modelled: a sector that cannot be read after a cut, a sync that lies, blocks of removed
//! files that come back in new ones.
//!
//! Everything is decided by one seeded generator: the same seed and the same calls give the same
//! [`FaultDisk::trace_hash`].

mod device;
mod image;
mod lies;
mod names;
mod outcomes;
mod plan;
mod shared;
#[cfg(test)]
mod tests;
mod trace;

pub use device::{FaultDisk, Flip};
pub use outcomes::Ways;
pub use plan::{Fault, FaultPlan, Struck};
pub use shared::SharedDisk;
pub use trace::Counters;
