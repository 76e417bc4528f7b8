//! CLUSTER subcommand
//!
//! A server is no part of a cluster; clients that ask are told so.

use super::{BASE, CONTAINER};
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "cluster",
    syntax: "subcommand ...",
    summary: "Says that there is no cluster.",
    since: "3.0.0",
    group: "cluster",
    subcommands: &[
        none("cluster|info", 2),
        none("cluster|keyslot", 3),
        none("cluster|myid", 2),
        none("cluster|nodes", 2),
        none("cluster|shards", 2),
        none("cluster|slots", 2),
    ],
    ..CONTAINER
};

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
