//! The proving ground: reference model, fault disk, schedules, checkers.
//!
//! A run is a pure function of its seed. Steps are drawn once ([`op`]) and led through the model
//! and the product side by side ([`pair`]); states are compared as text ([`dump`]), and what they
//! say of themselves is counted anew ([`books`]). [`lockstep`] does so with the state machine
//! alone, [`crash`] with the whole engine on a [`disk`] that fails. [`flips`] damages what lies on
//! disk. [`history`] judges what clients were told, here and by the rigs that kill the real server.

pub mod books;
pub mod crash;
pub mod disk;
pub mod dump;
pub mod flips;
pub mod history;
pub mod lockstep;
pub mod model;
pub mod op;
pub mod pair;
pub mod policies;
pub mod random;
pub mod record;
pub mod recording;
pub mod replica;
pub mod shrink;
