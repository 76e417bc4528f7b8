//! The engine as a user of the crate sees it.

mod copies;
mod dedup;
mod defaults;
mod embedded;
mod full_disk;
mod idempotent;
mod names;
mod ordered;
mod policies;
mod policy_rig;
mod redrives;
mod released;
mod restores;
mod schedules;
mod seen;
mod verify;
