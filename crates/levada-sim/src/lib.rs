//! The proving ground: reference model, fault disk, schedules, checkers.

pub mod model;
pub mod random;
