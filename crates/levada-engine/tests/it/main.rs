//! The engine as a user of the crate sees it.

mod backup;
mod copies;
mod dedup;
mod defaults;
mod embedded;
mod full_disk;
mod idempotent;
mod limits;
mod ordered;
mod policies;
mod policy_rig;
mod reads;
mod redrives;
mod released;
mod restores;
mod schedules;
mod seen;
mod strings;
mod tails;
mod verify;
mod watches;
