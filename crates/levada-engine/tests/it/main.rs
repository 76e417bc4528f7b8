//! The engine as a user of the crate sees it.

mod copies;
mod embedded;
mod full_disk;
mod idempotent;
mod policies;
mod restores;
mod seen;
mod verify;
