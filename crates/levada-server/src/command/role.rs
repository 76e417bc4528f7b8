//! ROLE

use super::SERVER;
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, category, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "role",
    summary: "Answers that this is a master without replicas.",
    since: "2.8.12",
    arity: 1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST,
    categories: category::ADMIN | category::DANGEROUS,
    run: Run::Server(run),
    ..SERVER
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn run(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let mut writer = context.output.write();
    writer.array(3);
    writer.bulk(b"master");
    writer.integer(0);
    writer.array(0);
    Ok(Then::Done)
}
