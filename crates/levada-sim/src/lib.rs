//! The proving ground: reference model, fault disk, schedules, checkers.

pub mod disk;
pub mod model;
pub mod random;
