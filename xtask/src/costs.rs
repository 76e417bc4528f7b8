//! What operations cost, in figures that do not depend on the machine: allocations and bytes,
//! calls of the system and syncs, instructions.
//!
//! Throughput needs a quiet machine to be told; a thing too many done per request does not. Each
//! figure has a limit and a tolerance in `tests/costs.txt`. Allocations are counted by a test of
//! its own (`xtask/tests/costs.rs`), in the test runner like all others; what needs another program
//! to be counted is counted by `cargo xtask costs`.

mod table;
mod workload;

pub use self::{
    table::{Limit, Measure, Table},
    workload::{Client, OPERATIONS, Operation},
};
