//! What operations cost, in figures that do not depend on the machine: allocations and their
//! bytes, reads and writes of files.
//!
//! Throughput needs a quiet machine to be told; a thing too many done per request does not. Each
//! figure has a limit and a tolerance in `tests/costs.txt`; a test of its own counts them
//! (`xtask/tests/costs.rs`). What needs another program to be counted is counted by hand:
//! docs/adr/0015-costs-are-guarded-in-counts.md.

mod table;
mod workload;

pub use self::{
    table::{Limit, Measure, Table},
    workload::{Client, OPERATIONS, Operation},
};
