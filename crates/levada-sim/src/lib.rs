//! The proving ground: reference model, fault disk, schedules, checkers.
