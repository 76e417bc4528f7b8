//! TIME

use super::SERVER;
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "time",
    summary: "Tells the unix time in seconds and microseconds.",
    since: "2.6.0",
    arity: 1,
    flags: flag::LOADING | flag::STALE | flag::FAST,
    run: Run::Server(run),
    ..SERVER
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn run(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let now_ms = context.now.wall_ms;
    let mut writer = context.output.write();
    writer.array(2);
    writer.bulk_integer(now_ms / 1000);
    writer.bulk_integer(now_ms % 1000 * 1000);
    Ok(Then::Done)
}
