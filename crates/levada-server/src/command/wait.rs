//! WAIT replicas timeout
//! WAITAOF local replicas timeout

use levada_resp::{Protocol, Writer};

use super::BASE;
use crate::context::Context;
use crate::read_arguments::timeout_ms;
use crate::session::Blocked;
use crate::spec::{CommandSpec, Request, Run, Then, category, flag};
use crate::stream_arguments as stream;
use crate::wire_error::WireError;

pub(super) const WAIT: CommandSpec = CommandSpec {
    name: "wait",
    syntax: "replicas timeout",
    summary: "Waits for replicas; there are none, so that it answers 0 when its time is over.",
    since: "3.0.0",
    group: "generic",
    arity: 3,
    flags: flag::BLOCKING,
    categories: category::CONNECTION,
    run: Run::Server(wait),
    ..BASE
};

pub(super) const WAITAOF: CommandSpec = CommandSpec {
    name: "waitaof",
    syntax: "local replicas timeout",
    summary: "Waits until what the connection wrote is on disk.",
    since: "7.2.0",
    group: "generic",
    arity: 4,
    flags: flag::BLOCKING,
    categories: category::CONNECTION,
    run: Run::Server(wait_for_disk),
    ..BASE
};

fn wait(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let replicas = stream::integer(request.arg(1))?;
    let timeout = timeout_ms(request.arg(2), request.now.monotonic_ms())?;
    sleep_or_answer(context, request, replicas, timeout)
}

fn wait_for_disk(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let local = stream::integer(request.arg(1))?;
    if !(0..=1).contains(&local) {
        return Err(WireError::Fixed("ERR value is out of range, value must between 0 and 1"));
    }
    let replicas = stream::integer(request.arg(2))?;
    if replicas < 0 {
        return Err(WireError::Fixed("ERR value is out of range, must be positive"));
    }
    let timeout = timeout_ms(request.arg(3), request.now.monotonic_ms())?;
    sleep_or_answer(context, request, replicas, timeout)
}

/// Answers at once where no replica is asked for, or inside EXEC.
fn sleep_or_answer(
    context: &mut Context<'_>,
    request: &Request<'_>,
    replicas: i64,
    timeout: u64,
) -> Result<Then, WireError> {
    if replicas > 0 && !context.in_transaction {
        let until = (timeout > 0).then(|| request.now.monotonic_ms().saturating_add(timeout));
        return Ok(Then::Sleep(until));
    }
    let mut writer = context.output.write();
    if request.spec.name == WAIT.name {
        writer.integer(0);
        return Ok(Then::Done);
    }
    writer.array(2);
    writer.integer(1);
    writer.integer(0);
    Ok(Then::Wait(context.shard.wait_for_everything()))
}

/// What a sleeper is told when its time is over.
pub(crate) fn reply(out: &mut Vec<u8>, protocol: Protocol, blocked: &Blocked) {
    let mut writer = Writer::new(out, protocol);
    if blocked.spec.name == WAIT.name {
        writer.integer(0);
    } else {
        writer.array(2);
        writer.integer(1);
        writer.integer(0);
    }
}
