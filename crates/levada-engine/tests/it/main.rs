//! The engine as a user of the crate sees it.

mod copies;
mod embedded;
mod idempotent;
mod restores;
mod verify;
