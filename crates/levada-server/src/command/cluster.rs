//! CLUSTER subcommand, READONLY, READWRITE, ASKING
//!
//! A server is no part of a cluster; clients that ask are told so.

use super::{BASE, CONTAINER};
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, category, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "cluster",
    syntax: "subcommand ...",
    summary: "Says that there is no cluster.",
    since: "3.0.0",
    group: "cluster",
    subcommands: &[
        none("cluster|countkeysinslot", 3),
        none("cluster|getkeysinslot", 4),
        none("cluster|help", 2),
        none("cluster|info", 2),
        none("cluster|keyslot", 3),
        none("cluster|links", 2),
        none("cluster|myid", 2),
        none("cluster|myshardid", 2),
        none("cluster|nodes", 2),
        none("cluster|replicas", 3),
        none("cluster|shards", 2),
        none("cluster|slots", 2),
    ],
    ..CONTAINER
};

pub(super) const READONLY: CommandSpec = of_nodes("readonly");
pub(super) const READWRITE: CommandSpec = of_nodes("readwrite");
pub(super) const ASKING: CommandSpec = of_nodes("asking");

/// What clients say to a node of a cluster.
const fn of_nodes(name: &'static str) -> CommandSpec {
    let flags = flag::LOADING | flag::STALE | flag::FAST;
    CommandSpec { flags, categories: category::CONNECTION, ..none(name, 1) }
}

const fn none(name: &'static str, arity: i32) -> CommandSpec {
    CommandSpec {
        name,
        summary: "Says that there is no cluster.",
        since: "3.0.0",
        group: "cluster",
        arity,
        flags: flag::STALE,
        run: Run::Server(run),
        ..BASE
    }
}

fn run(_: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    Err(WireError::CLUSTER_DISABLED)
}
