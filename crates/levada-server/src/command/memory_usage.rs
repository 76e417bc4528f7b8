//! MEMORY USAGE key \[SAMPLES n], MEMORY STATS, MEMORY DOCTOR, MEMORY PURGE, MEMORY MALLOC-STATS
//! MEMORY HELP

use levada_core::command::Command;
use levada_core::limits::DATABASES;

use super::info::resident_bytes;
use super::{BASE, CONTAINER, SECOND_KEY, help_flags};
use crate::context::Context;
use crate::output::plain;
use crate::spec::{Asked, CommandSpec, Request, Run, Then, access, flag};
use crate::stream_arguments::integer;
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "memory",
    syntax: "subcommand ...",
    summary: "Tells what memory is used for.",
    since: "4.0.0",
    group: "server",
    subcommands: &[
        about("memory|doctor", "Tells where to look when memory grows.", doctor),
        CommandSpec { flags: help_flags(), ..about("memory|help", "Lists the subcommands.", help) },
        about("memory|malloc-stats", "Tells that the allocator keeps no figures.", malloc_stats),
        about("memory|purge", "Does nothing: the allocator gives back by itself.", purge),
        about("memory|stats", "Tells what memory is used for.", stats),
        CommandSpec {
            name: "memory|usage",
            access: &[access::RO],
            syntax: "key [SAMPLES n]",
            summary: "Tells how many bytes of memory a key takes.",
            since: "4.0.0",
            group: "server",
            arity: -3,
            flags: flag::READONLY,
            keys: SECOND_KEY,
            run: Run::Engine(usage, plain),
            ..BASE
        },
    ],
    ..CONTAINER
};

const fn about(
    name: &'static str,
    summary: &'static str,
    run: fn(&mut Context<'_>, &Request<'_>) -> Result<Then, WireError>,
) -> CommandSpec {
    let run = Run::Server(run);
    CommandSpec { name, summary, since: "4.0.0", group: "server", arity: 2, run, ..BASE }
}

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

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn doctor(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().verbatim(
        "Memory holds the names of keys, strings, pending lists, the last entries of each stream \
         and a cache of blocks; MEMORY STATS tells how much of each, MEMORY USAGE what a key \
         takes.\n",
    );
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn stats(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let machine = context.shard.machine();
    let keys = (0..DATABASES).map(|database| machine.keys.len(database) as u64).sum();
    let buffers = |input: usize, output: usize| (input + output) as u64;
    let clients = context.others.iter().map(|other| buffers(other.input.len(), other.out.len()));
    let fields = [
        ("total.allocated", resident_bytes()),
        ("clients.normal", clients.sum()),
        ("pubsub.names", context.shard.listening_bytes() as u64),
        ("keys.count", keys),
        ("strings.bytes", machine.keys.text_bytes()),
        ("stream.tails.bytes", machine.tail_bytes()),
        ("cache.bytes.max", context.state.settings.cache_bytes as u64),
    ];
    context.output.write().map(fields.len());
    for (name, value) in fields {
        context.output.field(name, value);
    }
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn purge(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().ok();
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn malloc_stats(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().bulk(b"Stats not supported for the current allocator");
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DOCTOR",
        "    Tell where to look when memory grows.",
        "MALLOC-STATS",
        "    Figures of the allocator, which keeps none.",
        "PURGE",
        "    Accepted: the allocator gives back by itself.",
        "STATS",
        "    Tell what memory is used for.",
        "USAGE <key> [SAMPLES <count>]",
        "    Tell how many bytes a key takes; nothing is estimated, SAMPLES is accepted.",
        "HELP",
        "    Print this help.",
    ]);
    Ok(Then::Done)
}
