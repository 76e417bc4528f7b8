//! MEMORY USAGE key \[SAMPLES n]

use levada_core::command::Command;

use super::{BASE, CONTAINER, SECOND_KEY};
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, flag};
use crate::stream_arguments::integer;
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "memory",
    syntax: "subcommand ...",
    summary: "Tells what memory is used for.",
    since: "4.0.0",
    group: "server",
    subcommands: &[CommandSpec {
        name: "memory|usage",
        syntax: "key [SAMPLES n]",
        summary: "Tells how many bytes of memory a key takes.",
        since: "4.0.0",
        group: "server",
        arity: -3,
        flags: flag::READONLY,
        keys: SECOND_KEY,
        run: Run::Engine(usage, plain),
        ..BASE
    }],
    ..CONTAINER
};

fn usage<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    match request.rest(3) {
        [] => {}
        // Nothing is estimated, so that the number of samples does not matter.
        [word, samples] if word.eq_ignore_ascii_case(b"SAMPLES") => {
            u64::try_from(integer(samples)?).map_err(|_| WireError::SYNTAX)?;
        }
        _ => return Err(WireError::SYNTAX),
    }
    Ok(Command::MemoryUsage(request.key(2)).into())
}
