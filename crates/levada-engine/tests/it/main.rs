//! The engine as a user of the crate sees it.

mod copies;
mod embedded;
mod full_disk;
mod idempotent;
mod ordered;
mod policies;
mod policy_rig;
mod redrives;
mod restores;
mod verify;
