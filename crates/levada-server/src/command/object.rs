//! OBJECT ENCODING|FREQ|IDLETIME|REFCOUNT key, OBJECT HELP

use levada_core::command::Command;
use levada_core::error::Error;
use levada_core::reply::Reply;

use super::{CONTAINER, GENERIC, SECOND_KEY, help_flags};
use crate::context::Context;
use crate::number::parse_i64;
use crate::output::Output;
use crate::spec::{Asked, CommandSpec, Names, Request, Run, Then, access, flag};
use crate::wire_error::WireError;

/// Longest string that Redis keeps in one piece with its header.
const EMBEDDED_BYTES_MAX: usize = 44;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "object",
    syntax: "subcommand ...",
    summary: "Tells how a value is kept.",
    since: "2.2.3",
    group: "generic",
    subcommands: &[
        about(
            "object|encoding",
            "Names the form of a value, in the words of Redis.",
            "2.2.3",
            Run::Server(encoding),
        ),
        about(
            "object|freq",
            "Refuses: how often keys are used is not counted.",
            "4.0.0",
            Run::Engine(exists, frequency),
        ),
        about(
            "object|idletime",
            "Tells for how many seconds a key was not used.",
            "2.2.3",
            Run::Server(idle_time),
        ),
        about(
            "object|refcount",
            "Answers 1: values are not shared.",
            "2.2.3",
            Run::Engine(exists, references),
        ),
        CommandSpec {
            name: "object|help",
            summary: "Lists the subcommands.",
            since: "6.2.0",
            arity: 2,
            flags: help_flags(),
            run: Run::Server(help),
            ..GENERIC
        },
    ],
    ..CONTAINER
};

const fn about(
    name: &'static str,
    summary: &'static str,
    since: &'static str,
    run: Run,
) -> CommandSpec {
    CommandSpec {
        name,
        syntax: "key",
        summary,
        since,
        arity: 3,
        flags: flag::READONLY,
        keys: SECOND_KEY,
        access: &[access::RO],
        run,
        ..GENERIC
    }
}

fn encoding(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let answer = context.ask(&Command::Get(request.key(2)));
    let mut writer = context.output.write();
    match answer.result {
        Ok(Reply::Bytes(bytes)) => writer.bulk(string_encoding(&bytes).as_bytes()),
        Ok(_) => writer.null(),
        Err(Error::WrongType) => writer.bulk(b"stream"),
        Err(error) => return Err(WireError::Core(error, request.spec.name)),
    }
    Ok(Then::Wait(answer.wait))
}

fn string_encoding(bytes: &[u8]) -> &'static str {
    if parse_i64(bytes).is_some() {
        "int"
    } else if bytes.len() <= EMBEDDED_BYTES_MAX {
        "embstr"
    } else {
        "raw"
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every parser")]
fn exists<'a>(request: &Request<'a>) -> Result<Asked<'a>, WireError> {
    Ok(Command::Exists(vec![request.key(2)]).into())
}

#[expect(clippy::needless_pass_by_value, reason = "the type of every reply")]
fn frequency(output: &mut Output<'_>, reply: Reply, _: &Names<'_>) {
    match reply {
        Reply::Integer(1) => output.error(&WireError::NO_FREQUENCY),
        _ => output.write().null(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn idle_time(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let key = request.key(2);
    let answer = context.ask(&Command::Exists(vec![key]));
    match context.shard.machine().keys.number(key) {
        Some(number) => {
            let idle_s = context.state.usage.idle_s(number, context.now);
            context.output.unsigned(idle_s);
        }
        None => context.output.write().null(),
    }
    Ok(Then::Wait(answer.wait))
}

#[expect(clippy::needless_pass_by_value, reason = "the type of every reply")]
fn references(output: &mut Output<'_>, reply: Reply, _: &Names<'_>) {
    of_existing(output, &reply, 1);
}

fn of_existing(output: &mut Output<'_>, reply: &Reply, value: i64) {
    match reply {
        Reply::Integer(1) => output.write().integer(value),
        _ => output.write().null(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Name the form in which the value is kept.",
        "FREQ <key>",
        "    How often the key is used; not counted here.",
        "IDLETIME <key>",
        "    For how many seconds the key was not used.",
        "REFCOUNT <key>",
        "    How often the value is referred to.",
        "HELP",
        "    Print this help.",
    ]);
    Ok(Then::Done)
}
