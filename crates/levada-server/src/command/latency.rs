//! LATENCY LATEST, LATENCY HISTORY event, LATENCY GRAPH event, LATENCY RESET \[event ...]
//! LATENCY HISTOGRAM \[command ...], LATENCY DOCTOR, LATENCY HELP
//!
//! No event is sampled, as in a Redis whose `latency-monitor-threshold` is 0: all answers are
//! empty. Times of commands are in INFO commandstats.

use super::{BASE, CONTAINER, OPERATOR, help_flags};
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then};
use crate::wire_error::WireError;

const LATENCY: CommandSpec = CommandSpec {
    since: "2.8.13",
    group: "server",
    arity: -2,
    flags: OPERATOR,
    run: Run::Server(nothing),
    ..BASE
};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "latency",
    syntax: "subcommand ...",
    summary: "Answers that no latency event was sampled.",
    since: "2.8.13",
    group: "server",
    subcommands: &[
        CommandSpec {
            name: "latency|doctor",
            summary: "Tells that latency is not monitored.",
            arity: 2,
            run: Run::Server(doctor),
            ..LATENCY
        },
        CommandSpec {
            name: "latency|graph",
            syntax: "event",
            summary: "Refuses: no event was sampled.",
            arity: 3,
            run: Run::Server(graph),
            ..LATENCY
        },
        CommandSpec {
            name: "latency|help",
            summary: "Lists the subcommands.",
            arity: 2,
            flags: help_flags(),
            run: Run::Server(help),
            ..LATENCY
        },
        CommandSpec {
            name: "latency|histogram",
            syntax: "[command ...]",
            summary: "Answers no histograms.",
            since: "7.0.0",
            run: Run::Server(no_histograms),
            ..LATENCY
        },
        CommandSpec {
            name: "latency|history",
            syntax: "event",
            summary: "Answers no samples.",
            arity: 3,
            ..LATENCY
        },
        CommandSpec { name: "latency|latest", summary: "Answers no samples.", arity: 2, ..LATENCY },
        CommandSpec {
            name: "latency|reset",
            syntax: "[event ...]",
            summary: "Answers that no event was forgotten.",
            run: Run::Server(reset),
            ..LATENCY
        },
    ],
    ..CONTAINER
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn nothing(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().array(0);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn no_histograms(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().map(0);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn reset(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().integer(0);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn doctor(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().verbatim(
        "Latency is not monitored event by event. Times of commands are in INFO commandstats, the \
         time of a commit in INFO persistence, slow commands in SLOWLOG.\n",
    );
    Ok(Then::Done)
}

fn graph(_: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    Err(WireError::quoting("ERR No samples available for event '", request.arg(2), "'"))
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DOCTOR",
        "    Tell where times are to be found; events are not sampled here.",
        "GRAPH <event>",
        "    Draw the samples of an event, of which there are none.",
        "HISTORY <event>",
        "    List the samples of an event, of which there are none.",
        "LATEST",
        "    List the last sample of every event, of which there are none.",
        "RESET [<event> ...]",
        "    Forget samples.",
        "HISTOGRAM [<command> ...]",
        "    List histograms of commands, of which there are none.",
        "HELP",
        "    Print this help.",
    ]);
    Ok(Then::Done)
}
